//! No op without its cases: for every op of the tables of `nn`, `tile` and `loop` there is
//! - a round trip: a `// CHECK:` line with the op, in a case of the dialect's folder;
//! - an invalid case: a line with the op after an `expected-error`, below the folder's `invalid`;
//! - an evaluation: for `nn` a function named `op.variant` whose value an `EVAL` line tells; for the others the op itself in a
//!   program whose outputs an `EVAL` line tells.

use std::path::Path;

use libtest_mimic::{Failed, Trial};
use mcunet_ir::define::OpSpec;
use mcunet_ir::loops::LoopOp;
use mcunet_ir::nn::NnOp;
use mcunet_ir::tile::TileOp;

/// One trial per dialect, named `coverage/…`.
pub fn trials(root: &Path) -> Vec<Trial> {
    let dialect = |name: &'static str, specs: &'static [OpSpec], evaluates: Evaluates| {
        let folder = root.join(name);
        Trial::test(format!("coverage/{name}"), move || check(&folder, specs, evaluates))
    };
    vec![
        dialect("nn", NnOp::SPECS, evaluates_function),
        dialect("tile", TileOp::SPECS, evaluates_program),
        dialect("loop", LoopOp::SPECS, evaluates_program),
    ]
}

/// Whether a case evaluates an op.
type Evaluates = fn(case: &str, op: &str) -> bool;

fn evaluates_function(case: &str, op: &str) -> bool {
    let short = op.trim_start_matches("nn.");
    let label = format!("// EVAL-LABEL: func \"{short}.");
    let told = case.lines().any(|line| line.trim_start().starts_with(&label));
    told && case.lines().any(|line| is_code(line) && mentions(line, op))
}

fn evaluates_program(case: &str, op: &str) -> bool {
    case.contains("// EVAL: ") && case.lines().any(|line| is_code(line) && mentions(line, op))
}

fn check(folder: &Path, specs: &[OpSpec], evaluates: Evaluates) -> Result<(), Failed> {
    let valid = cases(folder)?;
    let invalid = cases(&folder.join("invalid"))?;
    let mut missing = Vec::new();
    for OpSpec { name, .. } in specs {
        let round_trip = |line: &str| line.trim_start().starts_with("// CHECK: ") && mentions(line, name);
        if !valid.iter().any(|case| case.lines().any(round_trip)) {
            missing.push(format!("a round trip of '{name}'"));
        }
        if !invalid.iter().any(|case| is_refused(case, name)) {
            missing.push(format!("an invalid '{name}'"));
        }
        if !valid.iter().any(|case| evaluates(case, name)) {
            missing.push(format!("an evaluation of '{name}'"));
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    Err(format!("expected in {}: {}", folder.display(), missing.join(", ")).into())
}

/// The texts of the cases in a folder, without those of its folders.
fn cases(folder: &Path) -> Result<Vec<String>, Failed> {
    let mut texts = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "mcir") {
            texts.push(std::fs::read_to_string(path)?);
        }
    }
    Ok(texts)
}

/// Whether an error is expected at a line with the op.
fn is_refused(case: &str, op: &str) -> bool {
    let mut announced = false;
    for line in case.lines() {
        if line.contains("expected-error@") {
            announced = true;
        } else if is_code(line) {
            if announced && mentions(line, op) {
                return true;
            }
            announced = false;
        }
    }
    false
}

fn is_code(line: &str) -> bool {
    !line.trim_start().starts_with("//")
}

/// Whether the op's name stands in the line as a word: `nn.add` isn't in `nn.add_n`.
fn mentions(line: &str, op: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
    line.split(|c| !is_part(c)).any(|word| word == op)
}
