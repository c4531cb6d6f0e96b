//! Schedules: the order in which the stages of a cascade make their rows.
//!
//! A schedule names stages; each time a stage is named it makes its next row. It is written with its repetitions rolled
//! up, `"0x3 (1 0x2)x18 1"`: stage 0 three times, then 18 times a row of stage 1 and two of stage 0, then stage 1.

use crate::attr::{Attr, AttrError, AttrValue};
use std::fmt::Write;

/// Longest schedule that a text may unroll to: tens of times more than the rows of any network for a microcontroller.
const MAX_STEPS: usize = 1 << 22;

/// Longest block of steps whose repetition is looked for.
const MAX_BLOCK: usize = 256;

/// Stages in the order in which they make a row each.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Schedule(pub Vec<u16>);

impl Schedule {
    /// The steps: stage, and which of its rows it makes.
    pub fn steps(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let stages = self.0.iter().copied().max().map_or(0, |stage| usize::from(stage) + 1);
        let mut next = vec![0; stages];
        self.0.iter().map(move |&stage| {
            let stage = usize::from(stage);
            next[stage] += 1;
            (stage, next[stage] - 1)
        })
    }

    /// How many rows each of `stages` stages makes.
    pub fn row_counts(&self, stages: usize) -> Vec<usize> {
        let mut counts = vec![0; stages];
        for &stage in &self.0 {
            if let Some(count) = counts.get_mut(usize::from(stage)) {
                *count += 1;
            }
        }
        counts
    }
}

impl std::fmt::Display for Schedule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&rolled(&self.0))
    }
}

/// The text of some steps, with the longest repetitions from the left rolled up.
fn rolled(steps: &[u16]) -> String {
    let mut out = String::new();
    let mut at = 0;
    while at < steps.len() {
        let (length, count) = repetition(&steps[at..]);
        if !out.is_empty() {
            out.push(' ');
        }
        let block = &steps[at..at + length];
        let text = if length == 1 { block[0].to_string() } else { format!("({})", rolled(block)) };
        // Writing to a String cannot fail.
        let _ = match count {
            1 => write!(out, "{text}"),
            _ => write!(out, "{text}x{count}"),
        };
        at += length * count;
    }
    out
}

/// Length and count of the repetition at the start of `steps` that covers most; a single step if nothing repeats.
fn repetition(steps: &[u16]) -> (usize, usize) {
    let mut best = (1, 1);
    for length in 1..=MAX_BLOCK.min(steps.len() / 2) {
        let block = &steps[..length];
        let count = steps.chunks_exact(length).take_while(|chunk| *chunk == block).count();
        if count > 1 && length * count > best.0 * best.1 {
            best = (length, count);
        }
    }
    best
}

/// Reads what [`rolled`] writes; `None` if the text is no schedule or too long a one.
fn parse(text: &str) -> Option<Vec<u16>> {
    // Open groups, each with the steps before it.
    let mut outer: Vec<Vec<u16>> = Vec::new();
    let mut steps: Vec<u16> = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let block = match first {
            '(' => {
                outer.push(std::mem::take(&mut steps));
                rest = rest[1..].trim_start();
                continue;
            }
            ')' => {
                rest = &rest[1..];
                let before = outer.pop()?;
                std::mem::replace(&mut steps, before)
            }
            _ => {
                let (stage, after) = number(rest)?;
                rest = after;
                vec![u16::try_from(stage).ok()?]
            }
        };
        let mut count = 1;
        if let Some(after) = rest.strip_prefix('x') {
            (count, rest) = number(after)?;
        }
        if block.len().checked_mul(count)?.checked_add(steps.len())? > MAX_STEPS {
            return None;
        }
        for _ in 0..count {
            steps.extend_from_slice(&block);
        }
        rest = rest.trim_start();
    }
    outer.is_empty().then_some(steps)
}

/// The number at the start of a text, and what follows it.
fn number(text: &str) -> Option<(usize, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, &text[end..]))
}

impl AttrValue for Schedule {
    fn description() -> String {
        "a schedule such as \"0x3 (1 0x2)x18 1\"".to_owned()
    }

    fn to_attr(&self) -> Attr {
        Attr::Str(self.to_string().into())
    }

    fn from_attr(attr: &Attr) -> Result<Self, AttrError> {
        let expected = "a schedule such as \"0x3 (1 0x2)x18 1\"";
        match attr {
            Attr::Str(text) => parse(text)
                .map(Schedule)
                .ok_or_else(|| AttrError::Kind { expected, found: format!("\"{text}\"") }),
            other => Err(AttrError::Kind { expected, found: other.kind().to_owned() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(steps: &[u16], text: &str) {
        assert_eq!(rolled(steps), text);
        assert_eq!(parse(text).as_deref(), Some(steps), "{text}");
    }

    #[test]
    fn repetitions_are_rolled_up() {
        check(&[], "");
        check(&[3], "3");
        check(&[0, 0, 0, 1, 0, 0, 1, 0, 0, 1], "0x3 (1 0x2)x2 1");
        check(&[0, 1, 1, 0, 1, 1, 2, 0, 1, 1, 0, 1, 1, 2], "((0 1x2)x2 2)x2");
        check(&[0, 1, 2], "0 1 2");
    }

    #[test]
    fn broken_texts_are_refused() {
        for text in ["(0", "0)", "x2", "0x", "70000", "-1", "0 a", "(0x4000000)x2", "((0)x65536)x65536"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn steps_count_rows_per_stage() {
        let steps: Vec<_> = Schedule(vec![0, 0, 1, 0]).steps().collect();
        assert_eq!(steps, [(0, 0), (0, 1), (1, 0), (0, 2)]);
        assert_eq!(Schedule(vec![0, 0, 1, 0]).row_counts(2), [3, 1]);
    }
}
