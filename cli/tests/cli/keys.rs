//! Keys, and doors that ask for them.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::support::Place;

/// The status of a request to the job of the directory `d`.
fn status(place: &Place, headers: &str) -> String {
    let job = std::fs::read_to_string(place.path("d/job.json")).unwrap();
    let job: serde_json::Value = serde_json::from_str(&job).unwrap();
    let mut stream = TcpStream::connect(job["address"].as_str().unwrap()).unwrap();
    let head = "POST /v1/sql HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n";
    let body = r#"{"sql": "SELECT 1"}"#;
    let length = body.len();
    write!(stream, "{head}{headers}content-length: {length}\r\n\r\n{body}").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer[9..12].to_owned()
}

#[test]
fn a_key_is_shown_once_listed_without_itself_and_revoked() {
    let place = Place::new();
    let line = "keys create --data-dir d --scope read --rate 100/s --name dashboard";
    let made = place.line(line).ok();
    let key = made.stdout.trim();
    let id = key.split('_').nth(1).unwrap();
    assert!(key.starts_with("k2_") && key.len() == 3 + 8 + 1 + 64, "{key}");
    assert!(made.stderr.contains("shown this once"), "{}", made.stderr);
    let listed = place.line("keys list --data-dir d").ok().stdout;
    for text in [id, "read", "100/s", "valid", "dashboard"] {
        assert!(listed.contains(text), "no {text} in {listed}");
    }
    assert!(!listed.contains(key));
    place.line(&format!("keys revoke {id} --data-dir d")).ok();
    assert!(place.line("keys list --data-dir d").ok().stdout.contains("revoked"));
    place.line("keys revoke nobody --data-dir d").refused(2, &["nobody", "k2 keys list"]);
    place.line("keys create --data-dir d --scope write").refused(2, &["write", "read, sql"]);
    place.line("keys create --data-dir d --rate 100").refused(2, &["100", "100/s"]);
}

#[test]
fn a_door_that_others_reach_needs_a_key_or_a_word() {
    let place = Place::new();
    let said = ["0.0.0.0:0", "k2 keys create", "loopback", "--insecure"];
    place.line("run --data-dir d --listen 0.0.0.0:0").refused(2, &said);
    place.line("run --data-dir d --pg 0.0.0.0:0").refused(2, &said);
    place.line("run --data-dir d --flight 0.0.0.0:0").refused(2, &said);
    place.line("run --data-dir d --require-keys").refused(2, &["k2 keys create"]);
    assert!(!place.path("d").exists());
    let key = place.line("keys create --data-dir d --scope sql").ok().stdout;
    let line = "run --data-dir d --listen 0.0.0.0:0 --pg 127.0.0.1:0";
    let job = place.start(line);
    assert_eq!(status(&place, ""), "401");
    assert_eq!(status(&place, &format!("x-api-key: {}\r\n", key.trim())), "200");
    // A command on the directory brings the key that the job has left there.
    assert_eq!(place.ask("SELECT 1"), ["1"]);
    assert!(job.stop().ok().stderr.contains("only who brings a key"));
}

#[test]
fn a_job_says_where_it_speaks_what_and_to_whom() {
    let place = Place::new();
    let line = "run --data-dir d --listen 127.0.0.1:0 --pg 127.0.0.1:0 --flight 127.0.0.1:0";
    let job = place.start(line);
    let file = std::fs::read_to_string(place.path("d/job.json")).unwrap();
    let file: serde_json::Value = serde_json::from_str(&file).unwrap();
    let doors = [("pg", "postgresql"), ("flight", "grpc")];
    let addresses = doors.map(|(door, scheme)| (scheme, file[door].as_str().unwrap().to_owned()));
    for (_, address) in &addresses {
        assert!(TcpStream::connect(address).is_ok(), "{address}");
    }
    let stderr = job.stop().ok().stderr;
    assert!(stderr.contains("everyone on this machine may ask, and nobody else"), "{stderr}");
    for (scheme, address) in addresses {
        assert!(stderr.contains(&format!("{scheme}://{address}")), "{stderr}");
        assert!(TcpStream::connect(&address).is_err(), "{address}");
    }
}
