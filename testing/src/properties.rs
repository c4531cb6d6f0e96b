//! What holds for every valid module. Each property takes a module and says what is wrong; the tests run them on seeds,
//! the fuzz targets on a fuzzer's bytes.

use crate::Random;
use crate::compare::differences;
use crate::compile::{LEVELS, after, after_for, after_watched};
use mcunet_ir::interp::{Executor, Interpreter};
use mcunet_ir::text::{PrintOptions, parse, print};
use mcunet_ir::types::Scalar;
use mcunet_ir::verify::verify;
use mcunet_ir::{Module, Op, Tensor, Value};
use mcunet_passes::analysis::range::Ranges;
use mcunet_passes::cascade::cut::unreachable_stage;
use mcunet_passes::cascade::graph::Graph;
use mcunet_passes::cascade::stream::{Handing, Streaming};
use mcunet_passes::fuse::Fuse;
use mcunet_passes::fuse::check::{Compared, compare};
use mcunet_passes::pass::OptionValue;
use mcunet_passes::patch_split::Goal;
use mcunet_passes::patch_split::split::operations;
use mcunet_passes::pipeline::{Choices, Level};
use mcunet_passes::plan_memory::{MemorySummary, region_bytes};
use mcunet_passes::schedule::dag::Dag;
use mcunet_passes::schedule::{Schedule, best_order};
use mcunet_passes::target::{Core, Memory, Target};
use mcunet_passes::watch::{Unwatched, Watch};
use std::collections::{BTreeSet, HashMap};

/// The text of a module with everything that is needed to repeat a failure.
pub fn text(module: &Module) -> String {
    print(module, &PrintOptions { generic: false, locations: false, weights: true })
}

/// The module is valid.
///
/// # Errors
/// What the verifier says.
pub fn verifies(module: &Module) -> Result<(), String> {
    verify(module).map(|_| ()).map_err(|errors| errors.to_string())
}

/// In both spellings, with and without locations and weights, the text of the parsed text is the text; with weights,
/// what was parsed is valid.
///
/// # Errors
/// The spelling that does not return.
pub fn round_trips(module: &Module) -> Result<(), String> {
    for bits in 0..8 {
        let options =
            PrintOptions { generic: bits & 1 != 0, locations: bits & 2 != 0, weights: bits & 4 != 0 };
        let text = print(module, &options);
        let parsed = parse(&text, "printed.mcir").map_err(|errors| format!("{options:?}: {errors}"))?;
        let again = print(&parsed, &options);
        if again != text {
            let line = again.lines().zip(text.lines()).find(|(a, b)| a != b);
            let (found, expected) = line.unwrap_or(("fewer or more lines", ""));
            return Err(format!("another text with {options:?}: expected '{expected}', got '{found}'"));
        }
        if options.weights {
            verifies(&parsed).map_err(|errors| format!("parsed with {options:?}: {errors}"))?;
        }
    }
    Ok(())
}

/// The module for a Cortex-M4 with its inputs received row by row, its outputs sent so, or both; `None` if none of them
/// can be.
///
/// # Errors
/// What else the passes say.
pub fn streamed(module: &Module, handing: Handing) -> Result<Option<Module>, String> {
    let pipeline = Level::O2
        .pipeline_with(&Choices { handing, ..Choices::default() })
        .ok_or("expected a level that runs by rows")?;
    match after(&pipeline, module, Core::CortexM4) {
        Ok(planned) => Ok(Some(planned)),
        Err(error) if error.contains("that can be streamed") => Ok(None),
        Err(error) => Err(error),
    }
}

/// What can be handed over row by row: inputs, outputs, both.
pub const HANDINGS: [Handing; 3] = [
    Handing { input: Streaming::Once, output: false },
    Handing { input: Streaming::No, output: true },
    Handing { input: Streaming::Once, output: true },
];

