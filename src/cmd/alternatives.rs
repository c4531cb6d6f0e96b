//! Other options that make the arena smaller, found by trying them.

use crate::cli::{IoTypeArg, LevelArg, ModelArgs, PipelineArgs, StreamArg};
use crate::report::Alternative;
use crate::report::layers::{LayerObserver, macs};
use crate::session::{self, ModelFile};
use crate::watch::Watcher;
use mcunet_ir::Module;
use mcunet_passes::cost;
use mcunet_passes::memo::Memo;
use mcunet_passes::pass::PassContext;
use mcunet_passes::pipeline::Pipeline;
use mcunet_passes::plan_memory::MemorySummary;
use mcunet_passes::target::Target;
use mcunet_passes::watch::{Impatient, Watch};
use std::rc::Rc;

/// What all compilations of a command have in common.
pub struct Setup<'a> {
    /// The model.
    pub file: ModelFile,
    /// The device.
    pub target: Target,
    /// Watches the searches.
    pub watcher: &'a Watcher,
    /// What one compilation finds out for the next.
    pub memo: Rc<Memo>,
}

/// Options that give an arena of less than `arena` bytes, with what they cost: each by itself, and several together if
/// that gives less than each of them. None are tried when the time for searches is over.
pub fn below(
    arena: usize,
    setup: &Setup<'_>,
    model: &ModelArgs,
    pipeline: &PipelineArgs,
) -> Vec<Alternative> {
    let mut found: Vec<Alternative> = Vec::new();
    for Variant { options, model, pipeline } in variants(model, pipeline) {
        if setup.watcher.is_over() {
            break;
        }
        let least = found.iter().map(|other| other.arena_bytes).min().filter(|_| options.len() > 1);
        let tried = measure(options.join(" "), setup, &model, &pipeline);
        found.extend(tried.filter(|tried| tried.arena_bytes < least.unwrap_or(arena)));
    }
    found
}

/// The arena with given options if memory were unlimited; `None` if the model can't be compiled with them.
pub fn measure(
    options: String,
    setup: &Setup<'_>,
    model: &ModelArgs,
    pipeline: &PipelineArgs,
) -> Option<Alternative> {
    let module = setup.file.import(model).ok()?;
    let (pipeline, imported_macs) = (session::pipeline(pipeline).ok()?, macs(&module));
    measure_module(options, setup, module, &pipeline, imported_macs)
}

/// The arena that the rest of a pipeline gives a module which had `imported_macs` when it was imported.
pub fn measure_module(
    options: String,
    setup: &Setup<'_>,
    mut module: Module,
    pipeline: &Pipeline,
    imported_macs: u64,
) -> Option<Alternative> {
    let target = Target { sram: Vec::new(), ..setup.target.clone() };
    let mut observer = LayerObserver::default();
    let watch = Impatient(setup.watcher);
    let cx = PassContext::new(&target).watched_by(&watch).remembering(setup.memo.clone());
    session::optimize(&mut module, pipeline, &mut observer, &cx).ok()?;
    let macs: u64 = observer.layers.iter().map(|layer| layer.macs).sum();
    let arena_bytes = MemorySummary::of(module.functions.first()?).arena_bytes;
    let mac_factor = Alternative::mac_factor(macs, imported_macs);
    let cycles = cost::of_module(&module, &target).total.cycles;
    Some(Alternative { options, arena_bytes, mac_factor, cycles })
}

/// Arguments with options added to them.
struct Variant {
    options: Vec<&'static str>,
    model: ModelArgs,
    pipeline: PipelineArgs,
}

/// What may be added to given arguments; several options after each by itself.
fn variants(model: &ModelArgs, pipeline: &PipelineArgs) -> Vec<Variant> {
    let by_rows = pipeline.pass_pipeline.is_none() && pipeline.level != LevelArg::O0;
    let input = by_rows && pipeline.stream_input.is_none();
    let int8 = matches!(model.io_type, IoTypeArg::Model | IoTypeArg::Float32);
    let output = by_rows && !pipeline.stream_output;
    // Bits of a subset, in the order in which options are tried by themselves.
    let options = [("--stream-input", input), ("--io-type=int8", int8), ("--stream-output", output)];
    let possible = |subset: &u32| (0..options.len()).all(|i| subset >> i & 1 == 0 || options[i].1);
    let mut subsets: Vec<u32> = (1..1 << options.len()).filter(possible).collect();
    subsets.sort_by_key(|subset| subset.count_ones());
    let variant = |subset: u32| {
        let [input, int8, output] = [0, 1, 2].map(|i| subset >> i & 1 == 1);
        Variant {
            options: [("--io-type=int8", int8), ("--stream-input", input), ("--stream-output", output)]
                .into_iter()
                .filter_map(|(option, given)| given.then_some(option))
                .collect(),
            model: ModelArgs { io_type: if int8 { IoTypeArg::Int8 } else { model.io_type }, ..model.clone() },
            pipeline: PipelineArgs {
                stream_input: if input { Some(StreamArg::Once) } else { pipeline.stream_input },
                stream_output: output || pipeline.stream_output,
                ..pipeline.clone()
            },
        }
    };
    subsets.into_iter().map(variant).collect()
}
