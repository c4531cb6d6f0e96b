//! What was decided about every value and layer, and what it costs.

use super::measure::{self, Agreement, Noise};
use super::observe::Observations;
use super::range::Estimator;
use super::rewrite::{Rewritten, constant};
use mcunet_ir::module::OpKind;
use mcunet_ir::nn::NnOp;
use mcunet_ir::quant::{Affine, Granularity};
use mcunet_ir::{Diagnostics, Function, Module, Op, Origin, Tensor, Value};

/// A value of the float module that has integers.
#[derive(Clone, Debug)]
pub struct ValueReport {
    /// Its name, or that of the op that makes it.
    pub name: String,
    /// The op that makes it; `input` for an input.
    pub op: &'static str,
    /// Shape.
    pub shape: String,
    /// Least and greatest number on the samples.
    pub seen: (f32, f32),
    /// Scale and zero point.
    pub affine: Affine,
    /// Difference from the float model, of the value as the integer model computes it.
    pub noise: Noise,
    /// Weights, if the op is a layer with weights.
    pub weights: Option<WeightReport>,
}

/// Weights of a layer.
#[derive(Clone, Debug)]
pub struct WeightReport {
    /// Bits of each.
    pub bits: u32,
    /// Number of weights.
    pub count: usize,
    /// Bytes of filter and bias as floats.
    pub float_bytes: usize,
    /// Bytes of filter and bias as integers.
    pub bytes: usize,
    /// Least and greatest scale of its channels.
    pub scales: (f32, f32),
    /// Difference of the weights from the floats.
    pub noise: Noise,
}

/// An op that stays in float.
#[derive(Clone, Debug)]
pub struct RealReport {
    /// The op.
    pub op: &'static str,
    /// Where it comes from.
    pub origin: Origin,
    /// Why.
    pub reason: String,
}

/// An assignment of bits to layers as it was measured.
#[derive(Clone, Copy, Debug)]
pub struct Trial {
    /// Bytes of all filters.
    pub weight_bytes: usize,
    /// Layers with 8, 4 and 2 bits.
    pub layers: [usize; 3],
    /// The outputs against the float model's.
    pub agreement: Agreement,
    /// Whether it is the one that was taken.
    pub taken: bool,
}

/// Everything there is to say.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Values in the order in which they are made.
    pub values: Vec<ValueReport>,
    /// How ranges follow from the samples.
    pub range: Option<Estimator>,
    /// Ops that stay in float.
    pub real: Vec<RealReport>,
    /// Assignments of bits that were tried, if bits were assigned, from most bytes to fewest.
    pub tried: Vec<Trial>,
    /// Pairs of layers whose channels were evened out.
    pub equalized: usize,
    /// The outputs against the float model's.
    pub agreement: Agreement,
    /// Bytes of constants of the float module.
    pub float_bytes: usize,
    /// Bytes of constants of the integer module.
    pub bytes: usize,
}

impl Report {
    /// Measures a rewritten module against the float one on samples.
    ///
    /// # Errors
    /// An op that fails.
    pub fn new(
        module: &Module,
        seen: &Observations,
        rewritten: &Rewritten,
        samples: &[Vec<Tensor>],
    ) -> Result<Self, Diagnostics> {
        let function = &module.functions[0];
        let mut noises = measure::of_values(module, rewritten, samples)?;
        let mut values = Vec::new();
        let arguments = function.blocks[function.body].args.iter().map(|&value| (None, value));
        let walked = function.walk();
        let results = walked
            .iter()
            .flat_map(|&op| function.ops[op].results.iter().map(move |&value| (Some(op), value)));
        for (op, value) in arguments.chain(results) {
            let (Some(integers), Some(histogram)) = (rewritten.integers.get(&value), seen.of(value)) else {
                continue;
            };
            let new = &rewritten.module.functions[0];
            let Some(affine) = new.ty(*integers).as_tensor().and_then(|ty| ty.affine()) else { continue };
            values.push(ValueReport {
                name: name(function, op, value),
                op: op.map_or("input", |op| function.ops[op].kind.name()),
                shape: function.ty(value).as_tensor().map(|ty| ty.shape.to_string()).unwrap_or_default(),
                seen: histogram.extremes(),
                affine,
                noise: noises.remove(&value).unwrap_or_default(),
                weights: op.and_then(|op| weights(module, rewritten, op)),
            });
        }
        let real = rewritten.real.iter().map(|(op, reason)| RealReport {
            op: function.ops[*op].kind.name(),
            origin: function.ops[*op].origin.clone(),
            reason: reason.clone(),
        });
        let (exact, found) =
            (measure::outputs(module, samples)?, measure::outputs(&rewritten.module, samples)?);
        let bytes = |module: &Module| constant_bytes(&module.functions[0]);
        Ok(Self {
            values,
            range: None,
            real: real.collect(),
            tried: Vec::new(),
            equalized: 0,
            agreement: Agreement::of(&exact, &found),
            float_bytes: bytes(module),
            bytes: bytes(&rewritten.module),
        })
    }
}

fn name(function: &Function, op: Option<Op>, value: Value) -> String {
    let own = function.values[value].name.as_ref().map(|name| name.to_string());
    let origin = op.and_then(|op| match &function.ops[op].origin {
        Origin::Model { name, .. } => Some(name.to_string()),
        _ => None,
    });
    own.or(origin).unwrap_or_else(|| op.map_or("value", |op| function.ops[op].kind.name()).to_owned())
}

/// Bytes of all constants that a function reads.
pub fn constant_bytes(function: &Function) -> usize {
    let used = function.use_counts();
    let mut seen = std::collections::HashSet::new();
    let mut bytes = 0;
    for op in function.walk() {
        let data = &function.ops[op];
        let OpKind::Nn(NnOp::Const(constant)) = &data.kind else { continue };
        if !data.results.iter().any(|result| used.contains_key(result))
            || !seen.insert(constant.value.name.clone())
        {
            continue;
        }
        bytes += function.ty(data.results[0]).as_tensor().map_or(0, mcunet_ir::TensorType::packed_bytes);
    }
    bytes
}

fn weights(module: &Module, rewritten: &Rewritten, op: Op) -> Option<WeightReport> {
    let (old, new) = (&module.functions[0], &rewritten.module.functions[0]);
    let layer = &new.ops[*rewritten.layers.get(&op)?];
    let exact = constant(module, old, old.ops[op].operands[1])?;
    let filter = constant(&rewritten.module, new, layer.operands[1])?;
    let bias = constant(&rewritten.module, new, layer.operands[2])?;
    let mut noise = Noise::default();
    noise.add(exact.f32s().ok()?, super::weights::dequantized(&filter)?.f32s().ok()?);
    let scales = match &filter.ty.quant()?.granularity {
        Granularity::PerTensor(affine) => (affine.scale.get(), affine.scale.get()),
        Granularity::PerAxis { channels, .. } => {
            let scales = channels.iter().map(|affine| affine.scale.get());
            scales.fold((f32::INFINITY, 0.0), |(low, high): (f32, f32), scale| {
                (low.min(scale), high.max(scale))
            })
        }
    };
    Some(WeightReport {
        bits: filter.ty.storage().bits() as u32,
        count: filter.ty.elements(),
        float_bytes: exact.ty.size_bytes() + 4 * bias.ty.elements(),
        bytes: filter.ty.packed_bytes() + bias.ty.size_bytes(),
        scales,
        noise,
    })
}
