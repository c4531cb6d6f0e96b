//! Figures and names as people read them.

/// Bytes as people read them: `21,372 B`.
pub fn bytes(count: usize) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text + " B"
}

/// How many of something there are, in words: `1 cascade`, `2 cascades`.
pub fn counted(count: usize, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}

/// A part of a whole in percent, `2.3 %`.
pub fn percent(part: usize, whole: usize) -> String {
    format!("{:.1} %", part as f64 * 100.0 / whole.max(1) as f64)
}

/// Layers from the first to the last: `layer 3`, `layers 3\u{2013}5`.
pub fn layers([first, last]: [usize; 2]) -> String {
    if first == last { format!("layer {first}") } else { format!("layers {first}\u{2013}{last}") }
}

/// Dimensions of a tensor: `1x32x32x3`; of a scalar, `scalar`.
pub fn shape(dimensions: &[usize]) -> String {
    match dimensions {
        [] => "scalar".to_owned(),
        _ => dimensions.iter().map(ToString::to_string).collect::<Vec<_>>().join("x"),
    }
}

/// The text without what XML cannot hold.
pub fn printable(content: &str) -> String {
    let holds = |c: char| c == '\n' || !(c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}'));
    content.chars().map(|c| if holds(c) { c } else { '\u{fffd}' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_separators() {
        assert_eq!([0, 999, 1000, 1_234_567].map(bytes), ["0 B", "999 B", "1,000 B", "1,234,567 B"]);
    }
}
