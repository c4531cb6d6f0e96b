//! What an op's lowering works with: its operands' and results' memory, constants, scratch, and a builder that is
//! positioned in the kernel's body.

use super::parts::{Placements, root};
use super::rows::{FoldedRow, ImageRow, RowMap, Steps, Within, to_i32};
use super::{FunctionLowering, Home, Scratch};
use mcunet_ir::attr::ResourceRef;
use mcunet_ir::loops::memory::PackLayout;
use mcunet_ir::loops::ops as l;
use mcunet_ir::loops::view::View;
use mcunet_ir::module::OpKind;
use mcunet_ir::nn::NnOp;
use mcunet_ir::nn::rows::{folded_rows, row_needs};
use mcunet_ir::rows::{RowNeed, image_rows};
use mcunet_ir::tensor::Data;
use mcunet_ir::tile::TileOp;
use mcunet_ir::types::{MemRefType, Scalar};
use mcunet_ir::{Block, Builder, Diagnostic, Function, Op, TensorType, Type, Value};

/// A buffer that a kernel touches, and the view of it that it does not go beyond.
type Listed = (Value, Option<View>);

/// The kernel of one op while it is being built.
pub(crate) struct Kernel<'k> {
    module: &'k mut mcunet_ir::Module,
    source: &'k Function,
    op: Op,
    homes: &'k std::collections::HashMap<Value, Home>,
    outputs: &'k std::collections::HashMap<Value, usize>,
    constants: &'k mut std::collections::HashMap<Value, Value>,
    /// Tensors whose rows lie channel by channel.
    planar: &'k std::collections::HashSet<Value>,
    short_biases: bool,
    /// Tensors that lie in the memory of others.
    placements: &'k Placements,
    features: super::CoreFeatures,
    /// Bytes of working memory that the kernel may take.
    free: usize,
    /// Emits into the kernel's body.
    pub b: Builder<'k>,
    body: Block,
    /// Where the kernel goes.
    kernels: Block,
    /// The body's argument: the row to make.
    row: Value,
    /// Rows needed of each operand, if results are made row by row.
    needs: Option<Vec<RowNeed>>,
    /// Rows of the operand, if the kernel folds them into its results one after the other.
    folded: Option<usize>,
    reads: Vec<Listed>,
    writes: Vec<Listed>,
    in_place: Vec<(Value, Value)>,
}

