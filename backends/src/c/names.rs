//! C identifiers.

use mcunet_ir::Module;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// Words that no identifier may be: those of C99 and of C++, since the header is read by both.
const KEYWORDS: &[&str] = &[
    "alignas",
    "alignof",
    "and",
    "asm",
    "auto",
    "bool",
    "break",
    "case",
    "catch",
    "char",
    "class",
    "const",
    "continue",
    "default",
    "delete",
    "do",
    "double",
    "else",
    "enum",
    "explicit",
    "export",
    "extern",
    "false",
    "float",
    "for",
    "friend",
    "goto",
    "if",
    "inline",
    "int",
    "long",
    "main",
    "mutable",
    "namespace",
    "new",
    "not",
    "operator",
    "or",
    "private",
    "protected",
    "public",
    "register",
    "restrict",
    "return",
    "short",
    "signed",
    "sizeof",
    "static",
    "struct",
    "switch",
    "template",
    "this",
    "throw",
    "true",
    "try",
    "typedef",
    "typeid",
    "union",
    "unsigned",
    "using",
    "virtual",
    "void",
    "volatile",
    "while",
    "xor",
];

/// An identifier made of a name: other characters become underscores.
pub fn identifier(name: &str) -> String {
    let mut out: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    while out.contains("__") {
        out = out.replace("__", "_");
    }
    let out = out.trim_matches('_').to_owned();
    match out.chars().next() {
        None => "model".to_owned(),
        Some(c) if c.is_ascii_digit() => format!("m_{out}"),
        Some(_) if KEYWORDS.contains(&out.as_str()) => format!("{out}_"),
        Some(_) => out,
    }
}

/// Names that all generated files share.
#[derive(Debug)]
pub struct Names {
    /// What every public identifier begins with.
    pub prefix: String,
    /// The same in capitals, for macros.
    pub upper: String,
    data: BTreeMap<Arc<str>, String>,
}

impl Names {
    /// Names for a module.
    pub fn new(name: &str, module: &Module) -> Self {
        let prefix = identifier(name);
        let mut taken = HashSet::new();
        let mut data = BTreeMap::new();
        for (resource, _) in module.resources() {
            // Long tensor names are cut; the weights' file repeats them whole in a comment.
            let base: String = identifier(resource).chars().take(48).collect();
            let base = format!("{prefix}_{}", base.trim_end_matches('_'));
            let mut unique = base.clone();
            let mut number = 1;
            while !taken.insert(unique.clone()) {
                number += 1;
                unique = format!("{base}_{number}");
            }
            data.insert(resource.clone(), unique);
        }
        Self { upper: prefix.to_ascii_uppercase(), prefix, data }
    }

    /// The array of a resource.
    pub fn data(&self, resource: &str) -> &str {
        self.data.get(resource).map_or("unknown_data", String::as_str)
    }
}

/// Text that is safe inside of a C comment.
pub fn comment(text: &str) -> String {
    let printable: String =
        text.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).collect();
    printable.replace("*/", "* /").replace("/*", "/ *").replace("??", "? ?")
}