/// Received row by row, in cascades and lowered, inputs give what they give as a whole, and so do outputs that are sent so.
/// Returns for each of [`HANDINGS`] whether anything is handed over.
///
/// # Errors
/// The output that differs.
pub fn streaming_keeps_results(module: &Module, inputs: &[Tensor]) -> Result<[bool; 3], String> {
    let expected = reference(module, inputs)?;
    let mut any = [false; 3];
    for (any, handing) in any.iter_mut().zip(HANDINGS) {
        let at = |error: String| format!("{handing:?}: {error}");
        let Some(planned) = streamed(module, handing).map_err(at)? else { continue };
        computes(&planned, inputs, &expected).map_err(at)?;
        let input = handing.input.print();
        let cascade = format!(
            "canonicalize,fuse,eliminate-dead-channels,fuse{{late=true}},cascade{{stream-input={input},stream-output={}}}",
            handing.output
        );
        for pipeline in [&cascade, &format!("{cascade},lower")] {
            let module = after(pipeline, module, Core::CortexM4).map_err(at)?;
            round_trips(&module).map_err(at)?;
            if pipeline == &cascade {
                computes(&module, inputs, &expected).map_err(at)?;
            }
        }
        *any = true;
    }
    Ok(any)
}

/// What the reference interpreter computes.
///
/// # Errors
/// What stopped it.
pub fn reference(module: &Module, inputs: &[Tensor]) -> Result<Vec<Tensor>, String> {
    Interpreter::new(module).run(inputs).map_err(|error| error.to_string())
}

/// `module` computes `expected` from `inputs`.
fn computes(module: &Module, inputs: &[Tensor], expected: &[Tensor]) -> Result<(), String> {
    let found = reference(module, inputs)?;
    differences(&found, expected).map_or(Ok(()), Err)
}

/// Canonicalized modules compute the same.
///
/// # Errors
/// The output that differs.
pub fn canonicalize_keeps_results(module: &Module, inputs: &[Tensor]) -> Result<(), String> {
    let expected = reference(module, inputs)?;
    let canonical = after("canonicalize", module, Core::CortexM4)?;
    computes(&canonical, inputs, &expected)
}

/// Whatever the inputs, every element of every tensor lies in the interval that the analysis has for its channel.
///
/// # Errors
/// The tensor and the element that does not.
pub fn ranges_hold(module: &Module, samples: &[Vec<Tensor>]) -> Result<(), String> {
    let function = &module.functions[0];
    let ranges = Ranges::of(module, function);
    // The same function, which returns all that it computes.
    let mut open = module.clone();
    let values: Vec<Value> =
        function.walk().iter().flat_map(|&op| function.ops[op].results.clone()).collect();
    if let Some(end) = open.functions[0].terminator(function.body) {
        open.functions[0].ops[end].operands = values.clone();
    }
    for inputs in samples {
        for (value, tensor) in values.iter().zip(reference(&open, inputs)?) {
            let (Some(channels), Some(items)) = (ranges.channels(*value), tensor.data.to_i64s()) else {
                continue;
            };
            let outside = |&(i, item): &(usize, &i64)| !channels[i % channels.len()].contains(*item);
            if let Some((i, item)) = items.iter().enumerate().find(outside) {
                let op = function.defining_op(*value).map_or("argument", |op| function.ops[op].kind.name());
                let interval = channels[i % channels.len()];
                return Err(format!("element {i} of a result of {op} is {item}, beyond {interval:?}"));
            }
        }
    }
    Ok(())
}

/// Fused modules compute the same, and in the e-graph all that is claimed to be equal is.
///
/// # Errors
/// The output or node that differs.
pub fn fuse_keeps_results(module: &Module, inputs: &[Tensor]) -> Result<(), String> {
    let expected = reference(module, inputs)?;
    for pipeline in ["fuse", "fuse{late=true}"] {
        let fused = after(pipeline, module, Core::CortexM4)?;
        round_trips(&fused)?;
        computes(&fused, inputs, &expected)?;
    }
    fuse_agrees(&Fuse::default(), module, inputs, None).map(|_| ())
}

/// All nodes of all e-classes evaluate to the same: integers exactly, floats to the bit; within a tolerance if one is given,
/// in steps for integers and relative to 1 for floats.
///
/// # Errors
/// The node that differs.
pub fn fuse_agrees(
    fuse: &Fuse,
    module: &Module,
    inputs: &[Tensor],
    tolerance: Option<f32>,
) -> Result<Compared, String> {
    let same = |a: &Tensor, b: &Tensor| match tolerance {
        None if a.data.to_bytes() == b.data.to_bytes() => Ok(()),
        // NaNs may differ in what they are made of.
        None => differences(std::slice::from_ref(b), std::slice::from_ref(a)).map_or(Ok(()), Err),
        Some(tolerance) => near(a, b, tolerance),
    };
    compare(fuse, module, inputs, &same)
}

