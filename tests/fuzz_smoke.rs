//! The bodies of the fuzz targets (`fuzz/`) on damaged inputs and random bytes, each for as long as one property runs: see
//! `testing/src/seeds.rs`.

use mcunet_ir::text::{PrintOptions, print};
use mcunet_passes::pipeline::Level;
use mcunet_testing::compile::plan;
use mcunet_testing::corpus::{import_model, op_cases};
use mcunet_testing::damage::damage;
use mcunet_testing::seeds::for_seeds;
use mcunet_testing::{Random, bodies};
use std::path::PathBuf;

/// Runs a body on damaged copies of `inputs`.
fn smoke(inputs: &[Vec<u8>], body: fn(&[u8])) {
    for_seeds(500, |seed| {
        let mut random = Random::seeded(seed);
        let (input, other) = (random.below(inputs.len()), random.below(inputs.len()));
        body(&damage(&mut random, &inputs[input], &inputs[other]));
        Ok(())
    });
}

#[test]
fn models() {
    let files = op_cases().into_iter().map(|case| std::fs::read(case.join("model.tflite")));
    smoke(&files.map(|file| file.expect("a readable case")).collect::<Vec<_>>(), bodies::tflite);
}

/// Imported and planned modules, in both spellings.
#[test]
fn texts() {
    let text = |(i, case): (usize, &PathBuf)| {
        let imported = import_model(case).expect("a valid case");
        let module = if i % 4 < 2 { imported } else { plan(&imported, Level::O2).expect("it compiles") };
        print(&module, &PrintOptions { generic: i % 2 == 0, locations: i % 2 == 0, weights: true })
            .into_bytes()
    };
    let texts: Vec<Vec<u8>> = op_cases().iter().enumerate().map(text).collect();
    smoke(&texts, bodies::mcir);
}

#[test]
fn graphs() {
    for_seeds(50, |seed| {
        let mut random = Random::seeded(seed);
        let bytes: Vec<u8> = (0..random.size(0, 800)).map(|_| random.range(0, 255) as u8).collect();
        bodies::graph(&bytes);
        Ok(())
    });
}
