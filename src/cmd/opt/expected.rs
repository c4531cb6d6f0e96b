//! `--verify-diagnostics`: comments such as `// expected-error@+1 {{...}}` announce every error of a module.
//!
//! `@+N` and `@-N` count lines from the comment; without them the comment's own line is meant; `@any` matches an error
//! without a place. The text between the braces must occur in the message.

use crate::session::Failure;
use mcunet_ir::Origin;
use mcunet_ir::diag::{Diagnostic, Diagnostics, Severity};

struct Expectation {
    /// Line of the error; `None` for `@any`.
    line: Option<usize>,
    text: String,
    comment_line: usize,
}

/// Compares the errors of a module with its announcements.
pub fn check(text: &str, file: &str, failure: Option<Failure>) -> Result<(), Failure> {
    let mut expected = expectations(text);
    let mut wrong = Diagnostics::default();
    let found = failure.map(|failure| failure.diagnostics().clone()).unwrap_or_default();
    for diagnostic in found.0.into_iter().filter(|diagnostic| diagnostic.severity == Severity::Error) {
        let line = line_of(&diagnostic.origin);
        let matches =
            |e: &Expectation| (e.line.is_none() || e.line == line) && diagnostic.message.contains(&e.text);
        match expected.iter().position(matches) {
            Some(index) => {
                expected.remove(index);
            }
            None => wrong.push(Diagnostic {
                message: format!("unexpected error: {}", diagnostic.message),
                ..diagnostic
            }),
        }
    }
    for missing in expected {
        let origin = Origin::Text { file: file.into(), line: missing.comment_line as u32, column: 1 };
        wrong.push(Diagnostic::error(format!("expected error did not occur: {}", missing.text)).at(origin));
    }
    wrong.into_result().map_err(|wrong| Failure::from(wrong).with_source(file, text))
}

fn line_of(origin: &Origin) -> Option<usize> {
    match origin {
        Origin::Text { line, .. } => Some(*line as usize),
        Origin::Fused(parts) => parts.iter().find_map(line_of),
        _ => None,
    }
}

fn expectations(text: &str) -> Vec<Expectation> {
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for rest in line.split("expected-error").skip(1) {
            let Some((place, rest)) = rest.split_once("{{") else { continue };
            let Some((message, _)) = rest.split_once("}}") else { continue };
            let place = place.trim().trim_start_matches('@');
            let comment_line = index + 1;
            let line = match place {
                "any" => None,
                _ => comment_line.checked_add_signed(place.parse::<isize>().unwrap_or(0)),
            };
            found.push(Expectation { line, text: message.to_owned(), comment_line });
        }
    }
    found
}
