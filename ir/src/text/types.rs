//! Types and attributes as text.

use crate::attr::{Attr, ResourceRef};
use crate::quant::{Affine, F32, Granularity, QuantType};
use crate::types::{Element, MemRefType, Packed, Shape, TensorType, Type};
use std::fmt::Write;

/// The spelling of a type.
pub fn print_type(ty: &Type) -> String {
    match ty {
        Type::Tensor(tensor) => print_tensor(tensor),
        Type::MemRef(memref) => print_memref(memref),
        Type::Scalar(scalar) => scalar.name().to_owned(),
        Type::Packed(Packed::I16x2) => "vector<2xi16>".to_owned(),
        Type::Packed(Packed::I8x4) => "vector<4xi8>".to_owned(),
    }
}

fn dims(shape: &Shape) -> String {
    shape.iter().map(|dim| format!("{dim}x")).collect()
}

fn print_tensor(tensor: &TensorType) -> String {
    let element = match &tensor.element {
        Element::Plain(scalar) => scalar.name().to_owned(),
        Element::Quant(quant) => print_quant(quant),
    };
    format!("tensor<{}{element}>", dims(&tensor.shape))
}

fn print_memref(memref: &MemRefType) -> String {
    format!("memref<{}{}>", dims(&memref.shape), memref.element.name())
}

/// MLIR's spelling. The dialect names unsigned storage `u8`, not `ui8`.
fn print_quant(quant: &QuantType) -> String {
    let storage = quant.storage.name().replace("ui", "u");
    let mut out = format!("!quant.uniform<{storage}");
    if quant.storage.integer_range() != Some((quant.min, quant.max)) {
        let _ = write!(out, "<{}:{}>", quant.min, quant.max);
    }
    out.push_str(":f32");
    match &quant.granularity {
        Granularity::PerTensor(affine) => {
            let _ = write!(out, ", {}", print_affine(*affine));
        }
        Granularity::PerAxis { axis, channels } => {
            let channels: Vec<String> = channels.iter().map(|&affine| print_affine(affine)).collect();
            let _ = write!(out, ":{axis}, {{{}}}", channels.join(", "));
        }
    }
    out.push('>');
    out
}

fn print_affine(affine: Affine) -> String {
    let scale = print_float(affine.scale);
    if affine.zero_point == 0 { scale } else { format!("{scale}:{}", affine.zero_point) }
}

/// Shortest decimal that reads back as the same number, in the form of MLIR's lexer: digits, a dot, an exponent.
/// Infinities and NaNs are written by their bits.
pub fn print_float(value: F32) -> String {
    let number = value.get();
    if !number.is_finite() {
        return format!("0x{:08X}", number.to_bits());
    }
    let text = format!("{number:e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-5..16).contains(&exponent) {
        let plain = format!("{number}");
        return if plain.contains('.') { plain } else { format!("{plain}.0") };
    }
    let mantissa = if mantissa.contains('.') { mantissa.to_owned() } else { format!("{mantissa}.0") };
    format!("{mantissa}e{exponent}")
}

/// A string literal; everything outside of printable ASCII is escaped as `\XX` bytes, as MLIR does.
pub fn print_string(text: &str) -> String {
    let mut out = String::from("\"");
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => {
                out.push('\\');
                out.push(byte as char);
            }
            0x20..=0x7e => out.push(byte as char),
            _ => {
                let _ = write!(out, "\\{byte:02X}");
            }
        }
    }
    out.push('"');
    out
}

/// The spelling of an attribute; `resource` spells references to constant data.
pub fn print_attr(attr: &Attr, resource: &dyn Fn(&ResourceRef) -> String) -> String {
    let list = |items: &[Attr]| {
        let items: Vec<String> = items.iter().map(|item| print_attr(item, resource)).collect();
        items.join(", ")
    };
    match attr {
        Attr::Bool(value) => value.to_string(),
        Attr::Int(value) => value.to_string(),
        Attr::Float(value) => format!("{} : f32", print_float(*value)),
        Attr::Str(text) => print_string(text),
        Attr::Array(items) => format!("[{}]", list(items)),
        Attr::Resource(reference) => resource(reference),
        Attr::Tuple(name, items) => format!("#{name}<{}>", list(items)),
    }
}
