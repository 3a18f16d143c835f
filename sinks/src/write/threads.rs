//! The threads that encode and store files.

use std::sync::{Mutex, OnceLock, PoisonError};

use rayon::{ThreadPool, ThreadPoolBuilder};

use super::market::MarketEncoder;
use crate::error::{Error, Result};

/// Whichever worker's files there are, they are written here, so no thread is idle while another
/// has files to write. Started with the first file.
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
