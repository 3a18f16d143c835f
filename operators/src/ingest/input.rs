//! Inputs: files, standard input, and readers made by the program.

use std::fs::{File, Metadata};
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use k2_model::Origin;
use xxhash_rust::xxh3::xxh3_64;

use crate::batch::FileMark;
use crate::error::Error;
use crate::ingest::lines::{HEAD_BYTES, LineReader};
use crate::ingest::piped::{Piped, Waits};

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Compressed bytes read at once.
const READ_BYTES: usize = 1 << 18;

/// One input of a job.
pub struct Input {
    /// As in [`k2_model::codec::VENUES`].
    pub venue: &'static str,
    pub origin: Origin,
    from: From,
}

enum From {
    File(PathBuf),
    /// Read once; `None` afterwards.
    Reader(Option<Box<dyn Read + Send>>),
    /// As a reader, whose bytes come when they come.
    Piped(Option<(Piped, Waits)>),
}

impl Input {
    /// The file at `path`; its source is the file's name.
    pub fn file(venue: &'static str, path: &Path) -> Result<Self, Error> {
        let shown = path.display().to_string();
        let metadata = path.metadata().map_err(|error| Error::read(&shown, error))?;
        if metadata.is_dir() {
            let error = io::Error::new(io::ErrorKind::IsADirectory, "it is a directory");
            return Err(Error::read(&shown, error));
        }
        let opened = File::open(path).map_err(|error| Error::read(&shown, error))?;
        drop(opened);
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
        Ok(Self { venue, origin: Origin::new(&name, 0), from: From::File(path.into()) })
    }

    /// Standard input or another stream that cannot be read twice. Its source is `name` and the
    /// hash of its head, so that the same data is known again and other data is another source.
    pub fn stream(
        venue: &'static str,
        name: &str,
        mut read: Box<dyn Read + Send>,
    ) -> Result<Self, Error> {
        let mut head = Vec::new();
        let taken = read.by_ref().take(HEAD_BYTES).read_to_end(&mut head);
        taken.map_err(|error| Error::read(name, error))?;
        let origin = Origin::new(&format!("{name}-{:016x}", xxh3_64(&head)), 0);
        let whole = decompressed(Box::new(Cursor::new(head).chain(read)));
        let piped = whole.and_then(Piped::new).map_err(|error| Error::read(name, error))?;
        Ok(Self { venue, origin, from: From::Piped(Some(piped)) })
    }

    /// A reader that starts at its first byte each time the program starts, known by `name`.
    pub fn reader(venue: &'static str, name: &str, read: Box<dyn Read + Send>) -> Self {
        Self { venue, origin: Origin::new(name, 0), from: From::Reader(Some(read)) }
    }

    /// Whether more may be appended while the job runs.
    pub fn may_grow(&self) -> bool {
        matches!(self.from, From::File(_))
    }

    /// Bytes on disk, if it is a file.
    pub fn disk_bytes(&self) -> Option<u64> {
        match &self.from {
            From::File(path) => path.metadata().ok().map(|metadata| metadata.len()),
            From::Reader(_) | From::Piped(_) => None,
        }
    }

    /// Opens the input at its start, or where an earlier run stopped.
    pub fn open(&mut self, resume: Option<(u64, FileMark)>) -> Result<LineReader, Error> {
        let name = self.origin.source();
        let mut waits = None;
        let read: Box<dyn Read + Send> = match &mut self.from {
            From::File(path) => {
                let opened = File::open(&*path).and_then(|file| decompressed(Box::new(file)));
                opened.map_err(|error| Error::read(&path.display().to_string(), error))?
            }
            From::Reader(read) => read.take().unwrap_or_else(|| Box::new(io::empty())),
            From::Piped(piped) => match piped.take() {
                Some((piped, of_it)) => {
                    waits = Some(of_it);
                    Box::new(piped)
                }
                None => Box::new(io::empty()),
            },
        };
        let lines = match resume {
            Some((next_offset, mark)) => LineReader::resume(name, read, next_offset, mark)?,
            None => LineReader::new(name, read),
        };
        // What an earlier run has read must be skipped whole; from there on nothing waits.
        waits.iter().for_each(Waits::stop);
        Ok(lines)
    }
}

/// Refuses two inputs that are one file or have one name.
pub fn check_distinct(inputs: &[Input]) -> Result<(), Error> {
    for (at, first) in inputs.iter().enumerate() {
        for second in &inputs[at + 1..] {
            let (one, two) = (first.shown(), second.shown());
            if first.identity().is_some() && first.identity() == second.identity() {
                return Err(Error::SameFile { first: one, second: two });
            }
            if first.origin == second.origin {
                return Err(Error::SameName { first: one, second: two });
            }
        }
    }
    Ok(())
}

impl Input {
    fn shown(&self) -> String {
        match &self.from {
            From::File(path) => path.display().to_string(),
            From::Reader(_) | From::Piped(_) => self.origin.source().into(),
        }
    }

    /// Device and inode: what a file is, whatever it is called.
    fn identity(&self) -> Option<(u64, u64)> {
        match &self.from {
            From::File(path) => {
                path.metadata().ok().map(|found: Metadata| (found.dev(), found.ino()))
            }
            From::Reader(_) | From::Piped(_) => None,
        }
    }
}

/// Decompresses `read` if its first bytes are those of gzip or zstd.
fn decompressed(read: Box<dyn Read + Send>) -> io::Result<Box<dyn Read + Send>> {
    let mut buffered = BufReader::with_capacity(READ_BYTES, read);
    let head = buffered.fill_buf()?;
    if head.starts_with(&GZIP_MAGIC) {
        Ok(Box::new(flate2::bufread::MultiGzDecoder::new(buffered)))
    } else if head.starts_with(&ZSTD_MAGIC) {
        Ok(Box::new(zstd::stream::read::Decoder::with_buffer(buffered)?))
    } else {
        // Blocks are read whole, so another copy in between would only cost.
        let head = Cursor::new(head.to_vec());
        Ok(Box::new(head.chain(buffered.into_inner())))
    }
}
