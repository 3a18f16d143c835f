//! PostgreSQL's protocol: the engine for psql, drivers, Grafana and DBeaver.
//!
//! * [`PgServer`] lets clients in, each into a session of its own, on threads of its own.
//! * A session cuts texts into statements (`command`), binds parameters (`parameter`) and asks the
//!   same [`Engine`] as every other door.
//! * Values go out as the types that clients have built in (`types`, `encode`).
//!
//! Why the protocol is written out here: `docs/decisions/0016-postgres-wire.md`.

mod backend;
mod command;
mod copy;
mod cursor;
mod encode;
mod inbound;
mod named;
mod names;
mod obey;
mod parameter;
mod portal;
mod prepared;
mod refusal;
mod rows;
mod session;
mod sessions;
mod settings;
mod startup;
mod transaction;
mod types;
mod wire;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::access::Access;
use crate::background::Background;
use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Result};
use crate::placed::accepted;
pub(crate) use backend::functions as backend_functions;
use inbound::Inbound;
pub(crate) use parameter::{array_elements, hex_digits};
use refusal::Refusal;
use session::Session;
pub(crate) use sessions::{Activity, Backend};
use sessions::{Owner, Sessions};
pub(crate) use settings::defaults as setting_defaults;
use startup::Begun;
pub(crate) use types::{ALL as PG_TYPES, PgType, by_oid, element_of, unpacked, wire_type};
use wire::{Ended, Reader, Writer};

/// How long a client may take to say who it is.
const START_TIME_MAX: Duration = Duration::from_secs(10);
/// Clients that are told that there are too many; more are cut off without a word.
const TURNED_AWAY_MAX: usize = 64;

/// How clients are served.
#[derive(Clone, Copy, Debug)]
pub struct PgConfig {
    /// Sessions at once.
    pub sessions_max: usize,
    /// Threads of the server, which queries run on too.
    pub threads: usize,
}

impl Default for PgConfig {
    fn default() -> Self {
        Self { sessions_max: 100, threads: 2 }
    }
}

/// A running server. Dropping it stops it, and cuts its sessions off.
pub struct PgServer(Background);

impl PgServer {
    /// Serves who `access` lets in, on threads of its own.
    pub fn start(
        listener: TcpListener,
        engine: Engine,
        access: Access,
        config: PgConfig,
    ) -> Result<Self> {
        let failed = |error: std::io::Error| {
            let message = format!("serve PostgreSQL's protocol: {error}");
            Error::new(ErrorKind::Unavailable, "server", message).with_source(error)
        };
        let threads = config.threads;
        let door = Door::new(engine, access, config);
        let serve = async move |listener, stopped| {
            tokio::select! {
                () = door.let_in(listener) => {}
                _asked = stopped => {}
            }
        };
        Background::start("k2-pg", listener, threads, serve).map(Self).map_err(failed)
    }

    pub fn address(&self) -> SocketAddr {
        self.0.address()
    }
}

/// What all sessions share.
#[derive(Clone)]
struct Door {
    engine: Engine,
    access: Access,
    sessions: Sessions,
    places: Arc<Semaphore>,
    turned_away: Arc<Semaphore>,
}

impl Door {
    fn new(engine: Engine, access: Access, config: PgConfig) -> Self {
        Self {
            engine,
            access,
            sessions: Sessions::default(),
            places: Arc::new(Semaphore::new(config.sessions_max)),
            turned_away: Arc::new(Semaphore::new(TURNED_AWAY_MAX)),
        }
    }

    async fn let_in(self, listener: tokio::net::TcpListener) {
        loop {
            let stream = accepted(&listener).await;
            let place = self.places.clone().try_acquire_owned().ok();
            let turned_away = match place {
                Some(_) => None,
                None => match self.turned_away.clone().try_acquire_owned() {
                    Ok(turned_away) => Some(turned_away),
                    Err(_) => continue,
                },
            };
            let door = self.clone();
            tokio::spawn(async move {
                let _until_told = turned_away;
                door.serve(stream, place).await;
            });
        }
    }

    async fn serve(self, stream: TcpStream, place: Option<OwnedSemaphorePermit>) {
        let address = stream.peer_addr().ok().map(|address| address.ip());
        let (half, out_half) = stream.into_split();
        let (mut reader, mut out) = (Reader::new(half), Writer::new(out_half));
        let begun = startup::begin(&mut reader, &mut out, &self.access, &self.sessions);
        let begun = match tokio::time::timeout(START_TIME_MAX, begun).await {
            Ok(Ok(Some(begun))) if place.is_some() => begun,
            Ok(Ok(Some(_))) => {
                let refusal = Refusal::fatal("53300", "begin a session: there are too many");
                return tell_last(&mut out, &refusal.with_hint("close some, and try again")).await;
            }
            Ok(Err(Ended::Wrong(refusal))) => return tell_last(&mut out, &refusal).await,
            Ok(Ok(None) | Err(Ended::Gone)) | Err(_) => return,
        };
        let Begun { client, user, settings } = begun;
        let owner = Owner { user, key_id: client.key_id.clone(), address };
        let registered = match self.sessions.register(owner) {
            Ok(registered) => registered,
            Err(refusal) => return tell_last(&mut out, &refusal).await,
        };
        startup::welcome(&mut out, &settings, &registered);
        let inbound = Inbound::new(reader, registered);
        Session::new(self.engine, self.access, client, settings, inbound, out).run().await;
    }
}

async fn tell_last(out: &mut Writer, refusal: &Refusal) {
    refusal.tell(out);
    // It may have left already.
    let _gone = out.send().await;
}
