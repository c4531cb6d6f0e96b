//! Small constants as literals: `dense<[1, -2, 3]> : tensor<3xi8>`, MLIR's spelling, instead of a resource in hexadecimal.
//!
//! A literal is a resource without a name: the parser gives it one. Whoever reads a dump, or writes a test by hand,
//! should not have to decode bytes.

use super::type_name;
use super::types::print_float;
use crate::quant::F32;
use crate::tensor::Tensor;
use crate::types::{Scalar, TensorType};

/// Resources of at most this many elements print as literals where their data is printed.
pub(super) const MAX_ELEMENTS: usize = 16;

/// A tensor of any size as a literal: its elements, row-major, and its plain type.
pub fn print_tensor(tensor: &Tensor) -> String {
    let element = tensor.ty.storage();
    let ty = TensorType::plain(tensor.ty.shape.clone(), element);
    format!("dense<[{}]> : {}", print_elements(element, &tensor.data.to_bytes()), type_name(&ty.into()))
}

/// The elements of little-endian `bytes`, as the literal lists them.
pub(super) fn print_elements(element: Scalar, bytes: &[u8]) -> String {
    let elements: Vec<String> =
        bytes.chunks_exact(element.size_bytes()).map(|chunk| print_element(element, chunk)).collect();
    elements.join(", ")
}

fn print_element(element: Scalar, bytes: &[u8]) -> String {
    let mut raw = [0; 8];
    raw[..bytes.len()].copy_from_slice(bytes);
    let bits = u64::from_le_bytes(raw);
    match element {
        Scalar::I1 => (bits != 0).to_string(),
        Scalar::I2 | Scalar::I4 | Scalar::I8 => (bits as u8 as i8).to_string(),
        Scalar::I16 => (bits as u16 as i16).to_string(),
        Scalar::I32 => (bits as u32 as i32).to_string(),
        Scalar::I64 => (bits as i64).to_string(),
        Scalar::U8 | Scalar::U16 | Scalar::U32 | Scalar::U64 => bits.to_string(),
        Scalar::F32 => print_float(F32(f32::from_bits(bits as u32))),
    }
}

/// Appends the bytes of one element; `None` if the text is no value of the type.
pub(super) fn encode_element(element: Scalar, text: &str, bytes: &mut Vec<u8>) -> Option<()> {
    let (min, max) = match element {
        Scalar::F32 => {
            let value = match text.strip_prefix("0x") {
                Some(hex) => f32::from_bits(u32::from_str_radix(hex, 16).ok()?),
                None => text.parse().ok()?,
            };
            bytes.extend(value.to_le_bytes());
            return Some(());
        }
        // Its range ends at the greatest i64.
        Scalar::U64 => (0, u64::MAX.into()),
        integer => integer.integer_range().map(|(min, max)| (i128::from(min), i128::from(max)))?,
    };
    let value = match (element, text) {
        (Scalar::I1, "false") => 0,
        (Scalar::I1, "true") => 1,
        _ => text.parse::<i128>().ok()?,
    };
    (min..=max).contains(&value).then(|| bytes.extend(&value.to_le_bytes()[..element.size_bytes()]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(element: Scalar, items: &[&str]) {
        let mut bytes = Vec::new();
        for item in items {
            assert_eq!(encode_element(element, item, &mut bytes), Some(()), "{item}");
        }
        assert_eq!(print_elements(element, &bytes), items.join(", "));
    }

    #[test]
    fn every_type_reads_back() {
        check(Scalar::I1, &["true", "false"]);
        check(Scalar::I2, &["-2", "1"]);
        check(Scalar::I4, &["-8", "7"]);
        check(Scalar::I8, &["-128", "127"]);
        check(Scalar::I16, &["-32768", "32767"]);
        check(Scalar::I32, &["-2147483648", "2147483647"]);
        check(Scalar::I64, &["-9223372036854775808", "9223372036854775807"]);
        check(Scalar::U8, &["0", "255"]);
        check(Scalar::U16, &["65535"]);
        check(Scalar::U32, &["4294967295"]);
        check(Scalar::U64, &["18446744073709551615"]);
        check(Scalar::F32, &["0.1", "-1.0", "1.0e-7", "0x7F800000", "0xFFC00000"]);
    }

    #[test]
    fn values_out_of_range_are_refused() {
        for (element, text) in [
            (Scalar::I2, "2"),
            (Scalar::I4, "-9"),
            (Scalar::I8, "128"),
            (Scalar::U8, "-1"),
            (Scalar::I32, "1.5"),
            (Scalar::I1, "2"),
            (Scalar::F32, "x"),
        ] {
            assert_eq!(encode_element(element, text, &mut Vec::new()), None, "{text}");
        }
    }
}
