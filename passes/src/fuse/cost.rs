//! What operations cost, as far as that can be told before they are lowered: the measure of extraction.
//!
//! [`Estimate`] is a table of cycles per multiply-accumulate, element, and byte of activations that is read or written. Its numbers are guesses in the proportions of the
//! kernels on a Cortex-M4, not measurements, but for the sizes of a few kernels as gcc 12 compiles them; a model that knows the lowered program takes its place through [`CostModel`].

use mcunet_ir::TensorType;
use mcunet_ir::define::Trait;
use mcunet_ir::nn::NnOp;
use mcunet_ir::nn::ops as n;
use mcunet_ir::types::Scalar;

/// What an operation or a graph costs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Cost {
    /// Time.
    pub cycles: u64,
    /// Code, tables and weights.
    pub flash_bytes: u64,
    /// Activations that operations hold at a time if they run row by row.
    pub held_bytes: u64,
}

/// Cycles that a held byte is worth: SRAM is what networks run out of first.
const HELD_BYTE: u64 = 16;

impl Cost {
    /// One number to compare by. A byte of flash counts as a cycle: what is stored is read at least once.
    pub fn total(self) -> u64 {
        self.cycles.saturating_add(self.flash_bytes).saturating_add(self.held_bytes.saturating_mul(HELD_BYTE))
    }
}

impl std::ops::Add for Cost {
    type Output = Cost;

    fn add(self, other: Cost) -> Cost {
        Cost {
            cycles: self.cycles.saturating_add(other.cycles),
            flash_bytes: self.flash_bytes.saturating_add(other.flash_bytes),
            held_bytes: self.held_bytes.saturating_add(other.held_bytes),
        }
    }
}

/// An operation to be judged.
#[derive(Debug)]
pub struct Judged<'a> {
    /// The operation.
    pub kind: &'a NnOp,
    /// Types of its operands.
    pub operands: &'a [&'a TensorType],
    /// Whether each operand is constant.
    pub constant: &'a [bool],
    /// Types of its results.
    pub results: &'a [TensorType],
}

