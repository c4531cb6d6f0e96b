//! The emitted C on simulated cores: instructions exactly as they were, cycles as the cost model says, and what prints them.
//!
//! `bench/instructions.tsv` holds the instructions of one invocation of each model on the Cortex-M4 and the Cortex-M7, made by
//! one compiler, whose version it names; simulated instructions do not vary. A change that alters them shows here, for better
//! or worse. `BLESS=1 cargo test --release --test bench -- --nocapture` writes the table anew and prints what changed.

mod common;

use common::POOL;
use mcunet_testing::corpus::{core_models, models, name, workspace};
use mcunet_testing::tools::{assert_none_fail, has_tool};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;

/// Models whose estimated cycles are compared: whole families of kernels.
const ESTIMATED: [&str; 6] = [
    "mlperf-kws-int8",
    "mlperf-vww-int8",
    "mlperf-ic-int8",
    "mlperf-ad-int8",
    "te-vww",
    "tflm-person-detect",
];

/// Cores, and by how much estimates may be off.
const CORES: [(&str, f64); 2] = [("m4", 0.05), ("m7", 0.10)];

/// Where instructions are written down.
const TABLE: &str = "bench/instructions.tsv";

/// Instructions by model and core.
type Counts = BTreeMap<(String, String), u64>;

/// What the compiler prints.
fn run(args: &[&str], input: &str) -> Result<String, String> {
    match common::run(args, input) {
        (0, stdout, _) => Ok(stdout),
        (_, _, stderr) => Err(stderr),
    }
}

/// The figures of a model's cores, with inputs and outputs of int8 where it allows that.
fn bench(model: &Path) -> Result<Value, String> {
    let file = model.join("model.tflite").to_string_lossy().into_owned();
    let options = ["bench", file.as_str(), "--on=m4,m7", "--json"];
    let figures = run(&[&options[..], &["--io-type=int8"]].concat(), "").or_else(|_| run(&options, ""))?;
    serde_json::from_str::<Value>(&figures).map_err(|error| error.to_string())
}

/// Whether the simulator can be used; said aloud if not.
fn simulates() -> bool {
    if !["arm-none-eabi-gcc", "qemu-system-arm", "python3"].into_iter().all(has_tool) {
        return false;
    }
    let built = workspace().join("bench/cortexm/build/cmxprof.so").exists();
    if !built {
        println!("NOT CHECKED with the simulator: it is not built (make -C bench/cortexm)");
    }
    built
}

/// The compiler that makes the firmware, as it calls itself.
fn compiler() -> String {
    let output = Command::new("arm-none-eabi-gcc").arg("--version").output().expect("it was found");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().next().unwrap_or_default().to_owned()
}

/// The table as it is: the compiler, and the counts.
fn table() -> (String, Counts) {
    let text = std::fs::read_to_string(workspace().join(TABLE)).unwrap_or_default();
    let (first, rest) = text.split_once('\n').unwrap_or_default();
    let counts = rest.lines().skip(1).map(|line| {
        let fields: Vec<&str> = line.split('\t').collect();
        let [model, core, instructions] = fields[..] else { panic!("{TABLE} has a line '{line}'") };
        ((model.to_owned(), core.to_owned()), instructions.parse().expect("a count"))
    });
    (first.trim_start_matches("# ").to_owned(), counts.collect())
}

fn write_table(compiler: &str, counts: &Counts) {
    let mut text = format!("# {compiler}\nmodel\tcore\tinstructions\n");
    for ((model, core), instructions) in counts {
        text.push_str(&format!("{model}\t{core}\t{instructions}\n"));
    }
    std::fs::write(workspace().join(TABLE), text).expect("the table can be written");
}

