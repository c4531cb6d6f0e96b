//! The textual form on real modules: byte-exact round trips of every op, before and after lowering, in both spellings,
//! and MLIR's own opinion of the generic one.

use mcunet_ir::Module;
use mcunet_ir::text::{PrintOptions, print};
use mcunet_passes::pipeline::Level;
use mcunet_testing::compile::plan;
use mcunet_testing::corpus::{import_model, name, op_cases};
use mcunet_testing::properties::round_trips;
use mcunet_testing::tools::assert_none_fail;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// The module of a case, and the same planned.
fn modules(case: &Path) -> Result<[Module; 2], String> {
    let imported = import_model(case)?;
    let planned = plan(&imported, Level::O2)?;
    Ok([imported, planned])
}

#[test]
fn every_op_round_trips_byte_for_byte() {
    assert_none_fail(&op_cases(), |case| {
        let check = || modules(case)?.iter().try_for_each(round_trips);
        check().map_err(|error| format!("{}: {error}", name(case)))
    });
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
