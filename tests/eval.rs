//! `mcunetc eval`: its reports and diagnostics as snapshots, its executors against each other, and published figures on
//! real data. `INSTA_UPDATE=always cargo test --test eval` rewrites the snapshots.

mod common;

use common::run;
use mcunet_testing::corpus::{datasets, models};
use mcunet_testing::tools::has_tool;
use serde_json::Value;
use std::path::Path;

/// Rounds three numbers to halves.
const ROUND: &str = r#"module "round" stage "imported" {
  func "main" inputs ["in" : tensor<1x3xf32>] outputs ["out" : tensor<1x3x!quant.uniform<i8:f32, 0.5>>] {
  ^(%x: tensor<1x3xf32>):
    %y = nn.quantize %x : tensor<1x3x!quant.uniform<i8:f32, 0.5>>
    func.return %y
  }
}
"#;

/// Gives its input back.
const SAME: &str = r#"module "same" stage "imported" {
  func "main" inputs ["in" : tensor<1x3xf32>] outputs ["out" : tensor<1x3xf32>] {
  ^(%x: tensor<1x3xf32>):
    func.return %x
  }
}
"#;

/// Two outputs.
const TWO: &str = r#"module "two" stage "imported" {
  func "main" inputs ["in" : tensor<1x3xf32>] outputs ["left" : tensor<1x3x!quant.uniform<i8:f32, 0.5>>, "right" : tensor<1x3x!quant.uniform<i8:f32, 0.25>>] {
  ^(%x: tensor<1x3xf32>):
    %y = nn.quantize %x : tensor<1x3x!quant.uniform<i8:f32, 0.5>>
    %z = nn.quantize %x : tensor<1x3x!quant.uniform<i8:f32, 0.25>>
    func.return %y, %z
  }
}
"#;

/// Six samples of three numbers; the greatest of those of sample 4 are equal after rounding.
const SAMPLES: [[f32; 3]; 6] =
    [[1.0, 0.0, 0.0], [3.0, 2.0, 1.2], [0.0, 1.0, 0.5], [0.0, 0.0, 2.0], [1.1, 1.2, 0.0], [0.0, 2.5, 4.0]];

/// Classes of the samples: sample 3 is taken for another, and sample 4 only because of the tie.
const LABELS: &str = "0\n0\n1\n1\n1\n2\n";

struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn new() -> Self {
        let files = Self { folder: tempfile::tempdir().expect("a temporary folder") };
        let bytes: Vec<u8> = SAMPLES.iter().flatten().flat_map(|value| value.to_le_bytes()).collect();
        let texts = [("round.mcir", ROUND), ("same.mcir", SAME), ("two.mcir", TWO), ("labels.txt", LABELS)];
        for (name, text) in texts {
            files.write(name, text.as_bytes());
        }
        files.write("x.bin", &bytes);
        files
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.folder.path().join(name), bytes).expect("a file");
    }

    /// Runs `eval`, with `@` for the folder in arguments and without it in what is printed.
    fn eval(&self, args: &[&str]) -> (u8, String, String) {
        let folder = format!("{}/", self.folder.path().display());
        let args: Vec<String> = std::iter::once("eval")
            .chain(args.iter().copied())
            .map(|arg| arg.replace('@', &folder))
            .collect();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let (status, stdout, stderr) = run(&args, "");
        (status, stdout.replace(&folder, ""), stderr.replace(&folder, ""))
    }
}

const CLASSIFY: [&str; 6] = [
    "@round.mcir",
    "--data=@x.bin",
    "--labels=@labels.txt",
    "--task=classification",
    "--reference=@same.mcir",
    "--executor=interp",
];

#[test]
fn reports() {
    let files = Files::new();
    let report = |args: &[&str]| {
        let (status, stdout, stderr) = files.eval(args);
        assert_eq!((status, stderr.as_str()), (0, ""));
        stdout
    };
    insta::assert_snapshot!("classification", report(&CLASSIFY));
    insta::assert_snapshot!("classification_json", report(&[&CLASSIFY[..], &["--json"]].concat()));
    files.write("anomalies.txt", b"0\n1\n0\n1\n1\n1\n");
    let reconstruct = ["@round.mcir", "--data=@x.bin", "--labels=@anomalies.txt", "--executor=interp"];
    insta::assert_snapshot!("reconstruction", report(&reconstruct));
    let two = ["@two.mcir", "--data=@x.bin", "--reference=@two.mcir", "--executor=interp", "--limit=2"];
    insta::assert_snapshot!("outputs", report(&two));
}

