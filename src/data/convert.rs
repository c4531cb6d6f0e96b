//! From what a file holds to the tensor of an input.
//!
//! Values are one of three things:
//! - *stored*: of the input's own storage type, taken as they are;
//! - *real*: floats, which a quantized input gets quantized as QUANTIZE does it;
//! - *pixels*: unsigned bytes and pictures, which become real numbers by [`Normalization`] first. For an input of
//!   unsigned bytes both readings are possible; without `--normalize` bytes are stored values.

use super::args::{Channels, DataArgs};
use super::pixels::Normalization;
use mcunet_ir::fixed_point;
use mcunet_ir::tensor::Data;
use mcunet_ir::types::Scalar;
use mcunet_ir::{Diagnostic, Diagnostics, Tensor, TensorType};
use std::path::Path;

/// What a file holds of one sample.
#[derive(Clone, PartialEq, Debug)]
pub enum Values {
    /// Numbers of some type; the number of elements is the input's.
    Numbers(Data),
    /// Pixels between 0 and 255 in NHWC, with the input's number of channels.
    Pixels(Vec<f32>),
}

/// What is wrong with a sample; the file is named by who knows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wrong {
    message: String,
    help: Option<String>,
}

impl Wrong {
    /// Something that is wrong.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None }
    }

    /// With advice.
    pub fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }

    /// The message, about a file and a sample in it.
    pub fn of(self, path: &Path, name: &str) -> Diagnostics {
        let file = path.display().to_string();
        let place = match name.rfind('[') {
            Some(at) if name.ends_with(']') && !file.ends_with(name) => {
                format!("'{file}', sample {}", &name[at + 1..name.len() - 1])
            }
            _ => format!("'{file}'"),
        };
        let error = Diagnostic::error(format!("{place}: {}", self.message));
        match self.help {
            Some(help) => error.help(help).into(),
            None => error.into(),
        }
    }
}

/// How values become the tensor of one input.
#[derive(Clone, Debug)]
pub struct Reading {
    /// The type that stored values have.
    stored: TensorType,
    /// The type of the tensor.
    ty: TensorType,
    /// What pixels mean, if that is known.
    pixels: Option<Normalization>,
    /// Whether the user said so.
    is_explicit: bool,
    channels: Channels,
}

impl Reading {
    /// For an input of a type; `pixels` is what pixels mean as far as known.
    pub fn new(ty: TensorType, pixels: Option<Normalization>, args: &DataArgs) -> Self {
        Self {
            stored: ty.clone(),
            ty,
            pixels,
            is_explicit: args.normalize.is_some(),
            channels: args.channels,
        }
    }

    /// The same values for an input of another model.
    pub fn to(&self, ty: TensorType) -> Self {
        // What pixels mean to the first model they mean to the second, even if that is a guess.
        let pixels = self.pixels.clone().or_else(|| self.guesses().then(Normalization::unit));
        Self { ty, pixels, ..self.clone() }
    }

    /// Type of the tensor.
    pub fn ty(&self) -> &TensorType {
        &self.ty
    }

    /// Order of the colours in the files.
    pub fn channels(&self) -> Channels {
        self.channels
    }

    /// Whether nobody says what pixels mean to a float input.
    pub fn guesses(&self) -> bool {
        self.pixels.is_none() && self.ty.storage() == Scalar::F32
    }

    /// The tensor.
    ///
    /// # Errors
    /// Numbers that the input can't hold, or of a type that may mean anything.
    pub fn tensor(&self, values: Values) -> Result<Tensor, Wrong> {
        let data = match values {
            Values::Pixels(pixels) => self.from_pixels(&pixels)?,
            Values::Numbers(data) => self.from_numbers(data)?,
        };
        Tensor::new(self.ty.clone(), data).map_err(|error| Wrong::new(error.to_string()))
    }

    fn from_numbers(&self, data: Data) -> Result<Data, Wrong> {
        let is_stored = data.scalar() == self.stored.storage();
        match data {
            Data::U8(bytes) if !is_stored || self.is_explicit => {
                let mut pixels: Vec<f32> = bytes.into_iter().map(f32::from).collect();
                if self.channels == Channels::Bgr {
                    swap_red_and_blue(&mut pixels, self.last_dimension())?;
                }
                self.from_pixels(&pixels)
            }
            Data::F32(reals) => self.from_reals(&reals),
            data if is_stored && self.stored.element == self.ty.element => Ok(data),
            data if is_stored => self.from_reals(&reals(&data, &self.stored)?),
            data => self.from_integers(data),
        }
    }

    fn last_dimension(&self) -> usize {
        self.ty.shape.last().copied().unwrap_or(1).max(1)
    }

    /// Integers of a type other than the input's: the numbers themselves where the input holds plain numbers.
    fn from_integers(&self, data: Data) -> Result<Data, Wrong> {
        let found = data.scalar().name();
        let integers = data.to_i64s().unwrap_or_default();
        match self.ty.storage() {
            Scalar::F32 => Ok(Data::F32(integers.into_iter().map(|integer| integer as f32).collect())),
            storage if self.ty.quant().is_none() => plain(storage, integers.into_iter().map(Some)),
            storage => Err(Wrong::new(format!(
                "expected values of type {}, ui8 or f32 for a quantized input, got {found}",
                storage.name()
            ))
            .help("convert the array: f32 for real numbers, ui8 for pixels, the input's own type for stored values")),
        }
    }

