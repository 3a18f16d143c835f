//! Local files that survive a power cut, and the place where tests make them fail.
//!
//! A write is: temporary file, fsync, rename, fsync of the directory. A reader sees all of a file
//! or none of it, and what was acknowledged stays. Iceberg's own local storage does none of this.

use std::fmt::Debug;
use std::fs::{self, File};
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use iceberg::io::{
    FileMetadata, FileRead, FileWrite, InputFile, OutputFile, Storage, StorageConfig,
    StorageFactory,
};
use serde::{Deserialize, Serialize};

use crate::failpoint::failpoint;

/// What the storage is about to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StorageOperation {
    Exists,
    Metadata,
    Read,
    CreateDirectory,
    Write,
    Sync,
    Rename,
    SyncDirectory,
    Delete,
}

/// How an operation goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Fails, and nothing was done.
    ErrorBefore,
    /// Done, but reported as failed: a lost acknowledgement.
    ErrorAfter,
    /// Half of the bytes are written, then it fails. Only for `Write`; else as `ErrorBefore`.
    ShortWrite,
    /// The disk is full.
    NoSpace,
    /// Done, later.
    Delay(Duration),
    /// The power goes: what this operation was to make durable is lost, and it fails. Only for
    /// `Sync` and `SyncDirectory`; else as `ErrorBefore`.
    ForgetUnsynced,
}

/// Decides which operation fails. Called before each one, from any thread.
pub trait StorageFaults: Debug + Send + Sync {
    fn fault(&self, operation: StorageOperation, path: &Path) -> Option<Fault>;
}

/// Durable local files.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct DurableFs {
    /// Not serialised: a storage that was shipped elsewhere does not fail on purpose.
    #[serde(skip)]
    faults: Option<Arc<dyn StorageFaults>>,
}

/// Ending of a file that is being written; such a file is named `.NAME.tmp`.
const TEMPORARY_SUFFIX: &str = ".tmp";

impl DurableFs {
    pub(crate) fn new(faults: Option<Arc<dyn StorageFaults>>) -> Self {
        Self { faults }
    }

    fn step<T>(
        &self,
        operation: StorageOperation,
        path: &Path,
        action: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        let faults = self.faults.as_ref();
        match faults.and_then(|faults| faults.fault(operation, path)) {
            None => action(),
            Some(Fault::Delay(delay)) => {
                std::thread::sleep(delay);
                action()
            }
            Some(Fault::ErrorAfter) => {
                action()?;
                Err(injected(operation))
            }
            Some(Fault::NoSpace) => Err(io::Error::from(io::ErrorKind::StorageFull)),
            Some(Fault::ShortWrite) => Err(io::Error::from(io::ErrorKind::WriteZero)),
            Some(Fault::ForgetUnsynced) => Err(io::Error::other(PowerCut)),
            Some(Fault::ErrorBefore) => Err(injected(operation)),
        }
    }

    /// Writes `bytes` to `path`, in place of what was there. Durable when it returns.
    pub(crate) fn write_file(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let parent = path.parent().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        self.create_directory(parent)?;
        let temporary = temporary_of(path)?;
        let written = self.write_temporary(&temporary, bytes).and_then(|()| {
            self.step(StorageOperation::Rename, path, || fs::rename(&temporary, path))
        });
        if let Err(error) = written {
            // The name is free again, or the file is swept up when the sink is next claimed.
            let _ = fs::remove_file(&temporary);
            return Err(error);
        }
        let synced = self.step(StorageOperation::SyncDirectory, path, || sync_directory(parent));
        if synced.as_ref().is_err_and(is_power_cut) {
            fs::remove_file(path)?;
        }
        synced
    }

