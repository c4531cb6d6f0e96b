//! `mcunetc inspect`.

use crate::Io;
use crate::cli::InspectArgs;
use crate::report::layers::{Layer, element, layers};
use crate::session::{self, Failure};
use comfy_table::{CellAlignment, Table};
use mcunet_ir::module::{Module, Port};
use mcunet_ir::types::Shape;
use serde::Serialize;

#[derive(Serialize)]
struct PortInfo {
    name: String,
    shape: Vec<usize>,
    element: String,
}

#[derive(Serialize)]
struct Inspection {
    model: String,
    inputs: Vec<PortInfo>,
    outputs: Vec<PortInfo>,
    macs: u64,
    constant_bytes: usize,
    layers: Vec<Layer>,
}

/// Shows what a model consists of.
pub fn run(args: &InspectArgs, io: &mut Io<'_>) -> Result<(), Failure> {
    let module = session::load(&args.model, &args.model_args, io)?;
    let inspection = inspect(&module);
    let text = if args.json {
        // Serializing plain numbers and strings cannot fail.
        format!("{}\n", serde_json::to_string_pretty(&inspection).unwrap_or_default())
    } else {
        render(&inspection)
    };
    super::print(io, &text)
}

fn inspect(module: &Module) -> Inspection {
    let ports = |ports: &[Port]| {
        let info = |port: &Port| {
            let ty = port.ty.as_tensor()?;
            Some(PortInfo { name: port.name.to_string(), shape: ty.shape.0.clone(), element: element(ty) })
        };
        ports.iter().filter_map(info).collect()
    };
    let layers = layers(module, false);
    let constants = module.resources().map(|(_, resource)| resource.element.packed_bytes(resource.count));
    Inspection {
        model: module.name.to_string(),
        inputs: module.functions.first().map(|function| ports(&function.inputs)).unwrap_or_default(),
        outputs: module.functions.first().map(|function| ports(&function.outputs)).unwrap_or_default(),
        macs: layers.iter().map(|layer| layer.macs).sum(),
        constant_bytes: constants.sum(),
        layers,
    }
}

fn render(inspection: &Inspection) -> String {
    let shape = |dims: &[usize]| Shape(dims.to_vec()).to_string();
    let shapes = |all: &[Vec<usize>]| all.iter().map(|dims| shape(dims)).collect::<Vec<_>>().join(", ");
    let mut text = format!("{}\n", inspection.model);
    for (title, ports) in [("input", &inspection.inputs), ("output", &inspection.outputs)] {
        for port in ports {
            text.push_str(&format!("  {title} '{}' {} {}\n", port.name, shape(&port.shape), port.element));
        }
    }
    text.push_str(&format!(
        "  {} multiply-accumulates, {} bytes of constants\n\n",
        inspection.macs, inspection.constant_bytes
    ));
    let mut table = Table::new();
    table
        .load_preset(comfy_table::presets::NOTHING)
        .set_header(["#", "OP", "INPUTS", "OUTPUTS", "ELEMENT", "MACS", "WEIGHTS", "ORIGIN"]);
    for layer in &inspection.layers {
        table.add_row([
            layer.index.to_string(),
            layer.op.clone(),
            shapes(&layer.inputs),
            shapes(&layer.outputs),
            layer.element.clone(),
            layer.macs.to_string(),
            layer.weight_bytes.to_string(),
            layer.origin.clone(),
        ]);
    }
    for column in [0, 5, 6] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    text.push_str(&table.trim_fmt());
    text.push('\n');
    text
}
