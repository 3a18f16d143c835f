//! The doors in front of the engine, used as their clients use them.

mod catalog;
mod client;
mod drivers;
mod keys;
mod load;
mod openapi;
mod postgres;
mod refused;

use std::net::TcpListener;
use std::process::Command;

use k2_serve::{
    Access, Engine, JobState, PgConfig, PgServer, Secret, Server, ServerConfig, ServerState,
};

/// Both doors of one engine.
pub struct Doors {
    pub http: Server,
    pub pg: PgServer,
}

pub fn open(engine: &Engine, access: &Access) -> Doors {
    open_with(engine, access, PgConfig::default())
}

pub fn open_with(engine: &Engine, access: &Access, config: PgConfig) -> Doors {
    open_both_with(engine, access, config, ServerConfig::default())
}

pub fn open_http_with(engine: &Engine, config: ServerConfig) -> Doors {
    open_both_with(engine, &Access::open(), PgConfig::default(), config)
}

fn open_both_with(engine: &Engine, access: &Access, config: PgConfig, http: ServerConfig) -> Doors {
    let listener = || TcpListener::bind("127.0.0.1:0").unwrap();
    let state = ServerState {
        engine: engine.clone(),
        metrics: Default::default(),
        health: std::sync::Arc::new(|| JobState::Running),
        secret: Secret::random(),
    };
    Doors {
        http: Server::start_guarded(listener(), state, http, access.clone()).unwrap(),
        pg: PgServer::start(listener(), engine.clone(), access.clone(), config).unwrap(),
    }
}

/// `psql` on `doors`, or `None` where there is none.
pub fn psql(doors: &Doors, flags: &[&str]) -> Option<(bool, String, String)> {
    psql_with(doors, "", flags)
}

/// The same, with a password.
pub fn psql_with(doors: &Doors, key: &str, flags: &[&str]) -> Option<(bool, String, String)> {
    let port = doors.pg.address().port().to_string();
    let mut command = Command::new("psql");
    command.args(["-X", "-h", "127.0.0.1", "-p", &port, "-U", "somebody", "-d", "k2"]).args(flags);
    let output = match command.env_remove("PGOPTIONS").env("PGPASSWORD", key).output() {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            assert!(std::env::var_os("CI").is_none(), "CI has psql");
            eprintln!("SKIPPED: there is no psql; ./test installs postgresql-client");
            return None;
        }
        Err(error) => panic!("{error}"),
    };
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Some((output.status.success(), text(output.stdout), text(output.stderr)))
}
