//! Damaged files: the reader answers, with a model or with errors, and never panics.

use flatbuffers::FlatBufferBuilder;
use mcunet_testing::Random;

use super::super::super::schema;
use super::super::{ReadError, read};
use super::fixture::ModelSpec;
use super::{Tag, union};

/// The sound model with options on its first operator.
fn original() -> Vec<u8> {
    let mut spec = ModelSpec::sound();
    spec.operators[0].options = Some(|b| {
        let new_shape = Some(b.create_vector(&[-1, 4]));
        union(
            Tag::ReshapeOptions,
            schema::ReshapeOptions::create(b, &schema::ReshapeOptionsArgs { new_shape }),
        )
    });
    spec.build()
}

/// One change: a bit, a value that is often special, a cut, or a piece from elsewhere in the file.
fn damage(bytes: &mut Vec<u8>, random: &mut Random<'_>) {
    let at = random.below(bytes.len());
    match random.below(8) {
        0..=2 => bytes[at] ^= 1 << random.below(8),
        3 | 4 => {
            let special = [0, 1, 0x7f, 0x80, 0xff][random.below(5)];
            let end = (at + 1 + random.below(4)).min(bytes.len());
            bytes[at..end].fill(special);
        }
        5 => bytes.truncate(at.max(1)),
        6 => {
            let length = (1 + random.below(32)).min(bytes.len() - at);
            let target = random.below(bytes.len() - length + 1);
            bytes.copy_within(at..at + length, target);
        }
        _ => {
            let length = (4 * (1 + random.below(8))).min(bytes.len() - at);
            let piece = bytes[at..at + length].to_vec();
            let target = random.below(bytes.len());
            bytes.splice(target..target, piece);
        }
    }
}

#[test]
fn damaged_files_never_panic() {
    let original = original();
    let mut random = Random::seeded(0x7f13);
    let [mut sound, mut malformed, mut checked] = [0_u32; 3];
    for _ in 0..20_000 {
        let mut bytes = original.clone();
        for _ in 0..=random.below(4) {
            damage(&mut bytes, &mut random);
        }
        // Most damage to the identifier teaches nothing.
        if random.below(8) > 0
            && let Some(identifier) = bytes.get_mut(4..8)
        {
            identifier.copy_from_slice(b"TFL3");
        }
        match read(&bytes) {
            Ok(_) => sound += 1,
            Err(errors)
                if matches!(errors[..], [ReadError::Malformed { .. } | ReadError::Identifier { .. }]) =>
            {
                malformed += 1;
            }
            Err(_) => checked += 1,
        }
    }
    // The damage reaches all layers.
    assert!(sound > 500 && malformed > 500 && checked > 500, "{sound} {malformed} {checked}");
}

#[test]
fn every_truncation_is_refused_or_read() {
    let original = original();
    for length in 0..original.len() {
        // The last bytes may be padding or behind what is used.
        let _ = read(&original[..length]);
    }
    assert!(read(&original[..original.len() / 2]).is_err());
}

/// Tables may share parts, so a small file can describe a huge model; memory must follow the file, not the description.
#[test]
fn a_file_that_unfolds_is_refused() {
    let mut b = FlatBufferBuilder::new();
    let inputs = Some(b.create_vector(&vec![-1_i32; 50_000]));
    let operator = schema::Operator::create(&mut b, &schema::OperatorArgs { inputs, ..Default::default() });
    let operators = Some(b.create_vector(&vec![operator; 50_000]));
    let subgraph =
        schema::SubGraph::create(&mut b, &schema::SubGraphArgs { operators, ..Default::default() });
    let subgraphs = Some(b.create_vector(&[subgraph]));
    let model =
        schema::Model::create(&mut b, &schema::ModelArgs { version: 3, subgraphs, ..Default::default() });
    schema::finish_model_buffer(&mut b, model);
    let errors = read(b.finished_data()).expect_err("ten gigabytes from 400 kB");
    let [ReadError::Malformed { reason }] = &errors[..] else { panic!("{errors:?}") };
    assert_eq!(reason, "apparent size too large");
}
