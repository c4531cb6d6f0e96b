//! The test target `lit`: every case below `lit-tests` is one trial, and so is every test of the harness itself.
//!
//! `cargo test --test lit -- nn/` runs the cases in one folder. How to write a case: `lit-tests/README.md`.

mod coverage;
mod filecheck;
mod runner;
mod shell;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use runner::{Feature, Outcome, Suite};

fn main() -> ExitCode {
    let arguments = libtest_mimic::Arguments::from_args();
    let suite = Arc::new(Suite {
        root: Path::new(env!("CARGO_MANIFEST_DIR")).join("lit-tests"),
        scratch: Path::new(env!("CARGO_TARGET_TMPDIR")).join("lit"),
        features: vec![mlir_opt(), models()],
        mcunetc,
    });
    let mut trials = match runner::trials(&suite) {
        Ok(trials) => trials,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    trials.extend(coverage::trials(&suite.root));
    trials.extend(filecheck::tests::trials());
    trials.extend(runner::tests::trials(&suite.scratch));
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Runs the compiler in process, as its binary would.
fn mcunetc(arguments: &[String], mut stdin: &[u8]) -> Outcome {
    let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
    let mut stdout = Vec::new();
    let mut stderr = Vec::new();
    let mut io = mcunetc::Io { stdin: &mut stdin, stdout: &mut stdout, stderr: &mut stderr, color: false };
    let status = mcunetc::run(&arguments, &mut io);
    Outcome { status, stdout, stderr }
}

/// MLIR's own optimizer, to see that it accepts the generic form. The newest one wins.
fn mlir_opt() -> Feature {
    let names = std::iter::once("mlir-opt".to_owned())
        .chain((16..=22).rev().map(|version| format!("mlir-opt-{version}")));
    let folders: Vec<PathBuf> = std::env::var_os("PATH").iter().flat_map(std::env::split_paths).collect();
    let found = names
        .flat_map(|name| folders.iter().map(move |folder| folder.join(&name)))
        .find(|path| path.is_file());
    let path = found.and_then(|path| path.to_str().map(str::to_owned));
    Feature {
        name: "mlir-opt",
        path: path.ok_or_else(|| "no mlir-opt or mlir-opt-22 to -16 on PATH".to_owned()),
    }
}

/// The folder of real models, which are too large to be part of the repository.
fn models() -> Feature {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/models");
    let path = match std::env::var("MCUNETC_MODELS") {
        Ok(path) if Path::new(&path).is_dir() => Ok(path),
        Ok(path) => Err(format!("MCUNETC_MODELS is '{path}', which is no folder")),
        Err(_) if Path::new(beside).is_dir() => Ok(beside.to_owned()),
        Err(_) => Err("MCUNETC_MODELS names no folder".to_owned()),
    };
    Feature { name: "models", path }
}
