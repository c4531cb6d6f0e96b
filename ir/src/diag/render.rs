//! Lays diagnostics out for a reader: a text's line with a caret, or the operator of a model, then notes and help.

use super::{Diagnostic, Diagnostics, Origin, Severity};
use codespan_reporting::diagnostic as codespan;
use codespan_reporting::files::SimpleFiles;
use codespan_reporting::term;
use std::sync::Arc;

/// The texts that locations point into, by file name.
#[derive(Clone, Debug, Default)]
pub struct SourceMap {
    texts: Vec<(Arc<str>, Arc<str>)>,
}

impl SourceMap {
    /// Adds a text.
    pub fn add(&mut self, file: impl Into<Arc<str>>, text: impl Into<Arc<str>>) {
        self.texts.push((file.into(), text.into()));
    }
}

/// The messages as text; with ANSI colours if wanted.
pub fn render(diagnostics: &Diagnostics, sources: &SourceMap, color: bool) -> String {
    let mut files = SimpleFiles::new();
    let ids: Vec<usize> =
        sources.texts.iter().map(|(name, text)| files.add(name.to_string(), text.to_string())).collect();
    let config = term::Config::default();
    let mut out = term::termcolor::Buffer::no_color();
    let mut colored = term::termcolor::Buffer::ansi();
    let writer = if color { &mut colored } else { &mut out };
    for diagnostic in &diagnostics.0 {
        let laid_out = lay_out(diagnostic, sources, &ids);
        // Writing to memory cannot fail, and labels lie inside of their texts.
        let _ = term::emit_to_write_style(writer, &config, &files, &laid_out);
    }
    String::from_utf8_lossy(writer.as_slice()).into_owned()
}

fn lay_out(diagnostic: &Diagnostic, sources: &SourceMap, ids: &[usize]) -> codespan::Diagnostic<usize> {
    let severity = match diagnostic.severity {
        Severity::Error => codespan::Severity::Error,
        Severity::Warning => codespan::Severity::Warning,
        Severity::Note => codespan::Severity::Note,
    };
    let mut labels = Vec::new();
    let mut notes = Vec::new();
    let origins: &[Origin] = match &diagnostic.origin {
        Origin::Fused(parts) => parts,
        single => std::slice::from_ref(single),
    };
    for origin in origins {
        match origin {
            Origin::Unknown => {}
            Origin::Text { file, line, column } => {
                let place = sources.texts.iter().zip(ids).find(|((name, _), _)| name == file);
                match place.and_then(|((_, text), &id)| Some((id, span(text, *line, *column)?))) {
                    Some((id, span)) => {
                        let mut label = codespan::Label::primary(id, span);
                        if let Some(text) = &diagnostic.label {
                            label = label.with_message(text);
                        }
                        labels.push(label);
                    }
                    None => notes.push(format!("at {origin}")),
                }
            }
            Origin::Model { .. } | Origin::Fused(_) => notes.push(format!("from {origin}")),
        }
    }
    notes.extend(diagnostic.notes.iter().cloned());
    notes.extend(diagnostic.help.iter().map(|help| format!("help: {help}")));
    codespan::Diagnostic::new(severity)
        .with_message(&diagnostic.message)
        .with_labels(labels)
        .with_notes(notes)
}

/// Bytes of the word at a place; `None` if the text has no such place.
fn span(text: &str, line: u32, column: u32) -> Option<std::ops::Range<usize>> {
    let line_text = text.lines().nth(usize::try_from(line).ok()?.checked_sub(1)?)?;
    let line_start = line_text.as_ptr() as usize - text.as_ptr() as usize;
    let skipped = usize::try_from(column).ok()?.checked_sub(1)?;
    let offset = line_text.char_indices().nth(skipped).map_or(line_text.len(), |(offset, _)| offset);
    let word =
        line_text[offset..].find(|c: char| c.is_whitespace() || c == ',').unwrap_or(line_text.len() - offset);
    Some(line_start + offset..line_start + offset + word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_error_shows_its_line_and_a_model_error_its_operator() {
        let mut sources = SourceMap::default();
        sources.add("a.mcir", "first\n  %y = nn.conv2d %x\n");
        let place = Origin::Text { file: "a.mcir".into(), line: 2, column: 8 };
        let text = Diagnostic::error("expected 3 operands, got 1").at(place).help("add a bias");
        let model = Origin::Model { file: "m.tflite".into(), operator: 3, name: "conv_1".into() };
        let model = Diagnostic::warning("scale is negative").at(model);
        let rendered = render(&Diagnostics(vec![text, model]), &sources, false);
        assert!(rendered.contains("error: expected 3 operands, got 1\n"), "{rendered}");
        assert!(rendered.contains("2 │   %y = nn.conv2d %x\n"), "{rendered}");
        assert!(rendered.contains("│        ^^^^^^^^^\n"), "{rendered}");
        assert!(rendered.contains("= help: add a bias\n"), "{rendered}");
        assert!(rendered.contains("= from operator 3 'conv_1' of m.tflite\n"), "{rendered}");
    }
}
