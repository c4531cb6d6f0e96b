//! Round trips and broken texts.

use super::{PrintOptions, parse, print};
use crate::builtin::Return;
use crate::loops::memory::Place;
use crate::loops::ops as l;
use crate::nn::ops as n;
use crate::quant::{Affine, F32, QuantType};
use crate::rows::RowNeed;
use crate::schedule::Schedule;
use crate::types::{MemRefType, Scalar, TensorType};
use crate::{Builder, Function, Module, Origin, Stage, Type};

fn tensor_module() -> Module {
    let mut module = Module::new("a \"quoted\" näme");
    let input = TensorType::quantized([1, 8, 8, 4], QuantType::per_tensor(Scalar::I8, 0.0235, -5));
    let channels = (0..6).map(|i| Affine { scale: F32(0.0121 / (i + 1) as f32), zero_point: 0 }).collect();
    let mut filter_quant = QuantType::per_axis(Scalar::I8, 0, channels);
    filter_quant.min = -127;
    let filter = TensorType::quantized([6, 3, 3, 4], filter_quant);
    let output = TensorType::quantized([1, 4, 4, 6], QuantType::per_tensor(Scalar::U8, 1e-20, 3));
    let filter_data = module.add_resource("conv0/filter", Scalar::I8, vec![7; 216]);
    let bias_data = module.add_resource("conv0/bias", Scalar::I32, (0..24).collect());
    let mut function = Function::new("main");
    let x = function.add_input("serving:0", input.into());
    let body = function.body;
    let mut b = Builder::at_end(&mut function, body);
    b.set_origin(Origin::Model { file: "vww.tflite".into(), operator: 3, name: "conv_1".into() });
    let w = b.value(n::Const { value: filter_data }, &[], filter.into());
    let bias = TensorType::plain([6], Scalar::I32);
    let bias = b.value(n::Const { value: bias_data }, &[], bias.into());
    let clamp = crate::attr::Clamp::Int(-128, 127);
    let conv = n::Conv2d { stride: [2, 2], pad: [0, 1, 0, 1], dilation: [1, 1], clamp };
    let y = b.value(conv, &[x, w, bias], output.clone().into());
    let halves = TensorType { shape: [1, 4, 4, 3].into(), element: output.element };
    let origin = Origin::Text { file: "f.mcir".into(), line: 3, column: 9 };
    b.set_origin(Origin::fuse([origin, Origin::Model { file: "m".into(), operator: 1, name: "q".into() }]));
    let split = b.op(n::Split { axis: 3, sizes: vec![3, 3] }, &[y], &[halves.clone().into(), halves.into()]);
    let results = b.function.ops[split].results.clone();
    b.op(Return {}, &results, &[]);
    for (name, &value) in ["left", "right"].iter().zip(&results) {
        let ty = function.ty(value).clone();
        function.outputs.push(crate::module::Port { name: (*name).into(), ty });
    }
    module.functions.push(function);
    module
}

fn loop_module() -> Module {
    let mut module = Module::new("loops");
    module.stage = Stage::Planned;
    let mut function = Function::new("main");
    let body = function.body;
    let mut b = Builder::at_end(&mut function, body);
    let memref = |element| Type::from(MemRefType { shape: [4].into(), element });
    let place = Some(Place { region: "sram".into(), offsets: vec![16, 0, 32], bytes: 4 });
    let role = l::Role::Activation;
    let buffer = l::Buffer { role, index: 0, rows: 8, scattered: true, live: Some([0, 1]), place };
    let memory = b.value(buffer, &[], memref(Scalar::I8));
    let block = b.function.create_block();
    b.function.add_argument(block, Type::I32, None);
    b.within(block, |b| {
        let (zero, four, start) = (b.i32(0), b.i32(4), b.f32(-0.1));
        let last = b.for_loop(zero, four, 2, &[start], |b, i, carried| {
            let word = b.load(memory, i);
            let float = b.value(l::ToFloat {}, &[word], Type::F32);
            vec![b.add(carried[0], float)]
        });
        let infinity = b.f32(f32::INFINITY);
        let finite = b.cmp(l::Predicate::Lt, last[0], infinity);
        let (then, otherwise) = (b.function.create_block(), b.function.create_block());
        for block in [then, otherwise] {
            b.within(block, |b| {
                let value = b.i32(-3);
                b.op(l::Yield {}, &[value], &[]);
            });
        }
        let chosen = b.op_with_regions(l::If {}, &[finite], &[Type::I32], &[then, otherwise]);
        let chosen = b.function.ops[chosen].results[0];
        b.store(chosen, memory, zero);
        b.op(l::Yield {}, &[], &[]);
    });
    let spans = RowNeed::Spans { spans: vec![[0, 1], [0, 2]], rows: 2 };
    let needs = vec![RowNeed::Whole, RowNeed::same(8), spans];
    let kernel = l::Kernel {
        layer: "nn.add".into(),
        writes: 1,
        rows: 8,
        needs,
        in_place: vec![[0, 0]],
        views: Vec::new(),
        shared: None,
    };
    let cascade = b.function.create_block();
    b.within(cascade, |b| {
        b.op_with_regions(kernel, &[memory], &[], &[block]);
        b.op(l::Yield {}, &[], &[]);
    });
    b.op_with_regions(l::Cascade { schedule: Schedule(vec![0; 8]) }, &[], &[], &[cascade]);
    b.op(Return {}, &[], &[]);
    module.functions.push(function);
    module
}

