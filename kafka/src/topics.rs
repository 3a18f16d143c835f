//! Topics: which there are, what they are, and making them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::thread;
use std::time::Duration;

use futures::executor::block_on;
use k2_model::Origin;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaResult;
use rdkafka::types::RDKafkaErrorCode as Code;

use crate::context::Context;
use crate::describe::{self, Description, Descriptions};
use crate::error::{Error, ErrorKind, Result};
use crate::redact::without_userinfo;
use crate::settings::{KafkaSettings, MESSAGE_BYTES_MAX, Role};
use crate::topic_name::{TopicName, TopicPattern, default_partitions};

/// How long a first broker may take to be reached.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);
/// How long an answer may take.
pub(crate) const ANSWER_PATIENCE: Duration = Duration::from_secs(10);
/// How long the making of topics may take.
const CREATE_PATIENCE: Duration = Duration::from_secs(30);
/// How long a new topic may take until every broker knows it: this many times this long.
const KNOWN_TRIES_MAX: usize = 200;
const KNOWN_NAP: Duration = Duration::from_millis(50);
/// Events of a client that are heard at a time.
const EVENTS_MAX: usize = 64;
/// What a batch has besides its one message, at most.
const BATCH_OVERHEAD_BYTES_MAX: usize = 64 << 10;

/// How long a topic keeps its messages, unless somebody says otherwise: 7 days.
pub const DEFAULT_RETENTION: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Asks a cluster about its topics, and makes new ones.
pub struct Topics {
    pub(crate) client: BaseConsumer<Context>,
    pub(crate) settings: KafkaSettings,
    cluster_id: String,
}

/// A topic that there is.
#[derive(Clone, PartialEq, Eq)]
pub struct TopicInfo {
    pub name: String,
    /// Another one if the topic was deleted and made again under its name.
    pub id: [u8; 16],
    pub partitions: i32,
}

/// A topic as it is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSpec {
    pub name: String,
    pub partitions: i32,
    /// How many brokers keep a copy; `None` leaves that to the brokers' default.
    pub replicas: Option<i32>,
    /// How long messages are kept.
    pub retention: Duration,
}

/// What became of a topic that was to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Creation {
    Created,
    /// It was there, with so many partitions, and was left as it is.
    Existed {
        partitions: i32,
    },
}

impl TopicInfo {
    /// Its partitions, as sources of messages.
    pub fn origins(&self) -> impl Iterator<Item = Origin> + '_ {
        (0..self.partitions).map(|partition| Origin::new(&self.name, partition))
    }
}

impl fmt::Debug for TopicInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = u128::from_be_bytes(self.id);
        write!(f, "{} ({} partitions, id {id:032x})", self.name, self.partitions)
    }
}

impl TopicSpec {
    /// With the defaults for its venue.
    pub fn new(name: &TopicName) -> Self {
        Self {
            name: name.to_string(),
            partitions: default_partitions(name.venue()),
            replicas: None,
            retention: DEFAULT_RETENTION,
        }
    }
}

impl Topics {
    /// Connects, and waits a few seconds for a first broker to answer.
    pub fn connect(settings: &KafkaSettings) -> Result<Self> {
        let attempt = format!("connect to Kafka at {}", without_userinfo(&settings.brokers));
        let config = settings.client_config(Role::Admin)?;
        let client: BaseConsumer<Context> = config
            .create_with_context(Context::default())
            .map_err(|error| Error::of_kafka(&attempt, &error, None))?;
        let mut topics = Self { client, settings: settings.clone(), cluster_id: String::new() };
        let id =
            describe::cluster_id(topics.client.client(), CONNECT_PATIENCE, || topics.may_succeed());
        topics.cluster_id = topics.told(&attempt, id)?.ok_or_else(|| {
            let text = format!("{attempt}: the brokers have no cluster id");
            Error::new(ErrorKind::Invalid, text).with_advice("K2 needs Kafka 2.8 or newer")
        })?;
        Ok(topics)
    }

