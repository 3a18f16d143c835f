//! The settings of a job: its configuration and its instruments.
//!
//! What a job ran with stays in the data directory, so that a query on the directory alone judges
//! bars and gaps as the job did.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use k2_dataflows::JobConfig;
use k2_model::InstrumentTable;
use k2_serve::{Concurrency, EngineConfig, Limits, StreamLimits};
use serde::{Deserialize, Serialize};

use crate::failure::{Failure, Result};
use crate::kafka::KafkaOptions;
use crate::layers::Layers;

const NAME: &str = "settings.json";

/// What was given besides the defaults. Nothing secret is among it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    /// The sections of the job, in TOML.
    config: Option<String>,
    instruments: Option<String>,
    /// Where the topics are that it reads.
    #[serde(default)]
    cluster: BTreeMap<String, String>,
}

/// Of the section `kafka` what a later command needs to find the same topics.
const KEPT_KEYS: [&str; 3] = ["brokers", "registry", "topics"];

/// What a job runs with.
#[derive(Clone)]
pub struct Settings {
    given: Given,
    pub config: JobConfig,
    pub instruments: InstrumentTable,
    pub kafka: KafkaOptions,
}

impl Settings {
    /// The defaults, with `layers` and the instruments of a file over them.
    pub fn of(layers: &Layers, instruments: Option<&Path>) -> Result<Self> {
        let config = (!layers.job.is_empty()).then(|| layers.job.to_string());
        let kept = layers.kafka.iter().filter(|(key, _)| KEPT_KEYS.contains(&key.as_str()));
        let given = Given {
            config,
            instruments: instruments.map(instruments_text).transpose()?,
            cluster: kept.map(|(key, value)| (key.clone(), value.clone())).collect(),
        };
        let shown = instruments.unwrap_or(Path::new("")).display().to_string();
        Self::understood(given, layers, &shown)
    }

    fn understood(given: Given, layers: &Layers, instruments_from: &str) -> Result<Self> {
        let config = JobConfig::from_table(layers.job.clone())
            .map_err(|error| Failure::usage(format!("configuration {}: {error}", layers.from)))?;
        let instruments = instruments_of(given.instruments.as_deref(), instruments_from)?;
        let kafka = KafkaOptions::of(layers)?;
        Ok(Self { given, config, instruments, kafka })
    }

    /// Leaves the settings in `directory`.
    pub fn keep(&self, directory: &Path) -> Result {
        let temporary = directory.join(format!(".{NAME}"));
        let written = serde_json::to_string(&self.given)
            .map_err(io::Error::other)
            .and_then(|text| fs::write(&temporary, text + "\n"))
            .and_then(|()| fs::rename(&temporary, directory.join(NAME)));
        written.map_err(|error| {
            Failure::failed(format!("leave the settings in {}", directory.display()), error)
        })
    }

    /// The settings of the latest job in `directory`; the defaults if there was none. `layers`
    /// stand over what it says of Kafka.
    pub fn kept(directory: &Path, layers: Layers) -> Result<Self> {
        let path = directory.join(NAME);
        let shown = path.display().to_string();
        let given: Given = match fs::read_to_string(&path) {
            Ok(text) => serde_json::from_str(&text)
                .map_err(|error| Failure::failed(format!("read {shown}"), error))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Given::default(),
            Err(error) => return Err(Failure::failed(format!("read {shown}"), error)),
        };
        let job = given.config.as_deref().unwrap_or_default();
        let job = job.parse().map_err(|error| Failure::failed(format!("read {shown}"), error))?;
        let mut kafka = given.cluster.clone();
        kafka.extend(layers.kafka);
        Self::understood(given, &Layers { job, kafka, from: shown.clone() }, &shown)
    }

    /// How questions are answered under these settings.
    pub fn engine_config(&self) -> EngineConfig {
        let lateness = Duration::from_secs(self.config.views.lateness_s);
        let queries = &self.config.queries;
        EngineConfig {
            lateness_ns: i64::try_from(lateness.as_nanos()).unwrap_or(i64::MAX),
            severity: self.config.gaps,
            instruments: Arc::new(self.instruments.clone()),
            limits: Limits {
                rows_max: queries.rows_max,
                memory_bytes_max: queries.query_memory_bytes,
                time_max: Duration::from_secs(queries.time_s),
            },
            concurrency: Concurrency {
                running_max: queries.running_max,
                waiting_max: queries.waiting_max,
            },
            memory_bytes_max: queries.memory_bytes,
            streams: StreamLimits {
                subscribers_max: self.config.streams.subscribers_max,
                history_bytes: self.config.streams.history_bytes,
                linger: Duration::from_secs(self.config.streams.linger_s),
            },
            ..EngineConfig::default()
        }
    }
}

/// The instruments that K2 knows, with those of a file over them.
pub fn instruments(path: Option<&Path>) -> Result<InstrumentTable> {
    let text = path.map(instruments_text).transpose()?;
    let shown = path.unwrap_or(Path::new("")).display().to_string();
    instruments_of(text.as_deref(), &shown)
}

fn instruments_text(path: &Path) -> Result<String> {
    fs::read_to_string(path)
        .map_err(|error| Failure::failed(format!("read --instruments {}", path.display()), error))
}

fn instruments_of(text: Option<&str>, from: &str) -> Result<InstrumentTable> {
    let mut instruments = InstrumentTable::shipped();
    if let Some(text) = text {
        let extended = instruments.extend_from_toml(text);
        extended.map_err(|error| Failure::usage(format!("instruments {from}: {error}")))?;
    }
    Ok(instruments)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layers(sets: &[&str]) -> Layers {
        let sets: Vec<String> = sets.iter().map(|set| (*set).into()).collect();
        Layers::read(None, std::iter::empty(), &sets).unwrap()
    }

    #[test]
    fn a_directory_keeps_what_its_job_ran_with_but_no_secret() {
        let directory = tempfile::tempdir().unwrap();
        let instruments = directory.path().join("i");
        fs::write(&instruments, "[BINANCE]\nNEWCOIN = { base = 'NEW', quote = 'COIN' }\n").unwrap();
        let sets = [
            "views.lateness_s=7",
            "queries.time_s=9",
            "kafka.brokers=b:1",
            "kafka.registry=http://r:2/x",
            "kafka.registry_user=me",
            "kafka.registry_password=hush",
            "kafka.sasl.password=hush",
        ];
        let read = Settings::of(&layers(&sets), Some(&instruments)).unwrap();
        read.keep(directory.path()).unwrap();
        assert!(!fs::read_to_string(directory.path().join(NAME)).unwrap().contains("hush"));
        let kept = Settings::kept(directory.path(), Layers::default()).unwrap();
        assert_eq!((&kept.given, kept.config.views.lateness_s), (&read.given, 7));
        assert_eq!(kept.engine_config().lateness_ns, 7_000_000_000);
        assert_eq!(kept.engine_config().limits.time_max, Duration::from_secs(9));
        assert_eq!(&*kept.instruments.resolve("BINANCE", "NEWCOIN").symbol, "NEW-COIN");
        let cluster = kept.kafka.settings.unwrap();
        assert_eq!((&*cluster.brokers, &*cluster.registry.unwrap().url), ("b:1", "http://r:2/x"));
    }

    #[test]
    fn wrong_settings_are_refused_by_name() {
        let refused = |set| Settings::of(&layers(&[set]), None).err().unwrap().report();
        let (message, code) = refused("views.latenes_s=7");
        let message = message.unwrap();
        assert_eq!(code, 2);
        assert!(message.contains("latenes_s") && message.contains("lateness_s"), "{message}");
    }
}
