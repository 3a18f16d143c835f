//! The server of a job, for as long as it is held.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use k2_dataflows::Job;
use k2_kafka::CircuitState;
use k2_operators::kit::dependency::{Condition, Health};
use k2_serve::{Engine, JobState, Server, ServerConfig, ServerState};
use k2_sinks::Status;

use crate::cursor_key;
use crate::failure::{Failure, Result};
use crate::settings::Settings;

/// How the sink is getting on, for `GET /health`.
#[derive(Clone, Default)]
pub struct SinkHealth(Arc<Mutex<Option<String>>>);

impl SinkHealth {
    pub fn note(&self, status: &Status) {
        let reason = match status {
            Status::Stalled { reason, .. } | Status::Retrying { reason, .. } => {
                Some(reason.clone())
            }
            Status::Recovered { .. } => None,
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = reason;
    }

    /// Why the sink waits, while it does.
    fn reason(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What the source waits for, while it does.
fn away(sources: &Health) -> Option<String> {
    let away = sources.conditions().into_iter().filter(|it| it.state != CircuitState::Closed);
    let reasons = away.map(|it| {
        let Condition { name, since, last_error, .. } = it;
        format!("{name} is away since {since}: {}", last_error.unwrap_or_default())
    });
    let reasons: Vec<String> = reasons.collect();
    (!reasons.is_empty()).then(|| reasons.join("; "))
}

/// Serves until it is dropped.
pub struct Served {
    server: Server,
}

impl Served {
    pub fn start(
        job: &Job,
        settings: &Settings,
        sink: &SinkHealth,
        sources: &Arc<Health>,
        address: SocketAddr,
        directory: &Path,
    ) -> Result<Self> {
        let listener = TcpListener::bind(address).map_err(|error| {
            Failure::failed(
                format!("listen on {address}; name a free address with --listen, or --no-listen"),
                error,
            )
        })?;
        let engine = Engine::live(job.live(), job.lake(), settings.engine_config())?;
        let (failure, sink, sources) = (job.failure(), sink.clone(), Arc::clone(sources));
        let health = Arc::new(move || match (failure.reason(), sink.reason().or(away(&sources))) {
            (Some(reason), _) => JobState::Failed { reason },
            (None, Some(reason)) => JobState::Stalled { reason },
            (None, None) => JobState::Running,
        });
        let secret = cursor_key::of(directory)?;
        let state = ServerState { engine, metrics: job.metrics(), health, secret };
        let server = Server::start(listener, state, ServerConfig::default())?;
        Ok(Self { server })
    }

    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }
}
