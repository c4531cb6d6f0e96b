//! The report: figures of a compiled model, all computed from the lowered program.

pub mod layers;
pub mod memory;
pub mod memory_map;

use layers::Layer;
use mcunet_ir::loops::LoopOp;
use mcunet_ir::module::{Function, Module, OpKind};
use mcunet_passes::analysis::liveness::Liveness;
use mcunet_passes::plan_memory::MemorySummary;
use mcunet_passes::target::Target;
use memory::{CascadeSpan, Peak};
use serde::Serialize;

/// A memory region and what of it is used.
#[derive(Serialize, Debug)]
pub struct Region {
    /// Name in the target.
    pub name: String,
    /// Bytes of the arena in it.
    pub used_bytes: usize,
    /// Bytes there are; absent if not limited.
    pub available_bytes: Option<u64>,
}

/// The figures; keys are stable. What is not known without building the firmware is null.
#[derive(Serialize, Debug)]
pub struct Report {
    /// Name of the model.
    pub model: String,
    /// Name of the target.
    pub target: String,
    /// Bytes of the arena that the caller gives.
    pub arena_bytes: usize,
    /// No plan of these buffers in this order can be smaller.
    pub arena_lower_bound_bytes: usize,
    /// What the plan needs above it.
    pub arena_distance_to_bound_bytes: usize,
    /// The largest sum of live tensors, without in-place.
    pub max_live_bytes: usize,
    /// Bytes that live from one invocation to the next.
    pub state_bytes: usize,
    /// Stack of the deepest call.
    pub stack_bytes: Option<usize>,
    /// Constants in flash.
    pub weight_bytes: usize,
    /// Instructions in flash.
    pub code_bytes: Option<usize>,
    /// Multiply-accumulates of the model as imported.
    pub macs: u64,
    /// Multiply-accumulates that the program performs.
    pub effective_macs: u64,
    /// Their ratio.
    pub mac_factor: f64,
    /// Layers in order of execution.
    pub layers: Vec<Layer>,
    /// Where most bytes live, and what they are; null if nothing runs.
    pub peak: Option<Peak>,
    /// Layers that run row by row in turns.
    pub cascades: Vec<CascadeSpan>,
    /// Memory regions.
    pub regions: Vec<Region>,
    /// What the user should know.
    pub warnings: Vec<String>,
}

impl Report {
    /// The report of a planned module. `imported_macs` were counted before optimization, `layers` before lowering.
    pub fn new(module: &Module, target: &Target, imported_macs: u64, mut layers: Vec<Layer>) -> Self {
        let memory = module.functions.first().map(MemorySummary::of).unwrap_or_default();
        if let Some(function) = module.functions.first() {
            layers::measure(function, &mut layers);
        }
        let function = module.functions.first();
        let liveness = function.map(Liveness::of).unwrap_or_default();
        let effective_macs: u64 = layers.iter().map(|layer| layer.macs).sum();
        let region = target.sram.first();
        Self {
            model: module.name.to_string(),
            target: target.name.clone(),
            arena_bytes: memory.arena_bytes,
            arena_lower_bound_bytes: memory.lower_bound_bytes,
            arena_distance_to_bound_bytes: memory.arena_bytes.saturating_sub(memory.lower_bound_bytes),
            max_live_bytes: memory.max_live_bytes,
            state_bytes: 0,
            stack_bytes: None,
            weight_bytes: module.functions.iter().map(weight_bytes).sum(),
            code_bytes: None,
            macs: imported_macs,
            effective_macs,
            mac_factor: if imported_macs == 0 { 1.0 } else { effective_macs as f64 / imported_macs as f64 },
            layers,
            peak: function.and_then(|function| Peak::of(function, &liveness)),
            cascades: memory::cascades(&liveness),
            regions: vec![Region {
                name: region.map_or("sram", |region| region.name.as_str()).to_owned(),
                used_bytes: memory.arena_bytes,
                available_bytes: region.map(|region| region.bytes),
            }],
            warnings: Vec::new(),
        }
    }

    /// The report as JSON.
    pub fn to_json(&self) -> String {
        // Serializing plain numbers and strings cannot fail.
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }

    /// A few lines for the terminal.
    pub fn summary(&self) -> String {
        let Self { arena_bytes, arena_lower_bound_bytes, weight_bytes, macs, effective_macs, .. } = self;
        let cascades = match self.cascades.len() {
            0 => String::new(),
            count => format!(", {}", memory_map::counted(count, "cascade")),
        };
        format!(
            "arena {arena_bytes} B (lower bound {arena_lower_bound_bytes} B), constants {weight_bytes} B, \
             {effective_macs} multiply-accumulates ({macs} in the model){cascades}\n"
        )
    }
}

/// Bytes of the constants that a function's kernels read.
pub fn weight_bytes(function: &Function) -> usize {
    let mut names = std::collections::BTreeSet::new();
    let mut bytes = 0;
    for op in function.walk() {
        if let OpKind::Loop(LoopOp::Data(data)) = &function.ops[op].kind
            && names.insert(data.value.name.clone())
        {
            bytes += data.value.count * data.value.element.size_bytes();
        }
    }
    bytes
}
