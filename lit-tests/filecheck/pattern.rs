//! One check string: literal text, regular expressions and variables, and how it is searched for.

use std::collections::BTreeMap;
use std::ops::Range;

use fancy_regex::Regex;

/// Variables and their values. Names of globals include the leading `$`.
pub type Variables = BTreeMap<String, String>;

/// What a check string consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    /// Text that must occur as it is.
    Literal(String),
    /// `{{regex}}`, translated to the syntax of the engine.
    Regex(String),
    /// `[[NAME:regex]]`, the expression translated.
    Define { name: String, regex: String },
    /// `[[NAME]]`.
    Use { name: String },
}

/// Why a check string is malformed: an offset in bytes into it, and a message.
#[derive(Debug)]
pub struct Malformed {
    pub offset: usize,
    pub message: String,
}

/// Where a pattern matched, in bytes of the haystack, and what it defined.
#[derive(Debug)]
pub struct Found {
    pub range: Range<usize>,
    pub bindings: Vec<(String, String)>,
}

/// Why a pattern didn't match.
#[derive(Debug)]
pub enum Mismatch {
    /// It occurs nowhere in the haystack.
    Absent,
    /// It uses variables without values, so nothing could be searched for.
    Undefined(Vec<String>),
    /// The regular expression engine gave up, with its reason.
    Engine(String),
}

/// A parsed check string.
#[derive(Debug)]
pub enum Pattern {
    /// Matches the end of the input: where trailing `CHECK-NOT` and `CHECK-DAG` directives stop looking.
    EndOfInput,
    /// Matches an empty line, from after the line break before it.
    EmptyLine,
    /// Plain text, by far the most frequent case.
    Literal(String),
    /// Needs no values from outside, hence compiled once.
    Compiled { compiled: Compiled, pieces: Pieces },
    /// Compiled for each search, with the values of its variables.
    Template(Pieces),
}

/// The parts of a pattern in order, and whether together they must span a line.
#[derive(Debug)]
pub struct Pieces {
    pieces: Vec<Piece>,
    full_line: FullLine,
}

/// How a pattern is tied to the ends of its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FullLine {
    /// Not at all.
    No,
    /// To both ends, but for spaces.
    PaddedBySpaces,
    /// To both ends.
    Exactly,
}

/// A regular expression and the variables that its groups `d0`, `d1`, … define.
#[derive(Debug)]
pub struct Compiled {
    regex: Regex,
    defines: Vec<String>,
}

impl Pattern {
    /// Parses the text of a directive on line `line` of the check file.
    ///
    /// # Errors
    /// An unfinished block, a malformed name, an invalid regular expression.
    pub fn parse(text: &str, line: usize, full_line: FullLine) -> Result<Self, Malformed> {
        let pieces = parse_pieces(text, line)?;
        Self::from_pieces(Pieces { pieces, full_line })
    }

    /// The pattern of a `{LITERAL}` directive: the text stands for itself.
    ///
    /// # Errors
    /// Text beyond what the regular expression engine takes.
    pub fn literal(text: &str, full_line: FullLine) -> Result<Self, Malformed> {
        Self::from_pieces(Pieces { pieces: vec![Piece::Literal(text.to_owned())], full_line })
    }

    fn from_pieces(pieces: Pieces) -> Result<Self, Malformed> {
        if let ([Piece::Literal(text)], FullLine::No) = (pieces.pieces.as_slice(), pieces.full_line) {
            return Ok(Self::Literal(text.clone()));
        }
        if pieces.outer_uses().next().is_some() {
            return Ok(Self::Template(pieces));
        }
        match pieces.compile(&Variables::new()) {
            Ok(compiled) => Ok(Self::Compiled { compiled, pieces }),
            Err(Mismatch::Engine(message)) => Err(Malformed { offset: 0, message }),
            Err(other) => Err(Malformed {
                offset: 0,
                message: format!("expected a self-contained pattern, got {other:?}"),
            }),
        }
    }

    /// Whether variables occur in it.
    pub fn has_variables(&self) -> bool {
        self.pieces().iter().any(|piece| matches!(piece, Piece::Define { .. } | Piece::Use { .. }))
    }

    /// Searches `haystack` for the first match. As in LLVM, `^` also matches where the search starts.
    ///
    /// # Errors
    /// See [`Mismatch`].
    pub fn find(&self, haystack: &str, variables: &Variables) -> Result<Found, Mismatch> {
        let plain = |range| Found { range, bindings: Vec::new() };
        match self {
            Self::EndOfInput => Ok(plain(haystack.len()..haystack.len())),
            Self::EmptyLine => find_empty_line(haystack).map(|at| plain(at..at)).ok_or(Mismatch::Absent),
            Self::Literal(text) => {
                haystack.find(text).map(|at| plain(at..at + text.len())).ok_or(Mismatch::Absent)
            }
            Self::Compiled { compiled, .. } => compiled.find(haystack),
            Self::Template(pieces) => pieces.compile(variables)?.find(haystack),
        }
    }

