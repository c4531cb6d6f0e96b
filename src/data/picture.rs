//! Pictures: decoded, in the number of channels and the size that an input has.
//!
//! - Scaling is bilinear with half-pixel centres and without a filter against aliasing, and it stretches: pixel `i` of
//!   `n` lies at `(i + 0.5) * size / n - 0.5` of the source, clamped to its border. That is `tf.image.resize` with its
//!   defaults and OpenCV's `INTER_LINEAR`. Values between pixels are not rounded.
//! - Grey is 0.299 R + 0.587 G + 0.114 B, rounded (ITU-R BT.601), as in Pillow's `convert("L")`.
//! - Transparency and the orientation in a photograph's metadata are ignored.

use super::args::Channels;
use super::convert::{Values, Wrong, swap_red_and_blue};
use image::{DynamicImage, ImageReader};
use mcunet_ir::{Diagnostic, Diagnostics, Shape};
use std::path::Path;

/// Rows, columns and channels of interleaved pixels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Size {
    pub rows: usize,
    pub columns: usize,
    pub channels: usize,
}

/// Size of a picture for an input: `1xHxWxC` or `HxWxC` of one or three channels.
fn size(shape: &Shape) -> Option<Size> {
    let size = match shape[..] {
        [1, rows, columns, channels] | [rows, columns, channels] => Size { rows, columns, channels },
        _ => return None,
    };
    (matches!(size.channels, 1 | 3) && size.rows > 0 && size.columns > 0).then_some(size)
}

/// Whether an input can take pictures at all.
///
/// # Errors
/// If it can't.
pub fn check_shape(path: &Path, shape: &Shape) -> Result<(), Diagnostics> {
    if size(shape).is_some() {
        return Ok(());
    }
    let message = format!(
        "'{}' is a picture: expected an input of 1 x height x width x 1 or 3 for it, got {shape}",
        path.display()
    );
    Err(Diagnostic::error(message).help("give arrays instead: .npy, .npz or .bin").into())
}

/// The pixels of a picture as an input of the given shape takes them.
///
/// # Errors
/// A file that can't be read or decoded.
pub fn read(path: &Path, shape: &Shape, channels: Channels) -> Result<Values, Wrong> {
    let wanted = size(shape).ok_or_else(|| Wrong::new("expected an input for pictures"))?;
    let unreadable = |error: &dyn std::fmt::Display| {
        Wrong::new(format!("expected a picture, got what can't be decoded: {error}"))
            .help("JPEG, PNG, BMP and PPM are read; remove or convert the file")
    };
    let reader = ImageReader::open(path).and_then(ImageReader::with_guessed_format);
    let picture = reader.map_err(|error| unreadable(&error))?.decode().map_err(|error| unreadable(&error))?;
    if picture.width() == 0 || picture.height() == 0 {
        return Err(unreadable(&"it is empty"));
    }
    let (pixels, size) = pixels(&picture, wanted.channels, channels)?;
    Ok(Values::Pixels(resize(&pixels, size, wanted.rows, wanted.columns)))
}

/// Pixels of a decoded picture in one or three channels.
fn pixels(picture: &DynamicImage, wanted: usize, order: Channels) -> Result<(Vec<f32>, Size), Wrong> {
    let mut colours: Vec<f32> = picture.to_rgb8().into_raw().into_iter().map(f32::from).collect();
    if order == Channels::Bgr {
        swap_red_and_blue(&mut colours, 3)?;
    }
    let (rows, columns) = (picture.height() as usize, picture.width() as usize);
    let pixels = if wanted == 1 { grey(&colours) } else { colours };
    Ok((pixels, Size { rows, columns, channels: wanted }))
}

/// Grey of red, green and blue.
pub fn grey(colours: &[f32]) -> Vec<f32> {
    let luma = |pixel: &[f32]| (0.299 * pixel[0] + 0.587 * pixel[1] + 0.114 * pixel[2]).round();
    colours.chunks_exact(3).map(luma).collect()
}

/// The two source positions of each target position along one dimension, and the weight of the second.
fn taps(from: usize, to: usize) -> Vec<(usize, usize, f32)> {
    let step = from as f32 / to as f32;
    let tap = |i: usize| {
        let at = ((i as f32 + 0.5) * step - 0.5).clamp(0.0, (from - 1) as f32);
        let first = at as usize;
        (first, (first + 1).min(from - 1), at - first as f32)
    };
    (0..to).map(tap).collect()
}

/// Interleaved pixels scaled bilinearly.
pub fn resize(pixels: &[f32], size: Size, rows: usize, columns: usize) -> Vec<f32> {
    if (size.rows, size.columns) == (rows, columns) {
        return pixels.to_vec();
    }
    let (across, channels) = (taps(size.columns, columns), size.channels);
    let at = |row: usize, column: usize, channel: usize| {
        pixels[(row * size.columns + column) * channels + channel]
    };
    let mut scaled = Vec::with_capacity(rows * columns * channels);
    for (top, bottom, down) in taps(size.rows, rows) {
        for &(left, right, along) in &across {
            for channel in 0..channels {
                let row = |row| at(row, left, channel) * (1.0 - along) + at(row, right, channel) * along;
                scaled.push(row(top) * (1.0 - down) + row(bottom) * down);
            }
        }
    }
    scaled
}
