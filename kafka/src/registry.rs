//! A client of a schema registry that speaks Confluent's protocol, such as Apicurio's.
//!
//! Blocking, and so not for threads that run an async runtime: those would panic.

use std::fs;
use std::io::Read;
use std::sync::OnceLock;
use std::time::Duration;

use reqwest::blocking::{Client, Response};
use reqwest::{Certificate, Method, StatusCode};
use serde_json::{Value, json};
use url::Url;

use crate::error::{Error, ErrorKind, Result};
use crate::redact::without_userinfo;
use crate::settings::RegistrySettings;

/// How long a connection may take to be made, and a whole answer to come.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);
const ANSWER_PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of an answer; a schema has a few thousand.
const ANSWER_BYTES_MAX: u64 = 16 << 20;
/// Characters of the registry's own message that are repeated.
const MESSAGE_CHARACTERS_MAX: usize = 500;
const CONTENT_TYPE: &str = "application/vnd.schemaregistry.v1+json";

/// Where Apicurio's registry has this protocol.
const APICURIO_PATH: &str = "/apis/ccompat/v7";

/// The registry's own codes for what there is not.
const NO_SUBJECT: i64 = 40401;
const NO_VERSION: i64 = 40402;
const NO_SCHEMA: i64 = 40403;

/// Under which name the schemas of the values of `topic` are.
pub fn value_subject(topic: &str) -> String {
    format!("{topic}-value")
}

/// Which schemas may follow the earlier ones of a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compatibility {
    None,
    /// Those that can read what the last one wrote.
    Backward,
    /// Those that can read what any earlier one wrote.
    BackwardTransitive,
    Forward,
    ForwardTransitive,
    Full,
    FullTransitive,
}

impl Compatibility {
    fn as_str(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::Backward => "BACKWARD",
            Self::BackwardTransitive => "BACKWARD_TRANSITIVE",
            Self::Forward => "FORWARD",
            Self::ForwardTransitive => "FORWARD_TRANSITIVE",
            Self::Full => "FULL",
            Self::FullTransitive => "FULL_TRANSITIVE",
        }
    }
}

/// A schema registry.
pub struct Registry {
    client: Client,
    base: Url,
    /// Where it was found instead: a registry may have the protocol below a path of its own.
    below: OnceLock<Url>,
    login: Option<(String, Option<String>)>,
}

impl Registry {
    /// Reads the settings; asks nothing yet.
    pub fn new(settings: &RegistrySettings) -> Result<Self> {
        Self::with_patience(settings, ANSWER_PATIENCE)
    }

    fn with_patience(settings: &RegistrySettings, answer: Duration) -> Result<Self> {
        let base = base_url(settings)?;
        if settings.password.is_some() && settings.user.is_none() {
            return Err(Error::new(ErrorKind::Setting, "registry.password has no registry.user"));
        }
        let mut builder = Client::builder()
            .connect_timeout(CONNECT_PATIENCE.min(answer))
            .timeout(answer)
            // As librdkafka, which knows of no proxies either.
            .no_proxy()
            .user_agent("k2");
        for certificate in certificates(settings)? {
            builder = builder.add_root_certificate(certificate);
        }
        let client = builder.build().map_err(|error| {
            let text = "make a client for the schema registry";
            Error::new(ErrorKind::Setting, text).with_source(error.without_url())
        })?;
        let login = settings.user.clone().map(|user| (user, settings.password.clone()));
        Ok(Self { client, base, below: OnceLock::new(), login })
    }

    /// Whether a registry answers at the URL, and takes the credentials.
    pub fn check(&self) -> Result<()> {
        let request = Request::get("reach the schema registry", &["schemas", "types"]);
        let types = self.call(&request)?;
        let is_list = types.is_some_and(|types| types.is_array());
        is_list.then_some(()).ok_or_else(|| self.stranger(&request, "what it said is no list"))
    }

