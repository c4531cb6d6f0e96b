//! Fully connected layers: a convolution whose window is the whole row.

use super::LowerOp;
use super::accumulate::{Filter, FilterSource, Form};
use super::conv::Epilogue;
use super::kernel::Kernel;
use super::matmul::{self, Matmul};
use super::rows::to_i32;
use super::sub_byte::Packing;
use mcunet_ir::attr::ResourceRef;
use mcunet_ir::nn::ops::FullyConnected;
use mcunet_ir::nn::requantize::{fully_connected_multipliers, integer_limits};
use mcunet_ir::tensor::Data;
use mcunet_ir::types::Scalar;
use mcunet_ir::{Diagnostic, Value};

impl LowerOp for FullyConnected {
    fn lower(&self, kernel: &mut Kernel<'_>) -> Result<(), Diagnostic> {
        let filter_type = kernel.operand_type(1);
        let &[outputs, inputs] = &filter_type.shape[..] else {
            return Err(kernel.error(format!("expected a filter of 2 dimensions, got {}", filter_type.shape)));
        };
        let rows = kernel.operand_type(0).elements().checked_div(inputs).unwrap_or(0);
        let int8 = kernel.result_type(0).storage() == Scalar::I8;
        let (filter, filter_data) = centered_filter(kernel)?;
        let packing = Packing::of(kernel, &filter);
        let fits = packing.is_none_or(|packing| packing.lanes_fit(inputs));
        let bias_data = kernel.constant_data(2);
        if let (None, Some(filter_data), Some(bias_data)) = (packing, &filter_data, &bias_data)
            && let Some(matmul) = matrix(self, kernel, filter.clone(), (filter_data, bias_data))?
        {
            lower_matmul(kernel, &matmul, [rows, inputs, outputs]);
            return Ok(());
        }
        let data = filter_data.is_some() && bias_data.is_some();
        let form = if kernel.features().dsp && int8 && filter.element.unpacked() == Scalar::I8 && fits {
            Form::of_dsp(inputs, true, data)
        } else {
            Form::Scalar
        };
        let source = FilterSource {
            filter,
            bias: kernel.expect_constant(2, "bias")?,
            rows: outputs,
            columns: inputs,
            input_zero_point: kernel.operand_type(0).affine().map_or(0, |affine| affine.zero_point),
            foldable: int8,
            data: filter_data.as_ref().zip(bias_data.as_ref()),
            packing,
        };
        let bound = source.bound();
        let filter = Filter::new(kernel, form, 4, source);
        let epilogue = epilogue(self, kernel, outputs, filter.biases(), bound)?;
        let (input, output) = (kernel.input(0), kernel.output(0));
        let b = &mut kernel.b;
        b.for_count(rows, |b, row| {
            let (from, to) = (b.mul_const(row, to_i32(inputs)), b.mul_const(row, to_i32(outputs)));
            filter.for_groups(b, &mut |b, channel, offset, channels| {
                let start = filter.start(b, channel, channels, 1);
                let (column, length) = (b.i32(0), b.index(inputs));
                let sums = filter.run(b, input, &[from], channel, offset, column, length, channels, &start);
                for (c, &sum) in sums.iter().enumerate() {
                    let at = b.add_const(channel, to_i32(c));
                    let sum = filter.total(b, sum, at);
                    let stored = epilogue.apply(b, sum, at, filter.biases());
                    let place = b.add(to, at);
                    b.store(stored, output, place);
                }
            });
        });
        Ok(())
    }
}

/// The layer as a matrix, unless it has to be lowered otherwise.
fn matrix(
    op: &FullyConnected,
    kernel: &mut Kernel<'_>,
    filter: ResourceRef,
    data: (&Data, &Data),
) -> Result<Option<Matmul>, Diagnostic> {
    let (input, filter_type, output) =
        (kernel.operand_type(0), kernel.operand_type(1), kernel.result_type(0));
    let &[outputs, inputs] = &filter_type.shape[..] else { return Ok(None) };
    let Some(multipliers) = fully_connected_multipliers(input, filter_type, output, outputs) else {
        return Ok(None);
    };
    let source = matmul::Source {
        filter,
        bias: kernel.expect_constant(2, "bias")?,
        columns: inputs,
        run: inputs,
        data,
        multipliers: &multipliers,
        made: output,
        limits: integer_limits(op.clamp, output.storage()),
        pixels: 1,
        beside: 0,
        adjoin: true,
    };
    Ok(Matmul::of(kernel, &source))
}

fn lower_matmul(kernel: &mut Kernel<'_>, matmul: &Matmul, [rows, inputs, outputs]: [usize; 3]) {
    let (input, output) = (kernel.input(0), kernel.output(0));
    kernel.b.for_count(rows, |b, row| {
        let (from, to) = (b.mul_const(row, to_i32(inputs)), b.mul_const(row, to_i32(outputs)));
        let run = matmul::Run { number: b.i32(0), offset: from, inside: None };
        matmul.widen(b, input, &run, 0, 1);
        matmul.multiply(b, (input, from), (output, to), 1, [1, 1]);
    });
}

/// The filter less its zero point, which counts if one scale serves all outputs, and its elements if they are int8 and at
/// hand. If the zero point is not 0, int8 becomes 16 bits, and what is narrower int8.
fn centered_filter(kernel: &mut Kernel<'_>) -> Result<(ResourceRef, Option<Data>), Diagnostic> {
    let ty = kernel.operand_type(1);
    let zero_point = ty.affine().map_or(0, |affine| affine.zero_point);
    if zero_point == 0 {
        let filter = kernel.expect_constant(1, "filter")?;
        let data = kernel.constant_data(1).filter(|data| data.scalar() == Scalar::I8);
        return Ok((filter, data));
    }
    let data = kernel.expect_constant_data(1, "filter")?;
    let centered = data.to_i64s().unwrap_or_default().into_iter().map(|w| w - i64::from(zero_point));
    if ty.storage().is_sub_byte() {
        let centered = Data::I8(centered.map(|w| w as i8).collect());
        return Ok((kernel.resource("centered_filter", &centered), Some(centered)));
    }
    let centered: Vec<i16> = centered.map(|w| w as i16).collect();
    Ok((kernel.resource("centered_filter", &Data::I16(centered)), None))
}

fn epilogue(
    op: &FullyConnected,
    kernel: &mut Kernel<'_>,
    outputs: usize,
    bias: Value,
    bound: Option<u64>,
) -> Result<Epilogue, Diagnostic> {
    let (input, filter, output) = (kernel.operand_type(0), kernel.operand_type(1), kernel.result_type(0));
    let multipliers = fully_connected_multipliers(input, filter, output, outputs);
    Epilogue::of_multipliers(kernel, kernel.result_type(0), op.clamp, multipliers, bias, bound)
}
