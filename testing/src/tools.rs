//! Programs that tests run: compilers through `make`, and what is said when one is missing.

use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Warnings with which emitted C is compiled; all are errors.
pub const WARNINGS: &str = "-Wall -Wextra -Wpedantic -Wconversion -Werror";

/// Flags that stop a program at undefined behavior or an access outside of an object.
pub const SANITIZE: &str = "-O1 -fsanitize=address,undefined -fno-sanitize-recover=all";

/// Whether a tool can be run; said aloud if not.
pub fn has_tool(tool: &str) -> bool {
    let found = Command::new(tool).arg("--version").output().is_ok_and(|output| output.status.success());
    if !found {
        println!("NOT CHECKED with {tool}: it is not installed (scripts/test.sh installs it)");
    }
    found
}

/// Runs `make` in a project.
///
/// # Errors
/// The first lines of what it says if it fails.
pub fn make(folder: &Path, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new("make")
        .arg("--silent")
        .arg("-C")
        .arg(folder)
        .args(arguments)
        .output()
        .map_err(|error| format!("make: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let log = [output.stdout, output.stderr].concat();
    let log = String::from_utf8_lossy(&log);
    Err(log.lines().take(12).collect::<Vec<_>>().join("\n"))
}

/// Builds and runs a project's test on this machine with a compiler and flags; warnings are errors.
///
/// # Errors
/// What `make` says if it fails.
pub fn make_test(folder: &Path, compiler: &str, flags: &str) -> Result<(), String> {
    let (compiler, flags) = (format!("CC={compiler}"), format!("CFLAGS={flags} {WARNINGS}"));
    make(folder, &["clean"])?;
    make(folder, &[&compiler, &flags, "test"]).map_err(|error| format!("{compiler} {flags}: {error}"))
}

/// Runs `check` for every item on two threads and collects what fails.
///
/// # Panics
/// If `check` does.
pub fn failures<T: Sync>(items: &[T], check: impl Fn(&T) -> Result<(), String> + Sync) -> Vec<String> {
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(error) = check(item) {
                        failures.lock().expect("no thread panics with the lock").push(error);
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner().expect("no thread panics with the lock");
    failures.sort();
    failures
}

/// Panics with what fails, if anything does.
///
/// # Panics
/// See there.
pub fn assert_none_fail<T: Sync>(items: &[T], check: impl Fn(&T) -> Result<(), String> + Sync) {
    let failures = failures(items, check);
    assert!(failures.is_empty(), "{} of {} fail:\n{}", failures.len(), items.len(), failures.join("\n"));
}
