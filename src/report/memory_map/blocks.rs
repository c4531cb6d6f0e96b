//! The pieces of a buffer as few rectangles.

use super::pieces::Piece;
use std::collections::BTreeMap;

/// Places on the picture, in half pixels: rectangles are merged if they agree to that.
pub type Grid = i64;

/// Pieces of the same height.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Band {
    /// From bottom to top: bytes grow upward, pixels downward.
    pub y: [Grid; 2],
    /// From left to right, sorted and apart.
    pub spans: Vec<[Grid; 2]>,
}

/// Bands from the first byte of the arena to the last, given where steps and bytes lie. The pieces may lie anywhere.
pub fn bands(pieces: &[Piece], x: impl Fn(usize) -> f64, y: impl Fn(usize) -> f64) -> Vec<Band> {
    let mut by_bytes: BTreeMap<(usize, usize), Vec<[Grid; 2]>> = BTreeMap::new();
    for piece in pieces {
        let spans = by_bytes.entry((piece.bytes.start, piece.bytes.end)).or_default();
        spans.push([grid(x(piece.steps[0])), grid(x(piece.steps[1] + 1))]);
    }
    let mut bands: Vec<Band> = Vec::new();
    for ((start, end), spans) in by_bytes {
        let y = [grid(y(start)), grid(y(end))];
        let spans = joined(spans);
        match bands.last_mut() {
            Some(last) if last.y[1] == y[0] && last.spans == spans => last.y[1] = y[1],
            Some(last) if last.y[1] == y[0] && y[0] == y[1] => {
                last.spans = joined([&last.spans[..], &spans].concat());
            }
            _ => bands.push(Band { y, spans }),
        }
    }
    // What is too small to see is drawn a pixel high, rather than not at all.
    for band in &mut bands {
        if band.y[0] == band.y[1] {
            band.y[1] -= 2;
        }
    }
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
        let mut top = first.y[0];
        for band in &bands[i..] {
            let Some(span) = widest(&band.spans).filter(|_| band.y[0] == top) else { break };
            top = band.y[1];
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

    fn piece(bytes: std::ops::Range<usize>, steps: [usize; 2]) -> Piece {
        Piece { bytes, steps }
    }

    fn bands_of(pieces: &[Piece]) -> Vec<Band> {
        bands(pieces, |step| step as f64, |byte| -(byte as f64))
    }

    #[test]
    fn pieces_that_lie_together_are_one_band() {
        let pieces = [piece(0..4, [0, 3]), piece(4..8, [0, 3]), piece(8..9, [1, 3])];
        assert_eq!(bands_of(&pieces), [band([0, -16], &[[0, 8]]), band([-16, -18], &[[2, 8]])]);
    }

    #[test]
    fn scattered_pieces_stay_apart() {
        let pieces = [piece(8..12, [0, 1]), piece(0..4, [0, 1]), piece(2..6, [5, 6])];
        let expected = [band([0, -8], &[[0, 4]]), band([-4, -12], &[[10, 14]]), band([-16, -24], &[[0, 4]])];
        assert_eq!(bands_of(&pieces), expected);
        assert_eq!(roomiest(&expected), Some([0.0, -4.0, 2.0, 0.0]));
    }

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
