//! PostgreSQL's protocol, through drivers that know nothing of K2: programs of `scripts/clients`.

use std::path::PathBuf;
use std::process::Command;

use k2_serve::Access;

use super::{ENDLESS, job, open, script};

fn client(name: &str) -> PathBuf {
    script("clients").join(name)
}

#[track_caller]
fn is_content(client: &mut Command, told: &str) {
    let output = client.output().unwrap();
    let texts = [output.stdout, output.stderr].map(|it| String::from_utf8_lossy(&it).into_owned());
    assert!(output.status.success() && texts[0].contains(told), "{}", texts.concat());
}

#[test]
fn tokio_postgres_has_what_it_asks_for() {
    let (_job, engine) = job();
    let doors = open(&engine, &Access::open());
    let address = doors.pg.address();
    let target = concat!(env!("CARGO_TARGET_TMPDIR"), "/clients");
    let mut run = Command::new(env!("CARGO"));
    run.args(["run", "--quiet", "--locked", "--target-dir", target, "--manifest-path"])
        .arg(client("Cargo.toml"))
        .args(["--", &address.ip().to_string(), &address.port().to_string(), ENDLESS]);
    is_content(&mut run, "tokio-postgres has what it asked for");
}

#[test]
fn the_jdbc_driver_has_what_it_asks_for() {
    let Some(parts) = std::env::var_os("K2_PARTS") else {
        assert!(std::env::var_os("CI").is_none(), "CI sets K2_PARTS");
        eprintln!("SKIPPED: K2_PARTS names no folder with the JDBC driver; ./test does");
        return;
    };
    let driver = PathBuf::from(parts).join("jdbc/postgresql.jar");
    assert!(driver.exists(), "{} is not there: run scripts/parts/install.sh", driver.display());
    let (_job, engine) = job();
    let doors = open(&engine, &Access::open());
    let mut run = Command::new("java");
    run.args(["-XX:TieredStopAtLevel=1", "-cp"])
        .args([driver, client("AskWithJdbc.java")])
        .arg(format!("jdbc:postgresql://{}/k2", doors.pg.address()));
    is_content(&mut run, "the JDBC driver has what it asked for");
}
