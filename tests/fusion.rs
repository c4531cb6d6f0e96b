//! Every rule of `fuse` has a case of the text and a generator of left sides, applies to these, and is right on them.

use mcunet_ir::{Module, OpKind};
use mcunet_passes::fuse::{Fuse, RuleNames, rules};
use mcunet_passes::target::Core;
use mcunet_testing::compile::{after, reproduces};
use mcunet_testing::corpus::{golden, import_model, model_folders, models, name};
use mcunet_testing::seeds::for_seeds;
use mcunet_testing::tools::assert_none_fail;
use mcunet_testing::{Random, fusion, graph, properties};
use std::cell::Cell;
use std::path::Path;

/// How far an approximate rule may be off: steps of integers, or parts of floats. Two roundings to the nearest instead of
/// one are off by half a step each at most, which the last rounding can make a whole one more.
fn tolerance(rule: &rules::Rule) -> Option<f32> {
    match rule.name {
        _ if rule.is_exact() => None,
        "merge-means" | "integer-arithmetic" | "requantize-into-producer" | "pool-as-depthwise" => Some(1.0),
        _ => Some(1e-4),
    }
}

#[test]
fn every_rule_applies_to_its_left_sides_and_is_right() {
    for rule in rules::all() {
        let fuse = Fuse { rules: RuleNames(vec![rule.name.to_owned()]), ..Fuse::default() };
        let (graphs, applied) = (Cell::new(0), Cell::new(0));
        let case = |seed: u64| {
            let mut random = Random::seeded(seed);
            let Some(module) = fusion::left_side(rule.name, &mut random) else { return Ok(()) };
            properties::verifies(&module)?;
            let inputs = graph::inputs(&module, &mut random);
            let at = |error: String| format!("{}: {error}\n{}", rule.name, properties::text(&module));
            let compared = properties::fuse_agrees(&fuse, &module, &inputs, tolerance(rule)).map_err(at)?;
            graphs.set(graphs.get() + 1);
            applied.set(applied.get() + usize::from(!compared.applied.is_empty()));
            Ok(())
        };
        for seed in 0..150 {
            case(seed).unwrap_or_else(|error: String| panic!("seed {seed}: {error}"));
        }
        let (graphs, applied) = (graphs.get(), applied.get());
        assert!(
            graphs >= 50,
            "{}: expected a generator of left sides, got {graphs} graphs of 150 seeds",
            rule.name
        );
        assert!(applied * 3 >= graphs, "{}: applied to {applied} of {graphs} graphs", rule.name);
    }
}

#[test]
fn every_rule_has_a_case() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("lit-tests/fuse");
    for rule in rules::all() {
        let path = folder.join(format!("{}.mcir", rule.name));
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let named = text.contains(&format!("rules={}", rule.name));
        assert!(named, "expected {} with a RUN line of rules={}", path.display(), rule.name);
    }
}

#[test]
fn random_graphs_keep_their_results() {
    for_seeds(400, |seed| {
        let mut random = Random::seeded(seed);
        let module = graph::module(&mut random);
        let inputs = graph::inputs(&module, &mut random);
        properties::fuse_keeps_results(&module, &inputs)
            .map_err(|error| format!("{error}\n{}", properties::text(&module)))
    });
}

/// Names of a module's operations.
fn operations(module: &Module) -> Vec<&'static str> {
    let function = &module.functions[0];
    let kinds = function.walk().into_iter().map(|op| &function.ops[op].kind);
    kinds.filter(|kind| matches!(kind, OpKind::Nn(_))).map(OpKind::name).collect()
}

#[test]
fn real_models_keep_their_golden_outputs() {
    let Some(root) = models() else { return };
    let (mut imported, folders) = (0, model_folders(&root));
    for folder in &folders {
        imported += usize::from(import_model(folder).is_ok());
    }
    assert!(imported >= 30, "expected most models to be imported, got {imported} of {}", folders.len());
    assert_none_fail(&folders, |folder| {
        let Ok(module) = import_model(folder) else { return Ok(()) };
        let check = || {
            let module = after("canonicalize,fuse,fuse{late=true}", &module, Core::CortexM4)?;
            reproduces(&module, &golden(&folder.join("io"), &module, usize::MAX)?)
        };
        check().map_err(|error: String| format!("{}: {error}", name(folder)))
    });
}

/// Squeeze-and-excite blocks: a mean over the image in two steps, and a hard sigmoid of a sum and a product.
#[test]
fn patterns_of_exporters_vanish_from_real_models() {
    let Some(root) = models() else { return };
    let fused = |model: &str, pipeline: &str| {
        let module = import_model(&root.join(model)).expect("a model");
        operations(&after(pipeline, &module, Core::CortexM4).expect("a fused model"))
    };
    let blocks = fused("te-mcunetv2-large", "canonicalize,fuse");
    let count = |wanted: &str| blocks.iter().filter(|&&op| op == wanted).count();
    assert_eq!((count("nn.mean"), count("nn.pad"), count("nn.transpose")), (0, 0, 0));
    assert_eq!((count("nn.lookup"), count("nn.mul"), count("nn.mean_of_means")), (13, 13, 14));
    // The rest are residuals.
    assert_eq!(count("nn.add"), 10);
    assert!(!fused("te-vww", "canonicalize,fuse").contains(&"nn.mean"));
    let late = fused("te-mcunetv2-large", "canonicalize,fuse,fuse{late=true}");
    let count = |wanted: &str| late.iter().filter(|&&op| op == wanted).count();
    assert_eq!((count("nn.add"), count("nn.conv2d_add")), (0, 10));
}
