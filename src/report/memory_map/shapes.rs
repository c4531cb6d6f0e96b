//! Shapes and texts of a picture.

use crate::report::words::printable;
use svg::node::element::{Group, Line, Rectangle, Text, Title};

/// Which end of a text is at its place.
#[derive(Clone, Copy)]
pub enum Anchor {
    Start,
    Middle,
    End,
}

impl Anchor {
    /// The name in SVG.
    pub fn name(self) -> &'static str {
        match self {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        }
    }
}

/// A filled rectangle.
pub fn rectangle(x: f64, y: f64, width: f64, height: f64, fill: &str) -> Rectangle {
    let [x, y, width, height] = [x, y, width, height].map(tenths);
    Rectangle::new().set("x", x).set("y", y).set("width", width).set("height", height).set("fill", fill)
}

/// A line between two points.
pub fn line(from: [f64; 2], to: [f64; 2], color: &str) -> Line {
    let ([x1, y1], [x2, y2]) = (from.map(tenths), to.map(tenths));
    Line::new().set("x1", x1).set("y1", y1).set("x2", x2).set("y2", y2).set("stroke", color)
}

/// A text that starts at a point of its base line.
pub fn text(x: f64, y: f64, content: &str) -> Text {
    Text::new(printable(content)).set("x", tenths(x)).set("y", tenths(y))
}

/// A text that hangs down from a point, to be read from below.
pub fn turned(x: f64, y: f64, content: &str) -> Text {
    let (x, y) = (tenths(x), tenths(y));
    let turn = format!("rotate(-90 {x} {y})");
    text(x, y, content).set("text-anchor", Anchor::End.name()).set("transform", turn)
}

/// What a viewer shows under the pointer.
pub fn tooltip(content: &str) -> Title {
    Title::new(printable(content))
}

/// Adds the first text that fits the width, centred at a point.
pub fn marked(contents: &[String], x: f64, y: f64, width: f64, group: Group) -> Group {
    match contents.iter().find(|content| fitted(content, width, 5.2) == **content) {
        Some(content) => {
            group.add(text(x, y, content).set("font-size", 9.5).set("text-anchor", Anchor::Middle.name()))
        }
        None => group,
    }
}

/// A text shortened to a width in pixels, given the width of a letter.
pub fn fitted(content: &str, width: f64, letter: f64) -> String {
    let room = (width / letter).max(0.0) as usize;
    if content.chars().count() <= room {
        return content.to_owned();
    }
    let mut short: String = content.chars().take(room.saturating_sub(1)).collect();
    short.push('\u{2026}');
    short
}

/// A tenth of a pixel is as fine as anyone sees.
fn tenths(pixels: f64) -> f64 {
    (pixels * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_shortened_to_fit() {
        assert_eq!(fitted("depthwise", 50.0, 5.0), "depthwise");
        assert_eq!(fitted("depthwise", 30.0, 5.0), "depth\u{2026}");
    }

    #[test]
    fn names_from_models_stay_valid_xml() {
        let text = text(0.0, 0.0, "a<b>&\"\u{1}\u{ffff}").to_string();
        assert!(text.contains("a&lt;b&gt;&amp;\"\u{fffd}\u{fffd}"), "{text}");
    }
}
