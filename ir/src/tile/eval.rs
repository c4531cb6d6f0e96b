//! What a cascade computes: its operations, a row at a time, on tensors of which only windows exist.
//!
//! A row that is not made yet or no longer held is filled with other data, so that an operation that reads it anyway gives
//! wrong results.

use super::ops::Cascade;
use super::{Stage, TileOp, body_of};
use crate::define::Trait;
use crate::module::{Function, Op, OpKind, Value};
use crate::nn::ops::{AvgPool2d, Conv2d, Conv2dAdd, DepthwiseConv2d, Insert, MaxPool2d};
use crate::nn::{EvalError, NnOp};
use crate::rows::RowNeed;
use crate::tensor::{Data, Tensor};
use crate::types::TensorType;
use std::collections::HashMap;
use std::ops::Range;

/// Runs a cascade; `values` holds what its body uses from around it.
///
/// # Errors
/// If an operation can't be evaluated, which the verifier would have reported.
pub fn evaluate(
    function: &Function,
    op: Op,
    cascade: &Cascade,
    values: &HashMap<Value, Tensor>,
) -> Result<Vec<Tensor>, EvalError> {
    let unsupported = |message: &str| EvalError::Unsupported(message.to_owned());
    let (stages, yielded) =
        body_of(function, op).ok_or_else(|| unsupported("expected a cascade of tensor operations"))?;
    let mut inner: HashMap<Value, Tensor> = HashMap::new();
    for &result in stages.iter().flat_map(|stage| &function.ops[stage.op].results) {
        let ty = function.ty(result).as_tensor().ok_or_else(|| unsupported("expected tensors"))?;
        let data = noise(&Data::zeros(ty.storage(), ty.elements()));
        inner.insert(result, Tensor::new(ty.clone(), data)?);
    }
    // What operations that fold rows have seen of their operands.
    let mut folded: HashMap<Op, Tensor> = HashMap::new();
    for (stage, row) in cascade.schedule.steps() {
        let held = cascade.held.get(stage).copied().unwrap_or(1);
        let stage = stages.get(stage).ok_or_else(|| unsupported("expected a schedule of the stages"))?;
        let value = |value| inner.get(&value).or_else(|| values.get(&value));
        let made = match stage.folds {
            true => fold_row(function, stage, row, &mut folded, &value)?,
            false => make_row(function, stage, row, &value)?,
        };
        for (&result, rows) in function.ops[stage.op].results.iter().zip(made) {
            if stage.result_rows() == 1 {
                inner.insert(result, rows);
                continue;
            }
            let Some(tensor) = inner.get_mut(&result) else { continue };
            replace_row(tensor, row, &rows.data);
            if let Some(gone) = row.checked_sub(held) {
                let noise = noise(&rows.data);
                replace_row(tensor, gone, &noise);
            }
        }
    }
    let missing = || unsupported("expected the cascade to make what it yields");
    yielded.iter().map(|value| inner.get(value).cloned().ok_or_else(missing)).collect()
}

/// The results of a stage that folds rows, if `row` is the last one; until then there are none.
fn fold_row<'t>(
    function: &Function,
    stage: &Stage,
    row: usize,
    folded: &mut HashMap<Op, Tensor>,
    value: &dyn Fn(Value) -> Option<&'t Tensor>,
) -> Result<Vec<Tensor>, EvalError> {
    let data = &function.ops[stage.op];
    let unsupported = |message: &str| EvalError::Unsupported(message.to_owned());
    let OpKind::Nn(kind) = &data.kind else { return Err(unsupported("expected a tensor operation")) };
    let operand = value(data.operands[0]).ok_or_else(|| unsupported("an operand has no value"))?;
    let seen =
        folded.entry(stage.op).or_insert_with(|| Tensor { data: noise(&operand.data), ..operand.clone() });
    replace_row(seen, row, &rows_of(operand, row..row + 1));
    if row + 1 < stage.rows {
        return Ok(Vec::new());
    }
    let results = data.results.iter().map(|&result| function.ty(result).as_tensor());
    let results: Vec<&TensorType> =
        results.collect::<Option<_>>().ok_or_else(|| unsupported("expected tensors"))?;
    kind.semantics().evaluate(&[seen], &results)
}

/// Row `row` of the results of a stage, or all of them if it makes them at once.
fn make_row<'t>(
    function: &Function,
    stage: &Stage,
    row: usize,
    value: &dyn Fn(Value) -> Option<&'t Tensor>,
) -> Result<Vec<Tensor>, EvalError> {
    let data = &function.ops[stage.op];
    if let OpKind::Tile(TileOp::Receive(_) | TileOp::Send(_)) = data.kind {
        let whole = handed_over(function, stage.op, value(data.operands[0]))?;
        let elements = whole.data.len() / stage.rows.max(1);
        let row = whole.data.pick(row * elements..(row + 1) * elements);
        let ty = whole.ty.with_shape([elements]);
        return Ok(vec![if stage.rows == 1 { whole } else { Tensor { ty, data: row } }]);
    }
    let OpKind::Nn(kind) = &data.kind else {
        return Err(EvalError::Unsupported("expected a tensor operation".to_owned()));
    };
    let missing = || EvalError::Unsupported("an operand has no value".to_owned());
    let operands: Vec<&Tensor> =
        data.operands.iter().map(|&operand| value(operand).ok_or_else(missing)).collect::<Result<_, _>>()?;
    let results: Vec<&TensorType> = data
        .results
        .iter()
        .map(|&result| function.ty(result).as_tensor().ok_or_else(missing))
        .collect::<Result<_, _>>()?;
    if stage.rows == 1 {
        return kind.semantics().evaluate(&operands, &results);
    }
    let single: Vec<TensorType> = results.iter().map(|ty| of_rows(ty, 1)).collect();
    match at_row(kind, &operands, &stage.needs, row) {
        Some(kind) => {
            let cut: Vec<Tensor> =
                operands.iter().zip(&stage.needs).map(|(x, need)| cut(x, need, row)).collect();
            kind.semantics().evaluate(&cut.iter().collect::<Vec<_>>(), &single.iter().collect::<Vec<_>>())
        }
        None => {
            let whole = kind.semantics().evaluate(&operands, &results)?;
            whole
                .iter()
                .zip(&single)
                .map(|(x, ty)| Ok(Tensor::new(ty.clone(), rows_of(x, row..row + 1))?))
                .collect()
        }
    }
}

