//! Reads the directives of a check file.

use super::options::Options;
use super::pattern::{FullLine, Malformed, Pattern};
use super::report::Location;

/// What follows one of these and a colon on a line is no directive.
pub const COMMENT_PREFIXES: [&str; 2] = ["COM", "RUN"];

/// What a directive demands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `CHECK`: somewhere after the previous match.
    Plain,
    /// `CHECK-NEXT`: on the line after it.
    Next,
    /// `CHECK-SAME`: on the same line.
    Same,
    /// `CHECK-NOT`: nowhere between the matches around it.
    Not,
    /// `CHECK-DAG`: in any order among its neighbours, without overlap.
    Dag,
    /// `CHECK-LABEL`: divides the input into regions before anything else is matched.
    Label,
    /// `CHECK-EMPTY`: the next line is empty.
    Empty,
    /// `CHECK-COUNT-n`: so many times.
    Count(usize),
    /// The end of the input, after the last directive.
    EndOfInput,
}

/// One directive.
#[derive(Debug)]
pub struct Directive {
    pub kind: Kind,
    /// Its name as diagnostics show it, such as `CHECK-NEXT`.
    pub name: String,
    /// Where its pattern stands.
    pub location: Location,
    pub pattern: Pattern,
}

/// A directive that moves the match forward, and the `CHECK-DAG`s and `CHECK-NOT`s that precede it.
#[derive(Debug)]
pub struct CheckString {
    pub before: Vec<Directive>,
    pub directive: Directive,
}

/// The head of a directive: what stands from its prefix to its colon.
struct Head<'a> {
    prefix: &'a str,
    kind: Kind,
    /// The pattern stands for itself, `{LITERAL}`.
    literal: bool,
    /// In bytes of the line: where the prefix starts, and where the text after the colon does.
    start: usize,
    end: usize,
}

/// Parses all directives of `text` in order.
///
/// # Errors
/// A rendered diagnostic for the first malformed directive, or for a prefix without any.
pub fn parse(file: &str, text: &str, options: &Options) -> Result<Vec<CheckString>, String> {
    let mut strings = Vec::new();
    let mut before = implicit_nots(options)?;
    let mut used = vec![false; options.prefixes.len()];
    let mut line_start = 0;
    for (index, line) in text.split('\n').enumerate() {
        let at = |column: usize| Location::new(file, text, line_start + column);
        let head = find_head(line, &options.prefixes)
            .map_err(|(column, message)| at(column).render("error", &message))?;
        if let Some(head) = head {
            for (prefix, used) in options.prefixes.iter().zip(&mut used) {
                *used |= prefix == head.prefix;
            }
            let follows_none =
                strings.is_empty() && matches!(head.kind, Kind::Next | Kind::Same | Kind::Empty);
            if follows_none {
                let name = directive_name(head.prefix, head.kind);
                let message = format!("expected a '{}' before the first '{name}', got none", head.prefix);
                return Err(at(head.start).render("error", &message));
            }
            let directive = parse_directive(&head, line, index + 1, &at, options)?;
            if matches!(directive.kind, Kind::Not | Kind::Dag) {
                before.push(directive);
            } else {
                let before = std::mem::replace(&mut before, implicit_nots(options)?);
                strings.push(CheckString { before, directive });
            }
        }
        line_start += line.len() + 1;
    }
    require_used(file, options, &used)?;
    if !before.is_empty() {
        strings.push(CheckString { before, directive: end_of_input(file, text) });
    }
    Ok(strings)
}

/// The pattern that ends the region of trailing `CHECK-NOT`s and `CHECK-DAG`s.
fn end_of_input(file: &str, text: &str) -> Directive {
    Directive {
        kind: Kind::EndOfInput,
        name: "end of input".to_owned(),
        location: Location::new(file, text, text.len()),
        pattern: Pattern::EndOfInput,
    }
}

fn require_used(file: &str, options: &Options, used: &[bool]) -> Result<(), String> {
    let unused = options
        .prefixes
        .iter()
        .zip(used)
        .filter(|(_, used)| !**used)
        .map(|(prefix, _)| format!("'{prefix}:'"));
    let unused: Vec<_> = unused.collect();
    if unused.is_empty() || (options.allow_unused_prefixes && unused.len() < used.len()) {
        return Ok(());
    }
    Err(format!(
        "{file}: error: expected a directive for each check prefix, got none for {}\n",
        unused.join(", ")
    ))
}