    /// The id that the cluster gave itself when it was set up.
    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// The topics that `pattern` means, by name. A name in it without wildcards has to exist;
    /// Kafka's own topics are only meant by name.
    pub fn list(&self, pattern: &TopicPattern) -> Result<Vec<TopicInfo>> {
        let found = self.find(pattern)?;
        let is_missing = |name: &&str| !found.iter().any(|topic| topic.name == **name);
        match pattern.names().find(is_missing) {
            None => Ok(found),
            Some(name) => {
                let attempt = format!("find topic {name}");
                Err(Error::of_code(&attempt, Code::UnknownTopicOrPartition, None))
            }
        }
    }

    /// As [`Topics::list`], but what is named need not exist.
    pub fn find(&self, pattern: &TopicPattern) -> Result<Vec<TopicInfo>> {
        let attempt = format!("list topics {pattern}");
        let metadata = self.client.fetch_metadata(None, ANSWER_PATIENCE);
        let metadata = answered(&self.client, &attempt, metadata)?;
        let found = metadata.topics().iter().map(|topic| topic.name());
        let named: BTreeSet<&str> = pattern.names().collect();
        let mut names: BTreeSet<&str> = found.filter(|name| pattern.matches(name)).collect();
        names.extend(&named);
        let mut listed = Vec::new();
        for (name, described) in self.describe(&attempt, &names)? {
            let is_named = named.contains(name.as_str());
            match described {
                Ok(topic) if topic.is_internal && !is_named => {}
                Ok(topic) => {
                    let Description { id, partitions, .. } = topic;
                    listed.push(TopicInfo { name, id, partitions });
                }
                // It is only named, or was deleted since it was found.
                Err(Code::UnknownTopicOrPartition) => {}
                Err(code) => return Err(Error::of_code(&format!("find topic {name}"), code, None)),
            }
        }
        Ok(listed)
    }

    /// Makes the topics that there are not yet, and says for each, in the order of `specs`, what
    /// became of it. A topic that is there is left alone, whatever its partitions are.
    pub fn create(&self, specs: &[TopicSpec]) -> Result<Vec<Creation>> {
        let names: BTreeSet<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
        let mut existing: BTreeMap<String, i32> = BTreeMap::new();
        for (name, described) in self.describe("look for topics", &names)? {
            match described {
                Ok(topic) => _ = existing.insert(name, topic.partitions),
                Err(Code::UnknownTopicOrPartition) => {}
                Err(code) => return Err(Error::of_code(&format!("find topic {name}"), code, None)),
            }
        }
        let missing: BTreeMap<&str, &TopicSpec> = specs
            .iter()
            .filter(|spec| !existing.contains_key(&spec.name))
            .map(|spec| (spec.name.as_str(), spec))
            .collect();
        let lost_races = self.make(&missing)?;
        let known = self.wait_until_known(&missing.keys().copied().collect())?;
        existing.extend(known.into_iter().filter(|(name, _)| lost_races.contains(name)));
        let creation = |spec: &TopicSpec| match existing.get(&spec.name) {
            Some(&partitions) => Creation::Existed { partitions },
            None => Creation::Created,
        };
        Ok(specs.iter().map(creation).collect())
    }

