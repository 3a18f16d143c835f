//! The configuration in layers: a file, the environment, flags; the later wins.
//!
//! Every key has one name, `section.key`: in the file as it stands, in the environment as
//! `K2_SECTION_KEY`, and as `--set section.key=value`. Below `kafka` any property of librdkafka is
//! a key, with its dots.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use k2_dataflows::JobConfig;
use toml::{Table, Value};

use crate::failure::{Failure, Result};

/// Read from the working directory if no file is named.
const FILE_DEFAULT: &str = "k2.toml";
/// The section that is not the job's own.
const KAFKA: &str = "kafka";

/// What was given besides the defaults.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Layers {
    /// Sections of the job, as [`k2_dataflows::JobConfig`] reads them.
    pub job: Table,
    /// `kafka.*`: full name without the section → value. May hold secrets: never shown, never kept.
    pub kafka: BTreeMap<String, String>,
    /// The file that was read, for a person.
    pub from: String,
}

impl Layers {
    /// Reads `file`, or `k2.toml` if there is one; then the environment, then `sets`.
    pub fn read(
        file: Option<&Path>,
        environment: impl Iterator<Item = (String, String)>,
        sets: &[String],
    ) -> Result<Self> {
        let mut layers = Self::default();
        if let Some((from, text)) = file_text(file)? {
            layers.add_text(&text, &from)?;
            layers.from = from;
        }
        let sections = JobConfig::sections();
        for (name, value) in environment {
            layers.add_variable(&sections, &name, &value);
        }
        for set in sets {
            let (key, value) = set.split_once('=').ok_or_else(|| {
                Failure::usage(format!("--set {set}: give KEY=VALUE, as commit.interval_s=5"))
            })?;
            let (section, key) = key.split_once('.').ok_or_else(|| {
                Failure::usage(format!("--set {set}: a key is SECTION.KEY, as commit.interval_s"))
            })?;
            layers.set(section, key, value);
        }
        Ok(layers)
    }

    /// Sets one key of the section `kafka`, over all layers.
    pub fn set_kafka(&mut self, key: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.kafka.insert(key.into(), value.into());
        }
    }

    fn add_text(&mut self, text: &str, from: &str) -> Result<()> {
        let mut table: Table = text
            .parse()
            .map_err(|error| Failure::usage(format!("configuration {from}: {error}")))?;
        match table.remove(KAFKA) {
            Some(Value::Table(kafka)) => flatten("", kafka, &mut self.kafka),
            Some(_) => {
                let message = format!("configuration {from}: [kafka] is a section, not a value");
                return Err(Failure::usage(message));
            }
            None => {}
        }
        self.job = table;
        Ok(())
    }

    /// `sections`: of the job.
    fn add_variable(&mut self, sections: &[String], name: &str, value: &str) {
        let Some(name) = name.strip_prefix("K2_") else { return };
        let name = name.to_ascii_lowercase();
        for section in sections.iter().map(String::as_str).chain([KAFKA]) {
            let key = name.strip_prefix(section).and_then(|rest| rest.strip_prefix('_'));
            let Some(key) = key else { continue };
            let is_own = section != KAFKA || crate::kafka::OWN_KEYS.contains(&key);
            // librdkafka's own properties have dots where a variable cannot.
            let key = if is_own { key.to_owned() } else { key.replace('_', ".") };
            self.set(section, &key, value);
        }
    }

    fn set(&mut self, section: &str, key: &str, value: &str) {
        if section == KAFKA {
            self.kafka.insert(key.into(), value.into());
            return;
        }
        let value = value.parse().map_or_else(|_| Value::String(value.into()), Value::Integer);
        let keys = self.job.entry(section).or_insert_with(|| Value::Table(Table::new()));
        if let Value::Table(keys) = keys {
            keys.insert(key.into(), value);
        }
    }
}

fn file_text(named: Option<&Path>) -> Result<Option<(String, String)>> {
    let path = named.unwrap_or(Path::new(FILE_DEFAULT));
    let shown = path.display().to_string();
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some((shown, text))),
        Err(error) if named.is_none() && error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::failed(format!("read --config {shown}"), error)),
    }
}

/// `a.b = x` and `a = { b = x }` are the same key, `a.b`.
fn flatten(prefix: &str, table: Table, into: &mut BTreeMap<String, String>) {
    for (key, value) in table {
        let key = if prefix.is_empty() { key } else { format!("{prefix}.{key}") };
        match value {
            Value::Table(table) => flatten(&key, table, into),
            Value::String(text) => _ = into.insert(key, text),
            Value::Array(values) => {
                let texts = values.iter().map(|value| match value {
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                });
                into.insert(key, texts.collect::<Vec<_>>().join(","));
            }
            other => _ = into.insert(key, other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, variables: &[(&str, &str)], sets: &[&str]) -> Layers {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("k2.toml");
        fs::write(&file, text).unwrap();
        let variables = variables.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        let sets: Vec<String> = sets.iter().map(|set| (*set).into()).collect();
        Layers::read(Some(&file), variables, &sets).unwrap()
    }

    #[test]
    fn flags_win_over_the_environment_and_that_over_the_file() {
        let text = "[commit]\ninterval_s = 1\nbatch_bytes = 2\n[views]\nlateness_s = 3\n";
        let variables = [("K2_COMMIT_INTERVAL_S", "4"), ("K2_VIEWS_LATENESS_S", "5")];
        let layers = read(text, &variables, &["commit.interval_s=6"]);
        let at = |section: &str, key: &str| layers.job[section][key].as_integer();
        assert_eq!(at("commit", "interval_s"), Some(6));
        assert_eq!(at("commit", "batch_bytes"), Some(2));
        assert_eq!(at("views", "lateness_s"), Some(5));
    }

    #[test]
    fn a_key_of_any_section_can_be_a_variable() {
        for section in JobConfig::sections() {
            let name = format!("K2_{}_SOME_KEY", section.to_uppercase());
            let layers = read("", &[(&name, "7")], &[]);
            assert_eq!(layers.job[&section]["some_key"].as_integer(), Some(7), "{name}");
        }
    }

    #[test]
    fn properties_of_librdkafka_are_keys_with_dots_wherever_they_come_from() {
        let text = "[kafka]\nbrokers = 'a:1'\ntopics = ['x', 'y']\nsecurity.protocol = 'SSL'\n\
                    'fetch.wait.max.ms' = 5\nformats.x = 'raw'\n";
        let variables =
            [("K2_KAFKA_SASL_PASSWORD", "secret"), ("K2_KAFKA_ON_LOST_OFFSETS", "stop")];
        let layers = read(text, &variables, &["kafka.brokers=b:2"]);
        let expected = [
            ("brokers", "b:2"),
            ("fetch.wait.max.ms", "5"),
            ("formats.x", "raw"),
            ("on_lost_offsets", "stop"),
            ("sasl.password", "secret"),
            ("security.protocol", "SSL"),
            ("topics", "x,y"),
        ];
        let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(layers.kafka, BTreeMap::from(expected));
    }
}
