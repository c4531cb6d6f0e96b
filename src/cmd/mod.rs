//! One file per subcommand.

mod alternatives;
pub mod bench;
mod budget;
mod check;
pub mod compile;
mod cost;
mod eval;
mod inspect;
mod opt;
mod pareto;
mod quantize;
mod run;
mod targets;

use crate::Io;
use crate::cli::{Cli, Command};
use crate::session::Failure;

/// Does what the command line says.
pub fn dispatch(cli: Cli, io: &mut Io<'_>) -> Result<(), Failure> {
    match cli.command {
        None => compile::run(&cli.compile, io),
        Some(Command::Opt(args)) => opt::run(&args, io),
        Some(Command::Run(args)) => run::run(&args, io),
        Some(Command::Check(args)) => check::run(&args, io),
        Some(Command::Inspect(args)) => inspect::run(&args, io),
        Some(Command::Cost(args)) => cost::run(&args, io),
        Some(Command::Bench(args)) => bench::run(&args, io),
        Some(Command::Eval(args)) => eval::run(&args, io),
        Some(Command::Quantize(args)) => quantize::run(&args, io),
        Some(Command::Targets(args)) => targets::run(&args, io),
    }
}

/// Writes a result to standard output.
fn print(io: &mut Io<'_>, text: &str) -> Result<(), Failure> {
    crate::files::write(std::path::Path::new("-"), text.as_bytes(), io).map_err(Failure::from)
}

/// Writes progress to standard error; a closed terminal is no reason to fail.
pub fn progress(io: &mut Io<'_>, text: &str) {
    let _ = io.stderr.write_all(text.as_bytes());
}
