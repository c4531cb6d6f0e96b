//! Attributes: the compile-time facts of an operation.
//!
//! An op's attributes are typed fields of its struct. [`Attr`] is the untyped form that the printer writes and the
//! parser reads; [`AttrValue`] converts between both. Everything is `Eq + Ord + Hash`, so that an op with its
//! attributes can be an e-node or a map key.

use crate::quant::F32;
use crate::types::Scalar;
use std::sync::Arc;

/// An attribute as it is written in the text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Attr {
    /// `true` or `false`.
    Bool(bool),
    /// `-5`.
    Int(i64),
    /// `0.5 : f32`; infinities and NaNs as `0x7F800000 : f32`.
    Float(F32),
    /// `"text"`.
    Str(Arc<str>),
    /// `[1, 2]`.
    Array(Vec<Attr>),
    /// `dense_resource<w3> : tensor<576xi8>`.
    Resource(ResourceRef),
    /// `#loop.place<"sram", 0, 256>`: a named tuple of a dialect.
    Tuple(Arc<str>, Vec<Attr>),
}

impl Attr {
    /// What kind of attribute it is, for diagnostics.
    pub fn kind(&self) -> &'static str {
        match self {
            Attr::Bool(_) => "a truth value",
            Attr::Int(_) => "an integer",
            Attr::Float(_) => "a float",
            Attr::Str(_) => "a string",
            Attr::Array(_) => "an array",
            Attr::Resource(_) => "a resource",
            Attr::Tuple(..) => "a dialect attribute",
        }
    }
}

/// A reference to constant data held by the module (see `Module::resources`).
///
/// The element type and count are repeated here so that a dump without data can still be typed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ResourceRef {
    /// Key in the module's table.
    pub name: Arc<str>,
    /// Type of the stored elements.
    pub element: Scalar,
    /// Number of elements.
    pub count: usize,
}

/// Why an attribute could not be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AttrError {
    /// The attribute has another kind.
    #[error("expected {expected}, got {found}")]
    Kind {
        /// What the field holds.
        expected: &'static str,
        /// What the text holds.
        found: String,
    },
    /// A required attribute is absent.
    #[error("expected attribute '{0}'")]
    Missing(&'static str),
    /// The op has no such attribute.
    #[error("unknown attribute '{name}'; the op has {known}")]
    Unknown {
        /// The attribute's name.
        name: String,
        /// Names the op knows.
        known: String,
    },
}

/// A Rust type that can be an attribute.
pub trait AttrValue: Sized {
    /// What the type holds, for the dialect reference and diagnostics.
    fn description() -> String;
    /// The untyped form.
    fn to_attr(&self) -> Attr;
    /// Reads the untyped form.
    ///
    /// # Errors
    /// [`AttrError::Kind`] if `attr` does not have the right kind or range.
    fn from_attr(attr: &Attr) -> Result<Self, AttrError>;
}

fn mismatch<T>(expected: &'static str, found: &Attr) -> Result<T, AttrError> {
    Err(AttrError::Kind { expected, found: found.kind().to_owned() })
}

macro_rules! integer_attrs {
    ($($ty:ty => $description:literal)*) => {$(
        impl AttrValue for $ty {
            fn description() -> String {
                $description.to_owned()
            }
            fn to_attr(&self) -> Attr {
                // usize and u32 values in attributes are dimensions, far below 2^63.
                Attr::Int(i64::try_from(*self).unwrap_or(i64::MAX))
            }
            fn from_attr(attr: &Attr) -> Result<Self, AttrError> {
                match attr {
                    Attr::Int(value) => <$ty>::try_from(*value).map_err(|_| AttrError::Kind {
                        expected: $description,
                        found: value.to_string(),
                    }),
                    other => mismatch($description, other),
                }
            }
        }
    )*};
}
integer_attrs! {
    i32 => "a 32-bit integer"
    i64 => "a 64-bit integer"
    u32 => "a non-negative 32-bit integer"
    usize => "a non-negative integer"
}

