//! Where buffers lie, and how constant data is laid out for the kernels that read it.

use super::packed::{interleaved_bytes, pack_interleaved, pack_paired, pack_rows, packed_bytes, row_bytes};
use super::{depthwise, matmul};
use crate::attr::{Attr, AttrError, AttrValue, ResourceRef};
use crate::tensor::Data;
use crate::types::Scalar;
use std::sync::Arc;

/// Where a buffer lies in a memory region: in one piece, `#loop.place<"sram", 256, 32>`, or row by row,
/// `#loop.place<"sram", [256, 512, 256], 32>`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Place {
    /// Name of the memory region in the target.
    pub region: Arc<str>,
    /// First byte of every piece, from the start of the region's arena.
    pub offsets: Vec<usize>,
    /// Length of a piece in bytes.
    pub bytes: usize,
}

impl Place {
    /// A place in one piece.
    pub fn whole(region: Arc<str>, offset: usize, bytes: usize) -> Self {
        Self { region, offsets: vec![offset], bytes }
    }

    /// First byte of the lowest piece.
    pub fn start(&self) -> usize {
        self.offsets.iter().min().copied().unwrap_or(0)
    }

    /// One past the last byte of the highest piece.
    pub fn end(&self) -> usize {
        self.offsets.iter().max().map_or(0, |offset| offset.saturating_add(self.bytes))
    }
}

/// How `loop.pack` computes data from its sources.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum PackLayout {
    /// The source as it is: `#loop.verbatim<>`.
    Verbatim,
    /// A filter of `rows` rows (output channels) of `columns` elements, in groups of `block` rows that are interleaved
    /// element by element; the last group may be smaller: `#loop.interleave<rows, columns, block>`.
    Interleave {
        /// Output channels.
        rows: usize,
        /// Elements per output channel.
        columns: usize,
        /// Rows of a group.
        block: usize,
    },
    /// As `Interleave`, but `run` neighbouring elements of a row stay together; `columns` is a multiple of `run`:
    /// `#loop.interleave_runs<rows, columns, block, run>`.
    InterleaveRuns {
        /// Output channels.
        rows: usize,
        /// Elements per output channel.
        columns: usize,
        /// Rows of a group.
        block: usize,
        /// Elements of a row that stay together.
        run: usize,
    },
    /// A filter for dual multiplies: rows in groups of `block` (even), columns in fours. Each four columns of two rows
    /// `a`, `b` are the words `a0 b0 a2 b2` and `a1 b1 a3 b3`, so that extending the even lanes of a word gives two
    /// elements of `a`, the odd ones two of `b`. Rows are filled up with zeros to whole groups:
    /// `#loop.paired<rows, columns, block>`.
    Paired {
        /// Output channels.
        rows: usize,
        /// Elements per output channel; a multiple of 4.
        columns: usize,
        /// Rows of a group; even.
        block: usize,
    },
    /// Rows of `columns` elements of `bits` bits, 4 or 2, each row in bytes of its own: `#loop.packed_rows<bits, columns>`.
    PackedRows {
        /// Bits of an element.
        bits: usize,
        /// Elements of a row.
        columns: usize,
    },
    /// As `Interleave` of elements of `bits` bits, 4 or 2; those of a column of a group are in bytes of their own:
    /// `#loop.packed_interleave<bits, rows, columns, block>`.
    PackedInterleave {
        /// Bits of an element.
        bits: usize,
        /// Output channels.
        rows: usize,
        /// Elements per output channel.
        columns: usize,
        /// Rows of a group.
        block: usize,
    },
    /// As `Paired` of elements of `bits` bits, 4 or 2, so that two or four words that follow one another share one: lane by
    /// lane, the first in the low bits. `block` is a multiple of their number:
    /// `#loop.packed_paired<bits, rows, columns, block>`.
    PackedPaired {
        /// Bits of an element.
        bits: usize,
        /// Output channels.
        rows: usize,
        /// Elements per output channel; a multiple of 4.
        columns: usize,
        /// Rows of a group.
        block: usize,
    },
    /// A depthwise filter of `rows` x `columns` taps x `channels`, channel by channel, of which words of four are read whose even
    /// and odd bytes are pairs of taps: `#loop.depthwise_words<rows, columns, channels, pitch>`. Rows begin `pitch` elements after
    /// each other. Filled up with zeros they are whole words; one directly after the other, their last words have taps of
    /// the next as well, and only the last row is filled up.
    DepthwiseWords {
        /// Rows of taps.
        rows: usize,
        /// Taps of a row.
        columns: usize,
        /// Channels, innermost in the source.
        channels: usize,
        /// From a row to the next, at least `columns` and at most whole words.
        pitch: usize,
    },
    /// What `loop.matmul` reads, as [`super::matmul::pack`] says. Sources are a filter of `columns` columns a row in runs of
    /// `run`, a bias, and multiplier and shift of each row: `#loop.matmul<columns, run, short_bias>`.
    Matmul {
        /// Elements per output channel.
        columns: usize,
        /// Elements that are widened together.
        run: usize,
        /// Whether biases have 16 bits.
        short_bias: bool,
    },
    /// What `loop.depthwise` reads, as [`super::depthwise::pack`] says. Sources are a filter of `rows` x `columns` taps x channels, a
    /// bias, and multiplier and shift of each channel: `#loop.depthwise<rows, columns, pitch, zero_point>`.
    Depthwise {
        /// Rows of taps.
        rows: usize,
        /// Taps of a row.
        columns: usize,
        /// Bytes from a row of taps to the next.
        pitch: usize,
        /// The input's zero point, unless it is subtracted from pixels; else 0.
        zero_point: i64,
    },
    /// Transposes a `rows` x `columns` matrix: `#loop.transposed<rows, columns>`.
    Transposed {
        /// Rows of the source.
        rows: usize,
        /// Columns of the source.
        columns: usize,
    },
    /// Sources are a bias (i32, one per row) and a filter (rows x columns): `bias - zero_point * sum(row)`, modulo 2^32:
    /// `#loop.folded_bias<columns, zero_point>`.
    FoldedBias {
        /// Elements per output channel.
        columns: usize,
        /// The input's zero point.
        zero_point: i64,
    },
    /// As `FoldedBias` for a depthwise filter, whose elements are taps x channels: `bias - zero_point * sum(column)`:
    /// `#loop.folded_depthwise_bias<zero_point>`.
    FoldedDepthwiseBias {
        /// The input's zero point.
        zero_point: i64,
    },
}

