//! The bytes of a buffer over time as few rectangles.

use mcunet_ir::loops::memory::Place;
use mcunet_passes::analysis::liveness::BufferLife;

/// Places on the picture, in half pixels: rectangles are merged if they agree to that.
pub type Grid = i64;

/// Slots that live at the same time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Band {
    /// From bottom to top: bytes grow upward, pixels downward.
    pub y: [Grid; 2],
    /// From left to right, sorted and apart.
    pub spans: Vec<[Grid; 2]>,
}

/// A buffer's bands from its first byte to its last, given where steps and bytes of the arena lie.
pub fn bands(
    life: &BufferLife,
    place: &Place,
    x: impl Fn(usize) -> f64,
    y: impl Fn(usize) -> f64,
) -> Vec<Band> {
    let mut bands: Vec<Band> = Vec::new();
    for (slot, lives) in life.slots.iter().enumerate() {
        let start = if life.scattered { place.offsets[slot] } else { place.start() + slot * life.slot_bytes };
        let y = [grid(y(start)), grid(y(start + life.bytes_of(slot)))];
        let spans = joined(lives.iter().map(|life| [grid(x(life[0])), grid(x(life[1] + 1))]).collect());
        match bands.last_mut() {
            Some(last) if last.spans == spans && last.y[1] == y[0] => last.y[1] = y[1],
            Some(last) if y[0] == y[1] && last.y[1] == y[0] => {
                last.spans = joined([&last.spans[..], &spans].concat())
            }
            _ => bands.push(Band { y, spans }),
        }
    }
    // What is too small to see is drawn a pixel high, rather than not at all.
    if let [only] = &mut bands[..] {
        only.y[1] = only.y[1].min(only.y[0] - 2);
    }
    bands
}

/// The rectangles as an SVG path.
pub fn path(bands: &[Band]) -> String {
    let mut path = String::new();
    for Band { y: [bottom, top], spans } in bands {
        for [left, right] in spans {
            let (width, height) = (pixels((right - left).max(1)), pixels(bottom - top));
            path += &format!("M{} {}h{width}v{height}h-{width}z", pixels(*left), pixels(*top));
        }
    }
    path
}

/// The rectangle inside the bands that has most room for a text: left, top, right, bottom in pixels.
pub fn roomiest(bands: &[Band]) -> Option<[f64; 4]> {
    let mut best: Option<(Grid, [Grid; 4])> = None;
    for (i, first) in bands.iter().enumerate() {
        let Some(mut room) = widest(&first.spans) else { continue };
        for band in &bands[i..] {
            let Some(span) = widest(&band.spans) else { break };
            room = [room[0].max(span[0]), room[1].min(span[1])];
            let area = (room[1] - room[0]).max(0) * (first.y[0] - band.y[1]);
            if best.is_none_or(|(most, _)| area > most) {
                best = Some((area, [room[0], band.y[1], room[1], first.y[0]]));
            }
        }
    }
    best.map(|(_, sides)| sides.map(pixels))
}

fn widest(spans: &[[Grid; 2]]) -> Option<[Grid; 2]> {
    spans.iter().copied().max_by_key(|span| span[1] - span[0])
}

fn joined(mut spans: Vec<[Grid; 2]>) -> Vec<[Grid; 2]> {
    spans.sort_unstable();
    let mut out: Vec<[Grid; 2]> = Vec::new();
    for span in spans {
        match out.last_mut() {
            Some(last) if span[0] <= last[1] => last[1] = last[1].max(span[1]),
            _ => out.push(span),
        }
    }
    out
}

fn grid(pixels: f64) -> Grid {
    (pixels * 2.0).round() as Grid
}

fn pixels(grid: Grid) -> f64 {
    grid as f64 / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn band(y: [Grid; 2], spans: &[[Grid; 2]]) -> Band {
        Band { y, spans: spans.to_vec() }
    }

    #[test]
    fn spans_that_touch_are_joined() {
        assert_eq!(joined(vec![[6, 8], [0, 2], [2, 4]]), [[0, 4], [6, 8]]);
    }

    #[test]
    fn rectangles_become_a_path() {
        assert_eq!(path(&[band([20, 10], &[[0, 4], [5, 6]])]), "M0 5h2v5h-2zM2.5 5h0.5v5h-0.5z");
    }

    #[test]
    fn texts_go_where_bands_have_room_together() {
        let stairs = [band([30, 20], &[[0, 40]]), band([20, 10], &[[10, 50]]), band([10, 8], &[[48, 50]])];
        assert_eq!(roomiest(&stairs), Some([5.0, 5.0, 20.0, 15.0]));
        assert_eq!(roomiest(&[]), None);
    }
}