    /// Makes topics; the names of those that somebody else made first come back.
    fn make(&self, specs: &BTreeMap<&str, &TopicSpec>) -> Result<BTreeSet<String>> {
        if specs.is_empty() {
            return Ok(BTreeSet::new());
        }
        let mut config = self.settings.client_config(Role::Admin)?;
        // It would be ignored, with a warning: this client is a producer to the library.
        config.remove("isolation.level");
        let admin: AdminClient<Context> = config
            .create_with_context(Context::default())
            .map_err(|error| Error::of_kafka("create topics", &error, None))?;
        let batch_bytes_max = (MESSAGE_BYTES_MAX + BATCH_OVERHEAD_BYTES_MAX).to_string();
        let retentions: Vec<String> =
            specs.values().map(|spec| spec.retention.as_millis().to_string()).collect();
        let topics = specs.values().zip(&retentions).map(|(spec, retention_ms)| {
            let replicas = TopicReplication::Fixed(spec.replicas.unwrap_or(-1));
            NewTopic::new(&spec.name, spec.partitions, replicas)
                .set("retention.ms", retention_ms)
                .set("max.message.bytes", &batch_bytes_max)
                // Stored as the producer has packed them.
                .set("compression.type", "producer")
        });
        let topics: Vec<NewTopic<'_>> = topics.collect();
        let options = AdminOptions::new()
            .request_timeout(Some(CREATE_PATIENCE))
            .operation_timeout(Some(CREATE_PATIENCE));
        let results = block_on(admin.create_topics(&topics, &options))
            .map_err(|error| Error::of_kafka("create topics", &error, None))?;
        let mut lost_races = BTreeSet::new();
        for result in results {
            match result {
                Ok(_) => {}
                Err((name, Code::TopicAlreadyExists)) => _ = lost_races.insert(name),
                Err((name, code)) => {
                    return Err(Error::of_code(&format!("create topic {name}"), code, None));
                }
            }
        }
        Ok(lost_races)
    }

    /// A topic that the controller has made is not yet known to every broker.
    fn wait_until_known(&self, names: &BTreeSet<&str>) -> Result<BTreeMap<String, i32>> {
        let mut known = BTreeMap::new();
        for _ in 0..KNOWN_TRIES_MAX {
            let unknown: BTreeSet<&str> =
                names.iter().copied().filter(|name| !known.contains_key(*name)).collect();
            if unknown.is_empty() {
                return Ok(known);
            }
            for (name, described) in self.describe("look for new topics", &unknown)? {
                if let Ok(topic) = described {
                    known.insert(name, topic.partitions);
                }
            }
            if known.len() < names.len() {
                thread::sleep(KNOWN_NAP);
            }
        }
        let text = "create topics: the brokers made them, but do not know of them yet";
        Err(Error::new(ErrorKind::Unavailable, text).with_advice("try again"))
    }

    /// What there is to know of each of `names`; unknown if the broker does not mention it.
    pub(crate) fn describe(&self, attempt: &str, names: &BTreeSet<&str>) -> Result<Descriptions> {
        if names.is_empty() {
            return Ok(Descriptions::new());
        }
        let client = self.client.client();
        let told = describe::topics(client, names, ANSWER_PATIENCE, || self.may_succeed());
        let mut described = self.told(attempt, told)?;
        for name in names {
            let unknown = Err(Code::UnknownTopicOrPartition);
            described.entry((*name).to_owned()).or_insert(unknown);
        }
        Ok(described)
    }

    fn told<T>(&self, attempt: &str, answer: Result<T, Code>) -> Result<T> {
        answered_by(&self.client, answer, |context, code| context.explain(attempt, code))
    }

    /// Whether there is still a point in waiting.
    fn may_succeed(&self) -> bool {
        hear(&self.client);
        !self.client.context().trouble().is_some_and(|trouble| trouble.is_final())
    }
}

/// The answer to a call of `client`, or an error with what the connection reported meanwhile.
pub(crate) fn answered<T>(
    client: &BaseConsumer<Context>,
    attempt: &str,
    answer: KafkaResult<T>,
) -> Result<T> {
    answered_by(client, answer, |context, error| context.explain_error(attempt, &error))
}

fn answered_by<T, E>(
    client: &BaseConsumer<Context>,
    answer: Result<T, E>,
    explain: impl FnOnce(&Context, E) -> Error,
) -> Result<T> {
    hear(client);
    let context = client.context();
    if answer.is_ok() {
        context.forget();
    }
    answer.map_err(|error| explain(context, error))
}

/// Lets the client tell what it has to tell; without this it keeps it to itself.
fn hear(client: &BaseConsumer<Context>) {
    for _ in 0..EVENTS_MAX {
        // Only errors come this way, and the context has noted them already.
        drop(client.poll(Duration::ZERO));
    }
}
