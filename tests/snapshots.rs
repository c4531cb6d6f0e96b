//! What users read: emitted C and diagnostics, as snapshots. `INSTA_UPDATE=always cargo test --test snapshots` rewrites them.

mod common;

use common::{POOL, run};

#[test]
fn emitted_c_of_a_pool() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().to_str().expect("a UTF-8 path");
    let (status, _, stderr) = run(&["-", "-o", path], POOL);
    assert_eq!(status, 0, "{stderr}");
    for file in ["pool.h", "pool.c"] {
        let text = std::fs::read_to_string(folder.path().join(file)).expect("the file is there");
        insta::assert_snapshot!(file, text);
    }
}

/// The same with the image's rows asked for, and the pooled ones handed over.
#[test]
fn emitted_c_of_a_pool_by_rows() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().to_str().expect("a UTF-8 path");
    let options = ["-", "--stream-input", "--stream-output", "--emit=project", "-o", path];
    let (status, _, stderr) = run(&options, POOL);
    assert_eq!(status, 0, "{stderr}");
    for file in ["pool.h", "pool.c", "main.c"] {
        let text = std::fs::read_to_string(folder.path().join(file)).expect("the file is there");
        insta::assert_snapshot!(format!("by_rows_{file}"), text);
    }
}

#[test]
fn diagnostics_of_a_broken_module() {
    let broken = POOL.replace("nn.max_pool2d", "nn.max_pool").replace("%pooled\n  }", "%poled\n  }");
    let (status, stdout, stderr) = run(&["opt", "-"], &broken);
    assert_eq!((status, stdout.as_str()), (1, ""));
    insta::assert_snapshot!("broken_module", stderr);
}

#[test]
fn diagnostics_of_a_budget() {
    let (status, stdout, stderr) = run(&["-", "--sram=16", "-o", "never-written"], POOL);
    assert_eq!((status, stdout.as_str()), (3, ""));
    assert!(!std::path::Path::new("never-written").exists());
    insta::assert_snapshot!("budget", stderr);
}

#[test]
fn memory_map_of_a_pool() {
    let (status, stdout, stderr) = run(&["-", "--emit=svg", "-o", "-"], POOL);
    assert_eq!(status, 0, "{stderr}");
    insta::assert_snapshot!("pool_memory.svg", stdout);
}
