//! A subgraph as the bytes of a file. Constants begin at multiples of 16 bytes, as the schema asks, for runtimes that read
//! them in place.

use super::graph::{Graph, Operator, Tensor};
use crate::tflite::reader::{
    Conv2d, DepthwiseConv2d, FullyConnected, OperatorOptions as O, Pool2d, StridedSlice, TransposeConv,
};
use crate::tflite::{importer, schema, text};
use flatbuffers::{FlatBufferBuilder, UnionWIPOffset, WIPOffset};
use mcunet_ir::quant::{Affine, Granularity};
use schema::BuiltinOptions as Tag;

/// Alignment of constants within the file, in bytes.
const ALIGNMENT: usize = 16;

/// What follows when everything else is written: the root's offset and the identifier.
const HEAD_BYTES: usize = 8;

/// The largest operator code that the older of the format's two fields holds.
const NARROW_CODES: i32 = 127;

type Builder<'a> = FlatBufferBuilder<'a>;

/// The file of a graph.
pub(super) fn write(graph: &Graph) -> Vec<u8> {
    let mut b = FlatBufferBuilder::new();
    let buffers: Vec<_> = graph.buffers.iter().map(|bytes| buffer(&mut b, bytes)).collect();
    let codes: Vec<_> =
        graph.codes.iter().map(|&(code, version)| operator_code(&mut b, code, version)).collect();
    let subgraph = subgraph(&mut b, graph);
    let args = schema::ModelArgs {
        version: 3,
        operator_codes: Some(b.create_vector(&codes)),
        subgraphs: Some(b.create_vector(&[subgraph])),
        description: Some(text::encode(&mut b, "mcunetc")),
        buffers: Some(b.create_vector(&buffers)),
        signature_defs: None,
    };
    let model = schema::Model::create(&mut b, &args);
    pad(&mut b, HEAD_BYTES);
    schema::finish_model_buffer(&mut b, model);
    b.finished_data().to_vec()
}

/// Fills up so that what begins `bytes` further on begins at a multiple of [`ALIGNMENT`], counted from the end: files are
/// written from the end to the beginning.
fn pad(b: &mut Builder<'_>, bytes: usize) {
    while !(b.unfinished_data().len() + bytes).is_multiple_of(ALIGNMENT) {
        b.push(0u8);
    }
}

fn buffer<'a>(b: &mut Builder<'a>, bytes: &[u8]) -> WIPOffset<schema::Buffer<'a>> {
    let data = (!bytes.is_empty()).then(|| {
        pad(b, bytes.len());
        b.create_vector(bytes)
    });
    schema::Buffer::create(b, &schema::BufferArgs { data, offset: 0, size: 0 })
}

fn operator_code<'a>(
    b: &mut Builder<'a>,
    code: schema::BuiltinOperator,
    version: i32,
) -> WIPOffset<schema::OperatorCode<'a>> {
    let narrow = i8::try_from(code.0.min(NARROW_CODES)).unwrap_or(i8::MAX);
    let args = schema::OperatorCodeArgs {
        deprecated_builtin_code: narrow,
        custom_code: None,
        version,
        builtin_code: code,
    };
    schema::OperatorCode::create(b, &args)
}

fn subgraph<'a>(b: &mut Builder<'a>, graph: &Graph) -> WIPOffset<schema::SubGraph<'a>> {
    let tensors: Vec<_> = graph.tensors.iter().map(|item| tensor(b, item)).collect();
    let operators: Vec<_> = graph.operators.iter().map(|item| operator(b, item)).collect();
    let indices = |ids: &[super::Id]| ids.iter().map(|id| id.index()).collect::<Vec<i32>>();
    let args = schema::SubGraphArgs {
        tensors: Some(b.create_vector(&tensors)),
        inputs: Some(b.create_vector(&indices(&graph.inputs))),
        outputs: Some(b.create_vector(&indices(&graph.outputs))),
        operators: Some(b.create_vector(&operators)),
        name: Some(text::encode(b, &graph.name)),
    };
    schema::SubGraph::create(b, &args)
}

