//! Means over images, whose sums are made four channels at a time, against the interpreter: of
//! random images, and of the least number everywhere, of which 256 just fit 16 bits.

mod common;

use mcunet_testing::tools::has_tool;

const TYPE: &str = "!quant.uniform<i8:f32, 0.5:3>";

/// Four ways to a mean of one image.
fn module() -> String {
    let means = "!quant.uniform<i8:f32, 0.25:-9>";
    let image = format!("tensor<1x16x16x16x{TYPE}>");
    let outputs = format!(
        "\"a\" : tensor<1x1x1x16x{TYPE}>, \"b\" : tensor<1x16x{means}>, \"c\" : tensor<1x16x{means}>, \"d\" : tensor<1x8x8x16x{TYPE}>"
    );
    format!(
        "module \"sums\" stage \"imported\" {{\n  func \"main\" inputs [\"x\" : {image}] outputs [{outputs}] {{\n  ^(%x: {image}):\n    \
         %a = nn.avg_pool2d %x {{kernel = [16, 16]}} : tensor<1x1x1x16x{TYPE}>\n    \
         %b = nn.mean %x {{axes = [1, 2]}} : tensor<1x16x{means}>\n    \
         %m = nn.mean %x {{axes = [2]}} : tensor<1x16x16x{TYPE}>\n    \
         %c = nn.mean %m {{axes = [1]}} : tensor<1x16x{means}>\n    \
         %d = nn.avg_pool2d %x {{clamp = [-100, 90], kernel = [3, 3], pad = [1, 0, 0, 1], stride = [2, 2]}} : tensor<1x8x8x16x{TYPE}>\n    \
         func.return %a, %b, %c, %d\n  }}\n}}\n"
    )
}

#[test]
fn means_are_exact() {
    if !has_tool("make") || !has_tool("cc") {
        println!("NOT CHECKED: make or cc is missing");
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).expect("a writable folder");
        path.to_string_lossy().into_owned()
    };
    let path = write("sums.mcir", module().as_bytes());
    let least = write("least.bin", &[0x80; 16 * 16 * 16]);
    let (status, listing, errors) = common::run(&["opt", &path, "--pass-pipeline=lower"], "");
    assert_eq!(status, 0, "{errors}");
    assert!(listing.matches("loop.load_i8x4").count() >= 4, "expected words of four channels: {listing}");
    // All at once, and row by row.
    for pipeline in ["canonicalize,fuse,lower,pack-weights,plan-memory", ""] {
        let pipeline = format!("--pass-pipeline={pipeline}");
        let options = if pipeline.ends_with('=') { vec![] } else { vec![pipeline.as_str()] };
        for input in [&["--samples=3"][..], &["--input", &least]] {
            let args = [&["check", &path][..], &options, input].concat();
            let (status, _, errors) = common::run(&args, "");
            assert_eq!(status, 0, "{args:?}: {errors}");
        }
    }
}
