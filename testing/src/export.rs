//! Modules as `.tflite` files and back.

use crate::compare::differences;
use crate::properties::{reference, text, verifies};
use mcunet_frontends::tflite::export;
use mcunet_frontends::tflite::reader::read;
use mcunet_frontends::{ImportOptions, import};
use mcunet_ir::module::{OpKind, Port};
use mcunet_ir::nn::NnOp;
use mcunet_ir::{Function, Module, Tensor};
use std::collections::HashSet;

/// The file of a module; exporting twice gives the same bytes.
///
/// # Errors
/// What the export says, or that the bytes differ.
pub fn exported(module: &Module) -> Result<Vec<u8>, String> {
    let bytes = export(module).map_err(|errors| errors.to_string())?;
    check_layout(&bytes)?;
    match export(&module.clone()) {
        Ok(again) if again == bytes => Ok(bytes),
        _ => Err("a second export gives other bytes".to_owned()),
    }
}

/// Constants are aligned, and each is stored once; no two tensors have one name, unless ports do.
fn check_layout(bytes: &[u8]) -> Result<(), String> {
    let model = read(bytes).map_err(|errors| format!("{errors:?}"))?;
    let mut seen = HashSet::new();
    for buffer in &model.buffers {
        let offset = buffer.as_ptr().addr().wrapping_sub(bytes.as_ptr().addr());
        if !buffer.is_empty() && !offset.is_multiple_of(16) {
            return Err(format!("expected constants at multiples of 16 bytes, got one at {offset}"));
        }
        if !seen.insert(buffer) {
            return Err("expected each constant once, got one twice".to_owned());
        }
    }
    let [graph] = model.subgraphs.as_slice() else { return Err("expected one subgraph".to_owned()) };
    let ports: HashSet<usize> =
        graph.inputs.iter().chain(&graph.outputs).map(|index| index.index()).collect();
    let inner =
        graph.tensors.iter().enumerate().filter(|(i, _)| !ports.contains(i)).map(|(_, tensor)| &tensor.name);
    let mut names: HashSet<&String> = ports.iter().map(|&port| &graph.tensors[port].name).collect();
    for name in inner {
        if !names.insert(name) {
            return Err(format!("expected names of tensors to differ, got '{name}' twice"));
        }
    }
    Ok(())
}

/// Whether TensorFlow Lite has operators for everything in a module, as far as the kinds of its operations tell.
pub fn is_exportable(function: &Function) -> bool {
    function.walk().into_iter().all(|op| {
        !matches!(&function.ops[op].kind, OpKind::Nn(NnOp::Lookup(_) | NnOp::Insert(_)) | OpKind::Tile(_))
    })
}

/// A module that is exported and imported again has the same ports and computes the same to the bit; exported once more,
/// it still does.
///
/// # Errors
/// What the export or import says, or the output that differs.
pub fn export_keeps_results(module: &Module, samples: &[Vec<Tensor>]) -> Result<(), String> {
    let again = reimported(module)?;
    let twice = reimported(&again)?;
    for inputs in samples {
        let expected = reference(module, inputs)?;
        for module in [&again, &twice] {
            let found = reference(module, inputs)?;
            let bits =
                |tensors: &[Tensor]| tensors.iter().map(|tensor| tensor.data.to_bytes()).collect::<Vec<_>>();
            // NaNs may differ in what they are made of.
            let differs = differences(&found, &expected).or_else(|| {
                let nan = |tensor: &Tensor| tensor.f32s().is_ok_and(|items| items.iter().any(|x| x.is_nan()));
                let same = bits(&found) == bits(&expected) || expected.iter().any(nan);
                (!same).then(|| "floats differ in their last bits".to_owned())
            });
            if let Some(difference) = differs {
                return Err(format!("{difference}\nimported again:\n{}", text(module)));
            }
        }
    }
    Ok(())
}

fn reimported(module: &Module) -> Result<Module, String> {
    let bytes = exported(module)?;
    let again = import(&bytes, "exported.tflite", &ImportOptions::default())
        .map_err(|errors| format!("imported again: {errors}"))?;
    verifies(&again)?;
    let (before, after) = (&module.functions[0], &again.functions[0]);
    let ports =
        |function: &Function| function.inputs.iter().chain(&function.outputs).map(border).collect::<Vec<_>>();
    if ports(before) != ports(after) {
        return Err(format!("expected ports {:?}, got {:?}", ports(before), ports(after)));
    }
    Ok(again)
}

/// Name, shape, storage type and quantization of a port. Files quantize numbers of 8 and 16 bits only.
fn border(port: &Port) -> String {
    let ty = port.ty.as_tensor();
    let parts =
        ty.map(|ty| (ty.shape.clone(), ty.storage(), ty.affine().filter(|_| ty.storage().size_bytes() < 4)));
    format!("{}: {parts:?}", port.name)
}
