//! Asks a running job over HTTP, on loopback.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use bytes::Bytes;
use k2_serve::Format;
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Response, StatusCode};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::runtime::{Builder, Runtime};

use crate::answer_meta::AnswerMeta;
use crate::failure::{Failure, Result};
use crate::job_file::JobFile;

/// For a job that is alive; it is on the same machine.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(5);
/// Above the job's own limit of a query, so that its message is what is seen.
const QUERY_TIMEOUT: Duration = Duration::from_secs(3_600);

/// Where an answer that is rows alone says what it is an answer of.
const META: &str = "x-k2-meta";
const API_KEY: &str = "x-api-key";

/// A job that answered.
pub struct JobClient {
    job: JobFile,
    http: reqwest::Client,
    runtime: Arc<Runtime>,
}

/// What the job answered.
pub struct JobAnswer {
    pub meta: AnswerMeta,
    pub rows: JobRows,
}

/// Rows in the format that was asked for.
pub enum JobRows {
    Whole(Vec<u8>),
    Coming(Pieces),
}

/// Rows on their way from the job.
pub struct Pieces {
    response: Response,
    runtime: Arc<Runtime>,
}

impl Pieces {
    /// The next piece, as it comes.
    pub fn next(&mut self) -> Result<Option<Bytes>> {
        let piece = self.runtime.block_on(async { self.response.chunk().await });
        piece.map_err(|error| {
            let attempted = "read the answer of the job to its end; it broke off, and the job's log \
                             says why";
            Failure::failed(attempted, error)
        })
    }
}

/// The job's answer in JSON.
#[derive(Deserialize)]
struct Envelope {
    data: Box<RawValue>,
    meta: AnswerMeta,
}

/// The job's error envelope.
#[derive(Deserialize)]
struct ErrorEnvelope {
    error: ErrorBody,
}

#[derive(Deserialize)]
struct ErrorBody {
    message: String,
    #[serde(default)]
    hint: Option<String>,
}

/// What each request brings along.
fn headers(job: &JobFile) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let key = job.key.as_ref().and_then(|key| HeaderValue::from_str(key).ok());
    if let Some(mut key) = key {
        key.set_sensitive(true);
        headers.insert(API_KEY, key);
    }
    headers
}

/// Where a job that listens on `address` is reached from its own machine.
pub fn reached(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

impl JobClient {
    /// `None` if nothing answers there: the job has ended, or is about to.
    pub fn connect(job: JobFile) -> Result<Option<Self>> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let runtime = Arc::new(runtime);
        // A proxy in the environment must not stand between two processes on one machine.
        let http = reqwest::Client::builder().no_proxy().default_headers(headers(&job)).build()?;
        let client = Self { job, http, runtime };
        let health = client.http.get(client.url("/health")).timeout(HEALTH_TIMEOUT);
        // The request's timer needs the runtime already as it is sent. Also a job that says it is
        // not well may answer queries.
        match client.runtime.block_on(async { health.send().await }) {
            Ok(_) => Ok(Some(client)),
            Err(error) if error.is_connect() => Ok(None),
            Err(error) => Err(client.unreachable("ask it for its health", error)),
        }
    }

    /// The rows in `format`, and what they are rows of.
    pub fn sql(&self, statement: &str, format: Format) -> Result<JobAnswer> {
        let body = serde_json::json!({ "sql": statement, "format": format.as_str() });
        let request = self.http.post(self.url("/v1/sql")).timeout(QUERY_TIMEOUT).json(&body);
        // The request's timer needs the runtime already as it is sent.
        let answer = self.runtime.block_on(async { request.send().await });
        let response = answer.map_err(|error| self.unreachable("ask the job", error))?;
        if !response.status().is_success() {
            return Err(self.refusal(response.status(), &self.whole(response)?));
        }
        if format == Format::Json {
            let envelope: Envelope = serde_json::from_slice(&self.whole(response)?)?;
            let rows = JobRows::Whole(format!("{}\n", envelope.data).into_bytes());
            return Ok(JobAnswer { meta: envelope.meta, rows });
        }
        let meta = response.headers().get(META).map_or(&b""[..], HeaderValue::as_bytes);
        let meta: AnswerMeta = serde_json::from_slice(meta).map_err(|error| {
            Failure::failed(format!("read {META} of the answer of {}", self.job.address), error)
        })?;
        let rows = if meta.is_whole() {
            JobRows::Whole(self.whole(response)?)
        } else {
            JobRows::Coming(Pieces { response, runtime: Arc::clone(&self.runtime) })
        };
        Ok(JobAnswer { meta, rows })
    }

    fn whole(&self, response: Response) -> Result<Vec<u8>> {
        let body = self.runtime.block_on(async { response.bytes().await });
        Ok(body.map_err(|error| self.unreachable("read the answer of the job", error))?.to_vec())
    }

    /// The job's own words; a question that was wrong is the asker's to mend.
    fn refusal(&self, status: StatusCode, body: &[u8]) -> Failure {
        let said: ErrorEnvelope = match serde_json::from_slice(body) {
            Ok(said) => said,
            Err(error) => {
                let attempted = format!("read what {} answered with {status}", self.job.address);
                return Failure::failed(attempted, error);
            }
        };
        let hint = said.error.hint.map_or(String::new(), |hint| format!("; {hint}"));
        let message = format!("{}{hint}", said.error.message);
        match status {
            StatusCode::BAD_REQUEST
            | StatusCode::NOT_FOUND
            | StatusCode::GONE
            | StatusCode::PAYLOAD_TOO_LARGE => Failure::Usage(message),
            _ => Failure::Failed(anyhow!(message)),
        }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", reached(self.job.address))
    }

    fn unreachable(&self, attempted: &str, error: reqwest::Error) -> Failure {
        Failure::failed(
            format!(
                "{attempted}: process {} runs a job on this directory and gave {} as its address",
                self.job.pid, self.job.address
            ),
            error,
        )
    }
}
