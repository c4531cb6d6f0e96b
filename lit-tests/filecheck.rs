//! A matcher for expected output with the directives and semantics of LLVM's `FileCheck`.
//!
//! A check file holds directives in comments (`// CHECK-NEXT: %[[Y:.*]] = nn.conv2d`); [`check`] holds them against the
//! output of a command. It differs from LLVM's tool in what follows, and in nothing else on purpose:
//! - Regular expressions are those of the `regex` crate (leftmost-first, `\d`, lazy quantifiers) rather than POSIX
//!   (leftmost-longest). As in LLVM, `.` and `[^…]` never match a line break, while `[[:space:]]` and `\s` do.
//! - Numeric substitution blocks (`[[#N:]]`) are an error, apart from `[[@LINE+1]]` and `[[#@LINE+1]]`.
//!
//! Invariant: a check file without directives for one of its prefixes is an error, so that no check passes by being absent.

mod directive;
mod matcher;
mod options;
mod pattern;
mod report;
pub mod tests;

pub use directive::stray_directives;
pub use options::Options;

use matcher::Matcher;

/// A named text, the name being what diagnostics call it.
#[derive(Clone, Copy, Debug)]
pub struct Text<'a> {
    /// The file's path, or `<stdin>`.
    pub name: &'a str,
    /// The whole text, as read.
    pub text: &'a str,
}

/// Checks `input` against the directives in `checks`.
///
/// # Errors
/// A rendered diagnostic, several lines long, when a directive is malformed, when there is no directive for a prefix,
/// when the input is empty, or when the input doesn't match. All regions between `CHECK-LABEL`s are reported.
pub fn check(checks: Text<'_>, input: Text<'_>, options: &Options) -> Result<(), String> {
    let check_text = canonicalize(checks.text, options.strict_whitespace);
    let strings = directive::parse(checks.name, &check_text, options)?;
    if input.text.is_empty() && !options.allow_empty {
        return Err(format!(
            "FileCheck error: expected some input, got none from {} (--allow-empty permits it)\n",
            input.name
        ));
    }
    let input_text = canonicalize(input.text, options.strict_whitespace);
    Matcher::new(input.name, &input_text, options).run(&strings)
}

/// Drops carriage returns before line feeds and, unless `strict`, makes each run of spaces and tabs one space.
fn canonicalize(text: &str, strict: bool) -> String {
    let mut canonical = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\r' if characters.peek() == Some(&'\n') => {}
            ' ' | '\t' if !strict => {
                canonical.push(' ');
                while characters.next_if(|c| matches!(c, ' ' | '\t')).is_some() {}
            }
            other => canonical.push(other),
        }
    }
    canonical
}
