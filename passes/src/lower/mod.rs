//! Lowers tensor operations to the `loop` dialect: one kernel per operation, written once for all back ends.
//!
//! Every `nn` op implements `LowerOp` in its family's file. The driver here gives each tensor a buffer, each constant
//! its data, lets reshapes alias their operand's buffer, and runs the ops in order. A kernel is row-wise: its outermost
//! loop makes one output row (or one slice along the outermost dimension) from the input rows it needs, because rows
//! are the unit in which memory is planned.
//!
//! Invariant: a kernel touches exactly the buffers that it lists, and writes every element of those it lists as written.

mod accumulate;
mod biases;
mod binary;
mod conv;
mod conv_matmul;
mod depthwise;
mod depthwise_planar;
mod depthwise_rows;
mod float;
mod forms;
pub(crate) mod kernel;
mod linear;
mod matmul;
mod movement;
mod parts;
mod planar;
mod pool;
mod quantize;
mod receive;
mod reduce;
mod requantize;
mod residual;
mod resize;
mod rows;
mod send;
mod softmax;
mod sub_byte;
mod unary;
mod wide;
mod wide_softmax;
mod window;
mod words;

use crate::analysis::liveness::Liveness;
use kernel::Kernel;
use mcunet_ir::loops::ops as l;
use mcunet_ir::loops::view::View;
use mcunet_ir::module::{OpKind, ValueData};
use mcunet_ir::nn::NnOp;
use mcunet_ir::rows::image_rows;
use mcunet_ir::schedule::Schedule;
use mcunet_ir::tile::{TileOp, body_of, ops as tile};
use mcunet_ir::types::MemRefType;
use mcunet_ir::{Block, Builder, Diagnostic, Diagnostics, Function, Module, Op, Stage, Value};
use parts::{Placements, root};
use std::collections::{HashMap, HashSet};

/// Facts about the core that decide between kernel forms.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CoreFeatures {
    /// The core has the DSP extension: dual 16-bit multiplies and the like.
    pub dsp: bool,
    /// The core may issue two instructions at a time.
    pub issues_two: bool,
    /// Unroll short loops over filter taps; larger but faster.
    pub unroll: bool,
    /// Store int8 filters whose weights fit 4 or 2 bits so; smaller but slower.
    pub narrow_weights: bool,
    /// Let kernels write parts of a concatenation where they belong in the whole, and read slices where they are.
    pub place_parts: bool,
    /// Working memory that kernels may take to be faster.
    pub scratch: Scratch,
}

/// What became of operations that join tensors, or cut them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Parts {
    /// Operands of concatenations that are written where they belong.
    pub written: usize,
    /// Those that are copied there.
    pub joined: usize,
    /// Slices and pieces that are read where they are.
    pub read: usize,
    /// Those that are copied.
    pub cut: usize,
}

impl Parts {
    /// Those of a function.
    fn of(function: &Function, placements: &Placements) -> Self {
        let joins = |op: Op| matches!(function.ops[op].kind, OpKind::Nn(NnOp::Concat(_)));
        let (mut joined, mut cut) = (0, 0);
        for op in function.walk() {
            match &function.ops[op].kind {
                OpKind::Nn(NnOp::Concat(_)) => joined += function.ops[op].operands.len(),
                OpKind::Nn(NnOp::Slice(_) | NnOp::Split(_)) => cut += function.ops[op].results.len(),
                _ => {}
            }
        }
        let written = placements.ops().filter(|&op| joins(op)).count();
        let read = placements.ops().count() - written;
        Self { written, joined: joined - written, read, cut: cut - read }
    }

    fn add(&mut self, other: Self) {
        self.written += other.written;
        self.joined += other.joined;
        self.read += other.read;
        self.cut += other.cut;
    }

    fn count(self, cx: &crate::pass::PassContext<'_>) {
        let counts = [
            ("parts written in place", self.written),
            ("parts copied", self.joined),
            ("slices read in place", self.read),
            ("slices copied", self.cut),
        ];
        for (what, count) in counts.into_iter().filter(|&(_, count)| count > 0) {
            cx.count(what, count as u64);
        }
    }
}

/// A budget is tight if it leaves less than this part of the peak.
const TIGHT: usize = 10;

/// How much working memory kernels may take to be faster.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scratch {
    /// None.
    Never,
    /// What other memory leaves free where it takes less than at its peak, and so many percent of the peak more, but no more
    /// than `budget` bytes in all.
    Percent {
        /// Percent of the peak.
        percent: usize,
        /// Bytes that there are; more than enough if not given.
        budget: Option<u64>,
    },
    /// Whatever they ask for.
    Always,
}

