//! What holds for every valid graph, on random ones: see `testing/src/properties.rs` for the properties and
//! `testing/src/seeds.rs` for how to repeat a failure or to run longer.

use mcunet_backends::GoldenVector;
use mcunet_ir::nn::NnOp;
use mcunet_ir::tile::Stage;
use mcunet_ir::types::Scalar;
use mcunet_ir::{Module, OpKind, Tensor};
use mcunet_passes::target::Core;
use mcunet_testing::compile::{LEVELS, after, project};
use mcunet_testing::properties::HANDINGS;
use mcunet_testing::seeds::{for_seed_batches, for_seeds};
use mcunet_testing::tools::{SANITIZE, has_tool, make_test};
use mcunet_testing::{Random, export, graph, plan, properties};
use std::collections::BTreeMap;

fn random_module(seed: u64) -> (Module, Vec<Tensor>) {
    let mut random = Random::seeded(seed);
    let module = graph::module(&mut random);
    let inputs = graph::inputs(&module, &mut random);
    (module, inputs)
}

/// Branches that are joined.
fn joined_module(seed: u64) -> (Module, Vec<Tensor>) {
    let mut random = Random::seeded(seed);
    let module = graph::joined_module(&mut random);
    let inputs = graph::inputs(&module, &mut random);
    (module, inputs)
}

/// Runs a property on the modules of seeds; what fails is printed with the module.
fn check(least: u64, property: impl Fn(&Module, &[Tensor]) -> Result<(), String>) {
    for_seeds(least, |seed| {
        let (module, inputs) = random_module(seed);
        property(&module, &inputs).map_err(|error| format!("{error}\n{}", properties::text(&module)))
    });
}

