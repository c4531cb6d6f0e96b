//! A small model that the bindings' writer makes from a description, sound or not.

use flatbuffers::{FlatBufferBuilder, UnionWIPOffset, WIPOffset};

use super::super::super::{schema, text};
use schema::{BuiltinOptions, QuantizationDetails};

/// Writes a table of options.
pub(super) type Options =
    for<'a> fn(&mut FlatBufferBuilder<'a>) -> (BuiltinOptions, WIPOffset<UnionWIPOffset>);

#[derive(Clone, Default)]
pub(super) struct BufferSpec {
    pub data: Vec<u8>,
    pub offset: u64,
    pub size: u64,
}

#[derive(Clone, Default)]
pub(super) struct TensorSpec {
    pub name: Vec<u8>,
    pub shape: Vec<i32>,
    pub shape_signature: Vec<i32>,
    pub element_type: i8,
    pub buffer: u32,
    pub scales: Vec<f32>,
    pub zero_points: Vec<i64>,
    pub axis: i32,
    pub is_variable: bool,
    pub sparse: bool,
    pub blockwise: bool,
    pub external: u32,
}

#[derive(Clone, Default)]
pub(super) struct CodeSpec {
    pub narrow: i8,
    pub wide: i32,
    pub name: Option<&'static str>,
    pub version: i32,
}

#[derive(Clone, Default)]
pub(super) struct OperatorSpec {
    pub code: u32,
    pub inputs: Vec<i32>,
    pub outputs: Vec<i32>,
    pub intermediates: Vec<i32>,
    pub options: Option<Options>,
    /// A table without fields under this tag.
    pub empty_options: Option<BuiltinOptions>,
    pub custom_options: Vec<u8>,
}

/// A model of one subgraph, or of nothing if it has no tensors.
#[derive(Clone, Default)]
pub(super) struct ModelSpec {
    pub version: u32,
    pub buffers: Vec<BufferSpec>,
    pub codes: Vec<CodeSpec>,
    pub tensors: Vec<TensorSpec>,
    pub operators: Vec<OperatorSpec>,
    pub inputs: Vec<i32>,
    pub outputs: Vec<i32>,
    /// Subgraph, and tensor of the input.
    pub signature: (u32, u32),
}

impl ModelSpec {
    /// A model with one of everything.
    pub(super) fn sound() -> Self {
        let int8 = TensorSpec { element_type: schema::TensorType::INT8.0, ..TensorSpec::default() };
        Self {
            version: 3,
            buffers: vec![
                BufferSpec::default(),
                BufferSpec { data: (1..9).collect(), ..BufferSpec::default() },
            ],
            codes: vec![
                CodeSpec { narrow: 4, wide: 4, name: None, version: 3 },
                CodeSpec { narrow: 32, wide: 32, name: Some("Mine"), version: 1 },
            ],
            tensors: vec![
                TensorSpec {
                    name: b"input".to_vec(),
                    shape: vec![1, 2, 2, 2],
                    shape_signature: vec![-1, 2, 2, 2],
                    scales: vec![0.5],
                    zero_points: vec![-3],
                    ..int8.clone()
                },
                TensorSpec {
                    name: b"filter".to_vec(),
                    shape: vec![1, 1, 4, 2],
                    buffer: 1,
                    scales: vec![0.25, 0.125],
                    zero_points: vec![0],
                    axis: 3,
                    ..int8.clone()
                },
                TensorSpec { name: b"output".to_vec(), shape: vec![1, 2, 2, 2], ..int8 },
                TensorSpec { name: b"state".to_vec(), is_variable: true, ..TensorSpec::default() },
            ],
            operators: vec![
                OperatorSpec {
                    inputs: vec![0, 1, -1],
                    outputs: vec![2],
                    intermediates: vec![3],
                    ..OperatorSpec::default()
                },
                OperatorSpec {
                    code: 1,
                    inputs: vec![2],
                    outputs: vec![2],
                    custom_options: vec![9, 8, 7],
                    ..OperatorSpec::default()
                },
            ],
            inputs: vec![0],
            outputs: vec![2],
            signature: (0, 0),
        }
    }

    /// The file.
    pub(super) fn build(&self) -> Vec<u8> {
        let mut b = FlatBufferBuilder::new();
        let description = Some(text::encode(&mut b, "a fixture"));
        if self.tensors.is_empty() {
            let args = schema::ModelArgs { version: self.version, description, ..Default::default() };
            let model = schema::Model::create(&mut b, &args);
            schema::finish_model_buffer(&mut b, model);
            return b.finished_data().to_vec();
        }
        let buffers: Vec<_> = self.buffers.iter().map(|buffer| buffer.write(&mut b)).collect();
        let codes: Vec<_> = self.codes.iter().map(|code| code.write(&mut b)).collect();
        let subgraph = self.write_subgraph(&mut b);
        let signature = self.write_signature(&mut b);
        let args = schema::ModelArgs {
            version: self.version,
            operator_codes: Some(b.create_vector(&codes)),
            subgraphs: Some(b.create_vector(&[subgraph])),
            description,
            buffers: Some(b.create_vector(&buffers)),
            signature_defs: Some(b.create_vector(&[signature])),
        };
        let model = schema::Model::create(&mut b, &args);
        schema::finish_model_buffer(&mut b, model);
        b.finished_data().to_vec()
    }

