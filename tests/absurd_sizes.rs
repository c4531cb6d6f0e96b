//! Models with absurd dimensions are refused with a message and without output, and the compiler needs no more memory for
//! them than for others: it runs here with a limit on its address space.
#![cfg(target_os = "linux")]

use mcunet_testing::corpus::op_cases;
use std::path::Path;
use std::process::Command;

/// Address space of the compiler in kB.
const LIMIT_KB: usize = 800_000;

/// Compiles a file under the limit; the exit code, and what it says on standard error.
fn compile(model: &Path, output: &Path) -> (Option<i32>, String) {
    let run = Command::new("sh")
        .args(["-c", &format!("ulimit -v {LIMIT_KB} && exec \"$0\" \"$1\" -o \"$2\"")])
        .args([Path::new(env!("CARGO_BIN_EXE_mcunetc")), model, output])
        .output()
        .expect("sh runs");
    (run.status.code(), String::from_utf8_lossy(&run.stderr).into_owned())
}

fn refused(name: &str, file_name: &str, bytes: &[u8]) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (model, output) = (folder.path().join(file_name), folder.path().join("output"));
    std::fs::write(&model, bytes).expect("a writable folder");
    let (code, message) = compile(&model, &output);
    assert_eq!(code, Some(1), "{name}: {message}");
    assert!(message.starts_with("error: "), "{name}: {message}");
    assert!(!output.exists(), "{name}: expected no output");
}

/// A function of one int8 input and one int8 op.
fn text(input: &str, op: &str, output: &str) -> String {
    let ty = |shape: &str| format!("tensor<{shape}x!quant.uniform<i8:f32, 0.5:3>>");
    let (input, output) = (ty(input), ty(output));
    format!(
        "module \"absurd\" stage \"imported\" {{\n  func \"main\" inputs [\"x\" : {input}] outputs [\"y\" : {output}] {{\n  \
         ^(%x: {input}):\n    %y = {op} : {output}\n    func.return %y\n  }}\n}}\n"
    )
}

#[test]
fn texts() {
    // Sizes of 120 MB, 2.1 GB and 4 EB, and tables that are large though the tensor is not.
    for side in [11_000u64, 46_000, 2_000_000_000] {
        let (image, half) = (format!("1x{side}x{side}x1"), side / 2);
        let padding = side - 2;
        let cases = [
            (image.as_str(), "nn.relu %x {clamp = [3, 127]}".to_owned(), image.as_str()),
            (&image, "nn.transpose %x {permutation = [0, 2, 1, 3]}".to_owned(), &image),
            (&image, format!("nn.max_pool2d %x {{kernel = [{side}, {side}]}}"), "1x1x1x1"),
            ("1x2x2x1", format!("nn.resize_bilinear %x {{size = [{side}, {side}]}}"), &image),
            ("1x2x2x1", format!("nn.resize_nearest %x {{size = [{side}, {side}]}}"), &image),
            ("1x2x2x1", format!("nn.tile %x {{multiples = [1, {half}, {half}, 1]}}"), &image),
            (
                "1x2x2x1",
                format!("nn.pad %x {{high = [0, 0, 0, 0], low = [0, {padding}, {padding}, 0], value = 3}}"),
                &image,
            ),
        ];
        for (input, op, output) in cases {
            refused(&op, "absurd.mcir", text(input, &op, output).as_bytes());
        }
    }
    let op = "nn.resize_bilinear %x {size = [1, 60000000]}";
    refused(op, "absurd.mcir", text("1x1x2x1", op, "1x1x60000000x1").as_bytes());
    let op = "nn.transpose %x {permutation = [0, 2, 1, 3]}";
    refused("two large tensors", "absurd.mcir", text("1x8000x8000x1", op, "1x8000x8000x1").as_bytes());
}

/// A few bytes of flatbuffer claim gigabytes: every small 32-bit number of some models is made large in turn.
#[test]
fn models() {
    let mut refusals = 0;
    for case in op_cases() {
        let wanted =
            ["pad_image_i8", "tile_i8", "resize_bilinear_odd_i8", "resize_nearest_odd_i8", "mean_hw_i8"];
        if !wanted.iter().any(|name| case.ends_with(name)) {
            continue;
        }
        let bytes = std::fs::read(case.join("model.tflite")).expect("a readable case");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (model, output) = (folder.path().join("absurd.tflite"), folder.path().join("output"));
        for at in (8..bytes.len().saturating_sub(4)).step_by(4) {
            let number = i32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
            if !(1..=64).contains(&number) {
                continue;
            }
            let mut absurd = bytes.clone();
            absurd[at..at + 4].copy_from_slice(&40_000i32.to_le_bytes());
            std::fs::write(&model, absurd).expect("a writable folder");
            let (code, message) = compile(&model, &output);
            assert!(matches!(code, Some(0 | 1)), "{} at {at}: {code:?} {message}", case.display());
            refusals += usize::from(code == Some(1));
            let _ = std::fs::remove_dir_all(&output);
        }
    }
    assert!(refusals > 20, "expected dozens of refusals, got {refusals}");
}
