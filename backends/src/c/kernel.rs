//! Prints the body of one kernel.
//!
//! A value that is used once, in the block that defines it, becomes part of the expression that uses it, unless memory
//! is written in between; every other value is a local constant. Loop-carried values are variables that are assigned at
//! the end of the loop's body; where one assignment would spoil another, the new values are computed first.

mod matrices;
mod memories;

use super::arenas::Arenas;
use super::assembly::Routine;
use super::expression::{Expression, Precedence};
use super::names::Names;
use super::rows::RowTables;
use super::shared::{Class, Fields};
use super::weights::{element_type, float_literal, int64_literal};
use mcunet_ir::attr::Number;
use mcunet_ir::loops::eval::{field_mask, field_shift};
use mcunet_ir::loops::ops::{Predicate, Rounding};
use mcunet_ir::loops::skeleton::NumberPlace;
use mcunet_ir::loops::{LoopOp, copies_onto_itself};
use mcunet_ir::module::{Block, Function, Op, OpKind, Value};
use mcunet_ir::types::{MemRefType, Scalar, Type};
use mcunet_ir::{Diagnostic, Diagnostics};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A printed body.
pub struct Printed {
    /// The text, indented by four.
    pub body: String,
    /// Helpers that it calls.
    pub used: BTreeSet<&'static str>,
    /// Functions in assembly that it calls.
    pub routines: BTreeSet<Routine>,
    /// What layers that share it give it.
    pub fields: Fields,
}

/// The state of printing one kernel.
pub struct KernelPrinter<'p> {
    function: &'p Function,
    names: &'p Names,
    tables: &'p RowTables,
    arenas: &'p Arenas,
    kernel: Op,
    /// Layers that share what is printed, of which `kernel` is the first.
    class: Option<&'p Class>,
    fields: Fields,
    values: HashMap<Value, Expression>,
    memories: BTreeMap<Value, String>,
    /// Tables of rows, by buffer.
    row_tables: HashMap<Value, String>,
    uses: HashMap<Value, Vec<(Op, Block)>>,
    counters: HashMap<&'static str, usize>,
    out: String,
    indent: usize,
    used: BTreeSet<&'static str>,
    routines: BTreeSet<Routine>,
    errors: Diagnostics,
}

impl<'p> KernelPrinter<'p> {
    /// A printer of `kernel`.
    pub fn new(
        function: &'p Function,
        names: &'p Names,
        tables: &'p RowTables,
        arenas: &'p Arenas,
        kernel: Op,
    ) -> Self {
        Self {
            function,
            names,
            tables,
            arenas,
            kernel,
            class: None,
            fields: Fields::default(),
            values: HashMap::new(),
            memories: BTreeMap::new(),
            row_tables: HashMap::new(),
            uses: HashMap::new(),
            counters: HashMap::new(),
            out: String::new(),
            indent: 1,
            used: BTreeSet::new(),
            routines: BTreeSet::new(),
            errors: Diagnostics::default(),
        }
    }

    /// Prints what all layers of a class share.
    #[must_use]
    pub fn shared_by(mut self, class: &'p Class) -> Self {
        self.class = Some(class);
        self
    }

    /// Prints the body for the row called `row`, or, if `all_rows`, in a loop over all rows.
    ///
    /// # Errors
    /// Ops that C code cannot be made of.
    pub fn print(mut self, all_rows: bool) -> Result<Printed, Diagnostics> {
        let body = self.function.ops[self.kernel].regions[0];
        self.collect_uses(body);
        self.declare_memories(!all_rows);
        let rows = match self.op(self.kernel) {
            Some(LoopOp::Kernel(kernel)) => kernel.rows,
            _ => 1,
        };
        for &argument in &self.function.blocks[body].args {
            let row = if rows > 1 { Expression::primary("row".to_owned()) } else { Expression::literal("0") };
            self.values.insert(argument, row);
        }
        if all_rows && rows > 1 {
            let rows = self.number(NumberPlace::Rows, rows as i64).text;
            self.line(&format!("for (int32_t row = 0; row < {rows}; row++) {{"));
            self.indent += 1;
            self.block(body);
            self.indent -= 1;
            self.line("}");
        } else {
            self.block(body);
        }
        self.errors.into_result()?;
        let body = format!("{}{}", self.fields.reads, self.out);
        Ok(Printed { body, used: self.used, routines: self.routines, fields: self.fields })
    }

