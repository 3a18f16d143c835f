//! The threads that catalog, manifests and scans run on, and those that encode files.

use std::ops::Deref;
use std::sync::{Mutex, OnceLock, PoisonError};

use rayon::{ThreadPool, ThreadPoolBuilder};

use tokio::runtime::{Builder, Runtime};

use crate::error::{Error, Result};
use crate::write::MarketEncoder;

/// Catalog and manifests only: files are encoded on the caller's thread.
const THREADS: usize = 2;

/// A runtime that may be dropped where blocking is not allowed.
#[derive(Debug)]
pub(crate) struct Threads {
    /// `None` only while dropping.
    runtime: Option<Runtime>,
}

impl Threads {
    pub(crate) fn start() -> Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("k2-lake")
            .enable_all()
            .build()
            .map_err(|error| Error::of("start the threads of the lake", error))?;
        Ok(Self { runtime: Some(runtime) })
    }
}

impl Deref for Threads {
    type Target = Runtime;

    fn deref(&self) -> &Runtime {
        self.runtime.as_ref().expect("the runtime is there until it is dropped")
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // Not waited for: the last pin may be dropped in asynchronous code.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The threads that encode and store files, whichever worker's they are: so none of them is idle
/// while another has files to write. Started with the first file.
#[derive(Default)]
pub(crate) struct Writers(OnceLock<WriterThreads>);

impl Writers {
    pub(crate) fn threads(&self) -> Result<&WriterThreads> {
        if let Some(threads) = self.0.get() {
            return Ok(threads);
        }
        let threads = WriterThreads::start()?;
        Ok(self.0.get_or_init(|| threads))
    }
}

/// As many threads as the process may use processors, and the buffers that they share.
pub(crate) struct WriterThreads {
    pub(crate) pool: ThreadPool,
    /// Those that no thread uses now.
    encoders: Mutex<Vec<MarketEncoder>>,
}

impl WriterThreads {
    fn start() -> Result<Self> {
        let pool = ThreadPoolBuilder::new()
            .thread_name(|index| format!("k2-encode-{index}"))
            .build()
            .map_err(|error| Error::of("start the threads that write files", error))?;
        Ok(Self { pool, encoders: Mutex::default() })
    }

    /// Lends `work` an encoder.
    pub(crate) fn with_encoder<T>(
        &self,
        work: impl FnOnce(&mut MarketEncoder) -> parquet::errors::Result<T>,
    ) -> parquet::errors::Result<T> {
        let idle = || self.encoders.lock().unwrap_or_else(PoisonError::into_inner);
        let encoder = idle().pop();
        let mut encoder = encoder.map_or_else(MarketEncoder::new, Ok)?;
        let done = work(&mut encoder);
        idle().push(encoder);
        done
    }
}
