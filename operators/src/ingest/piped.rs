//! A stream that is read by a thread of its own: what has come of it can be taken without waiting
//! for more. A feed that is piped in would otherwise be seen a block at a time, and a stop not at
//! all.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};

/// Bytes that are taken from the stream at once, at most.
const PIECE_BYTES: usize = 1 << 18;
/// Pieces that wait to be read, mostly of the 64 KiB that a pipe holds. Past them the stream waits;
/// fewer would not last while the source sleeps through an epoch.
const PIECES_MAX: usize = 256;

/// The reading end. Waits for bytes at first; after [`Waits::stop`] it answers
/// [`io::ErrorKind::WouldBlock`] when none have come.
pub(super) struct Piped {
    pieces: Receiver<io::Result<Vec<u8>>>,
    piece: io::Cursor<Vec<u8>>,
    waits: Arc<AtomicBool>,
}

impl Piped {
    /// Starts to read `stream`, and answers with what makes the reader stop waiting.
    pub(super) fn new(stream: Box<dyn Read + Send>) -> io::Result<(Self, Waits)> {
        let (sender, pieces) = bounded(PIECES_MAX);
        let thread = std::thread::Builder::new().name("k2-pipe".into());
        // It ends with the stream, or when nobody takes its pieces any more.
        let _detached = thread.spawn(move || pass_on(stream, &sender))?;
        let waits = Arc::new(AtomicBool::new(true));
        let piped = Self { pieces, piece: io::Cursor::default(), waits: Arc::clone(&waits) };
        Ok((piped, Waits(waits)))
    }
}

/// Whether a [`Piped`] waits.
pub(super) struct Waits(Arc<AtomicBool>);

impl Waits {
    pub(super) fn stop(&self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

fn pass_on(mut stream: Box<dyn Read + Send>, sender: &Sender<io::Result<Vec<u8>>>) {
    loop {
        let mut piece = vec![0; PIECE_BYTES];
        let passed_on = match stream.read(&mut piece) {
            Ok(0) => return,
            Ok(length) => {
                piece.truncate(length);
                sender.send(Ok(piece))
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                let _nobody_left = sender.send(Err(error));
                return;
            }
        };
        if passed_on.is_err() {
            return;
        }
    }
}

impl Read for Piped {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let length = self.piece.read(buffer)?;
            if length > 0 || buffer.is_empty() {
                return Ok(length);
            }
            let next = if self.waits.load(Ordering::Relaxed) {
                self.pieces.recv().map_err(|_| TryRecvError::Disconnected)
            } else {
                self.pieces.try_recv()
            };
            match next {
                Ok(piece) => self.piece = io::Cursor::new(piece?),
                Err(TryRecvError::Empty) => return Err(io::ErrorKind::WouldBlock.into()),
                Err(TryRecvError::Disconnected) => return Ok(0),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_has_come_is_read_and_what_has_not_is_not_waited_for() {
        let (read, mut write) = io::pipe().unwrap();
        let (mut piped, waits) = Piped::new(Box::new(read)).unwrap();
        write.write_all(b"one").unwrap();
        let mut buffer = [0; 8];
        assert_eq!(piped.read(&mut buffer).unwrap(), 3);
        waits.stop();
        assert_eq!(piped.read(&mut buffer).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        write.write_all(b"two").unwrap();
        drop(write);
        let mut rest = Vec::new();
        while rest.len() < 3 {
            match piped.read_to_end(&mut rest) {
                Ok(_) => {}
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(rest, b"two");
        waits.stop();
        while piped.read(&mut buffer).is_err() {}
        assert_eq!(piped.read(&mut buffer).unwrap(), 0, "the stream has ended");
    }
}