    /// Puts `schema` under `subject` and gives its id: a new one only if it is not there yet.
    pub fn register(&self, subject: &str, schema: &str) -> Result<u32> {
        let attempt = format!("register the schema of {subject}");
        let path = ["subjects", subject, "versions"];
        let request = Request::post(&attempt, &path, json!({ "schema": schema }));
        let answer = self.existing(&request)?;
        self.id(&request, &answer)
    }

    /// The schema of `id`; none if the registry has none of that id.
    pub fn schema_by_id(&self, id: u32) -> Result<Option<String>> {
        let attempt = format!("fetch schema {id}");
        let id = id.to_string();
        let request = Request::get(&attempt, &["schemas", "ids", &id]);
        let Some(answer) = self.call(&request)? else { return Ok(None) };
        self.schema(&request, &answer).map(Some)
    }

    /// The newest schema of `subject` and its id; none if there is no such subject.
    pub fn latest(&self, subject: &str) -> Result<Option<(u32, String)>> {
        let attempt = format!("fetch the newest schema of {subject}");
        let request = Request::get(&attempt, &["subjects", subject, "versions", "latest"]);
        let Some(answer) = self.call(&request)? else { return Ok(None) };
        Ok(Some((self.id(&request, &answer)?, self.schema(&request, &answer)?)))
    }

    /// Whether any schema is under `subject`.
    pub fn has_subject(&self, subject: &str) -> Result<bool> {
        let attempt = format!("look for schemas of {subject}");
        let request = Request::get(&attempt, &["subjects", subject, "versions"]);
        Ok(self.call(&request)?.is_some())
    }

    /// Says which schemas `subject` will take. Registries differ in what they take by themselves.
    pub fn set_compatibility(&self, subject: &str, compatibility: Compatibility) -> Result<()> {
        let attempt = format!("set the compatibility of {subject}");
        let body = json!({ "compatibility": compatibility.as_str() });
        self.existing(&Request::put(&attempt, &["config", subject], body)).map(drop)
    }

    /// An error of kind [`ErrorKind::Incompatible`] if `subject` would not take `schema` as its
    /// next one. A subject without schemas takes any.
    pub fn check_compatible(&self, subject: &str, schema: &str) -> Result<()> {
        let attempt = format!("check the schema of {subject}");
        let path = ["compatibility", "subjects", subject, "versions", "latest"];
        let mut request = Request::post(&attempt, &path, json!({ "schema": schema }));
        request.query = Some("verbose=true");
        let Some(answer) = self.call(&request)? else { return Ok(()) };
        match answer["is_compatible"].as_bool() {
            Some(true) => Ok(()),
            Some(false) => {
                let reasons = answer["messages"].as_array().into_iter().flatten();
                let reasons: Vec<&str> = reasons.filter_map(Value::as_str).collect();
                Err(incompatible(&attempt, &reasons.join("; ")))
            }
            None => Err(self.stranger(&request, "there is no `is_compatible` in what it said")),
        }
    }

    /// The answer to a request about something that has to be there.
    fn existing(&self, request: &Request<'_>) -> Result<Value> {
        let answer = self.call(request)?;
        answer.ok_or_else(|| self.stranger(request, "it knows no such path"))
    }

    /// The answer to a request; none if the registry has no such thing.
    fn call(&self, request: &Request<'_>) -> Result<Option<Value>> {
        match self.call_once(request) {
            Err(error) if error.kind() == ErrorKind::NotARegistry && self.find_below() => {
                self.call_once(request)
            }
            answer => answer,
        }
    }

    /// Whether a registry is found below the address, of which nothing but the host was named.
    fn find_below(&self) -> bool {
        if self.base.path() != "/" || self.below.get().is_some() {
            return false;
        }
        let Ok(base) = self.base.join(APICURIO_PATH) else { return false };
        let (client, login) = (self.client.clone(), self.login.clone());
        let below = Self { client, base, below: OnceLock::new(), login };
        below.check().is_ok() && self.below.set(below.base).is_ok()
    }

    /// Where the registry is, as far as is known.
    fn url(&self) -> &Url {
        self.below.get().unwrap_or(&self.base)
    }