/// Judges operations. Constants are judged by their bytes, once each.
pub trait CostModel {
    /// Cost of an operation, without its constants.
    fn of(&self, op: &Judged<'_>) -> Cost;
}

/// The table of guesses.
#[derive(Clone, Copy, Debug, Default)]
pub struct Estimate;

/// A kernel's call, its loops' setup, and its code.
const KERNEL: Cost = Cost { cycles: 150, flash_bytes: 150, held_bytes: 0 };

/// The same of a kernel that moves a window: it also looks for borders, and has a form for pixels beside each other.
const WINDOW_KERNEL: Cost = Cost { cycles: 250, flash_bytes: 400, held_bytes: 0 };

impl CostModel for Estimate {
    fn of(&self, op: &Judged<'_>) -> Cost {
        match op.kind {
            NnOp::Const(_) => return Cost::default(),
            // Moves nothing, but no rows pass through it.
            NnOp::Reshape(_) => return Cost { cycles: 10, ..Cost::default() },
            _ => {}
        }
        let float = op.results.first().is_some_and(|ty| ty.storage() == Scalar::F32);
        // Far beyond what runs anywhere, so that nothing overflows.
        let elements = |ty: &TensorType| (ty.elements() as u64).min(1 << 36);
        let results = op.results.iter().map(elements).sum::<u64>().min(1 << 40);
        let input = op.operands.first().map_or(0, |ty| elements(ty));
        let types: Vec<&TensorType> = op.results.iter().collect();
        let macs = op.kind.semantics().macs(op.operands, &types).min(1 << 50);
        // In tenths of a cycle.
        let work = match op.kind {
            // Weights that are loaded serve two pixels, unless there is only one.
            NnOp::Conv2d(_) | NnOp::TransposeConv2d(_) => {
                let of_mac = if float { 40 } else { 10 };
                macs * if is_single_pixel(op) { of_mac * 13 / 10 } else { of_mac } + results * 100
            }
            NnOp::FullyConnected(_) => macs * if float { 40 } else { 10 } + results * 100,
            NnOp::DepthwiseConv2d(_) => macs * if float { 60 } else { 25 } + results * 100,
            NnOp::AvgPool2d(pool) => results * (taps(pool.kernel) * 30 + 200),
            NnOp::MaxPool2d(pool) => results * (taps(pool.kernel) * 30 + 50),
            NnOp::Mean(_) | NnOp::Sum(_) | NnOp::ReduceMax(_) | NnOp::ReduceMin(_) => {
                input * 40 + results * 200
            }
            NnOp::MeanOfMeans(means) => {
                let inner: usize =
                    means.inner.iter().filter_map(|&axis| op.operands[0].shape.get(axis)).product();
                input * 40 + input / (inner.max(1) as u64) * 150 + results * 200
            }
            NnOp::Softmax(_) | NnOp::LogSoftmax(_) | NnOp::L2Normalization(_) => results * 600,
            kind if is_table(op) && kind.spec().has(Trait::Elementwise) => results * 60,
            NnOp::Quantize(_) | NnOp::Dequantize(_) | NnOp::Cast(_) => results * 150,
            kind if kind.spec().has(Trait::Elementwise) => results * if float { 300 } else { 250 },
            _ => results * 70,
        };
        let data = match op.kind {
            NnOp::FullyConnected(_) => padded_bytes(op),
            _ if is_table(op) => 256,
            _ => 0,
        };
        let activations = op.operands.iter().zip(op.constant).filter(|(_, constant)| !**constant);
        let traffic_bytes: usize = activations.map(|(ty, _)| ty.size_bytes()).sum::<usize>()
            + op.results.iter().map(|ty| ty.size_bytes()).sum::<usize>();
        let work = work + 2 * traffic_bytes as u64;
        let kernel = match op.kind {
            NnOp::FullyConnected(_) => Cost { flash_bytes: 470, ..KERNEL },
            _ if is_single_pixel(op) => Cost { flash_bytes: 300, ..KERNEL },
            NnOp::Conv2d(_) | NnOp::DepthwiseConv2d(_) | NnOp::TransposeConv2d(_) => WINDOW_KERNEL,
            _ => KERNEL,
        };
        kernel + Cost { cycles: work / 10, flash_bytes: data, held_bytes: held_bytes(op) }
    }
}

/// Zeros in the packed filter of a fully connected layer, whose outputs are made four at a time.
fn padded_bytes(op: &Judged<'_>) -> u64 {
    let Some(&[outputs, inputs]) = op.operands.get(1).map(|filter| &filter.shape.0[..]) else { return 0 };
    let storage = op.operands[1].storage();
    let paired = storage.unpacked() == Scalar::I8 && inputs % 4 == 0;
    if paired { storage.packed_bytes((outputs.next_multiple_of(4) - outputs) * inputs) as u64 } else { 0 }
}

/// Whether a convolution makes a single pixel.
fn is_single_pixel(op: &Judged<'_>) -> bool {
    let image = op.results.first().and_then(|ty| ty.shape.nhwc());
    matches!(op.kind, NnOp::Conv2d(_)) && image.is_some_and(|[_, height, width, _]| height * width == 1)
}

/// Rows under the window of a convolution or pool; all that a fully connected layer reads.
fn held_bytes(op: &Judged<'_>) -> u64 {
    let Some(input) = op.operands.first() else { return 0 };
    let rows = match op.kind {
        NnOp::FullyConnected(_) => return input.size_bytes() as u64,
        _ if input.shape.rank() != 4 => return 0,
        NnOp::Conv2d(_) | NnOp::DepthwiseConv2d(_) => op.operands.get(1).map_or(0, |filter| filter.shape[1]),
        NnOp::AvgPool2d(n::AvgPool2d { kernel, .. }) | NnOp::MaxPool2d(n::MaxPool2d { kernel, .. }) => {
            kernel[0] as usize
        }
        _ => return 0,
    };
    let row_bytes = input.size_bytes() / input.shape[..2].iter().product::<usize>().max(1);
    (row_bytes * rows.min(input.shape[1])) as u64
}

fn taps(kernel: [u32; 2]) -> u64 {
    (u64::from(kernel[0]) * u64::from(kernel[1])).min(1 << 16)
}

/// Whether the op is lowered to a table of 256 results.
fn is_table(op: &Judged<'_>) -> bool {
    let int8 = |ty: &TensorType| ty.storage() == Scalar::I8;
    let all = op.operands.iter().all(|ty| int8(ty)) && op.results.iter().all(int8);
    let scalars = op.operands.iter().zip(op.constant);
    let constants = scalars.filter(|(ty, constant)| **constant && ty.elements() == 1).count();
    // Requantization is computed.
    let computed = matches!(op.kind, NnOp::Quantize(_) | NnOp::Cast(_));
    all && !computed && op.kind.spec().has(Trait::Elementwise) && op.operands.len() == constants + 1
}
