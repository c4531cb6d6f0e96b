//! Products of matrices on simulated cores: the assembly behind `loop.matmul` for sizes around those of its loops, which golden
//! models have only a few of, against the interpreter.

mod common;

use common::numbers::{Layers, Numbers};
use mcunet_testing::corpus::workspace;
use mcunet_testing::tools::has_tool;

/// A network of pointwise convolutions from these numbers of channels to seven, side by side: a group of four rows and one of three, of two
/// pixels and of the third.
fn module(channels: impl Iterator<Item = usize>) -> String {
    let mut numbers = Numbers(2);
    let mut layers = Layers::default();
    for columns in channels {
        let zero_point = [-128, 3, -20][numbers.next(0, 2) as usize];
        let clamp = ["", " {clamp = [-100, 90]}"][numbers.next(0, 1) as usize];
        let input =
            format!("tensor<1x1x3x{columns}x!quant.uniform<i8:f32, 0.5:{}>>", numbers.next(-128, 127));
        let output = format!("tensor<1x1x3x7x!quant.uniform<i8:f32, 100.0:{zero_point}>>");
        let count = 7 * columns;
        let (weights, bias) = (numbers.list(count, -127, 127), numbers.list(7, -900, 900));
        let body = format!(
            "    %w{columns} = nn.const {{value = dense<[{weights}]> : tensor<{count}xi8>}} : \
             tensor<7x1x1x{columns}x!quant.uniform<i8:f32, 0.5>>\n    \
             %b{columns} = nn.const {{value = dense<[{bias}]> : tensor<7xi32>}} : tensor<7xi32>\n    \
             %y{columns} = nn.conv2d %x{columns}, %w{columns}, %b{columns}{clamp} : {output}\n"
        );
        layers.add(columns, &input, &output, &body);
    }
    layers.module("products")
}

/// A core without long multiplications has to requantize with those of halves.
#[test]
fn all_sizes_are_exact_on_a_simulated_cortex_m0plus() {
    let built = workspace().join("bench/cortexm/build/cmxprof.so").exists();
    if !built || !["arm-none-eabi-gcc", "qemu-system-arm", "python3"].into_iter().all(has_tool) {
        println!("NOT CHECKED: arm-none-eabi-gcc, qemu-system-arm, python3 or the simulator is missing");
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("products.mcir");
    std::fs::write(&path, module((2..=70).step_by(4))).expect("a writable folder");
    // It compares outputs with those of the interpreter.
    let (status, _, errors) = common::run(&["bench", &path.to_string_lossy(), "--on=m0plus"], "");
    assert_eq!(status, 0, "{errors}");
}

#[test]
fn all_sizes_are_exact_on_a_simulated_core() {
    if !has_tool("arm-none-eabi-gcc") || !has_tool("qemu-system-arm") {
        println!("NOT CHECKED: arm-none-eabi-gcc or qemu-system-arm is missing");
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("products.mcir");
    // Pairs of columns from 1 to a bit more than twice what a loop's body multiplies.
    std::fs::write(&path, module((2..=70).step_by(2))).expect("a writable folder");
    let path = path.to_string_lossy();
    let options = ["opt", &path, "--pass-pipeline=lower", "--core=cortex-m7"];
    let (status, listing, errors) = common::run(&options, "");
    assert_eq!(status, 0, "{errors}");
    let count = listing
        .lines()
        .filter(|line| line.contains("dual_issue = true") && line.contains("pixels = 2"))
        .count();
    assert!(count >= 30, "expected nearly all of 35 layers to be products for two pixels, got {count}");
    // The simulated core runs code for both.
    for (core, level) in
        [("cortex-m4", "-O2"), ("cortex-m4", "-Os"), ("cortex-m7", "-O2"), ("cortex-m7", "-Os")]
    {
        let core = format!("--core={core}");
        let options = ["check", &path, &core, "--on=m4", level, "--samples=2"];
        let (status, _, errors) = common::run(&options, "");
        assert_eq!(status, 0, "{options:?}: {errors}");
    }
}