fn near(a: &Tensor, b: &Tensor, tolerance: f32) -> Result<(), String> {
    let numbers = |tensor: &Tensor| match (tensor.f32s(), tensor.data.to_i64s()) {
        (Ok(items), _) => items.to_vec(),
        (_, Some(items)) => items.into_iter().map(|x| x as f32).collect(),
        _ => Vec::new(),
    };
    let integer = a.ty.storage() != Scalar::F32;
    for (x, y) in numbers(a).into_iter().zip(numbers(b)) {
        let unit = if integer { 1.0 } else { x.abs().max(1.0) };
        if (x - y).abs() > tolerance * unit {
            return Err(format!("expected {x} within {tolerance}, got {y}"));
        }
    }
    Ok(())
}

/// Without channels that are constant or that nobody reads, modules compute the same from several inputs. Returns whether
/// any channel was left out.
///
/// # Errors
/// The output that differs.
pub fn dead_channels_keep_results(module: &Module, samples: &[Vec<Tensor>]) -> Result<bool, String> {
    let alive = after("eliminate-dead-channels", module, Core::CortexM4)?;
    for inputs in samples {
        computes(&alive, inputs, &reference(module, inputs)?)?;
    }
    let again = after("eliminate-dead-channels", &alive, Core::CortexM4)?;
    if text(&again) != text(&alive) {
        return Err(format!("a second run finds more:\n{}", text(&again)));
    }
    Ok(text(&alive) != text(module))
}

/// Planned modules of every level, for a core with and one without DSP, compute what the reference does; every read is
/// checked to be of the buffer's own bytes.
///
/// # Errors
/// Level, core, and the output that differs.
pub fn lowered_keeps_results(module: &Module, inputs: &[Tensor]) -> Result<(), String> {
    let expected = reference(module, inputs)?;
    for level in LEVELS {
        for core in [Core::CortexM4, Core::CortexM0plus] {
            let at = |error: String| format!("{level:?} for {}: {error}", core.name());
            let planned = after(level.pipeline(), module, core).map_err(at)?;
            computes(&planned, inputs, &expected).map_err(at)?;
        }
    }
    Ok(())
}

/// Operations in an order of less peak compute the same, and the peak is what the search says.
///
/// # Errors
/// The output that differs, or the peak.
pub fn schedule_keeps_results(module: &Module, inputs: &[Tensor]) -> Result<(), String> {
    let expected = reference(module, inputs)?;
    let ordered = after("schedule", module, Core::CortexM4)?;
    computes(&ordered, inputs, &expected)?;
    let dag = |module: &Module| Graph::of(&module.functions[0]).map(|graph| Dag::of(&graph));
    let (Some(before), Some(after)) = (dag(module), dag(&ordered)) else { return Ok(()) };
    let found = best_order(&before, Schedule::default().max_states, &Unwatched);
    let peak = after.peak_bytes(&(0..after.count()).collect::<Vec<_>>());
    if peak == found.peak { Ok(()) } else { Err(format!("expected a peak of {}, got {peak}", found.peak)) }
}

/// The module, planned for a device with two or three small memory regions of random sizes and speeds; `None` if they turned
/// out too small.
///
/// # Errors
/// What else the passes say, or a region that the plan exceeds.
pub fn spread(module: &Module, random: &mut Random<'_>) -> Result<Option<Module>, String> {
    let pipeline = LEVELS[random.below(LEVELS.len())].pipeline();
    let one = after(pipeline, module, Core::CortexM4)?;
    let arena = MemorySummary::of(&one.functions[0]).arena_bytes;
    let mut target = Target::bare(Core::CortexM4);
    for index in 0..2 + random.below(2) {
        // Each alone holds less than everything; together they hold it in most cases.
        let bytes = (arena / 3 + random.below(arena / 2 + 1)) as u64;
        let wait_cycles = random.below(3) as u32;
        target.sram.push(Memory { name: format!("region{index}"), bytes, wait_cycles });
    }
    let planned = match after_for(pipeline, module, &target) {
        Ok(planned) => planned,
        Err(error) if error.contains("expected arenas of at most") => return Ok(None),
        Err(error) => return Err(error),
    };
    for (region, bytes) in region_bytes(&planned.functions[0]) {
        let memory = target.sram.iter().find(|memory| *memory.name == *region);
        if memory.is_none_or(|memory| bytes as u64 > memory.bytes) {
            return Err(format!("{bytes} bytes of '{region}' are used, got {memory:?}"));
        }
    }
    Ok(Some(planned))
}