    fn write_temporary(&self, temporary: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut file = File::create(temporary)?;
        let written = self.step(StorageOperation::Write, temporary, || file.write_all(bytes));
        if written.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WriteZero) {
            file.write_all(&bytes[..bytes.len() / 2])?;
        }
        written?;
        failpoint("write.before-sync");
        let synced = self.step(StorageOperation::Sync, temporary, || file.sync_data());
        if synced.as_ref().is_err_and(is_power_cut) {
            file.set_len(0)?;
        }
        failpoint("write.after-sync");
        synced
    }

    /// Creates `directory` and its parents. Durable when it returns.
    pub(crate) fn create_directory(&self, directory: &Path) -> io::Result<()> {
        if directory.is_dir() {
            return Ok(());
        }
        // The parent of a relative path of one part is spelled as nothing at all.
        let parent = directory.parent().map(|parent| match parent.as_os_str().is_empty() {
            true => Path::new("."),
            false => parent,
        });
        if let Some(parent) = parent {
            self.create_directory(parent)?;
        }
        self.step(StorageOperation::CreateDirectory, directory, || {
            match fs::create_dir(directory) {
                // Another thread was first; it may not have synced the parent yet.
                Err(error)
                    if error.kind() == io::ErrorKind::AlreadyExists && directory.is_dir() => {}
                made => made?,
            }
            parent.map_or(Ok(()), sync_directory)
        })
    }

    fn read_file(&self, path: &Path) -> io::Result<Bytes> {
        self.step(StorageOperation::Read, path, || fs::read(path)).map(Bytes::from)
    }

    /// Deletes `path`; that it is not there is no error.
    pub(crate) fn delete_file(&self, path: &Path) -> io::Result<()> {
        self.step(StorageOperation::Delete, path, || match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        })
    }
}

/// Stands in an [`io::Error`] for a power cut.
#[derive(Debug, thiserror::Error)]
#[error("injected power cut")]
struct PowerCut;

fn is_power_cut(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|source| source.is::<PowerCut>())
}

fn injected(operation: StorageOperation) -> io::Error {
    io::Error::other(format!("injected failure of {operation:?}"))
}

fn temporary_of(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    Ok(path.with_file_name(format!(".{name}{TEMPORARY_SUFFIX}")))
}

fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Deletes what crashed writers left under `directory`: files that never got their name.
pub(crate) fn sweep_temporaries(directory: &Path) -> io::Result<u64> {
    let mut swept = 0;
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if entry.file_type()?.is_dir() {
            swept += sweep_temporaries(&entry.path())?;
        } else if name.starts_with('.') && name.ends_with(TEMPORARY_SUFFIX) {
            fs::remove_file(entry.path())?;
            swept += 1;
        }
    }
    Ok(swept)
}

/// The local path of a location, with or without a `file:` scheme.
pub(crate) fn local_path(location: &str) -> PathBuf {
    let path = location.strip_prefix("file:").unwrap_or(location);
    match path.strip_prefix("//") {
        Some(path) if path.starts_with('/') => PathBuf::from(path),
        _ => PathBuf::from(path),
    }
}

fn failed(what: &str, path: &str, error: io::Error) -> iceberg::Error {
    let kind = match error.kind() {
        io::ErrorKind::NotFound => iceberg::ErrorKind::DataInvalid,
        _ => iceberg::ErrorKind::Unexpected,
    };
    iceberg::Error::new(kind, format!("{what} {path}")).with_source(error)
}

#[async_trait]
#[typetag::serde(name = "K2DurableFs")]
impl Storage for DurableFs {
    async fn exists(&self, path: &str) -> iceberg::Result<bool> {
        let local = local_path(path);
        self.step(StorageOperation::Exists, &local, || local.try_exists())
            .map_err(|error| failed("look for", path, error))
    }

    async fn metadata(&self, path: &str) -> iceberg::Result<FileMetadata> {
        let local = local_path(path);
        let metadata = self.step(StorageOperation::Metadata, &local, || fs::metadata(&local));
        let size = metadata.map_err(|error| failed("look at", path, error))?.len();
        Ok(FileMetadata { size })
    }

    async fn read(&self, path: &str) -> iceberg::Result<Bytes> {
        self.read_file(&local_path(path)).map_err(|error| failed("read", path, error))
    }