fn implicit_nots(options: &Options) -> Result<Vec<Directive>, String> {
    let parse = |text: &String| {
        let at = |offset| Location::new("command line", text, offset);
        let pattern = Pattern::parse(text, 1, FullLine::No).map_err(|error| malformed(&error, 0, &at))?;
        if text.is_empty() {
            return Err(at(0).render("error", "expected text for '--implicit-check-not', got none"));
        }
        Ok(Directive { kind: Kind::Not, name: "IMPLICIT-CHECK-NOT".to_owned(), location: at(0), pattern })
    };
    options.implicit_check_not.iter().map(parse).collect()
}

fn malformed(error: &Malformed, start: usize, at: &impl Fn(usize) -> Location) -> String {
    at(start + error.offset).render("error", &error.message)
}

fn parse_directive(
    head: &Head<'_>,
    line: &str,
    line_number: usize,
    at: &impl Fn(usize) -> Location,
    options: &Options,
) -> Result<Directive, String> {
    let name = directive_name(head.prefix, head.kind);
    let mut start = head.end;
    let mut text = &line[start..];
    if !(options.strict_whitespace && options.match_full_lines) {
        let trimmed = text.trim_start_matches([' ', '\t']);
        start += text.len() - trimmed.len();
        text = trimmed.trim_end_matches([' ', '\t']);
    }
    let error = |message: &str| Err(at(start).render("error", message));
    let full_line = match (options.match_full_lines, options.strict_whitespace) {
        _ if head.kind == Kind::Not => FullLine::No,
        (false, _) => FullLine::No,
        (true, false) => FullLine::PaddedBySpaces,
        (true, true) => FullLine::Exactly,
    };
    let pattern = match (head.kind, text) {
        (Kind::Empty, "") => Ok(Pattern::EmptyLine),
        (Kind::Empty, _) => return error(&format!("expected no text after '{name}:', got '{text}'")),
        (_, "") => return error(&format!("expected text after '{name}:', got none")),
        _ if head.literal => Pattern::literal(text, full_line),
        _ => Pattern::parse(text, line_number, full_line),
    };
    let pattern = pattern.map_err(|error| malformed(&error, start, at))?;
    if head.kind == Kind::Label && pattern.has_variables() {
        return error(&format!("expected no variables in '{name}', got some"));
    }
    Ok(Directive { kind: head.kind, name, location: at(start), pattern })
}

fn directive_name(prefix: &str, kind: Kind) -> String {
    let suffix = match kind {
        Kind::Plain | Kind::EndOfInput => "",
        Kind::Next => "-NEXT",
        Kind::Same => "-SAME",
        Kind::Not => "-NOT",
        Kind::Dag => "-DAG",
        Kind::Label => "-LABEL",
        Kind::Empty => "-EMPTY",
        Kind::Count(count) => return format!("{prefix}-COUNT-{count}"),
    };
    format!("{prefix}{suffix}")
}

/// The first directive on `line`. An error is a column and a message.
fn find_head<'a>(line: &str, prefixes: &'a [String]) -> Result<Option<Head<'a>>, (usize, String)> {
    for start in word_starts(line) {
        let rest = &line[start..];
        if is_comment(rest) {
            return Ok(None);
        }
        // Of two prefixes that fit, such as `CHECK` and `CHECK-GENERIC`, the longer one is meant.
        let mut fitting: Vec<&str> =
            prefixes.iter().map(String::as_str).filter(|prefix| rest.starts_with(prefix)).collect();
        fitting.sort_by_key(|prefix| std::cmp::Reverse(prefix.len()));
        for prefix in fitting {
            let after = &rest[prefix.len()..];
            let suffix = classify(after).map_err(|problem| (start, format!("{problem} after '{prefix}'")))?;
            if let Some((kind, literal, length)) = suffix {
                return Ok(Some(Head { prefix, kind, literal, start, end: start + prefix.len() + length }));
            }
        }
    }
    Ok(None)
}

