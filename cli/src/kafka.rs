//! Kafka as a person names it: flags, and the section `kafka` of the configuration.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use chrono::DateTime;
use clap::Args;
use k2_kafka::{Format, KafkaSettings, RegistrySettings, Role, TopicPattern};
use k2_model::Nanos;
use k2_operators::ingest::KafkaInput;
use k2_operators::ingest::kafka::{From, OnLost, OnRecreated};
use k2_operators::kit::dependency::Health;

use crate::failure::{Failure, Result, nearest};
use crate::layers::Layers;

/// Keys of the section that are not librdkafka's. Besides: `formats.TOPIC`.
pub const OWN_KEYS: [&str; 9] = [
    "brokers",
    "topics",
    "from",
    "on_recreated_topic",
    "on_lost_offsets",
    "registry",
    "registry_user",
    "registry_password",
    "registry_ca",
];
const FORMATS: &str = "formats.";
const TOPICS_DEFAULT: &str = "market.*";

/// Where Kafka and its registry are.
#[derive(Args, Clone, Debug, Default)]
pub struct ClusterArgs {
    /// Kafka brokers to begin with: host:port, separated by commas [env: K2_KAFKA_BROKERS]
    #[arg(long, value_name = "HOST:PORT,…")]
    pub brokers: Option<String>,
    /// Schema registry; its path may have a prefix [env: K2_KAFKA_REGISTRY]
    #[arg(long, value_name = "URL")]
    pub registry: Option<String>,
    /// Any setting of the configuration, may be repeated; kafka.* goes to librdkafka, as in
    /// kafka.security.protocol=SASL_SSL. A secret is better off in the environment:
    /// K2_KAFKA_SASL_PASSWORD
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,
}

/// What the section says, once it is understood.
#[derive(Clone)]
pub struct KafkaOptions {
    /// `None`: no brokers are named.
    pub settings: Option<KafkaSettings>,
    pub topics: TopicPattern,
    pub from: From,
    pub on_recreated: OnRecreated,
    pub on_lost: OnLost,
    pub formats: BTreeMap<String, Format>,
}

impl ClusterArgs {
    /// The configuration: `file`, or `k2.toml` if there is one; the environment; these flags.
    pub fn layers(&self, file: Option<&Path>) -> Result<Layers> {
        let mut layers = Layers::read(file, std::env::vars(), &self.sets)?;
        layers.set_kafka("brokers", self.brokers.as_deref());
        layers.set_kafka("registry", self.registry.as_deref());
        Ok(layers)
    }

    /// The same flags, for another command.
    pub fn arguments(&self) -> Vec<String> {
        let named = [("--brokers", &self.brokers), ("--registry", &self.registry)];
        let named = named.into_iter().filter_map(|(flag, value)| Some((flag, value.clone()?)));
        let sets = self.sets.iter().map(|set| ("--set", set.clone()));
        named.chain(sets).flat_map(|(flag, value)| [flag.to_owned(), value]).collect()
    }

    /// What all of it says of Kafka, for a command that runs by itself.
    pub fn options(&self) -> Result<KafkaOptions> {
        KafkaOptions::of(&self.layers(None)?)
    }
}

impl KafkaOptions {
    /// Understands the section.
    ///
    /// # Errors
    /// A key is none of ours nor of librdkafka's, or its value cannot work. No secret is in it.
    pub fn of(layers: &Layers) -> Result<Self> {
        let mut keys = layers.kafka.clone();
        let formats = formats_of(&mut keys)?;
        let mut own: BTreeMap<&str, String> = BTreeMap::new();
        for key in OWN_KEYS {
            own.extend(keys.remove(key).map(|value| (key, value)));
        }
        let mut take = |key: &str| own.remove(key).filter(|value| !value.trim().is_empty());
        let brokers = take("brokers");
        let registry = take("registry");
        let options = Self {
            settings: None,
            topics: pattern(&take("topics").unwrap_or_else(|| TOPICS_DEFAULT.into()))?,
            from: take("from").map_or(Ok(From::Earliest), |text| from_text(&text))?,
            on_recreated: choice(
                "on_recreated_topic",
                take("on_recreated_topic"),
                &[("stop", OnRecreated::Stop), ("restart", OnRecreated::Restart)],
            )?,
            on_lost: choice(
                "on_lost_offsets",
                take("on_lost_offsets"),
                &[("go-on", OnLost::GoOn), ("stop", OnLost::Stop)],
            )?,
            formats,
        };
        let (user, password) = (take("registry_user"), take("registry_password"));
        let ca = take("registry_ca").map(Into::into);
        let registry = registry.map(|url| RegistrySettings { url, user, password, ca });
        let Some(brokers) = brokers else {
            return match keys.into_keys().next() {
                Some(key) if registry.is_none() => Err(Failure::usage(format!(
                    "kafka.{key} is set, but no brokers are named: give --brokers host:port"
                ))),
                _ => Ok(options),
            };
        };
        let settings = KafkaSettings { brokers, properties: keys, registry };
        check(&settings)?;
        Ok(Self { settings: Some(settings), ..options })
    }

