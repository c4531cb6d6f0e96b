//! A position in a text, with the small steps that a recursive-descent parser is made of.

use crate::diag::Origin;
use std::sync::Arc;

/// Where an error is, and what it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ParseError {
    /// Byte offset in the text.
    pub at: usize,
    /// `expected X, got Y`.
    pub message: String,
}

/// A reader of a text.
#[derive(Clone, Debug)]
pub struct Cursor<'t> {
    text: &'t str,
    /// Byte offset of what is read next.
    pub position: usize,
    file: Arc<str>,
    line_starts: Arc<[usize]>,
}

/// Result of a parsing step.
pub type Step<T> = Result<T, ParseError>;

impl<'t> Cursor<'t> {
    /// A cursor at the beginning of `text`.
    pub fn new(text: &'t str, file: &str) -> Self {
        let line_starts =
            std::iter::once(0).chain(text.match_indices('\n').map(|(position, _)| position + 1)).collect();
        Self { text, position: 0, file: file.into(), line_starts }
    }

    /// The place of a byte offset.
    pub fn origin(&self, at: usize) -> Origin {
        let line = self.line_starts.partition_point(|&start| start <= at).max(1);
        let start = self.line_starts[line - 1];
        let column = self.text.get(start..at).map_or(0, |text| text.chars().count()) + 1;
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Origin::Text { file: self.file.clone(), line: number(line), column: number(column) }
    }

    fn rest(&self) -> &'t str {
        self.text.get(self.position..).unwrap_or("")
    }

    /// Skips blanks and `//` comments.
    pub fn skip_blanks(&mut self) {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start();
            self.position += rest.len() - trimmed.len();
            if !trimmed.starts_with("//") {
                return;
            }
            self.skip_line();
        }
    }

    /// Skips to the beginning of the next line.
    pub fn skip_line(&mut self) {
        let rest = self.rest();
        self.position += rest.find('\n').map_or(rest.len(), |end| end + 1);
    }

    /// Whether only blanks and comments are left.
    pub fn at_end(&mut self) -> bool {
        self.skip_blanks();
        self.rest().is_empty()
    }

    /// The next character after blanks.
    pub fn peek(&mut self) -> Option<char> {
        self.skip_blanks();
        self.rest().chars().next()
    }

    /// Whether `wanted` is next; words must end there.
    pub fn looks_at(&mut self, wanted: &str) -> bool {
        self.skip_blanks();
        let Some(after) = self.rest().strip_prefix(wanted) else { return false };
        let is_word = wanted.chars().all(is_word_char);
        !is_word || !after.chars().next().is_some_and(is_word_char)
    }

    /// Reads `wanted` if it is next.
    pub fn eat(&mut self, wanted: &str) -> bool {
        let found = self.looks_at(wanted);
        if found {
            self.position += wanted.len();
        }
        found
    }

    /// Reads `wanted`.
    pub fn expect(&mut self, wanted: &str) -> Step<()> {
        if self.eat(wanted) { Ok(()) } else { self.expected(&format!("'{wanted}'")) }
    }

    /// The error that something else was expected here.
    pub fn expected<T>(&mut self, wanted: &str) -> Step<T> {
        self.skip_blanks();
        let found: String = self.rest().chars().take_while(|c| !c.is_whitespace()).take(24).collect();
        let found = if found.is_empty() { "the end".to_owned() } else { format!("'{found}'") };
        Err(ParseError { at: self.position, message: format!("expected {wanted}, got {found}") })
    }

    /// Reads the longest run of characters that satisfy `accepts`, without skipping blanks.
    pub fn take_while(&mut self, accepts: impl Fn(char) -> bool) -> &'t str {
        let rest = self.rest();
        let end = rest.find(|c| !accepts(c)).unwrap_or(rest.len());
        self.position += end;
        &rest[..end]
    }

    /// Reads a word: letters, digits and `_ . $ -`.
    pub fn word(&mut self, what: &str) -> Step<&'t str> {
        self.skip_blanks();
        let start = self.position;
        let word = self.take_while(is_word_char);
        if word.is_empty() {
            self.position = start;
            return self.expected(what);
        }
        Ok(word)
    }

    /// Reads a string literal with MLIR's escapes.
    pub fn string(&mut self) -> Step<String> {
        self.skip_blanks();
        let at = self.position;
        let bytes = self.rest().as_bytes();
        if bytes.first() != Some(&b'"') {
            return self.expected("a string");
        }
        let unterminated =
            || ParseError { at, message: "expected '\"' at the end of a string, got none".into() };
        let mut out = Vec::new();
        let mut i = 1;
        loop {
            match *bytes.get(i).ok_or_else(unterminated)? {
                b'"' => break,
                b'\n' => return Err(unterminated()),
                b'\\' => {
                    let (byte, length) = escape(&bytes[i..]).ok_or_else(|| ParseError {
                        at: at + i,
                        message: "expected an escape such as \\\" or \\0A, got another".into(),
                    })?;
                    out.push(byte);
                    i += length;
                }
                byte => {
                    out.push(byte);
                    i += 1;
                }
            }
        }
        self.position = at + i + 1;
        String::from_utf8(out)
            .map_err(|_| ParseError { at, message: "expected UTF-8 in a string, got other bytes".into() })
    }
}

/// Byte and length of an escape at the beginning of `text`.
fn escape(text: &[u8]) -> Option<(u8, usize)> {
    match *text.get(1)? {
        byte @ (b'"' | b'\\') => Some((byte, 2)),
        b'n' => Some((b'\n', 2)),
        b't' => Some((b'\t', 2)),
        _ => {
            let digits = std::str::from_utf8(text.get(1..3)?).ok()?;
            Some((u8::from_str_radix(digits, 16).ok()?, 3))
        }
    }
}

/// Characters of op names, attribute names and value names.
pub fn is_word_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '$' | '-')
}