fn is_comment(rest: &str) -> bool {
    COMMENT_PREFIXES
        .iter()
        .any(|prefix| rest.strip_prefix(prefix).is_some_and(|after| after.starts_with(':')))
}

/// Offsets at which a prefix could start: letters that continue no word.
fn word_starts(line: &str) -> impl Iterator<Item = usize> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let mut previous = ' ';
    line.char_indices().filter_map(move |(at, character)| {
        let starts = character.is_ascii_alphabetic() && !is_word(previous);
        previous = character;
        starts.then_some(at)
    })
}

/// Reads what follows a prefix, up to and including the colon. `None`: this is no directive of that prefix.
///
/// # Errors
/// A directive that doesn't exist, or a count or modifier that makes no sense.
fn classify(after: &str) -> Result<Option<(Kind, bool, usize)>, String> {
    let Some(colon) = after.find(':') else { return Ok(None) };
    let (word, modifier) = match after[..colon].strip_suffix('}').and_then(|head| head.split_once('{')) {
        Some((word, modifier)) => (word, Some(modifier)),
        None => (&after[..colon], None),
    };
    let kind = match word {
        "" => Kind::Plain,
        "-NEXT" => Kind::Next,
        "-SAME" => Kind::Same,
        "-NOT" => Kind::Not,
        "-DAG" => Kind::Dag,
        "-LABEL" => Kind::Label,
        "-EMPTY" => Kind::Empty,
        _ => match word.strip_prefix("-COUNT-").map(|digits| (digits, digits.parse())) {
            Some((_, Ok(count))) if count > 0 => Kind::Count(count),
            Some((digits, _)) => return Err(format!("expected a positive count, got '{digits}'")),
            None if is_misspelt(word) => return Err(format!("expected a directive, got '{word}'")),
            None => return Ok(None),
        },
    };
    let literal = match modifier {
        None => false,
        Some("LITERAL") => true,
        Some(other) => return Err(format!("expected the modifier '{{LITERAL}}', got '{{{other}}}'")),
    };
    Ok(Some((kind, literal, colon + 1)))
}

/// Combinations with `-NOT`, which have no meaning, and `_` for `-`.
fn is_misspelt(word: &str) -> bool {
    const SUFFIXES: [&str; 6] = ["NEXT", "SAME", "NOT", "DAG", "LABEL", "EMPTY"];
    let dashed = word.replace('_', "-");
    let mut parts = dashed.strip_prefix('-').unwrap_or("").split('-');
    match (parts.next(), parts.next(), parts.next()) {
        (Some("COUNT"), _, None) => true,
        (Some(only), None, None) => SUFFIXES.contains(&only),
        (Some(first), Some(second), None) => {
            SUFFIXES.contains(&first) && SUFFIXES.contains(&second) && (first == "NOT" || second == "NOT")
        }
        _ => false,
    }
}

/// Words of `text` that look like directives but are none for any of `prefixes`, the prefixes in use: `CHECK-NXT:`, or
/// `CHECK:` where only other prefixes are used. Line numbers count from 1.
///
/// LLVM ignores such words, whereby a check silently checks nothing.
pub fn stray_directives(text: &str, prefixes: &[String]) -> Vec<(usize, String)> {
    let mut suspects: Vec<&str> = prefixes.iter().map(String::as_str).collect();
    suspects.push("CHECK");
    let stray_on = |line: &str| -> Option<String> {
        if find_head(line, prefixes).is_ok_and(|head| head.is_some()) {
            return None;
        }
        for start in word_starts(line) {
            let rest = &line[start..];
            if is_comment(rest) {
                return None;
            }
            let length = rest
                .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_')))
                .unwrap_or(rest.len());
            let (word, after) = rest.split_at(length);
            let suspect = suspects.iter().any(|prefix| {
                word.strip_prefix(prefix)
                    .is_some_and(|suffix| suffix.is_empty() || suffix.starts_with(['-', '_']))
            });
            if suspect && after.trim_start().starts_with([':', '{']) {
                return Some(word.to_owned());
            }
        }
        None
    };
    text.lines()
        .enumerate()
        .filter_map(|(index, line)| stray_on(line).map(|word| (index + 1, word)))
        .collect()
}