/// Lowering of one kind of op.
pub(crate) trait LowerOp {
    /// Emits the loops of the op into the kernel's body.
    ///
    /// # Errors
    /// If the op, though valid, has a form that no kernel covers yet.
    fn lower(&self, kernel: &mut Kernel<'_>) -> Result<(), Diagnostic>;
}

/// Lowers every function of an imported module.
///
/// # Errors
/// Every op that has no kernel, all at once; the module is then unusable.
pub fn lower_module(module: &mut Module, features: CoreFeatures) -> Result<Parts, Diagnostics> {
    let (mut errors, mut parts) = (Diagnostics::default(), Parts::default());
    for function in std::mem::take(&mut module.functions) {
        let placements = if features.place_parts {
            placements(module, &function, features)
        } else {
            Placements::default()
        };
        let free = free_bytes(module, &function, features, &placements);
        parts.add(Parts::of(&function, &placements));
        let lowering = FunctionLowering::new(module, &function, features, free, placements);
        let (lowered, _) = lowering.run(&mut errors);
        module.functions.push(lowered);
    }
    module.stage = Stage::Lowered;
    errors.into_result().map(|()| parts)
}

/// Tensors that are to lie in the memory of others.
fn placements(module: &Module, function: &Function, features: CoreFeatures) -> Placements {
    let scattered = scattered_values(function);
    let returned = function.terminator(function.body).map(|op| function.ops[op].operands.clone());
    let fixed = returned.unwrap_or_default().into_iter().map(|value| root(function, value));
    let fixed = fixed.chain(planar::planar_values(function, features)).collect();
    let (all, order) = parts::candidates(function, fixed, &scattered);
    if order.is_empty() {
        return all;
    }
    match trial(module, function, features, &Placements::default()) {
        Some((lowered, homes)) => parts::that_pay((all, order), &Liveness::of(&lowered), &homes),
        None => Placements::default(),
    }
}

/// The function lowered without working memory, and where its tensors are; nothing if some op has no kernel.
fn trial(
    module: &Module,
    function: &Function,
    features: CoreFeatures,
    placements: &Placements,
) -> Option<(Function, HashMap<Value, Home>)> {
    let (mut trial, mut errors) = (module.clone(), Diagnostics::default());
    let features = CoreFeatures { scratch: Scratch::Never, ..features };
    let lowering = FunctionLowering::new(&mut trial, function, features, Vec::new(), placements.clone());
    let lowered = lowering.run(&mut errors);
    (!errors.has_errors()).then_some(lowered)
}

/// Tensors of which a cascade holds only windows: their rows are scattered.
fn scattered_values(function: &Function) -> HashSet<Value> {
    let mut scattered = HashSet::new();
    for &op in &function.blocks[function.body].ops {
        let OpKind::Tile(TileOp::Cascade(cascade)) = &function.ops[op].kind else { continue };
        let Some((stages, _)) = body_of(function, op) else { continue };
        for (stage, &held) in stages.iter().zip(&cascade.held) {
            if held < stage.result_rows() {
                scattered.extend(function.ops[stage.op].results.iter().copied());
            }
        }
    }
    scattered
}

/// Bytes of working memory that each kernel may take: what other memory leaves free in its steps. That is known once all
/// kernels are there, so that they are made without such memory first.
fn free_bytes(
    module: &Module,
    function: &Function,
    features: CoreFeatures,
    placements: &Placements,
) -> Vec<usize> {
    let Scratch::Percent { percent, budget } = features.scratch else { return Vec::new() };
    if !features.dsp {
        return Vec::new();
    }
    let Some((lowered, _)) = trial(module, function, features, placements) else { return Vec::new() };
    let lives = Liveness::of(&lowered);
    let least = lives.least_bytes();
    let peak = least.iter().copied().max().unwrap_or(0);
    let budget = budget.map_or(usize::MAX, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    // Buffers can rarely be placed without gaps, and more of them make more: where little is left, none is taken.
    if budget < peak + peak / TIGHT {
        return Vec::new();
    }
    let limit = (peak + peak.saturating_mul(percent) / 100).min(budget);
    let mut free = vec![limit; lives.program.kernels.len()];
    for (step, taken) in lives.program.steps.iter().zip(least) {
        free[step.kernel] = free[step.kernel].min(limit.saturating_sub(taken));
    }
    free
}

/// Where a tensor of the source function lives in the lowered one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Home {
    /// The value is the constant result of this op.
    Constant(Op),
    /// The value is held in a `loop.buffer`, or in a view of one.
    Buffer(Value, Option<View>),
}

/// The state of lowering one function.
pub(crate) struct FunctionLowering<'a> {
    module: &'a mut Module,
    source: &'a Function,
    target: Function,
    features: CoreFeatures,
    homes: HashMap<Value, Home>,
    /// `loop.data` of constants, so that two kernels share one.
    constants: HashMap<Value, Value>,
    /// Tensors whose rows lie channel by channel.
    planar: HashSet<Value>,
    /// Whether products of matrices have short biases where they fit.
    short_biases: bool,
    /// Tensors that lie in the memory of others.
    placements: Placements,
    /// Tensors whose rows have places of their own.
    scattered: HashSet<Value>,
    /// Tensors that become outputs or are sent as such, and which.
    outputs: HashMap<Value, usize>,
    /// Where kernels go: the function's body, or that of a cascade.
    kernels: Block,
    /// Bytes of working memory that each kernel may take, if that is limited.
    free: Vec<usize>,
    /// Kernels so far.
    count: usize,
}