impl PackLayout {
    /// Element type and count of the packed data. Elements of sub-byte types are unpacked.
    pub fn result(&self, sources: &[ResourceRef]) -> (Scalar, usize) {
        let count = sources.first().map_or(0, |first| first.count);
        let packed = match *self {
            PackLayout::PackedRows { bits, columns } => Some(row_bytes(bits, count, columns)),
            PackLayout::PackedInterleave { bits, rows, columns, block } => {
                Some(interleaved_bytes(bits, rows, columns, block))
            }
            PackLayout::PackedPaired { bits, rows, columns, block } => {
                let elements = rows.checked_next_multiple_of(block.max(1)).unwrap_or(usize::MAX);
                Some(packed_bytes(bits, elements.saturating_mul(columns)))
            }
            _ => None,
        };
        if let Some(bytes) = packed {
            return (Scalar::I8, bytes);
        }
        // A layout rearranges its first source, or makes one number per element of it; some fill it up.
        if let PackLayout::Paired { rows, columns, block } = *self {
            let element = sources.first().map_or(Scalar::I8, |first| first.element.unpacked());
            return (element, rows.next_multiple_of(block.max(1)).saturating_mul(columns));
        }
        if let PackLayout::DepthwiseWords { rows, columns, channels, pitch } = *self {
            let element = sources.first().map_or(Scalar::I8, |first| first.element.unpacked());
            let row = columns.checked_next_multiple_of(4).unwrap_or(usize::MAX);
            let all = rows.saturating_mul(pitch).saturating_mul(channels);
            return (element, all.saturating_add(row.saturating_sub(pitch)));
        }
        if let PackLayout::Matmul { columns, run, short_bias } = *self {
            let pairs = (columns / run.max(1)).saturating_mul(matmul::pairs_of_run(run));
            let rows = sources.get(1).map_or(0, |bias| bias.count);
            return (Scalar::I32, matmul::packed_words(rows, pairs, short_bias));
        }
        if let PackLayout::Depthwise { rows, columns, pitch, .. } = *self {
            let channels = sources.get(1).map_or(0, |bias| bias.count);
            let taps = depthwise::Taps { rows, columns, pitch };
            return (Scalar::I32, taps.record_words().saturating_mul(channels));
        }
        sources.first().map_or((Scalar::I8, 0), |first| (first.element.unpacked(), first.count))
    }

