//! The figures as text.

use super::{Bench, Figures, Measured};
use comfy_table::{CellAlignment, Table};

/// A table for each core, or only its last line if only `totals` are wanted.
pub fn render(bench: &Bench, totals: bool) -> String {
    let cores = bench.cores.iter().map(|(&on, measured)| {
        let head = format!("{} on a simulated {}\n", bench.model, on.core().name());
        match totals {
            true => head + &summary(measured),
            false => head + &layers(measured) + &summary(measured),
        }
    });
    cores.collect::<Vec<_>>().join("\n")
}

fn layers(measured: &Measured) -> String {
    let mut table = Table::new();
    let head = [
        "#",
        "OP",
        "MACS",
        "INSTRUCTIONS",
        "CYCLES",
        "CYCLES/MAC",
        "ESTIMATED",
        "OFF",
        "CODE",
        "WEIGHTS",
        "ORIGIN",
    ];
    table.load_preset(comfy_table::presets::NOTHING).set_header(head);
    for row in &measured.layers {
        let Figures { macs, instructions, cycles, predicted_cycles, .. } = row.figures;
        table.add_row([
            row.index.to_string(),
            row.op.clone(),
            macs.to_string(),
            instructions.to_string(),
            cycles.to_string(),
            per_mac(&row.figures),
            predicted_cycles.to_string(),
            percent(row.figures.off()),
            row.code_bytes.to_string(),
            row.weight_bytes.to_string(),
            row.origin.clone(),
        ]);
    }
    for column in (0..10).filter(|&column| column != 1) {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    format!("{}\n", table.trim_fmt())
}

fn summary(measured: &Measured) -> String {
    let Figures { macs, instructions, cycles, predicted_cycles, .. } = measured.figures;
    let Measured { stack_bytes, arena_bytes, code_bytes, weight_bytes, .. } = measured;
    format!(
        "total: {macs} multiply-accumulates, {instructions} instructions, {cycles} cycles ({} a multiply-accumulate), \
         {predicted_cycles} estimated ({})\n\
         memory: arena {arena_bytes} B, stack {stack_bytes} B, flash {} B: code {code_bytes} B, constants {weight_bytes} B\n",
        per_mac(&measured.figures),
        percent(measured.figures.off()),
        code_bytes + weight_bytes,
    )
}

fn per_mac(figures: &Figures) -> String {
    match figures.macs {
        0 => "-".to_owned(),
        macs => format!("{:.2}", figures.cycles as f64 / macs as f64),
    }
}

fn percent(part: f64) -> String {
    format!("{:+.1} %", 100.0 * part)
}