    fn write_subgraph<'a>(&self, b: &mut FlatBufferBuilder<'a>) -> WIPOffset<schema::SubGraph<'a>> {
        let tensors: Vec<_> = self.tensors.iter().map(|tensor| tensor.write(b)).collect();
        let operators: Vec<_> = self.operators.iter().map(|operator| operator.write(b)).collect();
        let args = schema::SubGraphArgs {
            tensors: Some(b.create_vector(&tensors)),
            inputs: Some(b.create_vector(&self.inputs)),
            outputs: Some(b.create_vector(&self.outputs)),
            operators: Some(b.create_vector(&operators)),
            name: Some(text::encode(b, "main")),
        };
        schema::SubGraph::create(b, &args)
    }

    fn write_signature<'a>(&self, b: &mut FlatBufferBuilder<'a>) -> WIPOffset<schema::SignatureDef<'a>> {
        let (subgraph_index, input) = self.signature;
        let mut entry = |name, tensor_index| {
            let name = Some(text::encode(b, name));
            let entry = schema::TensorMap::create(b, &schema::TensorMapArgs { name, tensor_index });
            b.create_vector(&[entry])
        };
        let inputs = Some(entry("x", input));
        let outputs = Some(entry("y", 2));
        let signature_key = Some(text::encode(b, "serving_default"));
        schema::SignatureDef::create(
            b,
            &schema::SignatureDefArgs { inputs, outputs, signature_key, subgraph_index },
        )
    }
}

impl BufferSpec {
    fn write<'a>(&self, b: &mut FlatBufferBuilder<'a>) -> WIPOffset<schema::Buffer<'a>> {
        let data = (!self.data.is_empty()).then(|| b.create_vector(&self.data));
        schema::Buffer::create(b, &schema::BufferArgs { data, offset: self.offset, size: self.size })
    }
}

impl CodeSpec {
    fn write<'a>(&self, b: &mut FlatBufferBuilder<'a>) -> WIPOffset<schema::OperatorCode<'a>> {
        let args = schema::OperatorCodeArgs {
            deprecated_builtin_code: self.narrow,
            custom_code: self.name.map(|name| text::encode(b, name)),
            version: self.version,
            builtin_code: schema::BuiltinOperator(self.wide),
        };
        schema::OperatorCode::create(b, &args)
    }
}

impl OperatorSpec {
    fn write<'a>(&self, b: &mut FlatBufferBuilder<'a>) -> WIPOffset<schema::Operator<'a>> {
        let mut options = self.options.map(|write| write(b));
        if let Some(tag) = self.empty_options.filter(|&tag| tag != BuiltinOptions::NONE) {
            let table = schema::PadOptions::create(b, &schema::PadOptionsArgs {});
            options = Some((tag, table.as_union_value()));
        }
        let args = schema::OperatorArgs {
            opcode_index: self.code,
            inputs: Some(b.create_vector(&self.inputs)),
            outputs: Some(b.create_vector(&self.outputs)),
            builtin_options_type: options.map_or(BuiltinOptions::NONE, |(tag, _)| tag),
            builtin_options: options.map(|(_, table)| table),
            custom_options: Some(b.create_vector(&self.custom_options)),
            intermediates: Some(b.create_vector(&self.intermediates)),
            ..Default::default()
        };
        schema::Operator::create(b, &args)
    }
}

impl TensorSpec {
    fn write<'a>(&self, b: &mut FlatBufferBuilder<'a>) -> WIPOffset<schema::Tensor<'a>> {
        let details = self.blockwise.then(|| {
            let table = schema::BlockwiseQuantization::create(b, &schema::BlockwiseQuantizationArgs {});
            table.as_union_value()
        });
        let quantization = schema::QuantizationParametersArgs {
            scale: Some(b.create_vector(&self.scales)),
            zero_point: Some(b.create_vector(&self.zero_points)),
            details_type: details
                .map_or(QuantizationDetails::NONE, |_| QuantizationDetails::BlockwiseQuantization),
            details,
            quantized_dimension: self.axis,
        };
        let quantization = Some(schema::QuantizationParameters::create(b, &quantization));
        let sparsity =
            self.sparse.then(|| schema::SparsityParameters::create(b, &schema::SparsityParametersArgs {}));
        let args = schema::TensorArgs {
            shape: Some(b.create_vector(&self.shape)),
            type_: schema::TensorType(self.element_type),
            buffer: self.buffer,
            name: Some(b.create_vector(&self.name)),
            quantization,
            is_variable: self.is_variable,
            sparsity,
            shape_signature: Some(b.create_vector(&self.shape_signature)),
            external_buffer: self.external,
        };
        schema::Tensor::create(b, &args)
    }
}
