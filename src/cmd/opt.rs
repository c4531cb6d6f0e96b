//! `mcunetc opt`: our mlir-opt.

use crate::Io;
use crate::cli::OptArgs;
use crate::files;
use crate::observe::Dumper;
use crate::session::{self, Failure};
use mcunet_frontends::{ImportOptions, import};
use mcunet_ir::text::{PrintOptions, print};
use mcunet_passes::manager::{self, RunOptions};
use mcunet_passes::pass::PassContext;
use mcunet_passes::pipeline::Pipeline;
use mcunet_passes::registry::Registry;
use mcunet_passes::target::Target;

mod expected;
mod reproducer;

/// The line that separates modules with `--split-input-file`.
const SEPARATOR: &str = "// -----";

/// Runs passes over each module of the input and prints the results.
pub fn run(args: &OptArgs, io: &mut Io<'_>) -> Result<(), Failure> {
    let bytes = files::read(&args.file, io)?;
    let file = session::base_name(&args.file);
    let target = session::target(&args.target)?;
    let pipeline = Pipeline::parse(&args.pass_pipeline, &Registry::builtin())?;
    let mut output = String::new();
    for (part, text) in split(args, &bytes).into_iter().enumerate() {
        let mut log = String::new();
        let result = optimize(args, &text, &file, &pipeline, &target, &mut log);
        super::progress(io, &log);
        if args.verify_diagnostics {
            expected::check(&String::from_utf8_lossy(&text), &file, result.err())?;
            continue;
        }
        let printed = result.map_err(|failure| session::with_text(failure, &file, &text))?;
        if part > 0 {
            output.push_str(&format!("{SEPARATOR}\n"));
        }
        output.push_str(&printed);
    }
    Ok(files::write(&args.output, output.as_bytes(), io)?)
}

/// The modules of the input. Each keeps its line numbers: what comes before is replaced by empty lines.
fn split(args: &OptArgs, bytes: &[u8]) -> Vec<Vec<u8>> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) if args.split_input_file => text,
        _ => return vec![bytes.to_vec()],
    };
    let mut parts = vec![String::new()];
    for (number, line) in text.lines().enumerate() {
        if line.trim() == SEPARATOR {
            parts.push("\n".repeat(number + 1));
        } else if let Some(part) = parts.last_mut() {
            part.push_str(line);
            part.push('\n');
        }
    }
    parts.into_iter().map(String::into_bytes).collect()
}

fn optimize(
    args: &OptArgs,
    text: &[u8],
    file: &str,
    pipeline: &Pipeline,
    target: &Target,
    log: &mut String,
) -> Result<String, Failure> {
    let mut module = import(text, file, &ImportOptions { io_type: args.io_type.into() })?;
    mcunet_ir::verify::verify(&module)?;
    let options = PrintOptions {
        generic: args.print_generic,
        locations: args.print_locations,
        weights: args.print_weights,
    };
    let mut dumper = Dumper::new(args, options);
    let how = RunOptions {
        verify_each: args.verify_each,
        limit: args.bisect_limit,
        reproduce: args.reproducer.is_some(),
    };
    let result = manager::run_with(pipeline, &mut module, &PassContext::new(target), how, &mut dumper);
    dumper.finish();
    log.push_str(&dumper.text);
    result.map_err(|failure| reproducer::report(args, failure))?;
    if let Some(limit) = args.bisect_limit {
        log.push_str(&bisection(pipeline, limit));
    }
    Ok(print(&module, &options))
}

/// What `--bisect-limit` left of the pipeline.
fn bisection(pipeline: &Pipeline, limit: usize) -> String {
    let count = pipeline.passes.len();
    let ran = limit.min(count);
    let last = pipeline.passes[..ran].last().map_or("none".to_owned(), |pass| format!("'{pass}'"));
    format!("bisection: ran {ran} of {count} passes, the last is {last}\n")
}
