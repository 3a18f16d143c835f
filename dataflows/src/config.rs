//! A job's configuration: `default.toml`, read once, with an optional file over it.

use k2_model::SeverityLevels;
use serde::Deserialize;

const DEFAULT: &str = include_str!("../default.toml");

/// Every key of a job. See `default.toml` for what each means and its unit.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobConfig {
    pub ingest: IngestKeys,
    pub commit: CommitKeys,
    pub sequence: SequenceKeys,
    pub tail: TailKeys,
    pub views: ViewKeys,
    pub queries: QueryKeys,
    pub streams: StreamKeys,
    pub gaps: SeverityLevels,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IngestKeys {
    pub block_bytes: usize,
    pub epoch_blocks: usize,
    pub epoch_ms: u64,
    pub reject_share_max: u64,
    pub reject_window: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommitKeys {
    pub batch_bytes: u64,
    pub interval_s: u64,
    pub in_flight_bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SequenceKeys {
    pub id_window_hours: u64,
    pub id_window_bytes: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TailKeys {
    pub bytes: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ViewKeys {
    pub horizon_hours: u64,
    pub lateness_s: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueryKeys {
    pub memory_bytes: usize,
    pub query_memory_bytes: usize,
    pub rows_max: usize,
    pub time_s: u64,
    pub running_max: usize,
    pub waiting_max: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamKeys {
    pub subscribers_max: usize,
    pub history_bytes: usize,
    pub linger_s: u64,
}

/// Why a configuration is not one.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("could not read the configuration: {0}")]
    Form(#[from] toml::de::Error),
    #[error("{key} must be {rule}, but is {value}")]
    Value { key: &'static str, rule: &'static str, value: u64 },
}

impl JobConfig {
    /// The defaults, with the keys of `text` over them.
    ///
    /// # Errors
    /// `text` is not TOML, names a key that does not exist, or has a value that cannot work.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        Self::from_table(text.parse()?)
    }

    /// As [`JobConfig::from_toml`], of what has been read already.
    pub fn from_table(table: toml::Table) -> Result<Self, ConfigError> {
        let mut keys = defaults();
        for (section, over) in table {
            match (keys.get_mut(&section), over) {
                (Some(toml::Value::Table(under)), toml::Value::Table(over)) => under.extend(over),
                (_, over) => {
                    keys.insert(section, over);
                }
            }
        }
        let config: Self = keys.try_into()?;
        config.check()?;
        Ok(config)
    }

    /// The names of the sections, in the order of the alphabet.
    pub fn sections() -> Vec<String> {
        defaults().into_iter().map(|(section, _)| section).collect()
    }

    fn check(&self) -> Result<(), ConfigError> {
        let at_least_one = [
            ("ingest.block_bytes", self.ingest.block_bytes as u64),
            ("ingest.epoch_blocks", self.ingest.epoch_blocks as u64),
            ("ingest.epoch_ms", self.ingest.epoch_ms),
            ("ingest.reject_window", self.ingest.reject_window),
            ("commit.batch_bytes", self.commit.batch_bytes),
            ("commit.interval_s", self.commit.interval_s),
            ("queries.rows_max", self.queries.rows_max as u64),
            ("queries.time_s", self.queries.time_s),
            ("queries.running_max", self.queries.running_max as u64),
        ];
        for (key, value) in at_least_one {
            if value == 0 {
                return Err(ConfigError::Value { key, rule: "at least 1", value });
            }
        }
        if self.commit.in_flight_bytes < self.commit.batch_bytes.saturating_mul(2) {
            // One batch is written while the next one fills; with less the job would stand still.
            return Err(ConfigError::Value {
                key: "commit.in_flight_bytes",
                rule: "at least twice commit.batch_bytes",
                value: self.commit.in_flight_bytes,
            });
        }
        Ok(())
    }
}

fn defaults() -> toml::Table {
    DEFAULT.parse().expect("default.toml is TOML")
}

impl Default for JobConfig {
    fn default() -> Self {
        Self::from_toml("").expect("default.toml is a configuration")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_overrides_single_keys_and_unknown_keys_are_errors() {
        let config = JobConfig::from_toml("[commit]\ninterval_s = 5\n").unwrap();
        assert_eq!(config.commit.interval_s, 5);
        assert_eq!(config.commit.batch_bytes, JobConfig::default().commit.batch_bytes);
        assert!(JobConfig::from_toml("[commit]\nintervall_s = 5\n").is_err());
        assert!(JobConfig::from_toml("[comit]\ninterval_s = 5\n").is_err());
        assert!(JobConfig::from_toml("[commit]\nin_flight_bytes = 5\n").is_err());
    }
}
