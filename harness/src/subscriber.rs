//! A subscriber, as a test or a bench plays one: server-sent events over a plain socket.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// What stands still for so long is a failure.
const PATIENCE: Duration = Duration::from_secs(60);

/// One subscription.
pub struct Subscriber {
    stream: BufReader<TcpStream>,
    line: String,
    /// The id of the last event that had one: where to go on from.
    pub last_id: String,
}

/// One event as it came.
#[derive(Clone, Debug, Default)]
pub struct Received {
    pub event: String,
    /// JSON.
    pub data: String,
}

impl Subscriber {
    /// Asks for `path`, and for what came after the event `last_id` if that is not empty.
    ///
    /// # Errors
    /// Nobody answers, or not with events.
    pub fn connect(address: SocketAddr, path: &str, last_id: &str) -> io::Result<Self> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let resume = match last_id {
            "" => String::new(),
            id => format!("last-event-id: {id}\r\n"),
        };
        // As HTTP/1.0, so that the events come without a frame around them.
        write!(stream, "GET {path} HTTP/1.0\r\nhost: localhost\r\n{resume}\r\n")?;
        let stream = BufReader::new(stream);
        let mut subscriber = Self { stream, line: String::new(), last_id: last_id.to_owned() };
        let status = subscriber.read_line()?.to_owned();
        while !subscriber.read_line()?.trim().is_empty() {}
        match status.split(' ').nth(1) {
            Some("200") => Ok(subscriber),
            _ => Err(io::Error::other(format!("subscribe to {path}: {}", status.trim()))),
        }
    }

    fn read_line(&mut self) -> io::Result<&str> {
        self.line.clear();
        self.stream.read_line(&mut self.line)?;
        Ok(&self.line)
    }

    /// The next event; `None` at the end. Comments are passed over.
    ///
    /// # Errors
    /// The connection breaks, or nothing comes for a minute.
    pub fn read_event(&mut self) -> io::Result<Option<Received>> {
        let mut received = Received::default();
        loop {
            let line = self.read_line()?;
            if line.is_empty() {
                return Ok(None);
            }
            let line = line.trim_end();
            if let Some(event) = line.strip_prefix("event: ") {
                received.event = event.to_owned();
            } else if let Some(data) = line.strip_prefix("data: ") {
                received.data = data.to_owned();
            } else if let Some(id) = line.strip_prefix("id: ") {
                self.last_id = id.to_owned();
            } else if line.is_empty() && !received.event.is_empty() {
                return Ok(Some(received));
            }
        }
    }
}
