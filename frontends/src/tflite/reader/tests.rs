//! The reader against files that the bindings' writer makes, against damage to them, and against real models.

mod damage;
mod fixture;

use std::path::PathBuf;

use flatbuffers::{FlatBufferBuilder, UnionWIPOffset, WIPOffset};

use super::super::schema::{self, BuiltinOptions as Tag};
use super::*;
use fixture::{CodeSpec, ModelSpec};

/// The errors of a file, as text.
fn errors(spec: &ModelSpec) -> Vec<String> {
    let bytes = spec.build();
    match read(&bytes) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.iter().map(ToString::to_string).collect(),
    }
}

/// The errors of the sound file after `change`.
fn errors_after(change: impl FnOnce(&mut ModelSpec)) -> Vec<String> {
    let mut spec = ModelSpec::sound();
    change(&mut spec);
    errors(&spec)
}

#[test]
fn a_sound_file_reads_back_as_written() {
    let bytes = ModelSpec::sound().build();
    let model = read(&bytes).expect("the file is sound");
    let tensor = |name: &str, shape: &[i32], element_type| Tensor {
        name: name.to_owned(),
        shape: shape.to_vec(),
        shape_signature: None,
        element_type,
        buffer: None,
        buffer_index: 0,
        quantization: None,
        is_variable: false,
    };
    let quantized = |scales: &[f32], zero_points: &[i64], axis| Quantization {
        scales: scales.into(),
        zero_points: zero_points.into(),
        axis,
    };
    let constant = [1, 2, 3, 4, 5, 6, 7, 8];
    let expected = Model {
        version: 3,
        description: "a fixture".to_owned(),
        subgraphs: vec![Subgraph {
            name: "main".to_owned(),
            tensors: vec![
                Tensor {
                    shape_signature: Some(vec![-1, 2, 2, 2]),
                    quantization: Some(quantized(&[0.5], &[-3], 0)),
                    ..tensor("input", &[1, 2, 2, 2], ElementType::Int8)
                },
                Tensor {
                    buffer: Some(&constant),
                    buffer_index: 1,
                    // Stored as one zero point for both scales.
                    quantization: Some(quantized(&[0.25, 0.125], &[0, 0], 3)),
                    ..tensor("filter", &[1, 1, 4, 2], ElementType::Int8)
                },
                tensor("output", &[1, 2, 2, 2], ElementType::Int8),
                Tensor { is_variable: true, ..tensor("state", &[], ElementType::Float32) },
            ],
            operators: vec![
                Operator {
                    index: 0,
                    code: OperatorCode::Builtin(BuiltinOperator::DEPTHWISE_CONV_2D),
                    version: 3,
                    inputs: vec![Some(TensorIndex(0)), Some(TensorIndex(1)), None],
                    outputs: vec![TensorIndex(2)],
                    options: OperatorOptions::None,
                    intermediates: vec![TensorIndex(3)],
                },
                Operator {
                    index: 1,
                    code: OperatorCode::Custom("Mine".into()),
                    version: 1,
                    inputs: vec![Some(TensorIndex(2))],
                    outputs: vec![TensorIndex(2)],
                    options: OperatorOptions::Custom(&[9, 8, 7]),
                    intermediates: vec![],
                },
            ],
            inputs: vec![TensorIndex(0)],
            outputs: vec![TensorIndex(2)],
        }],
        buffers: vec![&[], &constant],
        signatures: vec![Signature {
            key: "serving_default".to_owned(),
            subgraph: 0,
            inputs: vec![SignatureTensor { name: "x".to_owned(), tensor: TensorIndex(0) }],
            outputs: vec![SignatureTensor { name: "y".to_owned(), tensor: TensorIndex(2) }],
        }],
    };
    assert_eq!(model, expected);
    let filter = model.subgraphs[0].tensors[1].buffer.expect("a constant");
    assert!(bytes.as_ptr_range().contains(&filter.as_ptr()), "constants are borrowed from the file");
}

#[test]
fn names_that_are_not_utf8_are_read_lossily() {
    let mut spec = ModelSpec::sound();
    spec.tensors[0].name = b"na\xffme".to_vec();
    let bytes = spec.build();
    assert_eq!(read(&bytes).expect("names are free").subgraphs[0].tensors[0].name, "na\u{fffd}me");
}

#[test]
fn the_greater_of_both_operator_codes_counts() {
    for (narrow, wide, expected) in [
        (3, 0, BuiltinOperator::CONV_2D),
        (3, 3, BuiltinOperator::CONV_2D),
        (127, 150, BuiltinOperator::GELU),
        (0, 0, BuiltinOperator::ADD),
    ] {
        let mut spec = ModelSpec::sound();
        spec.codes[0] = CodeSpec { narrow, wide, ..CodeSpec::default() };
        let bytes = spec.build();
        let model = read(&bytes).expect("the code is known");
        assert_eq!(model.subgraphs[0].operators[0].code, OperatorCode::Builtin(expected), "{narrow} {wide}");
    }
}

