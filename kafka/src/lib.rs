//! The client side of Kafka: settings, topics, offsets, the schema registry, and a producer.
//!
//! Knows librdkafka and HTTP; knows no timely, no Iceberg and no command line.
#![deny(unsafe_code)]

mod circuit;
mod consumer;
mod context;
#[allow(unsafe_code)]
mod describe;
mod error;
mod feeder;
mod format;
mod low_water;
#[allow(unsafe_code)]
mod native;
mod offsets;
mod producer;
mod properties;
mod publisher;
mod redact;
mod registry;
mod settings;
mod topic_name;
mod topics;

pub use circuit::{Circuit, CircuitPolicy, CircuitState};
pub use consumer::{Assigned, Consumer, Delivery, Failure, FailureKind, GROUP_DEFAULT};
pub use context::{Context, Trouble};
pub use error::{Error, ErrorKind, Result};
pub use feeder::Feeder;
pub use format::Format;
pub use low_water::LowWater;
pub use offsets::Watermarks;
pub use producer::{
    Deliveries, DeliveryFailure, FAILURES_KEPT_MAX, Message, Producer, ProducerOptions,
};
pub use publisher::{Publisher, register};
pub use registry::{Compatibility, Registry, value_subject};
pub use settings::{KafkaSettings, MESSAGE_BYTES_MAX, RegistrySettings, Role};
pub use topic_name::{TopicName, TopicPattern, asset_class, default_partitions};
pub use topics::{Creation, DEFAULT_RETENTION, TopicInfo, TopicSpec, Topics};
