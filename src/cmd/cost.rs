//! `mcunetc cost`: what each layer of the compiled program costs.

use crate::Io;
use crate::cli::CostArgs;
use crate::cmd::compile;
use crate::report::layers::Layer;
use crate::session::{self, Failure, ModelFile, usage};
use crate::watch::Watcher;
use comfy_table::{CellAlignment, Table};
use mcunet_ir::Stage;
use mcunet_passes::cost::{self, Cost, Figures};
use mcunet_passes::pass::PassContext;
use serde::Serialize;

/// The figures; keys are stable.
#[derive(Serialize)]
struct Listing {
    model: String,
    target: String,
    core: &'static str,
    total: Row,
    layers: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    op: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<String>,
    macs: u64,
    cycles: u64,
    instructions: u64,
    cycles_per_mac: Option<f64>,
    /// Part of all cycles.
    share: f64,
    ram_loads: u64,
    flash_loads: u64,
    stores: u64,
    code_bytes: u64,
}

/// Compiles a model and shows the estimates.
pub fn run(args: &CostArgs, io: &mut Io<'_>) -> Result<(), Failure> {
    let target = session::target(&args.target)?;
    let pipeline = session::pipeline(&args.pipeline)?;
    let imported = ModelFile::read(&args.model, io)?.import(&args.model_args)?;
    let watcher = Watcher::new(args.pipeline.search_time, io.color);
    let cx = PassContext::new(&target).watched_by(&watcher);
    let compiled = compile::compile(imported, &pipeline, &cx)?;
    drop(watcher);
    if compiled.module.stage == Stage::Imported {
        return Err(usage("expected a pipeline that lowers, got one that does not")
            .help("end it with lower,pack-weights,plan-memory")
            .into());
    }
    let cost = cost::of_module(&compiled.module, &target);
    let listing = Listing {
        model: compiled.module.name.to_string(),
        target: target.name.clone(),
        core: target.core.name(),
        total: row(None, compiled.report.effective_macs, &cost.total, &cost),
        layers: rows(&compiled.report.layers, &cost),
    };
    let text = if args.json {
        // Serializing plain numbers and strings cannot fail.
        format!("{}\n", serde_json::to_string_pretty(&listing).unwrap_or_default())
    } else {
        render(&listing)
    };
    super::print(io, &text)
}

fn rows(layers: &[Layer], cost: &Cost) -> Vec<Row> {
    // Outputs that are copied at the end are kernels, too, but no layers.
    let found = cost.layers.iter().enumerate();
    found
        .map(|(index, figures)| {
            let layer = layers.get(index);
            let row = row(Some(index), layer.map_or(0, |layer| layer.macs), figures, cost);
            let op = layer.map_or_else(|| "copy".to_owned(), |layer| layer.op.clone());
            Row { op: Some(op), origin: layer.map(|layer| layer.origin.clone()), ..row }
        })
        .collect()
}

fn row(index: Option<usize>, macs: u64, figures: &Figures, cost: &Cost) -> Row {
    let &Figures { cycles, instructions, ram_loads, flash_loads, stores, code_bytes } = figures;
    let cycles_per_mac = (macs > 0).then(|| cycles as f64 / macs as f64);
    let share = cycles as f64 / cost.total.cycles.max(1) as f64;
    Row {
        index,
        op: None,
        origin: None,
        macs,
        cycles,
        instructions,
        cycles_per_mac,
        share,
        ram_loads,
        flash_loads,
        stores,
        code_bytes,
    }
}

fn render(listing: &Listing) -> String {
    let mut table = Table::new();
    let head = ["#", "OP", "MACS", "CYCLES", "CYCLES/MAC", "SHARE", "INSTRUCTIONS", "CODE", "ORIGIN"];
    table.load_preset(comfy_table::presets::NOTHING).set_header(head);
    for row in listing.layers.iter().chain([&listing.total]) {
        table.add_row([
            row.index.map_or_else(String::new, |index| index.to_string()),
            row.op.clone().unwrap_or_else(|| "total".to_owned()),
            row.macs.to_string(),
            row.cycles.to_string(),
            row.cycles_per_mac.map_or_else(String::new, |each| format!("{each:.2}")),
            format!("{:.1} %", 100.0 * row.share),
            row.instructions.to_string(),
            row.code_bytes.to_string(),
            row.origin.clone().unwrap_or_default(),
        ]);
    }
    for column in [0, 2, 3, 4, 5, 6, 7] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    format!("{} on {}, estimated\n{}\n", listing.model, listing.core, table.trim_fmt())
}