fn tensor<'a>(b: &mut Builder<'a>, tensor: &Tensor) -> WIPOffset<schema::Tensor<'a>> {
    let quantization = tensor.ty.quant().map(|quant| {
        let (channels, axis) = match &quant.granularity {
            Granularity::PerTensor(only) => (std::slice::from_ref(only), 0),
            Granularity::PerAxis { axis, channels } => {
                (channels.as_slice(), i32::try_from(*axis).unwrap_or(i32::MAX))
            }
        };
        let scales: Vec<f32> = channels.iter().map(|affine| affine.scale.get()).collect();
        let zero_points: Vec<i64> = channels.iter().map(|affine: &Affine| affine.zero_point.into()).collect();
        let args = schema::QuantizationParametersArgs {
            scale: Some(b.create_vector(&scales)),
            zero_point: Some(b.create_vector(&zero_points)),
            quantized_dimension: axis,
            ..Default::default()
        };
        schema::QuantizationParameters::create(b, &args)
    });
    // Larger dimensions were refused.
    let shape: Vec<i32> = tensor.ty.shape.iter().map(|&dim| i32::try_from(dim).unwrap_or(i32::MAX)).collect();
    let args = schema::TensorArgs {
        shape: Some(b.create_vector(&shape)),
        type_: importer::element_type(tensor.ty.storage()).into(),
        buffer: tensor.buffer,
        name: Some(text::encode(b, &tensor.name)),
        quantization,
        ..Default::default()
    };
    schema::Tensor::create(b, &args)
}

fn operator<'a>(b: &mut Builder<'a>, operator: &Operator) -> WIPOffset<schema::Operator<'a>> {
    let options = options(b, &operator.options);
    let indices = |ids: &[super::Id]| ids.iter().map(|id| id.index()).collect::<Vec<i32>>();
    let args = schema::OperatorArgs {
        // Each code is used, and operators take memory.
        opcode_index: u32::try_from(operator.code).unwrap_or(u32::MAX),
        inputs: Some(b.create_vector(&indices(&operator.inputs))),
        outputs: Some(b.create_vector(&indices(&operator.outputs))),
        builtin_options_type: options.map_or(Tag::NONE, |(tag, _)| tag),
        builtin_options: options.map(|(_, table)| table),
        ..Default::default()
    };
    schema::Operator::create(b, &args)
}

/// Writes a table of options and gives its tag.
macro_rules! table {
    ($b:ident, $Options:ident, $Args:ident { $($field:ident : $value:expr),* $(,)? }) => {{
        let args = schema::$Args { $($field: $value),* };
        Some((Tag::$Options, schema::$Options::create($b, &args).as_union_value()))
    }};
}

