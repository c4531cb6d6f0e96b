//! Real models without dead channels: the same bytes from fewer multiply-accumulates.

use mcunet_ir::module::OpKind;
use mcunet_ir::nn::NnOp;
use mcunet_ir::{Module, Op};
use mcunet_passes::analysis::macs;
use mcunet_passes::target::Core;
use mcunet_testing::compile::{after, reproduces};
use mcunet_testing::corpus::{core_models, golden, import_model, models, name};
use mcunet_testing::tools::assert_none_fail;
use std::path::Path;

const PASSES: &str = "canonicalize,eliminate-dead-channels";

/// Elements of the filters of convolutions and linear layers.
fn weights(module: &Module) -> usize {
    let function = &module.functions[0];
    let filter = |op: Op| {
        let data = &function.ops[op];
        let has_filter = matches!(
            data.kind,
            OpKind::Nn(NnOp::Conv2d(_) | NnOp::DepthwiseConv2d(_) | NnOp::FullyConnected(_))
        );
        let filter = data.operands.get(1).filter(|_| has_filter)?;
        function.ty(*filter).as_tensor().map(|ty| ty.elements())
    };
    function.walk().into_iter().filter_map(filter).sum()
}

fn check(folder: &Path) -> Result<(), String> {
    let module = import_model(folder)?;
    let alive = after(PASSES, &module, Core::CortexM4)?;
    let [before, now] = [&module, &alive].map(|module| macs::of_function(&module.functions[0]));
    println!("{}: {before} -> {now} MACs, {} -> {} weights", name(folder), weights(&module), weights(&alive));
    if now > before {
        return Err(format!("{}: expected at most {before} MACs, got {now}", name(folder)));
    }
    let samples = golden(&folder.join("io"), &module, 3)?;
    reproduces(&alive, &samples).map_err(|error| format!("{}: {error}", name(folder)))
}

#[test]
fn models_without_dead_channels_equal_their_golden_outputs() {
    let Some(root) = models() else { return };
    assert_none_fail(&core_models(&root), |folder| check(folder));
}

/// More than half of this network is constant.
#[test]
fn half_of_visual_wake_words_is_left() {
    let Some(root) = models() else { return };
    let folder = root.join("mlperf-vww-int8");
    if !folder.is_dir() {
        return println!("NOT CHECKED: no mlperf-vww-int8");
    }
    let module = import_model(&folder).expect("a model that can be read");
    let alive = after(PASSES, &module, Core::CortexM4).expect("a model that can be compiled");
    assert_eq!((macs::of_function(&module.functions[0]), weights(&module)), (7_489_664, 208_112));
    let (macs, weights) = (macs::of_function(&alive.functions[0]), weights(&alive));
    assert!(macs <= 3_733_073, "expected at most 3733073 MACs, got {macs}");
    assert!(weights <= 29_286, "expected at most 29286 weights, got {weights}");
}
