//! Attributes of operators, one struct for each table of the format that has fields.
//!
//! Integers are as stored: whether a stride is positive or an axis exists is for the import, which knows the operands.

use super::super::schema::{self, BuiltinOptions as Tag};
use super::error::OperatorProblem;
use super::model::{Activation, ElementType, Padding, WeightsFormat};

/// Attributes of an operator. The variant follows the file's union tag, which the import has to match with the operator's code.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "named for the operators")]
pub enum OperatorOptions<'a> {
    /// The file has none.
    None,
    /// A table that isn't read; operators of this kind aren't supported.
    Other {
        /// The file's union tag.
        tag: u8,
    },
    /// Bytes that only a custom operator understands, by convention a flexbuffer map; possibly empty.
    Custom(&'a [u8]),
    Conv2d(Conv2d),
    DepthwiseConv2d(DepthwiseConv2d),
    TransposeConv(TransposeConv),
    Pool2d(Pool2d),
    FullyConnected(FullyConnected),
    Softmax {
        /// Factor of the inputs.
        beta: f32,
    },
    LogSoftmax,
    L2Norm {
        activation: Activation,
    },
    Add(Addition),
    Sub(Addition),
    Mul {
        activation: Activation,
    },
    Div {
        activation: Activation,
    },
    MaximumMinimum,
    SquaredDifference,
    Abs,
    Neg,
    Exp,
    Square,
    HardSwish,
    LeakyRelu {
        /// Slope left of zero.
        alpha: f32,
    },
    Cast {
        input_type: ElementType,
        output_type: ElementType,
    },
    Quantize,
    Dequantize,
    Reducer {
        /// Whether reduced dimensions stay, as ones.
        keep_dims: bool,
    },
    ArgMax {
        output_type: ElementType,
    },
    ArgMin {
        output_type: ElementType,
    },
    Reshape {
        /// Empty when the second operand has it; -1 for the dimension that follows from the others.
        new_shape: Vec<i32>,
    },
    Squeeze {
        /// Dimensions to drop, negative ones from the end; empty for all ones.
        squeeze_dims: Vec<i32>,
    },
    ExpandDims,
    Shape {
        output_type: ElementType,
    },
    Transpose,
    Tile,
    Pad,
    PadV2,
    Slice,
    StridedSlice(StridedSlice),
    Gather {
        axis: i32,
        batch_dims: i32,
    },
    Concatenation {
        axis: i32,
        activation: Activation,
    },
    Split {
        num_splits: i32,
    },
    SplitV {
        num_splits: i32,
    },
    Pack {
        values_count: i32,
        axis: i32,
    },
    Unpack {
        num: i32,
        axis: i32,
    },
    SpaceToDepth {
        block_size: i32,
    },
    DepthToSpace {
        block_size: i32,
    },
    ResizeBilinear(Resize),
    ResizeNearestNeighbor(Resize),
}

/// Attributes of a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "named for what they are")]
pub struct Conv2d {
    pub padding: Padding,
    pub stride_height: i32,
    pub stride_width: i32,
    pub dilation_height: i32,
    pub dilation_width: i32,
    pub activation: Activation,
    /// `Float32`, the format's default, says nothing.
    pub quantized_bias_type: ElementType,
}

/// Attributes of a depthwise convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "named for what they are")]
pub struct DepthwiseConv2d {
    pub padding: Padding,
    pub stride_height: i32,
    pub stride_width: i32,
    /// Output channels for each input channel; 0 where the writer left it to the shapes.
    pub depth_multiplier: i32,
    pub dilation_height: i32,
    pub dilation_width: i32,
    pub activation: Activation,
}

/// Attributes of a transposed convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "named for what they are")]
pub struct TransposeConv {
    pub padding: Padding,
    pub stride_height: i32,
    pub stride_width: i32,
    pub activation: Activation,
    /// `Float32`, the format's default, says nothing.
    pub quantized_bias_type: ElementType,
}

/// Attributes of average and maximum pooling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "named for what they are")]
pub struct Pool2d {
    pub padding: Padding,
    pub stride_height: i32,
    pub stride_width: i32,
    pub filter_height: i32,
    pub filter_width: i32,
    pub activation: Activation,
}

/// Attributes of a fully connected layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "named for what they are")]
pub struct FullyConnected {
    pub activation: Activation,
    pub weights_format: WeightsFormat,
    /// Whether the output keeps the input's rank.
    pub keep_num_dims: bool,
    /// Of hybrid kernels only: float activations, integer weights.
    pub asymmetric_quantize_inputs: bool,
    /// `Float32`, the format's default, says nothing.
    pub quantized_bias_type: ElementType,
}

