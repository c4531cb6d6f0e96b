//! What the tests of the command line share: the compiler in process, and a small model.

#[allow(dead_code)] // not every test program needs it
pub mod numbers;

use std::ffi::OsString;

/// Runs the compiler in process; its exit code, output and errors.
pub fn run(args: &[&str], input: &str) -> (u8, String, String) {
    let args: Vec<OsString> = args.iter().map(OsString::from).collect();
    let (mut stdin, mut stdout, mut stderr) = (input.as_bytes(), Vec::new(), Vec::new());
    let mut io = mcunetc::Io { stdin: &mut stdin, stdout: &mut stdout, stderr: &mut stderr, color: false };
    let status = mcunetc::run(&args, &mut io);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("output is UTF-8");
    (status, text(stdout), text(stderr))
}

/// A maximum over windows of 2x2.
#[allow(dead_code)] // not every test program needs it
pub const POOL: &str = r#"module "pool" stage "imported" {
  func "main" inputs ["image" : tensor<1x4x4x2x!quant.uniform<i8:f32, 0.5:3>>] outputs ["pooled" : tensor<1x2x2x2x!quant.uniform<i8:f32, 0.5:3>>] {
  ^(%image: tensor<1x4x4x2x!quant.uniform<i8:f32, 0.5:3>>):
    %pooled = nn.max_pool2d %image {kernel = [2, 2], stride = [2, 2]} : tensor<1x2x2x2x!quant.uniform<i8:f32, 0.5:3>>
    func.return %pooled
  }
}
"#;
