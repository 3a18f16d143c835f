//! The page `/docs`, used in a real browser.

use k2_serve::Access;
use serde_json::Value;

use super::keys::get;
use super::{job, open, python};

#[test]
fn the_page_of_the_api_asks_in_a_real_browser() {
    if std::process::Command::new("chromedriver").arg("--version").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "CI has chromium");
        eprintln!("SKIPPED: there is no chromedriver; ./test installs chromium-driver");
        return;
    }
    let (_job, engine) = job();
    let doors = open(&engine, &Access::open());
    let address = format!("http://{}", doors.http.address());
    let Some(seen) = python("docs_in_browser.py", &[&address], &[]) else { return };
    let seen = |name: &str| seen.iter().find_map(|it| it.get(name)).unwrap().clone();
    let api: Value = serde_json::from_str(&get(&doors, "/openapi.json", &[]).2).unwrap();
    let paths = api["paths"].as_object().unwrap();
    let routes: usize = paths.values().map(|methods| methods.as_object().unwrap().len()).sum();
    assert_eq!(seen("routes"), routes);
    let answer = |name: &str, status: &str| -> Value {
        let told = seen(name);
        let (head, body) = told.as_str().unwrap().split_once("\n\n").unwrap();
        assert!(head.starts_with(status), "{told}");
        serde_json::from_str(body).unwrap()
    };
    // A long answer is shown in part.
    let recent = seen("recent");
    let recent = recent.as_str().unwrap();
    assert!(recent.starts_with("200 v1/trades/recent?symbol=BTC-USDT\n"), "{recent}");
    assert!(recent.contains(r#""symbol": "BTC-USDT""#), "{recent}");
    let rows = crate::rows(&engine, "SELECT count(*) AS n FROM trades");
    let n = answer("sql", "200 v1/sql")["data"][0]["n"].to_string();
    assert!(rows[0].contains(&n), "{rows:?} {n}");
    assert_eq!(answer("wrong", "400 v1/sql")["error"]["code"], "not_a_query");
    assert_eq!(seen("complaints"), Value::Array(Vec::new()));
}
