//! One row per operator: how it maps to `nn`.

mod arithmetic;
mod movement;
pub(super) mod windows;

use super::importer::{Importer, Refusal, builtin_name};
use super::reader::{Activation, BuiltinOperator, Operator, TensorIndex};
use mcunet_ir::Value;
use mcunet_ir::attr::Clamp;
use mcunet_ir::fixed_point::calculate_activation_range_quantized;
use mcunet_ir::quant::F32;
use mcunet_ir::types::{Element, Scalar};

/// The import of one operator.
type Row = for<'m> fn(&mut Importer<'m>, &Operator<'m>) -> Result<(), Refusal>;

/// The table. Operators that are not in it are refused by name.
fn row(code: BuiltinOperator) -> Option<Row> {
    use BuiltinOperator as B;
    Some(match code {
        B::CONV_2D => windows::conv_2d,
        B::DEPTHWISE_CONV_2D => windows::depthwise_conv_2d,
        B::TRANSPOSE_CONV => windows::transpose_conv,
        B::AVERAGE_POOL_2D => windows::average_pool_2d,
        B::MAX_POOL_2D => windows::max_pool_2d,
        B::FULLY_CONNECTED => windows::fully_connected,
        B::RESIZE_BILINEAR => windows::resize_bilinear,
        B::RESIZE_NEAREST_NEIGHBOR => windows::resize_nearest_neighbor,
        B::ADD => arithmetic::add,
        B::SUB => arithmetic::sub,
        B::MUL => arithmetic::mul,
        B::DIV => arithmetic::div,
        B::MAXIMUM => arithmetic::maximum,
        B::MINIMUM => arithmetic::minimum,
        B::SQUARED_DIFFERENCE => arithmetic::squared_difference,
        B::RELU => arithmetic::relu,
        B::RELU6 => arithmetic::relu6,
        B::RELU_N1_TO_1 => arithmetic::relu_n1_to_1,
        B::LEAKY_RELU => arithmetic::leaky_relu,
        B::PRELU => arithmetic::prelu,
        B::ELU => arithmetic::elu,
        B::TANH => arithmetic::tanh,
        B::LOGISTIC => arithmetic::logistic,
        B::HARD_SWISH => arithmetic::hard_swish,
        B::ABS => arithmetic::abs,
        B::NEG => arithmetic::neg,
        B::EXP => arithmetic::exp,
        B::LOG => arithmetic::log,
        B::SQRT => arithmetic::sqrt,
        B::RSQRT => arithmetic::rsqrt,
        B::SQUARE => arithmetic::square,
        B::SOFTMAX => arithmetic::softmax,
        B::LOG_SOFTMAX => arithmetic::log_softmax,
        B::L2_NORMALIZATION => arithmetic::l2_normalization,
        B::MEAN => arithmetic::mean,
        B::SUM => arithmetic::sum,
        B::REDUCE_MAX => arithmetic::reduce_max,
        B::REDUCE_MIN => arithmetic::reduce_min,
        B::ARG_MAX => arithmetic::arg_max,
        B::ARG_MIN => arithmetic::arg_min,
        B::QUANTIZE => arithmetic::quantize,
        B::DEQUANTIZE => arithmetic::dequantize,
        B::CAST => arithmetic::cast,
        B::RESHAPE => movement::reshape,
        B::SQUEEZE => movement::squeeze,
        B::EXPAND_DIMS => movement::expand_dims,
        B::SHAPE => movement::shape_of,
        B::TRANSPOSE => movement::transpose,
        B::CONCATENATION => movement::concatenation,
        B::SPLIT => movement::split,
        B::SPLIT_V => movement::split_v,
        B::SLICE => movement::slice,
        B::STRIDED_SLICE => movement::strided_slice,
        B::PAD => movement::pad,
        B::PADV2 => movement::pad_v2,
        B::GATHER => movement::gather,
        B::PACK => movement::pack,
        B::UNPACK => movement::unpack,
        B::TILE => movement::tile,
        B::DEPTH_TO_SPACE => movement::depth_to_space,
        B::SPACE_TO_DEPTH => movement::space_to_depth,
        _ => return None,
    })
}

/// Imports an operator.
pub(super) fn import<'m>(
    importer: &mut Importer<'m>,
    code: BuiltinOperator,
    operator: &Operator<'m>,
) -> Result<(), Refusal> {
    match row(code) {
        Some(row) => row(importer, operator),
        None => Err(unsupported(code)),
    }
}

