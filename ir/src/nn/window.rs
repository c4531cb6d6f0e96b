//! Sliding windows: how many outputs they make, and which taps of one lie inside of the input.

use crate::types::{Shape, TensorType};

/// A window along one dimension.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Window {
    /// Elements of the input.
    pub input: usize,
    /// Taps.
    pub taps: usize,
    /// Distance between neighbouring outputs' windows.
    pub stride: usize,
    /// Distance between neighbouring taps.
    pub dilation: usize,
    /// Padding before the first element.
    pub before: usize,
    /// Padding after the last element.
    pub after: usize,
}

impl Window {
    /// Input elements from a window's first tap to its last.
    pub fn extent(&self) -> usize {
        self.taps.saturating_sub(1).saturating_mul(self.dilation).saturating_add(1)
    }

    /// Number of outputs.
    ///
    /// # Errors
    /// If a parameter is 0 or the window is larger than the padded input.
    pub fn outputs(&self) -> Result<usize, String> {
        if self.stride == 0 || self.dilation == 0 || self.taps == 0 {
            return Err("expected stride, dilation and kernel of at least 1, got 0".to_owned());
        }
        let padded = self.input.saturating_add(self.before).saturating_add(self.after);
        match padded.checked_sub(self.extent()) {
            Some(rest) => Ok(rest / self.stride + 1),
            None => Err(format!(
                "expected a window of at most the padded input's {padded} elements, got {}",
                self.extent()
            )),
        }
    }

    /// Taps of output `index` that lie inside of the input, and the input position of tap 0, which may be negative.
    pub fn taps_inside(&self, index: usize) -> (std::ops::Range<usize>, isize) {
        let start = (index * self.stride) as isize - self.before as isize;
        let first = if start < 0 { start.unsigned_abs().div_ceil(self.dilation) } else { 0 };
        let room = self.input as isize - start;
        let end = if room <= 0 { 0 } else { (room as usize).div_ceil(self.dilation).min(self.taps) };
        (first.min(end)..end, start)
    }
}

/// Windows along height and width.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Windows {
    /// Along height.
    pub y: Window,
    /// Along width.
    pub x: Window,
}

impl Windows {
    /// Windows of `taps` (height, width) over an NHWC input; `pad` is top, bottom, left, right.
    pub fn new(
        input: [usize; 4],
        taps: [usize; 2],
        stride: [u32; 2],
        dilation: [u32; 2],
        pad: [u32; 4],
    ) -> Self {
        let window = |axis: usize| Window {
            input: input[1 + axis],
            taps: taps[axis],
            stride: stride[axis] as usize,
            dilation: dilation[axis] as usize,
            before: pad[2 * axis] as usize,
            after: pad[2 * axis + 1] as usize,
        };
        Self { y: window(0), x: window(1) }
    }

    /// Shape of the result with `channels` channels.
    ///
    /// # Errors
    /// If the windows don't fit the input.
    pub fn shape(&self, batch: usize, channels: usize) -> Result<Shape, String> {
        Ok([batch, self.y.outputs()?, self.x.outputs()?, channels].into())
    }
}

/// The dimensions of a tensor that the op's row demands to have four.
///
/// # Errors
/// If it has another number of dimensions.
pub fn four(ty: &TensorType) -> Result<[usize; 4], String> {
    ty.shape.nhwc().ok_or_else(|| format!("expected 4 dimensions, got {}", ty.shape.rank()))
}
