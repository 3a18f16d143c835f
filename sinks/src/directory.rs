//! The data directory: its lock, its format, and the places in it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};
use crate::storage::DurableFs;

/// Version of what is in a data directory, and where.
const FORMAT: u32 = 1;

/// A data directory, with absolute paths.
#[derive(Clone, Debug)]
pub(crate) struct Directory {
    root: PathBuf,
}

impl Directory {
    /// Creates what is missing of `root`, and checks that its format is known.
    pub(crate) fn create(root: &Path, storage: &DurableFs) -> Result<Self> {
        let attempted = || format!("create the data directory {}", root.display());
        storage.create_directory(root).map_err(|error| Error::of(attempted(), error))?;
        let root = root.canonicalize().map_err(|error| Error::of(attempted(), error))?;
        let directory = Self { root };
        if directory.read_format()?.is_none() {
            let format = directory.format();
            storage.write_file(&format, format!("{FORMAT}\n").as_bytes()).map_err(|error| {
                Error::of(format!("write the format version to {}", format.display()), error)
            })?;
        }
        Ok(directory)
    }

    /// Opens a data directory that must be there.
    pub(crate) fn existing(root: &Path) -> Result<Self> {
        let missing = || {
            Error::new(
                ErrorKind::NoLake,
                format!(
                    "open the lake in {}: there is none; start a job there first, or name the \
                     data directory of one",
                    root.display()
                ),
            )
        };
        let root = root.canonicalize().map_err(|_| missing())?;
        let directory = Self { root };
        if directory.read_format()?.is_none() || !directory.database().is_file() {
            return Err(missing());
        }
        Ok(directory)
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.root.join("catalog.db")
    }

    pub(crate) fn warehouse(&self) -> PathBuf {
        self.root.join("warehouse")
    }

    pub(crate) fn warehouse_uri(&self) -> String {
        format!("file://{}", self.warehouse().display())
    }

    fn format(&self) -> PathBuf {
        self.root.join("format")
    }

    fn read_format(&self) -> Result<Option<u32>> {
        let path = self.format();
        let attempted = || format!("read the format version from {}", path.display());
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::of(attempted(), error)),
        };
        let format: u32 = text.trim().parse().map_err(|_| {
            Error::corrupt(format!("{}: {:?} is no number", attempted(), text.trim()))
        })?;
        if format > FORMAT {
            return Err(Error::new(
                ErrorKind::NewerFormat,
                format!(
                    "open the data directory {}: it has format {format}, this program knows \
                     {FORMAT}; use the newer program, or another directory",
                    self.root.display()
                ),
            ));
        }
        Ok(Some(format))
    }

    /// Takes the lock for as long as the answer lives. `None`: another job has it, and
    /// `take_over` says to go on all the same.
    pub(crate) fn lock(&self, take_over: bool) -> Result<Option<File>> {
        let path = self.root.join("lock");
        let attempted = || format!("lock the data directory with {}", path.display());
        let failed = |error| Error::of(attempted(), error);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {
                file.set_len(0).map_err(failed)?;
                file.rewind().map_err(failed)?;
                writeln!(file, "{}", std::process::id()).map_err(failed)?;
                Ok(Some(file))
            }
            Err(TryLockError::WouldBlock) if take_over => Ok(None),
            Err(TryLockError::WouldBlock) => Err(self.locked(&mut file)),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    fn locked(&self, file: &mut File) -> Error {
        let mut holder = String::new();
        let who = match file.read_to_string(&mut holder) {
            Ok(_) if !holder.trim().is_empty() => format!("process {}", holder.trim()),
            _ => "another process".to_owned(),
        };
        Error::new(
            ErrorKind::Locked,
            format!(
                "open the data directory {}: {who} runs a job in it; stop that job, use another \
                 directory, or take over, which fences it",
                self.root.display()
            ),
        )
    }
}