    /// Computes the packed data. The interpreter and pack-weights both call this, so that a layout is defined once.
    ///
    /// # Errors
    /// If the sources don't have the sizes or types that the layout asks for.
    pub fn evaluate(&self, sources: &[Data]) -> Result<Data, String> {
        let expect = |count: usize| {
            if sources.len() == count {
                Ok(())
            } else {
                Err(format!("expected {count} sources, got {}", sources.len()))
            }
        };
        match *self {
            PackLayout::Verbatim => {
                expect(1)?;
                Ok(sources[0].clone())
            }
            PackLayout::Interleave { rows, columns, block } => {
                expect(1)?;
                expect_elements(&sources[0], rows, columns)?;
                Ok(sources[0].pick(interleaved(rows, columns, block.max(1), 1).into_iter()))
            }
            PackLayout::InterleaveRuns { rows, columns, block, run } => {
                expect(1)?;
                expect_elements(&sources[0], rows, columns)?;
                if run == 0 || !columns.is_multiple_of(run) {
                    return Err(format!("expected a multiple of {run} columns, got {columns}"));
                }
                Ok(sources[0].pick(interleaved(rows, columns, block.max(1), run).into_iter()))
            }
            PackLayout::Paired { rows, columns, block } => {
                expect(1)?;
                expect_elements(&sources[0], rows, columns)?;
                pair(&sources[0], rows, columns, block)
            }
            PackLayout::PackedRows { bits, columns } => {
                expect(1)?;
                pack_rows(&sources[0], bits, columns)
            }
            PackLayout::PackedInterleave { bits, rows, columns, block } => {
                expect(1)?;
                expect_elements(&sources[0], rows, columns)?;
                pack_interleaved(&sources[0], bits, [rows, columns, block])
            }
            PackLayout::PackedPaired { bits, rows, columns, block } => {
                expect(1)?;
                expect_elements(&sources[0], rows, columns)?;
                pack_paired(&sources[0], bits, [rows, columns, block])
            }
            PackLayout::DepthwiseWords { rows, columns, channels, pitch } => {
                expect(1)?;
                expect_elements(&sources[0], rows.saturating_mul(columns), channels)?;
                if !(columns..=columns.next_multiple_of(4)).contains(&pitch) {
                    return Err(format!(
                        "expected rows of {columns} taps, filled up to words at most, got {pitch}"
                    ));
                }
                fill_rows_of_taps(&sources[0], [rows, columns, channels], pitch)
            }
            PackLayout::Matmul { columns, run, short_bias } => {
                matmul::pack(sources, columns, run, short_bias)
            }
            PackLayout::Depthwise { rows, columns, pitch, zero_point } => {
                depthwise::pack(sources, depthwise::Taps { rows, columns, pitch }, zero_point)
            }
            PackLayout::Transposed { rows, columns } => {
                expect(1)?;
                expect_elements(&sources[0], rows, columns)?;
                Ok(sources[0]
                    .pick((0..columns).flat_map(|column| (0..rows).map(move |row| row * columns + column))))
            }
            PackLayout::FoldedBias { columns, zero_point } => {
                expect(2)?;
                fold_bias(&sources[0], &sources[1], columns, zero_point)
            }
            PackLayout::FoldedDepthwiseBias { zero_point } => {
                expect(2)?;
                let (channels, elements) = (sources[0].len(), sources[1].len());
                let taps = elements.checked_div(channels).unwrap_or(0);
                let transposed = PackLayout::Transposed { rows: taps, columns: channels };
                let filter = transposed.evaluate(&sources[1..])?;
                fold_bias(&sources[0], &filter, taps, zero_point)
            }
        }
    }

