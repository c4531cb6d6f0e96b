//! Data sets: what a model is evaluated on, and what ranges are calibrated with.
//!
//! A set is opened for the inputs of one module. Samples are read and converted when they are asked for, from any
//! thread, and are the same in every run: files of a folder are ordered by name. What a file holds is one of three
//! things, see [`convert`]: stored values of the input's type, real numbers, or pixels.
//!
//! Absent on purpose: augmentation, shuffling and everything else that training needs.

pub mod args;
mod array;
mod convert;
mod labels;
mod listing;
mod picture;
pub mod pixels;
#[cfg(test)]
mod tests;

use crate::session::{Failure, usage};
use crate::tensors::port_type;
use args::DataArgs;
use array::Array;
use convert::Reading;
use labels::Labels;
use mcunet_ir::module::Port;
use mcunet_ir::{Diagnostic, Diagnostics, Module, Tensor, TensorType};
use pixels::Normalization;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Samples for the inputs of a model, most of them still on disk.
#[derive(Clone, Debug)]
pub struct DataSet {
    /// How a sample becomes the tensor of each input.
    readings: Vec<Reading>,
    samples: Vec<Sample>,
    /// Names of the classes, where folders name them.
    classes: Option<Vec<String>>,
    notes: Vec<String>,
}

#[derive(Clone, Debug)]
struct Sample {
    /// Where the value of each input is.
    inputs: Vec<Place>,
    label: Option<usize>,
}

/// Sample `index` of a source.
#[derive(Clone, Debug)]
struct Place {
    source: Arc<Source>,
    index: usize,
}

#[derive(Debug)]
enum Source {
    Array(Array),
    Picture(PathBuf),
}

impl Source {
    fn path(&self) -> &Path {
        match self {
            Source::Array(array) => array.path(),
            Source::Picture(path) => path,
        }
    }

    /// Number of samples.
    fn len(&self) -> usize {
        match self {
            Source::Array(array) => array.len(),
            Source::Picture(_) => 1,
        }
    }
}

impl Place {
    /// The file's name, with the position in it where it holds several samples.
    fn name(&self) -> String {
        let file = crate::session::base_name(self.source.path());
        if self.source.len() == 1 { file } else { format!("{file}[{}]", self.index) }
    }
}

/// What was found for one input, before samples are chosen.
#[derive(Default)]
struct Found {
    places: Vec<Place>,
    /// Labels that the data bring with them: from class folders, or an array of a `.npz`.
    labels: Option<Vec<usize>>,
    classes: Option<Vec<String>>,
    notes: Vec<String>,
}

impl DataSet {
    /// Finds the samples that the command line names, for the inputs of a module's first function.
    ///
    /// Pixels mean what `--normalize` says, else what the type of the input says, else 1/255 of their value
    /// ([`pixels`]).
    ///
    /// # Errors
    /// Nothing there, files that can't be read or don't fit, labels that don't match. Files are read as far as needed to
    /// know how many samples they hold; the samples themselves are checked by [`DataSet::inputs`].
    pub fn open(args: &DataArgs, module: &Module) -> Result<Self, Failure> {
        Self::open_with(args, module, None)
    }

    /// The same with a meaning for pixels where neither `--normalize` nor the module says any.
    ///
    /// # Errors
    /// See [`DataSet::open`].
    pub fn open_with(
        args: &DataArgs,
        module: &Module,
        pixels: Option<Normalization>,
    ) -> Result<Self, Failure> {
        let ports = module.functions.first().map(|function| function.inputs.as_slice()).unwrap_or_default();
        if ports.is_empty() {
            return Err(Diagnostic::error("expected a model with inputs, got one without").into());
        }
        let mut notes = Vec::new();
        let readings = ports.iter().enumerate().map(|(index, port)| {
            let ty = port_type(port)?.clone();
            let known = args.normalize.clone().or_else(|| pixels::of_input(module, index));
            let known = known.or_else(|| pixels.clone());
            Ok(Reading::new(ty, known, args))
        });
        let readings = readings.collect::<Result<Vec<_>, Failure>>()?;
        let found = find(args, ports, &readings)?;
        if readings.iter().any(|reading| reading.guesses()) && found.iter().any(Found::has_pixels) {
            notes.push(
                "pixels are divided by 255, since the model does not say what it expects: --normalize does"
                    .to_owned(),
            );
        }
        Self::assemble(args, readings, found, notes)
    }