#[test]
fn diagnostics() {
    let files = Files::new();
    files.write("classes.txt", b"0\n0\n1\n1\n1\n7\n");
    files.write("few.txt", b"0\n");
    files.write("nan.bin", &[f32::NAN.to_le_bytes(), [0; 4], [0; 4]].concat());
    files.write("odd.bin", &[0; 13]);
    std::fs::create_dir(files.folder.path().join("empty")).expect("a folder");
    let cases: [(&str, &[&str]); 10] = [
        ("nothing to compare with", &["@two.mcir", "--data=@x.bin"]),
        ("no data", &["@round.mcir", "--data=@empty"]),
        ("not there", &["@round.mcir", "--data=@missing"]),
        ("not a number", &["@round.mcir", "--data=@nan.bin"]),
        ("wrong size", &["@round.mcir", "--data=@odd.bin"]),
        ("few labels", &["@round.mcir", "--data=@x.bin", "--labels=@few.txt"]),
        (
            "no such class",
            &["@round.mcir", "--data=@x.bin", "--labels=@classes.txt", "--task=classification"],
        ),
        ("no anomaly", &["@round.mcir", "--data=@x.bin", "--labels=@classes.txt"]),
        ("which output", &["@two.mcir", "--data=@x.bin", "--labels=@labels.txt"]),
        ("other outputs", &["@round.mcir", "--data=@x.bin", "--reference=@two.mcir"]),
    ];
    let mut text = String::new();
    for (name, args) in cases {
        let (status, stdout, stderr) = files.eval(&[args, &["--executor=interp"]].concat());
        assert_eq!(stdout, "", "{name}");
        assert!(status == 1 || status == 2, "{name}: {status}");
        text.push_str(&format!("# {name}: exit code {status}\n{stderr}\n"));
    }
    insta::assert_snapshot!("eval_diagnostics", text);
}

/// A report without what says which executor made it.
fn figures(text: &str) -> Value {
    let mut json: Value = serde_json::from_str(text).expect("it is JSON");
    json["executor"] = Value::Null;
    if json["reference"].is_object() {
        json["reference"]["executor"] = Value::Null;
    }
    json
}

#[test]
fn executors_agree() {
    if !has_tool("cc") {
        return;
    }
    let files = Files::new();
    let of = |files: &Files, args: &[&str], executor: &str| {
        let (status, stdout, stderr) = files.eval(&[args, &["--json", executor]].concat());
        assert_eq!(status, 0, "{stderr}");
        figures(&stdout)
    };
    let classify = &CLASSIFY[..5];
    for jobs in ["--jobs=1", "--jobs=3"] {
        let args = [classify, &[jobs]].concat();
        assert_eq!(of(&files, &args, "--executor=c"), of(&files, &args, "--executor=interp"));
    }
    let Some(root) = models() else { return };
    let pixels: Vec<u8> = (0..4 * 3072u32).map(|i| (i * i / 7 % 251) as u8).collect();
    files.write("pixels.bin", &pixels);
    let path = |name: &str| root.join(name).join("model.tflite").display().to_string();
    let (model, reference) = (path("mlperf-ic-int8"), format!("--reference={}", path("mlperf-ic-float")));
    let args = [model.as_str(), "--data=@pixels.bin", "--data-type=uint8", &reference];
    let (compiled, interpreted) = (of(&files, &args, "--executor=c"), of(&files, &args, "--executor=interp"));
    assert_eq!(compiled["reference"]["agreement"], interpreted["reference"]["agreement"]);
    let ratio = |json: &Value| json["reference"]["outputs"][0]["sqnr_db"].as_f64().expect("a ratio");
    // Floats are rounded in another order.
    assert!((ratio(&compiled) - ratio(&interpreted)).abs() < 0.01, "{compiled} {interpreted}");
}

/// Accuracy or agreement on real data, in percent, and by how much decoders of photographs may move it.
#[test]
fn figures_on_real_data() {
    let (Some(models), Some(data)) = (models(), datasets()) else { return };
    if !has_tool("cc") {
        return;
    }
    let eval = |model: &str, args: &[String]| -> Value {
        let model = models.join(model).join("model.tflite").display().to_string();
        let all: Vec<&str> =
            ["eval", &model, "--json"].into_iter().chain(args.iter().map(String::as_str)).collect();
        let (status, stdout, stderr) = run(&all, "");
        assert_eq!(status, 0, "{stderr}");
        serde_json::from_str(&stdout).expect("it is JSON")
    };
    let at = |path: &str| data.join(path).display().to_string();
    let vww = [
        format!("--data={}", at("vww01/images")),
        format!("--labels={}", at("vww01/y_labels.csv")),
        "--channels=bgr".to_owned(),
    ];
    if Path::new(&at("vww01")).is_dir() {
        for (model, expected) in [("mlperf-vww-int8", 85.3), ("mlperf-vww-float", 85.2), ("te-vww", 90.2)] {
            let accuracy = 100.0 * eval(model, &vww)["accuracy"].as_f64().expect("an accuracy");
            println!("{model}: {accuracy:.1} %");
            assert!((accuracy - expected).abs() < 0.35, "{model}: {accuracy} instead of {expected}");
        }
    }
    let folder = at("cifar10-calib500");
    if let Ok(entries) = std::fs::read_dir(&folder) {
        let raw = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|e| e == "bin"));
        let mut args: Vec<String> = raw.map(|path| format!("--data={}", path.display())).collect();
        args.push("--data-type=uint8".to_owned());
        args.push(format!("--reference={}", models.join("mlperf-ic-float/model.tflite").display()));
        let agreement = eval("mlperf-ic-int8", &args)["reference"]["agreement"].as_f64();
        assert_eq!(agreement, Some(0.976));
    }
}