    fn call_once(&self, request: &Request<'_>) -> Result<Option<Value>> {
        let response = self.send(request)?;
        let status = response.status();
        let text = self.text(request, response)?;
        let answer: Option<Value> = serde_json::from_str(&text).ok();
        let code = answer.as_ref().and_then(|answer| answer["error_code"].as_i64());
        let message = answer.as_ref().and_then(|answer| answer["message"].as_str());
        let said = message.unwrap_or(text.trim());
        let said: String = said.chars().take(MESSAGE_CHARACTERS_MAX).collect();
        let attempt = request.attempt;
        let error = |kind, text| Err(Error::new(kind, format!("{attempt}: {text}")));
        match (status, code) {
            (status, _) if status.is_success() => match answer {
                Some(answer) => Ok(Some(answer)),
                None => Err(self.stranger(request, "what it said is no JSON")),
            },
            (StatusCode::NOT_FOUND, Some(NO_SUBJECT | NO_VERSION | NO_SCHEMA)) => Ok(None),
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => {
                let text =
                    format!("{attempt}: the registry at {} refused it ({status})", self.url());
                Err(Error::new(ErrorKind::Refused, text)
                    .with_advice("check registry.user and registry.password, and what they may do"))
            }
            (StatusCode::CONFLICT, _) => Err(incompatible(attempt, &said)),
            (StatusCode::UNPROCESSABLE_ENTITY, _) | (StatusCode::BAD_REQUEST, Some(_)) => {
                error(ErrorKind::Invalid, format!("the registry does not take it: {said}"))
            }
            (StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS, _) => {
                error(ErrorKind::Unavailable, format!("the registry is busy ({status})"))
            }
            (status, _) if status.is_server_error() => {
                error(ErrorKind::Unavailable, format!("the registry failed ({status}): {said}"))
            }
            _ => Err(self.stranger(request, &format!("it answers {status}"))),
        }
    }

    fn send(&self, request: &Request<'_>) -> Result<Response> {
        let mut url = self.url().clone();
        url.path_segments_mut()
            .expect("an address with a host has a path")
            .pop_if_empty()
            .extend(&request.path);
        url.set_query(request.query);
        let mut builder = self.client.request(request.method.clone(), url);
        if let Some(body) = &request.body {
            builder =
                builder.body(body.to_string()).header(reqwest::header::CONTENT_TYPE, CONTENT_TYPE);
        }
        if let Some((user, password)) = &self.login {
            builder = builder.basic_auth(user, password.as_ref());
        }
        builder.send().map_err(|error| self.no_answer(request, error))
    }