#[test]
fn data_behind_the_flatbuffer_is_found() {
    let mut spec = ModelSpec::sound();
    spec.buffers[1] = fixture::BufferSpec { data: vec![], offset: u64::MAX, size: 8 };
    // The length of the flatbuffer doesn't depend on the numbers in it.
    let behind = spec.build().len() as u64;
    let error = |offset| {
        format!("buffer 1: expected a range inside the file of {behind} bytes, got 8 bytes at {offset}")
    };
    assert_eq!(errors(&spec), [error(u64::MAX)]);
    spec.buffers[1].offset = behind;
    assert_eq!(errors(&spec), [error(behind)]);
    let mut bytes = spec.build();
    bytes.extend(11..19);
    let model = read(&bytes).expect("the range is inside");
    assert_eq!(model.buffers[1], [11, 12, 13, 14, 15, 16, 17, 18]);
}

#[test]
fn bytes_that_are_no_model_are_refused() {
    let text =
        |bytes: &[u8]| read(bytes).expect_err("no model").iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(text(b""), ["expected file identifier 'TFL3' at byte 4, got ''"]);
    assert_eq!(text(b"\0\0\0\0TFL2"), ["expected file identifier 'TFL3' at byte 4, got 'TFL2'"]);
    let [error] = text(b"\xfc\xff\0\0TFL3").try_into().expect("one error");
    assert!(
        error.starts_with("expected a well-formed flatbuffer, got one that fails verification: range"),
        "{error}"
    );
    assert!(!error.contains('\n') && !error.ends_with('.'), "{error}");
}

#[test]
fn every_wrong_index_is_reported() {
    let found = errors_after(|spec| {
        spec.tensors[0].buffer = 9;
        spec.inputs = vec![0, 4];
        spec.outputs = vec![-1];
        spec.operators[0].inputs = vec![-1, -2, 4];
        spec.operators[0].outputs = vec![i32::MAX];
        spec.operators[0].intermediates = vec![-1];
        spec.operators[1].code = 2;
        spec.signature = (0, 7);
    });
    let operator = "operator 0 (DEPTHWISE_CONV_2D) of subgraph 0:";
    assert_eq!(
        found,
        [
            "tensor 0 'input' of subgraph 0: buffer: expected an index below 2, got 9".to_owned(),
            format!("{operator} input 1: expected an index below 4, got -2"),
            format!("{operator} input 2: expected an index below 4, got 4"),
            format!("{operator} output 0: expected an index below 4, got 2147483647"),
            format!("{operator} intermediate 0: expected an index below 4, got -1"),
            "operator 1 (unknown) of subgraph 0: operator code: expected an index below 2, got 2".to_owned(),
            "subgraph 0: input 1: expected an index below 4, got 4".to_owned(),
            "subgraph 0: output 0: expected an index below 4, got -1".to_owned(),
            "signature 0 'serving_default': input: expected an index below 4, got 7".to_owned(),
        ]
    );
    let found = errors_after(|spec| spec.signature = (1, 7));
    assert_eq!(found, ["signature 0 'serving_default': subgraph: expected an index below 1, got 1"]);
}

