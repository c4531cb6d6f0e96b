//! `--reproducer FILE`: the module before a failed pass, headed by the command that repeats the failure.

use crate::cli::{OptArgs, TargetArgs};
use crate::files;
use crate::session::Failure;
use mcunet_ir::text::{PrintOptions, print};
use mcunet_passes::manager::{Reproducer, RunFailure};
use std::path::Path;

/// The failure as it is reported; writes the reproducer if there is one, and says where it is.
pub fn report(args: &OptArgs, failure: RunFailure) -> Failure {
    let mut diagnostics = failure.diagnostics;
    if let (Some(path), Some(reproducer)) = (&args.reproducer, &failure.reproducer) {
        // That it can't be written must not hide why the pass failed, nor change the exit code.
        let note = match write(path, reproducer, args) {
            Ok(()) => format!("'{}' repeats the failure", path.display()),
            Err(errors) => {
                let reasons: Vec<String> = errors.0.into_iter().map(|error| error.message).collect();
                format!("there is no reproducer: {}", reasons.join("; "))
            }
        };
        if let Some(last) = diagnostics.0.last_mut() {
            last.notes.push(note);
        }
    }
    diagnostics.into()
}

fn write(path: &Path, reproducer: &Reproducer, args: &OptArgs) -> Result<(), mcunet_ir::Diagnostics> {
    let options = PrintOptions { locations: true, weights: true, ..PrintOptions::default() };
    let text = format!(
        "// mcunetc opt {} --pass-pipeline='{}'{}{}\n{}",
        path.display(),
        reproducer.pass,
        target_arguments(&args.target),
        if args.verify_each { "" } else { " --verify-each=false" },
        print(&reproducer.module, &options)
    );
    files::write_file(path, text.as_bytes())
}

/// The arguments that choose the same target.
fn target_arguments(args: &TargetArgs) -> String {
    let mut text = format!(" --target={}", args.target);
    let optional = [
        ("core", args.core.clone()),
        ("sram", args.sram.map(|bytes| bytes.to_string())),
        ("flash", args.flash.map(|bytes| bytes.to_string())),
        ("clock", args.clock.map(|hz| hz.to_string())),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            text.push_str(&format!(" --{name}={value}"));
        }
    }
    text
}
