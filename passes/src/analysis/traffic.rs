//! How often one invocation loads from and stores to each buffer.
//!
//! Counted from the lowered program: the accesses of a kernel's body, times the trips of the loops around them, times the
//! kernel's rows. A trip count that is not constant (taps of a window that the border clips) is bounded: by interval
//! arithmetic over the loop's bounds, whose `min` and `max` with constants limit them. Of the two sides of a `loop.if` the
//! more expensive one counts, buffer by buffer. So what is found is an upper bound, and exact but at borders.
//!
//! An access moves up to four bytes: an element of 64 bits takes two, and `loop.copy`, `loop.fill`, `loop.receive` and `loop.send`, which
//! become library calls, move four bytes at a time. Constants are in flash and don't count, nor does what the caller does
//! before and after: fill inputs and read outputs.

use super::index_range::Ranges;
use mcunet_ir::loops::LoopOp;
use mcunet_ir::loops::matmul;
use mcunet_ir::loops::ops::Depthwise;
use mcunet_ir::loops::program::Program;
use mcunet_ir::module::{Block, Function, Op, OpKind, Value};
use std::collections::BTreeMap;

/// Accesses to a buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Traffic {
    /// Loads.
    pub loads: u64,
    /// Stores.
    pub stores: u64,
}

impl Traffic {
    /// Loads and stores.
    pub fn accesses(self) -> u64 {
        self.loads.saturating_add(self.stores)
    }

    fn plus(self, other: Self) -> Self {
        self.each(other, u64::saturating_add)
    }

    fn times(self, count: u64) -> Self {
        self.each(Self { loads: count, stores: count }, u64::saturating_mul)
    }

    fn each(self, other: Self, combine: impl Fn(u64, u64) -> u64) -> Self {
        Self { loads: combine(self.loads, other.loads), stores: combine(self.stores, other.stores) }
    }
}

/// Traffic of every buffer that a lowered function touches.
pub fn traffic(function: &Function) -> BTreeMap<Value, Traffic> {
    let program = Program::of(function);
    let mut total = Counts::default();
    for (index, &kernel) in program.kernels.iter().enumerate() {
        let rows = program.head(function, index).rows as i64;
        let mut walk = Walk { function, ranges: Ranges::default() };
        let body = function.ops[kernel].regions[0];
        if let Some(&row) = function.blocks[body].args.first() {
            walk.ranges.set(row, [0, rows - 1]);
        }
        total.add(&walk.block(body), rows.unsigned_abs());
    }
    total.0
}

#[derive(Clone, Default)]
struct Counts(BTreeMap<Value, Traffic>);

impl Counts {
    fn load(&mut self, memory: Value, accesses: u64) {
        self.add_one(memory, Traffic { loads: accesses, stores: 0 });
    }

    fn store(&mut self, memory: Value, accesses: u64) {
        self.add_one(memory, Traffic { loads: 0, stores: accesses });
    }

    fn add_one(&mut self, memory: Value, traffic: Traffic) {
        let sum = self.0.entry(memory).or_default();
        *sum = sum.plus(traffic);
    }

    fn add(&mut self, other: &Self, times: u64) {
        other.0.iter().for_each(|(&memory, traffic)| self.add_one(memory, traffic.times(times)));
    }

    /// The greater of both, buffer by buffer.
    fn or(mut self, other: &Self) -> Self {
        for (&memory, &traffic) in &other.0 {
            let greatest = self.0.entry(memory).or_default();
            *greatest = greatest.each(traffic, u64::max);
        }
        self
    }
}

struct Walk<'f> {
    function: &'f Function,
    ranges: Ranges,
}