    /// The variables it takes from before, each with its value if it has one.
    pub fn substitutions<'a>(&'a self, variables: &'a Variables) -> Vec<(&'a str, Option<&'a str>)> {
        let Self::Template(pieces) = self else { return Vec::new() };
        let mut seen = Vec::new();
        for name in pieces.outer_uses() {
            if !seen.iter().any(|(known, _)| *known == name) {
                seen.push((name, variables.get(name).map(String::as_str)));
            }
        }
        seen
    }

    /// Its literal text with values filled in and expressions left out: what a near miss looks like.
    pub fn example(&self, variables: &Variables) -> String {
        if let Self::Literal(text) = self {
            return text.clone();
        }
        let text_of = |piece: &Piece| match piece {
            Piece::Literal(text) => text.clone(),
            Piece::Use { name } => variables.get(name).cloned().unwrap_or_default(),
            Piece::Regex(_) | Piece::Define { .. } => String::new(),
        };
        self.pieces().iter().map(text_of).collect()
    }

    fn pieces(&self) -> &[Piece] {
        match self {
            Self::EndOfInput | Self::EmptyLine | Self::Literal(_) => &[],
            Self::Compiled { pieces, .. } | Self::Template(pieces) => &pieces.pieces,
        }
    }
}

impl Pieces {
    /// Names used before, or without, a definition in the same pattern.
    fn outer_uses(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().enumerate().filter_map(|(index, piece)| match piece {
            Piece::Use { name } if !self.pieces[..index].iter().any(|earlier| earlier.defines(name)) => {
                Some(name.as_str())
            }
            _ => None,
        })
    }

    /// Makes one regular expression of all pieces. A use of a variable that the same pattern defines is a back-reference.
    fn compile(&self, variables: &Variables) -> Result<Compiled, Mismatch> {
        let undefined: Vec<_> =
            self.outer_uses().filter(|name| !variables.contains_key(*name)).map(str::to_owned).collect();
        if !undefined.is_empty() {
            return Err(Mismatch::Undefined(undefined));
        }
        let mut defines: Vec<String> = Vec::new();
        let mut source = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Literal(text) => source.push_str(&fancy_regex::escape(text)),
                Piece::Regex(regex) => source.push_str(&format!("(?:{regex})")),
                Piece::Define { name, regex } => {
                    source.push_str(&format!("(?<d{}>{regex})", defines.len()));
                    defines.push(name.clone());
                }
                Piece::Use { name } => match defines.iter().rposition(|defined| defined == name) {
                    Some(group) => source.push_str(&format!(r"\k<d{group}>")),
                    None => source.push_str(&fancy_regex::escape(&variables[name])),
                },
            }
        }
        let source = match self.full_line {
            FullLine::No => format!("(?m){source}"),
            FullLine::PaddedBySpaces => format!("(?m)^ *{source} *$"),
            FullLine::Exactly => format!("(?m)^{source}$"),
        };
        let regex = Regex::new(&source).map_err(|error| Mismatch::Engine(error.to_string()))?;
        Ok(Compiled { regex, defines })
    }
}

impl Piece {
    fn defines(&self, wanted: &str) -> bool {
        matches!(self, Self::Define { name, .. } if name == wanted)
    }
}

impl Compiled {
    fn find(&self, haystack: &str) -> Result<Found, Mismatch> {
        let captures = self.regex.captures(haystack).map_err(|error| Mismatch::Engine(error.to_string()))?;
        let captures = captures.ok_or(Mismatch::Absent)?;
        let range = captures.get(0).map(|whole| whole.range()).ok_or(Mismatch::Absent)?;
        let value =
            |group: usize| captures.name(&format!("d{group}")).map_or("", |group| group.as_str()).to_owned();
        let bindings =
            self.defines.iter().enumerate().map(|(group, name)| (name.clone(), value(group))).collect();
        Ok(Found { range, bindings })
    }
}

/// The offset after the first line break that another line break, or the end, follows.
fn find_empty_line(haystack: &str) -> Option<usize> {
    let bytes = haystack.as_bytes();
    let empty_after = |at: &usize| bytes[*at] == b'\n' && bytes.get(at + 1).is_none_or(|next| *next == b'\n');
    (0..bytes.len()).find(empty_after).map(|at| at + 1)
}

