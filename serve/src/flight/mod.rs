//! Arrow Flight SQL: the engine for drivers of ADBC, and for `pyarrow.flight`.
//!
//! * [`FlightServer`] lets clients in, on threads of its own (`connection`).
//! * A call is one of `service`: whose it is (`caller`), what it asks (`asked`), and what it gets.
//! * A question is planned first, and told its columns and a ticket, which is pinned to that moment
//!   (`ticket`); the ticket is then exchanged for the rows (`rows`).
//! * Nothing is kept of a client: tickets and prepared statements are signed texts that the client
//!   keeps (`prepared`, with its parameters as in `parameter`).
//! * What a driver asks about the server itself is answered from `browse`, `keys` and `facts`.
//!
//! Why it is made of these parts: `docs/decisions/0017-flight-sql.md`.

mod asked;
mod browse;
mod caller;
mod connection;
mod facts;
mod keys;
mod parameter;
mod prepared;
mod refusal;
mod rows;
mod service;
mod ticket;

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use arrow_flight::flight_service_server::FlightServiceServer;
use tokio::sync::oneshot;
use tonic::transport::Server;

use crate::access::Access;
use crate::background::Background;
use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Result};
use crate::secret::Secret;
use service::Service;

/// Bytes of one message of a client: a statement, or a row of parameters.
const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// Bytes of the headers of a call, a key and a correlation id among them.
const HEADERS_BYTES_MAX: u32 = 16 << 10;
/// A client that says nothing for this long is asked whether it is still there.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// How long it may then take to say so.
const SIGN_OF_LIFE_MAX: Duration = Duration::from_secs(20);

/// How clients are served.
#[derive(Clone, Copy, Debug)]
pub struct FlightConfig {
    /// Connections at once; more wait until one ends.
    pub connections_max: usize,
    /// Calls at once over one connection; more wait until one ends.
    pub calls_max: u32,
    /// Threads of the server, which queries run on too.
    pub threads: usize,
    /// How long a shutdown waits for rows that are on their way.
    pub drain_max: Duration,
}

impl Default for FlightConfig {
    fn default() -> Self {
        Self { connections_max: 100, calls_max: 64, threads: 2, drain_max: Duration::from_secs(5) }
    }
}

/// A running server. Dropping it stops it.
pub struct FlightServer(Background);

impl FlightServer {
    /// Serves who `access` lets in, on threads of its own. What it hands out is signed by `secret`.
    pub fn start(
        listener: TcpListener,
        engine: Engine,
        access: Access,
        secret: Secret,
        config: FlightConfig,
    ) -> Result<Self> {
        let failed = |error: std::io::Error| {
            let message = format!("serve Arrow Flight SQL: {error}");
            Error::new(ErrorKind::Unavailable, "server", message).with_source(error)
        };
        let service = Service::new(engine, access, secret);
        let serve = move |listener, stopped| serve(listener, service, stopped, config);
        Background::start("k2-flight", listener, config.threads, serve).map(Self).map_err(failed)
    }

    pub fn address(&self) -> SocketAddr {
        self.0.address()
    }
}

async fn serve(
    listener: tokio::net::TcpListener,
    service: Service,
    stopped: oneshot::Receiver<()>,
    config: FlightConfig,
) {
    let service = FlightServiceServer::new(service).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let (draining, drain) = oneshot::channel();
    let signal = async move {
        let _asked = stopped.await;
        let _nobody_waits = draining.send(());
    };
    let serving = Server::builder()
        .max_concurrent_streams(config.calls_max)
        .http2_max_header_list_size(HEADERS_BYTES_MAX)
        .http2_keepalive_interval(Some(SILENCE_MAX))
        .http2_keepalive_timeout(Some(SIGN_OF_LIFE_MAX))
        .add_service(service)
        .serve_with_incoming_shutdown(connection::all(listener, config.connections_max), signal);
    let cut_off = async move {
        // Without a signal the server goes on for ever.
        match drain.await {
            Ok(()) => tokio::time::sleep(config.drain_max).await,
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        served = serving => {
            if let Err(error) = served {
                tracing::error!(%error, "the server of flights has failed");
            }
        }
        () = cut_off => tracing::warn!("flights were cut off by the shutdown"),
    }
}