/// Spread over several memory regions, modules compute what the reference does; every read is checked to be of the buffer's
/// own bytes. Returns how many regions are used.
///
/// # Errors
/// See [`spread`]; or the output that differs.
pub fn spreading_keeps_results(
    module: &Module,
    inputs: &[Tensor],
    random: &mut Random<'_>,
) -> Result<usize, String> {
    let Some(planned) = spread(module, random)? else { return Ok(0) };
    round_trips(&planned)?;
    computes(&planned, inputs, &reference(module, inputs)?)?;
    Ok(region_bytes(&planned.functions[0]).len())
}

/// Ended after so many questions whether it is over; patient until then.
#[derive(Debug)]
struct EndsAfter(std::cell::Cell<usize>);

impl Watch for EndsAfter {
    fn is_over(&self) -> bool {
        self.0.set(self.0.get().saturating_sub(1));
        self.0.get() == 0
    }

    fn is_patient(&self) -> bool {
        true
    }
}

/// Wherever its searches are ended, a pipeline ends with a module that computes what the reference does.
///
/// # Errors
/// What the passes say, or the output that differs.
pub fn ended_searches_keep_results(
    module: &Module,
    inputs: &[Tensor],
    random: &mut Random<'_>,
) -> Result<(), String> {
    let target = Target::bare(Core::CortexM4);
    let choices = Choices { goal: [Goal::Fit, Goal::Sram][random.below(2)], ..Choices::default() };
    let pipeline = Level::O2.pipeline_with(&choices).unwrap_or_default();
    let watch = EndsAfter(std::cell::Cell::new(1 << random.below(12)));
    let ended = after_watched(&pipeline, module, &target, &watch)?;
    computes(&ended, inputs, &reference(module, inputs)?)
}

/// Cut at random, even where that is not best, cascades compute the same: as tensor operations on windows, and lowered and
/// planned, where every read is checked to be of a row that the kernel may read.
///
/// # Errors
/// The cuts, and the output that differs.
pub fn cascades_keep_results(
    module: &Module,
    inputs: &[Tensor],
    random: &mut Random<'_>,
) -> Result<(), String> {
    let expected = reference(module, inputs)?;
    let Some(graph) = Graph::of(&module.functions[0]) else { return Ok(()) };
    let cuts = random_cuts(&graph, random);
    if cuts.is_empty() && graph.nodes.len() < 2 {
        return Ok(());
    }
    let list: Vec<String> = cuts.iter().map(ToString::to_string).collect();
    let cascade =
        if cuts.is_empty() { "cascade".to_owned() } else { format!("cascade{{cuts={}}}", list.join(":")) };
    let at = |error: String| format!("{cascade}: {error}");
    let tiled = after(&cascade, module, Core::CortexM4).map_err(at)?;
    computes(&tiled, inputs, &expected).map_err(at)?;
    let planned = after("lower,pack-weights,plan-memory", &tiled, Core::CortexM4).map_err(at)?;
    computes(&planned, inputs, &expected).map_err(at)
}

/// Few cuts, so that runs are long; where a reshape demands one, there is one.
fn random_cuts(graph: &Graph, random: &mut Random<'_>) -> Vec<usize> {
    let count = graph.nodes.len();
    let (mut cuts, mut start) = (Vec::new(), 0);
    for stage in 1..count {
        if random.below(6) == 0 || unreachable_stage(graph, start..stage + 1).is_some() {
            cuts.push(stage);
            start = stage;
        }
    }
    cuts
}

