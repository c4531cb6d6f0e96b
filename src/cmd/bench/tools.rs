//! Programs that the bench runs, and where the simulator lies.

use crate::files;
use crate::session::Failure;
use mcunet_ir::Diagnostic;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Lines of a failed program's messages that are shown.
const SHOWN_LINES: usize = 12;

/// What to install.
const INSTALL: &str =
    "on Debian: apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm python3";

/// Environment variable with the simulator's folder.
pub const KIT_VARIABLE: &str = "MCUNETC_CORTEXM";

/// Runs a program and returns what it prints.
pub fn run(command: &mut Command) -> Result<Vec<u8>, Failure> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            Diagnostic::error(format!("expected '{program}' to be installed, found none")).help(INSTALL)
        }
        _ => Diagnostic::error(format!("'{program}' cannot be run: {error}")),
    })?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let log = text(&[output.stdout, output.stderr].concat());
    let shown: Vec<&str> = log.lines().take(SHOWN_LINES).collect();
    Err(Diagnostic::error(format!("'{program}' failed")).note(shown.join("\n")).into())
}

/// Bytes as text.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The simulator's folder: as given, as the environment says, or in the source tree that the compiler was built from.
pub fn kit(given: Option<&Path>) -> Result<PathBuf, Failure> {
    let from_environment =
        || std::env::var_os(KIT_VARIABLE).filter(|folder| !folder.is_empty()).map(PathBuf::from);
    let in_sources = || Path::new(env!("CARGO_MANIFEST_DIR")).join("bench/cortexm");
    let kit = given.map(Path::to_owned).or_else(from_environment).unwrap_or_else(in_sources);
    let help = |diagnostic: Diagnostic| {
        diagnostic.help(format!(
            "give the folder bench/cortexm of mcunetc's sources with --simulator or {KIT_VARIABLE}"
        ))
    };
    if !kit.join("cortexm-run").is_file() {
        let message = format!("expected the simulator in '{}', found none", kit.display());
        return Err(help(Diagnostic::error(message)).into());
    }
    if !kit.join("build/cmxprof.so").is_file() {
        let message = format!("expected a built simulator in '{}', found its sources alone", kit.display());
        return Err(Diagnostic::error(message).help(format!("run: make -C {}", kit.display())).into());
    }
    // Commands run in other folders.
    Ok(kit.canonicalize().map_err(|error| files::io_error("find", &kit, &error))?)
}