/// The options of an operator, which [`reader`](crate::tflite::reader) reads back as they are here.
fn options(b: &mut Builder<'_>, options: &O<'_>) -> Option<(Tag, WIPOffset<UnionWIPOffset>)> {
    match options {
        O::None | O::Other { .. } | O::Custom(_) => None,
        O::Conv2d(_) | O::DepthwiseConv2d(_) | O::TransposeConv(_) | O::Pool2d(_) | O::FullyConnected(_) => {
            layer(b, options)
        }
        O::Softmax { beta } => table!(b, SoftmaxOptions, SoftmaxOptionsArgs { beta: *beta }),
        O::LogSoftmax => table!(b, LogSoftmaxOptions, LogSoftmaxOptionsArgs {}),
        O::L2Norm { activation } => {
            table!(b, L2NormOptions, L2NormOptionsArgs { fused_activation_function: (*activation).into() })
        }
        O::Add(op) => table!(
            b,
            AddOptions,
            AddOptionsArgs {
                fused_activation_function: op.activation.into(),
                pot_scale_int16: op.pot_scale_int16,
            }
        ),
        O::Sub(op) => table!(
            b,
            SubOptions,
            SubOptionsArgs {
                fused_activation_function: op.activation.into(),
                pot_scale_int16: op.pot_scale_int16,
            }
        ),
        O::Mul { activation } => {
            table!(b, MulOptions, MulOptionsArgs { fused_activation_function: (*activation).into() })
        }
        O::Div { activation } => {
            table!(b, DivOptions, DivOptionsArgs { fused_activation_function: (*activation).into() })
        }
        O::MaximumMinimum => table!(b, MaximumMinimumOptions, MaximumMinimumOptionsArgs {}),
        O::SquaredDifference => table!(b, SquaredDifferenceOptions, SquaredDifferenceOptionsArgs {}),
        O::Abs => table!(b, AbsOptions, AbsOptionsArgs {}),
        O::Neg => table!(b, NegOptions, NegOptionsArgs {}),
        O::Exp => table!(b, ExpOptions, ExpOptionsArgs {}),
        O::Square => table!(b, SquareOptions, SquareOptionsArgs {}),
        O::HardSwish => table!(b, HardSwishOptions, HardSwishOptionsArgs {}),
        O::LeakyRelu { alpha } => table!(b, LeakyReluOptions, LeakyReluOptionsArgs { alpha: *alpha }),
        O::Cast { input_type, output_type } => table!(
            b,
            CastOptions,
            CastOptionsArgs { in_data_type: (*input_type).into(), out_data_type: (*output_type).into() }
        ),
        O::Quantize => table!(b, QuantizeOptions, QuantizeOptionsArgs {}),
        O::Dequantize => table!(b, DequantizeOptions, DequantizeOptionsArgs {}),
        O::Reducer { keep_dims } => table!(b, ReducerOptions, ReducerOptionsArgs { keep_dims: *keep_dims }),
        O::ArgMax { output_type } => {
            table!(b, ArgMaxOptions, ArgMaxOptionsArgs { output_type: (*output_type).into() })
        }
        O::ArgMin { output_type } => {
            table!(b, ArgMinOptions, ArgMinOptionsArgs { output_type: (*output_type).into() })
        }
        O::Reshape { .. }
        | O::Squeeze { .. }
        | O::ExpandDims
        | O::Shape { .. }
        | O::Transpose
        | O::Tile
        | O::Pad
        | O::PadV2
        | O::Slice
        | O::StridedSlice(_)
        | O::Gather { .. }
        | O::Concatenation { .. }
        | O::Split { .. }
        | O::SplitV { .. }
        | O::Pack { .. }
        | O::Unpack { .. }
        | O::SpaceToDepth { .. }
        | O::DepthToSpace { .. }
        | O::ResizeBilinear(_)
        | O::ResizeNearestNeighbor(_) => movement(b, options),
    }
}

fn movement(b: &mut Builder<'_>, options: &O<'_>) -> Option<(Tag, WIPOffset<UnionWIPOffset>)> {
    match options {
        O::Reshape { new_shape } => {
            let new_shape = Some(b.create_vector(new_shape));
            table!(b, ReshapeOptions, ReshapeOptionsArgs { new_shape: new_shape })
        }
        O::Squeeze { squeeze_dims } => {
            let squeeze_dims = Some(b.create_vector(squeeze_dims));
            table!(b, SqueezeOptions, SqueezeOptionsArgs { squeeze_dims: squeeze_dims })
        }
        O::ExpandDims => table!(b, ExpandDimsOptions, ExpandDimsOptionsArgs {}),
        O::Shape { output_type } => {
            table!(b, ShapeOptions, ShapeOptionsArgs { out_type: (*output_type).into() })
        }
        O::Transpose => table!(b, TransposeOptions, TransposeOptionsArgs {}),
        O::Tile => table!(b, TileOptions, TileOptionsArgs {}),
        O::Pad => table!(b, PadOptions, PadOptionsArgs {}),
        O::PadV2 => table!(b, PadV2Options, PadV2OptionsArgs {}),
        O::Slice => table!(b, SliceOptions, SliceOptionsArgs {}),
        O::StridedSlice(op) => {
            let &StridedSlice {
                begin_mask,
                end_mask,
                ellipsis_mask,
                new_axis_mask,
                shrink_axis_mask,
                offset,
            } = op;
            table!(
                b,
                StridedSliceOptions,
                StridedSliceOptionsArgs {
                    begin_mask: begin_mask,
                    end_mask: end_mask,
                    ellipsis_mask: ellipsis_mask,
                    new_axis_mask: new_axis_mask,
                    shrink_axis_mask: shrink_axis_mask,
                    offset: offset,
                }
            )
        }
        O::Gather { axis, batch_dims } => {
            table!(b, GatherOptions, GatherOptionsArgs { axis: *axis, batch_dims: *batch_dims })
        }
        O::Concatenation { axis, activation } => table!(
            b,
            ConcatenationOptions,
            ConcatenationOptionsArgs { axis: *axis, fused_activation_function: (*activation).into() }
        ),
        O::Split { num_splits } => table!(b, SplitOptions, SplitOptionsArgs { num_splits: *num_splits }),
        O::SplitV { num_splits } => table!(b, SplitVOptions, SplitVOptionsArgs { num_splits: *num_splits }),
        O::Pack { values_count, axis } => {
            table!(b, PackOptions, PackOptionsArgs { values_count: *values_count, axis: *axis })
        }
        O::Unpack { num, axis } => table!(b, UnpackOptions, UnpackOptionsArgs { num: *num, axis: *axis }),
        O::SpaceToDepth { block_size } => {
            table!(b, SpaceToDepthOptions, SpaceToDepthOptionsArgs { block_size: *block_size })
        }
        O::DepthToSpace { block_size } => {
            table!(b, DepthToSpaceOptions, DepthToSpaceOptionsArgs { block_size: *block_size })
        }
        O::ResizeBilinear(op) => table!(
            b,
            ResizeBilinearOptions,
            ResizeBilinearOptionsArgs {
                align_corners: op.align_corners,
                half_pixel_centers: op.half_pixel_centers,
            }
        ),
        O::ResizeNearestNeighbor(op) => {
            table!(
                b,
                ResizeNearestNeighborOptions,
                ResizeNearestNeighborOptionsArgs {
                    align_corners: op.align_corners,
                    half_pixel_centers: op.half_pixel_centers,
                }
            )
        }
        _ => None,
    }
}

