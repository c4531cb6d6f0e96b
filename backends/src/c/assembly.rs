//! Functions that are written by hand in assembly, and are the same for all layers.

use super::{depthwise, matmul};
use std::fmt::Write;

/// A function that layers call.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Routine {
    /// Behind `loop.matmul`.
    Matmul(matmul::Form),
    /// Behind `loop.depthwise`.
    Depthwise(depthwise::Form),
}

impl Routine {
    /// Its definition.
    pub fn text(&self) -> String {
        match self {
            Routine::Matmul(form) => form.text(),
            Routine::Depthwise(form) => form.text(),
        }
    }

    /// The helper that does the same in C.
    pub fn fallback(&self) -> &'static str {
        match self {
            Routine::Matmul(_) => "matmul_rows",
            Routine::Depthwise(_) => "depthwise_row",
        }
    }
}

/// What writes a function line by line. Instructions are 32 bits wide, and aligned, but for jumps before labels.
pub trait Lines {
    /// The lines so far.
    fn lines(&mut self) -> &mut Vec<String>;

    /// Another line.
    fn line(&mut self, text: impl Into<String>) {
        self.lines().push(text.into());
    }

    /// A label, aligned to a word.
    fn label(&mut self, label: &str) {
        self.line(".balign 4");
        self.line(label);
    }

    /// Loads a word from the stack, so many bytes from its pointer.
    fn load(&mut self, register: &str, at: usize) {
        self.line(format!("ldr.w {register}, [sp, #{at}]"));
    }

    /// Stores a word there.
    fn save(&mut self, register: &str, at: usize) {
        self.line(format!("str.w {register}, [sp, #{at}]"));
    }
}

/// Lines of assembly as statements of moderate length: C99 promises literals of 4095 characters.
pub fn statements(lines: &[String]) -> String {
    let mut out = String::new();
    let mut open = 0;
    let mut in_macro = false;
    for line in lines {
        if open == 0 {
            out.push_str("    __asm__ volatile(\n");
        }
        let _ = writeln!(out, "        \"{line}\\n\"");
        open += line.len() + 2;
        in_macro = (in_macro || line.starts_with(".irp")) && line != ".endr";
        if open > 2000 && !in_macro {
            out.push_str("    );\n");
            open = 0;
        }
    }
    if open > 0 {
        out.push_str("    );\n");
    }
    out
}

#[cfg(test)]
pub mod tests {
    /// Instructions among lines.
    pub fn count(lines: &[String]) -> usize {
        lines.iter().filter(|line| !line.starts_with('.') && !line.ends_with(':')).count()
    }

    /// Fails if a literal of a definition is longer than compilers have to take.
    pub fn literals_are_short(text: &str) {
        let literals = text.split("__asm__ volatile(").skip(1).filter_map(|part| part.split(");").next());
        for literal in literals {
            let length: usize = literal.lines().map(|line| line.trim().trim_matches('"').len()).sum();
            assert!(length < 4096, "a literal of {length} characters: {text}");
        }
    }
}
