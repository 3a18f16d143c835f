//! Bodies that are sent while their rows are found: an answer of any length in little memory.
//!
//! A thread that may wait writes the format, into a channel that the connection empties; not for a
//! client that takes nothing. If the answer breaks off, so does the body, without its end: no client
//! can take it for a whole one.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Instant;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use flate2::write::GzEncoder;
use futures::StreamExt;
use tokio::runtime::Handle;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::timeout;

use super::page::Page;
use super::reply::{self, COMPRESSION_LEVEL, Encoding, Wanted};
use crate::answer::Pagination;
use crate::engine::stream::{AnswerStream, READER_PATIENCE};
use crate::error::Result;
use crate::format::{Format, RowsWriter};

/// Bytes of a piece of the body, at least.
const PIECE_BYTES: usize = 64 << 10;
/// Pieces that wait for the connection.
const PIECES_MAX: usize = 8;

/// The answer in a format that is rows alone. One that is whole already has all of its meta data in
/// a header.
pub(super) async fn respond(answer: AnswerStream, wanted: Wanted) -> Result<Response> {
    let answer = match answer.whole() {
        Ok(answer) => {
            let pagination = Pagination::whole(answer.rows());
            return reply::write(Page::of(answer, pagination), wanted).await;
        }
        Err(longer) => *longer,
    };
    let meta = answer.meta();
    let encoding = if wanted.format == Format::Parquet { Encoding::Plain } else { wanted.encoding };
    let (sender, pieces) = channel(PIECES_MAX);
    let is_whole = Arc::<AtomicBool>::default();
    let body = body_of(pieces, Arc::clone(&is_whole));
    let format = wanted.format;
    tokio::task::spawn_blocking(move || {
        let (_place, until) = answer.place();
        let pieces = Pieces { sender, until, next: Vec::new() };
        match write(answer, format, Compressed::new(encoding, pieces)) {
            // Told before the channel closes, which the pieces do at its end.
            Ok(pieces) => {
                is_whole.store(true, Ordering::Release);
                drop(pieces);
            }
            Err(error) => tracing::warn!(%error, "an answer broke off"),
        }
    });
    let content_type = [(header::CONTENT_TYPE, format.content_type())];
    let mut response = (content_type, body).into_response();
    let headers = response.headers_mut();
    if let Some(name) = encoding.name() {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(name));
    }
    reply::tell_that_it_varies(headers);
    reply::tell_meta_so_far(&meta, headers);
    Ok(response)
}

/// The pieces as they come. Their end is that of the body only if they are the whole answer.
fn body_of(mut pieces: Receiver<Bytes>, is_whole: Arc<AtomicBool>) -> Body {
    let pieces = futures::stream::poll_fn(move |context| pieces.poll_recv(context));
    let end = futures::stream::poll_fn(move |_context| {
        let broken = !is_whole.load(Ordering::Acquire);
        Poll::Ready(broken.then(|| Err(io::Error::other("the answer broke off"))))
    });
    Body::from_stream(pieces.map(Ok).chain(end.take(1)))
}

fn write(mut answer: AnswerStream, format: Format, out: Compressed) -> io::Result<Pieces> {
    let mut rows = RowsWriter::new(answer.schema(), format, out)?;
    while let Some(batch) = answer.blocking_next() {
        rows.write(&batch.map_err(io::Error::other)?)?;
    }
    rows.finish()?.end()
}

/// Cuts what is written into pieces of the body.
struct Pieces {
    sender: Sender<Bytes>,
    /// When the answer has taken too long.
    until: Instant,
    next: Vec<u8>,
}

impl Pieces {
    fn send(&mut self) -> io::Result<()> {
        let piece = std::mem::take(&mut self.next);
        if piece.is_empty() {
            return Ok(());
        }
        match self.sender.try_send(piece.into()) {
            Ok(()) => Ok(()),
            Err(TrySendError::Closed(_)) => Err(gone()),
            Err(TrySendError::Full(piece)) => self.wait(piece),
        }
    }

