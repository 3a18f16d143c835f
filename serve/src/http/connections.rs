//! How many connections there are at once. One too many is told so, and closed.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::placed::Placed;

/// Clients that are told that there are too many; more are cut off without a word.
const TURNED_AWAY_MAX: usize = 64;
/// How long a client may take to be told.
const TELL_TIME_MAX: Duration = Duration::from_secs(2);

/// Lets so many in at once.
pub(super) struct Limited<L> {
    listener: L,
    connections_max: usize,
    places: Arc<Semaphore>,
    turned_away: Arc<Semaphore>,
}

impl<L> Limited<L> {
    pub(super) fn new(listener: L, connections_max: usize) -> Self {
        let places = Arc::new(Semaphore::new(connections_max));
        let turned_away = Arc::new(Semaphore::new(TURNED_AWAY_MAX));
        Self { listener, connections_max, places, turned_away }
    }

    fn turn_away(&self, stream: TcpStream) {
        let Ok(told) = self.turned_away.clone().try_acquire_owned() else { return };
        let refusal = refusal(self.connections_max);
        tokio::spawn(async move {
            let _until_told = told;
            // It may have left already.
            let _gone = tokio::time::timeout(TELL_TIME_MAX, tell(stream, refusal)).await;
        });
    }
}

impl<L: Listener<Io = TcpStream, Addr = SocketAddr>> Listener for Limited<L> {
    type Io = Placed;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Placed, SocketAddr) {
        loop {
            let (stream, address) = self.listener.accept().await;
            match self.places.clone().try_acquire_owned() {
                Ok(place) => return (Placed::new(stream, place), address),
                Err(_) => self.turn_away(stream),
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

fn refusal(connections_max: usize) -> String {
    let envelope = serde_json::json!({
        "success": false,
        "error": {
            "code": "too_many_connections",
            "message": format!("let a client in: there are {connections_max} connections already"),
            "hint": "close some, or send several requests over one",
        },
    });
    let body = envelope.to_string();
    format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 1\r\n\
         connection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Once the client has asked something: what is closed with a question unread is reset, and the
/// answer with it.
async fn tell(mut stream: TcpStream, refusal: String) -> io::Result<()> {
    let mut asked = [0; 4_096];
    let _some = stream.read(&mut asked).await?;
    stream.write_all(refusal.as_bytes()).await?;
    stream.shutdown().await?;
    while stream.read(&mut asked).await? > 0 {}
    Ok(())
}
