//! What a user says about Kafka and the registry, and what becomes of it for librdkafka.
//!
//! K2 has its own values for each role, the user's stand over them, and a few belong to K2 alone
//! because what it promises rests on them.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::path::PathBuf;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaConfRes;

use crate::error::{Error, ErrorKind, Result};
use crate::format::Format;
use crate::properties::{self, User, canonical};
use crate::redact::{HIDDEN, is_secret, shown, without_userinfo};

/// Bytes of the largest message: key, value, and the few dozen that Kafka adds.
pub const MESSAGE_BYTES_MAX: usize = 8 << 20;

/// Where Kafka is and how to talk to it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct KafkaSettings {
    /// `host:port`, several separated by commas.
    pub brokers: String,
    /// Properties of librdkafka, by its own names.
    pub properties: BTreeMap<String, String>,
    /// Where Avro schemas are, if there are any.
    pub registry: Option<RegistrySettings>,
}

/// Where the schema registry is and how to log in.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct RegistrySettings {
    /// With whatever path the registry's own paths begin below.
    pub url: String,
    pub user: Option<String>,
    pub password: Option<String>,
    /// A file with the certificates to trust, in PEM.
    pub ca: Option<PathBuf>,
}

/// What a client is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Consumer,
    Producer,
    /// Asks about topics and offsets, and makes topics.
    Admin,
}

/// For every client.
const COMMON: [(&str, &str); 5] = [
    // What K2 measures of itself it offers itself; brokers are sent nothing that nobody asked for.
    ("enable.metrics.push", "false"),
    ("client.id", "k2"),
    // A topic that is misspelt is an error, and not a new topic.
    ("allow.auto.create.topics", "false"),
    ("reconnect.backoff.max.ms", "10000"),
    ("socket.keepalive.enable", "true"),
];

/// Memory is bounded by the queue, which holds half a second of the fastest reading; what is
/// fetched at once is bounded so that it fits.
const CONSUMER: [(&str, &str); 12] = [
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("enable.partition.eof", "true"),
    ("auto.offset.reset", "error"),
    ("isolation.level", "read_committed"),
    ("check.crcs", "true"),
    // How long the broker waits when it has nothing: a new message is sent at once in any case.
    ("fetch.wait.max.ms", "50"),
    // The library's own value, a second, lets a fast reader starve whenever the queue was full.
    ("fetch.queue.backoff.ms", "1"),
    ("fetch.message.max.bytes", "1048576"),
    ("fetch.max.bytes", "16777216"),
    ("queued.min.messages", "200000"),
    ("queued.max.messages.kbytes", "65536"),
];

const PRODUCER: [(&str, &str); 7] = [
    ("enable.idempotence", "true"),
    ("acks", "all"),
    ("compression.codec", "lz4"),
    // The hash that Java producers take, so that a key has one partition whoever writes it.
    ("partitioner", "murmur2_random"),
    // How long a message waits for others to share its batch. At speed batches are full anyway.
    ("linger.ms", "5"),
    // Messages in flight stay in the processor's cache: four times as many cost a tenth more each,
    // and half as many leave no room for partitions to fill their batches.
    ("queue.buffering.max.messages", "50000"),
    ("queue.buffering.max.kbytes", "65536"),
];

/// Properties that a user may not set, and why.
const OWNED: [(&str, &str); 10] = [
    ("enable.metrics.push", "K2 has metrics of its own, and sends brokers none"),
    ("bootstrap.servers", "kafka.brokers says it"),
    ("auto.offset.reset", "messages that are gone must stop the job, not be skipped in silence"),
    ("enable.auto.commit", "K2 commits offsets together with the rows that came from them"),
    ("enable.auto.offset.store", "K2 commits offsets together with the rows that came from them"),
    ("enable.partition.eof", "K2 tells by it that it has caught up"),
    ("group.instance.id", "K2 assigns partitions itself, and joins no group"),
    ("enable.idempotence", "without it a message that is sent again may come twice"),
    ("delivery.report.only.error", "K2 counts what was delivered"),
    ("log.queue", "K2 reads what librdkafka logs"),
];

