//! Two questions to a broker, in its own protocol and without a client.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(1);
/// Above the answer of a broker with one node and thousands of topics.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// Requests by their number in the protocol.
const METADATA: i16 = 3;
const API_VERSIONS: i16 = 18;

/// Whether the broker at `address` takes part in its cluster.
///
/// A broker answers before that, and lists no broker then: its controller has not let it in, or
/// still believes in one that was killed.
pub(super) fn is_in_cluster(address: SocketAddr) -> io::Result<bool> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let versions = ask(&mut stream, API_VERSIONS, 0, &[])?;
    if versions.get(..2) != Some(&[0, 0]) {
        return Ok(false);
    }
    // Of no topic.
    let metadata = ask(&mut stream, METADATA, 1, &0i32.to_be_bytes())?;
    let brokers = metadata.first_chunk().map_or(0, |count| i32::from_be_bytes(*count));
    Ok(brokers > 0)
}

/// The answer's body.
fn ask(stream: &mut TcpStream, request: i16, version: i16, body: &[u8]) -> io::Result<Vec<u8>> {
    const CORRELATION: [u8; 4] = *b"K2ok";
    let mut message = Vec::new();
    message.extend(request.to_be_bytes());
    message.extend(version.to_be_bytes());
    message.extend(CORRELATION);
    // We have no name.
    message.extend((-1i16).to_be_bytes());
    message.extend(body);
    let length = u32::try_from(message.len()).expect("a question is short");
    stream.write_all(&[&length.to_be_bytes()[..], &message].concat())?;

    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length) as usize;
    let mut answer = vec![0; length.min(ANSWER_BYTES_MAX)];
    stream.read_exact(&mut answer)?;
    if length > ANSWER_BYTES_MAX || !answer.starts_with(&CORRELATION) {
        return Err(io::Error::other("this is not the answer of a broker"));
    }
    Ok(answer.split_off(CORRELATION.len()))
}