    async fn reader(&self, path: &str) -> iceberg::Result<Box<dyn FileRead>> {
        let local = local_path(path);
        let file = File::open(&local).map_err(|error| failed("open", path, error))?;
        Ok(Box::new(DurableRead { storage: self.clone(), path: local, file }))
    }

    async fn write(&self, path: &str, bytes: Bytes) -> iceberg::Result<()> {
        self.write_file(&local_path(path), &bytes).map_err(|error| failed("write", path, error))
    }

    async fn writer(&self, path: &str) -> iceberg::Result<Box<dyn FileWrite>> {
        let buffer = Some(Vec::new());
        Ok(Box::new(DurableWrite { storage: self.clone(), path: path.to_owned(), buffer }))
    }

    async fn delete(&self, path: &str) -> iceberg::Result<()> {
        self.delete_file(&local_path(path)).map_err(|error| failed("delete", path, error))
    }

    async fn delete_prefix(&self, path: &str) -> iceberg::Result<()> {
        let local = local_path(path);
        if !local.is_dir() {
            return Ok(());
        }
        self.step(StorageOperation::Delete, &local, || fs::remove_dir_all(&local))
            .map_err(|error| failed("delete", path, error))
    }

    async fn delete_stream(&self, mut paths: BoxStream<'static, String>) -> iceberg::Result<()> {
        while let Some(path) = paths.next().await {
            self.delete(&path).await?;
        }
        Ok(())
    }

    fn new_input(&self, path: &str) -> iceberg::Result<InputFile> {
        Ok(InputFile::new(Arc::new(self.clone()), path.to_owned()))
    }

    fn new_output(&self, path: &str) -> iceberg::Result<OutputFile> {
        Ok(OutputFile::new(Arc::new(self.clone()), path.to_owned()))
    }
}

#[derive(Debug)]
struct DurableRead {
    storage: DurableFs,
    path: PathBuf,
    file: File,
}

#[async_trait]
impl FileRead for DurableRead {
    async fn read(&self, range: Range<u64>) -> iceberg::Result<Bytes> {
        let length = usize::try_from(range.end - range.start).expect("a range fits in memory");
        let mut buffer = vec![0; length];
        self.storage
            .step(StorageOperation::Read, &self.path, || {
                self.file.read_exact_at(&mut buffer, range.start)
            })
            .map_err(|error| failed("read", &self.path.to_string_lossy(), error))?;
        Ok(Bytes::from(buffer))
    }
}

/// Collects the whole file, because a half-written one must never get its name.
#[derive(Debug)]
struct DurableWrite {
    storage: DurableFs,
    path: String,
    /// `None` once closed.
    buffer: Option<Vec<u8>>,
}

#[async_trait]
impl FileWrite for DurableWrite {
    async fn write(&mut self, bytes: Bytes) -> iceberg::Result<()> {
        let closed = || failed("write to closed file", &self.path, io::ErrorKind::Other.into());
        self.buffer.as_mut().ok_or_else(closed)?.extend_from_slice(&bytes);
        Ok(())
    }

    async fn close(&mut self) -> iceberg::Result<()> {
        let closed = || failed("close closed file", &self.path, io::ErrorKind::Other.into());
        let buffer = self.buffer.take().ok_or_else(closed)?;
        self.storage
            .write_file(&local_path(&self.path), &buffer)
            .map_err(|error| failed("write", &self.path, error))
    }
}

/// Hands out one storage, faults and all.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct DurableFsFactory {
    storage: DurableFs,
}

impl DurableFsFactory {
    pub(crate) fn new(storage: DurableFs) -> Self {
        Self { storage }
    }
}

#[typetag::serde(name = "K2DurableFsFactory")]
impl StorageFactory for DurableFsFactory {
    fn build(&self, _config: &StorageConfig) -> iceberg::Result<Arc<dyn Storage>> {
        Ok(Arc::new(self.storage.clone()))
    }
}
