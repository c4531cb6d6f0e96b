//! Compares lowered kernels with the semantics of the ops that they came from, on random tensors.

use mcunet_ir::loops::interp::{Options, run};
use mcunet_ir::module::{OpKind, Port};
use mcunet_ir::nn::NnOp;
use mcunet_ir::nn::ops as nn;
use mcunet_ir::quant::{Affine, F32, QuantType};
use mcunet_ir::tensor::Data;
use mcunet_ir::types::{Element, Scalar, Shape};
use mcunet_ir::verify::verify;
use mcunet_ir::{Builder, Function, Module, Tensor, TensorType, Type};
use mcunet_passes::lower::{CoreFeatures, lower_module};

/// The generator splitmix64. Source: Steele, Lea, Flood, *Fast Splittable Pseudorandom Number Generators*, OOPSLA 2014.
pub struct Random(pub u64);

#[allow(dead_code)]
impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number of `low..=high`.
    pub fn range(&mut self, low: i64, high: i64) -> i64 {
        low + (self.next() % (high - low + 1) as u64) as i64
    }

    pub fn size(&mut self, low: usize, high: usize) -> usize {
        self.range(low as i64, high as i64) as usize
    }

    pub fn flag(&mut self) -> bool {
        self.next() & 1 == 1
    }

    /// A number of `[low, high)`.
    pub fn real(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * ((self.next() >> 40) as f32 / (1u32 << 24) as f32)
    }

    /// A scale whose logarithm is uniform.
    pub fn scale(&mut self, low: f32, high: f32) -> f32 {
        self.real(low.ln(), high.ln()).exp()
    }

    pub fn zero_point(&mut self) -> i32 {
        match self.range(0, 4) {
            0 => 0,
            1 => -128,
            2 => 127,
            _ => self.range(-128, 127) as i32,
        }
    }

    /// int8, quantized per tensor.
    pub fn int8(&mut self, shape: &[usize], scale: f32, zero_point: i32) -> Tensor {
        let quant = QuantType::per_tensor(Scalar::I8, scale, zero_point);
        let ty = TensorType::quantized(Shape(shape.to_vec()), quant);
        // Now and then only extremes, where accumulators are largest.
        let extreme = self.range(0, 7) == 0;
        let count = ty.elements();
        let element = |r: &mut Self| match extreme {
            true => [-128, 127][r.size(0, 1)],
            false => r.range(-128, 127) as i8,
        };
        let data: Vec<i8> = (0..count).map(|_| element(self)).collect();
        Tensor::new(ty, data).unwrap()
    }

    /// int8, symmetric, one scale per index along `axis`, or one for all.
    pub fn filter(&mut self, shape: &[usize], axis: usize, scales: (f32, f32)) -> Tensor {
        let mut tensor = self.int8(shape, 1.0, 0);
        let quant = if self.range(0, 3) == 0 {
            QuantType::per_tensor(Scalar::I8, self.scale(scales.0, scales.1), 0)
        } else {
            let channel = |r: &mut Self| Affine { scale: F32(r.scale(scales.0, scales.1)), zero_point: 0 };
            QuantType::per_axis(Scalar::I8, axis, (0..shape[axis]).map(|_| channel(self)).collect())
        };
        tensor.ty.element = Element::Quant(quant.into());
        tensor
    }

    pub fn int32(&mut self, count: usize, reach: i64) -> Tensor {
        let data: Vec<i32> = (0..count).map(|_| self.range(-reach, reach) as i32).collect();
        Tensor::new(TensorType::plain([count], Scalar::I32), data).unwrap()
    }

    pub fn float(&mut self, shape: &[usize], reach: f32) -> Tensor {
        let ty = TensorType::plain(Shape(shape.to_vec()), Scalar::F32);
        let data: Vec<f32> = (0..ty.elements()).map(|_| self.real(-reach, reach)).collect();
        Tensor::new(ty, data).unwrap()
    }
}

/// An int8 type.
#[allow(dead_code)]
pub fn int8_type(scale: f32, zero_point: i32) -> Element {
    Element::Quant(QuantType::per_tensor(Scalar::I8, scale, zero_point).into())
}

