//! Reading and writing a certificate directory.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::CertError;

/// A file to write.
pub(super) struct File<'a> {
    name: &'static str,
    content: &'a str,
    secret: bool,
}

impl<'a> File<'a> {
    /// A file that its owner alone may read.
    pub(super) fn secret(name: &'static str, content: &'a str) -> File<'a> {
        File { name, content, secret: true }
    }

    /// A file that everybody may read.
    pub(super) fn public(name: &'static str, content: &'a str) -> File<'a> {
        File { name, content, secret: false }
    }
}

/// The file's text; `None` when there is no such file.
pub(super) fn read(dir: &Path, file: &str) -> Result<Option<String>, CertError> {
    let path = dir.join(file);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(CertError::Io { path, source }),
    }
}

/// Writes `files` into `dir`, making it. Without `force` nothing is written when one of them exists, and none
/// that appears meanwhile is overwritten; with it each file is replaced as a whole.
pub(super) fn write(dir: &Path, files: &[File<'_>], force: bool) -> Result<(), CertError> {
    fs::create_dir_all(dir).map_err(|source| CertError::Io { path: dir.to_owned(), source })?;
    if !force && let Some(file) = files.iter().find(|file| dir.join(file.name).symlink_metadata().is_ok()) {
        return Err(CertError::Exists { path: dir.join(file.name) });
    }
    files
        .iter()
        .try_for_each(|file| if force { replace(dir, file) } else { create(&dir.join(file.name), file) })
}

fn replace(dir: &Path, file: &File<'_>) -> Result<(), CertError> {
    let new = dir.join(format!(".{}.{}.new", file.name, std::process::id()));
    let _ = fs::remove_file(&new);
    let path = dir.join(file.name);
    let replaced = create(&new, file)
        .and_then(|()| fs::rename(&new, &path).map_err(|source| CertError::Io { path, source }));
    if replaced.is_err() {
        let _ = fs::remove_file(&new);
    }
    replaced
}

/// A secret file has its final mode from the moment it exists.
fn create(path: &Path, file: &File<'_>) -> Result<(), CertError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, if file.secret { 0o600 } else { 0o644 });
    let written = options.open(path).and_then(|mut opened| {
        opened.write_all(file.content.as_bytes())?;
        opened.sync_all()
    });
    written.map_err(|source| failed(path.to_owned(), source))
}

fn failed(path: PathBuf, source: io::Error) -> CertError {
    match source.kind() {
        io::ErrorKind::AlreadyExists => CertError::Exists { path },
        _ => CertError::Io { path, source },
    }
}

/// Logs a warning when users other than the owner may read the key at `path`.
pub(super) fn warn_if_readable_by_others(path: &Path) {
    #[cfg(unix)]
    if let Ok(metadata) = fs::metadata(path)
        && std::os::unix::fs::MetadataExt::mode(&metadata) & 0o077 != 0
    {
        tracing::warn!(key = %path.display(), "others than its owner may read this private key");
    }
    #[cfg(not(unix))]
    let _ = path;
}
