//! Messages of the protocol, version 3: how they are framed, read and written.
//!
//! What a client sends is bounded before it is read: a message names its length first.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::refusal::Refusal;

/// Bytes of one message. Queries are shorter still: the engine says so itself.
pub(super) const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// Bytes that are read ahead while a query runs, to see whether its client is still there.
const AHEAD_BYTES_MAX: usize = 2 * MESSAGE_BYTES_MAX;
/// Answers are sent in pieces of this size.
const PIECE_BYTES: usize = 64 << 10;
/// A client that reads nothing for longer is gone.
const SEND_TIME_MAX: Duration = Duration::from_secs(120);
/// Parameters of one statement.
const PARAMETERS_MAX: usize = 1_000;

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Text,
    Binary,
}

/// What a message names: a prepared statement, or a statement with its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Statement,
    Portal,
}

/// What a client sends once it is let in.
#[derive(Debug)]
pub(super) enum Message {
    Query(String),
    Parse {
        name: String,
        sql: String,
        types: Vec<u32>,
    },
    Bind(Bind),
    Describe(Target, String),
    Execute {
        portal: String,
        rows_max: usize,
    },
    Close(Target, String),
    Sync,
    Flush,
    Terminate,
    /// One that K2 has no use for: the rest of a copy, a function call.
    Other,
}

#[derive(Debug)]
pub(super) struct Bind {
    pub(super) portal: String,
    pub(super) statement: String,
    pub(super) forms: Vec<Form>,
    pub(super) values: Vec<Option<Vec<u8>>>,
    pub(super) result_forms: Vec<Form>,
}

/// The half that a client's bytes come from.
pub(super) struct Reader {
    half: OwnedReadHalf,
    ahead: Vec<u8>,
}

impl Reader {
    pub(super) fn new(half: OwnedReadHalf) -> Self {
        Self { half, ahead: Vec::new() }
    }

    /// Reads what has come; `false` once the client has closed. Losing the future loses nothing.
    async fn fill(&mut self) -> io::Result<bool> {
        self.ahead.reserve(8 << 10);
        Ok(self.half.read_buf(&mut self.ahead).await? > 0)
    }

    /// Returns once the client is gone, and not before.
    pub(super) async fn gone(&mut self) {
        while self.ahead.len() < AHEAD_BYTES_MAX {
            if !self.fill().await.unwrap_or(false) {
                return;
            }
        }
        // It sends without end and waits for nothing; whether it is gone shows as we write.
        std::future::pending().await
    }

    async fn fill_to(&mut self, length: usize) -> io::Result<()> {
        while self.ahead.len() < length {
            if !self.fill().await? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }

    /// The next packet without a tag, as the first ones are.
    pub(super) async fn packet(&mut self, bytes_max: usize) -> Result<Vec<u8>, Ended> {
        self.fill_to(4).await?;
        let body = self.length_at(0, bytes_max)?;
        self.fill_to(body.end).await?;
        Ok(self.take(body))
    }

    /// The tag and the body of the next message.
    pub(super) async fn tagged(&mut self) -> Result<(u8, Vec<u8>), Ended> {
        self.fill_to(5).await?;
        let tag = self.ahead[0];
        let body = self.length_at(1, MESSAGE_BYTES_MAX)?;
        self.fill_to(body.end).await?;
        Ok((tag, self.take(body)))
    }

    fn length_at(&self, at: usize, bytes_max: usize) -> Result<std::ops::Range<usize>, Ended> {
        let length = i32::from_be_bytes(self.ahead[at..at + 4].try_into().expect("four bytes"));
        match usize::try_from(length) {
            Ok(length) if (4..=bytes_max).contains(&length) => Ok(at + 4..at + length),
            _ => Err(Ended::Wrong(
                Refusal::fatal("08P01", format!("read a message: its length is {length}"))
                    .with_hint(format!("a message has at most {bytes_max} bytes")),
            )),
        }
    }

    fn take(&mut self, body: std::ops::Range<usize>) -> Vec<u8> {
        let taken = self.ahead[body.clone()].to_vec();
        self.ahead.drain(..body.end);
        taken
    }

    pub(super) async fn message(&mut self) -> Result<Message, Ended> {
        let (tag, body) = self.tagged().await?;
        let malformed = || Refusal::fatal("08P01", "read a message: it is not well formed");
        Message::read(tag, &body).ok_or_else(malformed).map_err(Ended::Wrong)
    }
}

/// Why nothing more is read.
pub(super) enum Ended {
    /// The client has closed, or the network has.
    Gone,
    Wrong(Refusal),
}

impl From<io::Error> for Ended {
    fn from(_gone: io::Error) -> Self {
        Self::Gone
    }
}

impl Message {
    /// `None` if the body is not what the tag promises.
    fn read(tag: u8, body: &[u8]) -> Option<Self> {
        let mut body = Body(body);
        Some(match tag {
            b'Q' => Self::Query(body.text()?),
            b'P' => {
                let (name, sql) = (body.text()?, body.text()?);
                let types = body.several(|body| body.u32())?;
                Self::Parse { name, sql, types }
            }
            b'B' => Self::Bind(Bind {
                portal: body.text()?,
                statement: body.text()?,
                forms: body.several(Body::form)?,
                values: body.several(Body::value)?,
                result_forms: body.several(Body::form)?,
            }),
            b'D' => Self::Describe(body.target()?, body.text()?),
            b'E' => {
                let (portal, rows_max) = (body.text()?, body.u32()?);
                Self::Execute { portal, rows_max: usize::try_from(rows_max).ok()? }
            }
            b'C' => Self::Close(body.target()?, body.text()?),
            b'S' => Self::Sync,
            b'H' => Self::Flush,
            b'X' => Self::Terminate,
            _ => Self::Other,
        })
    }
}

/// What is left of a message's body.
pub(super) struct Body<'a>(pub(super) &'a [u8]);