/// A function of one op; operands marked so are constants.
fn module_of(op: &NnOp, operands: &[(&Tensor, bool)], results: &[TensorType]) -> Module {
    let mut module = Module::new("case");
    let mut function = Function::new("main");
    let mut values = Vec::new();
    for (i, (tensor, constant)) in operands.iter().enumerate() {
        let ty = Type::from(tensor.ty.clone());
        if *constant {
            let name = format!("c{i}");
            let value = module.add_resource(&name, tensor.data.scalar(), tensor.data.to_bytes());
            let body = function.body;
            values.push(Builder::at_end(&mut function, body).value(nn::Const { value }, &[], ty));
        } else {
            values.push(function.add_input(format!("x{i}"), ty));
        }
    }
    let types: Vec<Type> = results.iter().map(|ty| ty.clone().into()).collect();
    function.outputs = types
        .iter()
        .enumerate()
        .map(|(i, ty)| Port { name: format!("y{i}").into(), ty: ty.clone() })
        .collect();
    let body = function.body;
    let mut b = Builder::at_end(&mut function, body);
    let op = b.op(OpKind::Nn(op.clone()), &values, &types);
    let results = b.function.ops[op].results.clone();
    b.op(mcunet_ir::builtin::Return {}, &results, &[]);
    module.functions.push(function);
    module
}

/// Runs the op's kernels, for cores with and without DSP, and compares with its semantics: integers exactly, floats
/// within a relative 1e-5. `element` is the element type of the results. `what` describes the case.
#[allow(dead_code)]
pub fn check(what: &str, op: impl Into<NnOp>, operands: &[(&Tensor, bool)], element: &Element) {
    let op = op.into();
    let tensors: Vec<&Tensor> = operands.iter().map(|(tensor, _)| *tensor).collect();
    let types: Vec<&TensorType> = tensors.iter().map(|tensor| &tensor.ty).collect();
    let shapes = op.semantics().infer_shapes(&types).unwrap_or_else(|error| panic!("{what}: {error}"));
    let results: Vec<TensorType> =
        shapes.into_iter().map(|shape| TensorType { shape, element: element.clone() }).collect();
    let expected = op.semantics().evaluate(&tensors, &results.iter().collect::<Vec<_>>());
    let expected = expected.unwrap_or_else(|error| panic!("{what}: {error}"));
    let module = module_of(&op, operands, &results);
    verify(&module).map(|_| ()).unwrap_or_else(|errors| panic!("{what}: {op:?}: {errors:?}"));
    let inputs: Vec<Tensor> =
        operands.iter().filter(|(_, constant)| !constant).map(|(tensor, _)| (*tensor).clone()).collect();
    for (dsp, unroll) in [(false, false), (false, true), (true, true)] {
        let mut lowered = module.clone();
        let features = CoreFeatures { dsp, unroll };
        lower_module(&mut lowered, features).unwrap_or_else(|errors| panic!("{what}: {op:?}: {errors:?}"));
        verify(&lowered).map(|_| ()).unwrap_or_else(|errors| panic!("{what}: {op:?}: {errors:?}"));
        let found = run(&lowered, &lowered.functions[0], &inputs, Options { shadow: true })
            .unwrap_or_else(|error| panic!("{what}: {op:?} {types:?} {features:?}: {error}"));
        for (found, expected) in found.iter().zip(&expected) {
            if let Some(difference) = difference(&found.data, &expected.data) {
                panic!("{what}: {op:?} {types:?} {results:?} {features:?}: {difference}");
            }
        }
    }
}

/// The first element that differs.
fn difference(found: &Data, expected: &Data) -> Option<String> {
    if let (Data::F32(found), Data::F32(expected)) = (found, expected) {
        let close = |a: f32, b: f32| {
            a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-5 * b.abs().max(1e-6)
        };
        let mut pairs = found.iter().zip(expected).enumerate();
        return pairs
            .find(|&(_, (&a, &b))| !close(a, b))
            .map(|(i, (a, b))| format!("element {i}: expected {b}, got {a}"));
    }
    let (found, expected) = (found.to_i64s()?, expected.to_i64s()?);
    let mut pairs = found.iter().zip(&expected).enumerate();
    pairs.find(|(_, (a, b))| a != b).map(|(i, (a, b))| format!("element {i}: expected {b}, got {a}"))
}
