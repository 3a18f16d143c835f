//! The doors in front of the engine, used as their clients use them.

mod catalog;
mod client;
mod cursors;
mod docs;
mod drivers;
mod expired;
mod flight;
mod flight_drivers;
mod fuzz;
mod keys;
mod load;
mod openapi;
mod postgres;
mod refused;

use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use k2_serve::{
    Access, Engine, FlightConfig, FlightServer, JobState, PgConfig, PgServer, Secret, Server,
    ServerConfig, ServerState,
};
use serde_json::Value;

use crate::support::Job;

/// The secret of all doors, as of a job that was started again.
const SIGNED_BY: Secret = Secret::new([7; Secret::BYTES]);

/// Runs until somebody stops it.
pub const ENDLESS: &str = "SELECT count(*) FROM generate_series(1, 1000000) a, \
                           generate_series(1, 1000000) b WHERE a.a % 7 = b.b % 11";

/// Rows on both sides of the seam, and the engine over them.
pub fn job() -> (Job, Engine) {
    let mut job = Job::new();
    job.run(10, 50);
    job.commit();
    job.run(5, 50);
    let engine = crate::live(&job);
    (job, engine)
}

/// All doors of one engine.
pub struct Doors {
    pub http: Server,
    pub pg: PgServer,
    pub flight: FlightServer,
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
        secret: SIGNED_BY,
    };
    let (asked, secret, flight) = (engine.clone(), SIGNED_BY, FlightConfig::default());
    let flight = FlightServer::start(listener(), asked, access.clone(), secret, flight);
    Doors {
        http: Server::start_guarded(listener(), state, http, access.clone()).unwrap(),
        pg: PgServer::start(listener(), engine.clone(), access.clone(), config).unwrap(),
        flight: flight.unwrap(),
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

/// Waits until as many queries run as are expected.
#[allow(clippy::disallowed_methods, reason = "a test that waits needs a clock")]
pub fn wait_for_load(doors: &Doors, running: u64) {
    let begun = Instant::now();
    let line = format!("k2_query_running {running}");
    loop {
        let metrics = keys::get(doors, "/metrics", &[]).2;
        if metrics.lines().any(|it| it == line) {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "no {line} in {metrics}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A file or folder of `scripts/`. Asked for at run time: a build may outlive the checkout that it
/// was made in.
pub fn script(name: &str) -> PathBuf {
    let of_crate = std::env::var_os("CARGO_MANIFEST_DIR").expect("the test runner sets it");
    Path::new(&of_crate).join("../scripts").join(name)
}

/// What a script answers to `questions`, one a line; `None` where there is no Python for it.
pub fn python(name: &str, arguments: &[&str], questions: &[Value]) -> Option<Vec<Value>> {
    let Some(python) = std::env::var_os("K2_READERS") else {
        assert!(std::env::var_os("CI").is_none(), "CI sets K2_READERS");
        eprintln!("SKIPPED: K2_READERS names no Python with drivers; ./test does");
        return None;
    };
    let mut child = Command::new(python)
        .arg(script(name))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    for question in questions {
        writeln!(stdin, "{question}").unwrap();
    }
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let answers = String::from_utf8(output.stdout).unwrap();
    Some(answers.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}
