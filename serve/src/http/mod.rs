//! HTTP: the engine, health and metrics on one address.
//!
//! A client that goes away takes its query with it.

mod aggregations;
mod ask;
mod bars;
mod connections;
mod cursor;
mod distinct;
mod forms;
mod health;
mod keys;
mod metrics;
mod names;
mod openapi;
mod page;
mod parameters;
mod partial;
mod records;
mod refusals;
mod reply;
mod routes;
mod sql;
mod state;
mod stream;
mod streamed;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Extension, Request};
use axum::middleware::Next;
use axum::serve::ListenerExt;
use k2_operators::kit::metrics::Metrics;
use tokio::sync::oneshot;

use crate::access::Access;
use crate::background::Background;
use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Result};
use crate::secret::Secret;
use crate::stream::Streams;
pub use health::{HealthSource, JobState};

/// What is served.
#[derive(Clone)]
pub struct ServerState {
    pub engine: Engine,
    pub metrics: Arc<Metrics>,
    pub health: HealthSource,
    /// Signs the cursors of pages.
    pub secret: Secret,
}

/// How it is served.
#[derive(Clone, Copy, Debug)]
pub struct ServerConfig {
    /// Bytes of a request's body.
    pub body_bytes_max: usize,
    /// From the first byte of a request to its answer; above the time limit of a query.
    pub request_time_max: Duration,
    /// Connections at once, subscriptions included; one more is answered with 503 and closed.
    pub connections_max: usize,
    /// Threads of the server, which queries run on too.
    pub threads: usize,
    /// How long a shutdown waits for requests that are being answered.
    pub drain_max: Duration,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            body_bytes_max: 1 << 20,
            request_time_max: Duration::from_secs(35),
            connections_max: 4_096,
            threads: 2,
            drain_max: Duration::from_secs(5),
        }
    }
}

/// A running server. Dropping it stops it.
pub struct Server(Background);

impl Server {
    /// Serves everyone who reaches it, on threads of its own.
    pub fn start(listener: TcpListener, state: ServerState, config: ServerConfig) -> Result<Self> {
        Self::start_guarded(listener, state, config, Access::open())
    }

    /// Serves who `access` lets in, on threads of its own.
    pub fn start_guarded(
        listener: TcpListener,
        state: ServerState,
        config: ServerConfig,
        access: Access,
    ) -> Result<Self> {
        let failed = |error: std::io::Error| {
            Error::new(ErrorKind::Unavailable, "server", format!("start the server: {error}"))
                .with_source(error)
        };
        let serve = move |listener, stopped| {
            let streams = Streams::new(&state.engine, Arc::clone(&state.metrics));
            let router = guarded_router(state, config, access).layer(Extension(streams.clone()));
            serve(listener, router, streams, stopped, config)
        };
        Background::start("k2-http", listener, config.threads, serve).map(Self).map_err(failed)
    }

    pub fn address(&self) -> SocketAddr {
        self.0.address()
    }

    /// Answers what has been asked, for as long as a shutdown may take, then stops.
    pub fn stop(self) {
        drop(self);
    }
}

async fn serve(
    listener: tokio::net::TcpListener,
    router: Router,
    streams: Streams,
    stopped: oneshot::Receiver<()>,
    config: ServerConfig,
) {
    let (draining, drain) = oneshot::channel();
    let subscribed = streams.clone();
    let signal = async move {
        let _ = stopped.await;
        streams.stop();
        let _ = draining.send(());
    };
    // An event is to leave at once, however small it is.
    let listener = listener.tap_io(|socket| {
        if let Err(error) = socket.set_nodelay(true) {
            tracing::debug!(%error, "a client's answers may wait for each other");
        }
    });
    let listener = connections::Limited::new(listener, config.connections_max);
    let serving = axum::serve(listener, router).with_graceful_shutdown(signal);
    let cut_off = async move {
        // Without a signal the server goes on for ever.
        match drain.await {
            Ok(()) => tokio::time::sleep(config.drain_max).await,
            Err(_) => std::future::pending().await,
        }
    };
    let served = async move {
        let served = serving.await;
        // What was upgraded is no request any more.
        subscribed.drained().await;
        served
    };
    tokio::select! {
        served = served => {
            if let Err(error) = served {
                tracing::error!(%error, "the server has failed");
            }
        }
        () = cut_off => tracing::warn!("requests were cut off by the shutdown"),
    }
}

/// All paths, without a socket, for everyone.
pub fn router(state: ServerState, config: ServerConfig) -> Router {
    guarded_router(state, config, Access::open())
}

/// All paths, without a socket, for who `access` lets in.
pub fn guarded_router(state: ServerState, config: ServerConfig, access: Access) -> Router {
    let limit = config.request_time_max;
    routes::router()
        .fallback(reply::unknown_path)
        .method_not_allowed_fallback(reply::wrong_method)
        .layer(DefaultBodyLimit::max(config.body_bytes_max))
        .layer(axum::middleware::from_fn_with_state(access, keys::admit))
        .layer(axum::middleware::from_fn(move |request: Request, next: Next| {
            reply::with_limits(request, next, limit)
        }))
        .with_state(state)
}

#[cfg(test)]
mod tests;