impl KafkaSettings {
    /// How records are written unless somebody says: Avro where there is a registry.
    pub fn format_default(&self) -> Format {
        if self.registry.is_some() { Format::Avro } else { Format::Raw }
    }

    /// The configuration of a client. What it returns holds the user's secrets: never show it.
    pub fn client_config(&self, role: Role) -> Result<ClientConfig> {
        let chosen = self.chosen()?;
        let brokers = self.brokers.trim();
        if brokers.is_empty() {
            let error = Error::new(ErrorKind::Setting, "kafka.brokers is empty");
            return Err(error.with_advice("set it to host:port of a broker"));
        }
        let mut config = ClientConfig::new();
        config.set_log_level(RDKafkaLogLevel::Info);
        for (key, value) in defaults(role) {
            config.set(canonical(key), value);
        }
        for (key, value) in chosen {
            if heeds(role, key) {
                config.set(key, value);
            }
        }
        if config.get("debug").is_some_and(|contexts| !contexts.is_empty()) {
            config.set_log_level(RDKafkaLogLevel::Debug);
        }
        config.set(canonical("bootstrap.servers"), brokers);
        Ok(config)
    }

    /// The user's properties under their canonical names, each known to be good.
    fn chosen(&self) -> Result<BTreeMap<&str, &str>> {
        let mut chosen = BTreeMap::new();
        let mut spelt: BTreeMap<&str, &str> = BTreeMap::new();
        for (key, value) in &self.properties {
            let name = canonical(key);
            if let Some((_, reason)) = OWNED.iter().find(|(owned, _)| canonical(owned) == name) {
                let text = format!("kafka.{key} is K2's own to set: {reason}");
                return Err(Error::new(ErrorKind::Setting, text).with_advice("take it out"));
            }
            if let Some(other) = spelt.insert(name, key) {
                let text = format!("kafka.{other} and kafka.{key} are the same property");
                return Err(Error::new(ErrorKind::Setting, text).with_advice("keep one of them"));
            }
            check_value(key, value)?;
            check_file(key, value)?;
            chosen.insert(name, value.as_str());
        }
        Ok(chosen)
    }
}

fn defaults(role: Role) -> impl Iterator<Item = (&'static str, String)> {
    let of_role: &[(&str, &str)] = match role {
        Role::Consumer => &CONSUMER,
        Role::Producer => &PRODUCER,
        // Offsets are asked for as the consumer would see them.
        Role::Admin => &[("isolation.level", "read_committed")],
    };
    let of_role = of_role.iter().chain(&COMMON).map(|(key, value)| (*key, (*value).to_owned()));
    of_role.chain([("message.max.bytes", MESSAGE_BYTES_MAX.to_string())])
}

/// Whether a client of `role` looks at the property: librdkafka warns about the others.
fn heeds(role: Role, key: &str) -> bool {
    if key == "isolation.level" {
        // Up to where a partition can be read depends on it.
        return role != Role::Producer;
    }
    match properties::find(key).map_or(User::Both, |property| property.user) {
        User::Both => true,
        User::Consumer => role == Role::Consumer,
        User::Producer => role == Role::Producer,
    }
}

/// Lets librdkafka judge the property by itself.
fn check_value(key: &str, value: &str) -> Result<()> {
    let set = ClientConfig::new().set(key, value).create_native_config();
    let (result, text) = match set {
        Ok(_) => return Ok(()),
        // The text repeats the value, and so does the error itself.
        Err(KafkaError::ClientConfig(result, text, ..)) => (result, text),
        Err(_) => (RDKafkaConfRes::RD_KAFKA_CONF_INVALID, "it holds a NUL byte".into()),
    };
    if result == RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN {
        let error =
            Error::new(ErrorKind::Setting, format!("kafka.{key} is no property of librdkafka"));
        return Err(match properties::nearest(key) {
            Some(nearest) => error.with_advice(format!("did you mean kafka.{nearest}?")),
            None => error.with_advice("its documentation lists all of them"),
        });
    }
    let text = if is_secret(key) { HIDDEN.into() } else { without_userinfo(text.trim()) };
    let value = shown(key, value);
    Err(Error::new(ErrorKind::Setting, format!("set kafka.{key} to {value:?}: {text}")))
}