    fn assemble(
        args: &DataArgs,
        readings: Vec<Reading>,
        found: Vec<Found>,
        mut notes: Vec<String>,
    ) -> Result<Self, Failure> {
        let count = found.first().map_or(0, |found| found.places.len());
        if let Some(other) = found.iter().find(|found| found.places.len() != count) {
            let message =
                format!("expected {count} samples for every input, got {} for one", other.places.len());
            return Err(Diagnostic::error(message).into());
        }
        if count == 0 {
            let message = format!("expected samples in '{}', got none", args.data.join("', '"));
            return Err(Diagnostic::error(message).help(listing::KNOWN).into());
        }
        let (mut labels, mut classes) = (None, None);
        let mut places: Vec<Vec<Place>> = vec![Vec::with_capacity(found.len()); count];
        for found in found {
            for (sample, place) in places.iter_mut().zip(found.places) {
                sample.push(place);
            }
            labels = labels.or(found.labels);
            classes = classes.or(found.classes);
            notes.extend(found.notes);
        }
        if let Some(path) = &args.labels {
            let first: Vec<&Place> = places.iter().filter_map(|sample| sample.first()).collect();
            labels = Some(Labels::read(path)?.of(path, &first)?);
            classes = None;
        }
        let label = |index: usize| labels.as_ref().and_then(|labels| labels.get(index).copied());
        let samples: Vec<Sample> = places
            .into_iter()
            .enumerate()
            .map(|(index, inputs)| Sample { inputs, label: label(index) })
            .skip(args.skip)
            .take(args.limit.unwrap_or(usize::MAX))
            .collect();
        if samples.is_empty() {
            return Err(usage(format!("expected fewer than {count} samples to --skip, got {}", args.skip))
                .help(format!("there are {count}"))
                .into());
        }
        Ok(Self { readings, samples, classes, notes })
    }

    /// The same samples for the inputs of another model, such as a float model of the same network: pictures are made
    /// anew for it, stored values go through the real numbers that they stand for.
    ///
    /// # Errors
    /// Another number of inputs.
    pub fn for_module(&self, module: &Module) -> Result<Self, Failure> {
        let ports = module.functions.first().map(|function| function.inputs.as_slice()).unwrap_or_default();
        if ports.len() != self.readings.len() {
            let message = format!(
                "expected a reference of as many inputs as the model, {}, got {}",
                self.readings.len(),
                ports.len()
            );
            return Err(Diagnostic::error(message).into());
        }
        let readings =
            self.readings.iter().zip(ports).map(|(reading, port)| Ok(reading.to(port_type(port)?.clone())));
        Ok(Self { readings: readings.collect::<Result<_, Failure>>()?, ..self.clone() })
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// Name of a sample: that of its file.
    pub fn name(&self, sample: usize) -> String {
        let first = self.samples.get(sample).and_then(|sample| sample.inputs.first());
        first.map(Place::name).unwrap_or_default()
    }

    /// Class of a sample, if there are labels.
    pub fn label(&self, sample: usize) -> Option<usize> {
        self.samples.get(sample).and_then(|sample| sample.label)
    }

    /// Names of the classes, if folders name them.
    pub fn classes(&self) -> Option<&[String]> {
        self.classes.as_deref()
    }

    /// What the user should know about what was read.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Reads a sample: one tensor for each input, of the input's type.
    ///
    /// # Errors
    /// A file that can't be read or decoded, that has another shape, or numbers that the input can't hold.
    pub fn inputs(&self, sample: usize) -> Result<Vec<Tensor>, Diagnostics> {
        let Some(Sample { inputs, .. }) = self.samples.get(sample) else {
            return Err(Diagnostic::error(format!("expected fewer than {} samples", self.len())).into());
        };
        let tensor = |(place, reading): (&Place, &Reading)| {
            let values = match &*place.source {
                Source::Array(array) => array.sample(place.index),
                Source::Picture(path) => picture::read(path, &reading.ty().shape, reading.channels()),
            };
            values
                .and_then(|values| reading.tensor(values))
                .map_err(|error| error.of(place.source.path(), &place.name()))
        };
        inputs.iter().zip(&self.readings).map(tensor).collect()
    }
}

impl Found {
    fn has_pixels(&self) -> bool {
        self.places.iter().any(|place| match &*place.source {
            Source::Array(array) => array.is_bytes(),
            Source::Picture(_) => true,
        })
    }

