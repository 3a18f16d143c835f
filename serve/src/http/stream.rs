//! `GET /v1/stream/…`: subscriptions as server-sent events, and as WebSocket on an upgrade.

use std::convert::Infallible;
use std::pin::Pin;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message as Frame, WebSocket, WebSocketUpgrade};
use axum::extract::{Extension, Path, Query};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use k2_model::Timeframe;

use crate::access::Leave;
use crate::error::{Error, Result};
pub(super) use crate::stream::spec::{RATE_MAX, RATE_MIN, SNAPSHOT_MAX};
use crate::stream::spec::{Spec, Subject};
use crate::stream::{Message, Streams, Subscription};

type Parameters = Result<Query<Vec<(String, String)>>, QueryRejection>;
type Upgrade = Result<WebSocketUpgrade, WebSocketUpgradeRejection>;

/// What a browser's client waits before it connects again.
const RETRY: &str = "retry: 1000\n\n";
/// Nothing is read from a client but that it is there.
const FRAME_BYTES_MAX: usize = 4 << 10;

pub(super) async fn trades(
    Extension(streams): Extension<Streams>,
    Extension(leave): Extension<Leave>,
    parameters: Parameters,
    headers: HeaderMap,
    upgrade: Upgrade,
) -> Result<Response> {
    answer(&streams, leave, Subject::Trades, parameters, &headers, upgrade).await
}

pub(super) async fn bars(
    Extension(streams): Extension<Streams>,
    Extension(leave): Extension<Leave>,
    Path(timeframe): Path<String>,
    parameters: Parameters,
    headers: HeaderMap,
    upgrade: Upgrade,
) -> Result<Response> {
    let known = Timeframe::named(&timeframe).ok_or_else(|| {
        let message = format!("subscribe: there is no timeframe {timeframe:?}");
        let names = Timeframe::ALL.map(Timeframe::as_str).join(", ");
        Error::bad_request("unknown_timeframe", message)
            .with_hint(format!("timeframes are {names}"))
    })?;
    answer(&streams, leave, Subject::Bars(known), parameters, &headers, upgrade).await
}

async fn answer(
    streams: &Streams,
    leave: Leave,
    subject: Subject,
    parameters: Parameters,
    headers: &HeaderMap,
    upgrade: Upgrade,
) -> Result<Response> {
    let Query(parameters) = parameters.map_err(|rejection| {
        Error::bad_request("invalid_parameters", format!("subscribe: {rejection}"))
    })?;
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let spec = Spec::read(subject, &parameters, last)?;
    if !headers.contains_key(header::UPGRADE) {
        return Ok(events(Reading::new(streams.subscribe(spec).await?, leave)));
    }
    let upgrade = upgrade.map_err(|rejection| {
        Error::bad_request("invalid_upgrade", format!("subscribe over WebSocket: {rejection}"))
            .with_hint("ask without Upgrade for server-sent events")
    })?;
    check_origin(headers)?;
    let reading = Reading::new(streams.subscribe(spec).await?, leave);
    let upgrade = upgrade.max_message_size(FRAME_BYTES_MAX).max_frame_size(FRAME_BYTES_MAX);
    Ok(upgrade.on_upgrade(|socket| frames(socket, reading)))
}

/// A browser lets any page open a WebSocket to any host, and only says which page it was.
fn check_origin(headers: &HeaderMap) -> Result<()> {
    let text =
        |name| headers.get(name).and_then(|value: &axum::http::HeaderValue| value.to_str().ok());
    let Some(origin) = text(header::ORIGIN) else { return Ok(()) };
    let host = origin.split_once("://").map_or(origin, |(_scheme, host)| host);
    if text(header::HOST).is_some_and(|own| own.eq_ignore_ascii_case(host)) {
        return Ok(());
    }
    let message = format!("subscribe over WebSocket: {origin} is another server's page");
    Err(Error::bad_request("foreign_origin", message)
        .with_hint("open the connection from a page of this server, or from a program"))
}

/// A subscription, for as long as its reader has leave to read.
struct Reading {
    /// `None` once it has ended.
    subscription: Option<Subscription>,
    run: u32,
    leave_ended: Pin<Box<dyn Future<Output = Error> + Send>>,
}

impl Reading {
    fn new(subscription: Subscription, leave: Leave) -> Self {
        let run = subscription.run();
        Self { subscription: Some(subscription), run, leave_ended: Box::pin(leave.ended()) }
    }

    /// The next message, when there is one; `None` after the last.
    async fn next(&mut self) -> Option<Message> {
        let subscription = self.subscription.as_mut()?;
        tokio::select! {
            biased;
            error = &mut self.leave_ended => {
                self.subscription = None;
                Some(Message::refused(&error))
            }
            message = subscription.next() => message,
        }
    }
}

fn events(reading: Reading) -> Response {
    let first = futures::stream::once(async { Ok::<_, Infallible>(RETRY.to_owned()) });
    let rest = futures::stream::unfold(reading, |mut reading| async move {
        let message = reading.next().await?;
        Some((Ok(message.to_sse(reading.run)), reading))
    });
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-cache, no-store"),
    ];
    let body = Body::from_stream(futures::StreamExt::chain(first, rest));
    (headers, body).into_response()
}

async fn frames(mut socket: WebSocket, mut reading: Reading) {
    loop {
        tokio::select! {
            message = reading.next() => {
                let Some(message) = message else { break };
                let frame = Frame::Text(message.to_frame(reading.run).into());
                if socket.send(frame).await.is_err() {
                    return;
                }
            }
            received = socket.recv() => match received {
                // Pings are answered by the protocol itself; nothing else is asked of a reader.
                Some(Ok(Frame::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => {}
            },
        }
    }
    // Whoever has gone already does not hear it.
    let _closed = socket.send(Frame::Close(None)).await;
}

#[cfg(test)]
mod tests;
