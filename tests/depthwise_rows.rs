//! Rows of depthwise convolutions on a simulated Cortex-M4: every form of the assembly behind `loop.depthwise`, which golden models
//! have only a few of, against the interpreter.

mod common;

use common::numbers::Numbers;
use mcunet_testing::tools::has_tool;
use std::fmt::Write;

/// A network of one pointwise and one depthwise convolution for each of some widths, strides and borders, side by side.
fn module(widths: &[usize]) -> String {
    let mut numbers = Numbers(1);
    let (mut inputs, mut arguments, mut outputs, mut body, mut results) =
        (Vec::new(), Vec::new(), Vec::new(), String::new(), Vec::new());
    let shapes = widths.iter().flat_map(|&width| {
        (1..=2).flat_map(move |stride| (0..4).map(move |pad| (width, stride, pad / 2, pad % 2)))
    });
    for (number, (width, stride, before, after)) in shapes.enumerate() {
        let (rows, columns) = (4 / stride + 1, (width + before + after - 3) / stride + 1);
        let zero_point = [-128, 3, -20][numbers.next(0, 2) as usize];
        let clamp = ["", "clamp = [-100, 90], "][numbers.next(0, 1) as usize];
        let input = format!("tensor<1x5x{width}x3x!quant.uniform<i8:f32, 0.5:{}>>", numbers.next(-128, 127));
        let between =
            format!("tensor<1x5x{width}x3x!quant.uniform<i8:f32, 40.0:{}>>", numbers.next(-128, 127));
        let output = format!("tensor<1x{rows}x{columns}x3x!quant.uniform<i8:f32, 60.0:{zero_point}>>");
        let (pointwise, taps, bias) =
            (numbers.list(9, -127, 127), numbers.list(27, -127, 127), numbers.list(3, -900, 900));
        let _ = write!(
            body,
            "    %i{number} = nn.const {{value = dense<[{pointwise}]> : tensor<9xi8>}} : tensor<3x1x1x3x!quant.uniform<i8:f32, 0.5>>\n    \
             %w{number} = nn.const {{value = dense<[{taps}]> : tensor<27xi8>}} : tensor<1x3x3x3x!quant.uniform<i8:f32, 0.5>>\n    \
             %b{number} = nn.const {{value = dense<[{bias}]> : tensor<3xi32>}} : tensor<3xi32>\n    \
             %p{number} = nn.conv2d %x{number}, %i{number}, %b{number} : {between}\n    \
             %y{number} = nn.depthwise_conv2d %p{number}, %w{number}, %b{number} \
             {{{clamp}pad = [1, 1, {before}, {after}], stride = [{stride}, {stride}]}} : {output}\n"
        );
        inputs.push(format!("\"x{number}\" : {input}"));
        arguments.push(format!("%x{number}: {input}"));
        outputs.push(format!("\"y{number}\" : {output}"));
        results.push(format!("%y{number}"));
    }
    let [inputs, arguments, outputs, results] =
        [inputs, arguments, outputs, results].map(|list| list.join(", "));
    format!(
        "module \"rows\" stage \"imported\" {{\n  func \"main\" inputs [{inputs}] outputs [{outputs}] {{\n  ^({arguments}):\n\
         {body}    func.return {results}\n  }}\n}}\n"
    )
}

#[test]
fn every_form_is_exact_on_a_simulated_cortex_m4() {
    if !has_tool("arm-none-eabi-gcc") || !has_tool("qemu-system-arm") {
        println!("NOT CHECKED: arm-none-eabi-gcc or qemu-system-arm is missing");
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    for widths in [[4, 5, 6, 7], [8, 9, 10, 11], [12, 13, 14, 17]] {
        let path = folder.path().join("rows.mcir");
        std::fs::write(&path, module(&widths)).expect("a writable folder");
        let path = path.to_string_lossy();
        let (status, listing, errors) = common::run(&["opt", &path, "--pass-pipeline=lower"], "");
        assert_eq!(status, 0, "{errors}");
        let count = listing.matches("loop.depthwise %").count();
        assert!(count >= 24, "expected nearly all of 32 layers to be rows of all channels, got {count}");
        let (status, _, errors) = common::run(&["check", &path, "--on=m4", "--samples=2"], "");
        assert_eq!(status, 0, "{widths:?}: {errors}");
    }
}
