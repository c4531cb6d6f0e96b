//! Constant folding through the reference interpreter.

use crate::rewrite::{Pattern, Rewriter};
use mcunet_ir::define::Trait;
use mcunet_ir::module::OpKind;
use mcunet_ir::nn::NnOp;
use mcunet_ir::nn::ops as n;
use mcunet_ir::tensor::Data;
use mcunet_ir::{Op, Tensor, TensorType, Value};

/// Computes ops whose operands are all constant.
///
/// A fold that would enlarge the constants by more than `max_growth_bytes` is left alone: a tiled constant is better
/// made at run time than stored.
pub struct FoldConstants {
    /// Bytes by which a result may exceed its operands.
    pub max_growth_bytes: usize,
}

impl Pattern for FoldConstants {
    fn name(&self) -> &'static str {
        "ops folded to constants"
    }

    fn apply(&self, rewriter: &mut Rewriter<'_>, op: Op) -> bool {
        let Some(results) = self.evaluate(rewriter, op) else { return false };
        let names: Vec<_> = rewriter.function.ops[op]
            .results
            .iter()
            .map(|&result| rewriter.function.values[result].name.clone())
            .collect();
        let mut values = Vec::new();
        for (tensor, name) in results.into_iter().zip(names) {
            let name = name.unwrap_or_else(|| "folded".into());
            let value = rewriter.module.add_resource(&name, tensor.ty.storage(), tensor.data.to_bytes());
            values.extend(rewriter.insert(op, n::Const { value }, vec![], vec![tensor.ty.into()]));
        }
        rewriter.replace(op, &values);
        true
    }
}

impl FoldConstants {
    fn evaluate(&self, rewriter: &Rewriter<'_>, op: Op) -> Option<Vec<Tensor>> {
        let data = &rewriter.function.ops[op];
        let OpKind::Nn(kind) = &data.kind else { return None };
        if matches!(kind, NnOp::Const(_)) || !data.kind.has(Trait::Pure) {
            return None;
        }
        let is_used = |value: &Value| {
            rewriter.function.walk().iter().any(|&user| rewriter.function.ops[user].operands.contains(value))
        };
        if !data.results.iter().any(is_used) {
            return None;
        }
        let operands: Vec<Tensor> = match kind {
            // The result depends on the operand's type alone, so that its data may as well be absent.
            NnOp::ShapeOf(_) => {
                let ty = rewriter.tensor_type(data.operands[0])?.clone();
                let none = Data::zeros(ty.storage(), 0);
                vec![Tensor { ty, data: none }]
            }
            _ => data.operands.iter().map(|&operand| constant(rewriter, operand)).collect::<Option<_>>()?,
        };
        let types: Vec<&TensorType> =
            data.results.iter().map(|&result| rewriter.tensor_type(result)).collect::<Option<_>>()?;
        let operand_bytes: usize = operands.iter().map(|tensor| tensor.ty.size_bytes()).sum();
        let result_bytes: usize = types.iter().map(|ty| ty.size_bytes()).sum();
        if result_bytes > operand_bytes.saturating_add(self.max_growth_bytes) {
            return None;
        }
        let operands: Vec<&Tensor> = operands.iter().collect();
        kind.semantics().evaluate(&operands, &types).ok()
    }
}

/// The tensor of a constant value whose data is at hand.
pub fn constant(rewriter: &Rewriter<'_>, value: Value) -> Option<Tensor> {
    let op = rewriter.function.defining_op(value)?;
    let OpKind::Nn(NnOp::Const(constant)) = &rewriter.function.ops[op].kind else { return None };
    let bytes = rewriter.module.bytes(&constant.value)?;
    Tensor::from_bytes(rewriter.tensor_type(value)?.clone(), bytes).ok()
}