/// Attributes of addition and subtraction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addition {
    /// Function of the result.
    pub activation: Activation,
    /// Whether int16 kernels may count on scales that are powers of two.
    pub pot_scale_int16: bool,
}

/// Attributes of a strided slice. Bit `i` of a mask belongs to position `i` of the `begin`, `end` and `strides` operands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StridedSlice {
    /// Positions whose begin is ignored.
    pub begin_mask: i32,
    /// Positions whose end is ignored.
    pub end_mask: i32,
    /// Position that stands for all dimensions left.
    pub ellipsis_mask: i32,
    /// Positions that insert a dimension of one.
    pub new_axis_mask: i32,
    /// Positions that take one element and drop the dimension.
    pub shrink_axis_mask: i32,
    /// Whether ends are relative to begins.
    pub offset: bool,
}

/// Attributes of resizing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resize {
    /// Whether corner pixels map to corner pixels.
    pub align_corners: bool,
    /// Whether pixels are sampled at their centers.
    pub half_pixel_centers: bool,
}

/// Reads the builtin options of `operator`; unknown enum values go to `problems`.
pub(super) fn read<'a>(
    operator: schema::Operator<'_>,
    problems: &mut Vec<OperatorProblem>,
) -> OperatorOptions<'a> {
    let tag = operator.builtin_options_type();
    if tag == Tag::NONE {
        return OperatorOptions::None;
    }
    let mut fields = Fields { problems };
    // Each group knows its own tags; a tag that no group knows is one that the schema leaves out.
    empty(tag)
        .or_else(|| fields.windows(operator, tag))
        .or_else(|| fields.arithmetic(operator, tag))
        .or_else(|| fields.types(operator, tag))
        .or_else(|| movement(operator, tag))
        .or_else(|| fields.joins(operator, tag))
        .unwrap_or(OperatorOptions::Other { tag: tag.0 })
}

/// Tables without fields.
fn empty(tag: Tag) -> Option<OperatorOptions<'static>> {
    Some(match tag {
        Tag::LogSoftmaxOptions => OperatorOptions::LogSoftmax,
        Tag::MaximumMinimumOptions => OperatorOptions::MaximumMinimum,
        Tag::SquaredDifferenceOptions => OperatorOptions::SquaredDifference,
        Tag::AbsOptions => OperatorOptions::Abs,
        Tag::NegOptions => OperatorOptions::Neg,
        Tag::ExpOptions => OperatorOptions::Exp,
        Tag::SquareOptions => OperatorOptions::Square,
        Tag::HardSwishOptions => OperatorOptions::HardSwish,
        Tag::QuantizeOptions => OperatorOptions::Quantize,
        Tag::DequantizeOptions => OperatorOptions::Dequantize,
        Tag::ExpandDimsOptions => OperatorOptions::ExpandDims,
        Tag::TransposeOptions => OperatorOptions::Transpose,
        Tag::TileOptions => OperatorOptions::Tile,
        Tag::PadOptions => OperatorOptions::Pad,
        Tag::PadV2Options => OperatorOptions::PadV2,
        Tag::SliceOptions => OperatorOptions::Slice,
        _ => return None,
    })
}