    fn parts(&self) -> (&'static str, Vec<i64>) {
        let int = |x: usize| i64::try_from(x).unwrap_or(i64::MAX);
        match *self {
            PackLayout::Verbatim => ("loop.verbatim", vec![]),
            PackLayout::Interleave { rows, columns, block } => {
                ("loop.interleave", vec![int(rows), int(columns), int(block)])
            }
            PackLayout::InterleaveRuns { rows, columns, block, run } => {
                ("loop.interleave_runs", vec![int(rows), int(columns), int(block), int(run)])
            }
            PackLayout::Paired { rows, columns, block } => {
                ("loop.paired", vec![int(rows), int(columns), int(block)])
            }
            PackLayout::PackedRows { bits, columns } => ("loop.packed_rows", vec![int(bits), int(columns)]),
            PackLayout::PackedInterleave { bits, rows, columns, block } => {
                ("loop.packed_interleave", vec![int(bits), int(rows), int(columns), int(block)])
            }
            PackLayout::PackedPaired { bits, rows, columns, block } => {
                ("loop.packed_paired", vec![int(bits), int(rows), int(columns), int(block)])
            }
            PackLayout::DepthwiseWords { rows, columns, channels, pitch } => {
                ("loop.depthwise_words", vec![int(rows), int(columns), int(channels), int(pitch)])
            }
            PackLayout::Matmul { columns, run, short_bias } => {
                ("loop.matmul", vec![int(columns), int(run), short_bias.into()])
            }
            PackLayout::Depthwise { rows, columns, pitch, zero_point } => {
                ("loop.depthwise", vec![int(rows), int(columns), int(pitch), zero_point])
            }
            PackLayout::Transposed { rows, columns } => ("loop.transposed", vec![int(rows), int(columns)]),
            PackLayout::FoldedBias { columns, zero_point } => {
                ("loop.folded_bias", vec![int(columns), zero_point])
            }
            PackLayout::FoldedDepthwiseBias { zero_point } => {
                ("loop.folded_depthwise_bias", vec![zero_point])
            }
        }
    }
}

fn expect_elements(data: &Data, rows: usize, columns: usize) -> Result<(), String> {
    if rows.checked_mul(columns) == Some(data.len()) {
        Ok(())
    } else {
        Err(format!("expected {rows}x{columns} elements, got {}", data.len()))
    }
}

/// Source positions in the order of the interleaved data: group by group, run of columns by run, row by row.
pub(super) fn interleaved(rows: usize, columns: usize, block: usize, run: usize) -> Vec<usize> {
    let mut order = Vec::with_capacity(rows * columns);
    for group in (0..rows).step_by(block) {
        for column in (0..columns).step_by(run) {
            for row in group..rows.min(group + block) {
                order.extend((0..run).map(|i| row * columns + column + i));
            }
        }
    }
    order
}

/// Position within a group's four columns of column `k` (0 to 3) of row `row`; see [`PackLayout::Paired`].
pub fn paired_position(row: usize, k: usize) -> usize {
    (row / 2) * 8 + (k % 2) * 4 + (k / 2) * 2 + row % 2
}

fn pair(data: &Data, rows: usize, columns: usize, block: usize) -> Result<Data, String> {
    if block == 0 || !block.is_multiple_of(2) || !columns.is_multiple_of(4) {
        return Err(format!("expected an even block and columns in fours, got {block} and {columns}"));
    }
    let source = data.to_i64s().ok_or("expected an integer filter, got floats")?;
    let mut paired = vec![0i64; rows.next_multiple_of(block) * columns];
    for row in 0..rows {
        for column in 0..columns {
            let four = (row / block) * columns / 4 + column / 4;
            let at = four * 4 * block + paired_position(row % block, column % 4);
            paired[at] = source[row * columns + column];
        }
    }
    Data::from_i64s(data.scalar(), paired).ok_or_else(|| "expected an integer filter, got floats".to_owned())
}

/// Pairs of a row of taps, less one of nothing but zeros; see [`PackLayout::DepthwiseWords`].
pub fn tap_pairs(columns: usize) -> usize {
    columns / 4 * 2 + (columns % 4).min(2)
}

/// Which pair of its row a tap is in, and whether it is the second of the two; see [`PackLayout::DepthwiseWords`].
pub fn tap_place(column: usize) -> (usize, bool) {
    (column / 4 * 2 + column % 2, column % 4 >= 2)
}

fn fill_rows_of_taps(
    data: &Data,
    [rows, columns, channels]: [usize; 3],
    pitch: usize,
) -> Result<Data, String> {
    let source = data.to_i64s().ok_or("expected an integer filter, got floats")?;
    let filled = columns.next_multiple_of(4);
    let mut words = vec![0i64; channels * rows * pitch + filled - pitch];
    for (at, &weight) in source.iter().enumerate() {
        let (tap, channel) = (at / channels, at % channels);
        words[(channel * rows + tap / columns) * pitch + tap % columns] = weight;
    }
    Data::from_i64s(data.scalar(), words).ok_or_else(|| "expected an integer filter, got floats".to_owned())
}

