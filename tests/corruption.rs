//! Damaged inputs: thousands of models with flipped bytes, cut off or spliced, and damaged texts. Every one ends with a
//! module that verifies or with diagnostics; none panics.

mod common;

use common::op_cases;
use mcunet_frontends::{ImportOptions, import};
use mcunet_ir::verify::verify;
use mcunet_passes::lower::{CoreFeatures, lower_module};

/// SplitMix64 (Steele et al., 2014), so that a failure repeats.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % limit.max(1) as u64) as usize
    }

    fn damage(&mut self, bytes: &[u8], other: &[u8]) -> Vec<u8> {
        let mut damaged = bytes.to_vec();
        for _ in 0..1 + self.below(4) {
            let at = self.below(damaged.len());
            match self.below(6) {
                0 => damaged.truncate(at),
                1 => {
                    let from = self.below(other.len());
                    let length = self.below(64).min(other.len() - from);
                    let end = (at + length).min(damaged.len());
                    damaged.splice(at..end, other[from..from + length].iter().copied());
                }
                _ => {
                    if let Some(byte) = damaged.get_mut(at) {
                        *byte ^= 1 << self.below(8);
                    }
                }
            }
        }
        damaged
    }
}

/// Imports damaged bytes and, if they still make sense, goes on as the compiler would.
fn survives(bytes: &[u8], file: &str) {
    let Ok(mut module) = import(bytes, file, &ImportOptions::default()) else { return };
    if verify(&module).is_err() {
        return;
    }
    let small = module.functions.iter().all(|function| function.values.len() < 200);
    if small && lower_module(&mut module, CoreFeatures { dsp: true, unroll: true }).is_ok() {
        let verified = verify(&module);
        assert!(verified.is_ok(), "{file}: lowering made an invalid module: {:?}", verified.err());
    }
}

#[test]
fn damaged_models_never_panic() {
    let models: Vec<Vec<u8>> = op_cases()
        .iter()
        .step_by(5)
        .map(|case| std::fs::read(case.join("model.tflite")).expect("a readable case"))
        .collect();
    let mut random = Random(2);
    let mut count = 0;
    for (i, model) in models.iter().enumerate() {
        let other = &models[(i + 7) % models.len()];
        for _ in 0..400 {
            survives(&random.damage(model, other), "damaged.tflite");
            count += 1;
        }
    }
    assert!(count >= 30_000, "expected tens of thousands of damaged models, got {count}");
}

#[test]
fn damaged_texts_never_panic() {
    let mut random = Random(3);
    for case in op_cases().iter().step_by(12) {
        let bytes = std::fs::read(case.join("model.tflite")).expect("a readable case");
        let module = import(&bytes, "model.tflite", &ImportOptions::default()).expect("a valid case");
        for generic in [false, true] {
            let options = mcunet_ir::text::PrintOptions { generic, locations: false, weights: true };
            let text = mcunet_ir::text::print(&module, &options).into_bytes();
            for _ in 0..60 {
                survives(&random.damage(&text, &text), "damaged.mcir");
            }
        }
    }
}

#[test]
fn absurd_inputs_are_refused_with_a_reason() {
    let inputs: [(&[u8], &str); 4] = [
        (b"", "empty.tflite"),
        (b"not a model at all, but long enough", "text.tflite"),
        (b"\x89PNG\r\n\x1a\n0000", "picture.png"),
        (b"module \"m\" stage \"imported\" {", "cut.mcir"),
    ];
    for (bytes, file) in inputs {
        let errors = import(bytes, file, &ImportOptions::default()).map(|_| ()).expect_err(file);
        assert!(errors.0.iter().all(|error| !error.message.is_empty()), "{file}");
    }
}
