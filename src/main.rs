//! The command line of mcunetc; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<std::ffi::OsString> = std::env::args_os().skip(1).collect();
    let mut stdin = std::io::stdin().lock();
    let mut stdout = std::io::stdout().lock();
    let mut stderr = std::io::stderr().lock();
    let color = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let mut io = mcunetc::Io { stdin: &mut stdin, stdout: &mut stdout, stderr: &mut stderr, color };
    ExitCode::from(mcunetc::run(&args, &mut io))
}