/// A change to a tensor, and the problem that it makes.
type TensorCase = (fn(&mut fixture::TensorSpec), &'static str);

#[test]
fn wrong_tensors_are_reported() {
    let cases: [TensorCase; 14] = [
        (|t| t.shape = vec![1, -2, 4, 2], "expected dimension 1 to be at least 0, got -2"),
        (|t| t.shape = vec![1, 1, 4, 3], "expected 12 bytes in its buffer, got 8"),
        (|t| t.shape = vec![0, 1, 4, 2], "expected 0 bytes in its buffer, got 8"),
        (
            |t| t.shape = vec![1 << 15, 1 << 15, 1, 2],
            "expected a shape of at most 1073741824 bytes, got a larger one",
        ),
        (|t| t.shape = vec![i32::MAX; 4], "expected a shape of at most 1073741824 bytes, got a larger one"),
        (
            |t| t.shape = vec![0, i32::MAX, i32::MAX, 1],
            "expected a shape of at most 1073741824 bytes, got a larger one",
        ),
        (|t| t.element_type = 23, "expected a known element type, got 23"),
        (|t| t.element_type = 17, "expected 4 bytes in its buffer, got 8"),
        (
            |t| t.shape_signature = vec![-2, 1, 4, 2],
            "expected dimension 0 of the shape signature to be at least -1, got -2",
        ),
        (|t| t.shape_signature = vec![-1], "expected a shape signature of rank 4, got 1"),
        (|t| t.zero_points = vec![], "expected one zero point or one for each of 2 scales, got 0"),
        (|t| t.scales[1] = f32::NAN, "expected scale 1 to be finite, got NaN"),
        (|t| t.sparse = true, "expected a dense tensor, got one with sparsity parameters"),
        (|t| t.external = 5, "expected its data in this file, got a reference to external buffer 5"),
    ];
    for (change, expected) in cases {
        let found = errors_after(|spec| change(&mut spec.tensors[1]));
        assert_eq!(found, [format!("tensor 1 'filter' of subgraph 0: {expected}")]);
    }
    let found = errors_after(|spec| spec.tensors[1].blockwise = true);
    assert_eq!(
        found,
        [
            "tensor 1 'filter' of subgraph 0: expected quantization by tensor or axis, got details of kind 2 (1 custom, 2 \
          blockwise, 3 multi-axis)"
        ]
    );
}

#[test]
fn tensors_have_a_common_limit() {
    let found = errors_after(|spec| {
        let large =
            fixture::TensorSpec { shape: vec![1 << 30], element_type: 9, ..fixture::TensorSpec::default() };
        spec.tensors.extend(std::iter::repeat_n(large, 16));
    });
    let rest = 8 + 8 + 8 + 4;
    assert_eq!(
        found,
        [format!("expected at most 17179869184 bytes in all tensors, got {}", (1_u64 << 34) + rest)]
    );
}

#[test]
fn wrong_operator_codes_and_parts_are_reported() {
    let code = |narrow, wide, name| {
        move |spec: &mut ModelSpec| spec.codes[1] = CodeSpec { narrow, wide, name, version: 1 }
    };
    let unknown = "operator code 1: expected a builtin operator, got unknown code";
    assert_eq!(errors_after(code(-1, -1, None)), [format!("{unknown} -1")]);
    assert_eq!(errors_after(code(127, 127, None)), [format!("{unknown} 127")]);
    assert_eq!(errors_after(code(127, 5000, None)), [format!("{unknown} 5000")]);
    assert_eq!(
        errors_after(code(32, 0, None)),
        ["operator code 1: expected the name of a custom operator, got none"]
    );
    assert_eq!(errors_after(|spec| spec.version = 2), ["expected format version 3, got 2"]);
    assert_eq!(
        errors(&ModelSpec { version: 3, ..ModelSpec::default() }),
        ["expected a model with buffers, got none", "expected a model with subgraphs, got none"]
    );
}

#[test]
fn many_errors_are_counted_and_names_cut() {
    let found = errors_after(|spec| {
        let bad = fixture::TensorSpec {
            name: vec![b'n'; 1000],
            element_type: 99,
            ..fixture::TensorSpec::default()
        };
        spec.tensors.extend(std::iter::repeat_n(bad, 250));
    });
    assert_eq!(found.len(), MAX_ERRORS + 1);
    assert!(found.iter().all(|error| error.len() < 200), "{}", found[0]);
    assert_eq!(found[MAX_ERRORS], "and 150 more errors");
}

/// A table of options as an operator refers to it.
fn union<T>(tag: Tag, table: WIPOffset<T>) -> (Tag, WIPOffset<UnionWIPOffset>) {
    (tag, table.as_union_value())
}

/// The options that the reader finds, or its errors.
fn read_options(write: fixture::Options) -> Result<String, Vec<String>> {
    let mut spec = ModelSpec::sound();
    spec.operators[0].options = Some(write);
    let bytes = spec.build();
    match read(&bytes) {
        Ok(model) => Ok(format!("{:?}", model.subgraphs[0].operators[0].options)),
        Err(errors) => Err(errors.iter().map(ToString::to_string).collect()),
    }
}

#[test]
fn options_read_back_as_written() {
    let cases: [(fixture::Options, &str); 6] = [
        (
            |b| {
                let args = schema::Conv2DOptionsArgs {
                    padding: schema::Padding::VALID,
                    stride_w: 2,
                    stride_h: 3,
                    fused_activation_function: schema::ActivationFunctionType::RELU6,
                    dilation_w_factor: 4,
                    dilation_h_factor: 5,
                    quantized_bias_type: schema::TensorType::INT64,
                };
                union(Tag::Conv2DOptions, schema::Conv2DOptions::create(b, &args))
            },
            "Conv2d(Conv2d { padding: Valid, stride_height: 3, stride_width: 2, dilation_height: 5, dilation_width: 4, \
             activation: Relu6, quantized_bias_type: Int64 })",
        ),
        (
            |b| {
                union(
                    Tag::Pool2DOptions,
                    schema::Pool2DOptions::create(
                        b,
                        &schema::Pool2DOptionsArgs {
                            stride_w: 1,
                            stride_h: 2,
                            filter_width: 3,
                            filter_height: 4,
                            ..Default::default()
                        },
                    ),
                )
            },
            "Pool2d(Pool2d { padding: Same, stride_height: 2, stride_width: 1, filter_height: 4, filter_width: 3, \
             activation: None })",
        ),
        (
            |b| {
                let new_shape = Some(b.create_vector(&[-1, 4]));
                union(
                    Tag::ReshapeOptions,
                    schema::ReshapeOptions::create(b, &schema::ReshapeOptionsArgs { new_shape }),
                )
            },
            "Reshape { new_shape: [-1, 4] }",
        ),
        (
            |b| {
                union(
                    Tag::ResizeBilinearOptions,
                    schema::ResizeBilinearOptions::create(
                        b,
                        &schema::ResizeBilinearOptionsArgs { align_corners: false, half_pixel_centers: true },
                    ),
                )
            },
            "ResizeBilinear(Resize { align_corners: false, half_pixel_centers: true })",
        ),
        (|b| union(Tag::PadOptions, schema::PadOptions::create(b, &schema::PadOptionsArgs {})), "Pad"),
        // The tag of a table that the schema leaves out.
        (|b| union(Tag(71), schema::PadOptions::create(b, &schema::PadOptionsArgs {})), "Other { tag: 71 }"),
    ];
    for (write, expected) in cases {
        assert_eq!(read_options(write).as_deref(), Ok(expected));
    }
}

/// Every table of the schema has a reader of its own: none falls through to `Other`.
#[test]
fn every_table_of_options_is_read() {
    for &tag in Tag::ENUM_VALUES {
        let mut spec = ModelSpec::sound();
        spec.operators[0].empty_options = Some(tag);
        let bytes = spec.build();
        let model = read(&bytes).expect("a table without fields has defaults");
        let options = &model.subgraphs[0].operators[0].options;
        assert!(!matches!(options, OperatorOptions::Other { .. }), "{tag:?}: {options:?}");
        assert_eq!(tag == Tag::NONE, *options == OperatorOptions::None, "{tag:?}");
    }
}

#[test]
fn every_unknown_value_of_options_is_reported() {
    let found = read_options(|b: &mut FlatBufferBuilder<'_>| {
        let args = schema::Conv2DOptionsArgs {
            padding: schema::Padding(2),
            fused_activation_function: schema::ActivationFunctionType(-1),
            quantized_bias_type: schema::TensorType(23),
            ..Default::default()
        };
        union(Tag::Conv2DOptions, schema::Conv2DOptions::create(b, &args))
    });
    let operator = "operator 0 (DEPTHWISE_CONV_2D) of subgraph 0: expected a known";
    assert_eq!(
        found,
        Err(vec![
            format!("{operator} padding, got 2"),
            format!("{operator} fused activation function, got -1"),
            format!("{operator} quantized bias type, got 23"),
        ])
    );
}