impl AttrValue for bool {
    fn description() -> String {
        "true or false".to_owned()
    }
    fn to_attr(&self) -> Attr {
        Attr::Bool(*self)
    }
    fn from_attr(attr: &Attr) -> Result<Self, AttrError> {
        match attr {
            Attr::Bool(value) => Ok(*value),
            other => mismatch("true or false", other),
        }
    }
}

impl AttrValue for F32 {
    fn description() -> String {
        "a float".to_owned()
    }
    fn to_attr(&self) -> Attr {
        Attr::Float(*self)
    }
    fn from_attr(attr: &Attr) -> Result<Self, AttrError> {
        match attr {
            Attr::Float(value) => Ok(*value),
            other => mismatch("a float", other),
        }
    }
}

impl AttrValue for Arc<str> {
    fn description() -> String {
        "a string".to_owned()
    }
    fn to_attr(&self) -> Attr {
        Attr::Str(self.clone())
    }
    fn from_attr(attr: &Attr) -> Result<Self, AttrError> {
        match attr {
            Attr::Str(value) => Ok(value.clone()),
            other => mismatch("a string", other),
        }
    }
}

impl AttrValue for ResourceRef {
    fn description() -> String {
        "a resource".to_owned()
    }
    fn to_attr(&self) -> Attr {
        Attr::Resource(self.clone())
    }
    fn from_attr(attr: &Attr) -> Result<Self, AttrError> {
        match attr {
            Attr::Resource(value) => Ok(value.clone()),
            other => mismatch("a resource", other),
        }
    }
}

impl<T: AttrValue> AttrValue for Vec<T> {
    fn description() -> String {
        format!("an array, each {}", T::description())
    }
    fn to_attr(&self) -> Attr {
        Attr::Array(self.iter().map(AttrValue::to_attr).collect())
    }
    fn from_attr(attr: &Attr) -> Result<Self, AttrError> {
        match attr {
            Attr::Array(items) => items.iter().map(T::from_attr).collect(),
            other => mismatch("an array", other),
        }
    }
}

impl<T: AttrValue + Clone, const N: usize> AttrValue for [T; N] {
    fn description() -> String {
        format!("an array of {N}, each {}", T::description())
    }
    fn to_attr(&self) -> Attr {
        Attr::Array(self.iter().map(AttrValue::to_attr).collect())
    }
    fn from_attr(attr: &Attr) -> Result<Self, AttrError> {
        let items = Vec::<T>::from_attr(attr)?;
        let found = items.len();
        items.try_into().map_err(|_| AttrError::Kind {
            expected: "an array of fixed length",
            found: format!("{found} items instead of {N}"),
        })
    }
}

/// A present value prints as itself; an absent one is left out because it is the default.
impl<T: AttrValue> AttrValue for Option<T> {
    fn description() -> String {
        format!("{} (optional)", T::description())
    }
    fn to_attr(&self) -> Attr {
        // Only reached when `None` is not the default, which the op table never declares.
        self.as_ref().map_or(Attr::Array(Vec::new()), AttrValue::to_attr)
    }
    fn from_attr(attr: &Attr) -> Result<Self, AttrError> {
        T::from_attr(attr).map(Some)
    }
}

/// A literal number of either kind.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Number {
    /// An integer.
    Int(i64),
    /// A float.
    Real(F32),
}

impl AttrValue for Number {
    fn description() -> String {
        "an integer or a float".to_owned()
    }
    fn to_attr(&self) -> Attr {
        match self {
            Number::Int(value) => Attr::Int(*value),
            Number::Real(value) => Attr::Float(*value),
        }
    }
    fn from_attr(attr: &Attr) -> Result<Self, AttrError> {
        match attr {
            Attr::Int(value) => Ok(Number::Int(*value)),
            Attr::Float(value) => Ok(Number::Real(*value)),
            other => mismatch("an integer or a float", other),
        }
    }
}

/// Limits of a fused activation, applied last: `[-128, 127]` in stored integers, or `[0.0 : f32, 6.0 : f32]`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Clamp {
    /// No limits but those of the storage type.
    #[default]
    None,
    /// Least and greatest stored integer.
    Int(i32, i32),
    /// Least and greatest real number; infinite where there is no limit.
    Real(F32, F32),
}