/// Checks a property for at least so many graphs, and counts of how many each of some things is true.
fn tally<const N: usize>(
    least: u64,
    property: impl Fn(&Module, &[Tensor], &mut Random<'_>) -> Result<[bool; N], String>,
) -> [usize; N] {
    let counts = [const { std::cell::Cell::new(0) }; N];
    for_seeds(least, |seed| {
        let (module, inputs) = random_module(seed);
        let found = property(&module, &inputs, &mut Random::seeded(seed))
            .map_err(|error| format!("{error}\n{}", properties::text(&module)))?;
        counts.iter().zip(found).for_each(|(count, found)| count.set(count.get() + usize::from(found)));
        Ok(())
    });
    counts.map(|count| count.get())
}

#[test]
fn generated_graphs_verify() {
    check(3000, |module, _| properties::verifies(module));
}

#[test]
fn generated_graphs_have_every_op() {
    const LEAST: usize = 20;
    let mut counts: BTreeMap<&str, usize> = NnOp::SPECS.iter().map(|spec| (spec.name, 0)).collect();
    let (mut branches, mut outputs) = (0, 0);
    for seed in 0..3000 {
        let (module, _) = random_module(seed);
        let function = &module.functions[0];
        for op in function.walk() {
            if let OpKind::Nn(kind) = &function.ops[op].kind {
                *counts.entry(kind.spec().name).or_default() += 1;
            }
        }
        branches += usize::from(function.use_counts().values().any(|&uses| uses > 1));
        outputs += usize::from(function.outputs.len() > 1);
    }
    let rare: Vec<_> = counts.iter().filter(|&(_, &count)| count < LEAST).collect();
    assert!(rare.is_empty(), "expected every op {LEAST} times in 3000 graphs, got {rare:?}");
    assert!(branches > 500 && outputs > 500, "{branches} graphs branch, {outputs} have several outputs");
}

/// Every op that has a kernel of int16 occurs with one.
#[test]
fn generated_graphs_have_int16() {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for seed in 0..3000 {
        let (module, _) = random_module(seed);
        let function = &module.functions[0];
        for op in function.walk() {
            let data = &function.ops[op];
            let ty = |&value: &mcunet_ir::Value| function.ty(value).as_tensor();
            let wide = data.results.iter().filter_map(ty).any(|ty| ty.storage() == Scalar::I16);
            *counts.entry(data.kind.name()).or_default() += usize::from(wide);
        }
    }
    let names = "conv2d depthwise_conv2d transpose_conv2d fully_connected avg_pool2d max_pool2d add sub mul maximum minimum \
                 squared_difference prelu relu leaky_relu tanh logistic abs rsqrt softmax mean sum reduce_max reduce_min \
                 resize_bilinear resize_nearest pad concat transpose slice reshape quantize";
    for name in names.split_whitespace() {
        let count = counts.get(&*format!("nn.{name}")).copied().unwrap_or_default();
        assert!(count >= 10, "nn.{name} makes int16 in {count} graphs");
    }
}

/// Ops that move or fold elements make rows in some graphs, and everything at once in others; and rows are folded.
#[test]
fn generated_graphs_have_rows() {
    let mut counts: BTreeMap<&str, [usize; 3]> = BTreeMap::new();
    for seed in 0..3000 {
        let (module, _) = random_module(seed);
        let function = &module.functions[0];
        for stage in function.walk().into_iter().filter_map(|op| Stage::of(function, op)) {
            let kind = if stage.folds { 2 } else { usize::from(stage.rows > 1) };
            counts.entry(function.ops[stage.op].kind.name()).or_default()[kind] += 1;
        }
    }
    let names = "concat softmax log_softmax l2_normalization transpose gather mean sum reduce_max reduce_min slice tile \
                 depth_to_space space_to_depth pad";
    for name in names.split_whitespace() {
        let [whole, by_rows, _] = counts.get(&*format!("nn.{name}")).copied().unwrap_or_default();
        assert!(whole >= 5 && by_rows >= 5, "nn.{name} is whole in {whole} graphs, by rows in {by_rows}");
    }
    for name in ["mean", "sum", "reduce_max", "reduce_min", "avg_pool2d"] {
        let [.., folds] = counts.get(&*format!("nn.{name}")).copied().unwrap_or_default();
        assert!(folds >= 5, "nn.{name} folds rows in {folds} graphs");
    }
}

#[test]
fn texts_round_trip() {
    check(150, |module, _| {
        properties::round_trips(module)?;
        properties::round_trips(&after(LEVELS[1].pipeline(), module, Core::CortexM4)?)
    });
}

#[test]
fn canonicalizing_keeps_results() {
    check(300, properties::canonicalize_keeps_results);
}

/// Several inputs for one module, some of them extreme.
fn samples(module: &Module, inputs: &[Tensor], random: &mut Random<'_>) -> Vec<Vec<Tensor>> {
    let more = (0..6).map(|_| graph::inputs(module, random));
    std::iter::once(inputs.to_vec()).chain(more).collect()
}

#[test]
fn ranges_hold() {
    let [] = tally(1500, |module, inputs, random| {
        properties::ranges_hold(module, &samples(module, inputs, random)).map(|()| [])
    });
}

#[test]
fn dead_channels_keep_results() {
    let [eliminated] = tally(800, |module, inputs, random| {
        Ok([properties::dead_channels_keep_results(module, &samples(module, inputs, random))?])
    });
    assert!(eliminated > 200, "expected hundreds of graphs to have dead channels, got {eliminated}");
}

/// Exported as `.tflite` and imported again, graphs compute the same, as far as TensorFlow Lite has their operations.
#[test]
fn exporting_keeps_results() {
    let [written] = tally(600, |module, inputs, random| {
        if !export::is_exportable(&module.functions[0]) {
            return Ok([false]);
        }
        match export::export_keeps_results(module, &samples(module, inputs, random)) {
            Ok(()) => Ok([true]),
            Err(error) if error.contains("': expected ") => {
                println!("{error}");
                Ok([false])
            }
            Err(error) => Err(error),
        }
    });
    assert!(written > 200, "expected hundreds of graphs to be exported, got {written}");
}

#[test]
fn scheduling_keeps_results() {
    check(300, properties::schedule_keeps_results);
}

#[test]
fn lowering_keeps_results() {
    check(100, properties::lowered_keeps_results);
}

/// Parts of concatenations are written where they belong, layer by layer and in cascades; and a plan or a program in which two
/// kernels write one element of a whole is refused.
#[test]
fn joining_keeps_results() {
    let counts = [const { std::cell::Cell::new(0) }; 3];
    for_seeds(60, |seed| {
        let (module, inputs) = joined_module(seed);
        let check = || {
            let mut random = Random::seeded(seed);
            properties::lowered_keeps_results(&module, &inputs)?;
            properties::cascades_keep_results(&module, &inputs, &mut random)?;
            properties::streaming_keeps_results(&module, &inputs)?;
            let planned = after(LEVELS[1].pipeline(), &module, Core::CortexM4)?;
            properties::round_trips(&planned)?;
            Ok([
                plan::views(&planned),
                plan::overlapping_views_are_refused(&planned)?,
                plan::overlaps_are_refused(&planned, &mut random, 2)?,
            ])
        };
        let found = check().map_err(|error: String| format!("{error}\n{}", properties::text(&module)))?;
        counts.iter().zip(found).for_each(|(count, found)| count.set(count.get() + found));
        Ok(())
    });
    let counts = counts.map(|count| count.get());
    assert!(counts.iter().all(|&count| count > 50), "expected hundreds of views, got {counts:?}");
}

#[test]
fn cascades_keep_results() {
    let [] = tally(150, |module, inputs, random| {
        properties::cascades_keep_results(module, inputs, random).map(|()| [])
    });
}

#[test]
fn streaming_keeps_results() {
    let streamed = tally(150, |module, inputs, _| properties::streaming_keeps_results(module, inputs));
    assert!(
        streamed.iter().all(|&count| count > 15),
        "expected dozens of graphs to be streamed, got {streamed:?}"
    );
}

#[test]
fn splits_keep_results() {
    let [split] =
        tally(400, |module, inputs, random| Ok([properties::splits_keep_results(module, inputs, random)?]));
    assert!(split > 40, "expected dozens of graphs to be split, got {split}");
}

#[test]
fn sweeps_keep_results() {
    let [repeated] = tally(400, |module, inputs, _| Ok([properties::sweeps_keep_results(module, inputs)?]));
    assert!(repeated > 0, "expected graphs with late readers, got none");
}

#[test]
fn given_sweeps_keep_results() {
    let [again] = tally(150, |module, inputs, random| {
        Ok([properties::given_sweeps_keep_results(module, inputs, random)?])
    });
    assert!(again > 60, "expected dozens of graphs with tensors made again, got {again}");
}

#[test]
fn ended_searches_keep_results() {
    let [] = tally(150, |module, inputs, random| {
        properties::ended_searches_keep_results(module, inputs, random).map(|()| [])
    });
}

#[test]
fn spreading_keeps_results() {
    let [spread, in_three] = tally(150, |module, inputs, random| {
        let regions = properties::spreading_keeps_results(module, inputs, random)?;
        Ok([regions > 1, regions > 2])
    });
    assert!(spread > 50 && in_three > 5, "{spread} graphs are in several regions, {in_three} in three");
}

/// Every plan that is made passes the checker, which `after` runs; every broken one must not. Every other plan is spread
/// over several memory regions, if it can be.
#[test]
fn broken_plans_are_refused() {
    let refused = std::cell::Cell::new(0);
    for_seeds(150, |seed| {
        let (module, _) = random_module(seed);
        let spread =
            if seed % 2 == 0 { properties::spread(&module, &mut Random::seeded(seed))? } else { None };
        let planned = match spread {
            Some(planned) => planned,
            None => after(LEVELS[1].pipeline(), &module, Core::CortexM4)?,
        };
        let count = plan::overlaps_are_refused(&planned, &mut Random::seeded(seed), 4)
            .map_err(|error| format!("{error}\n{}", properties::text(&planned)))?;
        refused.set(refused.get() + count);
        Ok(())
    });
    assert!(refused.get() > 150, "expected hundreds of broken plans, got {}", refused.get());
}

/// Compiled with sanitizers, graphs give the interpreter's bytes. The level changes from seed to seed; the inputs or outputs
/// of every other graph, or both, are handed over by rows, and every fourth is spread over several memory regions, if they can.
/// Every third graph is one of branches that are joined.
#[test]
fn emitted_c_equals_the_interpreter() {
    if !has_tool("gcc") {
        return;
    }
    for_seed_batches(48, |seed| {
        let (module, inputs) = if seed % 3 == 0 { joined_module(seed) } else { random_module(seed) };
        let check = || {
            let outputs = properties::reference(&module, &inputs)?;
            let level = LEVELS[seed as usize % LEVELS.len()];
            let special = match seed % 4 {
                0 | 2 => properties::streamed(&module, HANDINGS[seed as usize / 2 % HANDINGS.len()])?,
                1 => properties::spread(&module, &mut Random::seeded(seed))?,
                _ => None,
            };
            let planned = match special {
                Some(planned) => planned,
                None => after(level.pipeline(), &module, Core::CortexM4)?,
            };
            let folder = project(&planned, vec![GoldenVector { inputs: inputs.clone(), outputs }])?;
            make_test(folder.path(), "gcc", SANITIZE)
        };
        check().map_err(|error: String| format!("{error}\n{}", properties::text(&module)))
    });
}
