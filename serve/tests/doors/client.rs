//! A client of PostgreSQL's protocol that does as it is told, right or wrong.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

pub struct Client {
    stream: TcpStream,
    pub number: u32,
    pub secret: u32,
}

/// A message: its tag and its body.
pub type Said = (u8, Vec<u8>);

impl Client {
    pub fn raw(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        Self { stream, number: 0, secret: 0 }
    }

    /// In, at a door that is open.
    pub fn begun(address: SocketAddr) -> Self {
        let mut client = Self::raw(address);
        client.begin(&[("user", "somebody")]);
        for (tag, body) in client.until(b'Z') {
            if tag == b'K' {
                let word = |at: usize| u32::from_be_bytes(body[at..at + 4].try_into().unwrap());
                (client.number, client.secret) = (word(0), word(4));
            }
        }
        client
    }

    pub fn begin(&mut self, parameters: &[(&str, &str)]) {
        let mut body = 196_608_u32.to_be_bytes().to_vec();
        for (name, value) in parameters {
            body.extend(name.bytes().chain([0]).chain(value.bytes()).chain([0]));
        }
        body.push(0);
        self.packet(&body);
    }

    pub fn packet(&mut self, body: &[u8]) {
        let length = u32::try_from(body.len() + 4).unwrap();
        self.send(&[&length.to_be_bytes(), body].concat());
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    pub fn message(&mut self, tag: u8, body: &[u8]) {
        let length = u32::try_from(body.len() + 4).unwrap();
        self.send(&[&[tag], &length.to_be_bytes()[..], body].concat());
    }

    pub fn query(&mut self, sql: &str) {
        self.message(b'Q', &[sql.as_bytes(), &[0]].concat());
    }

    /// The next message; `None` once the server has closed.
    pub fn hear(&mut self) -> Option<Said> {
        let mut head = [0; 5];
        self.stream.read_exact(&mut head).ok()?;
        let length = u32::from_be_bytes(head[1..].try_into().unwrap()) as usize;
        let mut body = vec![0; length - 4];
        self.stream.read_exact(&mut body).ok()?;
        Some((head[0], body))
    }

    /// All messages up to one with `tag`.
    #[track_caller]
    pub fn until(&mut self, tag: u8) -> Vec<Said> {
        let mut heard = Vec::new();
        loop {
            let said = self.hear().unwrap_or_else(|| panic!("closed after {heard:?}"));
            let is_last = said.0 == tag;
            heard.push(said);
            if is_last {
                return heard;
            }
        }
    }

    /// The tags of the answer to `sql`.
    #[track_caller]
    pub fn tags(&mut self, sql: &str) -> String {
        self.query(sql);
        self.until(b'Z').iter().map(|(tag, _)| char::from(*tag)).collect()
    }

    /// The first value of each row of the answer to `sql`, as text; none of what is refused.
    #[track_caller]
    pub fn values(&mut self, sql: &str) -> Vec<String> {
        self.query(sql);
        let heard = self.until(b'Z').into_iter().filter(|(tag, _)| *tag == b'D');
        let value = |(_, body): Said| {
            let length = u32::from_be_bytes(body[2..6].try_into().unwrap()) as usize;
            String::from_utf8(body[6..6 + length].to_vec()).unwrap()
        };
        heard.map(value).collect()
    }

    /// The names of the columns of the answer to `sql`.
    #[track_caller]
    pub fn columns(&mut self, sql: &str) -> Vec<String> {
        self.query(sql);
        let heard = self.until(b'Z');
        let mut rest = &heard.iter().find(|(tag, _)| *tag == b'T').unwrap().1[2..];
        let mut names = Vec::new();
        while let Some(end) = rest.iter().position(|byte| *byte == 0) {
            names.push(String::from_utf8(rest[..end].to_vec()).unwrap());
            // Where it is from, its type and its form.
            rest = &rest[end + 1 + 18..];
        }
        names
    }

    /// SQLSTATE, message and hint of the next error.
    #[track_caller]
    pub fn refusal(&mut self) -> (String, String, String) {
        let heard = self.until(b'E');
        fields_of(&heard.last().unwrap().1)
    }
}

pub fn fields_of(body: &[u8]) -> (String, String, String) {
    let field = |wanted: u8| {
        let mut fields = body.split(|byte| *byte == 0);
        let found = fields.find(|field| field.first() == Some(&wanted));
        found.map(|field| String::from_utf8(field[1..].to_vec()).unwrap()).unwrap_or_default()
    };
    (field(b'C'), field(b'M'), field(b'H'))
}
