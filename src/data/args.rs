//! The part of a command line that names a data set.

use super::pixels::Normalization;
use clap::{Args, ValueEnum};
use mcunet_ir::types::Scalar;
use std::path::PathBuf;

/// Which samples, and how they become inputs.
#[derive(Args, Debug, Clone, Default)]
#[command(next_help_heading = "Data")]
pub struct DataArgs {
    /// Samples: files or folders. Pictures (JPEG, PNG, BMP, PPM) are scaled to the input; .npy holds one sample or many,
    /// along its first axis; .npz an array for each input, by name or in order; .bin the raw little-endian values of one
    /// sample or many. A folder's files are taken by name; its sub-folders are classes. For a model of several inputs
    /// give INPUT=PATH for each, or a .npz.
    #[arg(long, value_name = "[INPUT=]PATH", num_args = 1.., required = true)]
    pub data: Vec<String>,
    /// Classes of the samples: lines `file,class` or `file,classes,class` (.csv), one class a line (.txt), or an array of
    /// integers (.npy). Instead of those of class folders, or of an array `labels` or `y` in a .npz.
    #[arg(long, value_name = "FILE")]
    pub labels: Option<PathBuf>,
    /// What pixels of 0 to 255 mean to the model: (pixel - MEAN) / STD, with one number each or one for each channel, such
    /// as `127.5,127.5` or `123.7/116.3/103.5,58.4/57.1/57.4`. By default what the input's type says if it spans 0 to 1,
    /// -1 to 1 or 0 to 255, and else `0,255`.
    #[arg(long, value_name = "MEAN,STD", allow_hyphen_values = true)]
    pub normalize: Option<Normalization>,
    /// Order of the colours in the files; `bgr` swaps red and blue.
    #[arg(long, value_enum, default_value = "rgb")]
    pub channels: Channels,
    /// Type of the values in .bin files; the input's by default. `uint8` values are pixels, `float32` values real numbers,
    /// unless the input has that type itself.
    #[arg(long, value_enum, value_name = "TYPE")]
    pub data_type: Option<DataType>,
    /// Leave out the first N samples.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub skip: usize,
    /// Take at most N samples.
    #[arg(long, value_name = "N")]
    #[arg(value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    pub limit: Option<usize>,
}

/// Order of the colours.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Channels {
    /// Red, green, blue.
    #[default]
    Rgb,
    /// Blue, green, red.
    Bgr,
}

/// Type of raw values.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum DataType {
    Int8,
    Uint8,
    Int16,
    Int32,
    Float32,
}

impl From<DataType> for Scalar {
    fn from(ty: DataType) -> Self {
        match ty {
            DataType::Int8 => Scalar::I8,
            DataType::Uint8 => Scalar::U8,
            DataType::Int16 => Scalar::I16,
            DataType::Int32 => Scalar::I32,
            DataType::Float32 => Scalar::F32,
        }
    }
}