fn parse_pieces(text: &str, line: usize) -> Result<Vec<Piece>, Malformed> {
    let mut pieces = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let tail = &text[at..];
        let malformed = |message: String| Malformed { offset: at, message };
        if let Some(block) = tail.strip_prefix("{{") {
            let length =
                block.find("}}").ok_or_else(|| malformed("expected '}}' after '{{', got none".to_owned()))?;
            pieces.push(Piece::Regex(translate(&block[..length]).map_err(malformed)?));
            at += length + 4;
        } else if let Some(block) = tail.strip_prefix("[[") {
            let length = variable_length(block)
                .ok_or_else(|| malformed("expected ']]' after '[[', got none".to_owned()))?;
            pieces.push(parse_variable(&block[..length], line).map_err(malformed)?);
            at += length + 4;
        } else {
            let length = [tail.find("{{"), tail.find("[[")].into_iter().flatten().min().unwrap_or(tail.len());
            pieces.push(Piece::Literal(tail[..length].to_owned()));
            at += length;
        }
    }
    Ok(pieces)
}

/// The length of what stands before the `]]` that ends a variable; brackets within its expression nest.
fn variable_length(block: &str) -> Option<usize> {
    let mut depth = 0usize;
    let mut characters = block.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            ']' if depth == 0 => return block[at..].starts_with("]]").then_some(at),
            ']' => depth -= 1,
            '[' => depth += 1,
            '\\' => _ = characters.next(),
            _ => {}
        }
    }
    None
}

fn parse_variable(block: &str, line: usize) -> Result<Piece, String> {
    if let Some(offset) = block.trim_start_matches('#').trim().strip_prefix("@LINE") {
        return Ok(Piece::Literal(line_expression(offset, line)?));
    }
    if block.starts_with('#') {
        return Err(format!(
            "expected '[[#@LINE…]]', got the numeric block '[[{block}]]', which is not supported"
        ));
    }
    let (name, regex) = match block.split_once(':') {
        Some((name, regex)) => (name, Some(regex)),
        None => (block, None),
    };
    if !is_variable_name(name) {
        return Err(format!("expected a variable's name, got '{name}'"));
    }
    let name = name.to_owned();
    match regex {
        Some("") => Err(format!("expected a regular expression after '{name}:', got none")),
        Some(regex) => Ok(Piece::Define { name, regex: translate(regex)? }),
        None => Ok(Piece::Use { name }),
    }
}

/// The number that `@LINE`, `@LINE+1` or `@LINE-1` stands for, given what follows `@LINE`.
fn line_expression(offset: &str, line: usize) -> Result<String, String> {
    let malformed =
        || format!("expected '@LINE', '@LINE+n' or '@LINE-n' with a positive value, got '@LINE{offset}'");
    let compact: String = offset.chars().filter(|c| *c != ' ').collect();
    let value = match compact.split_at_checked(1) {
        None if compact.is_empty() => Some(line),
        Some(("+", digits)) => digits.parse().ok().and_then(|n| line.checked_add(n)),
        Some(("-", digits)) => digits.parse().ok().and_then(|n| line.checked_sub(n)),
        _ => None,
    };
    value.filter(|value| *value > 0).map(|value| value.to_string()).ok_or_else(malformed)
}

/// Whether `name` is an identifier, perhaps after the `$` of a global.
pub fn is_variable_name(name: &str) -> bool {
    let name = name.strip_prefix('$').unwrap_or(name);
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Rewrites what POSIX reads differently: negated sets never match a line break, and within a set a leading `]` and
/// any `[` that opens no named class are literal.
fn translate(regex: &str) -> Result<String, String> {
    let mut translated = String::with_capacity(regex.len());
    let mut characters = regex.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next() {
                Some('D') => translated.push_str(r"[^\d\n]"),
                Some('W') => translated.push_str(r"[^\w\n]"),
                escaped => translated.extend(std::iter::once('\\').chain(escaped)),
            },
            '[' => translate_set(&mut characters, &mut translated),
            other => translated.push(other),
        }
    }
    // Each expression must be whole by itself, or `{{(}}` could swallow what follows.
    match Regex::new(&translated) {
        Ok(_) => Ok(translated),
        Err(error) => Err(format!("expected a regular expression, got '{regex}': {error}")),
    }
}

/// Translates a bracket expression after its `[`, up to and including its `]`.
fn translate_set(characters: &mut std::iter::Peekable<std::str::Chars<'_>>, translated: &mut String) {
    translated.push('[');
    if characters.next_if_eq(&'^').is_some() {
        translated.push_str(r"^\n");
    }
    if characters.next_if_eq(&']').is_some() {
        translated.push_str(r"\]");
    }
    while let Some(character) = characters.next() {
        match character {
            ']' => return translated.push(']'),
            '\\' => translated.extend(std::iter::once('\\').chain(characters.next())),
            '[' if characters.peek() == Some(&':') => {
                translated.push('[');
                // Up to the `]` of `:]`.
                for inner in characters.by_ref() {
                    translated.push(inner);
                    if inner == ']' {
                        break;
                    }
                }
            }
            '[' => translated.push_str(r"\["),
            other => translated.push(other),
        }
    }
}
