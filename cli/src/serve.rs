//! The server of a job, for as long as it is held.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use k2_dataflows::Job;
use k2_serve::{Engine, JobState, Server, ServerConfig, ServerState};

use crate::failure::{Failure, Result};
use crate::settings::Settings;

/// Serves until it is dropped.
pub struct Served {
    server: Server,
}

impl Served {
    pub fn start(job: &Job, settings: &Settings, address: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(address).map_err(|error| {
            Failure::failed(
                format!("listen on {address}; name a free address with --listen, or --no-listen"),
                error,
            )
        })?;
        let engine = Engine::live(job.live(), job.lake(), settings.engine_config())?;
        let health = Arc::new(|| JobState::Running);
        let state = ServerState { engine, metrics: job.metrics(), health };
        let server = Server::start(listener, state, ServerConfig::default())?;
        Ok(Self { server })
    }

    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }
}