impl<'a> FunctionLowering<'a> {
    fn new(
        module: &'a mut Module,
        source: &'a Function,
        features: CoreFeatures,
        free: Vec<usize>,
        placements: Placements,
    ) -> Self {
        let short_biases = biases::pay_short(module, source, features);
        let mut target = Function::new(source.name.clone());
        target.inputs.clone_from(&source.inputs);
        target.outputs.clone_from(&source.outputs);
        let kernels = target.body;
        Self {
            module,
            source,
            target,
            features,
            homes: HashMap::new(),
            constants: HashMap::new(),
            planar: planar::planar_values(source, features),
            short_biases,
            placements,
            scattered: scattered_values(source),
            outputs: HashMap::new(),
            kernels,
            free,
            count: 0,
        }
    }

    fn run(mut self, errors: &mut Diagnostics) -> (Function, HashMap<Value, Home>) {
        self.assign_outputs();
        for (index, &argument) in self.source.blocks[self.source.body].args.iter().enumerate() {
            // What is received row by row is nowhere as a whole.
            if !self.is_received(argument) {
                let buffer = self.buffer(argument, l::Role::Input, index, false);
                self.homes.insert(argument, Home::Buffer(buffer, None));
            }
        }
        for &op in &self.source.blocks[self.source.body].ops {
            match &self.source.ops[op].kind {
                OpKind::Tile(TileOp::Cascade(cascade)) => self.lower_cascade(op, cascade, errors),
                _ => self.lower_op(op).unwrap_or_else(|error| errors.push(error)),
            }
        }
        if !errors.has_errors() {
            self.copy_remaining_outputs();
        }
        let body = self.target.body;
        Builder::at_end(&mut self.target, body).op(mcunet_ir::builtin::Return {}, &[], &[]);
        (self.target, self.homes)
    }

    fn is_received(&self, argument: Value) -> bool {
        let receives = |op: &Op| {
            let data = &self.source.ops[*op];
            matches!(data.kind, OpKind::Tile(TileOp::Receive(_))) && data.operands[0] == argument
        };
        self.source.walk().iter().any(receives)
    }

    fn returned(&self) -> Vec<Value> {
        self.source
            .terminator(self.source.body)
            .map(|op| self.source.ops[op].operands.clone())
            .unwrap_or_default()
    }

    /// Kernels of the cascade's operations. The rows of tensors of which it holds only windows are scattered.
    fn lower_cascade(&mut self, op: Op, cascade: &tile::Cascade, errors: &mut Diagnostics) {
        let source = self.source;
        let Some((stages, yielded)) = body_of(source, op) else { return };
        let body = self.target.create_block();
        let outer = std::mem::replace(&mut self.kernels, body);
        // The kernel of every stage that has one.
        let (mut kernel_of, mut count) = (Vec::new(), 0);
        for stage in &stages {
            self.lower_op(stage.op).unwrap_or_else(|error| errors.push(error));
            let found = self.target.blocks[body].ops.len();
            kernel_of.push((found > count).then_some(count as u16));
            count = found;
        }
        self.kernels = outer;
        for (&result, value) in source.ops[op].results.iter().zip(yielded) {
            if let Some(&home) = self.homes.get(value) {
                self.homes.insert(result, home);
            }
        }
        if count == 0 {
            return;
        }
        let steps = cascade.schedule.0.iter();
        let steps = steps.filter_map(|&stage| kernel_of.get(usize::from(stage)).copied().flatten());
        let schedule = Schedule(steps.collect());
        let mut b = Builder::at_end(&mut self.target, body);
        b.op(l::Yield {}, &[], &[]);
        let mut b = Builder::at_end(&mut self.target, outer);
        b.set_origin(source.ops[op].origin.clone());
        b.op_with_regions(l::Cascade { schedule }, &[], &[], &[body]);
    }

