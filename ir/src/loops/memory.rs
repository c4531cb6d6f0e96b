//! Where buffers lie, and how constant data is laid out for the kernels that read it.

use crate::attr::{Attr, AttrError, AttrValue, ResourceRef};
use crate::types::Scalar;
use std::sync::Arc;

/// A byte range of a memory region: `#loop.place<"sram", 256, 32>`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Place {
    /// Name of the memory region in the target.
    pub region: Arc<str>,
    /// First byte, from the start of the region's arena.
    pub offset: usize,
    /// Length in bytes.
    pub bytes: usize,
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
}

impl PackLayout {
    /// Element type and count of the packed data.
    pub fn result(&self, sources: &[ResourceRef]) -> (Scalar, usize) {
        // A layout rearranges its first source, or makes one number per element of it.
        sources.first().map_or((Scalar::I8, 0), |first| (first.element, first.count))
    }

    fn parts(&self) -> (&'static str, Vec<i64>) {
        let int = |x: usize| i64::try_from(x).unwrap_or(i64::MAX);
        match *self {
            PackLayout::Verbatim => ("loop.verbatim", vec![]),
            PackLayout::Interleave { rows, columns, block } => {
                ("loop.interleave", vec![int(rows), int(columns), int(block)])
            }
            PackLayout::Transposed { rows, columns } => ("loop.transposed", vec![int(rows), int(columns)]),
            PackLayout::FoldedBias { columns, zero_point } => {
                ("loop.folded_bias", vec![int(columns), zero_point])
            }
        }
    }
}

impl AttrValue for PackLayout {
    fn description() -> String {
        "#loop.verbatim<>, #loop.interleave<rows, columns, block>, #loop.transposed<rows, columns> or \
         #loop.folded_bias<columns, zero_point>"
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
            "loop.transposed" => (PackLayout::Transposed { rows: size(0)?, columns: size(1)? }, 2),
            "loop.folded_bias" => {
                let zero_point = i64::from_attr(items.get(1).ok_or_else(error)?)?;
                (PackLayout::FoldedBias { columns: size(0)?, zero_point }, 2)
            }
            _ => return Err(error()),
        };
        if items.len() == arity { Ok(layout) } else { Err(error()) }
    }
}

impl AttrValue for Place {
    fn description() -> String {
        "#loop.place<region, offset, bytes>".to_owned()
    }

    fn to_attr(&self) -> Attr {
        Attr::Tuple(
            "loop.place".into(),
            vec![Attr::Str(self.region.clone()), self.offset.to_attr(), self.bytes.to_attr()],
        )
    }

    fn from_attr(attr: &Attr) -> Result<Self, AttrError> {
        match attr {
            Attr::Tuple(name, items) if &**name == "loop.place" && items.len() == 3 => Ok(Place {
                region: AttrValue::from_attr(&items[0])?,
                offset: AttrValue::from_attr(&items[1])?,
                bytes: AttrValue::from_attr(&items[2])?,
            }),
            other => Err(AttrError::Kind {
                expected: "#loop.place<region, offset, bytes>",
                found: other.kind().to_owned(),
            }),
        }
    }
}