/// What differs between two tables, a line each.
fn changes(before: &Counts, after: &Counts) -> Vec<String> {
    let line = |(key, now): (&(String, String), &u64)| match before.get(key) {
        Some(then) if then == now => None,
        Some(then) => {
            let percent = 100.0 * (*now as f64 / (*then).max(1) as f64 - 1.0);
            Some(format!("{} on {}: {then} -> {now} instructions, {percent:+.2} %", key.0, key.1))
        }
        None => Some(format!("{} on {}: {now} instructions, new", key.0, key.1)),
    };
    after.iter().filter_map(line).collect()
}

#[test]
fn simulated_figures_are_as_expected() {
    let Some(root) = models() else { return };
    if !simulates() {
        return;
    }
    let counts = Mutex::new(Counts::new());
    assert_none_fail(&core_models(&root), |model| {
        let name = name(model);
        let figures = bench(model).map_err(|error| format!("{name}: {error}"))?;
        for (core, tolerance) in CORES {
            let number = |key: &str| figures["cores"][core][key].as_u64().ok_or(format!("{name}: no {key}"));
            let (simulated, estimated) = (number("cycles")?, number("predicted_cycles")?);
            let off = estimated as f64 / simulated.max(1) as f64 - 1.0;
            println!(
                "{name} on {core}: {estimated} cycles estimated, {simulated} simulated, {:+.1} %",
                100.0 * off
            );
            if ESTIMATED.contains(&name.as_str()) && off.abs() > tolerance {
                return Err(format!("{name} on {core}: {estimated} cycles estimated, {simulated} simulated"));
            }
            let mut counts = counts.lock().expect("no thread panics with the lock");
            counts.insert((name.clone(), core.to_owned()), number("instructions")?);
        }
        Ok(())
    });
    let (counts, (made_by, before)) = (counts.into_inner().expect("no thread panics"), table());
    let changes = changes(&before, &counts);
    if std::env::var_os("BLESS").is_some() {
        println!("{TABLE}: {} changes\n{}", changes.len(), changes.join("\n"));
        // Models that are not here keep their lines.
        write_table(&compiler(), &before.into_iter().chain(counts).collect());
    } else if made_by != compiler() {
        println!("NOT CHECKED: {TABLE} was made by '{made_by}', here is '{}'", compiler());
    } else {
        assert!(
            changes.is_empty(),
            "instructions changed; if that is meant: BLESS=1 cargo test --release --test bench -- --nocapture\n{}",
            changes.join("\n")
        );
    }
}

#[test]
fn what_cannot_be_measured_is_said() {
    let nowhere = tempfile::tempdir().expect("a folder");
    let folder = format!("--simulator={}", nowhere.path().display());
    let error = run(&["bench", "-", &folder], POOL).expect_err("there is no simulator");
    assert!(error.contains("expected the simulator in") && error.contains("--simulator"), "{error}");
    std::fs::write(nowhere.path().join("cortexm-run"), "").expect("a file");
    let error = run(&["bench", "-", &folder], POOL).expect_err("it is not built");
    assert!(error.contains("sources alone") && error.contains("make -C"), "{error}");
}

#[test]
fn layers_are_measured() {
    if !simulates() {
        return;
    }
    let text = run(&["bench", "-", "--on=m4,m7", "--json"], POOL).expect("it runs");
    let figures: Value = serde_json::from_str(&text).expect("it is JSON");
    for core in ["m4", "m7"] {
        let core = &figures["cores"][core];
        let (layers, total) = (core["layers"].as_array().expect("layers"), core["cycles"].as_u64());
        assert!(layers.len() == 1 && layers[0]["op"] == "nn.max_pool2d", "{text}");
        let layer = layers[0]["cycles"].as_u64();
        assert!(layer > Some(0) && layer < total && core["stack_bytes"].as_u64() > Some(0), "{text}");
        assert!(core["code_bytes"].as_u64() > layers[0]["code_bytes"].as_u64(), "{text}");
    }
    let text = run(&["bench", "-", "--totals"], POOL).expect("it runs");
    assert!(
        text.starts_with("pool on a simulated cortex-m4\ntotal: ") && text.lines().count() == 3,
        "{text}"
    );
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
