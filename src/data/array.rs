//! Arrays of numbers: `.npy`, `.npz` and raw little-endian values. One file holds one sample or several, one after the
//! other.

use super::convert::{Values, Wrong};
use super::labels;
use crate::files;
use crate::session::Failure;
use mcunet_ir::module::Port;
use mcunet_ir::tensor::Data;
use mcunet_ir::types::Scalar;
use mcunet_ir::{Diagnostic, Diagnostics, Shape, TensorType};
use npyz::{DType, NpyHeader, Order, TypeChar};
use std::io::{Cursor, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How a `.npy` file starts.
pub const NPY_MAGIC: &[u8] = b"\x93NUMPY";

/// Most bytes that are unpacked from an archive; far above what calibration or evaluation needs.
const MAX_UNPACKED_BYTES: u64 = 1 << 30;

/// Longest header of a `.npy` file, in bytes: what describes one array fits in a fraction of it.
const MAX_HEADER_BYTES: u64 = 1 << 16;

/// Type of the numbers in a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Number {
    Scalar(Scalar),
    /// Read as `f32`.
    F64,
}

impl Number {
    fn size_bytes(self) -> usize {
        match self {
            Number::Scalar(scalar) => scalar.size_bytes(),
            Number::F64 => 8,
        }
    }

    fn data(self, bytes: &[u8]) -> Data {
        let Number::Scalar(scalar) = self else {
            let number = |chunk: &[u8]| chunk.try_into().map_or(0.0, |raw| f64::from_le_bytes(raw) as f32);
            return Data::F32(bytes.chunks_exact(8).map(number).collect());
        };
        Data::from_bytes(scalar, bytes)
    }
}

/// Where the bytes are.
#[derive(Clone, Debug)]
enum Bytes {
    /// In the file, from this offset on.
    File(u64),
    /// Unpacked.
    Memory(Arc<[u8]>),
}

/// Samples of one input in one file.
#[derive(Clone, Debug)]
pub struct Array {
    path: PathBuf,
    bytes: Bytes,
    number: Number,
    samples: usize,
    /// Numbers in a sample.
    elements: usize,
}

impl Array {
    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.samples
    }

    /// Whether the numbers are unsigned bytes, which may be pixels.
    pub fn is_bytes(&self) -> bool {
        self.number == Number::Scalar(Scalar::U8)
    }

    /// Reads a sample.
    ///
    /// # Errors
    /// A file that can't be read or is shorter than it was.
    pub fn sample(&self, index: usize) -> Result<Values, Wrong> {
        let size = self.elements.saturating_mul(self.number.size_bytes());
        let at = index.saturating_mul(size);
        let data = match &self.bytes {
            Bytes::Memory(bytes) => {
                bytes.get(at..at.saturating_add(size)).map(|bytes| self.number.data(bytes))
            }
            Bytes::File(offset) => {
                let mut bytes = Vec::new();
                let read = std::fs::File::open(&self.path).and_then(|mut file| {
                    file.seek(SeekFrom::Start(offset.saturating_add(at as u64)))?;
                    file.take(size as u64).read_to_end(&mut bytes)
                });
                read.map_err(|error| Wrong::new(format!("cannot be read: {error}")))?;
                (bytes.len() == size).then(|| self.number.data(&bytes))
            }
        };
        data.map(Values::Numbers)
            .ok_or_else(|| Wrong::new("expected a whole sample, got the end of the file"))
    }
}

/// A raw file of values of a type; of the input's storage type if none is given.
///
/// # Errors
/// A size that is no multiple of a sample's.
pub fn raw(path: &Path, ty: &TensorType, scalar: Option<Scalar>) -> Result<Array, Failure> {
    let scalar = scalar.unwrap_or(ty.storage());
    let size = ty.elements().saturating_mul(scalar.size_bytes()) as u64;
    let bytes = std::fs::metadata(path).map_err(|error| files::io_error("read", path, &error))?.len();
    if bytes == 0 || size == 0 || bytes % size != 0 {
        let message = format!(
            "'{}': expected {size} bytes or a multiple ({} of {}), got {bytes}",
            path.display(),
            ty.shape,
            scalar.name()
        );
        let mut error = Diagnostic::error(message);
        let fits = |(_, other): &(&str, Scalar)| {
            let size = (ty.elements() * other.size_bytes()) as u64;
            *other != scalar && size > 0 && bytes > 0 && bytes.is_multiple_of(size)
        };
        let types = [("float32", Scalar::F32), ("uint8", Scalar::U8)];
        if let Some((name, _)) = types.into_iter().find(fits) {
            error = error.help(format!("if the values are of another type, say --data-type={name}"));
        }
        return Err(error.into());
    }
    let samples = usize::try_from(bytes / size).unwrap_or(usize::MAX);
    let number = Number::Scalar(scalar);
    Ok(Array { path: path.to_owned(), bytes: Bytes::File(0), number, samples, elements: ty.elements() })
}