    /// Lets the first return of a computed tensor be its home; all other returns get copies at the end.
    fn assign_outputs(&mut self) {
        for (index, value) in self.returned().into_iter().enumerate() {
            let root = root(self.source, value);
            let computed = self
                .source
                .defining_op(root)
                .is_some_and(|op| !matches!(self.source.ops[op].kind, OpKind::Nn(NnOp::Const(_))));
            if computed {
                self.outputs.entry(root).or_insert(index);
            }
        }
    }

    /// Memory for a tensor, in one piece or row by row.
    fn buffer(&mut self, source: Value, role: l::Role, index: usize, scattered: bool) -> Value {
        let ValueData { ty, name, .. } = &self.source.values[source];
        let memref = ty.as_tensor().map_or_else(
            || MemRefType { shape: [0].into(), element: mcunet_ir::types::Scalar::I8 },
            |tensor| MemRefType { shape: tensor.shape.clone(), element: tensor.storage() },
        );
        let rows = image_rows(&memref.shape).unwrap_or(1);
        let body = self.target.body;
        let buffer = Builder::at_end(&mut self.target, body).value(
            l::Buffer { role, index, rows, scattered, live: None, place: None },
            &[],
            memref.into(),
        );
        self.target.values[buffer].name.clone_from(name);
        buffer
    }

    /// Where a result is, or is to be: in memory of its own, or in that of another tensor.
    fn home_of(&mut self, result: Value) -> Home {
        if let Some(&home) = self.homes.get(&result) {
            return home;
        }
        let home = match self.placements.resolve(result) {
            Some((whole, view)) => match self.home_of(whole) {
                Home::Buffer(buffer, _) => Home::Buffer(buffer, Some(view)),
                constant @ Home::Constant(_) => constant,
            },
            None => {
                let (role, index) = match self.outputs.get(&result) {
                    Some(&index) => (l::Role::Output, index),
                    None => (l::Role::Activation, 0),
                };
                let scattered = self.scattered.contains(&result);
                Home::Buffer(self.buffer(result, role, index, scattered), None)
            }
        };
        self.homes.insert(result, home);
        home
    }

    /// Whether an op only joins or cuts tensors that lie where they belong, so that it needs no kernel.
    fn is_done(&self, op: Op) -> bool {
        let data = &self.source.ops[op];
        let values = match data.kind {
            OpKind::Nn(NnOp::Concat(_)) => &data.operands,
            OpKind::Nn(NnOp::Slice(_) | NnOp::Split(_)) => &data.results,
            _ => return false,
        };
        let placed = |(index, &value): (usize, &Value)| {
            let placed = self.placements.get(root(self.source, value));
            let is_empty = self.source.ty(value).as_tensor().is_some_and(|ty| ty.elements() == 0);
            is_empty || placed.is_some_and(|placed| placed.by == (op, index))
        };
        values.iter().enumerate().all(placed)
    }

    /// The op's kernel.
    fn lower_op(&mut self, op: Op) -> Result<(), Diagnostic> {
        let data = &self.source.ops[op];
        let kind: &dyn LowerOp = match &data.kind {
            OpKind::Tile(TileOp::Receive(op)) => op,
            OpKind::Tile(TileOp::Send(op)) => op,
            OpKind::Nn(NnOp::Const(_)) => {
                self.homes.insert(data.results[0], Home::Constant(op));
                return Ok(());
            }
            OpKind::Nn(NnOp::Reshape(_)) => {
                let home = self.homes[&root(self.source, data.operands[0])];
                self.homes.insert(data.results[0], home);
                return Ok(());
            }
            OpKind::Nn(op) => dispatch(op),
            _ => return Ok(()),
        };
        // What is sent row by row is nowhere as a whole.
        let sends = matches!(data.kind, OpKind::Tile(TileOp::Send(_)));
        for &result in data.results.iter().filter(|_| !sends) {
            self.home_of(result);
        }
        if self.is_done(op) {
            return Ok(());
        }
        let mut kernel = Kernel::new(self, op);
        kind.lower(&mut kernel)?;
        kernel.finish();
        Ok(())
    }

    /// Outputs that are an input, a constant or another output get a buffer and a copy of their own.
    fn copy_remaining_outputs(&mut self) {
        for (index, value) in self.returned().into_iter().enumerate() {
            if self.outputs.get(&root(self.source, value)) != Some(&index) {
                kernel::copy_to_output(self, value, index);
            }
        }
    }
}

