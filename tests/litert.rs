//! Exported models under LiteRT, the runtime that the format belongs to: its interpreter loads them, and with its reference
//! kernels they give the bytes that the original gives.
//!
//! LiteRT comes from PyPI (`ai-edge-litert`) into a virtual environment below `target`; without python3, pip or a network
//! the test says NOT CHECKED. Where LiteRT rounds unlike the kernels that we are exact to, it does so for both files.

use mcunet_ir::types::Scalar;
use mcunet_ir::{Module, Tensor};
use mcunet_passes::quantize::scheme::Activations;
use mcunet_passes::quantize::{Options, Samples, quantize};
use mcunet_passes::target::Core;
use mcunet_testing::compile::after;
use mcunet_testing::corpus::{golden, import_model, model_folders, models, name, op_cases, workspace};
use mcunet_testing::export::exported;
use mcunet_testing::narrow::{narrowed, widened};
use mcunet_testing::properties::reference;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The release that is compared with.
const LITERT: &str = "ai-edge-litert==2.3.0";

/// Cases where LiteRT computes something else than TensorFlow Lite Micro, whose results exported files keep: RELU6 does not
/// rescale there, and SUM of int16 hands out memory that it has not written, so that two runs of one file may differ.
const UNLIKE: [&str; 3] = ["relu6_rescale_i8", "sum_hw_i16", "sum_last_i16"];

/// A python that has LiteRT; `None`, said aloud, where there is none.
fn python() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("litert");
    let python = folder.join("bin/python");
    let runs = |command: &mut Command| {
        command.stdin(Stdio::null()).output().is_ok_and(|output| output.status.success())
    };
    let imports = || runs(Command::new(&python).args(["-c", "import ai_edge_litert.interpreter"]));
    if imports() {
        return Some(python);
    }
    let made = runs(Command::new("python3").args(["-m", "venv"]).arg(&folder));
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", LITERT];
    if made && runs(Command::new(&python).args(pip)) && imports() {
        return Some(python);
    }
    println!("NOT CHECKED with LiteRT: python3 with venv and pip could not install {LITERT}");
    None
}

/// Runs `tests/litert.py` on pairs of models: what it says of each.
fn verdicts(python: &Path, pairs: &str) -> Vec<(String, String)> {
    let script = workspace().join("tests/litert.py");
    let mut child = Command::new(python)
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("python runs");
    let mut stdin = child.stdin.take().expect("a pipe");
    let pairs = pairs.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(pairs.as_bytes()));
    let output = child.wait_with_output().expect("python ends");
    writer.join().expect("the writer ends").expect("python reads its input");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines = text.lines().filter_map(|line| line.split_once('\t'));
    lines.map(|(name, verdict)| (name.to_owned(), verdict.to_owned())).collect()
}