/// Tables of integers and flags, which need no check.
fn movement<'a>(operator: schema::Operator<'_>, tag: Tag) -> Option<OperatorOptions<'a>> {
    Some(match tag {
        Tag::ReducerOptions => {
            let table = operator.builtin_options_as_reducer_options()?;
            OperatorOptions::Reducer { keep_dims: table.keep_dims() }
        }
        Tag::ReshapeOptions => {
            let table = operator.builtin_options_as_reshape_options()?;
            OperatorOptions::Reshape { new_shape: integers(table.new_shape()) }
        }
        Tag::SqueezeOptions => {
            let table = operator.builtin_options_as_squeeze_options()?;
            OperatorOptions::Squeeze { squeeze_dims: integers(table.squeeze_dims()) }
        }
        Tag::StridedSliceOptions => {
            let table = operator.builtin_options_as_strided_slice_options()?;
            OperatorOptions::StridedSlice(StridedSlice {
                begin_mask: table.begin_mask(),
                end_mask: table.end_mask(),
                ellipsis_mask: table.ellipsis_mask(),
                new_axis_mask: table.new_axis_mask(),
                shrink_axis_mask: table.shrink_axis_mask(),
                offset: table.offset(),
            })
        }
        Tag::GatherOptions => {
            let table = operator.builtin_options_as_gather_options()?;
            OperatorOptions::Gather { axis: table.axis(), batch_dims: table.batch_dims() }
        }
        Tag::SplitOptions => {
            let table = operator.builtin_options_as_split_options()?;
            OperatorOptions::Split { num_splits: table.num_splits() }
        }
        Tag::SplitVOptions => {
            let table = operator.builtin_options_as_split_voptions()?;
            OperatorOptions::SplitV { num_splits: table.num_splits() }
        }
        Tag::PackOptions => {
            let table = operator.builtin_options_as_pack_options()?;
            OperatorOptions::Pack { values_count: table.values_count(), axis: table.axis() }
        }
        Tag::UnpackOptions => {
            let table = operator.builtin_options_as_unpack_options()?;
            OperatorOptions::Unpack { num: table.num(), axis: table.axis() }
        }
        Tag::SpaceToDepthOptions => {
            let table = operator.builtin_options_as_space_to_depth_options()?;
            OperatorOptions::SpaceToDepth { block_size: table.block_size() }
        }
        Tag::DepthToSpaceOptions => {
            let table = operator.builtin_options_as_depth_to_space_options()?;
            OperatorOptions::DepthToSpace { block_size: table.block_size() }
        }
        Tag::ResizeBilinearOptions => {
            let table = operator.builtin_options_as_resize_bilinear_options()?;
            OperatorOptions::ResizeBilinear(Resize {
                align_corners: table.align_corners(),
                half_pixel_centers: table.half_pixel_centers(),
            })
        }
        Tag::ResizeNearestNeighborOptions => {
            let table = operator.builtin_options_as_resize_nearest_neighbor_options()?;
            OperatorOptions::ResizeNearestNeighbor(Resize {
                align_corners: table.align_corners(),
                half_pixel_centers: table.half_pixel_centers(),
            })
        }
        _ => return None,
    })
}

fn integers(vector: Option<flatbuffers::Vector<'_, i32>>) -> Vec<i32> {
    vector.map_or_else(Vec::new, |vector| vector.iter().collect())
}

/// Tables with enums. After a problem the value given is of no account, since the model isn't returned.
struct Fields<'p> {
    problems: &'p mut Vec<OperatorProblem>,
}