/// `bias - zero_point * sum(row)` per row, modulo 2^32: what the accumulator starts with when the kernel multiplies raw
/// inputs. Source: Jacob et al. 2018, section 2.3.
fn fold_bias(bias: &Data, filter: &Data, columns: usize, zero_point: i64) -> Result<Data, String> {
    let (Data::I32(bias), Some(filter)) = (bias, filter.to_i64s()) else {
        return Err("expected an i32 bias and an integer filter".to_owned());
    };
    if bias.len().checked_mul(columns) != Some(filter.len()) {
        return Err(format!("expected {}x{columns} filter elements, got {}", bias.len(), filter.len()));
    }
    let sum = |row: usize| filter[row * columns..][..columns].iter().sum::<i64>();
    let folded = bias
        .iter()
        .enumerate()
        .map(|(row, &bias)| i64::from(bias).wrapping_sub(zero_point.wrapping_mul(sum(row))) as i32);
    Ok(Data::I32(folded.collect()))
}

impl AttrValue for PackLayout {
    fn description() -> String {
        "#loop.verbatim<>, #loop.interleave<rows, columns, block>, #loop.interleave_runs<rows, columns, block, run>, \
         #loop.paired<rows, columns, block>, #loop.packed_rows<bits, columns>, #loop.depthwise_words<rows, columns, channels>, \
         #loop.packed_interleave<bits, rows, columns, block>, #loop.packed_paired<bits, rows, columns, block>, \
         #loop.matmul<columns, run, zero_point>, #loop.depthwise<rows, columns, pitch, zero_point>, #loop.transposed<rows, columns>, #loop.folded_bias<columns, zero_point> or \
         #loop.folded_depthwise_bias<zero_point>"
            .to_owned()
    }

    fn to_attr(&self) -> Attr {
        let (name, numbers) = self.parts();
        Attr::Tuple(name.into(), numbers.into_iter().map(Attr::Int).collect())
    }

    fn from_attr(attr: &Attr) -> Result<Self, AttrError> {
        let error = || AttrError::Kind { expected: "a pack layout", found: attr.kind().to_owned() };
        let Attr::Tuple(name, items) = attr else {
            return Err(error());
        };
        let size = |i: usize| items.get(i).ok_or_else(error).and_then(usize::from_attr);
        let (layout, arity) = match &**name {
            "loop.verbatim" => (PackLayout::Verbatim, 0),
            "loop.interleave" => {
                (PackLayout::Interleave { rows: size(0)?, columns: size(1)?, block: size(2)? }, 3)
            }
            "loop.interleave_runs" => {
                let (rows, columns) = (size(0)?, size(1)?);
                (PackLayout::InterleaveRuns { rows, columns, block: size(2)?, run: size(3)? }, 4)
            }
            "loop.paired" => (PackLayout::Paired { rows: size(0)?, columns: size(1)?, block: size(2)? }, 3),
            "loop.packed_rows" => (PackLayout::PackedRows { bits: size(0)?, columns: size(1)? }, 2),
            "loop.packed_interleave" => {
                let (bits, rows) = (size(0)?, size(1)?);
                (PackLayout::PackedInterleave { bits, rows, columns: size(2)?, block: size(3)? }, 4)
            }
            "loop.packed_paired" => {
                let (bits, rows) = (size(0)?, size(1)?);
                (PackLayout::PackedPaired { bits, rows, columns: size(2)?, block: size(3)? }, 4)
            }
            "loop.depthwise_words" => {
                let (rows, columns) = (size(0)?, size(1)?);
                (PackLayout::DepthwiseWords { rows, columns, channels: size(2)?, pitch: size(3)? }, 4)
            }
            "loop.matmul" => {
                let short_bias = match size(2)? {
                    flag @ 0..=1 => flag == 1,
                    _ => return Err(error()),
                };
                (PackLayout::Matmul { columns: size(0)?, run: size(1)?, short_bias }, 3)
            }
            "loop.depthwise" => {
                let zero_point = i64::from_attr(items.get(3).ok_or_else(error)?)?;
                (PackLayout::Depthwise { rows: size(0)?, columns: size(1)?, pitch: size(2)?, zero_point }, 4)
            }
            "loop.transposed" => (PackLayout::Transposed { rows: size(0)?, columns: size(1)? }, 2),
            "loop.folded_bias" => {
                let zero_point = i64::from_attr(items.get(1).ok_or_else(error)?)?;
                (PackLayout::FoldedBias { columns: size(0)?, zero_point }, 2)
            }
            "loop.folded_depthwise_bias" => {
                let zero_point = i64::from_attr(items.first().ok_or_else(error)?)?;
                (PackLayout::FoldedDepthwiseBias { zero_point }, 1)
            }
            _ => return Err(error()),
        };
        if items.len() == arity { Ok(layout) } else { Err(error()) }
    }
}

