//! The shapes of requests and answers, against a server of a few lines. What real registries do is
//! tested against one.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::{self, JoinHandle};

use super::*;

const SCHEMA: &str = r#"{"type":"record","name":"T","fields":[]}"#;
const NO_SUCH_SUBJECT: &str = r#"{"error_code":40401,"message":"No such subject"}"#;

/// What the server does with one request.
enum Act {
    Answer(u16, &'static str),
    /// Says so many bytes less than it announced.
    BreakOff(&'static str, usize),
    /// Says nothing until the client has gone.
    KeepSilent,
    HangUp,
}

/// What the server was asked.
#[derive(Debug)]
struct Asked {
    /// Method and target.
    line: String,
    headers: Vec<String>,
    body: String,
}

impl Asked {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// Serves one connection for each of `acts`; joined, it gives what it was asked.
fn serve(acts: Vec<Act>) -> (String, JoinHandle<Vec<Asked>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let thread = thread::spawn(move || {
        acts.into_iter().map(|act| one(&listener.accept().unwrap().0, &act)).collect()
    });
    (url, thread)
}

fn one(mut stream: &TcpStream, act: &Act) -> Asked {
    let mut reader = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if line.trim().is_empty() {
            break;
        }
        lines.push(line.trim().to_owned());
    }
    let mut asked = Asked { line: lines.remove(0), headers: lines, body: String::new() };
    let length = asked.header("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    asked.body = String::from_utf8(body).unwrap();
    let head = |status, length| {
        format!(
            "HTTP/1.1 {status} Some Reason\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\nconnection: close\r\n\r\n"
        )
    };
    match act {
        Act::Answer(status, body) => {
            write!(stream, "{}{body}", head(*status, body.len())).unwrap();
        }
        Act::BreakOff(body, missing) => {
            write!(stream, "{}{body}", head(200, body.len() + missing)).unwrap();
        }
        Act::KeepSilent => while reader.read(&mut [0; 64]).is_ok_and(|bytes| bytes > 0) {},
        Act::HangUp => {}
    }
    asked
}

fn registry(url: &str) -> Registry {
    let settings = RegistrySettings { url: url.into(), ..RegistrySettings::default() };
    Registry::with_patience(&settings, Duration::from_secs(20)).unwrap()
}

/// What `call` gives when the server answers with `status` and `body`, and what it was asked.
fn answered<T>(
    status: u16,
    body: &'static str,
    call: impl FnOnce(&Registry) -> Result<T>,
) -> (Result<T>, Asked) {
    let (url, server) = serve(vec![Act::Answer(status, body)]);
    let result = call(&registry(&url));
    (result, server.join().unwrap().remove(0))
}

#[test]
fn registering_sends_the_schema_as_a_text_and_gives_the_id() {
    let (id, asked) = answered(200, r#"{"id":7}"#, |one| one.register("a.b-value", SCHEMA));
    assert_eq!(id.unwrap(), 7);
    assert_eq!(asked.line, "POST /subjects/a.b-value/versions HTTP/1.1");
    assert_eq!(asked.header("content-type"), Some(CONTENT_TYPE));
    let body: Value = serde_json::from_str(&asked.body).unwrap();
    assert_eq!(body["schema"].as_str(), Some(SCHEMA));
    assert_eq!(asked.header("authorization"), None);
}

#[test]
fn a_path_before_that_of_the_registry_is_kept_and_names_are_escaped() {
    for end in ["", "/"] {
        let (url, server) = serve(vec![Act::Answer(200, "[1]")]);
        let one = registry(&format!("{url}/apis/ccompat/v7{end}"));
        assert!(one.has_subject("a/b c").unwrap());
        let asked = server.join().unwrap().remove(0);
        assert_eq!(asked.line, "GET /apis/ccompat/v7/subjects/a%2Fb%20c/versions HTTP/1.1");
    }
}

#[test]
fn a_schema_is_found_by_its_id_or_is_not_there() {
    let body = r#"{"schema":"{\"type\":\"long\"}","references":[]}"#;
    let (schema, asked) = answered(200, body, |one| one.schema_by_id(42));
    assert_eq!(schema.unwrap().as_deref(), Some(r#"{"type":"long"}"#));
    assert_eq!(asked.line, "GET /schemas/ids/42 HTTP/1.1");
    let body = r#"{"error_code":40403,"message":"Schema not found"}"#;
    let (schema, _) = answered(404, body, |one| one.schema_by_id(42));
    assert_eq!(schema.unwrap(), None);
}

#[test]
fn a_schema_that_k2_cannot_read_is_invalid() {
    let bodies = [
        r#"{"schema":"syntax","schemaType":"PROTOBUF"}"#,
        r#"{"schema":"\"x\"","references":[{"name":"x"}]}"#,
    ];
    for body in bodies {
        let (schema, _) = answered(200, body, |one| one.schema_by_id(1));
        assert_eq!(schema.unwrap_err().kind(), ErrorKind::Invalid, "{body}");
    }
}

#[test]
fn the_newest_schema_comes_with_its_id() {
    let body = r#"{"subject":"s","version":2,"id":9,"schema":"\"long\""}"#;
    let (latest, asked) = answered(200, body, |one| one.latest("s"));
    assert_eq!(latest.unwrap(), Some((9, "\"long\"".into())));
    assert_eq!(asked.line, "GET /subjects/s/versions/latest HTTP/1.1");
    assert_eq!(answered(404, NO_SUCH_SUBJECT, |one| one.latest("s")).0.unwrap(), None);
    assert!(!answered(404, NO_SUCH_SUBJECT, |one| one.has_subject("s")).0.unwrap());
}

#[test]
fn compatibility_is_set_and_checked() {
    let (set, asked) = answered(200, r#"{"compatibility":"BACKWARD"}"#, |one| {
        one.set_compatibility("s", Compatibility::Backward)
    });
    set.unwrap();
    assert_eq!(asked.line, "PUT /config/s HTTP/1.1");
    assert_eq!(asked.body, r#"{"compatibility":"BACKWARD"}"#);
    let check = |status, body| answered(status, body, |one| one.check_compatible("s", SCHEMA));
    let (good, asked) = check(200, r#"{"is_compatible":true}"#);
    good.unwrap();
    assert!(asked.line.starts_with("POST /compatibility/subjects/s/versions/latest?"), "{asked:?}");
    check(404, NO_SUCH_SUBJECT).0.unwrap();
    let (bad, _) = check(200, r#"{"is_compatible":false,"messages":["field x has no default"]}"#);
    let bad = bad.unwrap_err();
    assert_eq!(bad.kind(), ErrorKind::Incompatible);
    assert!(bad.to_string().contains("field x has no default"), "{bad}");
}

#[test]
fn each_refusal_has_its_kind() {
    let cases = [
        (401, "", ErrorKind::Refused),
        (403, r#"{"error_code":40301,"message":"no"}"#, ErrorKind::Refused),
        (409, r#"{"error_code":409,"message":"too different"}"#, ErrorKind::Incompatible),
        (422, r#"{"error_code":42201,"message":"not Avro"}"#, ErrorKind::Invalid),
        (429, "", ErrorKind::Unavailable),
        (500, r#"{"error_code":50001,"message":"store"}"#, ErrorKind::Unavailable),
        (503, "<html>starting</html>", ErrorKind::Unavailable),
        // Other servers, and a registry's own words for a path that it does not have.
        (404, "<html>not found</html>", ErrorKind::NotARegistry),
        (404, r#"{"error_code":404,"message":"HTTP 404 Not Found"}"#, ErrorKind::NotARegistry),
        (404, NO_SUCH_SUBJECT, ErrorKind::NotARegistry),
        (405, "", ErrorKind::NotARegistry),
        (200, "<html>welcome</html>", ErrorKind::NotARegistry),
        (200, r#"{"status":"ok"}"#, ErrorKind::NotARegistry),
        (200, r#"{"id":-1}"#, ErrorKind::NotARegistry),
        (200, r#"{"id":5000000000}"#, ErrorKind::NotARegistry),
    ];
    let acts = cases.iter().map(|(status, body, _)| Act::Answer(*status, body)).collect();
    let (url, server) = serve(acts);
    // With a path, so that it is not looked for below another.
    let one = registry(&format!("{url}/registry"));
    for (status, body, kind) in cases {
        let error = one.register("s", SCHEMA).unwrap_err();
        assert_eq!(error.kind(), kind, "{status} {body}: {error}");
        assert_eq!(error.retryable(), kind == ErrorKind::Unavailable, "{error}");
        assert!(error.to_string().starts_with("register the schema of s: "), "{error}");
    }
    server.join().unwrap();
}

#[test]
fn the_registrys_own_words_are_repeated_but_not_without_end() {
    let body = r#"{"error_code":409,"message":"reader type: INT not compatible"}"#;
    let (result, _) = answered(409, body, |one| one.register("s", SCHEMA));
    assert!(result.unwrap_err().to_string().contains("reader type: INT not compatible"));
    let page: &'static str = Box::leak("é".repeat(100_000).into_boxed_str());
    let (result, _) = answered(500, page, |one| one.register("s", SCHEMA));
    let text = result.unwrap_err().to_string();
    assert!(text.chars().count() < MESSAGE_CHARACTERS_MAX + 200, "{}", text.len());
}

#[test]
fn a_check_finds_out_whether_it_is_a_registry() {
    let (result, asked) = answered(200, r#"["AVRO"]"#, Registry::check);
    result.unwrap();
    assert_eq!(asked.line, "GET /schemas/types HTTP/1.1");
    let (result, _) = answered(200, "{}", Registry::check);
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotARegistry);
    assert!(error.to_string().contains("registry.url"), "{error}");
}

#[test]
fn a_registry_that_is_not_there_may_be_there_later() {
    // A port that nobody listens on: it was just given back.
    let url = format!("http://{}", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    let error = registry(&url).check().unwrap_err();
    assert_eq!((error.kind(), error.retryable()), (ErrorKind::Unavailable, true));
    let text = error.to_string();
    assert!(text.contains("refused") && text.contains("registry.url"), "{text}");
}

#[test]
fn a_registry_that_does_not_answer_is_given_up() {
    let (url, server) = serve(vec![Act::KeepSilent]);
    let settings = RegistrySettings { url, ..RegistrySettings::default() };
    let one = Registry::with_patience(&settings, Duration::from_millis(100)).unwrap();
    let error = one.check().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("in time"), "{error}");
    drop(one);
    server.join().unwrap();
}

#[test]
fn an_answer_that_breaks_off_is_no_answer() {
    for act in [Act::BreakOff(r#"["AVRO"]"#, 5), Act::HangUp] {
        let (url, server) = serve(vec![act]);
        let error = registry(&url).check().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        server.join().unwrap();
    }
}

#[test]
fn the_user_logs_in_and_the_password_is_in_no_error() {
    const SECRET: &str = "hunter2";
    let (url, server) = serve(vec![Act::Answer(401, "")]);
    let mut settings = RegistrySettings {
        url: url.clone(),
        user: Some("me".into()),
        password: Some(SECRET.into()),
        ca: None,
    };
    let error = Registry::new(&settings).unwrap().check().unwrap_err();
    assert!(error.to_string().contains("registry.user"), "{error}");
    assert!(!format!("{error} {error:?}").contains(SECRET), "{error:?}");
    let asked = server.join().unwrap().remove(0);
    assert_eq!(asked.header("authorization"), Some("Basic bWU6aHVudGVyMg=="));
    // Now nobody listens there.
    let error = Registry::new(&settings).unwrap().check().unwrap_err();
    assert!(!format!("{error} {error:?}").contains(SECRET), "{error:?}");
    settings.url = url.replace("://", &format!("://me:{SECRET}@"));
    let error = Registry::new(&settings).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Setting);
    assert!(!format!("{error} {error:?}").contains(SECRET), "{error:?}");
}

#[test]
fn settings_that_cannot_work_are_refused_by_name() {
    let refused = |url: &str, change: &dyn Fn(&mut RegistrySettings)| {
        let mut settings = RegistrySettings { url: url.into(), ..RegistrySettings::default() };
        change(&mut settings);
        let error = Registry::new(&settings).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Setting, "{error}");
        error.to_string()
    };
    for url in ["", "localhost:8081", "ftp://h", "http://", "http://h/?a=b", "http://h/#a"] {
        assert!(refused(url, &|_| {}).contains("registry.url"), "{url}");
    }
    let text = refused("http://h", &|settings| settings.password = Some("x".into()));
    assert!(text.contains("registry.user"), "{text}");
    let text = refused("http://h", &|settings| settings.ca = Some("/no/such.pem".into()));
    assert!(text.contains("registry.ca") && text.contains("/no/such.pem"), "{text}");
    let no_certificates = tempfile::NamedTempFile::new().unwrap();
    fs::write(no_certificates.path(), "no certificates").unwrap();
    let path = no_certificates.path().to_owned();
    let text = refused("http://h", &move |settings| settings.ca = Some(path.clone()));
    assert!(text.contains("registry.ca"), "{text}");
}
