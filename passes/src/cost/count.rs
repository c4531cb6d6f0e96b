//! How often every block of a kernel runs.
//!
//! Bounds of loops and conditions that depend on nothing but constants, rows and induction variables are evaluated, so that
//! clipped windows and code for borders are counted exactly: a loop whose induction variable decides about something inside
//! is run through, any other is multiplied. What depends on data is estimated: a loop makes half of the trips that the ranges
//! of its bounds allow, and each side of a condition is taken half of the time.

use crate::analysis::index_range::Ranges;
use mcunet_ir::attr::Number;
use mcunet_ir::loops::LoopOp;
use mcunet_ir::loops::eval::compare;
use mcunet_ir::loops::ops::Depthwise;
use mcunet_ir::module::{Block, Function, Op, OpKind, Value};
use std::collections::{HashMap, HashSet};

/// Iterations that are run through for one kernel at most; beyond that the middle one stands for all of a loop.
const MAX_RUNS: usize = 1 << 18;

/// Executions of the blocks of a kernel, over all its rows.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Executions of each block.
    blocks: HashMap<Block, f64>,
    /// Entries of each loop, and those of them that make no trip at all.
    loops: HashMap<Op, [f64; 2]>,
    /// Most trips of each loop that its bounds allow, whatever they turn out to be.
    most_trips: HashMap<Op, u64>,
    /// Rows under the window of each `loop.depthwise`, over all executions.
    window_rows: HashMap<Op, f64>,
}

impl Counts {
    /// Counts the blocks of `kernel`, which makes `rows` rows.
    pub fn of(function: &Function, kernel: Op, rows: usize) -> Self {
        let body = function.ops[kernel].regions[0];
        let mut counter = Counter {
            function,
            decisive: decisive(function, body),
            known: HashMap::new(),
            counts: Counts::default(),
            runs: 0,
        };
        let mut ranges = Ranges::default();
        let row = function.blocks[body].args.first().copied();
        if let Some(row) = row {
            ranges.set(row, [0, rows as i64 - 1]);
        }
        counter.bound(body, &mut ranges);
        match row {
            Some(row) if counter.decisive.contains(&row) => {
                for index in 0..rows {
                    counter.known.insert(row, index as i64);
                    counter.block(body, 1.0);
                }
            }
            _ => counter.block(body, rows as f64),
        }
        counter.counts
    }

    /// Executions of a block.
    pub fn block(&self, block: Block) -> f64 {
        self.blocks.get(&block).copied().unwrap_or(0.0)
    }

    /// Entries of a loop that make at least one trip.
    pub fn entries(&self, op: Op) -> f64 {
        self.loops.get(&op).map_or(0.0, |[all, empty]| all - empty)
    }

    /// Entries of a loop that make no trip.
    pub fn skips(&self, op: Op) -> f64 {
        self.loops.get(&op).map_or(0.0, |&[_, empty]| empty)
    }

    /// Rows under the windows of a `loop.depthwise` that are there.
    pub fn window_rows(&self, op: Op) -> f64 {
        self.window_rows.get(&op).copied().unwrap_or(0.0)
    }

    /// Most trips of a loop that its bounds allow.
    pub fn most_trips(&self, op: Op) -> u64 {
        self.most_trips.get(&op).copied().unwrap_or(0)
    }
}

/// Values that bounds and conditions depend on.
fn decisive(function: &Function, body: Block) -> HashSet<Value> {
    let mut found = HashSet::new();
    let mut open = Vec::new();
    function.walk_block(body, &mut |op| {
        let data = &function.ops[op];
        match &data.kind {
            OpKind::Loop(LoopOp::For(_)) => open.extend(&data.operands[..2]),
            OpKind::Loop(LoopOp::If(_)) => open.push(data.operands[0]),
            OpKind::Loop(LoopOp::Depthwise(_)) => open.extend(&data.operands[4..6]),
            _ => {}
        }
    });
    while let Some(value) = open.pop() {
        if found.insert(value)
            && let Some(op) = function.defining_op(value)
            && function.ops[op].regions.is_empty()
        {
            open.extend(
                function.ops[op]
                    .operands
                    .iter()
                    .filter(|&&operand| function.ty(operand).as_memref().is_none()),
            );
        }
    }
    found
}

struct Counter<'f> {
    function: &'f Function,
    decisive: HashSet<Value>,
    known: HashMap<Value, i64>,
    counts: Counts,
    runs: usize,
}

