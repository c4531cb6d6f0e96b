//! Damaged inputs: thousands of models with flipped bytes, cut off or spliced, and damaged texts. Every one ends with a
//! module that verifies or with diagnostics; none panics.

use mcunet_frontends::{ImportOptions, import};
use mcunet_ir::text::{PrintOptions, print};
use mcunet_testing::corpus::{import_model, op_cases};
use mcunet_testing::damage::damage;
use mcunet_testing::{Random, bodies};

#[test]
fn damaged_models_never_panic() {
    let models: Vec<Vec<u8>> = op_cases()
        .iter()
        .step_by(5)
        .map(|case| std::fs::read(case.join("model.tflite")).expect("a readable case"))
        .collect();
    let mut random = Random::seeded(2);
    let mut count = 0;
    for (i, model) in models.iter().enumerate() {
        let other = &models[(i + 7) % models.len()];
        for _ in 0..400 {
            bodies::tflite(&damage(&mut random, model, other));
            count += 1;
        }
    }
    assert!(count >= 30_000, "expected tens of thousands of damaged models, got {count}");
}

#[test]
fn damaged_texts_never_panic() {
    let mut random = Random::seeded(3);
    for case in op_cases().iter().step_by(12) {
        let module = import_model(case).expect("a valid case");
        for generic in [false, true] {
            let options = PrintOptions { generic, locations: false, weights: true };
            let text = print(&module, &options).into_bytes();
            for _ in 0..60 {
                bodies::mcir(&damage(&mut random, &text, &text));
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
