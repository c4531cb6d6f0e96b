//! The report: figures of a compiled model, all computed from the lowered program.

mod alternative;
pub mod html;
pub mod layers;
pub mod memory;
pub mod memory_map;
mod next_kilobyte;
mod regions;
mod words;

pub use alternative::Alternative;
use layers::{Layer, element};
use mcunet_ir::loops::program::{Streamed, constant_bytes, received, sent};
use mcunet_ir::module::{Module, Port};
use mcunet_passes::analysis::liveness::Liveness;
use mcunet_passes::cost;
use mcunet_passes::plan_memory::MemorySummary;
use mcunet_passes::target::Target;
use memory::{CascadeSpan, Peak};
use next_kilobyte::NextKilobyte;
use serde::Serialize;
use std::collections::BTreeMap;

/// A memory region and what of it is used.
#[derive(Serialize, Debug)]
pub struct Region {
    /// Name in the target.
    pub name: String,
    /// Bytes of it that are used: of SRAM by the arena, of flash by constants.
    pub used_bytes: usize,
    /// Bytes there are; absent if not limited.
    pub available_bytes: Option<u64>,
    /// Loads from it and stores to it of one invocation, at most; of flash they are not counted.
    pub traffic: Option<u64>,
}

/// An input or output of the model.
#[derive(Serialize, Debug)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its dimensions.
    pub shape: Vec<usize>,
    /// Its element type, with its quantization.
    pub element: String,
    /// Its size in bytes.
    pub bytes: usize,
    /// Whether the caller hands it over row by row, so that it never is in memory as a whole.
    pub streamed: bool,
}

/// The figures; keys are stable. What is not known without building the firmware is null.
#[derive(Serialize, Debug)]
pub struct Report {
    /// Name of the model.
    pub model: String,
    /// Name of the target.
    pub target: String,
    /// Bytes of the arena that the caller gives; of all arenas if there are several.
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
    /// Inputs in order.
    pub inputs: Vec<Interface>,
    /// Outputs in order.
    pub outputs: Vec<Interface>,
    /// What stands in the way of a smaller arena; null if the arena is no larger than a kilobyte.
    pub next_kilobyte: Option<NextKilobyte>,
    /// Options with which the arena is smaller.
    pub alternatives: Vec<Alternative>,
    /// Bytes that live over time: pairs of a step and the bytes that live from it on.
    pub timeline: Vec<[usize; 2]>,
    /// Estimated cycles of an invocation, by core: the target's, and others that run the same program.
    pub cycles: BTreeMap<&'static str, u64>,
    /// Estimated instructions of an invocation.
    pub instructions: u64,
    /// Estimated bytes of the layers' code.
    pub estimated_code_bytes: u64,
}

/// A region is nearly full if less than this part of it is left.
const SPARE: u64 = 10;

impl Report {
    /// The report of a planned module. `imported_macs` were counted before optimization, `layers` before lowering.
    pub fn new(module: &Module, target: &Target, imported_macs: u64, mut layers: Vec<Layer>) -> Self {
        let memory = module.functions.first().map(MemorySummary::of).unwrap_or_default();
        let function = module.functions.first();
        let liveness = function.map(Liveness::of).unwrap_or_default();
        let live = liveness.least_bytes();
        let cost = cost::of_module(module, target);
        if let Some(function) = function {
            layers::keep_lowered(function, &mut layers);
        }
        layers::price(&cost, &mut layers);
        if let Some(function) = function {
            layers::measure(function, &mut layers);
            layers::measure_runs(function, &liveness, &live, &mut layers);
        }
        let effective_macs: u64 = layers.iter().map(|layer| layer.macs).sum();
        let weight_bytes = module.functions.iter().map(constant_bytes).sum();
        let regions = regions::regions(function, target, weight_bytes);
        Self {
            model: module.name.to_string(),
            target: target.name.clone(),
            arena_bytes: memory.arena_bytes,
            arena_lower_bound_bytes: memory.lower_bound_bytes,
            arena_distance_to_bound_bytes: memory.arena_bytes.saturating_sub(memory.lower_bound_bytes),
            max_live_bytes: memory.max_live_bytes,
            state_bytes: 0,
            stack_bytes: None,
            weight_bytes,
            code_bytes: None,
            macs: imported_macs,
            effective_macs,
            mac_factor: Alternative::mac_factor(effective_macs, imported_macs),
            cycles: cost::cycles_by_core(module, target.core),
            instructions: cost.total.instructions,
            estimated_code_bytes: cost.total.code_bytes,
            layers,
            peak: function.and_then(|function| Peak::of(function, &liveness)),
            cascades: function.map_or(Vec::new(), |function| memory::cascades(function, &liveness, &live)),
            warnings: warnings(&regions),
            regions,
            inputs: function.map_or(Vec::new(), |function| ports(&function.inputs, &received(function))),
            outputs: function.map_or(Vec::new(), |function| ports(&function.outputs, &sent(function))),
            next_kilobyte: function
                .and_then(|function| NextKilobyte::of(function, &liveness, &live, memory.arena_bytes)),
            alternatives: Vec::new(),
            timeline: memory::timeline(&live),
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
            count => format!(", {}", words::counted(count, "cascade")),
        };
        let arenas = self.regions.iter().filter(|region| region.traffic.is_some() && region.used_bytes > 0);
        let parts: Vec<String> =
            arenas.map(|region| format!("{} {} B", region.name, region.used_bytes)).collect();
        let parts = if parts.len() > 1 { format!("{}; ", parts.join(", ")) } else { String::new() };
        format!(
            "arena {arena_bytes} B ({parts}lower bound {arena_lower_bound_bytes} B), constants {weight_bytes} B, \
             {effective_macs} multiply-accumulates ({macs} in the model){cascades}\n"
        )
    }
}

/// Regions in which little is left, since the rest of the firmware needs some of them too.
fn warnings(regions: &[Region]) -> Vec<String> {
    let nearly_full = |region: &Region| {
        let left = region.available_bytes?.checked_sub(region.used_bytes as u64)?;
        let text = format!("{left} bytes of '{}' are left for the rest of the firmware", region.name);
        (left < region.available_bytes? / SPARE).then_some(text)
    };
    regions.iter().filter_map(nearly_full).collect()
}

fn ports(ports: &[Port], streamed: &[Streamed]) -> Vec<Interface> {
    let interface = |(index, port): (usize, &Port)| {
        let ty = port.ty.as_tensor()?;
        Some(Interface {
            name: port.name.to_string(),
            shape: ty.shape.0.clone(),
            element: element(ty),
            bytes: ty.size_bytes(),
            streamed: streamed.iter().any(|streamed| streamed.index == index),
        })
    };
    ports.iter().enumerate().filter_map(interface).collect()
}
