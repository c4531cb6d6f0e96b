//! `docs/dialects.md` and `docs/passes.md` are generated from the op tables and the passes' heads, the table of rules in
//! `docs/fusion.md` from the rules, the picture of the example network's memory from its plan.
//! `BLESS=1 cargo test --test generated_docs` rewrites them.

use mcunet_ir::OpKind;
use mcunet_passes::fuse::rules;
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

#[test]
fn the_table_of_rules_is_up_to_date() {
    let (begin, end) = ("<!-- generated: rules -->\n", "<!-- end -->");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/fusion.md");
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    let (before, rest) = found.split_once(begin).expect("docs/fusion.md has a place for the rules");
    let (_, after) = rest.split_once(end).expect("the place for the rules ends");
    check("fusion.md", &format!("{before}{begin}\n{}\n{end}{after}", rules::reference()));
}

#[test]
fn the_memory_map_of_the_example_is_up_to_date() {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/models/digits/digits.tflite");
    let args = [model.into_os_string(), "--emit=svg".into(), "-o".into(), "-".into()];
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let mut io = mcunetc::Io { stdin: &mut &b""[..], stdout: &mut stdout, stderr: &mut stderr, color: false };
    let status = mcunetc::run(&args, &mut io);
    assert_eq!(status, 0, "{}", String::from_utf8_lossy(&stderr));
    check("images/digits_memory.svg", &String::from_utf8(stdout).expect("a picture is text"));
}