/// A `.npy` file.
///
/// # Errors
/// What is none, numbers of a type that no model has, another shape.
pub fn npy(path: &Path, ty: &TensorType) -> Result<Array, Failure> {
    let file = std::fs::File::open(path).map_err(|error| files::io_error("read", path, &error))?;
    let bytes = file.metadata().map_err(|error| files::io_error("read", path, &error))?.len();
    let head = head(file).map_err(|message| wrong(path, message))?;
    let place = path.display().to_string();
    of_npy(path, &place, &head, bytes, Bytes::File(head.offset), ty)
}

/// What the first bytes of a `.npy` file say.
struct Head {
    shape: Vec<u64>,
    number: Number,
    /// Where the numbers start.
    offset: u64,
}

fn head(reader: impl Read) -> Result<Head, String> {
    let mut first = Vec::new();
    reader.take(MAX_HEADER_BYTES).read_to_end(&mut first).map_err(|error| error.to_string())?;
    if !first.starts_with(NPY_MAGIC) {
        return Err("expected a .npy file, got another".to_owned());
    }
    let mut cursor = Cursor::new(first);
    let header =
        NpyHeader::from_reader(&mut cursor).map_err(|error| format!("expected a .npy file: {error}"))?;
    if header.order() != Order::C {
        return Err("expected row-major (C) order, got column-major".to_owned());
    }
    let number = number(&header.dtype())?;
    Ok(Head { shape: header.shape().to_vec(), number, offset: cursor.position() })
}

fn number(dtype: &DType) -> Result<Number, String> {
    let unknown =
        || format!("expected numbers of 8 to 64 bits in little-endian order, got {}", dtype.descr());
    let DType::Plain(ty) = dtype else { return Err(unknown()) };
    let scalar = match (ty.type_char(), ty.num_bytes()) {
        (TypeChar::Bool, _) => Scalar::I1,
        (TypeChar::Int, Some(1)) => Scalar::I8,
        (TypeChar::Int, Some(2)) => Scalar::I16,
        (TypeChar::Int, Some(4)) => Scalar::I32,
        (TypeChar::Int, Some(8)) => Scalar::I64,
        (TypeChar::Uint, Some(1)) => Scalar::U8,
        (TypeChar::Uint, Some(2)) => Scalar::U16,
        (TypeChar::Uint, Some(4)) => Scalar::U32,
        (TypeChar::Uint, Some(8)) => Scalar::U64,
        (TypeChar::Float, Some(4)) => Scalar::F32,
        (TypeChar::Float, Some(8)) if ty.endianness() != npyz::Endianness::Big => return Ok(Number::F64),
        _ => return Err(unknown()),
    };
    if ty.endianness() == npyz::Endianness::Big && scalar.size_bytes() > 1 {
        Err(unknown())
    } else {
        Ok(Number::Scalar(scalar))
    }
}

fn wrong(place: &Path, message: impl std::fmt::Display) -> Diagnostics {
    Diagnostic::error(format!("'{}': {message}", place.display())).into()
}

/// Samples in an array of a shape: the first axis counts them, or it is a single one. Dimensions of one don't matter.
fn samples(shape: &[u64], wanted: &Shape) -> Option<usize> {
    let squeezed = |dims: &[u64]| dims.iter().copied().filter(|&dim| dim != 1).collect::<Vec<_>>();
    let wanted: Vec<u64> = wanted.iter().map(|&dim| dim as u64).collect();
    let wanted = squeezed(&wanted);
    match shape.split_first() {
        Some((&count, rest)) if squeezed(rest) == wanted => usize::try_from(count).ok(),
        _ => (squeezed(shape) == wanted).then_some(1),
    }
}

fn of_npy(
    path: &Path,
    place: &str,
    head: &Head,
    end: u64,
    bytes: Bytes,
    ty: &TensorType,
) -> Result<Array, Failure> {
    let dims = |dims: &[u64]| dims.iter().map(ToString::to_string).collect::<Vec<_>>().join("x");
    let Some(samples) = samples(&head.shape, &ty.shape) else {
        let sample: Vec<u64> = ty.shape.iter().map(|&dim| dim as u64).collect();
        let many = if sample.first() == Some(&1) { &sample[1..] } else { &sample };
        let found = if head.shape.is_empty() { "a scalar".to_owned() } else { dims(&head.shape) };
        return Err(Diagnostic::error(format!(
            "'{place}': expected shape {} or Nx{}, got {found}",
            ty.shape,
            dims(many)
        ))
        .help("the first axis counts samples; activations are NHWC")
        .into());
    };
    let size =
        (ty.elements() as u64).saturating_mul(head.number.size_bytes() as u64).saturating_mul(samples as u64);
    let found = end.saturating_sub(head.offset);
    if found < size {
        return Err(
            Diagnostic::error(format!("'{place}': expected {size} bytes of numbers, got {found}")).into()
        );
    }
    Ok(Array { path: path.to_owned(), bytes, number: head.number, samples, elements: ty.elements() })
}