impl AttrValue for Clamp {
    fn description() -> String {
        "least and greatest result, both integers or both floats (optional)".to_owned()
    }
    fn to_attr(&self) -> Attr {
        match *self {
            Clamp::None => Attr::Array(Vec::new()),
            Clamp::Int(min, max) => Attr::Array(vec![Attr::Int(min.into()), Attr::Int(max.into())]),
            Clamp::Real(min, max) => Attr::Array(vec![Attr::Float(min), Attr::Float(max)]),
        }
    }
    fn from_attr(attr: &Attr) -> Result<Self, AttrError> {
        let expected = "two integers or two floats";
        let Attr::Array(items) = attr else {
            return mismatch(expected, attr);
        };
        match items.as_slice() {
            [] => Ok(Clamp::None),
            [min @ Attr::Int(_), max @ Attr::Int(_)] => {
                Ok(Clamp::Int(i32::from_attr(min)?, i32::from_attr(max)?))
            }
            [Attr::Float(min), Attr::Float(max)] => Ok(Clamp::Real(*min, *max)),
            _ => mismatch(expected, attr),
        }
    }
}

/// A function of an int8 number: its 256 values for -128 to 127. As text 512 hexadecimal digits, two for each value.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Table(pub Arc<[i8; 256]>);

impl Table {
    /// The value for `x`.
    pub fn of(&self, x: i8) -> i8 {
        self.0[(i32::from(x) + 128) as usize]
    }
}

impl From<[i8; 256]> for Table {
    fn from(values: [i8; 256]) -> Self {
        Self(Arc::new(values))
    }
}

impl AttrValue for Table {
    fn description() -> String {
        "a string of 512 hexadecimal digits, the values for -128 to 127".to_owned()
    }
    fn to_attr(&self) -> Attr {
        let digits: String = self.0.iter().map(|value| format!("{value:02x}")).collect();
        Attr::Str(digits.into())
    }
    fn from_attr(attr: &Attr) -> Result<Self, AttrError> {
        let expected = "512 hexadecimal digits";
        let Attr::Str(text) = attr else { return mismatch(expected, attr) };
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let value = |pair: &[u8]| Some((digit(*pair.first()?)? * 16 + digit(*pair.get(1)?)?) as u8 as i8);
        let values: Option<Vec<i8>> = text.as_bytes().chunks(2).map(value).collect();
        let values = values.and_then(|values| <[i8; 256]>::try_from(values).ok());
        let found = || format!("'{text}'");
        values.map(Table::from).ok_or_else(|| AttrError::Kind { expected, found: found() })
    }
}

/// Declares an enum whose attribute form is a string.
macro_rules! attr_enum {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident = $text:literal),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum $name { $($(#[$vmeta])* $variant),* }

        impl $name {
            /// The spelling in text.
            pub fn name(self) -> &'static str {
                match self { $($name::$variant => $text),* }
            }
        }

        impl $crate::attr::AttrValue for $name {
            fn description() -> String {
                let names: &[&str] = &[$(concat!("\"", $text, "\"")),*];
                format!("one of {}", names.join(", "))
            }
            fn to_attr(&self) -> $crate::attr::Attr {
                $crate::attr::Attr::Str(self.name().into())
            }
            fn from_attr(attr: &$crate::attr::Attr) -> Result<Self, $crate::attr::AttrError> {
                match attr {
                    $($crate::attr::Attr::Str(text) if &**text == $text => Ok($name::$variant),)*
                    $crate::attr::Attr::Str(text) => Err($crate::attr::AttrError::Kind {
                        expected: concat!("one of", $(" \"", $text, "\""),*),
                        found: format!("\"{text}\""),
                    }),
                    other => Err($crate::attr::AttrError::Kind {
                        expected: concat!("one of", $(" \"", $text, "\""),*),
                        found: other.kind().to_owned(),
                    }),
                }
            }
        }
    };
}
pub(crate) use attr_enum;
