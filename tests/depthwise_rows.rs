//! Rows of depthwise convolutions on a simulated Cortex-M4: every form of the assembly behind `loop.depthwise`, which golden models
//! have only a few of, against the interpreter.

mod common;

use common::numbers::{Layers, Numbers};
use mcunet_testing::tools::has_tool;

/// A network of one pointwise and one depthwise convolution for each of some widths, strides and borders, side by side, with
/// windows of so many rows and columns.
fn module(taps: usize, widths: &[usize]) -> String {
    let mut numbers = Numbers(1);
    let mut layers = Layers::default();
    let shapes = widths.iter().flat_map(|&width| {
        // As far outside as the window allows where the middle of it is inside, and a pixel less.
        let half = taps / 2;
        (1..=2).flat_map(move |stride| {
            (0..4).map(move |pad| (width, stride, half - 1 + pad / 2, half - 1 + pad % 2))
        })
    });
    for (number, (width, stride, before, after)) in shapes.enumerate() {
        let half = taps / 2;
        let (rows, columns) =
            ((5 + 2 * half - taps) / stride + 1, (width + before + after - taps) / stride + 1);
        let zero_point = [-128, 3, -20][numbers.next(0, 2) as usize];
        let clamp = ["", "clamp = [-100, 90], "][numbers.next(0, 1) as usize];
        let input = format!("tensor<1x5x{width}x3x!quant.uniform<i8:f32, 0.5:{}>>", numbers.next(-128, 127));
        let between =
            format!("tensor<1x5x{width}x3x!quant.uniform<i8:f32, 40.0:{}>>", numbers.next(-128, 127));
        // Most results within limits, or few.
        let scale = if number % 4 == 0 { 60 } else { 1500 * taps };
        let output = format!("tensor<1x{rows}x{columns}x3x!quant.uniform<i8:f32, {scale}.0:{zero_point}>>");
        let count = 3 * taps * taps;
        let (pointwise, weights, bias) =
            (numbers.list(9, -127, 127), numbers.list(count, -127, 127), numbers.list(3, -900, 900));
        let body = format!(
            "    %i{number} = nn.const {{value = dense<[{pointwise}]> : tensor<9xi8>}} : tensor<3x1x1x3x!quant.uniform<i8:f32, 0.5>>\n    \
             %w{number} = nn.const {{value = dense<[{weights}]> : tensor<{count}xi8>}} : tensor<1x{taps}x{taps}x3x!quant.uniform<i8:f32, 0.5>>\n    \
             %b{number} = nn.const {{value = dense<[{bias}]> : tensor<3xi32>}} : tensor<3xi32>\n    \
             %p{number} = nn.conv2d %x{number}, %i{number}, %b{number} : {between}\n    \
             %y{number} = nn.depthwise_conv2d %p{number}, %w{number}, %b{number} \
             {{{clamp}pad = [{half}, {half}, {before}, {after}], stride = [{stride}, {stride}]}} : {output}\n"
        );
        layers.add(number, &input, &output, &body);
    }
    layers.module("rows")
}

#[test]
fn every_form_is_exact_on_a_simulated_cortex_m4() {
    if !has_tool("arm-none-eabi-gcc") || !has_tool("qemu-system-arm") {
        println!("NOT CHECKED: arm-none-eabi-gcc or qemu-system-arm is missing");
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let cases: [(usize, &[usize]); 8] = [
        (3, &[4, 5, 6, 7]),
        (3, &[8, 9, 10, 11]),
        (3, &[12, 13, 14, 17]),
        (5, &[5, 6, 8, 11]),
        (5, &[14, 19, 22, 28]),
        (7, &[7, 8, 11, 13]),
        (7, &[16, 22, 30, 45]),
        (4, &[5, 9, 14, 24]),
    ];
    for (taps, widths) in cases {
        let path = folder.path().join("rows.mcir");
        std::fs::write(&path, module(taps, widths)).expect("a writable folder");
        let path = path.to_string_lossy();
        let (status, listing, errors) = common::run(&["opt", &path, "--pass-pipeline=lower"], "");
        assert_eq!(status, 0, "{errors}");
        let count = listing.matches("loop.depthwise %").count();
        assert!(
            count >= 24,
            "expected nearly all of 32 layers to be rows of all channels, got {count} of {taps} taps"
        );
        // What runs on the one core runs on the other.
        for core in ["--core=cortex-m4", "--core=cortex-m7"] {
            let (status, _, errors) = common::run(&["check", &path, core, "--on=m4", "--samples=2"], "");
            assert_eq!(status, 0, "{core}, {taps} taps, {widths:?}: {errors}");
        }
    }
}
