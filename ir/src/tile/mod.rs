//! The `tile` dialect: tensor operations that run row by row over windows of their tensors.
//!
//! A cascade changes when rows are made and how long they are held, never what they hold: its results are those of its
//! operations run one after the other. Lowering turns it into a `loop.cascade` over scattered buffers. An input that is received
//! row by row never lies in memory as a whole, if its rows are used up in the cascade; nor does an output that is sent row by
//! row, if they are made there.

mod eval;
pub mod ops;

pub use eval::{evaluate, handed_over};
pub use ops::TileOp;

use crate::module::{Function, Op, OpKind, Value};
use crate::nn::NnOp;
use crate::nn::rows::{folded_rows, row_needs};
use crate::rows::{RowNeed, image_rows};
use crate::types::{TensorType, Type};

/// What a `tile` op checks beyond the structure that its row declares.
pub trait TileSemantics {
    /// Adds a message for every constraint that does not hold.
    fn verify(&self, operands: &[&Type], results: &[&Type], report: &mut Vec<String>);
}

/// An operation in the body of a cascade.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stage {
    /// The operation.
    pub op: Op,
    /// How often it is named by the schedule: its rows, or 1 if it makes all of them at once, or the rows of its operand if
    /// it folds these.
    pub rows: usize,
    /// Whether it folds the rows of its operand into results that are there after the last one.
    pub folds: bool,
    /// Rows that it needs of each operand.
    pub needs: Vec<RowNeed>,
}

impl Stage {
    /// The operation as a stage of a cascade; `None` if it is no tensor operation that can be one.
    pub fn of(function: &Function, op: Op) -> Option<Self> {
        let data = &function.ops[op];
        let kind = match &data.kind {
            OpKind::Nn(kind) => kind,
            OpKind::Tile(TileOp::Receive(_)) => {
                let rows = image_rows(&tensors(function, &data.results)?.first()?.shape).unwrap_or(1);
                return Some(Self { op, rows, folds: false, needs: vec![RowNeed::same(rows)] });
            }
            OpKind::Tile(TileOp::Send(_)) => {
                let rows = image_rows(&tensors(function, &data.operands)?.first()?.shape).unwrap_or(1);
                return Some(Self { op, rows, folds: false, needs: vec![RowNeed::same(rows)] });
            }
            _ => return None,
        };
        if matches!(kind, NnOp::Const(_) | NnOp::Reshape(_)) {
            return None;
        }
        let operands = tensors(function, &data.operands)?;
        let results = tensors(function, &data.results)?;
        if let Some(rows) = folded_rows(kind, &operands) {
            return Some(Self { op, rows, folds: true, needs: vec![RowNeed::same(rows)] });
        }
        let needs = row_needs(kind, &operands, &results);
        let rows = results.first().and_then(|result| image_rows(&result.shape)).unwrap_or(1);
        Some(match needs {
            Some(needs) => Self { op, rows, folds: false, needs },
            None => Self { op, rows: 1, folds: false, needs: vec![RowNeed::Whole; operands.len()] },
        })
    }

    /// Rows of its results, counted as it makes them: 1 if it makes all of them at once.
    pub fn result_rows(&self) -> usize {
        self.made(self.rows)
    }

    /// Rows of its results that are made once it was named `count` times.
    pub fn made(&self, count: usize) -> usize {
        if self.folds { count / self.rows } else { count }
    }
}

fn tensors<'f>(function: &'f Function, values: &[Value]) -> Option<Vec<&'f TensorType>> {
    values.iter().map(|&value| function.ty(value).as_tensor()).collect()
}

/// Stages of a cascade and the values that it yields.
pub fn body_of(function: &Function, cascade: Op) -> Option<(Vec<Stage>, &[Value])> {
    let &body = function.ops[cascade].regions.first()?;
    let (&last, ops) = function.blocks[body].ops.split_last()?;
    let OpKind::Tile(TileOp::Yield(_)) = &function.ops[last].kind else { return None };
    let stages = ops.iter().map(|&op| Stage::of(function, op)).collect::<Option<_>>()?;
    Some((stages, &function.ops[last].operands))
}
