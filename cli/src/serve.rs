//! The server of a job, for as long as it is held.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k2_dataflows::Job;
use k2_kafka::CircuitState;
use k2_operators::kit::dependency::{Condition, Health};
use k2_serve::{
    Access, Engine, FlightConfig, FlightServer, JobState, PgConfig, PgServer, Server, ServerConfig,
    ServerState,
};
use k2_sinks::Status;

use crate::cursor_key;
use crate::doors::Doors;
use crate::failure::Result;
use crate::settings::Settings;

/// What a request may take besides its query.
const TIME_TO_SEND: Duration = Duration::from_secs(5);

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

/// A door: where it listens, and whom it lets in.
pub struct Door {
    pub listener: TcpListener,
    pub access: Access,
}

/// Serves until it is dropped.
pub struct Served {
    http: Server,
    pg: PgServer,
    flight: FlightServer,
}

impl Served {
    pub fn start(
        job: &Job,
        settings: &Settings,
        sink: &SinkHealth,
        sources: &Arc<Health>,
        doors: Doors,
        directory: &Path,
    ) -> Result<Self> {
        let engine = Engine::live(job.live(), job.lake(), settings.engine_config())?;
        let (failure, sink, sources) = (job.failure(), sink.clone(), Arc::clone(sources));
        let health = Arc::new(move || match (failure.reason(), sink.reason().or(away(&sources))) {
            (Some(reason), _) => JobState::Failed { reason },
            (None, Some(reason)) => JobState::Stalled { reason },
            (None, None) => JobState::Running,
        });
        let Doors { http, pg, flight, .. } = doors;
        let pg = PgServer::start(pg.listener, engine.clone(), pg.access, PgConfig::default())?;
        let secret = cursor_key::of(directory)?;
        let (asked, signs, config) = (engine.clone(), secret.clone(), FlightConfig::default());
        let flight = FlightServer::start(flight.listener, asked, flight.access, signs, config)?;
        let state = ServerState { engine, metrics: job.metrics(), health, secret };
        let time_max = state.engine.config().limits.time_max + TIME_TO_SEND;
        let config = ServerConfig { request_time_max: time_max, ..ServerConfig::default() };
        let http = Server::start_guarded(http.listener, state, config, http.access)?;
        Ok(Self { http, pg, flight })
    }

    pub fn address(&self) -> SocketAddr {
        self.http.address()
    }

    pub fn pg_address(&self) -> SocketAddr {
        self.pg.address()
    }

    pub fn flight_address(&self) -> SocketAddr {
        self.flight.address()
    }
}
