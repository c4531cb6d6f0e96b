//! Reading inputs and writing outputs; an output appears whole or not at all.

use crate::Io;
use mcunet_ir::diag::Category;
use mcunet_ir::{Diagnostic, Diagnostics};
use std::io::{Read, Write};
use std::path::Path;

/// Largest input that is read, in bytes; far above any model for a microcontroller.
const MAX_INPUT_BYTES: u64 = 1 << 30;

/// Reads a file, or standard input for `-`.
pub fn read(path: &Path, io: &mut Io<'_>) -> Result<Vec<u8>, Diagnostics> {
    let mut bytes = Vec::new();
    let read = if path == Path::new("-") {
        io.stdin.take(MAX_INPUT_BYTES + 1).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(MAX_INPUT_BYTES + 1).read_to_end(&mut bytes))
    };
    match read {
        Err(error) => Err(io_error("read", path, &error)),
        Ok(_) if bytes.len() as u64 > MAX_INPUT_BYTES => {
            let message =
                format!("expected at most {MAX_INPUT_BYTES} bytes in '{}', got more", path.display());
            Err(Diagnostic::error(message).into())
        }
        Ok(_) => Ok(bytes),
    }
}

/// Reads a file that the compiler made itself.
pub fn read_file(path: &Path) -> Result<Vec<u8>, Diagnostics> {
    std::fs::read(path).map_err(|error| io_error("read", path, &error))
}

/// Writes one file, or standard output for `-`.
pub fn write(path: &Path, bytes: &[u8], io: &mut Io<'_>) -> Result<(), Diagnostics> {
    if path == Path::new("-") {
        return io.stdout.write_all(bytes).map_err(|error| io_error("write", path, &error));
    }
    write_file(path, bytes)
}

/// Writes one file: whole or not at all, unless the path is a device or a pipe, which is written to and stays what it is.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<(), Diagnostics> {
    // What a link points to is written, not the link.
    let path = &path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let is_special = std::fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir());
    if is_special {
        return std::fs::write(path, bytes).map_err(|error| io_error("write", path, &error));
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    write_all(parent, &[(name, bytes.to_vec())])
}

/// Writes files (by path relative to `folder`) so that either all appear or none: each is written to a temporary file
/// beside its place first, and all are renamed at the end.
pub fn write_all(folder: &Path, files: &[(String, Vec<u8>)]) -> Result<(), Diagnostics> {
    if folder.is_file() {
        let message = format!("expected a folder for the output, got the file '{}'", folder.display());
        return Err(Diagnostic::error(message).category(Category::Usage).into());
    }
    let mut ready = Vec::new();
    for (name, bytes) in files {
        let path = folder.join(name);
        if path.is_dir() {
            return Err(
                Diagnostic::error(format!("cannot write '{}': it is a folder", path.display())).into()
            );
        }
        let parent = path.parent().unwrap_or(folder);
        std::fs::create_dir_all(parent).map_err(|error| io_error("create", parent, &error))?;
        let mut file =
            tempfile::NamedTempFile::new_in(parent).map_err(|error| io_error("write to", parent, &error))?;
        file.write_all(bytes).map_err(|error| io_error("write", &path, &error))?;
        ready.push((file, path));
    }
    for (file, path) in ready {
        make_readable(file.path());
        file.persist(&path).map_err(|error| io_error("write", &path, &error.error))?;
    }
    Ok(())
}

/// Temporary files are private to their owner; outputs have the usual permissions.
fn make_readable(path: &Path) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // A failure leaves the file private, which is no reason to fail.
        let _ = std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644));
    }
    #[cfg(not(unix))]
    let _ = path;
}

/// A diagnostic for a failed file operation.
pub fn io_error(action: &str, path: &Path, error: &std::io::Error) -> Diagnostics {
    Diagnostic::error(format!("cannot {action} '{}': {error}", path.display())).into()
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn pipes_are_written_to_and_links_are_followed() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let pipe = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo is there");
        assert!(made.success());
        let reader = std::thread::spawn({
            let pipe = pipe.clone();
            move || std::fs::read(pipe).expect("the pipe can be read")
        });
        write_file(&pipe, b"through").expect("the pipe can be written");
        assert_eq!(reader.join().expect("the reader ends"), b"through");
        assert!(!std::fs::metadata(&pipe).expect("it is still there").is_file());

        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        std::fs::write(&file, "before").expect("a file");
        std::os::unix::fs::symlink(&file, &link).expect("a link");
        write_file(&link, b"after").expect("the link can be written");
        assert_eq!(std::fs::read(&file).expect("the file"), b"after");
        assert!(std::fs::symlink_metadata(&link).expect("the link").is_symlink());
    }
}