impl Body<'_> {
    fn bytes(&mut self, length: usize) -> Option<&[u8]> {
        let (head, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(head)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.bytes(4)?.try_into().ok()?))
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.bytes(2)?.try_into().ok()?))
    }

    pub(super) fn text(&mut self) -> Option<String> {
        let length = self.0.iter().position(|byte| *byte == 0)?;
        let text = std::str::from_utf8(self.bytes(length)?).ok()?.to_owned();
        self.bytes(1)?;
        Some(text)
    }

    fn several<T>(&mut self, one: impl Fn(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = usize::from(self.u16()?);
        if count > PARAMETERS_MAX {
            return None;
        }
        (0..count).map(|_| one(self)).collect()
    }

    fn form(&mut self) -> Option<Form> {
        match self.u16()? {
            0 => Some(Form::Text),
            1 => Some(Form::Binary),
            _ => None,
        }
    }

    pub(super) fn value(&mut self) -> Option<Option<Vec<u8>>> {
        let length = self.u32()?;
        if length == u32::MAX {
            return Some(None);
        }
        Some(Some(self.bytes(usize::try_from(length).ok()?)?.to_vec()))
    }

    fn target(&mut self) -> Option<Target> {
        match self.bytes(1)? {
            b"S" => Some(Target::Statement),
            b"P" => Some(Target::Portal),
            _ => None,
        }
    }
}

/// The half that answers go to, gathered into pieces.
pub(super) struct Writer {
    half: OwnedWriteHalf,
    piece: Vec<u8>,
    /// Bytes of the piece that have left.
    left: usize,
}

impl Writer {
    pub(super) fn new(half: OwnedWriteHalf) -> Self {
        Self { half, piece: Vec::with_capacity(PIECE_BYTES), left: 0 }
    }

    /// One byte that is no message: the answer to a wish for encryption.
    pub(super) fn byte(&mut self, byte: u8) {
        self.piece.push(byte);
    }

    /// A message, whose body `fill` writes.
    pub(super) fn message(&mut self, tag: u8, fill: impl FnOnce(&mut Vec<u8>)) {
        self.piece.push(tag);
        put_sized(&mut self.piece, fill, 4);
    }

    /// A message of texts, each with its end.
    pub(super) fn texts(&mut self, tag: u8, texts: &[&str]) {
        self.message(tag, |body| texts.iter().for_each(|text| put_text(body, text)));
    }

    /// Sends what is gathered, if it is a piece.
    pub(super) async fn send_full(&mut self) -> io::Result<()> {
        if self.piece.len() >= PIECE_BYTES { self.send().await } else { Ok(()) }
    }

    /// Sends all that is gathered. Losing the future loses nothing: what has not left yet leaves
    /// with what is sent next.
    pub(super) async fn send(&mut self) -> io::Result<()> {
        while self.left < self.piece.len() {
            let sent =
                tokio::time::timeout(SEND_TIME_MAX, self.half.write(&self.piece[self.left..]));
            match sent.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                sent => self.left += sent,
            }
        }
        self.piece.clear();
        self.left = 0;
        Ok(())
    }
}

pub(super) fn put_text(body: &mut Vec<u8>, text: &str) {
    // A zero would end the text, and the rest would be taken for something else.
    body.extend(text.bytes().filter(|byte| *byte != 0));
    body.push(0);
}

/// What `fill` writes, with its length before it; `own` bytes of the length count too.
pub(super) fn put_sized(out: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>), own: usize) {
    let at = out.len();
    out.extend([0; 4]);
    fill(out);
    let length = out.len() - at - 4 + own;
    let length = i32::try_from(length).expect("rows are bounded below 2 GiB");
    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bind_is_read_whole_or_not_at_all() {
        let mut body = Vec::new();
        put_text(&mut body, "p");
        put_text(&mut body, "s");
        body.extend([0, 1, 0, 1]);
        body.extend([0, 2, 0, 0, 0, 1, 7, 255, 255, 255, 255]);
        body.extend([0, 0]);
        let Some(Message::Bind(bind)) = Message::read(b'B', &body) else { panic!() };
        assert_eq!((&*bind.portal, &*bind.statement), ("p", "s"));
        assert_eq!(bind.forms, [Form::Binary]);
        assert_eq!(bind.values, [Some(vec![7]), None]);
        for end in 0..body.len() {
            assert!(Message::read(b'B', &body[..end]).is_none(), "cut at {end}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_the_reader_of_messages_panic(tag: u8, body: Vec<u8>) {
            let _any = Message::read(tag, &body);
        }
    }
}
