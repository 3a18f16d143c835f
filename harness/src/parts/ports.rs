//! Ports of loopback that nobody else takes meanwhile.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::Range;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as LocalAddress, UnixDatagram};
use std::sync::atomic::{AtomicU16, Ordering};

/// Below those that the kernel gives to outgoing connections. One of these could be taken while
/// its broker is down, even by a client that tries to reach that very broker.
const PORTS: Range<u16> = 20_000..30_000;

/// A port of loopback, ours for as long as this is held, whether somebody listens or not.
#[derive(Debug)]
pub(super) struct Port {
    number: u16,
    /// A name that one process at a time can have, and that goes away with it.
    _claim: UnixDatagram,
}

impl Port {
    /// # Panics
    ///
    /// If all are taken.
    pub(super) fn claim() -> Self {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let count = PORTS.end - PORTS.start;
        // Processes begin at places of their own, so that they seldom meet.
        let begin = (std::process::id() % u32::from(count)) as u16;
        let mut candidates = (0..count).map(|_| {
            let step = NEXT.fetch_add(1, Ordering::Relaxed) % count;
            PORTS.start + (begin + step) % count
        });
        candidates.find_map(Self::try_claim).expect("one of ten thousand ports is free")
    }

    fn try_claim(number: u16) -> Option<Self> {
        let name = LocalAddress::from_abstract_name(format!("k2-port-{number}")).ok()?;
        let claim = UnixDatagram::bind_addr(&name).ok()?;
        TcpListener::bind((Ipv4Addr::LOCALHOST, number)).ok()?;
        Some(Self { number, _claim: claim })
    }

    pub(super) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.number).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_belongs_to_its_holder_though_nobody_listens() {
        let port = Port::claim();
        assert!(PORTS.contains(&port.number));
        assert!(Port::try_claim(port.number).is_none());
        let number = port.number;
        drop(port);
        assert!(Port::try_claim(number).is_some());
    }

    #[test]
    fn a_port_where_somebody_listens_is_left_to_them() {
        let port = Port::claim();
        let listener = TcpListener::bind(port.address()).unwrap();
        let number = port.number;
        drop(port);
        assert!(Port::try_claim(number).is_none());
        drop(listener);
    }
}
