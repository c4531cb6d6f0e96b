//! Depthwise convolution of an image with planar rows by `loop.depthwise`, a row of all channels at a time.
//!
//! Rows of the window above or below the image are not read: in their place stand the nearest that are inside, so that their
//! offsets are valid.

use super::CoreFeatures;
use super::accumulate::greatest;
use super::kernel::Kernel;
use super::requantize::short_table;
use super::window::{Interior, Taps};
use crate::cost::depthwise::Function;
use crate::cost::depthwise_blocks::Blocks;
use mcunet_ir::loops::memory::PackLayout;
use mcunet_ir::loops::ops as l;
use mcunet_ir::nn::ops::DepthwiseConv2d;
use mcunet_ir::nn::requantize::{convolution_multipliers, integer_limits};
use mcunet_ir::nn::window::Windows;
use mcunet_ir::tensor::Data;
use mcunet_ir::{Diagnostic, Value};

/// Lowers a depthwise convolution so, if there is a function for it. `data` are its filter, taps of a channel side by side, and
/// its bias.
pub(super) fn lower(
    op: &DepthwiseConv2d,
    kernel: &mut Kernel<'_>,
    windows: &Windows,
    (filter, bias): (&Data, &Data),
) -> Result<bool, Diagnostic> {
    let made = kernel.result_type(0).clone();
    let (input, output) = (kernel.source(0), kernel.target(0));
    let (rows, columns, channels) = (windows.y.taps, windows.x.taps, bias.len());
    let padding = kernel.operand_type(0).affine().map_or(0, |affine| affine.zero_point);
    let multipliers =
        convolution_multipliers(kernel.operand_type(0), kernel.operand_type(1), &made, channels);
    let Some(multipliers) = multipliers else { return Ok(false) };
    let zero_point = made.affine().map_or(0, |affine| affine.zero_point);
    let limits = integer_limits(op.clamp, made.storage());
    let bound = greatest(filter, bias, rows * columns, padding);
    let Some((table, signed)) = short_table(&multipliers, zero_point, limits, bound) else {
        return Ok(false);
    };
    let kind = l::Depthwise {
        channels,
        width: windows.x.input,
        columns,
        outputs: windows.x.outputs().unwrap_or(0),
        stride: windows.x.stride,
        before: windows.x.before,
        padding,
        input_zero_point: 0,
        pitch: columns.next_multiple_of(4),
        channel_step: output.steps.channel,
        pixel_step: output.steps.pixel,
        signed,
        zero_point,
        limits: [limits.0.max(-128), limits.1.min(127)],
        unroll: false,
    };
    // A row of the window is always there.
    let is_met = (0..windows.y.outputs().unwrap_or(0)).all(|row| !windows.y.taps_inside(row).0.is_empty());
    if windows.x.dilation != 1 || !is_met {
        return Ok(false);
    }
    let Some(kind) = form(kind, rows, kernel.features()) else { return Ok(false) };
    let requantization = kernel.resource("requantization", &Data::I32(table));
    let sources =
        vec![kernel.expect_constant(1, "filter")?, kernel.expect_constant(2, "bias")?, requantization];
    // Weights have what is not subtracted from pixels.
    let folded = i64::from(padding - kind.input_zero_point);
    let layout = PackLayout::Depthwise { rows, columns, pitch: kind.pitch, zero_point: folded };
    let weights = kernel.pack(sources, layout);
    let all_inside = Interior::of(&windows.y).is_all();
    kernel.for_image_rows(|b, place| {
        let y = Taps::clipped(b, &windows.y, place.row);
        let start = output.start(b, place.row);
        let start = b.add(place.output_base, start);
        let mut operands = vec![weights, input.memory, output.memory, start, y.first, y.end];
        let last = (!all_inside).then(|| b.add_const(y.end, -1));
        let under = |b: &mut mcunet_ir::Builder<'_>, tap: usize| -> Value {
            let mut tap = b.index(tap);
            if let Some(last) = last {
                tap = b.max(tap, y.first);
                tap = b.min(tap, last);
            }
            let row = input.start_under(b, &windows.y, y, tap);
            b.add(place.input_base, row)
        };
        operands.extend((0..rows).map(|tap| under(b, tap)));
        b.op(kind.clone(), &operands, &[]);
    });
    Ok(true)
}

/// Outputs of a row up to which compilers do as well in blocks on cores that issue two instructions at a time.
const FEW_OUTPUTS: usize = 3;

/// The operation in the form that is fastest: by pairs of outputs, for 3 x 3 taps, or in blocks; `None` if C is.
fn form(pairs: l::Depthwise, rows: usize, features: CoreFeatures) -> Option<l::Depthwise> {
    let two = features.issues_two;
    let function = Function::of(&pairs, rows).map(|(function, _)| function);
    // Without a loop, compilers have registers enough, and place instructions so that two of them are issued together.
    if two && function.is_some_and(|function| !function.pairs) {
        return None;
    }
    // Pairs that are two pixels apart have a multiplication more, and less beside it to be issued together with.
    if function.is_some() && !(two && pairs.stride == 2) {
        return Some(pairs);
    }
    // Words that straddle others cost less than gaps would, but where all else is issued in pairs.
    let pitch = if two { pairs.pitch } else { pairs.columns };
    let blocks =
        l::Depthwise { input_zero_point: pairs.padding, pitch, unroll: features.unroll, ..pairs.clone() };
    let is_better = !two || blocks.outputs > FEW_OUTPUTS;
    let found = Blocks::of(&blocks, rows).filter(|_| is_better).map(|_| blocks);
    found.or(function.map(|_| pairs))
}
