//! Output is the same to the byte in every run, from whatever folder the compiler is started and however the model's path is
//! spelt.

use mcunet_testing::corpus::{core_models, models};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Files that a compilation started in `folder` writes, by name.
fn compile(folder: &Path, model: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let run = Command::new(env!("CARGO_BIN_EXE_mcunetc"))
        .arg(model)
        .args(["--name", "model", "--emit=project", "--emit=svg", "--report=json,html", "-o", "out"])
        .current_dir(folder)
        .output()
        .expect("the compiler runs");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let mut files = BTreeMap::new();
    collect(&folder.join("out"), Path::new(""), &mut files);
    files
}

fn collect(folder: &Path, prefix: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in std::fs::read_dir(folder).expect("a readable folder") {
        let entry = entry.expect("a readable entry");
        let (path, name) = (entry.path(), prefix.join(entry.file_name()));
        if path.is_dir() {
            collect(&path, &name, files);
        } else {
            files.insert(name, std::fs::read(path).expect("a readable file"));
        }
    }
}

#[test]
fn runs_and_folders_make_no_difference() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/models/digits/digits.tflite");
    let mut cases = vec![example];
    if let Some(root) = models() {
        cases.extend(core_models(&root).into_iter().step_by(8).map(|folder| folder.join("model.tflite")));
    }
    for model in cases {
        let (here, there) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let deep = there.path().join("a/b");
        std::fs::create_dir_all(&deep).expect("a folder");
        let copy = there.path().join("model.tflite");
        std::fs::copy(&model, &copy).expect("a copy of the model");
        std::fs::copy(&model, here.path().join("model.tflite")).expect("a copy of the model");
        let first = compile(here.path(), Path::new("model.tflite"));
        let second = compile(&deep, Path::new("../../model.tflite"));
        assert!(first.len() > 5, "expected a whole project, got {:?}", first.keys());
        assert_eq!(first.keys().collect::<Vec<_>>(), second.keys().collect::<Vec<_>>());
        for (name, bytes) in &first {
            assert!(second[name] == *bytes, "{}: '{}' differs", model.display(), name.display());
        }
    }
}
