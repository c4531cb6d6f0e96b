//! Estimated cycles against those of the simulator, and what prints them.

mod common;

use common::POOL;
use mcunet_testing::corpus::{core_models, models, name, workspace};
use mcunet_testing::tools::{assert_none_fail, has_tool};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// Models that are compared; whole families of kernels, and few seconds of simulation.
const MODELS: [&str; 6] = [
    "mlperf-kws-int8",
    "mlperf-vww-int8",
    "mlperf-ic-int8",
    "mlperf-ad-int8",
    "te-vww",
    "tflm-person-detect",
];

/// A core, how gcc is told of it, and by how much the estimate may be off.
const CORES: [(&str, &[&str], f64); 2] = [
    ("m4", &["-mcpu=cortex-m4", "-mfpu=fpv4-sp-d16"], 0.10),
    ("m7", &["-mcpu=cortex-m7", "-mfpu=fpv5-d16"], 0.13),
];

/// What the compiler prints.
fn run(args: &[&str], input: &str) -> Result<String, String> {
    match common::run(args, input) {
        (0, stdout, _) => Ok(stdout),
        (_, _, stderr) => Err(stderr),
    }
}

fn command(tool: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(tool).args(arguments).output().map_err(|error| format!("{tool}: {error}"))?;
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(()) } else { Err(format!("{tool}: {log}")) }
}

/// Cycles of one invocation: estimated and simulated.
fn cycles(model: &Path, core: &str, flags: &[&str]) -> Result<[u64; 2], String> {
    let bench = workspace().join("bench");
    let kit = bench.join("cortexm");
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let at = |path: &Path| path.to_string_lossy().into_owned();
    let inside = |file: &str| at(&folder.path().join(file));
    let (model, target) = (at(&model.join("model.tflite")), format!("--target=cortex-{core}"));
    let options = [model.as_str(), "--name=model", "--io-type=int8", &target];
    run(&[&options[..], &["-o", &at(folder.path())]].concat(), "")?;
    let estimate = run(&[&["cost", "--json"], &options[..]].concat(), "")?;
    let (elf, report) = (inside("model.elf"), inside("report.json"));
    let firmware = kit.join("firmware");
    let files = ["startup.S", "semihost.c"].map(|file| at(&firmware.join(file)));
    let own = [at(&bench.join("instructions.c")), inside("model.c"), inside("model_weights.c")];
    let folders = [
        format!("-I{}", at(&firmware)),
        format!("-I{}", at(folder.path())),
        format!("-L{}", at(&firmware.join("ld"))),
    ];
    let fixed = [
        "-mthumb",
        "-mfloat-abi=hard",
        "-O3",
        "-ffp-contract=off",
        "-ffunction-sections",
        "-fdata-sections",
        "-nostartfiles",
        "-Wl,--gc-sections",
        "-Wl,--no-warn-rwx-segments",
        "-T",
        "mps2.ld",
        "-o",
        &elf,
    ];
    let paths: Vec<&str> = folders.iter().chain(&own).chain(&files).map(String::as_str).collect();
    command("arm-none-eabi-gcc", &[flags, &fixed[..], &paths].concat())?;
    command(&at(&kit.join("cortexm-run")), &["--cpu", core, "--json", &report, &elf])?;
    let json = |text: &str| serde_json::from_str::<Value>(text).map_err(|error| error.to_string());
    let report = std::fs::read_to_string(&report).map_err(|error| error.to_string())?;
    let found = [&json(&estimate)?["total"]["cycles"], &json(&report)?["regions"]["bench"]["cycles"]];
    match found.map(Value::as_u64) {
        [Some(estimated), Some(simulated)] => Ok([estimated, simulated]),
        _ => Err("expected cycles in the reports".to_owned()),
    }
}

#[test]
fn estimates_agree_with_the_simulator() {
    let Some(root) = models() else { return };
    if !["arm-none-eabi-gcc", "qemu-system-arm", "python3"].into_iter().all(has_tool) {
        return;
    }
    if !workspace().join("bench/cortexm/build/cmxprof.so").exists() {
        println!("NOT CHECKED with the simulator: it is not built (make -C bench/cortexm)");
        return;
    }
    let found: Vec<_> =
        core_models(&root).into_iter().filter(|model| MODELS.contains(&name(model).as_str())).collect();
    assert_none_fail(&found, |model| {
        for (core, flags, tolerance) in CORES {
            let model_name = name(model);
            let [estimated, simulated] =
                cycles(model, core, flags).map_err(|error| format!("{model_name} on {core}: {error}"))?;
            let off = estimated as f64 / simulated.max(1) as f64 - 1.0;
            println!(
                "{model_name} on {core}: {estimated} estimated, {simulated} simulated, {:+.1} %",
                100.0 * off
            );
            if off.abs() > tolerance {
                return Err(format!(
                    "{model_name} on {core}: {estimated} cycles estimated, {simulated} simulated"
                ));
            }
        }
        Ok(())
    });
}

#[test]
fn the_command_lists_layers_that_sum_up() {
    let text = run(&["cost", "-", "--json"], POOL).expect("it compiles");
    let cost: Value = serde_json::from_str(&text).expect("it is JSON");
    let layers = cost["layers"].as_array().expect("a list of layers");
    let sum: u64 = layers.iter().filter_map(|layer| layer["cycles"].as_u64()).sum();
    assert!(sum > 0 && cost["total"]["cycles"].as_u64() == Some(sum), "{text}");
    let table = run(&["cost", "-", "--target=cortex-m7"], POOL).expect("it compiles");
    assert!(table.starts_with("pool on cortex-m7") && table.contains("nn.max_pool2d"), "{table}");
    let error = run(&["cost", "-", "--pass-pipeline=canonicalize"], POOL).expect_err("nothing is lowered");
    assert!(error.contains("expected a pipeline that lowers"), "{error}");
}