/// Exports the models of folders after a pipeline and compares each with its original; a difference that ends in `near` is fine.
fn check(folders: &[(PathBuf, PathBuf)], pipeline: &str, least: usize, near: &str) {
    let Some(python) = python() else { return };
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let (mut pairs, mut count) = (String::new(), 0);
    for (folder, io) in folders {
        let Ok(module) = import_model(folder) else { continue };
        let module = after(pipeline, &module, Core::CortexM4).expect("the passes run");
        let Ok(bytes) = exported(&module) else { continue };
        let path = scratch.path().join(format!("{}.tflite", name(folder)));
        std::fs::write(&path, bytes).expect("a writable folder");
        let original = folder.join("model.tflite");
        let [original, path, io] = [&original, &path, io].map(|path| path.display().to_string());
        pairs.push_str(&format!("{}\t{original}\t{path}\t{io}\n", name(folder)));
        count += 1;
    }
    let verdicts = verdicts(&python, &pairs);
    let of =
        |wanted: &str| verdicts.iter().filter(|(_, verdict)| verdict.starts_with(wanted)).collect::<Vec<_>>();
    for (name, verdict) in of("neither: ") {
        println!("NOT CHECKED: LiteRT runs {name} neither before nor after, {verdict}");
    }
    let fine = |(name, verdict): &&(String, String)| {
        let known = ["same", "runs"].contains(&verdict.as_str()) || verdict.starts_with("neither: ");
        known || (!near.is_empty() && verdict.ends_with(near)) || UNLIKE.contains(&name.as_str())
    };
    let wrong: Vec<String> = verdicts
        .iter()
        .filter(|pair| !fine(pair))
        .map(|(name, verdict)| format!("{name}: {verdict}"))
        .collect();
    assert!(wrong.is_empty(), "{} of {count} fail:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(verdicts.len(), count, "LiteRT ended before all models were compared");
    let (same, alone) = (of("same").len(), of("runs").len());
    assert!(same >= least, "expected at least {least} models to give the same bytes, got {same}");
    println!(
        "{same} of {count} exported models give LiteRT's bytes of their originals, {alone} run where those do not"
    );
}

#[test]
fn exported_operator_cases_run_under_litert() {
    let folders: Vec<_> = op_cases().into_iter().map(|case| (case.clone(), case)).collect();
    check(&folders, "", 300, "");
}

#[test]
fn exported_models_run_under_litert() {
    let Some(root) = models() else { return };
    let folders: Vec<_> =
        model_folders(&root).into_iter().map(|model| (model.clone(), model.join("io"))).collect();
    check(&folders, "", 20, "");
    check(&folders, "canonicalize", 20, "");
}

/// Weights of 4 and 2 bits give the bytes that the same weights in 8 bits give. Models without depthwise convolutions: those of
/// 4 bits are missing among LiteRT's reference kernels.
#[test]
fn exported_narrow_models_run_under_litert() {
    let (Some(root), Some(python)) = (models(), python()) else { return };
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let mut pairs = String::new();
    for (name, storage) in ["mlperf-ad-int8", "mlperf-ic-int8"]
        .into_iter()
        .flat_map(|name| [(name, Scalar::I4), (name, Scalar::I2)])
    {
        let narrow = narrowed(&import_model(&root.join(name)).expect("it imports"), storage);
        let write = |kind: &str, module: &Module| {
            let path = scratch.path().join(format!("{name}_{}_{kind}.tflite", storage.name()));
            std::fs::write(&path, exported(module).expect("it is exported")).expect("a writable folder");
            path.display().to_string()
        };
        let (wide, narrow) = (write("wide", &widened(&narrow)), write("narrow", &narrow));
        let io = root.join(name).join("io");
        pairs.push_str(&format!("{name} {}\t{wide}\t{narrow}\t{}\n", storage.name(), io.display()));
    }
    let verdicts = verdicts(&python, &pairs);
    assert_eq!(verdicts.len(), 4);
    assert!(verdicts.iter().all(|(_, verdict)| verdict == "same"), "{verdicts:?}");
}

/// Optimized models that have no tables. LiteRT rounds a fully connected layer once and a convolution twice, so that a rewrite of
/// one as the other, which is exact in TensorFlow Lite Micro, may move its results by a step.
#[test]
fn exported_optimized_models_run_under_litert() {
    let Some(root) = models() else { return };
    let folders: Vec<_> =
        model_folders(&root).into_iter().map(|model| (model.clone(), model.join("io"))).collect();
    check(&folders, "canonicalize,fuse,eliminate-dead-channels", 20, ", by at most 1");
}

/// Models that are quantized here give LiteRT's reference kernels the bytes that they give the interpreter, but for one that is all
/// fully connected layers: LiteRT rounds those once.
#[test]
fn quantized_models_run_under_litert() {
    let (Some(root), Some(python)) = (models(), python()) else { return };
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let (mut pairs, mut steps) = (String::new(), BTreeMap::new());
    for name in ["mlperf-vww-float", "mlperf-ic-float", "mlperf-ad-float", "mlperf-kws-true-float"] {
        let module = import_model(&root.join(name)).expect("it imports");
        let samples = golden(&root.join(name).join("io"), &module, 4).expect("it has samples");
        let samples: Vec<Vec<Tensor>> = samples.into_iter().map(|sample| sample.inputs).collect();
        for activations in [Activations::Int8, Activations::Int16] {
            let options = Options { activations, ..Options::default() };
            let samples = Samples { calibration: &samples, check: &samples };
            let module = quantize(&module, samples, &options).expect("it is quantized").module;
            let case = format!("{name} {activations:?}");
            let folder = scratch.path().join(&case);
            std::fs::create_dir(&folder).expect("a writable folder");
            let write =
                |name: String, bytes: Vec<u8>| std::fs::write(folder.join(name), bytes).expect("writable");
            write("model.tflite".to_owned(), exported(&module).expect("it is exported"));
            let inputs = &samples.check[0];
            let outputs = reference(&module, inputs).expect("it runs");
            let store = |kind: &str, tensors: &[Tensor]| {
                for (i, tensor) in tensors.iter().enumerate() {
                    write(format!("0.{kind}{i}.bin"), tensor.data.to_bytes());
                }
            };
            store("in", inputs);
            store("out", &outputs);
            let path = folder.join("model.tflite");
            pairs.push_str(&format!("{case}\t-\t{}\t{}\n", path.display(), folder.display()));
            steps.insert(case, output_step(&module));
        }
    }
    let verdicts = verdicts(&python, &pairs);
    assert_eq!(verdicts.len(), steps.len());
    for (name, verdict) in verdicts {
        let difference = verdict.rsplit_once("by at most ").and_then(|(_, most)| most.parse::<f32>().ok());
        let near = name.contains("-ad-") && difference.is_some_and(|most| most <= 2.5 * steps[&name]);
        assert!(verdict == "same" || near, "{name}: {verdict}, in steps of {}", steps[&name]);
        println!("{name}: {verdict}, in steps of {}", steps[&name]);
    }
}

/// Scale of the integers that become the first output.
fn output_step(module: &Module) -> f32 {
    let function = &module.functions[0];
    let returned = function.terminator(function.body).map(|op| function.ops[op].operands[0]);
    let converted =
        returned.and_then(|value| function.defining_op(value)).map(|op| function.ops[op].operands[0]);
    let ty = converted.and_then(|value| function.ty(value).as_tensor());
    ty.and_then(|ty| ty.affine()).expect("outputs are converted from integers").scale.get()
}
