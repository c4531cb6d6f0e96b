//! When two tensors are the same result: integers exactly, floats within a relative 1e-5, or both infinite alike or NaN.

use mcunet_ir::Tensor;
use mcunet_ir::tensor::Data;

/// Greatest relative difference of floats; numbers below 1e-6 are compared as if they had that size.
const TOLERANCE: f32 = 1e-5;

fn near(found: f32, expected: f32) -> bool {
    // The reference limits every sum to the greatest float, even without an activation; kernels leave it infinite.
    let overflow = expected.abs() == f32::MAX && found == f32::INFINITY.copysign(expected);
    found == expected
        || overflow
        || (found.is_nan() && expected.is_nan())
        || (found - expected).abs() <= TOLERANCE * expected.abs().max(1e-6)
}

/// The first element that differs, and how many do.
pub fn difference(found: &Tensor, expected: &Tensor) -> Option<String> {
    match (&found.data, &expected.data) {
        (Data::F32(a), Data::F32(b)) => first_difference(a, b, |&a, &b| near(a, b)),
        (a, b) if a == b => None,
        (a, b) => match (a.to_i64s(), b.to_i64s()) {
            (Some(a), Some(b)) => first_difference(&a, &b, |a, b| a == b),
            _ => Some(format!("expected {}, got {}", b.scalar().name(), a.scalar().name())),
        },
    }
}

/// The first output that differs.
pub fn differences(found: &[Tensor], expected: &[Tensor]) -> Option<String> {
    if found.len() != expected.len() {
        return Some(format!("expected {} outputs, got {}", expected.len(), found.len()));
    }
    let mut pairs = found.iter().zip(expected).enumerate();
    pairs.find_map(|(i, (found, expected))| {
        difference(found, expected).map(|difference| format!("output {i}: {difference}"))
    })
}

fn first_difference<T: std::fmt::Display>(
    found: &[T],
    expected: &[T],
    same: impl Fn(&T, &T) -> bool,
) -> Option<String> {
    if found.len() != expected.len() {
        return Some(format!("expected {} elements, got {}", expected.len(), found.len()));
    }
    let differs: Vec<usize> = (0..found.len()).filter(|&i| !same(&found[i], &expected[i])).collect();
    differs.first().map(|&i| {
        let (count, all) = (differs.len(), found.len());
        format!("{count} of {all} differ; element {i}: expected {}, got {}", expected[i], found[i])
    })
}