impl Counter<'_> {
    /// Notes the most trips of every loop.
    fn bound(&mut self, block: Block, ranges: &mut Ranges) {
        let function = self.function;
        for &op in &function.blocks[block].ops {
            let data = &function.ops[op];
            let OpKind::Loop(kind) = &data.kind else { continue };
            if let LoopOp::For(head) = kind {
                let most = ranges.enter_loop(function, op, head.step);
                self.counts.most_trips.insert(op, most);
            } else {
                ranges.note(function, op, kind);
            }
            for &region in &data.regions {
                self.bound(region, ranges);
            }
        }
    }

    /// Counts `times` executions of a block.
    fn block(&mut self, block: Block, times: f64) {
        *self.counts.blocks.entry(block).or_default() += times;
        let function = self.function;
        for &op in &function.blocks[block].ops {
            let data = &function.ops[op];
            let OpKind::Loop(kind) = &data.kind else { continue };
            match kind {
                LoopOp::For(head) => self.for_loop(op, i64::from(head.step).max(1), times),
                LoopOp::Depthwise(_) => {
                    let bounds = [4, 5].map(|i| self.known.get(&data.operands[i]).copied());
                    let all = Depthwise::rows(&data.operands).len() as f64;
                    let there = match bounds {
                        [Some(first), Some(end)] => (end.saturating_sub(first) as f64).clamp(0.0, all),
                        _ => all,
                    };
                    *self.counts.window_rows.entry(op).or_default() += times * there;
                }
                LoopOp::If(_) => {
                    let [then, otherwise] = data.regions[..] else { continue };
                    match self.known.get(&data.operands[0]) {
                        Some(0) => self.block(otherwise, times),
                        Some(_) => self.block(then, times),
                        None => {
                            [then, otherwise].map(|side| self.block(side, times / 2.0)).into_iter().collect()
                        }
                    }
                }
                _ => {
                    if let &[result] = &data.results[..]
                        && self.decisive.contains(&result)
                    {
                        // A value of an earlier iteration must not survive.
                        match self.evaluate(op, kind) {
                            Some(value) => self.known.insert(result, value),
                            None => self.known.remove(&result),
                        };
                    }
                }
            }
        }
    }

    fn for_loop(&mut self, op: Op, step: i64, times: f64) {
        let data = &self.function.ops[op];
        let body = data.regions[0];
        let bounds = [0, 1].map(|i| self.known.get(&data.operands[i]).copied());
        let entry = self.counts.loops.entry(op).or_default();
        entry[0] += times;
        let [Some(lower), Some(upper)] = bounds else {
            let most = self.counts.most_trips(op).min(1 << 20);
            return self.block(body, times * most as f64 / 2.0);
        };
        let trips = upper.saturating_sub(lower).max(0).unsigned_abs().div_ceil(step.unsigned_abs());
        if trips == 0 {
            entry[1] += times;
            return;
        }
        let induction = self.function.blocks[body].args.first().copied();
        let Some(induction) = induction.filter(|value| self.decisive.contains(value)) else {
            return self.block(body, times * trips as f64);
        };
        if self.runs.saturating_add(trips as usize) > MAX_RUNS {
            self.known.insert(induction, lower + trips as i64 / 2 * step);
            return self.block(body, times * trips as f64);
        }
        self.runs += trips as usize;
        for trip in 0..trips as i64 {
            self.known.insert(induction, lower + trip * step);
            self.block(body, times);
        }
    }

    /// The result of an operation on integers that are known.
    fn evaluate(&self, op: Op, kind: &LoopOp) -> Option<i64> {
        let operands = &self.function.ops[op].operands;
        let arg = |i: usize| self.known.get(operands.get(i)?).copied();
        Some(match kind {
            LoopOp::Const(head) => match head.value {
                Number::Int(value) => value,
                Number::Real(_) => return None,
            },
            LoopOp::Add(_) => arg(0)?.checked_add(arg(1)?)?,
            LoopOp::Sub(_) => arg(0)?.checked_sub(arg(1)?)?,
            LoopOp::Mul(_) => arg(0)?.checked_mul(arg(1)?)?,
            LoopOp::Div(_) => arg(0)?.checked_div(arg(1)?).unwrap_or(0),
            LoopOp::Rem(_) => arg(0)?.checked_rem(arg(1)?).unwrap_or(0),
            LoopOp::Min(_) => arg(0)?.min(arg(1)?),
            LoopOp::Max(_) => arg(0)?.max(arg(1)?),
            LoopOp::And(_) => arg(0)? & arg(1)?,
            LoopOp::Shl(_) => arg(0)?.checked_shl(u32::try_from(arg(1)?).ok()?)?,
            LoopOp::Shr(_) => arg(0)?.checked_shr(u32::try_from(arg(1)?).ok()?)?,
            LoopOp::Select(_) => arg(if arg(0)? != 0 { 1 } else { 2 })?,
            LoopOp::Cmp(head) => i64::from(compare(head.predicate, &arg(0)?, &arg(1)?)),
            _ => return None,
        })
    }
}
