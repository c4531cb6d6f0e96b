//! Operations that compute element by element or along dimensions.

use super::activation::{CLAMPS, equals, fused};
use super::{Exporter, Refusal, Site, int};
use crate::tflite::importer;
use crate::tflite::reader::{Activation, Addition, BuiltinOperator as B, OperatorOptions};
use mcunet_ir::TensorType;
use mcunet_ir::attr::Clamp;
use mcunet_ir::nn::ops as n;
use mcunet_ir::types::Scalar;

impl<'m> Exporter<'m> {
    /// An operator of the same operands, with options.
    pub(super) fn same(
        &mut self,
        site: &Site<'m>,
        code: B,
        options: OperatorOptions<'static>,
    ) -> Result<(), Refusal> {
        let inputs = self.operands(site)?;
        self.finish(site, code, inputs, options)
    }

    /// An operator of two operands with an activation.
    fn binary(
        &mut self,
        site: &Site<'m>,
        clamp: Clamp,
        allowed: &[Activation],
        code: B,
        options: impl FnOnce(Activation) -> OperatorOptions<'static>,
    ) -> Result<(), Refusal> {
        let inputs = self.operands(site)?;
        self.push_clamped(site.results[0], clamp, allowed, code, inputs, options)
    }

    /// The kernel of 32-bit integers ignores the activation.
    pub(super) fn add(&mut self, site: &Site<'m>, op: &n::Add) -> Result<(), Refusal> {
        let allowed = if site.outputs[0].storage() == Scalar::I32 { &CLAMPS[..1] } else { &CLAMPS[..] };
        self.binary(site, op.clamp, allowed, B::ADD, |activation| {
            OperatorOptions::Add(Addition { activation, pot_scale_int16: false })
        })
    }

    pub(super) fn sub(&mut self, site: &Site<'m>, op: &n::Sub) -> Result<(), Refusal> {
        self.binary(site, op.clamp, &CLAMPS, B::SUB, |activation| {
            OperatorOptions::Sub(Addition { activation, pot_scale_int16: false })
        })
    }

    pub(super) fn mul(&mut self, site: &Site<'m>, op: &n::Mul) -> Result<(), Refusal> {
        self.binary(site, op.clamp, &CLAMPS, B::MUL, |activation| OperatorOptions::Mul { activation })
    }

    pub(super) fn div(&mut self, site: &Site<'m>, op: &n::Div) -> Result<(), Refusal> {
        self.binary(site, op.clamp, &CLAMPS, B::DIV, |activation| OperatorOptions::Div { activation })
    }

    /// RELU and RELU_N1_TO_1 rescale and clamp, the latter not int16; RELU6 of integers clamps only. Where none of them fits, a
    /// LEAKY_RELU of slope 1 rescales with the same multiplier, and clamps follow.
    pub(super) fn relu(&mut self, site: &Site<'m>, op: &n::Relu) -> Result<(), Refusal> {
        let (x, from, to) = (self.operand(site.operands[0])?, site.inputs[0], site.outputs[0]);
        let float = to.storage() == Scalar::F32;
        let codes = [
            (Activation::Relu, B::RELU, true),
            (Activation::Relu6, B::RELU6, float || from.element == to.element),
            (Activation::ReluN1To1, B::RELU_N1_TO_1, to.storage() != Scalar::I16),
        ];
        let fits = |&&(activation, _, applies): &&(Activation, B, bool)| {
            applies && equals(activation, op.clamp, &to.element)
        };
        if let Some(&(_, code, _)) = codes.iter().find(fits) {
            return self.finish(site, code, vec![x], OperatorOptions::None);
        }
        if let Clamp::Real(low, high) = op.clamp
            && low.get() > high.get()
        {
            return Err(format!("expected limits in order, got {} and {}", low.get(), high.get()));
        }
        let result = site.results[0];
        if float {
            return self.clamp(x, op.clamp, result);
        }
        let options = OperatorOptions::LeakyRelu { alpha: 1.0 };
        if fused(op.clamp, &to.element, &CLAMPS[..1]).is_some() {
            return self.finish(site, B::LEAKY_RELU, vec![x], options);
        }
        let open = self.between(result, to.clone())?;
        self.push(B::LEAKY_RELU, vec![x], vec![open], options);
        self.clamp(open, op.clamp, result)
    }

    pub(super) fn l2_normalization(&mut self, site: &Site<'m>) -> Result<(), Refusal> {
        self.same(site, B::L2_NORMALIZATION, OperatorOptions::L2Norm { activation: Activation::None })
    }

    /// A reduction over axes.
    pub(super) fn reduce(
        &mut self,
        site: &Site<'m>,
        code: B,
        axes: &[usize],
        keep_dims: bool,
    ) -> Result<(), Refusal> {
        let x = self.operand(site.operands[0])?;
        let axes = self.list("axes", axes)?;
        self.finish(site, code, vec![x, axes], OperatorOptions::Reducer { keep_dims })
    }

    /// Two MEANs, the second of which also drops the dimensions of 1 that the first has left.
    pub(super) fn mean_of_means(&mut self, site: &Site<'m>, op: &n::MeanOfMeans) -> Result<(), Refusal> {
        let x = self.operand(site.operands[0])?;
        let means = self.between(site.results[0], op.between(site.inputs[0])?)?;
        let inner = self.list("axes", &op.inner)?;
        self.push(B::MEAN, vec![x, inner], vec![means], OperatorOptions::Reducer { keep_dims: true });
        let mut axes = [op.inner.as_slice(), &op.outer].concat();
        axes.sort_unstable();
        let axes = self.list("axes", &axes)?;
        self.finish(site, B::MEAN, vec![means, axes], OperatorOptions::Reducer { keep_dims: op.keep_dims })
    }

    /// An index along an axis.
    pub(super) fn argument(
        &mut self,
        site: &Site<'m>,
        code: B,
        axis: usize,
        options: OperatorOptions<'static>,
    ) -> Result<(), Refusal> {
        let x = self.operand(site.operands[0])?;
        let axis = self.integers("axis", [1], [int(axis, "an axis")?.into()])?;
        self.finish(site, code, vec![x, axis], options)
    }

    /// QUANTIZE and DEQUANTIZE: a file quantizes these types only as far as the importer reads it.
    pub(super) fn convert(
        &mut self,
        site: &Site<'m>,
        code: B,
        options: OperatorOptions<'static>,
    ) -> Result<(), Refusal> {
        let wide = |ty: &&&TensorType| ty.quant().is_some() && ty.storage() == Scalar::I32;
        if site.inputs.iter().chain(&site.outputs).any(|ty| wide(&ty)) {
            return Err("expected quantized numbers of 8 or 16 bits, got 32".to_owned());
        }
        self.same(site, code, options)
    }

    pub(super) fn cast(&mut self, site: &Site<'m>) -> Result<(), Refusal> {
        let [input_type, output_type] =
            [site.inputs[0], site.outputs[0]].map(|ty| importer::element_type(ty.storage()));
        self.same(site, B::CAST, OperatorOptions::Cast { input_type, output_type })
    }

    pub(super) fn shape_of(&mut self, site: &Site<'m>) -> Result<(), Refusal> {
        let output_type = importer::element_type(site.outputs[0].storage());
        self.same(site, B::SHAPE, OperatorOptions::Shape { output_type })
    }
}