    fn from_pixels(&self, pixels: &[f32]) -> Result<Data, Wrong> {
        if self.ty.quant().is_none() && self.ty.storage() != Scalar::F32 && !self.is_explicit {
            // Plain bytes: an int8 camera's black is -128.
            let offset = if self.ty.storage() == Scalar::I8 { 128 } else { 0 };
            return plain(self.ty.storage(), pixels.iter().map(|pixel| Some(pixel.round() as i64 - offset)));
        }
        let guess = Normalization::unit();
        let normalization = match &self.pixels {
            Some(known) => known,
            None if self.guesses() => &guess,
            None => return Err(self.unknown_pixels()),
        };
        let channels = self.last_dimension();
        if let Some(count) = normalization.channels().filter(|&count| count != channels) {
            return Err(Wrong::new(format!("expected {channels} channels in --normalize, got {count}")));
        }
        let reals = pixels.iter().enumerate().map(|(i, &pixel)| normalization.real(pixel, i % channels));
        self.from_reals(&reals.collect::<Vec<f32>>())
    }

    fn unknown_pixels(&self) -> Wrong {
        let ty = self.ty.affine().map_or_else(String::new, |affine| {
            format!(" (scale {}, zero point {})", affine.scale.get(), affine.zero_point)
        });
        Wrong::new(format!(
            "expected an input whose type spans 0 to 1, -1 to 1 or 0 to 255 for pixels, got {} values{ty}",
            self.ty.storage().name()
        ))
        .help("say what pixels mean to the model: --normalize=MEAN,STD for (pixel - MEAN) / STD")
    }

    /// Real numbers in the input's type.
    fn from_reals(&self, reals: &[f32]) -> Result<Data, Wrong> {
        if let Some(at) = reals.iter().position(|real| !real.is_finite()) {
            return Err(Wrong::new(format!("expected finite numbers, got {} at element {at}", reals[at])));
        }
        let storage = self.ty.storage();
        if storage == Scalar::F32 {
            return Ok(Data::F32(reals.to_vec()));
        }
        let Some(quant) = self.ty.quant() else {
            let whole = |&real: &f32| (real.fract() == 0.0).then_some(real as i64);
            return plain(storage, reals.iter().map(whole));
        };
        let affine = quant.affine().ok_or_else(|| Wrong::new("expected an input with one scale"))?;
        let stored = reals.iter().map(|&real| {
            let stored = fixed_point::quantize(real, affine.scale.get(), affine.zero_point);
            // Beyond i32 is beyond every storage type.
            let stored = stored.map_or(if real < 0.0 { i64::MIN } else { i64::MAX }, i64::from);
            stored.max(quant.min).min(quant.max)
        });
        Data::from_i64s(storage, stored.collect::<Vec<_>>())
            .ok_or_else(|| Wrong::new("expected an integer input"))
    }
}

/// Integers in a plain type; `None` is a number that is none.
fn plain(storage: Scalar, items: impl Iterator<Item = Option<i64>>) -> Result<Data, Wrong> {
    let (low, high) = storage.integer_range().unwrap_or((i64::MIN, i64::MAX));
    let checked = items.enumerate().map(|(at, item)| match item {
        Some(item) if (low..=high).contains(&item) => Ok(item),
        Some(item) => {
            Err(Wrong::new(format!("expected numbers from {low} to {high}, got {item} at element {at}")))
        }
        None => Err(Wrong::new(format!("expected whole numbers, got a fraction at element {at}"))),
    });
    let checked = checked.collect::<Result<Vec<i64>, Wrong>>()?;
    Data::from_i64s(storage, checked).ok_or_else(|| Wrong::new("expected an integer input"))
}

/// Real numbers that stored values of a type stand for.
///
/// # Errors
/// A type with several scales.
pub fn reals(data: &Data, ty: &TensorType) -> Result<Vec<f32>, Wrong> {
    if let Data::F32(reals) = data {
        return Ok(reals.clone());
    }
    let integers = data.to_i64s().unwrap_or_default();
    let Some(quant) = ty.quant() else {
        return Ok(integers.into_iter().map(|integer| integer as f32).collect());
    };
    let affine = quant.affine().ok_or_else(|| Wrong::new("expected a tensor with one scale"))?;
    let real = |integer: i64| affine.scale.get() * (integer - i64::from(affine.zero_point)) as f32;
    Ok(integers.into_iter().map(real).collect())
}

/// Swaps the first and third of every three channels.
///
/// # Errors
/// Another number of channels.
pub fn swap_red_and_blue(pixels: &mut [f32], channels: usize) -> Result<(), Wrong> {
    if channels != 3 {
        return Err(Wrong::new(format!("expected 3 channels to swap red and blue, got {channels}"))
            .help("leave out --channels=bgr"));
    }
    for pixel in pixels.chunks_exact_mut(3) {
        pixel.swap(0, 2);
    }
    Ok(())
}