impl AttrValue for Place {
    fn description() -> String {
        "`#loop.place<region, offset, bytes>`, or a list of offsets, one per row".to_owned()
    }

    fn to_attr(&self) -> Attr {
        let offsets = match self.offsets[..] {
            [offset] => offset.to_attr(),
            _ => self.offsets.to_attr(),
        };
        Attr::Tuple("loop.place".into(), vec![Attr::Str(self.region.clone()), offsets, self.bytes.to_attr()])
    }

    fn from_attr(attr: &Attr) -> Result<Self, AttrError> {
        match attr {
            Attr::Tuple(name, items) if &**name == "loop.place" && items.len() == 3 => Ok(Place {
                region: AttrValue::from_attr(&items[0])?,
                offsets: match &items[1] {
                    list @ Attr::Array(_) => AttrValue::from_attr(list)?,
                    offset => vec![AttrValue::from_attr(offset)?],
                },
                bytes: AttrValue::from_attr(&items[2])?,
            }),
            other => Err(AttrError::Kind {
                expected: "#loop.place<region, offsets, bytes>",
                found: other.kind().to_owned(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pack(layout: PackLayout, sources: &[Data]) -> Result<Data, String> {
        assert_eq!(PackLayout::from_attr(&layout.to_attr()), Ok(layout.clone()));
        layout.evaluate(sources)
    }

    #[test]
    fn interleaving_keeps_runs_together() {
        let rows = Data::I8((0..24).collect()); // 3 rows of 8
        let layout = |run| PackLayout::InterleaveRuns { rows: 3, columns: 8, block: 2, run };
        let expected = [0, 1, 2, 3, 8, 9, 10, 11, 4, 5, 6, 7, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23];
        assert_eq!(pack(layout(4), std::slice::from_ref(&rows)), Ok(Data::I8(expected.to_vec())));
        let single = PackLayout::Interleave { rows: 3, columns: 8, block: 2 };
        assert_eq!(pack(layout(1), std::slice::from_ref(&rows)), pack(single, std::slice::from_ref(&rows)));
        assert!(pack(layout(3), &[rows]).is_err());
    }

    #[test]
    fn rows_of_taps_are_filled_to_words() {
        // Two channels of one row of five taps.
        let filter = Data::I8(vec![1, -1, 2, -2, 3, -3, 4, -4, 5, -5]);
        let layout = |rows, pitch| PackLayout::DepthwiseWords { rows, columns: 5, channels: 2, pitch };
        assert_eq!(layout(1, 8).result(&[]), (Scalar::I8, 16));
        let expected = vec![1, 2, 3, 4, 5, 0, 0, 0, -1, -2, -3, -4, -5, 0, 0, 0];
        assert_eq!(pack(layout(1, 8), std::slice::from_ref(&filter)), Ok(Data::I8(expected)));
        assert_eq!(layout(1, 5).result(&[]), (Scalar::I8, 13));
        let expected = vec![1, 2, 3, 4, 5, -1, -2, -3, -4, -5, 0, 0, 0];
        assert_eq!(pack(layout(1, 5), std::slice::from_ref(&filter)), Ok(Data::I8(expected)));
        assert!(pack(layout(1, 4), std::slice::from_ref(&filter)).is_err());
        assert!(pack(layout(1, 9), &[filter]).is_err());
        assert!(pack(layout(2, 8), &[]).is_err());
        // A row's pairs are the even and the odd bytes of its words.
        assert_eq!(
            [0, 1, 2, 3, 4].map(tap_place),
            [(0, false), (1, false), (0, true), (1, true), (2, false)]
        );
        assert_eq!(tap_pairs(5), 3);
    }

    #[test]
    fn depthwise_bias_folds_columns() {
        let sources = [Data::I32(vec![100, 200]), Data::I8(vec![1, 2, 3, 4, 5, -6])];
        let layout = PackLayout::FoldedDepthwiseBias { zero_point: -10 };
        assert_eq!(pack(layout, &sources), Ok(Data::I32(vec![190, 200])));
    }
}
