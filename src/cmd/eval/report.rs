//! The figures as text.

use super::summary::{Classification, Output, Reference, Summary};
use comfy_table::{CellAlignment, Table};

/// With more classes the confusion matrix is no help on a terminal; `--json` has it.
const MOST_COLUMNS: usize = 12;

/// The figures as a user reads them.
pub fn render(summary: &Summary) -> String {
    let mut text =
        format!("{}: {} samples, run {}\n", summary.model, summary.samples, executor(summary.executor));
    if let Some(classification) = &summary.classification {
        text.push_str(&classes(classification, summary.samples));
    }
    if let Some(reconstruction) = &summary.reconstruction {
        text.push_str(&format!("mean square error {:.6}\n", reconstruction.mean_square_error));
        if let Some(auc) = reconstruction.auc {
            text.push_str(&format!("AUC {auc:.4}\n"));
        }
    }
    if let Some(reference) = &summary.reference {
        text.push_str(&difference(reference));
    }
    text
}

fn executor(name: &str) -> &'static str {
    if name == "c" { "as compiled C" } else { "in the interpreter" }
}

fn percent(part: Option<f64>) -> String {
    part.map_or_else(|| "-".to_owned(), |part| format!("{:.1} %", 100.0 * part))
}

fn classes(found: &Classification, samples: usize) -> String {
    let mut text = format!("accuracy {} ({} of {samples})\n", percent(Some(found.accuracy)), found.correct);
    if found.top5.is_some() {
        text.push_str(&format!("top-5 accuracy {}\n", percent(found.top5)));
    }
    let mut heads = ["CLASS", "SAMPLES", "RECALL", "PRECISION"].map(str::to_owned).to_vec();
    let with_matrix = found.classes.len() <= MOST_COLUMNS;
    if with_matrix {
        heads.extend(found.classes.iter().map(|class| format!("AS {}", class.name)));
    }
    let columns = heads.len();
    let mut table = table(heads);
    for (class, row) in found.classes.iter().zip(&found.confusion) {
        let mut cells = vec![
            class.name.clone(),
            class.samples.to_string(),
            percent(class.recall),
            percent(class.precision),
        ];
        if with_matrix {
            cells.extend(row.iter().map(ToString::to_string));
        }
        table.add_row(cells);
    }
    align(&mut table, 1..columns);
    text.push_str(&format!("\n{}\n", table.trim_fmt()));
    text
}

fn difference(found: &Reference) -> String {
    let mut text = format!("\nagainst {}, run {}\n", found.model, executor(found.executor));
    if found.agreement.is_some() {
        text.push_str(&format!("same class {}\n", percent(found.agreement)));
    }
    let mut table = table(["OUTPUT", "SQNR", "MAX DIFFERENCE"].map(str::to_owned).to_vec());
    for output in &found.outputs {
        let difference =
            output.max_abs_difference.map_or_else(|| "-".to_owned(), |difference| format!("{difference:.6}"));
        table.add_row([output.name.clone(), sqnr(output), difference]);
    }
    align(&mut table, 1..3);
    text.push_str(&format!("{}\n", table.trim_fmt()));
    text
}

fn sqnr(output: &Output) -> String {
    match (output.sqnr_db, output.max_abs_difference) {
        (Some(ratio), _) => format!("{ratio:.1} dB"),
        (None, Some(0.0)) => "equal".to_owned(),
        (None, _) => "-".to_owned(),
    }
}

fn table(heads: Vec<String>) -> Table {
    let mut table = Table::new();
    table.load_preset(comfy_table::presets::NOTHING).set_header(heads);
    table
}

fn align(table: &mut Table, columns: std::ops::Range<usize>) {
    for index in columns {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}