/// Layers with weights, and pools.
fn layer(b: &mut Builder<'_>, options: &O<'_>) -> Option<(Tag, WIPOffset<UnionWIPOffset>)> {
    match *options {
        O::Conv2d(Conv2d {
            padding,
            stride_height,
            stride_width,
            dilation_height,
            dilation_width,
            activation,
            quantized_bias_type,
        }) => table!(
            b,
            Conv2DOptions,
            Conv2DOptionsArgs {
                padding: padding.into(),
                stride_w: stride_width,
                stride_h: stride_height,
                fused_activation_function: activation.into(),
                dilation_w_factor: dilation_width,
                dilation_h_factor: dilation_height,
                quantized_bias_type: quantized_bias_type.into(),
            }
        ),
        O::DepthwiseConv2d(DepthwiseConv2d {
            padding,
            stride_height,
            stride_width,
            depth_multiplier,
            dilation_height,
            dilation_width,
            activation,
        }) => table!(
            b,
            DepthwiseConv2DOptions,
            DepthwiseConv2DOptionsArgs {
                padding: padding.into(),
                stride_w: stride_width,
                stride_h: stride_height,
                depth_multiplier: depth_multiplier,
                fused_activation_function: activation.into(),
                dilation_w_factor: dilation_width,
                dilation_h_factor: dilation_height,
            }
        ),
        O::TransposeConv(TransposeConv {
            padding,
            stride_height,
            stride_width,
            activation,
            quantized_bias_type,
        }) => table!(
            b,
            TransposeConvOptions,
            TransposeConvOptionsArgs {
                padding: padding.into(),
                stride_w: stride_width,
                stride_h: stride_height,
                fused_activation_function: activation.into(),
                quantized_bias_type: quantized_bias_type.into(),
            }
        ),
        O::Pool2d(Pool2d {
            padding,
            stride_height,
            stride_width,
            filter_height,
            filter_width,
            activation,
        }) => {
            table!(
                b,
                Pool2DOptions,
                Pool2DOptionsArgs {
                    padding: padding.into(),
                    stride_w: stride_width,
                    stride_h: stride_height,
                    filter_width: filter_width,
                    filter_height: filter_height,
                    fused_activation_function: activation.into(),
                }
            )
        }
        O::FullyConnected(FullyConnected {
            activation,
            weights_format,
            keep_num_dims,
            asymmetric_quantize_inputs,
            quantized_bias_type,
        }) => table!(
            b,
            FullyConnectedOptions,
            FullyConnectedOptionsArgs {
                fused_activation_function: activation.into(),
                weights_format: weights_format.into(),
                keep_num_dims: keep_num_dims,
                asymmetric_quantize_inputs: asymmetric_quantize_inputs,
                quantized_bias_type: quantized_bias_type.into(),
            }
        ),
        _ => None,
    }
}