    #[allow(clippy::disallowed_methods, reason = "how long a client may take is a matter of time")]
    fn wait(&mut self, piece: Bytes) -> io::Result<()> {
        let now = Instant::now();
        let patience = READER_PATIENCE.min(self.until.saturating_duration_since(now));
        let sent = Handle::current().block_on(timeout(patience, self.sender.send(piece)));
        sent.map_or_else(
            |_| {
                // A compressor that is dropped would send its end.
                self.until = now;
                let message = format!("the client took nothing for {patience:?}");
                Err(io::Error::new(io::ErrorKind::TimedOut, message))
            },
            |sent| sent.map_err(|_| gone()),
        )
    }
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the client is gone")
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.next.extend_from_slice(bytes);
        if self.next.len() >= PIECE_BYTES {
            self.send()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        // Pieces are of a size; what is left goes with the end.
        Ok(())
    }
}

/// What goes through a compressor first, or does not.
enum Compressed {
    Plain(Pieces),
    Gzip(GzEncoder<Pieces>),
    Zstd(zstd::Encoder<'static, Pieces>),
}

impl Compressed {
    fn new(encoding: Encoding, out: Pieces) -> Self {
        let level = flate2::Compression::new(COMPRESSION_LEVEL);
        match encoding {
            Encoding::Plain => Self::Plain(out),
            Encoding::Gzip => Self::Gzip(GzEncoder::new(out, level)),
            Encoding::Zstd => {
                let encoder = zstd::Encoder::new(out, COMPRESSION_LEVEL.cast_signed());
                Self::Zstd(encoder.expect("its level is one of zstd's"))
            }
        }
    }

    /// Sends what is left.
    fn end(self) -> io::Result<Pieces> {
        let mut pieces = match self {
            Self::Plain(out) => out,
            Self::Gzip(out) => out.finish()?,
            Self::Zstd(out) => out.finish()?,
        };
        pieces.send()?;
        Ok(pieces)
    }
}

impl Write for Compressed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(out) => out.write(bytes),
            Self::Gzip(out) => out.write(bytes),
            Self::Zstd(out) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::body::to_bytes;

    use super::*;

    #[allow(clippy::disallowed_methods, reason = "a client that takes nothing is one of time")]
    fn pieces() -> (Pieces, Body, Arc<AtomicBool>) {
        let (sender, receiver) = channel(1);
        let is_whole = Arc::<AtomicBool>::default();
        let body = body_of(receiver, Arc::clone(&is_whole));
        let until = Instant::now() + Duration::from_millis(50);
        (Pieces { sender, until, next: Vec::new() }, body, is_whole)
    }

    #[tokio::test]
    async fn a_body_ends_only_where_the_answer_does() {
        for is_written in [false, true] {
            let (mut pieces, body, is_whole) = pieces();
            pieces.write_all(b"some").unwrap();
            pieces.send().unwrap();
            is_whole.store(is_written, Ordering::Release);
            drop(pieces);
            assert_eq!(to_bytes(body, usize::MAX).await.is_ok(), is_written);
        }
    }

    #[tokio::test]
    async fn a_client_that_takes_nothing_is_not_waited_for_without_end() {
        let (mut pieces, body, _is_whole) = pieces();
        let written = tokio::task::spawn_blocking(move || {
            let piece = [b'x'; PIECE_BYTES];
            pieces.write_all(&piece).unwrap();
            let first = pieces.write_all(&piece).unwrap_err();
            // At once, from now on.
            let second = pieces.write_all(&piece).unwrap_err();
            (first.kind(), second.kind())
        });
        let timed_out = (io::ErrorKind::TimedOut, io::ErrorKind::TimedOut);
        assert_eq!(written.await.unwrap(), timed_out);
        assert!(to_bytes(body, usize::MAX).await.is_err());
    }
}