/// The integers of a `.npy` file, one for each sample.
///
/// # Errors
/// Floats, or several numbers for each sample.
pub fn integers(path: &Path, bytes: &[u8]) -> Result<Vec<i64>, Diagnostics> {
    let head = head(bytes).map_err(|message| wrong(path, message))?;
    if head.shape.iter().filter(|&&dim| dim != 1).count() > 1 {
        let shape: Vec<String> = head.shape.iter().map(ToString::to_string).collect();
        return Err(wrong(
            path,
            format!("expected one class for each sample, got shape {}", shape.join("x")),
        ));
    }
    let start = usize::try_from(head.offset).unwrap_or(usize::MAX);
    let numbers = head.number.data(bytes.get(start..).unwrap_or_default());
    let count: u64 = head.shape.iter().product();
    let integers =
        numbers.to_i64s().ok_or_else(|| wrong(path, "expected integers as classes, got floats"))?;
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    if integers.len() < count {
        return Err(wrong(path, format!("expected {count} integers, got {}", integers.len())));
    }
    Ok(integers.into_iter().take(count).collect())
}

/// What an archive holds for a model.
pub struct Archive {
    /// One array for each input.
    pub inputs: Vec<Array>,
    /// The array of classes, if there is one.
    pub labels: Option<Vec<usize>>,
}

/// Names of an array of classes.
const LABELS: [&str; 3] = ["labels", "label", "y"];

/// A `.npz` file: arrays by the names of the inputs, or else in order.
///
/// # Errors
/// What is none, another number of arrays, or what [`npy`] refuses.
pub fn npz(path: &Path, ports: &[Port], types: &[&TensorType]) -> Result<Archive, Failure> {
    let mut arrays = unpack(path)?;
    let is_port = |name: &str| ports.iter().any(|port| &*port.name == name);
    let label = arrays.iter().position(|(name, _)| LABELS.contains(&name.as_str()) && !is_port(name));
    let label = label.map(|at| arrays.remove(at).1);
    let by_name: Option<Vec<usize>> =
        ports.iter().map(|port| arrays.iter().position(|(name, _)| *name == *port.name)).collect();
    let order = by_name.unwrap_or_else(|| (0..arrays.len()).collect());
    if order.len() != ports.len() {
        let names: Vec<&str> = ports.iter().map(|port| &*port.name).collect();
        let found: Vec<&str> = arrays.iter().map(|(name, _)| name.as_str()).collect();
        let message =
            format!("'{}': expected an array for each input: '{}'", path.display(), names.join("', '"));
        return Err(Diagnostic::error(message)
            .note(format!("the arrays are '{}'", found.join("', '")))
            .help("name them as the inputs, or leave others out; 'labels' or 'y' may hold the classes")
            .into());
    }
    let inputs = order.iter().zip(types).map(|(&index, ty)| {
        let (name, bytes) = &arrays[index];
        let place = format!("{}:{name}", path.display());
        let head = head(&bytes[..]).map_err(|message| Diagnostic::error(format!("'{place}': {message}")))?;
        let start = usize::try_from(head.offset).unwrap_or(usize::MAX);
        let numbers: Arc<[u8]> = bytes.get(start..).unwrap_or_default().into();
        of_npy(path, &place, &head, bytes.len() as u64, Bytes::Memory(numbers), ty)
    });
    let inputs = inputs.collect::<Result<Vec<Array>, Failure>>()?;
    let labels = label.map(|bytes| labels::classes(path, integers(path, &bytes)?)).transpose()?;
    if let (Some(labels), Some(input)) = (&labels, inputs.first())
        && labels.len() != input.len()
    {
        return Err(wrong(path, format!("expected {} labels, got {}", input.len(), labels.len())).into());
    }
    Ok(Archive { inputs, labels })
}

/// The `.npy` files in an archive, in its order.
fn unpack(path: &Path) -> Result<Vec<(String, Vec<u8>)>, Failure> {
    let broken = |error: &dyn std::fmt::Display| wrong(path, format!("expected a .npz archive: {error}"));
    let file = std::fs::File::open(path).map_err(|error| files::io_error("read", path, &error))?;
    let mut archive = zip::ZipArchive::new(std::io::BufReader::new(file)).map_err(|error| broken(&error))?;
    let (mut arrays, mut room) = (Vec::new(), MAX_UNPACKED_BYTES);
    for index in 0..archive.len() {
        let entry = archive.by_index(index).map_err(|error| broken(&error))?;
        let name = entry.name().map_err(|error| broken(&error))?.into_owned();
        let Some(name) = name.strip_suffix(".npy") else { continue };
        let mut bytes = Vec::new();
        let read =
            entry.take(room.saturating_add(1)).read_to_end(&mut bytes).map_err(|error| broken(&error))?;
        room = room.checked_sub(read as u64).ok_or_else(|| {
            wrong(path, format!("expected at most {MAX_UNPACKED_BYTES} bytes in all arrays, got more"))
        })?;
        arrays.push((name.to_owned(), bytes));
    }
    Ok(arrays)
}
