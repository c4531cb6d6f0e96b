//! Integers of less than a byte: `i4` and `i2`.
//!
//! The compiler holds such elements in a byte each, like `i8` ([`crate::tensor::Data`]), so that whoever reads a constant needs
//! not know; the verifier checks that they are in range. Files and flash hold them packed: two or four to a byte, the first in
//! the low bits, row-major without gaps, zeros after the last. Source: the TensorFlow Lite format, `INT4` and `INT2`;
//! tensorflow/lite/kernels/internal/portable_tensor_utils.cc, `UnpackPackedIntToInt8`.

/// Packs integers of `bits` bits, 2 or 4, keeping the low bits of each.
pub fn pack(items: &[i8], bits: usize) -> Vec<u8> {
    let mask = (1u8 << bits) - 1;
    let byte = |items: &[i8]| {
        items.iter().enumerate().fold(0, |byte, (i, &item)| byte | (item as u8 & mask) << (i * bits))
    };
    items.chunks(8 / bits).map(byte).collect()
}

/// The first `count` integers of `bits` bits, 2 or 4, that were packed into `bytes`; fewer if there are fewer.
pub fn unpack(bytes: &[u8], bits: usize, count: usize) -> Vec<i8> {
    let field = |byte: u8, i: usize| ((byte << (8 - bits * (i + 1))) as i8) >> (8 - bits);
    bytes.iter().flat_map(|&byte| (0..8 / bits).map(move |i| field(byte, i))).take(count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_in_the_low_bits() {
        assert_eq!(pack(&[1, -2, -8], 4), [0xe1, 0x08]);
        assert_eq!(pack(&[1, -1, 0, -2, 1], 2), [0b10_00_11_01, 0b01]);
    }

    #[test]
    fn what_is_packed_unpacks() {
        for (bits, low, high) in [(4, -8, 7), (2, -2, 1)] {
            let items: Vec<i8> = (low..=high).chain([low, high, 0]).collect();
            for count in 0..items.len() {
                assert_eq!(unpack(&pack(&items[..count], bits), bits, count), &items[..count]);
            }
        }
    }
}
