//! The doors of a job: where they are, and whom they let in.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;

use clap::Args;
use k2_serve::Access;
use k2_serve::access::{KeyRing, NewKey, Policy};

use crate::failure::{Failure, Result};
use crate::serve::Door;

/// Where a job listens unless told otherwise; any free port if this one is taken.
const LISTEN_DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8611);
/// Likewise, for clients of PostgreSQL.
const PG_DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8612);
/// Likewise, for drivers of Arrow Flight SQL.
const FLIGHT_DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8613);

#[derive(Args, Debug)]
pub struct DoorArgs {
    /// Where to serve queries over HTTP [default: 127.0.0.1:8611, or a free port]
    #[arg(long, value_name = "ADDR", conflicts_with = "no_listen")]
    listen: Option<SocketAddr>,
    /// Where to serve queries over PostgreSQL's protocol [default: 127.0.0.1:8612, or a free port]
    #[arg(long, value_name = "ADDR", conflicts_with = "no_listen")]
    pg: Option<SocketAddr>,
    /// Where to serve queries over Arrow Flight SQL [default: 127.0.0.1:8613, or a free port]
    #[arg(long, value_name = "ADDR", conflicts_with = "no_listen")]
    flight: Option<SocketAddr>,
    /// Serve nothing
    #[arg(long)]
    no_listen: bool,
    /// Ask for a key on loopback too; see k2 keys
    #[arg(long, conflicts_with_all = ["no_listen", "insecure"])]
    require_keys: bool,
    /// Let everyone ask who reaches the job, also from other machines
    #[arg(long, conflicts_with = "no_listen")]
    insecure: bool,
}

/// Doors that are open, but at which nobody answers yet.
pub struct Doors {
    pub http: Door,
    /// For PostgreSQL's protocol.
    pub pg: Door,
    /// For Arrow Flight SQL.
    pub flight: Door,
    /// What commands on this machine bring along, where a key is asked for.
    pub own_key: Option<String>,
    pub who_may_ask: &'static str,
}

impl DoorArgs {
    /// Refuses what would let everyone in who is not meant to be.
    pub fn check(&self, directory: &Path) -> Result {
        let addresses = [("--listen", self.listen), ("--pg", self.pg), ("--flight", self.flight)];
        let named = addresses.into_iter().filter_map(|(flag, address)| Some((flag, address?)));
        let wants_key = |address: &SocketAddr| self.policy(*address) == Policy::Keys;
        let closed = named.clone().find(|(_, address)| wants_key(address));
        if closed.is_none() && !self.require_keys || KeyRing::load(directory)?.has_valid() {
            return Ok(());
        }
        let make_one = format!("make one with k2 keys create --data-dir {}", directory.display());
        Err(Failure::usage(match closed {
            Some((flag, address)) if !address.ip().is_loopback() => format!(
                "{flag} {address}: everyone who reaches the job could ask it anything, and there \
                 is no key yet; {make_one}, or listen on loopback, as in 127.0.0.1:{}, or say \
                 --insecure",
                address.port()
            ),
            _ => format!("--require-keys: nobody could ask, there is no key yet; {make_one}"),
        }))
    }

    fn policy(&self, address: SocketAddr) -> Policy {
        match (self.insecure, address.ip().is_loopback() && !self.require_keys) {
            (true, _) => Policy::Open,
            (false, true) => Policy::Local,
            (false, false) => Policy::Keys,
        }
    }

    /// `None` if nothing is to be served.
    pub fn open(&self, directory: &Path) -> Result<Option<Doors>> {
        if self.no_listen {
            return Ok(None);
        }
        let listen = [
            listener("--listen", self.listen, LISTEN_DEFAULT)?,
            listener("--pg", self.pg, PG_DEFAULT)?,
            listener("--flight", self.flight, FLIGHT_DEFAULT)?,
        ];
        let mut policies = [Policy::Keys; 3];
        for (policy, listener) in policies.iter_mut().zip(&listen) {
            *policy = self.policy(listener.local_addr()?);
        }
        let own = policies.contains(&Policy::Keys).then(NewKey::generate).transpose()?;
        let access = Access::of(directory, own.as_ref(), Policy::Keys);
        let [http, pg, flight] = listen;
        let door = |listener, policy| Door { listener, access: access.under(policy) };
        let all_are = |policy| policies.iter().all(|it| *it == policy);
        let who_may_ask = match policies {
            _ if all_are(Policy::Local) => {
                "everyone on this machine may ask, and nobody else; --require-keys closes it"
            }
            _ if all_are(Policy::Keys) => "who brings a key may ask: k2 keys create makes one",
            policies if policies.contains(&Policy::Open) => {
                "INSECURE: everyone who reaches the job may ask it anything"
            }
            _ => {
                "everyone on this machine may ask where it listens on loopback; elsewhere only who \
                 brings a key"
            }
        };
        Ok(Some(Doors {
            http: door(http, policies[0]),
            pg: door(pg, policies[1]),
            flight: door(flight, policies[2]),
            own_key: own.map(|key| key.text().to_owned()),
            who_may_ask,
        }))
    }
}

/// At the address that was named, and nowhere else; or at the default, and else anywhere.
fn listener(flag: &str, named: Option<SocketAddr>, default: SocketAddr) -> Result<TcpListener> {
    let bound = match named {
        Some(address) => TcpListener::bind(address),
        None => TcpListener::bind(default)
            .or_else(|_taken| TcpListener::bind(SocketAddr::new(default.ip(), 0))),
    };
    bound.map_err(|error| {
        let address = named.unwrap_or(default);
        Failure::failed(
            format!("listen on {address}; name a free address with {flag}, or --no-listen"),
            error,
        )
    })
}