    /// Notes who uses what, last ops first, so that what only a dead op uses counts as unused: C compilers warn of a
    /// variable or pointer that nothing reads.
    fn collect_uses(&mut self, block: Block) {
        for &op in self.function.blocks[block].ops.iter().rev() {
            let data = &self.function.ops[op];
            let computes = data.regions.is_empty() && !data.results.is_empty();
            let unused = computes && !data.results.iter().any(|result| self.uses.contains_key(result));
            if unused || copies_onto_itself(self.function, op) {
                continue;
            }
            for &region in &data.regions {
                self.collect_uses(region);
            }
            for &operand in &data.operands {
                self.uses.entry(operand).or_default().push((op, block));
            }
        }
    }

    fn line(&mut self, text: &str) {
        for _ in 0..self.indent {
            self.out.push_str("    ");
        }
        self.out.push_str(text);
        self.out.push('\n');
    }

    fn fresh(&mut self, base: &'static str) -> String {
        let counter = self.counters.entry(base).or_insert(0);
        *counter += 1;
        format!("{base}{}", *counter - 1)
    }

    fn op(&self, op: Op) -> Option<&'p LoopOp> {
        match &self.function.ops[op].kind {
            OpKind::Loop(kind) => Some(kind),
            _ => None,
        }
    }

    // ---- memories

    fn memref(&self, value: Value) -> &'p MemRefType {
        match self.function.ty(value).as_memref() {
            Some(memref) => memref,
            None => unreachable!("verified memory operands are memrefs"),
        }
    }

    /// What a number is in all layers that share this code.
    fn of_all(&self, place: NumberPlace, own: i64) -> Vec<i64> {
        self.class.and_then(|class| class.numbers(place)).unwrap_or_else(|| vec![own])
    }

    fn number(&mut self, place: NumberPlace, own: i64) -> Expression {
        let values = self.of_all(place, own);
        self.fields.number(&values, true)
    }

    fn memory(&self, value: Value) -> String {
        self.memories.get(&value).cloned().unwrap_or_default()
    }

    // ---- statements

    fn block(&mut self, block: Block) {
        let ops = self.function.blocks[block].ops.clone();
        let inlined = self.inlined(block, &ops);
        for op in ops {
            self.statement(op, inlined.contains(&op));
        }
    }

    /// Ops whose only result becomes part of a later statement of the same block.
    fn inlined(&self, block: Block, ops: &[Op]) -> BTreeSet<Op> {
        let position: HashMap<Op, usize> = ops.iter().enumerate().map(|(i, &op)| (op, i)).collect();
        // Where the value of an inlined op is computed: at the statement it becomes part of.
        let mut statement: HashMap<Op, usize> = HashMap::new();
        let mut inlined = BTreeSet::new();
        for &op in ops.iter().rev() {
            let own = position[&op];
            statement.insert(op, own);
            let data = &self.function.ops[op];
            let [result] = data.results[..] else { continue };
            let Some(kind) = self.op(op) else { continue };
            if matches!(kind, LoopOp::Const(_) | LoopOp::Data(_)) {
                inlined.insert(op);
                continue;
            }
            let reads = reads_memory(kind);
            if !data.regions.is_empty() {
                continue;
            }
            let [(user, user_block)] = self.uses.get(&result).map_or(&[][..], Vec::as_slice) else {
                continue;
            };
            if *user_block != block || self.op(*user).is_some_and(|kind| matches!(kind, LoopOp::If(_))) {
                continue;
            }
            let target = statement.get(user).copied().unwrap_or(own);
            let disturbed = ops[own + 1..target].iter().any(|&between| {
                self.op(between)
                    .is_none_or(|kind| writes_memory(kind) || !self.function.ops[between].regions.is_empty())
            });
            // A loop evaluates its upper bound again and again: it had better be a name.
            let in_loop_head = self.op(*user).is_some_and(|kind| matches!(kind, LoopOp::For(_)));
            if (reads && disturbed) || in_loop_head {
                continue;
            }
            inlined.insert(op);
            statement.insert(op, target);
        }
        inlined
    }

    fn statement(&mut self, op: Op, inlined: bool) {
        let Some(kind) = self.op(op) else { return };
        let data = &self.function.ops[op];
        match kind {
            LoopOp::For(head) => self.for_loop(op, head.step, head.rolled),
            LoopOp::If(_) => self.if_else(op),
            LoopOp::Yield(_) => {}
            LoopOp::Store(_) => {
                let (value, offset) = (self.value(data.operands[0]), self.value(data.operands[2]));
                let element = self.memref(data.operands[1]).element;
                let target = format!("{}[{}]", self.memory(data.operands[1]), offset.text);
                let line = format!("{target} = {};", narrowed(&value, element));
                self.line(&line);
            }
            LoopOp::Copy(_) if copies_onto_itself(self.function, op) => {}
            LoopOp::Copy(head) => {
                let [source, from, target, to] = data.operands[..] else { return };
                let size = self.memref(target).element.size_bytes();
                let (from, to) = (self.value(from), self.value(to));
                let (source, target) = (self.memory(source), self.memory(target));
                let bytes = head.count * size;
                let line = format!("memmove(&{target}[{}], &{source}[{}], {bytes}u);", to.text, from.text);
                self.line(&line);
            }
            LoopOp::Fill(head) => self.fill(op, head.count),
            LoopOp::Widen(head) => self.widen(op, head),
            LoopOp::Matmul(head) => self.matmul(op, head),
            LoopOp::Depthwise(head) => self.depthwise(op, head),
            LoopOp::Receive(head) => {
                let [row, memory, offset] = data.operands[..] else { return };
                let (row, offset, memory) = (self.value(row), self.value(offset), self.memory(memory));
                let asked = format!("user, {}, {}, 1, &{memory}[{}]", head.index, row.text, offset.text);
                self.call_user(&format!("read_rows({asked})"), "INPUT");
            }
            LoopOp::Send(head) => {
                let [row, memory, offset] = data.operands[..] else { return };
                let (row, offset, memory) = (self.value(row), self.value(offset), self.memory(memory));
                let sent = format!("user, {}, {}, 1, &{memory}[{}]", head.index, row.text, offset.text);
                self.call_user(&format!("write_rows({sent})"), "OUTPUT");
            }
            _ => {
                // What nobody uses is not printed.
                let Some(&result) = data.results.first().filter(|result| self.uses.contains_key(result))
                else {
                    return;
                };
                let expression = self.expression(op, kind);
                if inlined {
                    self.values.insert(result, expression);
                } else {
                    self.define(result, &expression);
                }
            }
        }
    }

    /// A call of the user's function, which ends the run if it fails.
    fn call_user(&mut self, call: &str, what: &str) {
        self.line(&format!("if ({call} != 0) {{"));
        self.indent += 1;
        self.line(&format!("return {}_ERROR_{what};", self.names.upper));
        self.indent -= 1;
        self.line("}");
    }

    /// A local constant.
    fn define(&mut self, result: Value, expression: &Expression) {
        let name = self.fresh("v");
        let ty = register_type(self.function.ty(result));
        let line = format!("const {ty} {name} = {};", expression.text);
        self.line(&line);
        self.values.insert(result, Expression::primary(name));
    }

    fn fill(&mut self, op: Op, count: usize) {
        let data = &self.function.ops[op];
        let (value, offset) = (self.value(data.operands[0]), self.value(data.operands[2]));
        let element = self.memref(data.operands[1]).element;
        let memory = self.memory(data.operands[1]);
        if element.size_bytes() == 1 {
            let line = format!("memset(&{memory}[{}], {}, {count}u);", offset.text, value.text);
            self.line(&line);
            return;
        }
        let i = self.fresh("i");
        let at = Expression::binary(&offset, "+", &Expression::primary(i.clone()), Precedence::Sum);
        let stored = narrowed(&value, element);
        self.line(&format!("for (int32_t {i} = 0; {i} < {count}; {i}++) {{"));
        self.indent += 1;
        self.line(&format!("{memory}[{}] = {stored};", at.text));
        self.indent -= 1;
        self.line("}");
    }

    /// Declares variables for loop-carried values, runs `body`, and lets the results be the variables.
    fn for_loop(&mut self, op: Op, step: u32, rolled: bool) {
        let function = self.function;
        let data = &function.ops[op];
        let body = data.regions[0];
        let Some((&induction, carried)) = function.blocks[body].args.split_first() else { return };
        let mut variables = Vec::new();
        for (&init, &value) in data.operands[2..].iter().zip(carried) {
            let (name, init) = (self.fresh("acc"), self.value(init));
            let ty = register_type(function.ty(value));
            self.line(&format!("{ty} {name} = {};", init.text));
            let carried = BTreeSet::from([value]);
            self.values
                .insert(value, Expression { text: name.clone(), precedence: Precedence::Primary, carried });
            variables.push(name);
        }
        let (lower, upper) = (self.value(data.operands[0]), self.value(data.operands[1]));
        let i = self.fresh("i");
        self.values.insert(induction, Expression::primary(i.clone()));
        let advance = if step == 1 { format!("{i}++") } else { format!("{i} += {step}") };
        let (lower, upper) = (lower.text, upper.at(Precedence::Sum));
        if rolled {
            self.used.insert("rolled");
            self.line("ROLLED");
        }
        self.line(&format!("for (int32_t {i} = {lower}; {i} < {upper}; {advance}) {{"));
        self.indent += 1;
        self.block(body);
        self.assign_carried(body, carried, &variables);
        self.indent -= 1;
        self.line("}");
        for (&result, name) in data.results.iter().zip(variables) {
            self.values.insert(result, Expression::primary(name));
        }
    }

    /// The assignments at the end of a loop's body, as if they all happened at once.
    fn assign_carried(&mut self, body: Block, carried: &[Value], variables: &[String]) {
        let Some(last) = self.function.terminator(body) else { return };
        let next: Vec<Expression> =
            self.function.ops[last].operands.clone().into_iter().map(|value| self.value(value)).collect();
        let spoiled = |i: usize| next[i + 1..].iter().any(|later| later.carried.contains(&carried[i]));
        let changes: Vec<usize> = (0..next.len()).filter(|&i| next[i].text != variables[i]).collect();
        if !changes.iter().any(|&i| spoiled(i)) {
            for &i in &changes {
                self.line(&assignment(&variables[i], &next[i].text));
            }
            return;
        }
        let mut names = Vec::new();
        for &i in &changes {
            let name = self.fresh("next");
            let ty = register_type(self.function.ty(carried[i]));
            self.line(&format!("const {ty} {name} = {};", next[i].text));
            names.push((i, name));
        }
        for (i, name) in names {
            self.line(&format!("{} = {name};", variables[i]));
        }
    }

    fn if_else(&mut self, op: Op) {
        let data = &self.function.ops[op];
        let mut names = Vec::new();
        for &result in &data.results {
            let (name, ty) = (self.fresh("v"), register_type(self.function.ty(result)));
            self.line(&format!("{ty} {name};"));
            names.push(name);
        }
        let condition = self.value(data.operands[0]);
        // An `else` that does nothing goes without saying.
        let is_empty = |region: Block| self.function.blocks[region].ops.len() <= 1 && names.is_empty();
        let regions: Vec<Block> = match data.regions[..] {
            [then, otherwise] if is_empty(otherwise) => vec![then],
            _ => data.regions.clone(),
        };
        for (index, region) in regions.into_iter().enumerate() {
            let head = if index == 0 { format!("if ({}) {{", condition.text) } else { "} else {".to_owned() };
            self.line(&head);
            self.indent += 1;
            self.block(region);
            let yielded = self.function.terminator(region).map(|op| self.function.ops[op].operands.clone());
            for (name, value) in names.iter().zip(yielded.unwrap_or_default()) {
                let value = self.value(value);
                self.line(&format!("{name} = {};", value.text));
            }
            self.indent -= 1;
        }
        self.line("}");
        for (&result, name) in data.results.iter().zip(names) {
            self.values.insert(result, Expression::primary(name));
        }
    }

    // ---- expressions

    fn value(&mut self, value: Value) -> Expression {
        match self.values.get(&value) {
            Some(expression) => expression.clone(),
            None => {
                let message = "a value is used before it is printed; this is an error of the compiler";
                self.errors.push(Diagnostic::error(message));
                Expression::primary("0")
            }
        }
    }

    fn call(&mut self, helper: &'static str, arguments: &[&Expression]) -> Expression {
        self.used.insert(helper);
        Expression::call(helper, arguments)
    }

    fn expression(&mut self, op: Op, kind: &LoopOp) -> Expression {
        let data = &self.function.ops[op];
        let is_memory = |value: Value| self.function.ty(value).as_memref().is_some();
        let operands: Vec<Value> = data.operands.iter().copied().filter(|&value| !is_memory(value)).collect();
        let memory = data.operands.iter().copied().find(|&value| is_memory(value));
        let args: Vec<Expression> = operands.iter().map(|&value| self.value(value)).collect();
        let ty = data.results.first().map_or(Type::I32, |&value| self.function.ty(value).clone());
        let operand_type = operands.first().map_or(Type::I32, |&value| self.function.ty(value).clone());
        let arg = |i: usize| &args[i];
        match kind {
            LoopOp::Const(literal) => match (literal.value, &ty) {
                (Number::Real(value), _) => Expression::literal(float_literal(value.get())),
                (Number::Int(value), Type::Scalar(Scalar::I64)) => Expression::literal(int64_literal(value)),
                (Number::Int(value), _) => self.number(NumberPlace::Literal(data.results[0]), value),
            },
            LoopOp::Add(head) => self.sum("+", ["add_wrap", "add_wrap_i64"], head.wrap, &ty, arg(0), arg(1)),
            LoopOp::Sub(head) => self.sum("-", ["sub_wrap", "sub_wrap_i64"], head.wrap, &ty, arg(0), arg(1)),
            LoopOp::Mul(head) if head.wrap && ty != Type::F32 => {
                self.call(if ty == Type::I64 { "mul_wrap_i64" } else { "mul_wrap" }, &[arg(0), arg(1)])
            }
            LoopOp::Mul(_) => Expression::binary(arg(0), "*", arg(1), Precedence::Product),
            LoopOp::Div(_) if ty == Type::F32 || is_safe_divisor(&args[1]) => {
                Expression::binary(arg(0), "/", arg(1), Precedence::Product)
            }
            LoopOp::Div(_) => {
                self.call(if ty == Type::I64 { "div_i64" } else { "div_i32" }, &[arg(0), arg(1)])
            }
            LoopOp::Rem(_) if is_safe_divisor(&args[1]) => {
                Expression::binary(arg(0), "%", arg(1), Precedence::Product)
            }
            LoopOp::Rem(_) => {
                self.call(if ty == Type::I64 { "rem_i64" } else { "rem_i32" }, &[arg(0), arg(1)])
            }
            LoopOp::Min(_) => self.call(by_type(&ty, ["min_i32", "min_i64", "min_f32"]), &[arg(0), arg(1)]),
            LoopOp::Max(_) => self.call(by_type(&ty, ["max_i32", "max_i64", "max_f32"]), &[arg(0), arg(1)]),
            LoopOp::And(_) => Expression::binary(arg(0), "&", arg(1), Precedence::Mixed),
            LoopOp::Or(_) => Expression::binary(arg(0), "|", arg(1), Precedence::Mixed),
            LoopOp::Xor(_) => Expression::binary(arg(0), "^", arg(1), Precedence::Mixed),
            LoopOp::Shl(head) => self.shift(&ty, "<<", arg(0), arg(1), (true, head.bounded)),
            LoopOp::Shr(head) => self.shift(&ty, ">>", arg(0), arg(1), (false, head.bounded)),
            LoopOp::ShrU(_) => self.shift(&ty, ">>", arg(0), arg(1), (true, false)),
            LoopOp::Clz(_) => self.call("count_leading_zeros", &[arg(0)]),
            LoopOp::Cmp(head) => {
                let operator = match head.predicate {
                    Predicate::Eq => "==",
                    Predicate::Ne => "!=",
                    Predicate::Lt => "<",
                    Predicate::Le => "<=",
                    Predicate::Gt => ">",
                    Predicate::Ge => ">=",
                };
                Expression::binary(arg(0), operator, arg(1), Precedence::Mixed)
            }
            LoopOp::Select(_) => Expression::conditional(arg(0), arg(1), arg(2)),
            LoopOp::Extend(_) => Expression::cast("int64_t", arg(0)),
            LoopOp::Truncate(_) => Expression::cast("int32_t", arg(0)),
            LoopOp::ToFloat(_) => Expression::cast("float", arg(0)),
            LoopOp::ToInt(_) => self.call("float_to_int", &[arg(0)]),
            LoopOp::FloatBits(_) => self.call("float_bits", &[arg(0)]),
            LoopOp::BitsFloat(_) => self.call("bits_float", &[arg(0)]),
            LoopOp::Round(head) => {
                let helper = match head.rounding {
                    Rounding::HalfAway => "round_half_away",
                    Rounding::HalfEven => "round_half_even",
                    Rounding::Floor => "round_floor",
                    Rounding::Trunc => "round_trunc",
                };
                self.call(helper, &[arg(0)])
            }
            LoopOp::Sqrt(_) => self.call("square_root", &[arg(0)]),
            LoopOp::Row(_) => self.row_start(memory, arg(0)),
            LoopOp::Load(_) => self.load(memory, arg(0)),
            LoopOp::LoadI8x4(_) => self.load_lanes("load_i8x4", memory, arg(0)),
            LoopOp::LoadI16x2(_) => self.load_lanes("load_i16x2", memory, arg(0)),
            LoopOp::ExtendLanes(head) => {
                self.call(if head.odd { "extend_odd" } else { "extend_even" }, &[arg(0)])
            }
            LoopOp::ExtendAddLanes(head) => {
                self.call(if head.odd { "extend_add_odd" } else { "extend_add_even" }, &[arg(0), arg(1)])
            }
            LoopOp::FieldLanes(head) => {
                let mask = Expression::literal(format!("0x{:08X}u", field_mask(head.bits)));
                let shifted = match field_shift(head.bits, head.field) {
                    0 => arg(0).clone(),
                    by => Expression::binary(
                        arg(0),
                        "<<",
                        &Expression::literal(by.to_string()),
                        Precedence::Mixed,
                    ),
                };
                Expression::binary(&shifted, "&", &mask, Precedence::Mixed)
            }
            LoopOp::SplatLanes(_) => self.call("splat_lanes", &[arg(0)]),
            LoopOp::HalfMac(head) => {
                let name = match (head.lhs_high, head.rhs_high) {
                    (false, false) => "mac_low_low",
                    (false, true) => "mac_low_high",
                    (true, false) => "mac_high_low",
                    (true, true) => "mac_high_high",
                };
                self.call(name, &[arg(0), arg(1), arg(2)])
            }
            LoopOp::DualMac(_) => self.call("dual_mac", &[arg(0), arg(1), arg(2)]),
            LoopOp::DoublingHighMul(_) => self.call("doubling_high_mul", &[arg(0), arg(1)]),
            LoopOp::MulAddHigh(_) => self.call("mul_add_high", &[arg(0), arg(1), arg(2)]),
            LoopOp::RoundShift(_) => self.call("round_shift", &[arg(0), arg(1)]),
            LoopOp::Requantize(_) => self.call("requantize", &[arg(0), arg(1), arg(2)]),
            LoopOp::Saturate(head) if head.bits == 8 => self.call("saturate_8", &[arg(0)]),
            LoopOp::Saturate(head) => {
                let bits = Expression::literal(head.bits.to_string());
                self.call("saturate", &[arg(0), &bits])
            }
            LoopOp::Buffer(_)
            | LoopOp::Data(_)
            | LoopOp::Pack(_)
            | LoopOp::Kernel(_)
            | LoopOp::Cascade(_)
            | LoopOp::For(_)
            | LoopOp::If(_)
            | LoopOp::Yield(_)
            | LoopOp::Store(_)
            | LoopOp::Copy(_)
            | LoopOp::Receive(_)
            | LoopOp::Send(_)
            | LoopOp::Widen(_)
            | LoopOp::Matmul(_)
            | LoopOp::Depthwise(_)
            | LoopOp::Fill(_) => {
                let message = format!("'{}' op is no expression ({operand_type:?})", data.kind.name());
                self.errors.push(Diagnostic::error(message).at(data.origin.clone()));
                Expression::primary("0")
            }
        }
    }

    fn sum(
        &mut self,
        operator: &str,
        wrapping: [&'static str; 2],
        wrap: bool,
        ty: &Type,
        lhs: &Expression,
        rhs: &Expression,
    ) -> Expression {
        if wrap && *ty != Type::F32 {
            return self.call(wrapping[usize::from(*ty == Type::I64)], &[lhs, rhs]);
        }
        // A negative literal is subtracted instead of added.
        if let ("+", Some(positive)) = (operator, rhs.text.strip_prefix('-'))
            && rhs.precedence == Precedence::Unary
            && positive.chars().all(|c| c.is_ascii_digit())
        {
            return Expression::binary(lhs, "-", &Expression::literal(positive), Precedence::Sum);
        }
        Expression::binary(lhs, operator, rhs, Precedence::Sum)
    }

    /// A shift, of unsigned numbers or not, by a distance that is bounded or is taken modulo the width.
    fn shift(
        &mut self,
        ty: &Type,
        operator: &str,
        value: &Expression,
        distance: &Expression,
        (unsigned, bounded): (bool, bool),
    ) -> Expression {
        let (bits, signed, plain) =
            if *ty == Type::I64 { (63, "int64_t", "uint64_t") } else { (31, "int32_t", "uint32_t") };
        let literal = distance.text.parse::<u32>().is_ok_and(|distance| distance <= bits);
        let distance = if literal || bounded {
            distance.clone()
        } else {
            Expression::binary(distance, "&", &Expression::literal(bits.to_string()), Precedence::Mixed)
        };
        if !unsigned {
            return Expression::binary(value, operator, &distance, Precedence::Mixed);
        }
        let shifted =
            Expression::binary(&Expression::cast(plain, value), operator, &distance, Precedence::Mixed);
        Expression::cast(signed, &shifted)
    }

    fn load(&mut self, memory: Option<Value>, offset: &Expression) -> Expression {
        let Some(memory) = memory else { return Expression::primary("0") };
        let element = self.memref(memory).element;
        let loaded = Expression::subscript(&self.memory(memory), offset);
        match element {
            Scalar::U32 => Expression::cast("int32_t", &loaded),
            Scalar::U64 => Expression::cast("int64_t", &loaded),
            _ => loaded,
        }
    }

    fn load_lanes(&mut self, helper: &'static str, memory: Option<Value>, offset: &Expression) -> Expression {
        let Some(memory) = memory else { return Expression::primary("0") };
        let place = Expression::subscript(&self.memory(memory), offset);
        let pointer = Expression { text: format!("&{}", place.text), ..place };
        self.call(helper, &[&pointer])
    }
}

