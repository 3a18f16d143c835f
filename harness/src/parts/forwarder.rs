//! A port in front of another that can be closed and opened again.

use std::collections::BTreeMap;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Passes on all connections to `from`, or refuses them, as a server does that is down.
#[derive(Debug)]
pub(super) struct Forwarder {
    from: SocketAddr,
    to: SocketAddr,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    is_closing: Arc<AtomicBool>,
    acceptor: JoinHandle<()>,
    connections: Arc<Connections>,
}

impl Forwarder {
    /// # Panics
    ///
    /// If nobody can listen on `from`.
    pub(super) fn start(from: SocketAddr, to: SocketAddr) -> Self {
        let mut forwarder = Self { from, to, open: None };
        forwarder.accept();
        forwarder
    }

    /// Accepts connections again.
    pub(super) fn accept(&mut self) {
        if self.open.is_some() {
            return;
        }
        let listener = TcpListener::bind(self.from)
            .unwrap_or_else(|error| panic!("could not listen on {}: {error}", self.from));
        let (is_closing, connections) = <(Arc<AtomicBool>, Arc<Connections>)>::default();
        let accept = {
            let (to, is_closing) = (self.to, Arc::clone(&is_closing));
            let connections = Arc::clone(&connections);
            move || {
                for client in listener.incoming().map_while(Result::ok) {
                    if is_closing.load(Ordering::SeqCst) {
                        return;
                    }
                    let connections = Arc::clone(&connections);
                    std::thread::spawn(move || {
                        // One that fails is closed, which its client sees.
                        let _passed_on = connections.forward(&client, to);
                    });
                }
            }
        };
        let acceptor = std::thread::spawn(accept);
        self.open = Some(Open { is_closing, acceptor, connections });
    }

    /// Refuses new connections from now on, and cuts those that are open.
    pub(super) fn refuse(&mut self) {
        let Some(open) = self.open.take() else { return };
        open.is_closing.store(true, Ordering::SeqCst);
        // Wakes the acceptor, which then closes the port; it may have ended by itself.
        let _woken = TcpStream::connect(self.from);
        open.acceptor.join().expect("the acceptor does not panic");
        open.connections.cut();
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.refuse();
    }
}

/// The connections that are open, by their number.
#[derive(Debug, Default)]
struct Connections(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    is_cut: bool,
    next: u64,
    streams: BTreeMap<u64, [TcpStream; 2]>,
}

impl Connections {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes bytes on in both directions, until one side ends or all are cut.
    fn forward(&self, client: &TcpStream, to: SocketAddr) -> io::Result<()> {
        let server = TcpStream::connect(to)?;
        let number = {
            let both = [client.try_clone()?, server.try_clone()?];
            let mut table = self.table();
            if table.is_cut {
                return Ok(());
            }
            table.next += 1;
            let number = table.next;
            table.streams.insert(number, both);
            number
        };
        std::thread::scope(|scope| {
            scope.spawn(|| pass(client, &server));
            pass(&server, client);
        });
        self.table().streams.remove(&number);
        Ok(())
    }

    fn cut(&self) {
        let mut table = self.table();
        table.is_cut = true;
        for stream in table.streams.values().flatten() {
            // It may have ended.
            let _cut = stream.shutdown(Shutdown::Both);
        }
    }
}

/// Passes on what comes, and then that nothing more does. An end by error is an end.
fn pass(mut from: &TcpStream, mut to: &TcpStream) {
    let _copied = io::copy(&mut from, &mut to);
    let _ended = to.shutdown(Shutdown::Write);
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::super::ports::Port;
    use super::*;

    /// Says each byte back.
    fn echo() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                std::thread::spawn(move || io::copy(&mut &client, &mut &client));
            }
        });
        address
    }

    fn say(stream: &mut TcpStream, text: &[u8]) -> io::Result<Vec<u8>> {
        stream.write_all(text)?;
        let mut answer = vec![0; text.len()];
        stream.read_exact(&mut answer)?;
        Ok(answer)
    }

    #[test]
    fn what_is_said_is_passed_on_both_ways_to_its_end() {
        let port = Port::claim();
        let _forwarder = Forwarder::start(port.address(), echo());
        let mut stream = TcpStream::connect(port.address()).unwrap();
        assert_eq!(say(&mut stream, b"one").unwrap(), b"one");
        stream.write_all(b"two").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut rest = String::new();
        stream.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "two");
    }

    #[test]
    fn a_closed_port_refuses_and_cuts_and_an_opened_one_accepts() {
        let port = Port::claim();
        let mut forwarder = Forwarder::start(port.address(), echo());
        for _ in 0..3 {
            let mut stream = TcpStream::connect(port.address()).unwrap();
            assert_eq!(say(&mut stream, b"one").unwrap(), b"one");
            forwarder.refuse();
            let refused = TcpStream::connect(port.address()).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
            assert!(say(&mut stream, b"two").is_err());
            forwarder.accept();
        }
    }
}
