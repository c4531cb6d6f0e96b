//! Places in texts, and the text of diagnostics about them, in the shape of LLVM's.

use std::fmt::Write as _;

/// A place in a text, with the line around it for the caret to point into.
#[derive(Clone, Debug)]
pub struct Location {
    file: String,
    /// Counted from 1.
    line: usize,
    /// Counted from 1, in characters.
    column: usize,
    line_text: String,
}

impl Location {
    /// The place `offset` bytes into `text`; past the end, the end.
    pub fn new(file: &str, text: &str, offset: usize) -> Self {
        let offset = text.floor_char_boundary(offset.min(text.len()));
        let (before, after) = text.split_at(offset);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line_end = after.find('\n').map_or(text.len(), |at| offset + at);
        Self {
            file: file.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            line_text: text[line_start..line_end].to_owned(),
        }
    }

    /// The line's number, counted from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// `file:line:column: severity: message`, the line, and a caret below the column.
    pub fn render(&self, severity: &str, message: &str) -> String {
        let Self { file, line, column, line_text } = self;
        let indent: String =
            line_text.chars().take(column - 1).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        format!("{file}:{line}:{column}: {severity}: {message}\n{line_text}\n{indent}^\n")
    }
}

/// Lines shown before and after the place where scanning started.
const EXCERPT_BEFORE: usize = 3;
const EXCERPT_AFTER: usize = 16;

/// The numbered lines of `text` around `line`, which is marked.
pub fn excerpt(text: &str, line: usize) -> String {
    let first = line.saturating_sub(EXCERPT_BEFORE).max(1);
    let mut shown = format!("input from line {first} on (scanning started at '>'):\n");
    let count = EXCERPT_BEFORE + EXCERPT_AFTER;
    for (index, content) in text.lines().enumerate().skip(first - 1).take(count) {
        let number = index + 1;
        let mark = if number == line { '>' } else { ' ' };
        // Writing to a string cannot fail.
        let _ = writeln!(shown, "{mark}{number:5} | {content}");
    }
    shown
}

/// How far ahead a near miss is looked for, in lines.
const NEAR_MISS_LINES: usize = 200;

/// The offset in `text`, at the start of a line's content, that resembles `wanted` most.
///
/// Resemblance is the edit distance to as much of the line as `wanted` is long, as in LLVM; a line that differs in more
/// than half of `wanted` isn't offered.
pub fn nearest_line(text: &str, wanted: &str) -> Option<usize> {
    let wanted = wanted.trim();
    let length = wanted.chars().count();
    let mut offset = 0;
    let mut best: Option<(usize, usize)> = None;
    for line in text.split_inclusive('\n').take(NEAR_MISS_LINES) {
        let content = line.trim_start_matches([' ', '\t']);
        let start = offset + line.len() - content.len();
        offset += line.len();
        let head: String = content.trim_end().chars().take(length).collect();
        let distance = strsim::levenshtein(wanted, &head);
        if !head.is_empty() && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, start));
        }
    }
    best.filter(|(distance, _)| 2 * distance <= length).map(|(_, start)| start)
}
