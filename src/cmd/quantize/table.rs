//! The report of `mcunetc quantize` as text.

use comfy_table::{CellAlignment, Table};
use mcunet_passes::quantize::measure::Agreement;
use mcunet_passes::quantize::report::{Report, ValueReport};
use std::path::Path;

/// The report: one line per value, then what stays in float, then the sums.
pub fn render(report: &Report) -> String {
    let mut table = Table::new();
    table.load_preset(comfy_table::presets::NOTHING).set_header([
        "OP",
        "SHAPE",
        "MIN",
        "MAX",
        "SCALE",
        "ZERO",
        "SQNR",
        "BITS",
        "WEIGHTS",
        "WEIGHT SQNR",
        "NAME",
    ]);
    for value in &report.values {
        table.add_row(row(value));
    }
    for column in 2..10 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut text = table.trim_fmt();
    text.push('\n');
    if let Some(range) = report.range {
        text.push_str(&format!("ranges: {range}\n"));
    }
    for real in &report.real {
        text.push_str(&format!("in float: '{}' op, {}: {}\n", real.op, real.origin, real.reason));
    }
    if report.equalized > 0 {
        text.push_str(&format!("equalized: {} pairs of layers\n", report.equalized));
    }
    if !report.tried.is_empty() {
        text.push_str(&trials(report));
    }
    text.push_str(&format!("\n{}", outputs("output", report.agreement)));
    text.push_str(&format!(
        "constants: {} bytes as floats, {} bytes now\n",
        report.float_bytes, report.bytes
    ));
    text
}

fn outputs(whose: &str, agreement: Agreement) -> String {
    let ratio = decibels(agreement.noise.decibels());
    let Agreement { same_top, samples, .. } = agreement;
    format!("{whose} SQNR {ratio}; the same top 1 on {same_top} of {samples} samples\n")
}

/// Another model's outputs on the same samples.
pub fn comparison(path: &Path, agreement: Agreement) -> String {
    outputs(&path.display().to_string(), agreement)
}

/// Assignments of bits that were measured.
fn trials(report: &Report) -> String {
    let mut table = Table::new();
    let header = ["WEIGHT BYTES", "SAVED", "8 BITS", "4 BITS", "2 BITS", "SQNR", "TOP-1 LOSS", ""];
    table.load_preset(comfy_table::presets::NOTHING).set_header(header);
    let most = report.tried.iter().map(|trial| trial.weight_bytes).max().unwrap_or(1).max(1);
    for trial in &report.tried {
        let mut cells = vec![
            trial.weight_bytes.to_string(),
            format!("{:.1} %", 100.0 * (1.0 - trial.weight_bytes as f64 / most as f64)),
        ];
        cells.extend(trial.layers.map(|layers| layers.to_string()));
        cells.push(decibels(trial.agreement.noise.decibels()));
        cells.push(format!("{:.2} %", trial.agreement.top_1_loss()));
        cells.push(if trial.taken { "taken" } else { "" }.to_owned());
        table.add_row(cells);
    }
    for column in 0..7 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    format!("\n{}\n", table.trim_fmt())
}

/// A tensor's name up to the first of the names that a converter joined.
fn short(name: &str) -> &str {
    name.split(';').next().unwrap_or(name)
}

fn row(value: &ValueReport) -> Vec<String> {
    let mut cells = vec![
        value.op.to_owned(),
        value.shape.clone(),
        number(value.seen.0),
        number(value.seen.1),
        number(value.affine.scale.get()),
        value.affine.zero_point.to_string(),
        decibels(value.noise.decibels()),
    ];
    cells.extend(match &value.weights {
        Some(weights) => {
            [weights.bits.to_string(), format!("{} B", weights.bytes), decibels(weights.noise.decibels())]
        }
        None => [const { String::new() }; 3],
    });
    cells.push(short(&value.name).to_owned());
    cells
}

/// Four significant digits.
fn number(x: f32) -> String {
    let digits = if x == 0.0 { 0 } else { (3 - x.abs().log10().floor() as i32).clamp(0, 9) };
    format!("{x:.*}", digits as usize)
}

fn decibels(ratio: f64) -> String {
    if ratio.is_finite() { format!("{ratio:.1} dB") } else { "exact".to_owned() }
}