fn all_options() -> impl Iterator<Item = PrintOptions> {
    (0..8).map(|bits| PrintOptions {
        generic: bits & 1 != 0,
        locations: bits & 2 != 0,
        weights: bits & 4 != 0,
    })
}

#[test]
fn text_round_trips_byte_for_byte_in_both_spellings() {
    for module in [tensor_module(), loop_module()] {
        for options in all_options() {
            let text = print(&module, &options);
            let parsed = parse(&text, "round.mcir").unwrap_or_else(|errors| panic!("{errors}\n{text}"));
            assert_eq!(print(&parsed, &options), text);
            let other = PrintOptions { generic: !options.generic, ..options };
            if options.locations {
                assert_eq!(print(&parsed, &other), print(&module, &other));
            }
        }
    }
}

#[test]
fn several_errors_are_reported_with_their_places() {
    let text = "module \"m\" stage \"imported\" {\n  func \"main\" inputs [] outputs [] {\n    \
                %x = nn.conv2 %a : tensor<4xi8>\n    %y = nn.add %x, %q : tensor<4xi8>\n    func.return %y\n  }\n}\n";
    let errors = parse(text, "broken.mcir").map(|_| ()).unwrap_err();
    let messages: Vec<&str> = errors.0.iter().map(|error| error.message.as_str()).collect();
    assert_eq!(
        messages,
        ["unknown operation 'nn.conv2'; did you mean 'nn.conv2d'?", "expected a defined value, got '%q'"]
    );
    let place = Origin::Text { file: "broken.mcir".into(), line: 4, column: 21 };
    assert_eq!(errors.0[1].origin, place);
}

#[test]
fn damaged_texts_never_panic() {
    let mut state = 12345u64;
    let mut random = |limit: usize| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as usize % limit.max(1)
    };
    for module in [tensor_module(), loop_module()] {
        for options in all_options() {
            let text = print(&module, &options);
            for _ in 0..150 {
                let mut bytes = text.clone().into_bytes();
                for _ in 0..1 + random(4) {
                    let at = random(bytes.len());
                    match random(3) {
                        0 => bytes[at] = b" !%^#<>{}()[]:,\"x-9\n"[random(19)],
                        1 => drop(bytes.drain(at..(at + random(9)).min(text.len()).max(at).min(at + 1))),
                        _ => bytes.truncate(at),
                    }
                    if bytes.is_empty() {
                        break;
                    }
                }
                // Either outcome is fine; a panic is not.
                let _ = parse(&String::from_utf8_lossy(&bytes), "damaged.mcir");
            }
        }
    }
}

/// A literal next to a resource of the name that it would get, whose data comes later.
#[test]
fn literals_get_names_that_nothing_else_has() {
    let text = r#"module "m" stage "imported" {
  func "main" inputs [] outputs [] {
    %a = nn.const {value = dense<[1, -2]> : tensor<2xi8>} : tensor<2xi8>
    %b = nn.const {value = dense_resource<a> : tensor<17xi8>} : tensor<17xi8>
    %c = nn.const {value = dense<[true]> : tensor<1xi1>} : tensor<1xi1>
    func.return
  }
}
{-#
  dialect_resources: {
    builtin: {
      a: "0x010000000102030405060708090A0B0C0D0E0F1011"
    }
  }
#-}
"#;
    let module = parse(text, "test").expect("valid text");
    let with_weights = PrintOptions { weights: true, ..PrintOptions::default() };
    assert_eq!(print(&module, &with_weights), text);
    let names: Vec<&str> = module.resources().map(|(name, _)| &**name).collect();
    assert_eq!(names, ["a_1", "a", "c"]);
    let repeated = text.replace("1011\"\n", "1011\",\n a_1: \"0x010000000102\"\n");
    let errors = parse(&repeated, "test").expect_err("data of a literal");
    assert_eq!(errors.0[0].message, "expected the data of resource 'a_1' once, got it again");
}
