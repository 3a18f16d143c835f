//! Queries: one engine over the live rows and the pinned tables, and HTTP in front of it.
//!
//! * [`Engine`] answers SQL at one exact frontier: live ∪ pinned snapshot, or tables alone.
//! * [`mod@format`] writes answers for people and programs, one text for one value everywhere.
//! * [`Server`] serves the engine, live subscriptions, health and metrics over HTTP.
//! * [`PgServer`] serves the engine over PostgreSQL's protocol.
//! * [`FlightServer`] serves the engine over Arrow Flight SQL.
//! * [`mod@access`] decides who may ask, what, and how often.

pub mod access;
mod answer;
mod at;
mod background;
mod catalog;
mod clocks;
mod columns;
mod composed;
mod config;
mod constraint;
mod correlation;
mod describe;
mod engine;
mod error;
mod explain;
pub mod flight;
pub mod format;
mod functions;
mod gaps;
mod hint;
pub mod http;
pub mod literal;
mod memory;
mod moments;
pub mod pg;
mod pg_catalog;
mod pinned;
mod placed;
mod planning;
mod request;
mod rewriting;
mod rounding;
mod schema;
mod seconds;
mod secret;
mod session;
mod spelling;
mod statement;
mod stop;
mod stream;
mod tables;
mod template;
mod texts;
mod views;
mod yielding;

pub use access::{Access, Concurrency};
pub use answer::{Answer, Meta, MomentMeta, OpenGap, OpenGaps, Sources};
pub use config::{EngineConfig, Limits, StreamLimits};
pub use engine::Engine;
pub use engine::stream::AnswerStream;
pub use error::{Error, ErrorKind, FieldError, Result};
pub use flight::{FlightConfig, FlightServer};
pub use format::{Format, RowsWriter, write_envelope, write_rows};
pub use http::{HealthSource, JobState, Server, ServerConfig, ServerState};
pub use k2_sinks::At;
pub use pg::{PgConfig, PgServer};
pub use planning::STACK_BYTES;
pub use request::{AsOf, Request, parse_at, parse_time};
pub use secret::Secret;
