//! The layers of a model: what `inspect` lists and the report measures.

use mcunet_ir::loops::LoopOp;
use mcunet_ir::loops::ops::Role;
use mcunet_ir::loops::program::Program;
use mcunet_ir::module::{Function, Module, Op, OpKind};
use mcunet_ir::nn::NnOp;
use mcunet_ir::tile::TileOp;
use mcunet_ir::types::{Element, TensorType};
use mcunet_ir::{Origin, Type};
use mcunet_passes::analysis::composition;
use mcunet_passes::analysis::liveness::Liveness;
use mcunet_passes::analysis::macs::{of_function, of_op};
use mcunet_passes::cost::Cost;
use mcunet_passes::manager::{Observer, PassRun};
use mcunet_passes::pass::ConfiguredPass;
use serde::Serialize;

/// One operation of a model.
#[derive(Serialize, Debug, Clone)]
pub struct Layer {
    /// Position in the order of execution.
    pub index: usize,
    /// Where it comes from in the model.
    pub origin: String,
    /// The operation.
    pub op: String,
    /// Shapes of the activations it reads.
    pub inputs: Vec<Vec<usize>>,
    /// Shapes of the results.
    pub outputs: Vec<Vec<usize>>,
    /// Element type of the first result, with its quantization.
    pub element: String,
    /// Multiply-accumulates.
    pub macs: u64,
    /// Bytes of the buffers it touches.
    pub buffer_bytes: usize,
    /// Bytes of the constants it reads.
    pub weight_bytes: usize,
    /// How the lowered program runs it, if that is known.
    #[serde(flatten)]
    pub run: Option<Run>,
    /// Estimated cycles of an invocation, if the module is lowered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cycles: Option<u64>,
    /// Estimated instructions of an invocation, if the module is lowered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instructions: Option<u64>,
}

/// How the lowered program runs a layer.
#[derive(Serialize, Debug, Clone)]
pub struct Run {
    /// Which of the cascades it runs in; null if it runs by itself.
    pub cascade: Option<usize>,
    /// Rows that it makes, one per step.
    pub rows: usize,
    /// Rows of its result that are held at a time.
    pub held_rows: usize,
    /// The most bytes that live while it makes a row.
    pub live_bytes: usize,
}

/// Layers of a tensor function: all ops but constants, and, if `kernels_only`, but those that become no kernel.
pub fn layers(module: &Module, kernels_only: bool) -> Vec<Layer> {
    let Some(function) = module.functions.first() else { return Vec::new() };
    let mut layers = Vec::new();
    for op in function.walk() {
        let listed = match &function.ops[op].kind {
            OpKind::Nn(NnOp::Const(_)) => false,
            OpKind::Nn(NnOp::Reshape(_)) => !kernels_only,
            OpKind::Nn(_) | OpKind::Tile(TileOp::Receive(_) | TileOp::Send(_)) => true,
            _ => false,
        };
        if listed {
            layers.push(layer(function, op, layers.len()));
        }
    }
    layers
}

/// Multiply-accumulates of a tensor function.
pub fn macs(module: &Module) -> u64 {
    module.functions.first().map_or(0, of_function)
}

fn layer(function: &Function, op: Op, index: usize) -> Layer {
    let data = &function.ops[op];
    let tensor = |&value: &mcunet_ir::Value| function.ty(value).as_tensor();
    let results: Vec<&TensorType> = data.results.iter().filter_map(tensor).collect();
    let is_constant = |&value: &mcunet_ir::Value| {
        function
            .defining_op(value)
            .is_some_and(|op| matches!(function.ops[op].kind, OpKind::Nn(NnOp::Const(_))))
    };
    let constants = data.operands.iter().filter(|&value| is_constant(value)).filter_map(tensor);
    let weight_bytes = constants.map(TensorType::packed_bytes).sum();
    let activations = data.operands.iter().filter(|&value| !is_constant(value)).filter_map(tensor);
    Layer {
        index,
        origin: origin(&data.origin),
        op: data.kind.name().to_owned(),
        inputs: activations.clone().map(|ty| ty.shape.0.clone()).collect(),
        outputs: results.iter().map(|ty| ty.shape.0.clone()).collect(),
        element: results.first().map(|ty| element(ty)).unwrap_or_default(),
        macs: of_op(function, op),
        buffer_bytes: activations.map(TensorType::size_bytes).sum::<usize>()
            + results.iter().map(|ty| ty.size_bytes()).sum::<usize>(),
        weight_bytes,
        cycles: None,
        instructions: None,
        run: None,
    }
}

