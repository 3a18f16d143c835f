//! One question to a server, without a client.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

const TIMEOUT: Duration = Duration::from_secs(10);

/// The status and the body of an answer. A body that is no JSON is a string.
pub(super) fn ask(
    address: SocketAddr,
    method: &str,
    path: &str,
    body: Option<&Value>,
) -> io::Result<(u16, Value)> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    let body = body.map(Value::to_string).unwrap_or_default();
    // Of a version in which the answer is whole when the connection ends.
    let request = format!(
        "{method} {path} HTTP/1.0\r\nHost: {address}\r\nContent-Type: \
         application/vnd.schemaregistry.v1+json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    parse(&answer).ok_or_else(|| io::Error::other(format!("this is no answer: {answer:?}")))
}

fn parse(answer: &str) -> Option<(u16, Value)> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/")?.split_whitespace().nth(1)?.parse().ok()?;
    Some((status, serde_json::from_str(body).unwrap_or_else(|_| body.into())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_a_status_and_a_body() {
        let found = parse("HTTP/1.1 404 Not Found\r\nContent-Length: 14\r\n\r\n{\"error\": 404}");
        assert_eq!(found, Some((404, serde_json::json!({"error": 404}))));
        assert_eq!(parse("HTTP/1.0 200 OK\r\n\r\nwell"), Some((200, "well".into())));
        assert_eq!(parse(""), None);
        assert_eq!(parse("HTTP/1.0 200 OK\r\n"), None);
    }
}
