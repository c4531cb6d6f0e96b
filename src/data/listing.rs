//! The files that a path stands for, in a fixed order.

use crate::files;
use mcunet_ir::{Diagnostic, Diagnostics};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// What can be read, for messages.
pub const KNOWN: &str = "files are .npy, .npz, .bin, or pictures: .jpg, .jpeg, .png, .bmp, .ppm, .pgm";

/// What a file is, by its extension.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Picture,
    Npy,
    /// Raw values.
    Bin,
}

/// What a file is; `None` for what is no data.
pub fn kind(path: &Path) -> Option<Kind> {
    let extension = path.extension().and_then(OsStr::to_str).unwrap_or_default().to_ascii_lowercase();
    Some(match extension.as_str() {
        "jpg" | "jpeg" | "png" | "bmp" | "ppm" | "pgm" => Kind::Picture,
        "npy" => Kind::Npy,
        "bin" => Kind::Bin,
        _ => return None,
    })
}

/// A file of samples.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct File {
    pub path: PathBuf,
    /// The class of the folder that it is in.
    pub class: Option<usize>,
}

/// What is in a path.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Listing {
    pub files: Vec<File>,
    /// Names of the class folders.
    pub classes: Option<Vec<String>>,
    /// What was left out.
    pub notes: Vec<String>,
}

/// Lists a file or folder. A folder that holds only folders holds one for each class: class 0 is the first by name, or,
/// if all names are numbers, class `n` is the folder `n`.
///
/// # Errors
/// A path that can't be read, no data in it, several kinds of data side by side, or files beside class folders.
pub fn list(path: &Path) -> Result<Listing, Diagnostics> {
    if !path.is_dir() {
        // A file that is named gets read whatever its name is.
        std::fs::metadata(path).map_err(|error| files::io_error("read", path, &error))?;
        return Ok(Listing {
            files: vec![File { path: path.to_owned(), class: None }],
            ..Listing::default()
        });
    }
    let (inside, folders) = entries(path)?;
    let mut listing = Listing::default();
    let data = of_one_kind(path, inside, &mut listing.notes)?;
    if folders.is_empty() || !data.is_empty() {
        if !folders.is_empty() {
            let message = format!("expected files or class folders in '{}', got both", path.display());
            return Err(Diagnostic::error(message)
                .help("name the folder of the files, or move them into class folders")
                .into());
        }
        listing.files = data.into_iter().map(|path| File { path, class: None }).collect();
    } else {
        let (folders, numbers) = by_class(folders);
        let mut names = Vec::new();
        for (folder, class) in folders.iter().zip(numbers) {
            let before = listing.files.len();
            add_below(folder, class, &mut listing)?;
            if listing.files.len() == before {
                let message =
                    format!("expected samples in the class folder '{}', got none", folder.display());
                return Err(Diagnostic::error(message).help(KNOWN).into());
            }
            names.resize(names.len().max(class + 1), String::new());
            names[class] = crate::session::base_name(folder);
        }
        listing.classes = Some(names);
    }
    if listing.files.is_empty() {
        let message = format!("expected samples in '{}', got none", path.display());
        return Err(Diagnostic::error(message).help(KNOWN).into());
    }
    Ok(listing)
}

/// Most classes that folders named by numbers may count to.
const MAX_CLASS: usize = 1 << 16;

/// Class folders with their classes.
fn by_class(folders: Vec<PathBuf>) -> (Vec<PathBuf>, Vec<usize>) {
    let number =
        |path: &PathBuf| path.file_name()?.to_str()?.parse::<usize>().ok().filter(|&class| class < MAX_CLASS);
    let numbers: Option<Vec<usize>> = folders.iter().map(number).collect();
    let mut numbers = numbers.unwrap_or_else(|| (0..folders.len()).collect());
    // `1` and `01` would be one class.
    let mut unique = numbers.clone();
    unique.sort_unstable();
    unique.dedup();
    if unique.len() != folders.len() {
        numbers = (0..folders.len()).collect();
    }
    (folders, numbers)
}

fn add_below(folder: &Path, class: usize, listing: &mut Listing) -> Result<(), Diagnostics> {
    let (inside, folders) = entries(folder)?;
    let data = of_one_kind(folder, inside, &mut listing.notes)?;
    listing.files.extend(data.into_iter().map(|path| File { path, class: Some(class) }));
    folders.iter().try_for_each(|folder| add_below(folder, class, listing))
}

/// Files and folders in a folder, by name; hidden ones and links to folders above are left out.
fn entries(folder: &Path) -> Result<(Vec<PathBuf>, Vec<PathBuf>), Diagnostics> {
    let unreadable = |error: &std::io::Error| files::io_error("read the folder", folder, error);
    let (mut inside, mut folders) = (Vec::new(), Vec::new());
    for entry in std::fs::read_dir(folder).map_err(|error| unreadable(&error))? {
        let entry = entry.map_err(|error| unreadable(&error))?;
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        let path = entry.path();
        // A link to a folder could lead in circles.
        let is_link = entry.file_type().is_ok_and(|ty| ty.is_symlink());
        match path.is_dir() {
            true if is_link => {}
            true => folders.push(path),
            false => inside.push(path),
        }
    }
    inside.sort();
    folders.sort();
    Ok((inside, folders))
}

/// The files of data among those of a folder.
fn of_one_kind(
    folder: &Path,
    inside: Vec<PathBuf>,
    notes: &mut Vec<String>,
) -> Result<Vec<PathBuf>, Diagnostics> {
    let (data, other): (Vec<PathBuf>, Vec<PathBuf>) =
        inside.into_iter().partition(|path| kind(path).is_some());
    let Some(first) = data.first() else { return Ok(data) };
    if let Some(odd) = data.iter().find(|path| kind(path) != kind(first)) {
        let message = format!(
            "expected files of one kind in '{}', got '{}' and '{}'",
            folder.display(),
            crate::session::base_name(first),
            crate::session::base_name(odd)
        );
        return Err(Diagnostic::error(message)
            .help("name the files themselves, such as FOLDER/*.bin")
            .into());
    }
    if !other.is_empty() {
        let example = crate::session::base_name(&other[0]);
        notes.push(format!(
            "{} files in '{}' are no data, such as '{example}'",
            other.len(),
            folder.display()
        ));
    }
    Ok(data)
}
