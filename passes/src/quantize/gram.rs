//! What a layer's inputs look like to its weights: second moments of the windows, and of windows with wanted results.
//!
//! For the windows `x` (a vector of as many numbers as an output channel has weights) and the wanted sums `t` of a channel, the
//! mean squared error of weights `w` and bias `b` is a quadratic function of them, given by `E[x x']`, `E[t x]`, `E[x]` and
//! `E[t]`. Everything that chooses weights needs no more than these.

use mcunet_ir::nn::NnOp;
use mcunet_ir::nn::window::Windows;
use mcunet_ir::{Shape, Tensor};

/// Windows that are looked at, per weight of a channel and at least: enough for second moments of full rank.
const WINDOWS_PER_WEIGHT: usize = 16;
/// Windows at least.
const LEAST_WINDOWS: usize = 16384;

/// Moments of windows that several output channels share.
#[derive(Clone, Debug)]
pub struct Moments {
    /// Output channels.
    pub outputs: Vec<usize>,
    /// Weights of a channel.
    pub size: usize,
    /// Windows.
    pub count: f64,
    /// Sum of the windows.
    pub inputs: Vec<f64>,
    /// Sum of the outer products of the windows with themselves, row-major; empty if it is not wanted.
    pub squares: Vec<f64>,
    /// Sums of the wanted results, by output.
    pub wanted: Vec<f64>,
    /// Sums of wanted result times window, by output; empty if they are not wanted.
    pub products: Vec<Vec<f64>>,
}

impl Moments {
    /// Of no windows yet; with or without second moments.
    pub fn new(outputs: Vec<usize>, size: usize, second: bool) -> Self {
        let count = outputs.len();
        let (squares, products) = if second { (size * size, size) } else { (0, 0) };
        Self {
            outputs,
            size,
            count: 0.0,
            inputs: vec![0.0; size],
            squares: vec![0.0; squares],
            wanted: vec![0.0; count],
            products: vec![vec![0.0; products]; count],
        }
    }

    /// Adds a window and the results that are wanted of it, by output channel.
    pub fn add(&mut self, window: &[f32], wanted: impl Fn(usize) -> f32) {
        self.count += 1.0;
        self.inputs.iter_mut().zip(window).for_each(|(sum, &x)| *sum += f64::from(x));
        let second = !self.squares.is_empty();
        if second {
            for (row, &x) in self.squares.chunks_mut(self.size).zip(window).filter(|(_, x)| **x != 0.0) {
                row.iter_mut().zip(window).for_each(|(sum, &y)| *sum += f64::from(x) * f64::from(y));
            }
        }
        for (at, &output) in self.outputs.iter().enumerate() {
            let wanted = f64::from(wanted(output));
            self.wanted[at] += wanted;
            if second {
                self.products[at].iter_mut().zip(window).for_each(|(sum, &x)| *sum += wanted * f64::from(x));
            }
        }
    }
}

/// Moments of the samples that something is learned from, and of those that it is checked on.
#[derive(Clone, Debug)]
pub struct Split {
    /// Of most samples.
    pub learned: Moments,
    /// Of every fourth.
    pub checked: Moments,
}

/// One in so many samples is kept for checks: every fourth.
const CHECKED: usize = 4;

impl Split {
    /// Moments of all samples.
    pub fn all(&self) -> Moments {
        let mut all = self.learned.clone();
        let add = |sums: &mut [f64], more: &[f64]| sums.iter_mut().zip(more).for_each(|(sum, x)| *sum += x);
        let more = &self.checked;
        all.count += more.count;
        add(&mut all.inputs, &more.inputs);
        add(&mut all.squares, &more.squares);
        add(&mut all.wanted, &more.wanted);
        all.products.iter_mut().zip(&more.products).for_each(|(sums, more)| add(sums, more));
        all
    }
}

/// How windows lie in a layer's input; `None` for layers that have none (transposed convolutions, groups).
enum Layout {
    /// A window of all channels.
    Dense(Windows),
    /// One channel each.
    Depthwise(Windows),
    /// Rows.
    Rows,
}

