//! The job: the whole graph, the views it maintains, and the live side that it publishes.

pub mod config;
pub mod job;
pub mod live;
pub mod market;
pub mod newest;
mod publish;
mod seed;
pub mod views;

pub use config::{ConfigError, JobConfig};
pub use job::{Error, Job, JobOptions};