/// Where the real models are: `MCUNETC_MODELS`, or next to the workspace.
fn model_files() -> Vec<PathBuf> {
    let folder = std::env::var_os("MCUNETC_MODELS")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/models"), PathBuf::from);
    let Ok(entries) = std::fs::read_dir(&folder) else {
        eprintln!(
            "NOT TESTED: no models at {}; set MCUNETC_MODELS to a folder of folders with a model.tflite",
            folder.display()
        );
        return Vec::new();
    };
    let files = entries.map(|entry| entry.expect("a readable folder").path().join("model.tflite"));
    let files: Vec<_> = files.filter(|file| file.is_file()).collect();
    assert!(!files.is_empty(), "expected models in {}, got none", folder.display());
    files
}

#[test]
fn real_models_are_read() {
    for file in model_files() {
        let bytes = std::fs::read(&file).expect("a readable file");
        let model = read(&bytes).unwrap_or_else(|errors| panic!("{}: {errors:#?}", file.display()));
        let Some(main) = model.subgraphs.first() else { panic!("{}: no subgraph", file.display()) };
        assert!(!main.inputs.is_empty() && !main.outputs.is_empty(), "{}", file.display());
        for operator in model.subgraphs.iter().flat_map(|subgraph| &subgraph.operators) {
            // A field with a wrong id would be at its default, and no operator has a stride of 0.
            let strides = match (&operator.options, &operator.code) {
                (OperatorOptions::Conv2d(conv), _) => [conv.stride_height, conv.stride_width],
                (OperatorOptions::DepthwiseConv2d(conv), _) => [conv.stride_height, conv.stride_width],
                (OperatorOptions::Pool2d(pool), _) => [pool.stride_height, pool.stride_width],
                (_, OperatorCode::Builtin(BuiltinOperator::CONV_2D | BuiltinOperator::DEPTHWISE_CONV_2D)) => {
                    panic!("{}: {operator:?}", file.display())
                }
                _ => continue,
            };
            assert!(strides.iter().all(|&stride| stride > 0), "{}: {operator:?}", file.display());
        }
    }
}