/// What a `tile.receive` or `tile.send` has handed over in the end: its operand, in the shape of the result.
///
/// # Errors
/// If the operand has no value, which the verifier would have reported.
pub fn handed_over(function: &Function, op: Op, input: Option<&Tensor>) -> Result<Tensor, EvalError> {
    let ty = function.ops[op].results.first().and_then(|&result| function.ty(result).as_tensor());
    let missing = || EvalError::Unsupported("what is handed over has no value".to_owned());
    let (ty, input) = (ty.ok_or_else(missing)?, input.ok_or_else(missing)?);
    Ok(Tensor { ty: ty.clone(), data: input.data.clone() })
}

/// The operation that makes a single row from the rows it needs, with the padding that is left of its window; `None` if
/// that is no operation of the same kind.
fn at_row(op: &NnOp, operands: &[&Tensor], needs: &[RowNeed], row: usize) -> Option<NnOp> {
    let pad = |pad: [u32; 4]| {
        let need = needs.first()?;
        let RowNeed::Window { stride, before, extent, rows } = *need else { return None };
        let first = (row * stride) as i64 - before;
        let above = (-first).max(0) as u32;
        let below = (first + extent as i64 - rows as i64).max(0) as u32;
        (!need.span(row).is_empty()).then_some([above, below, pad[2], pad[3]])
    };
    Some(match op {
        NnOp::Conv2d(op) => Conv2d { pad: pad(op.pad)?, ..op.clone() }.into(),
        NnOp::Conv2dAdd(op) => Conv2dAdd { pad: pad(op.pad)?, ..op.clone() }.into(),
        NnOp::DepthwiseConv2d(op) => DepthwiseConv2d { pad: pad(op.pad)?, ..op.clone() }.into(),
        NnOp::AvgPool2d(op) => AvgPool2d { pad: pad(op.pad)?, ..op.clone() }.into(),
        NnOp::MaxPool2d(op) => MaxPool2d { pad: pad(op.pad)?, ..op.clone() }.into(),
        NnOp::Concat(_) | NnOp::Split(_) => op.clone(),
        // A row beside the tile gets none of the tile's rows.
        NnOp::Insert(op) => {
            let mut begin = op.begin.clone();
            *begin.get_mut(1)? = 0;
            Insert { begin }.into()
        }
        _ if op.spec().has(Trait::Elementwise) && operands.iter().zip(needs).all(is_cut_or_broadcast) => {
            op.clone()
        }
        _ => return None,
    })
}

/// Whether an elementwise operand is cut to the row, or has the same elements for every row.
fn is_cut_or_broadcast((operand, need): (&&Tensor, &RowNeed)) -> bool {
    let shape = &operand.ty.shape;
    let rows = shape.rank().checked_sub(3).map_or(1, |axis| shape[axis]);
    *need != RowNeed::Whole || rows == 1
}

fn of_rows(ty: &TensorType, rows: usize) -> TensorType {
    let mut shape = ty.shape.clone();
    if let Some(height) = shape.0.get_mut(1) {
        *height = rows;
    }
    ty.with_shape(shape)
}

/// The rows of an operand that a row of the result needs.
fn cut(operand: &Tensor, need: &RowNeed, row: usize) -> Tensor {
    match need {
        RowNeed::Whole => operand.clone(),
        _ => {
            let span = need.span(row);
            Tensor { ty: of_rows(&operand.ty, span.len()), data: rows_of(operand, span) }
        }
    }
}

fn row_elements(tensor: &Tensor) -> usize {
    tensor.ty.shape.iter().skip(2).product()
}

fn rows_of(tensor: &Tensor, rows: Range<usize>) -> Data {
    let elements = row_elements(tensor);
    tensor.data.pick(rows.start * elements..rows.end * elements)
}

/// Puts a row in its place. What is sent may count its rows otherwise than its shape says.
fn replace_row(tensor: &mut Tensor, row: usize, data: &Data) {
    let first = row * data.len();
    macro_rules! replace {
        ($($variant:ident)*) => {
            match (&mut tensor.data, data) {
                $((Data::$variant(into), Data::$variant(from)) => {
                    if let Some(into) = into.get_mut(first..first + from.len()) {
                        into.copy_from_slice(from);
                    }
                })*
                _ => {}
            }
        };
    }
    replace!(I1 I8 I16 I32 I64 U8 U16 U32 U64 F32);
}

/// Data of the same type and size that no network would compute.
fn noise(like: &Data) -> Data {
    let count = like.len();
    match like {
        Data::F32(_) => Data::F32(vec![f32::NAN; count]),
        other => Data::from_i64s(other.scalar(), (0..count as i64).map(|i| i * 37 - 91))
            .unwrap_or_else(|| Data::zeros(other.scalar(), count)),
    }
}
