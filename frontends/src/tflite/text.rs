//! Strings of the `.tflite` format: UTF-8 by convention only.
//!
//! `schema.fbs` declares them as byte vectors so that a name in another encoding doesn't make a whole file unreadable. The price is
//! that the bindings would write them without the terminator that other readers check for; hence [`encode`].

use flatbuffers::{FlatBufferBuilder, Vector, WIPOffset};

/// Reads a string; what isn't UTF-8 becomes U+FFFD, and an absent string is empty.
pub fn decode(bytes: Option<Vector<'_, u8>>) -> String {
    bytes.map_or_else(String::new, |bytes| String::from_utf8_lossy(bytes.bytes()).into_owned())
}

/// Writes a string with its terminator, typed as the bindings want it.
pub fn encode<'a>(builder: &mut FlatBufferBuilder<'a>, text: &str) -> WIPOffset<Vector<'a, u8>> {
    WIPOffset::new(builder.create_string(text).value())
}
