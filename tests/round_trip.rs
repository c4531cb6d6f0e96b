//! The textual form on real modules: byte-exact round trips of every op, before and after lowering, in both spellings,
//! and MLIR's own opinion of the generic one.

mod common;

use common::{failures, name, op_cases};
use mcunet_frontends::{ImportOptions, import};
use mcunet_ir::Module;
use mcunet_ir::text::{PrintOptions, parse, print};
use mcunet_passes::manager::{Silent, run};
use mcunet_passes::pass::PassContext;
use mcunet_passes::pipeline::{Level, Pipeline};
use mcunet_passes::registry::Registry;
use mcunet_passes::target::Target;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// The module of a case, and the same planned.
fn modules(case: &Path) -> Result<[Module; 2], String> {
    let bytes = std::fs::read(case.join("model.tflite")).map_err(|error| error.to_string())?;
    let imported =
        import(&bytes, "model.tflite", &ImportOptions::default()).map_err(|errors| errors.to_string())?;
    let target = Target::find("cortex-m4").ok_or("expected the embedded target")?;
    let pipeline =
        Pipeline::parse(Level::O2.pipeline(), &Registry::builtin()).map_err(|errors| errors.to_string())?;
    let mut planned = imported.clone();
    run(&pipeline, &mut planned, &PassContext::new(&target), true, &mut Silent)
        .map_err(|errors| errors.to_string())?;
    Ok([imported, planned])
}

#[test]
fn every_op_round_trips_byte_for_byte() {
    let failures = failures(&op_cases(), |case| {
        for module in modules(case).map_err(|error| format!("{}: {error}", name(case)))? {
            for bits in 0..8 {
                let options =
                    PrintOptions { generic: bits & 1 != 0, locations: bits & 2 != 0, weights: bits & 4 != 0 };
                let text = print(&module, &options);
                let parsed = parse(&text, "case.mcir").map_err(|error| format!("{}: {error}", name(case)))?;
                if print(&parsed, &options) != text {
                    return Err(format!("{}: another text with {options:?}", name(case)));
                }
                if options.weights {
                    mcunet_ir::verify::verify(&parsed).map_err(|error| format!("{}: {error}", name(case)))?;
                }
            }
        }
        Ok(())
    });
    assert!(failures.is_empty(), "{} cases fail:\n{}", failures.len(), failures.join("\n"));
}

/// The newest mlir-opt that is installed.
fn mlir_opt() -> Option<String> {
    let names = (16..=22).rev().map(|version| format!("mlir-opt-{version}"));
    let found = std::iter::once("mlir-opt".to_owned()).chain(names).find(|tool| {
        Command::new(tool).arg("--version").output().is_ok_and(|output| output.status.success())
    });
    if found.is_none() {
        println!("NOT CHECKED with mlir-opt: it is not installed (scripts/test.sh installs it)");
    }
    found
}

#[test]
fn mlir_accepts_the_generic_form() {
    let Some(tool) = mlir_opt() else { return };
    // Every fourth case, chained by MLIR's own separator, so that one process checks them all.
    let cases: Vec<_> = op_cases().into_iter().step_by(4).collect();
    let mut text = String::new();
    for case in cases {
        for module in modules(&case).unwrap_or_else(|error| panic!("{}: {error}", name(&case))) {
            let options = PrintOptions { generic: true, locations: true, weights: true };
            text.push_str(&print(&module, &options));
            text.push_str("// -----\n");
        }
    }
    let mut child = Command::new(tool)
        .args(["--allow-unregistered-dialect", "--split-input-file", "-o", "/dev/null"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("mlir-opt runs");
    let mut stdin = child.stdin.take().expect("a pipe");
    let writer = std::thread::spawn(move || stdin.write_all(text.as_bytes()));
    let output = child.wait_with_output().expect("mlir-opt ends");
    writer.join().expect("the writer does not panic").expect("mlir-opt reads its input");
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}", log.lines().take(20).collect::<Vec<_>>().join("\n"));
}
