//! A broker and a registry of one's own, with the topics of a venue, for tests and benches.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use k2_kafka::{
    ErrorKind, Feeder, Format, KafkaSettings, RegistrySettings, TopicName, TopicSpec, Topics,
    register,
};
use k2_model::{InstrumentTable, Origin, Reject};
use k2_operators::ingest::KafkaInput;
use k2_operators::ingest::kafka::{From, OnLost, OnRecreated};
use k2_operators::kit::dependency::Health;

use crate::parts::{Broker, BrokerOptions, Parts, Registry};

/// How long the last messages may take to be confirmed.
const FLUSH_PATIENCE: Duration = Duration::from_secs(60);
const NO_REGISTRY: &str = "the topics' schemas need a registry: name it with --registry";

/// A broker and a registry.
pub struct Cluster {
    pub broker: Broker,
    pub registry: Registry,
}

impl Cluster {
    pub fn start(parts: &Parts, options: BrokerOptions) -> Self {
        Self { broker: Broker::start(parts, options), registry: Registry::start(parts) }
    }

    /// How K2 finds both.
    pub fn settings(&self) -> KafkaSettings {
        settings(self.broker.address(), &self.registry.url())
    }

    /// Makes the topics of `venue`. Those of Avro get their schemas.
    ///
    /// # Panics
    /// If the broker or the registry will not.
    pub fn create_topics(&self, venue: &str, partitions: i32, format: Format) {
        create_topics(&self.settings(), venue, partitions, format).expect("both are up");
    }

    /// Writes all lines of `bytes`, which are messages of `venue`, and waits until they are in the
    /// topics. Answers those that could not be written.
    ///
    /// # Panics
    /// If a message is not delivered.
    pub fn write(&self, venue: &'static str, format: Format, bytes: &[u8]) -> Vec<Reject> {
        let mut feeder =
            Feeder::connect(&self.settings(), format, venue, &InstrumentTable::shipped())
                .expect("both are up");
        let written = feeder.feed_lines(bytes, Origin::new("written", 0), 0);
        let unwritten = written.expect("the topics are there");
        let flushed = feeder.publisher().producer().flush(FLUSH_PATIENCE);
        flushed.expect("everything is delivered");
        unwritten
    }
}

/// Makes the topics of `venue`, if they are not there; their names. Those of Avro get their schemas.
///
/// # Errors
/// The broker or the registry will not, or there is no registry for the schemas.
pub fn create_topics(
    settings: &KafkaSettings,
    venue: &str,
    partitions: i32,
    format: Format,
) -> k2_kafka::Result<Vec<TopicName>> {
    let names = TopicName::all_of(venue, &InstrumentTable::shipped())?;
    let specs = names.iter().map(|name| TopicSpec { partitions, ..TopicSpec::new(name) });
    Topics::connect(settings)?.create(&specs.collect::<Vec<_>>())?;
    if format == Format::Avro {
        let none = || k2_kafka::Error::new(ErrorKind::Setting, NO_REGISTRY);
        let registry = k2_kafka::Registry::new(settings.registry.as_ref().ok_or_else(none)?)?;
        names.iter().try_for_each(|name| register(&registry, name).map(drop))?;
    }
    Ok(names)
}

/// How K2 finds a broker and a registry that are not secured.
pub fn settings(broker: SocketAddr, registry: &str) -> KafkaSettings {
    let registry = RegistrySettings { url: registry.to_owned(), ..RegistrySettings::default() };
    let properties = [("reconnect.backoff.max.ms", "500")];
    let properties = properties.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let (brokers, properties) = (broker.to_string(), properties.into());
    KafkaSettings { brokers, properties, registry: Some(registry) }
}

/// All topics named `market.*`, from their start.
pub fn input(settings: KafkaSettings) -> KafkaInput {
    KafkaInput {
        settings,
        topics: "market.*".parse().expect("it is a pattern"),
        from: From::Earliest,
        on_recreated: OnRecreated::Stop,
        on_lost: OnLost::GoOn,
        formats: Default::default(),
        health: Arc::<Health>::default(),
    }
}
