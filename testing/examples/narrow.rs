//! Prints a model with the weights of its filters cut to 4 or 2 bits, to see what such weights cost:
//!     cargo run --release -p mcunet-testing --example narrow -- MODEL.tflite 4 >narrow.mcir
//! The results of such a model are of no use; only its kernels are.

use mcunet_frontends::{ImportOptions, import};
use mcunet_ir::types::Scalar;
use mcunet_testing::{narrow::narrowed, properties::text};

fn main() -> Result<(), String> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, bits] = arguments.as_slice() else { return Err("expected MODEL.tflite BITS".to_owned()) };
    let storage = match bits.as_str() {
        "4" => Scalar::I4,
        "2" => Scalar::I2,
        _ => return Err(format!("expected 4 or 2 bits, got '{bits}'")),
    };
    let bytes = std::fs::read(model).map_err(|error| format!("{model}: {error}"))?;
    let module =
        import(&bytes, "model.tflite", &ImportOptions::default()).map_err(|errors| errors.to_string())?;
    print!("{}", text(&narrowed(&module, storage)));
    Ok(())
}