impl<'k> Kernel<'k> {
    pub(super) fn new(lowering: &'k mut FunctionLowering<'_>, op: Op) -> Kernel<'k> {
        let body = lowering.target.create_block();
        let row = lowering.target.add_argument(body, Type::I32, None);
        // By itself, a kernel does better to fold all rows at once: they are there anyway, and nothing has to be kept.
        let in_cascade = lowering.kernels != lowering.target.body;
        let folded = folded_of(lowering.source, op).filter(|_| in_cascade);
        let needs = match folded {
            Some(rows) => Some(vec![RowNeed::same(rows)]),
            None => needs_of(lowering.source, op),
        };
        let free = match lowering.features.scratch {
            Scratch::Never => 0,
            Scratch::Percent { .. } => lowering.free.get(lowering.count).copied().unwrap_or(0),
            Scratch::Always => usize::MAX,
        };
        lowering.count += 1;
        let mut b = Builder::at_end(&mut lowering.target, body);
        b.set_origin(lowering.source.ops[op].origin.clone());
        Kernel {
            module: lowering.module,
            source: lowering.source,
            op,
            homes: &lowering.homes,
            outputs: &lowering.outputs,
            constants: &mut lowering.constants,
            planar: &lowering.planar,
            short_biases: lowering.short_biases,
            placements: &lowering.placements,
            features: lowering.features,
            free,
            b,
            body,
            kernels: lowering.kernels,
            row,
            needs,
            folded,
            reads: Vec::new(),
            writes: Vec::new(),
            in_place: Vec::new(),
        }
    }

    /// What the core can do.
    pub fn features(&self) -> super::CoreFeatures {
        self.features
    }

    /// Whether products of matrices have biases of 16 bits where they fit.
    pub fn has_short_biases(&self) -> bool {
        self.short_biases
    }

    /// Number of operands.
    pub fn operand_count(&self) -> usize {
        self.source.ops[self.op].operands.len()
    }

    /// Number of results.
    pub fn result_count(&self) -> usize {
        self.source.ops[self.op].results.len()
    }

    /// Type of operand `index`.
    pub fn operand_type(&self, index: usize) -> &'k TensorType {
        tensor_type(self.source, self.source.ops[self.op].operands[index])
    }

    /// Type of result `index`.
    pub fn result_type(&self, index: usize) -> &'k TensorType {
        tensor_type(self.source, self.source.ops[self.op].results[index])
    }

    /// Memory of operand `index`: a buffer, or the data of a constant as it is.
    pub fn input(&mut self, index: usize) -> Value {
        let operand = self.source.ops[self.op].operands[index];
        match self.homes[&operand] {
            Home::Buffer(buffer, view) => {
                if !self.reads.contains(&(buffer, view)) {
                    self.reads.push((buffer, view));
                }
                buffer
            }
            Home::Constant(op) => {
                if let Some(&data) = self.constants.get(&operand) {
                    return data;
                }
                let OpKind::Nn(NnOp::Const(constant)) = &self.source.ops[op].kind else {
                    unreachable!("constant homes are made from nn.const only")
                };
                let data = self.pack(vec![constant.value.clone()], PackLayout::Verbatim);
                self.b.function.values[data].name.clone_from(&self.source.values[operand].name);
                self.constants.insert(operand, data);
                data
            }
        }
    }

    /// Memory of result `index`.
    pub fn output(&mut self, index: usize) -> Value {
        let result = self.source.ops[self.op].results[index];
        let Home::Buffer(buffer, view) = self.homes[&result] else {
            unreachable!("results of lowered ops live in buffers")
        };
        self.list_written(buffer, view);
        buffer
    }

    fn list_written(&mut self, buffer: Value, view: Option<View>) {
        if !self.writes.contains(&(buffer, view)) {
            self.writes.push((buffer, view));
        }
    }

    /// The view of its memory that operand `index` is, if it is not all of it.
    fn operand_view(&self, index: usize) -> Option<View> {
        view_of(self.homes, self.source.ops[self.op].operands[index])
    }

    /// Whether operand `index` lies in the memory of result 0 already, so that nothing is to be done to have it there.
    pub fn lies_in_result(&self, index: usize) -> bool {
        let data = &self.source.ops[self.op];
        let joins = matches!(data.kind, OpKind::Nn(NnOp::Concat(_)));
        let placed = self.placements.get(root(self.source, data.operands[index]));
        joins && placed.is_some_and(|placed| placed.by == (self.op, index))
    }

    /// Whether result 0 is made in parts, of which others make some, or is itself a part.
    pub fn makes_views(&self) -> bool {
        let result = self.source.ops[self.op].results[0];
        view_of(self.homes, result).is_some()
            || (0..self.operand_count()).any(|index| self.lies_in_result(index))
    }

    /// Whether operand `index` is a view of its memory.
    pub fn is_view(&self, index: usize) -> bool {
        self.operand_view(index).is_some()
    }

    /// Whether some operand is a view of its memory.
    pub fn reads_views(&self) -> bool {
        (0..self.operand_count()).any(|index| self.is_view(index))
    }

    /// Whether result `index` is a view of the memory of operand 0, so that nothing is to be done to have it.
    pub fn is_view_of_operand(&self, index: usize) -> bool {
        let data = &self.source.ops[self.op];
        self.placements.get(data.results[index]).is_some_and(|placed| placed.by == (self.op, index))
    }

    /// Memory of what is a view of result 0, a tensor of type `ty`, by rows.
    pub fn target_view(&mut self, view: View, ty: &TensorType) -> RowMap {
        let result = self.source.ops[self.op].results[0];
        let Home::Buffer(buffer, outer) = self.homes[&result] else {
            unreachable!("results of lowered ops live in buffers")
        };
        // Results lie only where views of them can be composed.
        let view = outer.map_or(view, |outer| outer.of(&view).unwrap_or(view));
        self.list_written(buffer, self.makes_views().then_some(view));
        self.row_map(buffer, ty, false, Some(view))
    }

    /// The row to make, if results are made row by row: the body then runs once per row.
    pub fn row(&mut self) -> Option<Value> {
        self.needs.as_ref().filter(|_| self.folded.is_none())?;
        Some(if self.rows() == 1 { self.b.i32(0) } else { self.row })
    }

    /// The row of the operand to fold in, and how many there are, if the kernel folds them into its results one after the
    /// other.
    pub fn folded(&self) -> Option<FoldedRow> {
        self.folded.map(|rows| FoldedRow { row: self.row, rows })
    }

    /// The body's argument: how often it ran before.
    pub fn run(&self) -> Value {
        self.row
    }

    /// Which input of the function operand `index` is, if it is one.
    pub fn input_number(&self, index: usize) -> Option<usize> {
        let operand = self.source.ops[self.op].operands[index];
        self.source.blocks[self.source.body].args.iter().position(|&argument| argument == operand)
    }

    /// Which output of the function result `index` is, if it is one.
    pub fn output_number(&self, index: usize) -> Option<usize> {
        self.outputs.get(&self.source.ops[self.op].results[index]).copied()
    }

    /// How often the body runs.
    pub fn rows(&self) -> usize {
        let made = match self.source.ops[self.op].kind {
            // Its result may have another shape.
            OpKind::Tile(TileOp::Send(_)) => self.operand_type(0),
            _ => self.result_type(0),
        };
        let rows = || self.folded.or(image_rows(&made.shape));
        self.needs.as_ref().and_then(|_| rows()).unwrap_or(1)
    }

    /// Memory of operand `index`, by rows.
    pub fn source(&mut self, index: usize) -> RowMap {
        let memory = self.input(index);
        let view = self.operand_view(index);
        self.row_map(memory, self.operand_type(index), self.is_planar_operand(index), view)
    }

    /// Whether the rows of operand `index` lie channel by channel.
    pub fn is_planar_operand(&self, index: usize) -> bool {
        self.planar.contains(&self.source.ops[self.op].operands[index])
    }

    /// Memory of result `index`, by rows.
    pub fn target(&mut self, index: usize) -> RowMap {
        let memory = self.output(index);
        let result = self.source.ops[self.op].results[index];
        let planar = self.planar.contains(&result);
        self.row_map(memory, self.result_type(index), planar, view_of(self.homes, result))
    }

    fn row_map(&self, memory: Value, ty: &TensorType, planar: bool, view: Option<View>) -> RowMap {
        let scattered =
            self.b.function.defining_op(memory).and_then(|op| match &self.b.function.ops[op].kind {
                OpKind::Loop(mcunet_ir::loops::LoopOp::Buffer(buffer)) if buffer.scattered => {
                    Some(buffer.rows)
                }
                _ => None,
            });
        let [_, _, width, channels] = ty.shape.nhwc().unwrap_or([1, 1, ty.elements(), 1]);
        let elements = width * channels;
        let (mut pixel, channel) = if planar { (1, width) } else { (channels, 1) };
        let mut at = Within { first: 0, pitch: elements, row: 0 };
        if let Some(view) = view {
            at.first = view.first;
            match view {
                View { count: 1, .. } => {}
                View { run, step, .. } if run == elements => at.pitch = step,
                View { step, .. } => (pixel, at.pitch) = (step, width * step),
            }
            if let Some(rows) = scattered {
                let all = self.b.function.ty(memory).as_memref().map_or(0, |ty| ty.shape.elements());
                let of_row = (all / rows.max(1)).max(1);
                (at.row, at.first) = (view.first / of_row, view.first % of_row);
            }
        }
        RowMap {
            memory,
            elements,
            channels,
            scattered: scattered.is_some(),
            steps: Steps { pixel, channel },
            at,
        }
    }

    /// Emits what makes one row of an image: for the row that the body makes, or in loops over batch and rows if the
    /// kernel makes all its results at once.
    pub fn for_image_rows(&mut self, mut make: impl FnMut(&mut Builder<'_>, ImageRow)) {
        if let Some(row) = self.row() {
            let base = self.b.i32(0);
            return make(&mut self.b, ImageRow { row, input_base: base, output_base: base });
        }
        let (input, output) = (self.operand_type(0), self.result_type(0));
        let (batch, rows) = (output.shape[0], output.shape[1]);
        let per_image = |ty: &TensorType| to_i32(ty.elements().checked_div(batch).unwrap_or(0));
        let (input, output) = (per_image(input), per_image(output));
        self.b.for_count(batch, |b, n| {
            let (input_base, output_base) = (b.mul_const(n, input), b.mul_const(n, output));
            b.for_count(rows, |b, row| make(b, ImageRow { row, input_base, output_base }));
        });
    }

    /// Memory for what is folded so far, an element per result, that the kernel keeps from one row to the next: that of the
    /// result, if it has the type.
    pub fn kept_values(&mut self) -> Value {
        let (count, stored) = (self.result_type(0).elements(), self.result_type(0).storage());
        let element = match &self.source.ops[self.op].kind {
            OpKind::Nn(kind) => kept_type(kind, stored),
            _ => stored,
        };
        if element == stored {
            return self.output(0);
        }
        self.written(l::Role::Activation, element, count)
    }

    /// Whether the kernel may take so many bytes of working memory.
    pub fn may_use_scratch(&self, bytes: usize) -> bool {
        bytes <= self.free
    }

    /// Working memory of the kernel, whose contents last for one row.
    pub fn scratch(&mut self, element: Scalar, count: usize) -> Value {
        self.written(l::Role::Scratch, element, count)
    }

    /// A buffer in one piece that the kernel writes.
    fn written(&mut self, role: l::Role, element: Scalar, count: usize) -> Value {
        let kind = l::Buffer { role, index: 0, rows: 1, scattered: false, live: None, place: None };
        let ty = MemRefType { shape: [count].into(), element };
        let buffer = self.at_top(|b| b.value(kind, &[], ty.into()));
        self.list_written(buffer, None);
        buffer
    }

    /// The resource of operand `index`, if it is constant.
    pub fn constant(&self, index: usize) -> Option<ResourceRef> {
        let operand = self.source.ops[self.op].operands[index];
        match self.homes.get(&operand)? {
            Home::Constant(op) => match &self.source.ops[*op].kind {
                OpKind::Nn(NnOp::Const(constant)) => Some(constant.value.clone()),
                _ => None,
            },
            Home::Buffer(..) => None,
        }
    }

    /// The resource of operand `index`, which has to be constant for this kernel.
    ///
    /// # Errors
    /// If it is not.
    pub fn expect_constant(&self, index: usize, what: &str) -> Result<ResourceRef, Diagnostic> {
        self.constant(index).ok_or_else(|| {
            self.error(format!("expected '{what}' to be constant, got a value that is computed at run time"))
        })
    }

    /// The elements of operand `index`, if it is constant and its data is at hand.
    pub fn constant_data(&self, index: usize) -> Option<Data> {
        let reference = self.constant(index)?;
        self.module.bytes(&reference).map(|bytes| Data::from_bytes(reference.element, bytes))
    }

    /// The elements of operand `index`, which has to be constant for this kernel.
    ///
    /// # Errors
    /// If it is not, or if the module was read from a dump without weights.
    pub fn expect_constant_data(&self, index: usize, what: &str) -> Result<Data, Diagnostic> {
        let reference = self.expect_constant(index, what)?;
        self.constant_data(index).ok_or_else(|| {
            self.error(format!("expected the data of '{}', got a module without weights", reference.name))
                .help("dump the module with its weights: --print-weights")
        })
    }

    /// The narrowest type for the elements of an int8 filter, if the core's features say to look for it.
    pub fn narrowest(&self, filter: &ResourceRef) -> Option<Scalar> {
        let bytes = self.module.bytes(filter).filter(|_| self.features.narrow_weights)?;
        match Data::from_bytes(filter.element, bytes) {
            Data::I8(items) => Some(super::sub_byte::narrowest(&items)),
            _ => None,
        }
    }

    /// New constant data of the module, to pack.
    pub fn resource(&mut self, name: &str, data: &Data) -> ResourceRef {
        self.module.add_resource(name, data.scalar(), data.to_bytes())
    }

    /// New constant data in flash.
    pub fn data(&mut self, name: &str, data: &Data) -> Value {
        let (element, count) = (data.scalar(), data.len());
        let value = self.resource(name, data);
        let ty = MemRefType { shape: [count].into(), element };
        self.at_top(|b| b.value(l::Data { value }, &[], ty.into()))
    }

    /// Constant data in flash, computed from the model's by pack-weights.
    pub fn pack(&mut self, sources: Vec<ResourceRef>, layout: PackLayout) -> Value {
        let (element, count) = layout.result(&sources);
        let ty = MemRefType { shape: [count].into(), element };
        self.at_top(|b| b.value(l::Pack { sources, layout }, &[], ty.into()))
    }

    /// Declares that result `result` may overwrite the bytes of operand `operand`: the body reads every element of the
    /// operand for the last time before, or in the same step as, it writes the result's element at the same place.
    /// Ignored for constants and where byte sizes of the elements differ in a way that breaks that promise.
    pub fn allow_in_place(&mut self, result: usize, operand: usize) {
        if self.constant(operand).is_some() {
            return;
        }
        let narrower = self.result_type(result).storage().size_bytes()
            <= self.operand_type(operand).storage().size_bytes();
        let pair = (self.output(result), self.input(operand));
        // Elements of a view lie at other places.
        let whole = [&self.writes, &self.reads].iter().all(|listed| {
            listed.iter().all(|&(buffer, view)| view.is_none() || (buffer != pair.0 && buffer != pair.1))
        });
        if narrower && whole && !self.in_place.contains(&pair) {
            self.in_place.push(pair);
        }
    }

    /// An error about this op.
    pub fn error(&self, message: impl Into<String>) -> Diagnostic {
        let data = &self.source.ops[self.op];
        Diagnostic::error(format!("'{}' op {}", data.kind.name(), message.into())).at(data.origin.clone())
    }

    /// Rows needed of what is only read.
    fn need_of(&self, (buffer, view): Listed) -> RowNeed {
        let Some(needs) = &self.needs else { return RowNeed::Whole };
        let operands = &self.source.ops[self.op].operands;
        let reads = |operand: &Value| self.homes.get(operand) == Some(&Home::Buffer(buffer, view));
        let found = operands.iter().zip(needs).filter(|(operand, _)| reads(operand));
        let mut found = found.map(|(_, need)| need.clone());
        let first = found.next().unwrap_or(RowNeed::Whole);
        // A buffer that is read in two ways is needed for both.
        found.try_fold(first, |all, need| all.union(&need, self.rows())).unwrap_or(RowNeed::Whole)
    }

    fn at_top<R>(&mut self, build: impl FnOnce(&mut Builder<'_>) -> R) -> R {
        let top = self.b.function.body;
        self.b.within(top, build)
    }

    /// Appends the kernel to the function.
    pub(super) fn finish(mut self) {
        let reads: Vec<Listed> =
            self.reads.iter().copied().filter(|listed| !self.writes.contains(listed)).collect();
        let listed = self.writes.iter().chain(&reads).copied();
        let (buffers, views): (Vec<Value>, Vec<Option<View>>) = listed.unzip();
        let position = |buffer: Value| buffers.iter().position(|&other| other == buffer);
        let views = views.iter().enumerate();
        let views = views.filter_map(|(buffer, view)| view.map(|view| View { buffer, ..view })).collect();
        let in_place = self
            .in_place
            .iter()
            .filter_map(|&(written, read)| Some([position(written)?, position(read)?]))
            .collect();
        let needs: Vec<RowNeed> = reads.iter().map(|&listed| self.need_of(listed)).collect();
        let kind = l::Kernel {
            layer: self.source.ops[self.op].kind.name().into(),
            writes: self.writes.len(),
            rows: self.rows(),
            needs: if needs.iter().all(|need| *need == RowNeed::Whole) { Vec::new() } else { needs },
            in_place,
            views,
            shared: None,
        };
        let body = self.body;
        self.b.within(body, |b| b.op(l::Yield {}, &[], &[]));
        let kernels = self.kernels;
        self.b.within(kernels, |b| b.op_with_regions(kind, &buffers, &[], &[body]));
    }
}

/// The view of a buffer that a tensor is.
fn view_of(homes: &std::collections::HashMap<Value, Home>, value: Value) -> Option<View> {
    match homes.get(&value) {
        Some(Home::Buffer(_, view)) => *view,
        _ => None,
    }
}

/// Rows that an op needs of its operands, if it makes its results row by row.
pub(super) fn needs_of(function: &Function, op: Op) -> Option<Vec<RowNeed>> {
    let data = &function.ops[op];
    let types =
        |values: &[Value]| values.iter().map(|&value| tensor_type(function, value)).collect::<Vec<_>>();
    let kind = match &data.kind {
        OpKind::Nn(kind) => kind,
        OpKind::Tile(TileOp::Receive(_)) => {
            let rows = image_rows(&tensor_type(function, data.results[0]).shape)?;
            return Some(vec![RowNeed::same(rows)]);
        }
        OpKind::Tile(TileOp::Send(_)) => {
            let rows = image_rows(&tensor_type(function, data.operands[0]).shape).unwrap_or(1);
            return Some(vec![RowNeed::same(rows)]);
        }
        _ => return None,
    };
    row_needs(kind, &types(&data.operands), &types(&data.results))
}

/// Type in which an op that folds rows keeps the values that become results of a type.
pub(crate) fn kept_type(op: &NnOp, stored: Scalar) -> Scalar {
    match op {
        NnOp::Mean(_) | NnOp::MeanOfMeans(_) | NnOp::Sum(_) | NnOp::AvgPool2d(_) if stored != Scalar::F32 => {
            Scalar::I32
        }
        _ => stored,
    }
}

/// Rows of its operand that an op folds into its results.
pub(super) fn folded_of(function: &Function, op: Op) -> Option<usize> {
    let data = &function.ops[op];
    let OpKind::Nn(kind) = &data.kind else { return None };
    let operands: Vec<&TensorType> =
        data.operands.iter().map(|&value| tensor_type(function, value)).collect();
    folded_rows(kind, &operands)
}

pub(super) fn tensor_type(function: &Function, value: Value) -> &TensorType {
    match function.ty(value) {
        Type::Tensor(tensor) => tensor,
        _ => unreachable!("operands and results of nn ops are tensors in a verified module"),
    }
}

/// A kernel that copies the storage of `value`, an input, constant or other output, to output `index`.
pub(super) fn copy_to_output(lowering: &mut FunctionLowering<'_>, value: Value, index: usize) {
    let buffer = lowering.buffer(value, l::Role::Output, index, false);
    let count = lowering.source.ty(value).as_tensor().map_or(0, TensorType::elements);
    let source = match lowering.homes[&value] {
        Home::Buffer(source, _) => source,
        Home::Constant(op) => {
            let OpKind::Nn(NnOp::Const(constant)) = &lowering.source.ops[op].kind else {
                unreachable!("constant homes are made from nn.const only")
            };
            let ty = MemRefType { shape: [count].into(), element: constant.value.element };
            let body = lowering.target.body;
            let sources = vec![constant.value.clone()];
            Builder::at_end(&mut lowering.target, body).value(
                l::Pack { sources, layout: PackLayout::Verbatim },
                &[],
                ty.into(),
            )
        }
    };
    let body = lowering.target.create_block();
    lowering.target.add_argument(body, Type::I32, None);
    let top = lowering.target.body;
    let is_buffer = matches!(lowering.homes[&value], Home::Buffer(..));
    let mut b = Builder::at_end(&mut lowering.target, body);
    let zero = b.i32(0);
    b.op(l::Copy { count }, &[source, zero, buffer, zero], &[]);
    b.op(l::Yield {}, &[], &[]);
    let buffers = if is_buffer { vec![buffer, source] } else { vec![buffer] };
    let (needs, in_place) = (Vec::new(), Vec::new());
    let kind = l::Kernel {
        layer: "copy".into(),
        writes: 1,
        rows: 1,
        needs,
        in_place,
        views: Vec::new(),
        shared: None,
    };
    b.within(top, |b| b.op_with_regions(kind, &buffers, &[], &[body]));
}
