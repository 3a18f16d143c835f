//! The settings of a job: its configuration and its instruments.
//!
//! What a job ran with stays in the data directory, so that a query on the directory alone judges
//! bars and gaps as the job did.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use k2_dataflows::JobConfig;
use k2_model::InstrumentTable;
use k2_serve::EngineConfig;
use serde::{Deserialize, Serialize};

use crate::failure::{Failure, Result};

const NAME: &str = "settings.json";

/// What was given besides the defaults, as it was given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    config: Option<String>,
    instruments: Option<String>,
}

/// What a job runs with.
#[derive(Clone, Debug)]
pub struct Settings {
    given: Given,
    pub config: JobConfig,
    pub instruments: InstrumentTable,
}

impl Settings {
    /// The defaults, with what the files say over them.
    pub fn read(config: Option<&Path>, instruments: Option<&Path>) -> Result<Self> {
        let text = |flag: &str, path: Option<&Path>| {
            let read = |path: &Path| {
                fs::read_to_string(path).map_err(|error| {
                    Failure::failed(format!("read {flag} {}", path.display()), error)
                })
            };
            path.map(read).transpose()
        };
        let given = Given {
            config: text("--config", config)?,
            instruments: text("--instruments", instruments)?,
        };
        let shown = |path: Option<&Path>| path.unwrap_or(Path::new("")).display().to_string();
        Self::of(given, &shown(config), &shown(instruments))
    }

    fn of(given: Given, config_from: &str, instruments_from: &str) -> Result<Self> {
        let config = given.config.as_deref().map_or(Ok(JobConfig::default()), JobConfig::from_toml);
        let config = config
            .map_err(|error| Failure::usage(format!("configuration {config_from}: {error}")))?;
        let mut instruments = InstrumentTable::shipped();
        if let Some(text) = &given.instruments {
            instruments.extend_from_toml(text).map_err(|error| {
                Failure::usage(format!("instruments {instruments_from}: {error}"))
            })?;
        }
        Ok(Self { given, config, instruments })
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

    /// The settings of the latest job in `directory`; the defaults if there was none.
    pub fn kept(directory: &Path) -> Result<Self> {
        let path = directory.join(NAME);
        let shown = path.display().to_string();
        let given = match fs::read_to_string(&path) {
            Ok(text) => serde_json::from_str(&text)
                .map_err(|error| Failure::failed(format!("read {shown}"), error))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Given::default(),
            Err(error) => return Err(Failure::failed(format!("read {shown}"), error)),
        };
        Self::of(given, &shown, &shown)
    }

    /// How questions are answered under these settings.
    pub fn engine_config(&self) -> EngineConfig {
        let lateness = Duration::from_secs(self.config.views.lateness_s);
        EngineConfig {
            lateness_ns: i64::try_from(lateness.as_nanos()).unwrap_or(i64::MAX),
            severity: self.config.gaps,
            instruments: Arc::new(self.instruments.clone()),
            ..EngineConfig::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_keeps_what_its_job_ran_with() {
        let directory = tempfile::tempdir().unwrap();
        let (config, instruments) = (directory.path().join("c"), directory.path().join("i"));
        fs::write(&config, "[views]\nlateness_s = 7\n").unwrap();
        fs::write(&instruments, "[BINANCE]\nNEWCOIN = { base = 'NEW', quote = 'COIN' }\n").unwrap();
        let read = Settings::read(Some(&config), Some(&instruments)).unwrap();
        read.keep(directory.path()).unwrap();
        let kept = Settings::kept(directory.path()).unwrap();
        assert_eq!((&kept.given, kept.config.views.lateness_s), (&read.given, 7));
        assert_eq!(kept.engine_config().lateness_ns, 7_000_000_000);
        assert_eq!(&*kept.instruments.resolve("BINANCE", "NEWCOIN").symbol, "NEW-COIN");
    }

    #[test]
    fn wrong_settings_are_refused_by_name() {
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("c");
        fs::write(&config, "[views]\nlatenes_s = 7\n").unwrap();
        let (message, code) = Settings::read(Some(&config), None).unwrap_err().report();
        let message = message.unwrap();
        assert_eq!(code, 2);
        assert!(message.contains("latenes_s") && message.contains("lateness_s"), "{message}");
    }
}