/// The origin without the file's name, which is the same for all layers.
pub fn origin(origin: &Origin) -> String {
    match origin {
        Origin::Model { operator, name, .. } => format!("{operator} {name}"),
        Origin::Fused(parts) => {
            let parts: Vec<String> = parts.iter().map(self::origin).collect();
            parts.join(" + ")
        }
        other => other.to_string(),
    }
}

/// Element type as people write it: `i8 scale 0.0235 zero point -5`.
pub fn element(ty: &TensorType) -> String {
    match &ty.element {
        Element::Plain(scalar) => scalar.name().to_owned(),
        Element::Quant(quant) => match quant.affine() {
            Some(affine) => {
                format!(
                    "{} scale {} zero point {}",
                    quant.storage.name(),
                    affine.scale.get(),
                    affine.zero_point
                )
            }
            None => format!("{} per axis", quant.storage.name()),
        },
    }
}

/// Leaves out layers that became no kernel, since others do what they would have done: concatenations whose parts are written where
/// they belong.
pub fn keep_lowered(function: &Function, layers: &mut Vec<Layer>) {
    let program = Program::of(function);
    let mut kernels = program.kernels.iter().enumerate().peekable();
    layers.retain(|layer| {
        let is_of = |&(index, &kernel): &(usize, &Op)| {
            let head = program.head(function, index);
            *head.layer == *layer.op && origin(&function.ops[kernel].origin) == layer.origin
        };
        kernels.next_if(is_of).is_some()
    });
    layers.iter_mut().enumerate().for_each(|(index, layer)| layer.index = index);
}

/// Fills in what only the lowered program knows: constants as packed, buffers with scratch.
pub fn measure(function: &Function, layers: &mut [Layer]) {
    let program = Program::of(function);
    for (&kernel, layer) in program.kernels.iter().zip(layers) {
        let bytes = |ty: &Type| ty.as_memref().map_or(0, mcunet_ir::types::MemRefType::size_bytes);
        layer.buffer_bytes =
            function.ops[kernel].operands.iter().map(|&buffer| bytes(function.ty(buffer))).sum();
        layer.weight_bytes = data_read(function, kernel).iter().map(|&data| bytes(function.ty(data))).sum();
    }
}

/// Fills in what each costs.
pub fn price(cost: &Cost, layers: &mut [Layer]) {
    for (figures, layer) in cost.layers.iter().zip(layers) {
        layer.cycles = Some(figures.cycles);
        layer.instructions = Some(figures.instructions);
    }
}

/// Fills in how the lowered program runs them, given the bytes that live at each step.
pub fn measure_runs(function: &Function, liveness: &Liveness, live: &[usize], layers: &mut [Layer]) {
    let program = &liveness.program;
    let live = super::memory::by_layer(liveness, live);
    let cascades = program.parts.iter().filter(|part| part.cascade.is_some());
    let cascades: Vec<_> = cascades.map(|part| part.kernels.clone()).collect();
    for (index, layer) in layers.iter_mut().enumerate().take(program.kernels.len()) {
        let head = program.head(function, index);
        let rows = head.rows;
        let written = function.ops[program.kernels[index]].operands.iter().take(head.writes);
        // Scratch memory is written, too.
        let results = written.filter_map(|result| {
            let life = liveness.buffers.iter().find(|life| life.value == *result);
            life.filter(|life| life.role != Role::Scratch)
        });
        // What is sent is not held.
        let none = (head.writes == 0).then_some(0);
        let held = results.map(|life| composition::rows_held(function, life)).max().or(none);
        layer.run = Some(Run {
            cascade: cascades.iter().position(|kernels| kernels.contains(&index)),
            rows,
            held_rows: held.unwrap_or(rows),
            live_bytes: live[index],
        });
    }
}

/// Constants that a kernel's body reads.
fn data_read(function: &Function, kernel: Op) -> std::collections::BTreeSet<mcunet_ir::Value> {
    let mut read = std::collections::BTreeSet::new();
    for &body in &function.ops[kernel].regions {
        function.walk_block(body, &mut |op| {
            read.extend(function.ops[op].operands.iter().copied().filter(|&value| {
                function.defining_op(value).is_some_and(|definition| {
                    matches!(function.ops[definition].kind, OpKind::Loop(LoopOp::Data(_)))
                })
            }));
        });
    }
    read
}

/// Notes the layers as they are right before lowering, when shapes and multiply-accumulates are still known.
#[derive(Default)]
pub struct LayerObserver {
    /// The layers that become kernels, in order.
    pub layers: Vec<Layer>,
}

impl Observer for LayerObserver {
    fn before(&mut self, _index: usize, pass: &dyn ConfiguredPass, module: &Module) {
        if pass.head().name == "lower" {
            self.layers = layers(module, true);
        }
    }

    fn after(&mut self, _run: &PassRun<'_>, _module: &Module) {}
}
