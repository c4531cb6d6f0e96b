//! `define_ops!`: one declaration per operation.
//!
//! From a row of the table come the op's struct with its attributes, the variant of the dialect's enum, operand and
//! result accessors, conversion from and to text attributes, the facts that the printer, parser and structural
//! verifier read ([`OpSpec`]), and the row of the dialect's reference page. Semantics are traits that the dialect
//! demands of every struct, so that a forgotten one is a compile error.

use crate::attr::{Attr, AttrError, AttrValue};
use crate::types::Constraint;

/// A property of an op that generic code may rely on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trait {
    /// No side effects: may be removed when unused, folded, and shared.
    Pure,
    /// Element `i` of the result depends on element `i` of the operands only (broadcasting aside).
    Elementwise,
    /// The result is a regrouping of the first operand's elements in the same order: no data moves.
    Alias,
    /// The result is the first operand with some of its elements replaced, so that it may be made in that one's memory.
    Updates,
    /// Ends a block.
    Terminator,
    /// Reads memory.
    Reads,
    /// Writes memory.
    Writes,
    /// An integer operation with a single-cycle or multiply instruction of its own on DSP cores.
    Dsp,
}

/// One operand or result of an op.
#[derive(Clone, Copy, Debug)]
pub struct ValueSpec {
    /// Its name.
    pub name: &'static str,
    /// What it must be.
    pub constraint: Constraint,
    /// Whether it stands for any number of values; only the last may.
    pub variadic: bool,
}

/// One attribute of an op.
#[derive(Clone, Copy, Debug)]
pub struct AttrSpec {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub description: fn() -> String,
    /// Its default as source text; `None` if it must be given.
    pub default: Option<&'static str>,
}

/// Everything about an op that generic code needs.
#[derive(Clone, Copy, Debug)]
pub struct OpSpec {
    /// `dialect.op`.
    pub name: &'static str,
    /// Doc comment, one string per line.
    pub doc: &'static [&'static str],
    /// Operands in order.
    pub operands: &'static [ValueSpec],
    /// Results in order.
    pub results: &'static [ValueSpec],
    /// Attributes in the order of declaration.
    pub attrs: &'static [AttrSpec],
    /// Number of regions.
    pub regions: usize,
    /// Properties.
    pub traits: &'static [Trait],
}

impl OpSpec {
    /// Whether the op has a property.
    pub fn has(&self, wanted: Trait) -> bool {
        self.traits.contains(&wanted)
    }

    /// Position of a named operand; for a variadic one, of its first value.
    ///
    /// # Panics
    /// If the op declares no such operand, which the accessors generated from the same row cannot ask for.
    pub const fn operand_index(&self, name: &str) -> usize {
        index_of(self.operands, name)
    }

    /// The Markdown section of the op in its dialect's reference page.
    pub fn reference(&self) -> String {
        let mut out = format!("### `{}`\n\n", self.name);
        for line in self.doc {
            out.push_str(line.trim());
            out.push('\n');
        }
        let values = |title: &str, specs: &[ValueSpec], out: &mut String| {
            if !specs.is_empty() {
                out.push_str(&format!("\n| {title} | type |\n|---|---|\n"));
            }
            for spec in specs {
                let many = if spec.variadic { "any number, each " } else { "" };
                out.push_str(&format!("| `{}` | {many}{} |\n", spec.name, spec.constraint.description()));
            }
        };
        values("operand", self.operands, &mut out);
        if !self.attrs.is_empty() {
            out.push_str("\n| attribute | value | default |\n|---|---|---|\n");
        }
        for attr in self.attrs {
            let default = attr.default.map_or("required".to_owned(), |text| format!("`{text}`"));
            out.push_str(&format!("| `{}` | {} | {default} |\n", attr.name, (attr.description)()));
        }
        values("result", self.results, &mut out);
        if self.regions > 0 {
            out.push_str(&format!("\nRegions: {}.\n", self.regions));
        }
        if !self.traits.is_empty() {
            let names: Vec<String> = self.traits.iter().map(|t| format!("{t:?}")).collect();
            out.push_str(&format!("\nTraits: {}.\n", names.join(", ")));
        }
        out.push('\n');
        out
    }
}

const fn index_of(specs: &[ValueSpec], name: &str) -> usize {
    let mut i = 0;
    while i < specs.len() {
        if same(specs[i].name.as_bytes(), name.as_bytes()) {
            return i;
        }
        i += 1;
    }
    panic!("the op declares no such value")
}

const fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut i = 0;
    while i < a.len() {
        if a[i] != b[i] {
            return false;
        }
        i += 1;
    }
    true
}

/// What every op struct provides; implemented by `define_ops!`.
pub trait OpInfo: Sized {
    /// The op's row of the table.
    const SPEC: OpSpec;
    /// Attributes that differ from their default, sorted by name.
    fn attrs(&self) -> Vec<(&'static str, Attr)>;
    /// Builds the op from text attributes.
    ///
    /// # Errors
    /// One error per missing, unknown or ill-typed attribute.
    fn from_attrs(attrs: &[(String, Attr)]) -> Result<Self, Vec<(String, AttrError)>>;
}

/// Reads one attribute for `from_attrs`, recording an error instead of failing at the first.
pub(crate) fn read_attr<T: AttrValue>(
    attrs: &[(String, Attr)],
    name: &'static str,
    default: Option<T>,
    errors: &mut Vec<(String, AttrError)>,
) -> Option<T> {
    match attrs.iter().find(|(key, _)| key == name) {
        Some((_, attr)) => T::from_attr(attr).map_err(|error| errors.push((name.to_owned(), error))).ok(),
        None => {
            if default.is_none() {
                errors.push((name.to_owned(), AttrError::Missing(name)));
            }
            default
        }
    }
}

/// Records attributes that the op does not declare.
pub(crate) fn report_unknown_attrs(
    attrs: &[(String, Attr)],
    specs: &[AttrSpec],
    errors: &mut Vec<(String, AttrError)>,
) {
    for (name, _) in attrs {
        if !specs.iter().any(|spec| spec.name == name) {
            let names: Vec<&str> = specs.iter().map(|spec| spec.name).collect();
            let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            errors.push((name.clone(), AttrError::Unknown { name: name.clone(), known }));
        }
    }
}

/// Declares a dialect: see the module documentation and `nn/ops.rs` for the form of a row.
macro_rules! define_ops {
    (
        $(#[$enum_meta:meta])* dialect $dialect:literal enum $Enum:ident requires $Semantics:path;
        $(
            $(#[doc = $doc:literal])*
            $Op:ident = $name:literal {
                $(operands { $($operand:ident : $okind:tt),* $(,)? })?
                $(attrs { $($(#[doc = $adoc:literal])* $attr:ident : $aty:ty $(= $adefault:expr)?),* $(,)? })?
                $(results { $($result:ident : $rkind:tt),* $(,)? })?
                $(regions $regions:literal)?
                $(traits [$($trait:ident),* $(,)?])?
            }
        )*
    ) => {
        $(
            $(#[doc = $doc])*
            #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
            pub struct $Op { $($($(#[doc = $adoc])* #[allow(missing_docs)] pub $attr: $aty),*)? }

            impl $crate::define::OpInfo for $Op {
                const SPEC: $crate::define::OpSpec = $crate::define::OpSpec {
                    name: $name,
                    doc: &[$($doc),*],
                    operands: &[$($($crate::define::value_spec!($operand, $okind)),*)?],
                    results: &[$($($crate::define::value_spec!($result, $rkind)),*)?],
                    attrs: &[$($($crate::define::AttrSpec {
                        name: stringify!($attr),
                        description: <$aty as $crate::attr::AttrValue>::description,
                        default: $crate::define::default_text!($($adefault)?),
                    }),*)?],
                    regions: 0 $(+ $regions)?,
                    traits: &[$($($crate::define::Trait::$trait),*)?],
                };

                fn attrs(&self) -> Vec<(&'static str, $crate::attr::Attr)> {
                    #[allow(unused_mut)]
                    let mut attrs: Vec<(&'static str, $crate::attr::Attr)> = Vec::new();
                    $($(
                        let default: Option<$aty> = $crate::define::default_value!($($adefault)?);
                        if default.as_ref() != Some(&self.$attr) {
                            attrs.push((stringify!($attr), $crate::attr::AttrValue::to_attr(&self.$attr)));
                        }
                    )*)?
                    attrs.sort_by_key(|(name, _)| *name);
                    attrs
                }

                fn from_attrs(
                    attrs: &[(String, $crate::attr::Attr)],
                ) -> Result<Self, Vec<(String, $crate::attr::AttrError)>> {
                    #[allow(unused_mut)]
                    let mut errors = Vec::new();
                    $($(
                        let $attr: Option<$aty> = $crate::define::read_attr(
                            attrs,
                            stringify!($attr),
                            $crate::define::default_value!($($adefault)?),
                            &mut errors,
                        );
                    )*)?
                    $crate::define::report_unknown_attrs(attrs, Self::SPEC.attrs, &mut errors);
                    $($(let Some($attr) = $attr else { return Err(errors) };)*)?
                    if errors.is_empty() { Ok(Self { $($($attr),*)? }) } else { Err(errors) }
                }
            }

            impl $Op {
                $($($crate::define::operand_accessor!($operand, $okind);)*)?
            }
        )*

        $(#[$enum_meta])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[allow(clippy::large_enum_variant)]
        pub enum $Enum { $($(#[doc = $doc])* $Op($Op)),* }

        impl $Enum {
            /// The dialect's name.
            pub const DIALECT: &'static str = $dialect;

            /// Every op of the dialect, in the order of the table.
            pub const SPECS: &'static [$crate::define::OpSpec] =
                &[$(<$Op as $crate::define::OpInfo>::SPEC),*];

            /// The op's row of the table.
            pub fn spec(&self) -> &'static $crate::define::OpSpec {
                match self { $($Enum::$Op(_) => {
                    const SPEC: &$crate::define::OpSpec = &<$Op as $crate::define::OpInfo>::SPEC;
                    SPEC
                }),* }
            }

            /// Attributes that differ from their default, sorted by name.
            pub fn attrs(&self) -> Vec<(&'static str, $crate::attr::Attr)> {
                match self { $($Enum::$Op(op) => $crate::define::OpInfo::attrs(op)),* }
            }

            /// Builds the op called `name` from text attributes; `None` if the dialect has no such op.
            ///
            /// # Errors
            /// One error per missing, unknown or ill-typed attribute.
            #[allow(clippy::type_complexity)]
            pub fn from_text(
                name: &str,
                attrs: &[(String, $crate::attr::Attr)],
            ) -> Option<Result<Self, Vec<(String, $crate::attr::AttrError)>>> {
                match name {
                    $($name => Some(<$Op as $crate::define::OpInfo>::from_attrs(attrs).map($Enum::$Op)),)*
                    _ => None,
                }
            }

            /// The semantics of the op.
            pub fn semantics(&self) -> &dyn $Semantics {
                match self { $($Enum::$Op(op) => op),* }
            }
        }

        $(
            impl From<$Op> for $Enum {
                fn from(op: $Op) -> Self {
                    $Enum::$Op(op)
                }
            }
            impl From<$Op> for $crate::module::OpKind {
                fn from(op: $Op) -> Self {
                    $crate::module::OpKind::from($Enum::$Op(op))
                }
            }
        )*
    };
}
pub(crate) use define_ops;

macro_rules! value_spec {
    ($name:ident, [$kind:ident]) => {
        $crate::define::ValueSpec {
            name: stringify!($name),
            constraint: $crate::types::Constraint::$kind,
            variadic: true,
        }
    };
    ($name:ident, $kind:ident) => {
        $crate::define::ValueSpec {
            name: stringify!($name),
            constraint: $crate::types::Constraint::$kind,
            variadic: false,
        }
    };
}
pub(crate) use value_spec;

macro_rules! operand_accessor {
    ($name:ident, [$kind:ident]) => {
        /// The operands of this name, out of all operands of the op.
        pub fn $name<T>(operands: &[T]) -> &[T] {
            let first = const { <Self as $crate::define::OpInfo>::SPEC.operand_index(stringify!($name)) };
            operands.get(first..).unwrap_or(&[])
        }
    };
    ($name:ident, $kind:ident) => {
        /// The operand of this name, out of all operands of a verified op.
        pub fn $name<T: Clone>(operands: &[T]) -> T {
            let index = const { <Self as $crate::define::OpInfo>::SPEC.operand_index(stringify!($name)) };
            operands[index].clone()
        }
    };
}
pub(crate) use operand_accessor;

macro_rules! default_text {
    () => {
        None
    };
    ($default:expr) => {
        Some(stringify!($default))
    };
}
pub(crate) use default_text;

macro_rules! default_value {
    () => {
        None
    };
    ($default:expr) => {
        Some($default)
    };
}
pub(crate) use default_value;
