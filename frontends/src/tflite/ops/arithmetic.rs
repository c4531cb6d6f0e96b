//! Operators that compute element by element or along dimensions.

use super::{activation_limits, axis, clamp, input, inputs, output_element};
use crate::tflite::importer::{Importer, Refusal};
use crate::tflite::reader::{Activation, Operator, OperatorOptions};
use mcunet_ir::attr::Clamp;
use mcunet_ir::nn::ops as n;
use mcunet_ir::quant::F32;
use mcunet_ir::types::{Element, Scalar};

/// The fused activation of a binary operator; options may be missing, which means none.
fn fused(operator: &Operator<'_>) -> Activation {
    match &operator.options {
        OperatorOptions::Add(options) | OperatorOptions::Sub(options) => options.activation,
        OperatorOptions::Mul { activation }
        | OperatorOptions::Div { activation }
        | OperatorOptions::L2Norm { activation } => *activation,
        _ => Activation::None,
    }
}

macro_rules! clamped {
    ($($row:ident => $op:ident),* $(,)?) => {$(
        pub(super) fn $row<'m>(importer: &mut Importer<'m>, operator: &Operator<'m>) -> Result<(), Refusal> {
            let clamp = clamp(fused(operator), &output_element(importer, operator)?)?;
            let operands = inputs(importer, operator)?;
            importer.finish(operator, n::$op { clamp }, operands)
        }
    )*};
}
clamped! { sub => Sub, mul => Mul, div => Div }

/// As the other binary operators, but the kernel of 32-bit integers ignores the activation.
pub(super) fn add<'m>(importer: &mut Importer<'m>, operator: &Operator<'m>) -> Result<(), Refusal> {
    let element = output_element(importer, operator)?;
    let ignored = matches!(element, Element::Plain(Scalar::I32));
    let clamp = if ignored { Clamp::None } else { clamp(fused(operator), &element)? };
    let operands = inputs(importer, operator)?;
    importer.finish(operator, n::Add { clamp }, operands)
}

macro_rules! plain {
    ($($row:ident => $op:ident),* $(,)?) => {$(
        pub(super) fn $row<'m>(importer: &mut Importer<'m>, operator: &Operator<'m>) -> Result<(), Refusal> {
            let operands = inputs(importer, operator)?;
            importer.finish(operator, n::$op {}, operands)
        }
    )*};
}
plain! {
    maximum => Maximum, minimum => Minimum, squared_difference => SquaredDifference, prelu => Prelu, elu => Elu,
    tanh => Tanh, logistic => Logistic, hard_swish => HardSwish, abs => Abs, neg => Neg, exp => Exp, log => Log,
    sqrt => Sqrt, rsqrt => Rsqrt, square => Square, log_softmax => LogSoftmax, quantize => Quantize,
    dequantize => Dequantize, cast => Cast,
}

/// RELU and RELU_N1_TO_1 rescale from the input's quantization to the output's.
fn rescaling_relu<'m>(
    importer: &mut Importer<'m>,
    operator: &Operator<'m>,
    activation: Activation,
) -> Result<(), Refusal> {
    let clamp = clamp(activation, &output_element(importer, operator)?)?;
    let operands = inputs(importer, operator)?;
    importer.finish(operator, n::Relu { clamp }, operands)
}

pub(super) fn relu<'m>(importer: &mut Importer<'m>, operator: &Operator<'m>) -> Result<(), Refusal> {
    rescaling_relu(importer, operator, Activation::Relu)
}

pub(super) fn relu_n1_to_1<'m>(importer: &mut Importer<'m>, operator: &Operator<'m>) -> Result<(), Refusal> {
    rescaling_relu(importer, operator, Activation::ReluN1To1)
}

/// RELU6 of integers clamps the stored numbers by the input's quantization and ignores the output's: a clamp in the
/// input's type, read as the output's.
pub(super) fn relu6<'m>(importer: &mut Importer<'m>, operator: &Operator<'m>) -> Result<(), Refusal> {
    let x = input(importer, operator, 0)?;
    let element = importer.ty(x).element.clone();
    if element == output_element(importer, operator)? {
        return rescaling_relu(importer, operator, Activation::Relu6);
    }
    let clamp = clamp(Activation::Relu6, &element)?;
    let clamped = importer.emit(n::Relu { clamp }, vec![x], vec![element])?;
    let shape = importer.ty(x).shape.0.clone();
    importer.finish(operator, n::Reshape { shape }, clamped)
}

pub(super) fn leaky_relu<'m>(importer: &mut Importer<'m>, operator: &Operator<'m>) -> Result<(), Refusal> {
    let OperatorOptions::LeakyRelu { alpha } = operator.options else {
        return Err("expected options with alpha, got none".to_owned());
    };
    let operands = inputs(importer, operator)?;
    importer.finish(operator, n::LeakyRelu { alpha: F32(alpha) }, operands)
}

pub(super) fn softmax<'m>(importer: &mut Importer<'m>, operator: &Operator<'m>) -> Result<(), Refusal> {
    let OperatorOptions::Softmax { beta } = operator.options else {
        return Err("expected options with beta, got none".to_owned());
    };
    let operands = inputs(importer, operator)?;
    importer.finish(operator, n::Softmax { beta: F32(beta) }, operands)
}

pub(super) fn l2_normalization<'m>(
    importer: &mut Importer<'m>,
    operator: &Operator<'m>,
) -> Result<(), Refusal> {
    if activation_limits(fused(operator))? != (None, None) {
        return Err("expected no fused activation, got one".to_owned());
    }
    let operands = inputs(importer, operator)?;
    importer.finish(operator, n::L2Normalization {}, operands)
}

/// Axes of a reduction, sorted, without repetition.
fn axes(importer: &mut Importer<'_>, operator: &Operator<'_>) -> Result<(Vec<usize>, bool), Refusal> {
    let x = input(importer, operator, 0)?;
    let rank = importer.ty(x).shape.rank();
    let given = input(importer, operator, 1)?;
    let mut axes = importer
        .integers(given, "axes")?
        .into_iter()
        .map(|value| axis(value, rank))
        .collect::<Result<Vec<usize>, Refusal>>()?;
    axes.sort_unstable();
    axes.dedup();
    let keep_dims = matches!(operator.options, OperatorOptions::Reducer { keep_dims: true });
    Ok((axes, keep_dims))
}

macro_rules! reductions {
    ($($row:ident => $op:ident),* $(,)?) => {$(
        pub(super) fn $row<'m>(importer: &mut Importer<'m>, operator: &Operator<'m>) -> Result<(), Refusal> {
            let (axes, keep_dims) = axes(importer, operator)?;
            let x = input(importer, operator, 0)?;
            importer.finish(operator, n::$op { axes, keep_dims }, vec![x])
        }
    )*};
}
reductions! { mean => Mean, sum => Sum, reduce_max => ReduceMax, reduce_min => ReduceMin }

macro_rules! arguments {
    ($($row:ident => $op:ident),* $(,)?) => {$(
        pub(super) fn $row<'m>(importer: &mut Importer<'m>, operator: &Operator<'m>) -> Result<(), Refusal> {
            let (x, given) = (input(importer, operator, 0)?, input(importer, operator, 1)?);
            let given = importer.integers(given, "axis")?;
            let [given] = given[..] else { return Err(format!("expected one axis, got {given:?}")) };
            let axis = axis(given, importer.ty(x).shape.rank())?;
            importer.finish(operator, n::$op { axis }, vec![x])
        }
    )*};
}
arguments! { arg_max => ArgMax, arg_min => ArgMin }