fn unsupported(code: BuiltinOperator) -> Refusal {
    use BuiltinOperator as B;
    match code {
        B::VAR_HANDLE | B::READ_VARIABLE | B::ASSIGN_VARIABLE | B::CALL_ONCE => {
            "keeps state between invocations, which is not supported yet".to_owned()
        }
        B::UNIDIRECTIONAL_SEQUENCE_LSTM | B::SVDF => "is recurrent, which is not supported yet".to_owned(),
        B::IF | B::WHILE => "is control flow, which is not supported".to_owned(),
        _ => {
            format!("is not supported yet; {} is no operator that mcunetc knows to lower", builtin_name(code))
        }
    }
}

/// Input number `position`, which must be there.
fn input(importer: &mut Importer<'_>, operator: &Operator<'_>, position: usize) -> Result<Value, Refusal> {
    match optional_input(operator, position) {
        Some(index) => importer.value(index),
        None => Err(format!("expected input {position}, got none")),
    }
}

fn optional_input(operator: &Operator<'_>, position: usize) -> Option<TensorIndex> {
    operator.inputs.get(position).copied().flatten()
}

/// All inputs.
fn inputs(importer: &mut Importer<'_>, operator: &Operator<'_>) -> Result<Vec<Value>, Refusal> {
    (0..operator.inputs.len()).map(|position| input(importer, operator, position)).collect()
}

/// Element type of output number 0.
fn output_element(importer: &Importer<'_>, operator: &Operator<'_>) -> Result<Element, Refusal> {
    let &index = operator.outputs.first().ok_or("expected an output, got none")?;
    importer.computed_element(importer.file_tensor(index))
}

/// Real limits of a fused activation; a message for those that are no clamp.
fn activation_limits(activation: Activation) -> Result<(Option<f32>, Option<f32>), Refusal> {
    match activation {
        Activation::None => Ok((None, None)),
        Activation::Relu => Ok((Some(0.0), None)),
        Activation::Relu6 => Ok((Some(0.0), Some(6.0))),
        Activation::ReluN1To1 => Ok((Some(-1.0), Some(1.0))),
        Activation::Tanh | Activation::SignBit => {
            Err(format!("expected a fused activation that is a clamp, got {activation:?}"))
        }
    }
}

/// The clamp of a fused activation on results of the given element type.
pub(super) fn clamp(activation: Activation, element: &Element) -> Result<Clamp, Refusal> {
    let limits = activation_limits(activation)?;
    if limits == (None, None) {
        return Ok(Clamp::None);
    }
    match element {
        Element::Plain(Scalar::F32) => {
            let low = limits.0.unwrap_or(f32::NEG_INFINITY);
            Ok(Clamp::Real(F32(low), F32(limits.1.unwrap_or(f32::INFINITY))))
        }
        Element::Plain(_) => {
            let whole = |limit: f32| limit as i32;
            Ok(Clamp::Int(limits.0.map_or(i32::MIN, whole), limits.1.map_or(i32::MAX, whole)))
        }
        Element::Quant(quant) => {
            let affine = quant.affine().ok_or("expected an output quantized per tensor, got one per axis")?;
            let (min, max) = (quant.min as i32, quant.max as i32);
            calculate_activation_range_quantized(limits, affine.scale.get(), affine.zero_point, (min, max))
                .map(|(low, high)| Clamp::Int(low, high))
                .ok_or_else(|| "expected an activation whose limits can be quantized, got others".to_owned())
        }
    }
}

/// A dimension or option that must not be negative.
fn positive(value: i32, what: &str) -> Result<u32, Refusal> {
    u32::try_from(value)
        .ok()
        .filter(|&value| value > 0)
        .ok_or_else(|| format!("expected {what} of at least 1, got {value}"))
}

/// An axis that may count from the end.
fn axis(value: i64, rank: usize) -> Result<usize, Refusal> {
    let from_start = if value < 0 { value.saturating_add(rank as i64) } else { value };
    usize::try_from(from_start)
        .ok()
        .filter(|&axis| axis < rank)
        .ok_or_else(|| format!("expected an axis from -{rank} to {}, got {value}", rank as i64 - 1))
}
