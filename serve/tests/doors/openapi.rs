//! HTTP as its own document says it is, held to that by tools that know nothing of K2.

use std::process::Command;

use k2_serve::Access;

use super::{job, open, script};

#[test]
fn every_answer_is_one_that_the_document_tells_of() {
    let Some(python) = std::env::var_os("K2_READERS") else {
        assert!(std::env::var_os("CI").is_none(), "CI sets K2_READERS");
        eprintln!("SKIPPED: K2_READERS names no Python with schemathesis; ./test does");
        return;
    };
    let (_job, engine) = job();
    let doors = open(&engine, &Access::open());
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(python)
        .arg(script("openapi/check.py"))
        .arg(format!("http://{}", doors.http.address()))
        .current_dir(folder.path())
        .output()
        .unwrap();
    let told = [output.stdout, output.stderr].map(|it| String::from_utf8_lossy(&it).into_owned());
    print!("{}", told[0]);
    assert!(output.status.success(), "{}", told.concat());
    assert!(told[0].contains("the document is valid"), "{}", told.concat());
}