/// Split into random tiles, over a random run of operations, as they are, in cascades and lowered, graphs compute the same.
/// Returns whether the run could be split.
///
/// # Errors
/// The output that differs, or a plan that is refused.
pub fn splits_keep_results(
    module: &Module,
    inputs: &[Tensor],
    random: &mut Random<'_>,
) -> Result<bool, String> {
    let expected = reference(module, inputs)?;
    let module = after("canonicalize", module, Core::CortexM4)?;
    let count = operations(&module.functions[0]).len();
    if count == 0 {
        return Ok(false);
    }
    // Short runs, since few graphs stay images for long.
    let first = random.below(count);
    let end = (first + random.size(1, 3)).min(count);
    let halo = ["recompute", "keep", "keep:16"][random.below(3)];
    // Where columns are kept, strips may be narrower than the halo.
    let [rows, columns] = match halo {
        "recompute" => [random.size(1, 3), random.size(1, 3)],
        _ => [1, random.size(2, 5)],
    };
    let split = format!("patch-split{{layers={first}..{end},tiles={rows}x{columns},halo={halo}}}");
    let Ok(tiled) = after(&split, &module, Core::CortexM4) else { return Ok(false) };
    let at = |error: String| format!("{split}: {error}");
    computes(&tiled, inputs, &expected).map_err(at)?;
    for rest in ["cascade", "cascade,lower,pack-weights,plan-memory", "lower,pack-weights,plan-memory"] {
        computes(&after(rest, &tiled, Core::CortexM4).map_err(at)?, inputs, &expected).map_err(at)?;
    }
    for handing in ["stream-input=again", "stream-output=true", "stream-input=again,stream-output=true"] {
        let streamed = format!("cascade{{{handing}}},lower,pack-weights,plan-memory");
        match after(&streamed, &tiled, Core::CortexM4) {
            Ok(planned) => computes(&planned, inputs, &expected).map_err(at)?,
            Err(error) if error.contains("that can be streamed") => {}
            Err(error) => return Err(at(error)),
        }
    }
    Ok(rows * columns > 1)
}

/// With large tensors made again for late readers, in cascades and lowered, graphs compute the same. Returns whether any
/// operation was repeated.
///
/// # Errors
/// The output that differs, or a plan that is refused.
pub fn sweeps_keep_results(module: &Module, inputs: &[Tensor]) -> Result<bool, String> {
    let expected = reference(module, inputs)?;
    let repeated = after("rematerialize{min-bytes=1}", module, Core::CortexM4)?;
    computes(&repeated, inputs, &expected)?;
    let planned = after("cascade,lower,pack-weights,plan-memory", &repeated, Core::CortexM4)?;
    computes(&planned, inputs, &expected)?;
    let count = |module: &Module| operations(&module.functions[0]).len();
    Ok(count(&repeated) > count(module))
}

/// With random tensors made again for random readers of them, as they are and in cascades, graphs compute the same. Returns whether any
/// was.
///
/// # Errors
/// The output that differs.
pub fn given_sweeps_keep_results(
    module: &Module,
    inputs: &[Tensor],
    random: &mut Random<'_>,
) -> Result<bool, String> {
    let expected = reference(module, inputs)?;
    let function = &module.functions[0];
    let numbers: HashMap<Op, usize> = operations(function).into_iter().zip(0..).collect();
    let reads = numbers.iter().flat_map(|(&reader, &number)| {
        let makers = function.ops[reader].operands.iter().filter_map(|&value| function.defining_op(value));
        makers.filter_map(|maker| numbers.get(&maker)).map(move |&made| (made, number))
    });
    let reads: BTreeSet<(usize, usize)> = reads.collect();
    let chosen = reads.into_iter().filter(|_| random.one_in(2));
    let chosen: Vec<(usize, usize)> = chosen.collect();
    let values: Vec<String> =
        chosen.iter().map(|(made, reader)| format!("{made}@{reader}x{}", random.size(1, 3))).collect();
    let pass = format!("rematerialize{{values={}}}", values.join(":"));
    let at = |error: String| format!("{pass}: {error}");
    let again = after(&pass, module, Core::CortexM4).map_err(at)?;
    computes(&again, inputs, &expected).map_err(at)?;
    let planned = after("cascade,lower,pack-weights,plan-memory", &again, Core::CortexM4).map_err(at)?;
    computes(&planned, inputs, &expected).map_err(at)?;
    Ok(!values.is_empty())
}