    /// The settings, of a command that cannot do without.
    pub fn required(&self) -> Result<&KafkaSettings> {
        self.settings.as_ref().ok_or_else(|| {
            Failure::usage(
                "name the Kafka brokers: --brokers host:port, K2_KAFKA_BROKERS, or brokers in \
                 [kafka] of k2.toml",
            )
        })
    }

    /// What a job reads; `None` if no brokers are named.
    pub fn input(&self, health: Arc<Health>) -> Option<KafkaInput> {
        Some(KafkaInput {
            settings: self.settings.clone()?,
            topics: self.topics.clone(),
            from: self.from,
            on_recreated: self.on_recreated,
            on_lost: self.on_lost,
            formats: self.formats.clone(),
            health,
        })
    }
}

/// Everything that can be known to be wrong before a broker is asked.
fn check(settings: &KafkaSettings) -> Result<()> {
    for role in [Role::Consumer, Role::Producer, Role::Admin] {
        settings.client_config(role).map_err(|error| Failure::usage(error.to_string()))?;
    }
    if let Some(registry) = &settings.registry {
        k2_kafka::Registry::new(registry).map_err(|error| Failure::usage(error.to_string()))?;
    }
    Ok(())
}

fn formats_of(keys: &mut BTreeMap<String, String>) -> Result<BTreeMap<String, Format>> {
    let named: Vec<String> = keys.keys().filter(|key| key.starts_with(FORMATS)).cloned().collect();
    let mut formats = BTreeMap::new();
    for key in named {
        let value = keys.remove(&key).unwrap_or_default();
        let format = value
            .parse()
            .map_err(|error: String| Failure::usage(format!("kafka.{key}: {error}")))?;
        formats.insert(key[FORMATS.len()..].to_owned(), format);
    }
    Ok(formats)
}

fn pattern(text: &str) -> Result<TopicPattern> {
    text.parse().map_err(|error: k2_kafka::Error| Failure::usage(error.to_string()))
}

/// `earliest`, `latest`, or a time: ISO 8601 with a zone, or nanoseconds since 1970.
fn from_text(text: &str) -> Result<From> {
    match text {
        "earliest" => Ok(From::Earliest),
        "latest" => Ok(From::Latest),
        time => {
            let parsed = DateTime::parse_from_rfc3339(time).ok();
            let nanos = parsed.and_then(|time| time.timestamp_nanos_opt());
            nanos.or_else(|| time.parse().ok()).map(|nanos| From::At(Nanos(nanos))).ok_or_else(
                || {
                    Failure::usage(format!(
                        "--from {time}: give earliest, latest, or a time as 2026-01-31T09:30:00Z"
                    ))
                },
            )
        }
    }
}

fn choice<T: Copy + Default>(key: &str, given: Option<String>, known: &[(&str, T)]) -> Result<T> {
    let Some(given) = given else { return Ok(T::default()) };
    let wanted = given.replace('_', "-");
    let found = known.iter().find(|(name, _)| *name == wanted).map(|(_, value)| *value);
    found.ok_or_else(|| {
        let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
        let hint = nearest(&wanted, &names).map(|name| format!("; did you mean {name}?"));
        Failure::usage(format!(
            "kafka.{key} is {given}, but there are only {}{}",
            names.join(" and "),
            hint.unwrap_or_default()
        ))
    })
}
