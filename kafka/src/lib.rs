//! The client side of Kafka: settings, topics, offsets, the schema registry, and a producer.
//!
//! Knows librdkafka and HTTP; knows no timely, no Iceberg and no command line.
#![deny(unsafe_code)]

mod context;
mod error;
mod properties;
mod redact;
mod settings;

pub use context::{Context, Trouble};
pub use error::{Error, ErrorKind, Result};
pub use settings::{KafkaSettings, MESSAGE_BYTES_MAX, RegistrySettings, Role};
