//! What pixels mean to a model.
//!
//! Nothing in a model file says how pictures were prepared in training. The type of a quantized input tells it in the
//! usual cases: the range of real numbers that it can hold is the range that pixels were mapped to.

use mcunet_ir::module::Function;
use mcunet_ir::{Module, TensorType};
use std::str::FromStr;

/// `(pixel - mean) / std` for pixels from 0 to 255, as in torchvision's `Normalize`, but in units of pixels.
#[derive(Clone, PartialEq, Debug)]
pub struct Normalization {
    /// One number, or one for each channel.
    mean: Vec<f32>,
    /// As many numbers.
    std: Vec<f32>,
}

impl Normalization {
    /// Pixels are divided by 255: what is done most often, and without any hint in the model.
    pub fn unit() -> Self {
        Self::new(0.0, 255.0)
    }

    fn new(mean: f32, std: f32) -> Self {
        Self { mean: vec![mean], std: vec![std] }
    }

    /// Number of channels that it is for, if it differs between them.
    pub fn channels(&self) -> Option<usize> {
        let count = self.mean.len().max(self.std.len());
        (count > 1).then_some(count)
    }

    /// The real number that a pixel of a channel stands for.
    pub fn real(&self, pixel: f32, channel: usize) -> f32 {
        // Parsing refuses empty lists.
        let of = |list: &[f32]| list.get(if list.len() == 1 { 0 } else { channel }).copied();
        (pixel - of(&self.mean).unwrap_or(0.0)) / of(&self.std).unwrap_or(1.0)
    }
}

impl std::fmt::Display for Normalization {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let list = |list: &[f32]| list.iter().map(ToString::to_string).collect::<Vec<_>>().join("/");
        write!(f, "{},{}", list(&self.mean), list(&self.std))
    }
}

impl FromStr for Normalization {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let error =
            || format!("expected MEAN,STD such as 0,255 or 123.7/116.3/103.5,58.4/57.1/57.4, got '{text}'");
        let list = |text: &str| {
            let numbers =
                text.split('/').map(|number| number.trim().parse::<f32>().ok().filter(|n| n.is_finite()));
            numbers.collect::<Option<Vec<f32>>>().ok_or_else(error)
        };
        let (mean, std) = text.split_once(',').ok_or_else(error)?;
        let (mean, std) = (list(mean)?, list(std)?);
        if std.contains(&0.0) {
            return Err("expected a STD other than 0".to_owned());
        }
        if mean.len() != std.len() && mean.len() != 1 && std.len() != 1 {
            return Err(format!("expected as many means as STDs, got {} and {}", mean.len(), std.len()));
        }
        Ok(Self { mean, std })
    }
}

/// Ranges of real numbers that pixels are usually mapped to.
const CONVENTIONS: [(f32, f32); 3] = [(0.0, 1.0), (-1.0, 1.0), (0.0, 255.0)];

/// By what part of its width the range of a type may differ from a convention: calibration seldom sees both ends, and a
/// symmetric type has one step too much.
const TOLERANCE: f32 = 0.02;

/// What pixels mean to an input of a module, as far as its types tell: that of the input, or of what it is quantized to.
pub fn of_input(module: &Module, input: usize) -> Option<Normalization> {
    let function = module.functions.first()?;
    let ty = function.inputs.get(input)?.ty.as_tensor()?;
    of_type(ty).or_else(|| quantized_to(function, input).and_then(of_type))
}

/// The type that an input is quantized to by the operation that reads it.
fn quantized_to(function: &Function, input: usize) -> Option<&TensorType> {
    let value = *function.blocks[function.body].args.get(input)?;
    let quantize = function.walk().into_iter().find(|&op| {
        let op = &function.ops[op];
        op.kind.name() == "nn.quantize" && op.operands.first() == Some(&value)
    })?;
    function.ty(*function.ops[quantize].results.first()?).as_tensor()
}

/// What pixels mean to an 8-bit quantized type. Wider types hold far more than 256 steps and say nothing.
fn of_type(ty: &TensorType) -> Option<Normalization> {
    let (affine, quant) = (ty.affine()?, ty.quant()?);
    if quant.storage.size_bytes() != 1 {
        return None;
    }
    let real = |stored: i64| affine.scale.get() * (stored - i64::from(affine.zero_point)) as f32;
    let (low, high) = (real(quant.min), real(quant.max));
    let near = |&&(least, greatest): &&(f32, f32)| {
        let off = (low - least).abs().max((high - greatest).abs());
        off <= TOLERANCE * (greatest - least)
    };
    let &(least, greatest) = CONVENTIONS.iter().find(near)?;
    let std = 255.0 / (greatest - least);
    Some(Normalization::new(0.0 - least * std, std))
}
