//! Benches: each file asks one question, prints its answer with the machine, the median of runs
//! and the ratio to its budget, and can keep the result.

#![allow(clippy::disallowed_methods, reason = "a bench measures with the clock")]

pub mod dedup;
pub mod freshness;
pub mod kafka;
mod latency;
pub mod query;
pub mod replay;
mod report;
pub mod restart;
mod run;
mod stage;
pub mod storage;
pub mod subscribers;

pub use report::{Figure, Processors, Report};
pub use run::Error;
pub use stage::Named;