fn reads_memory(kind: &LoopOp) -> bool {
    matches!(kind, LoopOp::Load(_) | LoopOp::LoadI8x4(_) | LoopOp::LoadI16x2(_))
}

fn writes_memory(kind: &LoopOp) -> bool {
    matches!(
        kind,
        LoopOp::Store(_)
            | LoopOp::Copy(_)
            | LoopOp::Fill(_)
            | LoopOp::Receive(_)
            | LoopOp::Widen(_)
            | LoopOp::Matmul(_)
            | LoopOp::Depthwise(_)
    )
}

/// `name = text`, as a compound assignment where the text begins with the name.
fn assignment(name: &str, text: &str) -> String {
    for operator in ["+", "-"] {
        if let Some(rest) = text.strip_prefix(&format!("{name} {operator} ")) {
            // Only a single product or primary may follow, or the meaning would change.
            if !rest.contains(" + ") && !rest.contains(" - ") && !rest.contains('?') {
                return format!("{name} {operator}= {rest};");
            }
        }
    }
    format!("{name} = {text};")
}

/// A divisor that is a literal other than 0 and -1 needs no check.
fn is_safe_divisor(divisor: &Expression) -> bool {
    divisor.text.parse::<i64>().is_ok_and(|value| value > 0)
}

fn by_type(ty: &Type, helpers: [&'static str; 3]) -> &'static str {
    match *ty {
        Type::I64 => helpers[1],
        Type::F32 => helpers[2],
        _ => helpers[0],
    }
}

/// The C type of a register.
fn register_type(ty: &Type) -> &'static str {
    match ty {
        Type::Scalar(Scalar::I1) => "bool",
        Type::Scalar(Scalar::I64) => "int64_t",
        Type::Scalar(Scalar::F32) => "float",
        Type::Packed(_) => "uint32_t",
        _ => "int32_t",
    }
}

/// A value as an element of memory.
fn narrowed(value: &Expression, element: Scalar) -> String {
    match element {
        Scalar::I32 | Scalar::I64 | Scalar::F32 => value.text.clone(),
        narrow => Expression::cast(element_type(narrow), value).text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The index of the least of one element is 0, whatever it is: the load of that element is dead.
    #[test]
    fn what_only_dead_ops_use_is_not_declared() {
        let text = r#"module "dead" stage "planned" {
  func "main" inputs ["x" : tensor<1xi8>] outputs ["y" : tensor<1xi8>] {
    %x = loop.buffer {live = [0, 0], place = #loop.place<"sram", 0, 1>, role = "input"} : memref<1xi8>
    %y = loop.buffer {live = [0, 0], place = #loop.place<"sram", 4, 1>, role = "output"} : memref<1xi8>
    loop.kernel %y, %x {layer = "nn.arg_min", writes = 1} do {
    ^(%row: i32):
      %0 = loop.const {value = 0} : i32
      %1 = loop.load %x, %0 : i32
      %2 = loop.add %1, %1 : i32
      loop.store %0, %y, %0
      loop.yield
    }
    func.return
  }
}
"#;
        let module = mcunet_ir::text::parse(text, "dead.mcir").expect("a valid text");
        let function = &module.functions[0];
        let kernel = function.walk().into_iter().find(|&op| function.ops[op].kind.name() == "loop.kernel");
        let names = Names::new("dead", &module);
        let tables = RowTables::of(function);
        let arenas = Arenas::of(function, &names, &[]);
        let printer = KernelPrinter::new(function, &names, &tables, &arenas, kernel.expect("the kernel"));
        let body = printer.print(true).expect("it prints").body;
        assert!(body.contains("out0[0] = ") && !body.contains("in0") && !body.contains("v0"), "{body}");
    }
}
