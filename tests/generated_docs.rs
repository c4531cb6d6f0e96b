//! `docs/dialects.md` and `docs/passes.md` are generated from the op tables and the passes' heads.
//! `BLESS=1 cargo test --test generated_docs` rewrites them.

use mcunet_ir::OpKind;
use mcunet_passes::registry::Registry;
use std::path::Path;

fn check(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name);
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, text).expect("docs can be written");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == text, "docs/{name} is out of date: run BLESS=1 cargo test --test generated_docs");
}

#[test]
fn the_dialect_reference_is_up_to_date() {
    let mut text = String::from(
        "# Dialects\n\nGenerated from the op tables (`ir/src/nn/ops.rs`, `ir/src/loops/ops.rs`, `ir/src/builtin.rs`).\n\n",
    );
    let mut dialect = "";
    for spec in OpKind::all_specs() {
        let own = spec.name.split('.').next().unwrap_or_default();
        if own != dialect {
            text.push_str(&format!("## `{own}`\n\n"));
            dialect = own;
        }
        text.push_str(&spec.reference());
    }
    check("dialects.md", &text);
}

#[test]
fn the_pass_reference_is_up_to_date() {
    check("passes.md", &Registry::builtin().reference());
}
