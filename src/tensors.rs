//! Tensors from and to files: `.npy`, or raw little-endian bytes of the tensor's type.

use crate::files;
use crate::session::{Failure, usage};
use mcunet_ir::module::Port;
use mcunet_ir::tensor::Data;
use mcunet_ir::types::Scalar;
use mcunet_ir::{Diagnostic, Tensor, TensorType};
use npyz::WriterBuilder;
use std::path::{Path, PathBuf};

/// One `[I=]FILE` argument.
struct InputArg<'a> {
    port: Option<&'a str>,
    path: PathBuf,
}

fn parse_arg(text: &str) -> InputArg<'_> {
    match text.split_once('=') {
        Some((port, path)) => InputArg { port: Some(port), path: path.into() },
        None => InputArg { port: None, path: text.into() },
    }
}

/// The tensors given for a model's inputs; `None` where none is given.
pub fn given_inputs(args: &[String], ports: &[Port]) -> Result<Vec<Option<Tensor>>, Failure> {
    let mut tensors: Vec<Option<Tensor>> = vec![None; ports.len()];
    for (position, text) in args.iter().enumerate() {
        let arg = parse_arg(text);
        let index = match arg.port {
            None => position,
            Some(name) => ports
                .iter()
                .position(|port| &*port.name == name)
                .or_else(|| name.parse().ok())
                .ok_or_else(|| unknown_input(name, ports))?,
        };
        let port = ports.get(index).ok_or_else(|| unknown_input(&index.to_string(), ports))?;
        tensors[index] = Some(read(&arg.path, port)?);
    }
    Ok(tensors)
}

fn unknown_input(name: &str, ports: &[Port]) -> Diagnostic {
    let known: Vec<String> =
        ports.iter().enumerate().map(|(i, port)| format!("{i} or '{}'", port.name)).collect();
    usage(format!("the model has no input '{name}'")).help(format!("its inputs are {}", known.join(", ")))
}

/// Type of a port as a tensor.
pub fn port_type(port: &Port) -> Result<&TensorType, Failure> {
    port.ty
        .as_tensor()
        .ok_or_else(|| Diagnostic::error(format!("expected '{}' to be a tensor", port.name)).into())
}

fn read(path: &Path, port: &Port) -> Result<Tensor, Failure> {
    let ty = port_type(port)?.clone();
    let bytes = std::fs::read(path).map_err(|error| files::io_error("read", path, &error))?;
    let bytes = if bytes.starts_with(b"\x93NUMPY") { npy_bytes(path, &bytes, &ty)? } else { bytes };
    Tensor::from_bytes(ty.clone(), &bytes).map_err(|error| {
        Diagnostic::error(format!("'{}' does not fit input '{}': {error}", path.display(), port.name))
            .note(format!("the input is {} of {}", ty.shape, ty.storage().name()))
            .into()
    })
}

/// The raw bytes of a `.npy` file whose element type is the tensor's storage type.
fn npy_bytes(path: &Path, bytes: &[u8], ty: &TensorType) -> Result<Vec<u8>, Failure> {
    let bad = |message: String| Failure::from(Diagnostic::error(format!("'{}': {message}", path.display())));
    let file = npyz::NpyFile::new(bytes).map_err(|error| bad(error.to_string()))?;
    if file.order() != npyz::Order::C {
        return Err(bad("expected row-major (C) order, got column-major".to_owned()));
    }
    let elements: u64 = file.shape().iter().product();
    if elements != ty.elements() as u64 {
        let shape: Vec<String> = file.shape().iter().map(ToString::to_string).collect();
        return Err(bad(format!("expected shape {}, got {}", ty.shape, shape.join("x"))));
    }
    macro_rules! read_as {
        ($ty:ty) => {
            file.into_vec::<$ty>().map(|items| Data::from(items).to_bytes())
        };
    }
    let read = match ty.storage() {
        Scalar::I1 => file.into_vec::<bool>().map(|items| items.into_iter().map(u8::from).collect()),
        Scalar::I2 | Scalar::I4 | Scalar::I8 => read_as!(i8),
        Scalar::I16 => read_as!(i16),
        Scalar::I32 => read_as!(i32),
        Scalar::I64 => read_as!(i64),
        Scalar::U8 => read_as!(u8),
        Scalar::U16 => read_as!(u16),
        Scalar::U32 => read_as!(u32),
        Scalar::U64 => read_as!(u64),
        Scalar::F32 => read_as!(f32),
    };
    read.map_err(|error| bad(format!("expected {} elements: {error}", ty.storage().name())))
}

/// The tensor as a `.npy` file.
pub fn to_npy(tensor: &Tensor) -> Result<Vec<u8>, Failure> {
    let shape: Vec<u64> = tensor.ty.shape.iter().map(|&dim| dim as u64).collect();
    let mut out = Vec::new();
    macro_rules! write_as {
        ($items:expr) => {{
            let options = npyz::WriteOptions::new().default_dtype().shape(&shape).writer(&mut out);
            options.begin_nd().and_then(|mut writer| {
                writer.extend($items.iter().copied())?;
                writer.finish()
            })
        }};
    }
    let written = match &tensor.data {
        Data::I1(items) => write_as!(items),
        Data::I8(items) => write_as!(items),
        Data::I16(items) => write_as!(items),
        Data::I32(items) => write_as!(items),
        Data::I64(items) => write_as!(items),
        Data::U8(items) => write_as!(items),
        Data::U16(items) => write_as!(items),
        Data::U32(items) => write_as!(items),
        Data::U64(items) => write_as!(items),
        Data::F32(items) => write_as!(items),
    };
    written.map_err(|error| Failure::from(Diagnostic::error(format!("cannot make a .npy file: {error}"))))?;
    Ok(out)
}

/// Reproducible random inputs: integers over their whole range, floats uniform in -1..1. The generator is SplitMix64
/// (Steele et al., "Fast Splittable Pseudorandom Number Generators", 2014), so that a seed means the same everywhere.
pub struct RandomTensors {
    state: u64,
}

impl RandomTensors {
    /// A generator.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A random tensor.
    pub fn tensor(&mut self, ty: &TensorType) -> Tensor {
        let count = ty.elements();
        let data = match ty.storage() {
            Scalar::F32 => Data::F32(
                (0..count).map(|_| (self.next() >> 40) as f32 / (1u32 << 23) as f32 - 1.0).collect(),
            ),
            integer => {
                let items: Vec<i64> = (0..count).map(|_| (self.next() >> 8) as i64).collect();
                Data::from_i64s(integer, items).unwrap_or_else(|| Data::zeros(integer, count))
            }
        };
        Tensor { ty: ty.clone(), data }
    }
}
