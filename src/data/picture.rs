//! Pictures: decoded, in the number of channels and the size that an input has.
//!
//! - Scaling stretches, and is bilinear as Pillow and torchvision do it: a triangle filter with half-pixel centres, as wide
//!   as two pixels of the coarser of source and target, so that shrinking averages over what it leaves out. Rows are
//!   scaled before columns, and each result is rounded to a whole pixel. Enlarging equals `tf.image.resize` and OpenCV's
//!   `INTER_LINEAR`; shrinking is smoother than those.
//! - Grey is 0.299 R + 0.587 G + 0.114 B, rounded (ITU-R BT.601), as in Pillow's `convert("L")`.
//! - Transparency and the orientation in a photograph's metadata are ignored.

use super::args::Channels;
use super::convert::{Values, Wrong, swap_red_and_blue};
use image::ImageReader;
use jpeg_decoder::PixelFormat;
use mcunet_ir::{Diagnostic, Diagnostics, Shape};
use std::io::Cursor;
use std::path::Path;

/// Rows, columns and channels of interleaved pixels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Size {
    pub rows: usize,
    pub columns: usize,
    pub channels: usize,
}

/// Size of a picture for an input: `1xHxWxC` or `HxWxC` of one or three channels.
fn size(shape: &Shape) -> Option<Size> {
    let size = match shape[..] {
        [1, rows, columns, channels] | [rows, columns, channels] => Size { rows, columns, channels },
        _ => return None,
    };
    (matches!(size.channels, 1 | 3) && size.rows > 0 && size.columns > 0).then_some(size)
}

/// Whether an input can take pictures at all.
///
/// # Errors
/// If it can't.
pub fn check_shape(path: &Path, shape: &Shape) -> Result<(), Diagnostics> {
    if size(shape).is_some() {
        return Ok(());
    }
    let message = format!(
        "'{}' is a picture: expected an input of 1 x height x width x 1 or 3 for it, got {shape}",
        path.display()
    );
    Err(Diagnostic::error(message).help("give arrays instead: .npy, .npz or .bin").into())
}

/// The pixels of a picture as an input of the given shape takes them.
///
/// # Errors
/// A file that can't be read or decoded.
pub fn read(path: &Path, shape: &Shape, order: Channels) -> Result<Values, Wrong> {
    let wanted = size(shape).ok_or_else(|| Wrong::new("expected an input for pictures"))?;
    let unreadable = |error: String| {
        Wrong::new(format!("expected a picture, got what can't be decoded: {error}"))
            .help("JPEG, PNG, BMP and PPM are read; remove or convert the file")
    };
    let bytes = std::fs::read(path).map_err(|error| Wrong::new(format!("cannot be read: {error}")))?;
    let decoded = if bytes.starts_with(JPEG_MAGIC) { jpeg(&bytes) } else { other(&bytes) };
    let (colours, rows, columns) = decoded.map_err(unreadable)?;
    let mut pixels: Vec<f32> = colours.into_iter().map(f32::from).collect();
    if order == Channels::Bgr {
        swap_red_and_blue(&mut pixels, 3)?;
    }
    let channels = wanted.channels;
    let pixels = if channels == 1 { grey(&pixels) } else { pixels };
    Ok(Values::Pixels(resize(&pixels, Size { rows, columns, channels }, wanted.rows, wanted.columns)))
}

/// How a JPEG file starts.
const JPEG_MAGIC: &[u8] = &[0xff, 0xd8, 0xff];

/// Most bytes that a decoded picture may take.
const MAX_DECODED_BYTES: usize = 1 << 28;

/// Red, green and blue of each pixel, rows and columns.
type Decoded = (Vec<u8>, usize, usize);

fn jpeg(bytes: &[u8]) -> Result<Decoded, String> {
    let mut decoder = jpeg_decoder::Decoder::new(bytes);
    decoder.set_max_decoding_buffer_size(MAX_DECODED_BYTES);
    let pixels = decoder.decode().map_err(|error| error.to_string())?;
    let info = decoder.info().ok_or("it has no size")?;
    let colours = match info.pixel_format {
        PixelFormat::RGB24 => pixels,
        PixelFormat::L8 => pixels.into_iter().flat_map(|grey| [grey; 3]).collect(),
        other => return Err(format!("expected 8 bits of grey, or of red, green and blue, got {other:?}")),
    };
    whole(colours, info.width.into(), info.height.into())
}

fn other(bytes: &[u8]) -> Result<Decoded, String> {
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format();
    let mut reader = reader.map_err(|error| error.to_string())?;
    let mut limits = image::Limits::default();
    limits.max_alloc = Some(MAX_DECODED_BYTES as u64);
    reader.limits(limits);
    let picture = reader.decode().map_err(|error| error.to_string())?;
    let (width, height) = (picture.width(), picture.height());
    whole(picture.to_rgb8().into_raw(), width, height)
}

/// Checks that there is a colour for every pixel, and a pixel at all.
fn whole(colours: Vec<u8>, width: u32, height: u32) -> Result<Decoded, String> {
    let (rows, columns) = (height as usize, width as usize);
    if colours.is_empty() || colours.len() != rows * columns * 3 {
        return Err(format!("expected {width} x {height} pixels, got {} bytes", colours.len()));
    }
    Ok((colours, rows, columns))
}

/// Grey of red, green and blue.
pub fn grey(colours: &[f32]) -> Vec<f32> {
    let luma = |pixel: &[f32]| (0.299 * pixel[0] + 0.587 * pixel[1] + 0.114 * pixel[2]).round();
    colours.chunks_exact(3).map(luma).collect()
}

/// What a target position is made of: the first source position and the weights from there on, which sum up to 1.
///
/// Source: `precompute_coeffs`, Pillow, src/libImaging/Resample.c.
fn weights(from: usize, to: usize) -> Vec<(usize, Vec<f32>)> {
    let step = from as f32 / to as f32;
    let width = step.max(1.0);
    let position = |i: usize| {
        let centre = (i as f32 + 0.5) * step;
        let first = (centre - width + 0.5).max(0.0) as usize;
        let end = ((centre + width + 0.5) as usize).min(from);
        let weight = |at: usize| (1.0 - ((at as f32 + 0.5 - centre) / width).abs()).max(0.0);
        let weights: Vec<f32> = (first..end).map(weight).collect();
        let sum: f32 = weights.iter().sum();
        (first, weights.into_iter().map(|weight| weight / sum).collect())
    };
    (0..to).map(position).collect()
}

/// Interleaved pixels scaled bilinearly.
pub fn resize(pixels: &[f32], size: Size, rows: usize, columns: usize) -> Vec<f32> {
    let channels = size.channels;
    let mut wide = Vec::with_capacity(size.rows * columns * channels);
    let across = weights(size.columns, columns);
    for row in pixels.chunks_exact(size.columns * channels) {
        for (first, weights) in &across {
            for channel in 0..channels {
                let at = |i: usize| row[(first + i) * channels + channel];
                wide.push(weights.iter().enumerate().map(|(i, weight)| weight * at(i)).sum::<f32>().round());
            }
        }
    }
    let width = columns * channels;
    let mut scaled = Vec::with_capacity(rows * width);
    for (first, weights) in weights(size.rows, rows) {
        for column in 0..width {
            let at = |i: usize| wide[(first + i) * width + column];
            scaled.push(weights.iter().enumerate().map(|(i, weight)| weight * at(i)).sum::<f32>().round());
        }
    }
    scaled
}
