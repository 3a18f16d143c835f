//! Bodies that are sent while their rows are found: an answer of any length in little memory.
//!
//! A thread that may wait writes the format, into a channel that the connection empties. If the
//! answer breaks off, so does the body, without its end: no client can take it for a whole one.

use std::io::{self, Write};

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use flate2::write::GzEncoder;
use tokio::sync::mpsc::{Sender, channel};

use super::page::Page;
use super::reply::{self, COMPRESSION_LEVEL, Encoding, Wanted};
use crate::answer::Pagination;
use crate::engine::stream::AnswerStream;
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
    let (sender, mut pieces) = channel(PIECES_MAX);
    let format = wanted.format;
    tokio::task::spawn_blocking(move || {
        let pieces = Pieces { sender: sender.clone(), next: Vec::new() };
        if let Err(error) = write(answer, format, Compressed::new(encoding, pieces)) {
            tracing::warn!(%error, "an answer broke off");
            // If the client is gone there is nobody to tell.
            let _told = sender.blocking_send(Err(error));
        }
    });
    let pieces = futures::stream::poll_fn(move |context| pieces.poll_recv(context));
    let content_type = [(header::CONTENT_TYPE, format.content_type())];
    let mut response = (content_type, Body::from_stream(pieces)).into_response();
    let headers = response.headers_mut();
    if let Some(name) = encoding.name() {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(name));
    }
    reply::tell_that_it_varies(headers);
    reply::tell_meta_so_far(&meta, headers);
    Ok(response)
}

fn write(mut answer: AnswerStream, format: Format, out: Compressed) -> io::Result<()> {
    let mut rows = RowsWriter::new(answer.schema(), format, out)?;
    while let Some(batch) = answer.blocking_next() {
        rows.write(&batch.map_err(io::Error::other)?)?;
    }
    rows.finish()?.end()
}

/// Cuts what is written into pieces of the body.
struct Pieces {
    sender: Sender<io::Result<Bytes>>,
    next: Vec<u8>,
}

impl Pieces {
    fn send(&mut self) -> io::Result<()> {
        let piece = std::mem::take(&mut self.next);
        if piece.is_empty() {
            return Ok(());
        }
        let sent = self.sender.blocking_send(Ok(piece.into()));
        sent.map_err(|_| io::Error::new(io::ErrorKind::BrokenPipe, "the client is gone"))
    }
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

    fn end(self) -> io::Result<()> {
        let mut pieces = match self {
            Self::Plain(out) => out,
            Self::Gzip(out) => out.finish()?,
            Self::Zstd(out) => out.finish()?,
        };
        pieces.send()
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