impl Walk<'_> {
    fn block(&mut self, block: Block) -> Counts {
        let function = self.function;
        let mut counts = Counts::default();
        for &op in &function.blocks[block].ops {
            let data = &function.ops[op];
            let OpKind::Loop(kind) = &data.kind else { continue };
            match kind {
                LoopOp::For(head) => {
                    let trips = self.ranges.enter_loop(function, op, head.step);
                    let inside = self.block(data.regions[0]);
                    counts.add(&inside, trips);
                }
                LoopOp::If(_) => {
                    let [first, second] = [0, 1].map(|i| self.block(data.regions[i]));
                    counts.add(&first.or(&second), 1);
                }
                _ => self.op(op, kind, &mut counts),
            }
        }
        counts
    }

    fn op(&mut self, op: Op, kind: &LoopOp, counts: &mut Counts) {
        let operands = &self.function.ops[op].operands;
        match kind {
            LoopOp::Load(_) => self.count(operands[0], 1, |memory, n| counts.load(memory, n)),
            LoopOp::LoadI8x4(_) | LoopOp::LoadI16x2(_) => {
                if self.is_buffer(operands[0]) {
                    counts.load(operands[0], 1);
                }
            }
            LoopOp::Store(_) => self.count(operands[1], 1, |memory, n| counts.store(memory, n)),
            LoopOp::Fill(fill) => self.count_words(operands[1], fill.count, |m, n| counts.store(m, n)),
            LoopOp::Receive(head) => self.count_words(operands[1], head.count, |m, n| counts.store(m, n)),
            LoopOp::Send(head) => self.count_words(operands[1], head.count, |m, n| counts.load(m, n)),
            LoopOp::Widen(head) => {
                let pairs = matmul::pairs_of_run(head.count);
                self.count_words(operands[0], head.count, |memory, n| counts.load(memory, n));
                self.count(operands[4], pairs, |memory, n| counts.store(memory, n));
            }
            LoopOp::Matmul(head) => {
                let groups = head.rows.div_ceil(matmul::GROUP);
                let inputs = groups * head.pairs * head.pixels * 2;
                self.count_words(operands[1], inputs, |memory, n| counts.load(memory, n));
                self.count(operands[3], head.rows * head.pixels, |memory, n| counts.store(memory, n));
            }
            LoopOp::Depthwise(head) => {
                let rows = Depthwise::rows(operands).len();
                let words = rows * head.width.div_ceil(2) * head.channels;
                self.count(operands[1], words, |memory, n| counts.load(memory, n));
                self.count(operands[2], head.channels * head.outputs, |memory, n| counts.store(memory, n));
            }
            LoopOp::Copy(copy) => {
                self.count_words(operands[0], copy.count, |memory, n| counts.load(memory, n));
                self.count_words(operands[2], copy.count, |memory, n| counts.store(memory, n));
            }
            _ => self.ranges.note(self.function, op, kind),
        }
    }

    fn is_buffer(&self, memory: Value) -> bool {
        let definition = self.function.defining_op(memory);
        definition.is_some_and(|op| matches!(self.function.ops[op].kind, OpKind::Loop(LoopOp::Buffer(_))))
    }

    /// Accesses to single elements of a buffer.
    fn count(&self, memory: Value, elements: usize, mut add: impl FnMut(Value, u64)) {
        let element_bytes = self.function.ty(memory).as_memref().map_or(0, |ty| ty.element.size_bytes());
        if self.is_buffer(memory) {
            add(memory, (elements * element_bytes.div_ceil(4)) as u64);
        }
    }

    /// Accesses to elements of a buffer that lie side by side.
    fn count_words(&self, memory: Value, elements: usize, mut add: impl FnMut(Value, u64)) {
        let element_bytes = self.function.ty(memory).as_memref().map_or(0, |ty| ty.element.size_bytes());
        if self.is_buffer(memory) {
            add(memory, elements.saturating_mul(element_bytes).div_ceil(4) as u64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Traffic of the buffers of a function, by their names.
    fn of(text: &str) -> BTreeMap<String, Traffic> {
        let module = mcunet_ir::text::parse(text, "traffic.mcir").expect("a valid text");
        let function = &module.functions[0];
        let named = |(value, traffic): (Value, Traffic)| {
            (function.values[value].name.as_deref().expect("a name").to_owned(), traffic)
        };
        traffic(function).into_iter().map(named).collect()
    }

    #[test]
    fn accesses_are_multiplied_by_trips_and_rows() {
        let found = of(r#"module "traffic" stage "lowered" {
  func "main" inputs ["x" : tensor<4x8xi8>] outputs ["y" : tensor<4x8xi8>] {
    %x = loop.buffer {role = "input", rows = 4} : memref<4x8xi8>
    %y = loop.buffer {role = "output", rows = 4} : memref<4x8xi8>
    %sums = loop.buffer {role = "scratch"} : memref<3xi64>
    loop.kernel %y, %sums, %x {layer = "test", rows = 4, writes = 2} do {
    ^(%row: i32):
      %zero = loop.const {value = 0} : i32
      %one = loop.const {value = 1} : i32
      %three = loop.const {value = 3} : i32
      %eight = loop.const {value = 8} : i32
      loop.copy %x, %zero, %y, %zero {count = 6}
      loop.for %zero, %eight {step = 3} do {
      ^(%i: i32):
        %v = loop.load %x, %i : i32
        loop.yield
      }
      %before = loop.sub %row, %one : i32
      %first = loop.max %before, %zero : i32
      %after = loop.add %row, %one : i32
      %end = loop.min %after, %three : i32
      loop.for %first, %end do {
      ^(%k: i32):
        %sum = loop.load %sums, %k : i64
        loop.store %sum, %sums, %k
        loop.yield
      }
      loop.yield
    }
    func.return
  }
}
"#);
        // Rows 0 to 3: two words copied, elements 0, 3 and 6 loaded; at most 3 trips of two words.
        let expected = [("sums", 4 * 3 * 2, 4 * 3 * 2), ("x", 4 * (2 + 3), 0), ("y", 0, 4 * 2)];
        let expected = expected.map(|(name, loads, stores)| (name.to_owned(), Traffic { loads, stores }));
        assert_eq!(found, BTreeMap::from(expected));
    }

    #[test]
    fn of_two_branches_the_greater_counts() {
        let found = of(r#"module "traffic" stage "lowered" {
  func "main" inputs ["x" : tensor<8xi8>] outputs ["y" : tensor<8xi8>] {
    %x = loop.buffer {role = "input"} : memref<8xi8>
    %y = loop.buffer {role = "output"} : memref<8xi8>
    loop.kernel %y, %x {layer = "test", writes = 1} do {
    ^(%row: i32):
      %zero = loop.const {value = 0} : i32
      %yes = loop.cmp %zero, %row {predicate = "eq"} : i1
      loop.if %yes do {
        %v = loop.load %x, %zero : i32
        loop.store %v, %y, %zero
        loop.yield
      } do {
        loop.fill %zero, %y, %zero {count = 8}
        loop.yield
      }
      loop.yield
    }
    func.return
  }
}
"#);
        assert_eq!(found["x"], Traffic { loads: 1, stores: 0 });
        assert_eq!(found["y"], Traffic { loads: 0, stores: 2 });
    }
}