    fn text(&self, request: &Request<'_>, response: Response) -> Result<String> {
        let mut bytes = Vec::new();
        let read = response.take(ANSWER_BYTES_MAX + 1).read_to_end(&mut bytes);
        if let Err(source) = read {
            let text = format!("{}: the registry at {} broke off", request.attempt, self.url());
            return Err(Error::new(ErrorKind::Unavailable, text).with_source(source));
        }
        if bytes.len() as u64 > ANSWER_BYTES_MAX {
            return Err(self.stranger(request, &format!("it says over {ANSWER_BYTES_MAX} B")));
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn no_answer(&self, request: &Request<'_>, error: reqwest::Error) -> Error {
        let what = if error.is_timeout() { "does not answer in time" } else { "does not answer" };
        let text = format!("{}: the registry at {} {what}", request.attempt, self.url());
        // The address may hold a password.
        let error = error.without_url();
        let causes = causes(&error);
        if causes.contains("certificate") {
            let text = format!("{text} with a certificate that is trusted");
            let error = Error::new(ErrorKind::Refused, text).with_source(error);
            return error.with_advice("check registry.ca");
        }
        Error::new(ErrorKind::Unavailable, text)
            .with_source(error)
            .with_advice("check registry.url, and that the registry is up")
    }

    /// What answers does not answer as a registry does.
    fn stranger(&self, request: &Request<'_>, why: &str) -> Error {
        let text =
            format!("{}: what answers at {} is no registry: {why}", request.attempt, self.url());
        let advice = "check registry.url: some registries begin below a path, such as \
                      /apis/ccompat/v7";
        Error::new(ErrorKind::NotARegistry, text).with_advice(advice)
    }

    fn id(&self, request: &Request<'_>, answer: &Value) -> Result<u32> {
        let id = answer["id"].as_u64().and_then(|id| u32::try_from(id).ok());
        id.ok_or_else(|| self.stranger(request, "there is no `id` in what it said"))
    }

    fn schema(&self, request: &Request<'_>, answer: &Value) -> Result<String> {
        let invalid = |text: &str| {
            Err(Error::new(ErrorKind::Invalid, format!("{}: {text}", request.attempt)))
        };
        // Avro is what is meant when nothing is said.
        if answer["schemaType"].as_str().is_some_and(|kind| kind != "AVRO") {
            return invalid("it is not Avro, which is all that K2 reads");
        }
        if answer["references"].as_array().is_some_and(|references| !references.is_empty()) {
            return invalid("it refers to other schemas, which K2 does not follow");
        }
        let schema = answer["schema"].as_str().map(str::to_owned);
        schema.ok_or_else(|| self.stranger(request, "there is no `schema` in what it said"))
    }
}

/// A request, and what it is for.
struct Request<'a> {
    attempt: &'a str,
    method: Method,
    /// Below the registry's URL, part by part.
    path: Vec<&'a str>,
    query: Option<&'static str>,
    body: Option<Value>,
}

impl<'a> Request<'a> {
    fn get(attempt: &'a str, path: &[&'a str]) -> Self {
        Self { attempt, method: Method::GET, path: path.to_vec(), query: None, body: None }
    }

    fn post(attempt: &'a str, path: &[&'a str], body: Value) -> Self {
        Self { attempt, method: Method::POST, path: path.to_vec(), query: None, body: Some(body) }
    }

    fn put(attempt: &'a str, path: &[&'a str], body: Value) -> Self {
        Self { attempt, method: Method::PUT, path: path.to_vec(), query: None, body: Some(body) }
    }
}

fn incompatible(attempt: &str, said: &str) -> Error {
    let said = if said.is_empty() { "it cannot follow the earlier ones" } else { said };
    let text = format!("{attempt}: the registry does not take it: {said}");
    let advice = "give new fields a default, and leave the types of the others as they are";
    Error::new(ErrorKind::Incompatible, text).with_advice(advice)
}

fn base_url(settings: &RegistrySettings) -> Result<Url> {
    let shown = without_userinfo(&settings.url);
    let refuse = |why: &str| {
        let error = Error::new(ErrorKind::Setting, format!("read registry.url {shown:?}: {why}"));
        Err(error.with_advice("it is like http://localhost:8081"))
    };
    let Ok(url) = Url::parse(settings.url.trim()) else { return refuse("it is no address") };
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return refuse("it is no address of a web server");
    }
    if !url.username().is_empty() || url.password().is_some() {
        // An address is shown in errors and on pages.
        return refuse(
            "it holds a user or a password, which belong in registry.user and .password",
        );
    }
    if url.query().is_some() || url.fragment().is_some() {
        return refuse("it has something behind the path");
    }
    Ok(url)
}

fn certificates(settings: &RegistrySettings) -> Result<Vec<Certificate>> {
    let Some(path) = &settings.ca else { return Ok(Vec::new()) };
    let text = format!("read the certificates of registry.ca, {}", path.display());
    let pem = fs::read(path)
        .map_err(|source| Error::new(ErrorKind::Setting, text.as_str()).with_source(source))?;
    match Certificate::from_pem_bundle(&pem) {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(Error::new(ErrorKind::Setting, format!("{text}: there are none in it"))),
        Err(source) => Err(Error::new(ErrorKind::Setting, text).with_source(source)),
    }
}

fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests;