impl Fields<'_> {
    fn unknown(&mut self, field: &'static str, value: i8) {
        self.problems.push(OperatorProblem::UnknownValue { field, value });
    }

    fn padding(&mut self, code: schema::Padding) -> Padding {
        Padding::from_schema(code).unwrap_or_else(|| {
            self.unknown("padding", code.0);
            Padding::Valid
        })
    }

    fn activation(&mut self, code: schema::ActivationFunctionType) -> Activation {
        Activation::from_schema(code).unwrap_or_else(|| {
            self.unknown("fused activation function", code.0);
            Activation::None
        })
    }

    fn weights_format(&mut self, code: schema::FullyConnectedOptionsWeightsFormat) -> WeightsFormat {
        WeightsFormat::from_schema(code).unwrap_or_else(|| {
            self.unknown("weights format", code.0);
            WeightsFormat::Default
        })
    }

    fn element_type(&mut self, field: &'static str, code: schema::TensorType) -> ElementType {
        ElementType::from_schema(code).unwrap_or_else(|| {
            self.unknown(field, code.0);
            ElementType::Float32
        })
    }

    /// Convolutions and pooling.
    fn windows<'a>(&mut self, operator: schema::Operator<'_>, tag: Tag) -> Option<OperatorOptions<'a>> {
        Some(match tag {
            Tag::Conv2DOptions => {
                let table = operator.builtin_options_as_conv_2_doptions()?;
                OperatorOptions::Conv2d(Conv2d {
                    padding: self.padding(table.padding()),
                    stride_height: table.stride_h(),
                    stride_width: table.stride_w(),
                    dilation_height: table.dilation_h_factor(),
                    dilation_width: table.dilation_w_factor(),
                    activation: self.activation(table.fused_activation_function()),
                    quantized_bias_type: self
                        .element_type("quantized bias type", table.quantized_bias_type()),
                })
            }
            Tag::DepthwiseConv2DOptions => {
                let table = operator.builtin_options_as_depthwise_conv_2_doptions()?;
                OperatorOptions::DepthwiseConv2d(DepthwiseConv2d {
                    padding: self.padding(table.padding()),
                    stride_height: table.stride_h(),
                    stride_width: table.stride_w(),
                    depth_multiplier: table.depth_multiplier(),
                    dilation_height: table.dilation_h_factor(),
                    dilation_width: table.dilation_w_factor(),
                    activation: self.activation(table.fused_activation_function()),
                })
            }
            Tag::TransposeConvOptions => {
                let table = operator.builtin_options_as_transpose_conv_options()?;
                OperatorOptions::TransposeConv(TransposeConv {
                    padding: self.padding(table.padding()),
                    stride_height: table.stride_h(),
                    stride_width: table.stride_w(),
                    activation: self.activation(table.fused_activation_function()),
                    quantized_bias_type: self
                        .element_type("quantized bias type", table.quantized_bias_type()),
                })
            }
            Tag::Pool2DOptions => {
                let table = operator.builtin_options_as_pool_2_doptions()?;
                OperatorOptions::Pool2d(Pool2d {
                    padding: self.padding(table.padding()),
                    stride_height: table.stride_h(),
                    stride_width: table.stride_w(),
                    filter_height: table.filter_height(),
                    filter_width: table.filter_width(),
                    activation: self.activation(table.fused_activation_function()),
                })
            }
            _ => return None,
        })
    }

    /// Matrix products, normalization and elementwise arithmetic.
    fn arithmetic<'a>(&mut self, operator: schema::Operator<'_>, tag: Tag) -> Option<OperatorOptions<'a>> {
        Some(match tag {
            Tag::FullyConnectedOptions => {
                let table = operator.builtin_options_as_fully_connected_options()?;
                OperatorOptions::FullyConnected(FullyConnected {
                    activation: self.activation(table.fused_activation_function()),
                    weights_format: self.weights_format(table.weights_format()),
                    keep_num_dims: table.keep_num_dims(),
                    asymmetric_quantize_inputs: table.asymmetric_quantize_inputs(),
                    quantized_bias_type: self
                        .element_type("quantized bias type", table.quantized_bias_type()),
                })
            }
            Tag::SoftmaxOptions => {
                let table = operator.builtin_options_as_softmax_options()?;
                OperatorOptions::Softmax { beta: table.beta() }
            }
            Tag::L2NormOptions => {
                let table = operator.builtin_options_as_l2_norm_options()?;
                OperatorOptions::L2Norm { activation: self.activation(table.fused_activation_function()) }
            }
            Tag::AddOptions => {
                let table = operator.builtin_options_as_add_options()?;
                let activation = self.activation(table.fused_activation_function());
                OperatorOptions::Add(Addition { activation, pot_scale_int16: table.pot_scale_int16() })
            }
            Tag::SubOptions => {
                let table = operator.builtin_options_as_sub_options()?;
                let activation = self.activation(table.fused_activation_function());
                OperatorOptions::Sub(Addition { activation, pot_scale_int16: table.pot_scale_int16() })
            }
            Tag::MulOptions => {
                let table = operator.builtin_options_as_mul_options()?;
                OperatorOptions::Mul { activation: self.activation(table.fused_activation_function()) }
            }
            Tag::DivOptions => {
                let table = operator.builtin_options_as_div_options()?;
                OperatorOptions::Div { activation: self.activation(table.fused_activation_function()) }
            }
            Tag::LeakyReluOptions => {
                let table = operator.builtin_options_as_leaky_relu_options()?;
                OperatorOptions::LeakyRelu { alpha: table.alpha() }
            }
            _ => return None,
        })
    }

    /// Tables that name element types.
    fn types<'a>(&mut self, operator: schema::Operator<'_>, tag: Tag) -> Option<OperatorOptions<'a>> {
        Some(match tag {
            Tag::CastOptions => {
                let table = operator.builtin_options_as_cast_options()?;
                OperatorOptions::Cast {
                    input_type: self.element_type("input type", table.in_data_type()),
                    output_type: self.element_type("output type", table.out_data_type()),
                }
            }
            Tag::ArgMaxOptions => {
                let table = operator.builtin_options_as_arg_max_options()?;
                OperatorOptions::ArgMax { output_type: self.element_type("output type", table.output_type()) }
            }
            Tag::ArgMinOptions => {
                let table = operator.builtin_options_as_arg_min_options()?;
                OperatorOptions::ArgMin { output_type: self.element_type("output type", table.output_type()) }
            }
            Tag::ShapeOptions => {
                let table = operator.builtin_options_as_shape_options()?;
                OperatorOptions::Shape { output_type: self.element_type("output type", table.out_type()) }
            }
            _ => return None,
        })
    }

    /// Concatenation, the one data movement with an activation.
    fn joins<'a>(&mut self, operator: schema::Operator<'_>, tag: Tag) -> Option<OperatorOptions<'a>> {
        if tag != Tag::ConcatenationOptions {
            return None;
        }
        let table = operator.builtin_options_as_concatenation_options()?;
        let activation = self.activation(table.fused_activation_function());
        Some(OperatorOptions::Concatenation { axis: table.axis(), activation })
    }
}