fn layout(op: &NnOp, input: &Shape, filter: &Shape) -> Option<Layout> {
    let windows = |stride, dilation, pad| {
        let filter = filter.nhwc()?;
        Some(Windows::new(input.nhwc()?, [filter[1], filter[2]], stride, dilation, pad))
    };
    match op {
        NnOp::Conv2d(op) if input.last() == filter.last() => {
            Some(Layout::Dense(windows(op.stride, op.dilation, op.pad)?))
        }
        NnOp::DepthwiseConv2d(op) => Some(Layout::Depthwise(windows(op.stride, op.dilation, op.pad)?)),
        NnOp::FullyConnected(_) => Some(Layout::Rows),
        _ => None,
    }
}

/// Moments of a layer over samples: of its inputs as it gets them, and of the results that are wanted of it (without bias and
/// clamp). Depthwise layers have moments for each channel, others for all together. `None` for layers without windows.
pub fn moments(
    op: &NnOp,
    filter: &Shape,
    inputs: &[Vec<f32>],
    input: &Shape,
    wanted: &[Tensor],
    second: bool,
) -> Option<Vec<Split>> {
    let layout = layout(op, input, filter)?;
    let output = &wanted.first()?.ty.shape;
    let channels = *output.last()?;
    let size = match &layout {
        Layout::Dense(_) | Layout::Rows => filter.elements() / channels.max(1),
        Layout::Depthwise(windows) => windows.y.taps * windows.x.taps,
    };
    let none: Vec<Moments> = match &layout {
        Layout::Dense(_) | Layout::Rows => vec![Moments::new((0..channels).collect(), size, second)],
        Layout::Depthwise(_) => {
            (0..channels).map(|channel| Moments::new(vec![channel], size, second)).collect()
        }
    };
    let (mut learned, mut checked) = (none.clone(), none);
    let positions = output.elements() / channels.max(1);
    let total = positions * wanted.len();
    let step = (total / (WINDOWS_PER_WEIGHT * size).max(LEAST_WINDOWS)).max(1);
    // An odd step meets all columns of an image in turn.
    let step = step | 1;
    let mut window = vec![0.0; size];
    for at in (0..total).step_by(step) {
        let (sample, position) = (at / positions, at % positions);
        let results = wanted[sample].f32s().ok()?;
        let results = &results[position * channels..][..channels];
        let x = &inputs[sample];
        let all = if sample % CHECKED == CHECKED - 1 { &mut checked } else { &mut learned };
        match &layout {
            Layout::Rows => all[0].add(&x[position * size..][..size], |output| results[output]),
            Layout::Dense(windows) => {
                let depth = *input.last()?;
                gather(windows, input, output, position, (0, depth), x, &mut window);
                all[0].add(&window, |output| results[output]);
            }
            Layout::Depthwise(windows) => {
                let multiplier = channels / input.last()?.max(&1);
                for (channel, moments) in all.iter_mut().enumerate() {
                    gather(
                        windows,
                        input,
                        output,
                        position,
                        (channel / multiplier.max(1), 1),
                        x,
                        &mut window,
                    );
                    moments.add(&window, |output| results[output]);
                }
            }
        }
    }
    let splits = learned.into_iter().zip(checked).map(|(learned, checked)| Split { learned, checked });
    Some(splits.collect())
}

/// The window at an output position, `depth` channels from the first on; zeros beyond the image.
fn gather(
    windows: &Windows,
    input: &Shape,
    output: &Shape,
    position: usize,
    (first, depth): (usize, usize),
    x: &[f32],
    window: &mut [f32],
) {
    let (&[_, height, width, channels], &[_, rows, columns, _]) = (&input[..], &output[..]) else { return };
    window.fill(0.0);
    let (image, row, column) = (position / (rows * columns), position / columns % rows, position % columns);
    let ((ys, y0), (xs, x0)) = (windows.y.taps_inside(row), windows.x.taps_inside(column));
    for ky in ys {
        let y = (y0 + (ky * windows.y.dilation) as isize) as usize;
        for kx in xs.clone() {
            let at_x = (x0 + (kx * windows.x.dilation) as isize) as usize;
            let from = ((image * height + y) * width + at_x) * channels + first;
            let to = (ky * windows.x.taps + kx) * depth;
            window[to..to + depth].copy_from_slice(&x[from..from + depth]);
        }
    }
}
