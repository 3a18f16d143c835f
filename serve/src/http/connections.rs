//! How many connections there are at once. One too many is told so, and closed; and so is one on
//! which nothing has been answered for long, so that half requests keep nobody out.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::placed::Placed;

/// Clients that are told that there are too many; more are cut off without a word.
const TURNED_AWAY_MAX: usize = 64;
/// How long a client may take to be told.
const TELL_TIME_MAX: Duration = Duration::from_secs(2);

/// How long a connection may be without an answer, or a part of one. Every request has one sooner:
/// it comes within [`crate::http::ServerConfig`]'s time, and subscriptions have heartbeats.
const PATIENCE: Duration = Duration::from_secs(75);

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
    type Io = Patient;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Patient, SocketAddr) {
        loop {
            let (stream, address) = self.listener.accept().await;
            match self.places.clone().try_acquire_owned() {
                Ok(place) => return (Patient::new(Placed::new(stream, place), PATIENCE), address),
                Err(_) => self.turn_away(stream),
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that ends when it has been without an answer for too long. One whose client does
/// not take its answer is left to who sends it.
pub(super) struct Patient {
    stream: Placed,
    patience: Duration,
    answered: Instant,
    is_sending: bool,
    alarm: Pin<Box<Sleep>>,
}

impl Patient {
    fn new(stream: Placed, patience: Duration) -> Self {
        let answered = Instant::now();
        let alarm = Box::pin(sleep_until(answered + patience));
        Self { stream, patience, answered, is_sending: false, alarm }
    }

    fn sent<T>(&mut self, sent: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.is_sending = sent.is_pending();
        self.answered = Instant::now();
        sent
    }
}

impl AsyncRead for Patient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Poll::Ready(read) = Pin::new(&mut self.stream).poll_read(context, into) {
            return Poll::Ready(read);
        }
        while self.alarm.as_mut().poll(context).is_ready() {
            let until = self.answered + self.patience;
            if until <= Instant::now() && !self.is_sending {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            let next = until.max(Instant::now() + TELL_TIME_MAX);
            self.alarm.as_mut().reset(next);
        }
        Poll::Pending
    }
}

impl AsyncWrite for Patient {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let sent = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.sent(sent)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let sent = Pin::new(&mut self.stream).poll_write_vectored(context, pieces);
        self.sent(sent)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
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

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    async fn connected(patience: Duration) -> (TcpStream, Patient) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let place = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        (client, Patient::new(Placed::new(stream, place), patience))
    }

    #[tokio::test]
    async fn half_a_request_is_waited_for_so_long_and_no_longer() {
        let (mut client, mut server) = connected(Duration::from_millis(50)).await;
        client.write_all(b"GET / HTTP").await.unwrap();
        let mut read = Vec::new();
        let error = server.read_to_end(&mut read).await.unwrap_err();
        assert_eq!((error.kind(), &*read), (io::ErrorKind::TimedOut, &b"GET / HTTP"[..]));
    }

    #[tokio::test]
    async fn who_is_answered_is_waited_for_anew() {
        let (mut client, mut server) = connected(Duration::from_millis(200)).await;
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_millis(120)).await;
            server.write_all(b"heartbeat").await.unwrap();
        }
        client.write_all(b"?").await.unwrap();
        assert_eq!(server.read_u8().await.unwrap(), b'?');
    }
}