    /// Adds another path's samples.
    fn append(&mut self, other: Found) -> Result<(), Failure> {
        if !self.places.is_empty() && self.labels.is_some() != other.labels.is_some()
            || other.classes != self.classes && !self.places.is_empty()
        {
            return Err(usage("expected either all or none of the paths to name the same classes")
                .help("give --labels, or one path at a time")
                .into());
        }
        self.places.extend(other.places);
        self.classes = other.classes;
        self.notes.extend(other.notes);
        if let Some(labels) = other.labels {
            self.labels.get_or_insert_default().extend(labels);
        }
        Ok(())
    }
}

/// What the paths of the command line hold, by input.
fn find(args: &DataArgs, ports: &[Port], readings: &[Reading]) -> Result<Vec<Found>, Failure> {
    let types: Vec<&TensorType> = readings.iter().map(Reading::ty).collect();
    let mut found: Vec<Found> = ports.iter().map(|_| Found::default()).collect();
    for text in &args.data {
        let (port, path) = port_and_path(text, ports);
        if Path::new(path).extension().is_some_and(|extension| extension == "npz") {
            let archive = array::npz(Path::new(path), ports, &types)?;
            let labels = archive.labels;
            for ((into, array), first) in
                found.iter_mut().zip(archive.inputs).zip([true].into_iter().chain(std::iter::repeat(false)))
            {
                let mut part = of_source(Source::Array(array));
                part.labels = if first { labels.clone() } else { None };
                into.append(part)?;
            }
            continue;
        }
        let index = match port {
            Some(index) => index,
            None if ports.len() == 1 => 0,
            None => {
                let names: Vec<&str> = ports.iter().map(|port| &*port.name).collect();
                let message = format!("expected to know which input '{path}' is for");
                return Err(usage(message)
                    .note(format!("the model's inputs are '{}'", names.join("', '")))
                    .help(format!("give --data {}=PATH for each, or a .npz with an array for each", names[0]))
                    .into());
            }
        };
        found[index].append(at(Path::new(path), types[index], args)?)?;
    }
    Ok(found)
}

/// `INPUT=PATH`, where INPUT is the name or position of an input; else all of it is a path.
fn port_and_path<'a>(text: &'a str, ports: &[Port]) -> (Option<usize>, &'a str) {
    let named = text.split_once('=').and_then(|(name, path)| {
        let index = ports.iter().position(|port| &*port.name == name).or_else(|| name.parse().ok());
        index.filter(|&index| index < ports.len()).map(|index| (index, path))
    });
    named.map_or((None, text), |(index, path)| (Some(index), path))
}

fn of_source(source: Source) -> Found {
    let count = source.len();
    let source = Arc::new(source);
    let places = (0..count).map(|index| Place { source: source.clone(), index }).collect();
    Found { places, ..Found::default() }
}

/// The samples of a file or folder.
fn at(path: &Path, ty: &TensorType, args: &DataArgs) -> Result<Found, Failure> {
    let listing = listing::list(path)?;
    let mut found = Found { classes: listing.classes, notes: listing.notes, ..Found::default() };
    for file in listing.files {
        let part = of_source(open(&file.path, ty, args)?);
        if let Some(class) = file.class {
            found.labels.get_or_insert_default().extend(part.places.iter().map(|_| class));
        }
        found.places.extend(part.places);
    }
    Ok(found)
}

fn open(path: &Path, ty: &TensorType, args: &DataArgs) -> Result<Source, Failure> {
    Ok(match listing::kind(path) {
        Some(listing::Kind::Picture) => {
            picture::check_shape(path, &ty.shape)?;
            Source::Picture(path.to_owned())
        }
        Some(listing::Kind::Npy) => Source::Array(array::npy(path, ty)?),
        _ => Source::Array(array::raw(path, ty, args.data_type.map(Into::into))?),
    })
}
