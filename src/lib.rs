//! The driver: what the `mcunetc` command does, callable in process (tests do).
//!
//! Files, terminals, processes and clocks are touched here and nowhere below. Results go to standard output, progress
//! and diagnostics to standard error. No output file is ever half-written.

mod cli;
mod cmd;
#[allow(dead_code)] // the commands that read data sets come next
mod data;
mod files;
mod observe;
mod report;
mod session;
mod tensors;
mod watch;

use clap::Parser;
use mcunet_ir::diag::Category;
use std::ffi::OsString;
use std::io::{Read, Write};

/// The streams a run reads and writes.
pub struct Io<'a> {
    /// Input named `-`.
    pub stdin: &'a mut dyn Read,
    /// Results.
    pub stdout: &'a mut dyn Write,
    /// Progress and diagnostics.
    pub stderr: &'a mut dyn Write,
    /// Whether diagnostics may be coloured.
    pub color: bool,
}

/// The input was compiled, or the question answered.
pub const EXIT_OK: u8 = 0;
/// The input can't be compiled, or a comparison failed.
pub const EXIT_INPUT: u8 = 1;
/// The command line is wrong.
pub const EXIT_USAGE: u8 = 2;
/// A memory, flash or time budget is not met.
pub const EXIT_BUDGET: u8 = 3;

/// Runs `mcunetc` with the given arguments (without the program's name) and returns its exit code.
pub fn run(args: &[OsString], io: &mut Io<'_>) -> u8 {
    let program = OsString::from("mcunetc");
    let parsed = cli::Cli::try_parse_from(std::iter::once(&program).chain(args));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => return report_usage(&error, io),
    };
    match cmd::dispatch(cli, io) {
        Ok(()) => EXIT_OK,
        Err(failure) => {
            let code = match failure.category() {
                Category::Input => EXIT_INPUT,
                Category::Usage => EXIT_USAGE,
                Category::Budget => EXIT_BUDGET,
            };
            let color = io.color;
            // There is nothing left to do if standard error can't be written.
            let _ = io.stderr.write_all(failure.render(color).as_bytes());
            code
        }
    }
}

/// Prints help and version to standard output and errors to standard error, as clap classifies them.
fn report_usage(error: &clap::Error, io: &mut Io<'_>) -> u8 {
    let text = error.render();
    if error.use_stderr() {
        let _ = if io.color { write!(io.stderr, "{}", text.ansi()) } else { write!(io.stderr, "{text}") };
        EXIT_USAGE
    } else {
        let _ = write!(io.stdout, "{text}");
        EXIT_OK
    }
}
