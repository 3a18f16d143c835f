//! The threads that catalog, manifests and scans run on.

use std::ops::Deref;

use tokio::runtime::{Builder, Runtime};

use crate::error::{Error, Result};

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
