//! Outer rows and columns of a filter that are zero for all channels.
//!
//! A window without them is smaller. Where it starts at padding, there has to be less of that, so that every output keeps its
//! place; a window that starts inside of the image can't lose its first row or column, since padding can't be negative. A
//! last row or column can always go if the number of outputs stays.

use super::edit::Edit;
use super::filter::Filter;
use super::graph::Graph;
use super::links::Structure;
use mcunet_ir::module::{Op, OpKind};
use mcunet_ir::nn::NnOp;
use mcunet_ir::nn::ops as n;
use mcunet_ir::nn::window::{Window, Windows};
use mcunet_ir::{Function, Tensor};

/// What there is to cut, and what can be cut.
#[derive(Debug, Default)]
pub struct Cuts {
    /// Outer rows and columns that are zero.
    pub found: usize,
    /// Those that go.
    pub cut: usize,
    /// The smaller filters.
    pub edits: Vec<Edit>,
}

/// Finds zero rows and columns of the convolutions of a function.
pub fn cuts(graph: &Graph<'_>) -> Cuts {
    let mut cuts = Cuts::default();
    for node in &graph.nodes {
        if let Structure::Dense(filter) | Structure::Depthwise(filter, _) = &node.structure {
            cuts.of_filter(graph.function, node.op, filter);
        }
    }
    cuts
}

impl Cuts {
    fn of_filter(&mut self, function: &Function, op: Op, filter: &Filter<'_>) {
        let OpKind::Nn(kind) = &function.ops[op].kind else { return };
        let mut kind = kind.clone();
        let (NnOp::Conv2d(n::Conv2d { stride, dilation, pad, .. })
        | NnOp::DepthwiseConv2d(n::DepthwiseConv2d { stride, dilation, pad, .. })) = &mut kind
        else {
            return;
        };
        let data = &function.ops[op];
        let tensor = |index: usize| function.ty(data.operands[index]).as_tensor();
        let (Some(input), Some(ty)) = (tensor(0).and_then(|ty| ty.shape.nhwc()), tensor(1)) else { return };
        let shape = [filter.taps.y.taps, filter.taps.x.taps];
        let windows = Windows::new(input, shape, *stride, *dilation, *pad);
        let is_zero = |axis: usize, tap: usize| {
            let at = |other: usize| if axis == 0 { tap * shape[1] + other } else { other * shape[1] + tap };
            (0..shape[1 - axis]).all(|other| {
                (0..filter.outputs)
                    .all(|o| (0..filter.columns).all(|column| filter.weight(o, at(other), column) == 0))
            })
        };
        let sides = [(windows.y, 0), (windows.x, 1)];
        let kept = sides.map(|(window, axis)| {
            let (found, kept) = cut(window, |tap| is_zero(axis, tap));
            self.found += found;
            (pad[2 * axis], pad[2 * axis + 1]) = (kept.before as u32, kept.after as u32);
            kept.range
        });
        let cut = kept.iter().zip(shape).map(|(kept, taps)| taps - kept.len()).sum::<usize>();
        if cut == 0 {
            return;
        }
        self.cut += cut;
        let mut weights = Vec::new();
        let mut small = ty.shape.clone();
        (small.0[1], small.0[2]) = (kept[0].len(), kept[1].len());
        // Both layouts of filters are [a, y, x, b].
        let [a, .., b] = ty.shape.nhwc().unwrap_or_default();
        for first in 0..a {
            for y in kept[0].clone() {
                for x in kept[1].clone() {
                    let at = ((first * shape[0] + y) * shape[1] + x) * b;
                    weights.extend_from_slice(&filter.weights[at..at + b]);
                }
            }
        }
        if let Ok(tensor) = Tensor::new(ty.with_shape(small), weights) {
            self.edits.push(Edit { op, kind: Some(kind), constants: vec![(1, tensor)] });
        }
    }
}

/// Taps of a window that stay, and the padding with which its outputs stay where they are.
struct Kept {
    range: std::ops::Range<usize>,
    before: usize,
    after: usize,
}

/// How many outer taps are zero, and what is left without those that can go.
fn cut(mut window: Window, is_zero: impl Fn(usize) -> bool) -> (usize, Kept) {
    let outputs = window.outputs();
    let leading = (0..window.taps - 1).take_while(|&tap| is_zero(tap)).count();
    let trailing = (leading + 1..window.taps).rev().take_while(|&tap| is_zero(tap)).count();
    let first = leading.min(window.before / window.dilation);
    window.taps -= first;
    window.before -= first * window.dilation;
    let mut end = first + window.taps;
    for _ in 0..trailing {
        let mut smaller = window;
        smaller.taps -= 1;
        smaller.after = window.after.saturating_sub(window.dilation);
        if smaller.outputs() != outputs {
            break;
        }
        window = smaller;
        end -= 1;
    }
    (leading + trailing, Kept { range: first..end, before: window.before, after: window.after })
}
