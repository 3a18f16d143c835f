//! The Kafka that a bench measures with: one that was named, or else one of its own.

use std::process::Command;
use std::time::Duration;

use k2_harness::cluster::{Cluster, create_topics};
use k2_harness::parts::{BrokerOptions, Parts};
use k2_kafka::{Format, KafkaSettings, Topics};
use k2_model::codec::VENUES;
use k2_model::{Offsets, Origin};

use crate::run::{Error, k2};

const NO_PARTS: &str = "name a cluster with --brokers and --registry, or let K2_PARTS name the \
                        folder of a broker that scripts/parts/install.sh has filled";

/// A cluster that somebody named.
pub struct Named {
    pub settings: KafkaSettings,
    /// How a command of this program finds it too.
    pub arguments: Vec<String>,
}

/// Empty topics of one venue, and how to reach them.
pub(crate) struct Stage {
    pub settings: KafkaSettings,
    pub origins: Vec<Origin>,
    names: Vec<String>,
    arguments: Vec<String>,
    own: Option<Cluster>,
}

impl Stage {
    /// With topics of `partitions` each. `options` are those of a broker of one's own.
    pub fn set(
        named: Option<&Named>,
        options: BrokerOptions,
        partitions: i32,
        format: Format,
    ) -> Result<Self, Error> {
        let (settings, arguments, own) = match named {
            Some(named) => (named.settings.clone(), named.arguments.clone(), None),
            None => {
                let parts = Parts::find().ok_or_else(|| Error::Command(NO_PARTS.into()))?;
                let cluster = Cluster::start(&parts, options);
                let brokers = cluster.broker.address().to_string();
                let registry = cluster.registry.url();
                let arguments = ["--brokers", &brokers, "--registry", &registry];
                let arguments = arguments.map(str::to_owned).into();
                (cluster.settings(), arguments, Some(cluster))
            }
        };
        let names = create_topics(&settings, VENUES[0], partitions, format).map_err(failed)?;
        let names = names.iter().map(ToString::to_string).collect();
        let mut stage = Self { settings, origins: Vec::new(), names, arguments, own };
        stage.origins = stage.empty_partitions()?;
        Ok(stage)
    }

    /// All partitions, of which none may hold anything: what a bench reads is what it wrote.
    fn empty_partitions(&self) -> Result<Vec<Origin>, Error> {
        let client = Topics::connect(&self.settings).map_err(failed)?;
        let pattern = self.names.join(",").parse().map_err(failed)?;
        let found = client.list(&pattern).map_err(failed)?;
        let origins: Vec<Origin> = found.iter().flat_map(|topic| topic.origins()).collect();
        let ends = client.watermarks(&origins).map_err(failed)?;
        match ends.iter().find(|(_, ends)| ends.low < ends.high) {
            None => Ok(origins),
            Some((origin, _)) => Err(Error::Command(format!(
                "topic {} holds messages, and a bench measures with its own: delete the topic, or \
                 name no cluster",
                origin.source()
            ))),
        }
    }

    /// Where each partition ends now.
    pub fn ends(&self) -> Result<Offsets, Error> {
        let client = Topics::connect(&self.settings).map_err(failed)?;
        let ends = client.watermarks(&self.origins).map_err(failed)?;
        Ok(ends.iter().map(|(origin, ends)| (*origin, ends.high)).collect())
    }

    /// A command of this program that finds the cluster.
    pub fn command(&self, words: &[&str]) -> Result<Command, Error> {
        let mut command = k2(words)?;
        command.args(&self.arguments);
        Ok(command)
    }

    /// As [`Stage::command`], of one that reads the topics.
    pub fn reading(&self, words: &[&str]) -> Result<Command, Error> {
        let mut command = self.command(words)?;
        command.arg("--set").arg(format!("kafka.topics={}", self.names.join(",")));
        Ok(command)
    }

    /// What the broker has used so far, if it is our own.
    pub fn broker_cpu(&self) -> Option<Duration> {
        self.own.as_ref().map(|own| own.broker.cpu())
    }
}

pub(crate) fn failed(error: k2_kafka::Error) -> Error {
    Error::Command(error.to_string())
}