/// A file that librdkafka would open later, and then name no setting in its error.
fn check_file(key: &str, value: &str) -> Result<()> {
    let is_probe = key == "ssl.ca.location" && value == "probe";
    if !key.ends_with(".location") || value.is_empty() || is_probe {
        return Ok(());
    }
    File::open(value).map(drop).map_err(|source| {
        let error =
            Error::new(ErrorKind::Setting, format!("read {value}, which kafka.{key} names"));
        error.with_source(source)
    })
}

impl fmt::Debug for KafkaSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let properties: BTreeMap<_, _> =
            self.properties.iter().map(|(key, value)| (key, shown(key, value))).collect();
        f.debug_struct("KafkaSettings")
            .field("brokers", &without_userinfo(&self.brokers))
            .field("properties", &properties)
            .field("registry", &self.registry)
            .finish()
    }
}

impl fmt::Debug for RegistrySettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistrySettings")
            .field("url", &without_userinfo(&self.url))
            .field("user", &self.user)
            .field("password", &self.password.as_ref().map(|_| HIDDEN))
            .field("ca", &self.ca)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const ROLES: [Role; 3] = [Role::Consumer, Role::Producer, Role::Admin];

    fn settings(properties: &[(&str, &str)]) -> KafkaSettings {
        let properties =
            properties.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
        KafkaSettings { brokers: "127.0.0.1:9092".into(), properties, registry: None }
    }

    fn refused(properties: &[(&str, &str)]) -> Error {
        let error = settings(properties).client_config(Role::Consumer).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Setting, "{error}");
        assert!(!error.retryable());
        error
    }

    #[test]
    fn each_role_has_what_librdkafka_takes() {
        for role in ROLES {
            let config = settings(&[]).client_config(role).unwrap();
            let native = config.create_native_config().unwrap();
            assert_eq!(native.get("bootstrap.servers").unwrap(), "127.0.0.1:9092");
            assert_eq!(native.get("message.max.bytes").unwrap(), "8388608");
        }
        let consumer = settings(&[]).client_config(Role::Consumer).unwrap();
        assert_eq!(consumer.get("auto.offset.reset"), Some("error"));
        assert_eq!(consumer.get("isolation.level"), Some("read_committed"));
        let producer = settings(&[]).client_config(Role::Producer).unwrap();
        assert_eq!(producer.get("enable.idempotence"), Some("true"));
        assert_eq!(producer.get("partitioner"), Some("murmur2_random"));
    }

    #[test]
    fn a_users_property_stands_over_ours_under_any_of_its_names() {
        for key in ["linger.ms", "queue.buffering.max.ms"] {
            let config = settings(&[(key, "7")]).client_config(Role::Producer).unwrap();
            let native = config.create_native_config().unwrap();
            assert_eq!(native.get("linger.ms").unwrap(), "7", "{key}");
        }
        let error = refused(&[("linger.ms", "7"), ("queue.buffering.max.ms", "8")]).to_string();
        assert!(error.contains("linger.ms") && error.contains("buffering.max.ms"), "{error}");
    }

    #[test]
    fn a_property_of_one_role_does_not_reach_the_other() {
        let both = settings(&[("fetch.min.bytes", "9"), ("linger.ms", "7"), ("client.id", "me")]);
        let consumer = both.client_config(Role::Consumer).unwrap();
        let found = (consumer.get("fetch.min.bytes"), consumer.get("queue.buffering.max.ms"));
        assert_eq!(found, (Some("9"), None));
        let producer = both.client_config(Role::Producer).unwrap();
        let found = (producer.get("fetch.min.bytes"), producer.get("queue.buffering.max.ms"));
        assert_eq!(found, (None, Some("7")));
        assert_eq!(both.client_config(Role::Admin).unwrap().get("client.id"), Some("me"));
    }

    #[test]
    fn what_k2_must_own_cannot_be_set_under_any_name() {
        let tries = [
            ("auto.offset.reset", "latest"),
            ("topic.auto.offset.reset", "latest"),
            ("metadata.broker.list", "other:9092"),
            ("enable.auto.commit", "true"),
            ("group.instance.id", "me"),
            ("enable.idempotence", "false"),
        ];
        for (key, value) in tries {
            let error = refused(&[(key, value)]).to_string();
            assert!(error.contains(&format!("kafka.{key} is K2's own to set: ")), "{error}");
        }
    }

    #[test]
    fn an_unknown_property_leads_to_the_nearest_one() {
        let error = refused(&[("sasl.user.name", "me")]).to_string();
        assert!(error.contains("kafka.sasl.user.name"), "{error}");
        assert!(error.ends_with("did you mean kafka.sasl.username?"), "{error}");
    }

    #[test]
    fn a_bad_value_names_its_setting() {
        let error = refused(&[("fetch.wait.max.ms", "soon")]).to_string();
        assert!(error.starts_with("set kafka.fetch.wait.max.ms to \"soon\": "), "{error}");
        let error = refused(&[("client.id", "a\0b")]).to_string();
        assert!(error.contains("kafka.client.id") && error.contains("NUL"), "{error}");
    }

    #[test]
    fn a_file_that_cannot_be_read_names_its_setting() {
        let error = refused(&[("ssl.ca.location", "/no/such/ca.pem")]).to_string();
        assert!(error.contains("/no/such/ca.pem, which kafka.ssl.ca.location names"), "{error}");
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"x").unwrap();
        let path = file.path().to_str().unwrap().to_owned();
        settings(&[("ssl.ca.location", &path)]).client_config(Role::Consumer).unwrap();
        settings(&[("ssl.ca.location", "probe")]).client_config(Role::Consumer).unwrap();
    }

    #[test]
    fn no_brokers_is_an_error_that_says_so() {
        let error = KafkaSettings::default().client_config(Role::Admin).unwrap_err().to_string();
        assert!(error.contains("kafka.brokers"), "{error}");
    }

    #[test]
    fn no_secret_is_in_a_debug_output_or_an_error() {
        const SECRET: &str = "hunter2";
        let url = format!("https://me:{SECRET}@registry:8081");
        let mut with_secrets = settings(&[
            ("sasl.password", SECRET),
            ("ssl.key.password", SECRET),
            ("ssl.key.pem", SECRET),
            ("ssl.keystore.password", SECRET),
            ("sasl.oauthbearer.client.secret", SECRET),
            ("sasl.oauthbearer.config", &format!("password={SECRET}")),
            ("sasl.oauthbearer.token.endpoint.url", &url),
        ]);
        let registry = RegistrySettings {
            url,
            user: Some("me".into()),
            password: Some(SECRET.into()),
            ca: None,
        };
        with_secrets.registry = Some(registry);
        let debug = format!("{with_secrets:#?}");
        assert!(!debug.contains(SECRET), "{debug}");
        assert!(debug.contains("sasl.password") && debug.contains(HIDDEN), "{debug}");
        // Each of these is wrong in another way, and each error repeats what was set.
        let wrong = [
            ("sasl.jaas.config", SECRET.to_owned()),
            ("sasl.password", format!("{SECRET}\0")),
            ("sasl.pasword", SECRET.to_owned()),
            ("fetch.wait.max.ms", format!("http://me:{SECRET}@h")),
        ];
        for (key, value) in wrong {
            let error = refused(&[(key, &value)]);
            assert!(!format!("{error} {error:?}").contains(SECRET), "{error:?}");
        }
    }
}