/// The lowering of an op. An exhaustive match: a new op without a lowering does not compile.
fn dispatch(op: &NnOp) -> &dyn LowerOp {
    match op {
        NnOp::Conv2d(op) => op,
        NnOp::Conv2dAdd(op) => op,
        NnOp::DepthwiseConv2d(op) => op,
        NnOp::TransposeConv2d(op) => op,
        NnOp::FullyConnected(op) => op,
        NnOp::AvgPool2d(op) => op,
        NnOp::MaxPool2d(op) => op,
        NnOp::Add(op) => op,
        NnOp::Sub(op) => op,
        NnOp::Mul(op) => op,
        NnOp::Div(op) => op,
        NnOp::Maximum(op) => op,
        NnOp::Minimum(op) => op,
        NnOp::SquaredDifference(op) => op,
        NnOp::Relu(op) => op,
        NnOp::LeakyRelu(op) => op,
        NnOp::Prelu(op) => op,
        NnOp::Elu(op) => op,
        NnOp::Tanh(op) => op,
        NnOp::Logistic(op) => op,
        NnOp::HardSwish(op) => op,
        NnOp::Abs(op) => op,
        NnOp::Neg(op) => op,
        NnOp::Exp(op) => op,
        NnOp::Log(op) => op,
        NnOp::Sqrt(op) => op,
        NnOp::Rsqrt(op) => op,
        NnOp::Square(op) => op,
        NnOp::Lookup(op) => op,
        NnOp::Softmax(op) => op,
        NnOp::LogSoftmax(op) => op,
        NnOp::L2Normalization(op) => op,
        NnOp::Mean(op) => op,
        NnOp::MeanOfMeans(op) => op,
        NnOp::Sum(op) => op,
        NnOp::ReduceMax(op) => op,
        NnOp::ReduceMin(op) => op,
        NnOp::ArgMax(op) => op,
        NnOp::ArgMin(op) => op,
        NnOp::Transpose(op) => op,
        NnOp::Concat(op) => op,
        NnOp::Split(op) => op,
        NnOp::Slice(op) => op,
        NnOp::Insert(op) => op,
        NnOp::Pad(op) => op,
        NnOp::Gather(op) => op,
        NnOp::Pack(op) => op,
        NnOp::Unpack(op) => op,
        NnOp::Tile(op) => op,
        NnOp::ResizeBilinear(op) => op,
        NnOp::ResizeNearest(op) => op,
        NnOp::DepthToSpace(op) => op,
        NnOp::SpaceToDepth(op) => op,
        NnOp::Quantize(op) => op,
        NnOp::Dequantize(op) => op,
        NnOp::Cast(op) => op,
        NnOp::ShapeOf(op) => op,
        NnOp::Const(_) | NnOp::Reshape(_) => unreachable!("handled by the driver: they need no kernel"),
    }
}

crate::declare_pass! {
    /// Lowers tensor operations to loops.
    ///
    /// Every op becomes one kernel over buffers that plan-memory places later; reshapes alias their operand. The forms
    /// of the kernels depend on the target's core. Fails with a list of the ops that have no kernel.
    pub Lower = "lower" {
        /// Use the DSP extension if the core has it.
        dsp: bool = true,
        /// Unroll short loops over filter taps.
        unroll: bool = true,
        /// Store int8 filters in 4 or 2 bits a weight where all of their weights fit: less flash, and a little slower.
        narrow_weights: bool = false,
        /// Let operations write their results where they belong in the concatenation that joins them, and read slices where they
        /// are, instead of copying both, as far as no more memory is needed.
        place_parts: bool = true,
        /// Percent of the peak by which working memory of kernels may raise it to make them faster. What other memory leaves
        /// free away from the peak, they take anyway.
        scratch: usize = 10,
        /// Let kernels take working memory at all.
        use_scratch: bool = true,
    } requires Imported ensures Lowered;
}

impl crate::pass::Pass for Lower {
    fn run(
        &self,
        module: &mut Module,
        cx: &crate::pass::PassContext<'_>,
    ) -> Result<crate::pass::Changed, Diagnostics> {
        let features = CoreFeatures {
            dsp: self.dsp && cx.target.core.has_dsp(),
            issues_two: cx.target.core.issues_two(),
            unroll: self.unroll,
            narrow_weights: self.narrow_weights,
            place_parts: self.place_parts,
            scratch: match self.use_scratch {
                true => Scratch::Percent { percent: self.scratch, budget: cx.target.sram_bytes() },
                false => Scratch::Never,
            },
        };
        let parts = lower_module(module, features)?;
        parts.count(cx);
        Ok(crate::pass::Changed::Yes)
    }
}
