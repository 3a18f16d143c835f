//! What a session may set and show. Most of it changes nothing: answers are UTF-8, times are UTC
//! and ISO, everything is read-only. A value that would promise something else is refused.

use std::collections::BTreeMap;
use std::time::Duration;

use super::inbound::Timer;
use super::refusal::Refusal;
use super::transaction::{DEFAULT_ISOLATION, ISOLATION, ISOLATIONS};
use crate::catalog::SCHEMA;
use crate::pg_catalog::{SERVER_VERSION, SERVER_VERSION_NUM};

/// When an answer comes with a notice.
pub(super) const NOTICES: &str = "k2.notices";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum May {
    /// It is as it is.
    BeShown,
    /// Only these values are true.
    Be(&'static [&'static str]),
    /// Whatever a client says.
    BeAnything,
}

const UTF8: May = May::Be(&["utf8", "unicode"]);

/// Name, value at the start, what it may be.
const SETTINGS: [(&str, &str, May); 42] = [
    ("application_name", "", May::BeAnything),
    ("bytea_output", "hex", May::Be(&["hex"])),
    ("check_function_bodies", "on", May::BeAnything),
    ("client_encoding", "UTF8", UTF8),
    ("client_min_messages", "notice", May::BeAnything),
    ("datestyle", "ISO, MDY", May::Be(&["iso", "iso, mdy", "iso, dmy", "iso, ymd"])),
    ("default_transaction_deferrable", "off", May::BeAnything),
    (DEFAULT_ISOLATION, "read committed", May::Be(&ISOLATIONS)),
    ("default_transaction_read_only", "on", May::BeAnything),
    ("enable_seqscan", "on", May::BeAnything),
    ("escape_string_warning", "on", May::BeAnything),
    ("extra_float_digits", "1", May::BeAnything),
    ("geqo", "on", May::BeAnything),
    ("idle_in_transaction_session_timeout", "0", May::BeAnything),
    ("idle_session_timeout", "0", May::BeAnything),
    ("in_hot_standby", "off", May::BeShown),
    ("integer_datetimes", "on", May::BeShown),
    ("intervalstyle", "postgres", May::Be(&["postgres"])),
    ("is_superuser", "off", May::BeShown),
    ("jit", "off", May::BeAnything),
    (NOTICES, "incomplete", May::Be(&["all", "incomplete", "off"])),
    ("lc_collate", "C", May::BeShown),
    ("lc_ctype", "C.UTF-8", May::BeShown),
    ("lc_messages", "C", May::BeAnything),
    ("lc_monetary", "C", May::BeAnything),
    ("lock_timeout", "0", May::BeAnything),
    ("max_identifier_length", "63", May::BeShown),
    ("max_index_keys", "32", May::BeShown),
    ("row_security", "on", May::BeAnything),
    ("search_path", SCHEMA, May::BeAnything),
    ("server_encoding", "UTF8", May::BeShown),
    ("server_version", SERVER_VERSION, May::BeShown),
    ("server_version_num", SERVER_VERSION_NUM, May::BeShown),
    ("session_authorization", "k2", May::BeShown),
    ("standard_conforming_strings", "on", May::Be(&["on", "true", "1"])),
    ("statement_timeout", "0", May::BeAnything),
    ("synchronize_seqscans", "on", May::BeAnything),
    ("timezone", "UTC", May::BeAnything),
    ("transaction_deferrable", "off", May::BeAnything),
    (ISOLATION, "read committed", May::Be(&ISOLATIONS)),
    ("transaction_read_only", "on", May::BeAnything),
    ("work_mem", "4MB", May::BeAnything),
];

/// What a client is told at the start without asking, as PostgreSQL spells it.
pub(super) const REPORTED: [&str; 12] = [
    "application_name",
    "client_encoding",
    "DateStyle",
    "default_transaction_read_only",
    "in_hot_standby",
    "integer_datetimes",
    "IntervalStyle",
    "is_superuser",
    "server_encoding",
    "server_version",
    "standard_conforming_strings",
    "TimeZone",
];

/// Bytes of a value.
const VALUE_BYTES_MAX: usize = 1_024;

type Values = BTreeMap<&'static str, String>;

/// The settings of one session.
#[derive(Debug, Default)]
pub(super) struct Settings {
    set: Values,
    /// There is one in a transaction.
    after: Option<After>,
}

/// What is set once a transaction has ended.
#[derive(Debug)]
struct After {
    commit: Values,
    rollback: Values,
}

impl Settings {
    pub(super) fn get(&self, name: &str) -> Result<&str, Refusal> {
        let (name, default, _) = known(name)?;
        Ok(self.set.get(name).map_or(default, String::as_str))
    }

    /// A transaction begins.
    pub(super) fn begin(&mut self) {
        self.after = Some(After { commit: self.set.clone(), rollback: self.set.clone() });
    }

    /// The transaction ends, if there is one: what was set in it stays, or it is as before.
    pub(super) fn end(&mut self, commits: bool) {
        if let Some(After { commit, rollback }) = self.after.take() {
            self.set = if commits { commit } else { rollback };
        }
    }

    /// Sets `name`; what a client should know about it comes back.
    pub(super) fn set(&mut self, name: &str, value: &str) -> Result<Option<String>, Refusal> {
        let told = self.set_local(name, value)?;
        let name = known(name)?.0;
        if let Some(After { commit, .. }) = &mut self.after {
            match self.set.get(name) {
                Some(value) => commit.insert(name, value.clone()),
                None => commit.remove(name),
            };
        }
        Ok(told)
    }

    /// Sets `name` until the transaction ends.
    pub(super) fn set_local(&mut self, name: &str, value: &str) -> Result<Option<String>, Refusal> {
        let (name, _, may) = known(name)?;
        if value.eq_ignore_ascii_case("default") {
            self.set.remove(name);
            return Ok(None);
        }
        let wrong = |message: String| Refusal::error("22023", message);
        match may {
            May::BeShown => {
                let message = format!("set {name}: it cannot be changed");
                return Err(Refusal::error("55P02", message));
            }
            May::Be(values) if !values.contains(&&*compared(name, value)) => {
                return Err(wrong(format!("set {name} to {value:?}: it cannot be that"))
                    .with_hint(format!("it may be {}", values.join(", "))));
            }
            May::Be(_) if name == "client_encoding" => return Ok(None),
            _ if value.len() > VALUE_BYTES_MAX => {
                return Err(wrong(format!("set {name}: {} bytes are too long", value.len())));
            }
            _ => {}
        }
        if name == "timezone" {
            let is_utc = ["utc", "gmt", "etc/utc", "z", "0"].contains(&&*value.to_lowercase());
            return Ok((!is_utc).then(|| format!("times stay in UTC, not in {value}")));
        }
        if name == "statement_timeout" {
            milliseconds(value).ok_or_else(|| {
                wrong(format!("set statement_timeout to {value:?}: this is no time"))
                    .with_hint("a time is milliseconds, or a number with ms, s or min")
            })?;
        }
        self.set.insert(name, value.to_owned());
        Ok(None)
    }

    pub(super) fn reset(&mut self, name: Option<&str>) -> Result<(), Refusal> {
        let name = name.map(|name| known(name).map(|it| it.0)).transpose()?;
        let after_commit = self.after.as_mut().map(|after| &mut after.commit);
        for values in [&mut self.set].into_iter().chain(after_commit) {
            match name {
                Some(name) => drop(values.remove(name)),
                None => values.clear(),
            }
        }
        Ok(())
    }

    pub(super) fn all(&self) -> Vec<[String; 2]> {
        let value = |name, default: &str| self.set.get(name).cloned().unwrap_or(default.to_owned());
        SETTINGS
            .iter()
            .map(|(name, default, _)| [(*name).to_owned(), value(*name, default)])
            .collect()
    }

    /// The time that a statement has, from now on.
    pub(super) fn timer(&self) -> Timer {
        Timer::new(self.statement_time_max())
    }

    fn statement_time_max(&self) -> Option<Duration> {
        let set = self.set.get("statement_timeout").and_then(|value| milliseconds(value));
        set.filter(|it| !it.is_zero())
    }

    /// Whether a notice is wanted at all.
    pub(super) fn wants_notices(&self) -> bool {
        let level = self.set.get("client_min_messages").map_or("notice", String::as_str);
        !["warning", "error", "fatal", "panic"].contains(&&*level.to_lowercase())
    }

    pub(super) fn notices(&self) -> &str {
        self.set.get(NOTICES).map_or("incomplete", String::as_str)
    }
}

/// A value as it is compared: of the name of an encoding only letters and digits count.
fn compared(name: &str, value: &str) -> String {
    let value = value.to_lowercase();
    match name {
        "client_encoding" => value.chars().filter(char::is_ascii_alphanumeric).collect(),
        _ => value,
    }
}

fn known(name: &str) -> Result<(&'static str, &'static str, May), Refusal> {
    let name = name.to_lowercase();
    SETTINGS.into_iter().find(|(known, ..)| *known == name).ok_or_else(|| {
        Refusal::error("42704", format!("there is no setting {name:?}"))
            .with_hint("SHOW ALL lists the settings of a session")
    })
}

/// The settings and their values at the start, for `pg_settings` and `current_setting`.
pub(crate) fn defaults() -> impl Iterator<Item = (&'static str, &'static str)> {
    SETTINGS.into_iter().map(|(name, default, _)| (name, default))
}

fn milliseconds(value: &str) -> Option<Duration> {
    let digits = value.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let number: u64 = digits.trim().parse().ok()?;
    let unit = match value[digits.len()..].trim() {
        "" | "ms" => 1,
        "s" => 1_000,
        "min" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    Some(Duration::from_millis(number.checked_mul(unit)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_not_be_true_is_refused() {
        let mut settings = Settings::default();
        let mut state = |name, value| settings.set(name, value).err().map(|it| it.state);
        assert_eq!(state("client_encoding", "LATIN1"), Some("22023"));
        for name in ["utf-8", "UTF8", "unicode", "'utf-8'", "\"UTF-8\""] {
            assert_eq!(state("client_encoding", name), None, "{name}");
        }
        assert_eq!(state("DateStyle", "German"), Some("22023"));
        assert_eq!(state("server_version", "9"), Some("55P02"));
        assert_eq!(state("datafusion.execution.batch_size", "1"), Some("42704"));
        assert_eq!(state("statement_timeout", "soon"), Some("22023"));
        let told = settings.set("TimeZone", "Europe/Berlin").unwrap();
        assert!(told.unwrap().contains("UTC"));
        assert_eq!(settings.get("timezone").unwrap(), "UTC");
    }

    #[test]
    fn what_is_set_in_a_transaction_stays_if_it_commits_and_is_not_local() {
        let name = "application_name";
        // Local or not, in this order; what it is after a commit.
        let cases: [(&[(bool, &str)], &str); 4] = [
            (&[(false, "a")], "a"),
            (&[(true, "a")], "before"),
            (&[(false, "a"), (true, "b")], "a"),
            (&[(true, "a"), (false, "default")], ""),
        ];
        for (steps, committed) in cases {
            for commits in [true, false] {
                let mut settings = Settings::default();
                settings.set(name, "before").unwrap();
                settings.begin();
                for (is_local, value) in steps {
                    let set = if *is_local { Settings::set_local } else { Settings::set };
                    set(&mut settings, name, value).unwrap();
                }
                settings.end(commits);
                let expected = if commits { committed } else { "before" };
                assert_eq!(settings.get(name).unwrap(), expected, "{steps:?}");
            }
        }
        let mut settings = Settings::default();
        settings.begin();
        settings.set(name, "a").unwrap();
        settings.reset(None).unwrap();
        settings.end(true);
        assert_eq!(settings.get(name).unwrap(), "");
    }

    #[test]
    fn a_statement_timeout_has_a_unit() {
        let mut settings = Settings::default();
        assert_eq!(settings.statement_time_max(), None);
        let cases =
            [("0", None), ("1500", Some(1_500)), ("2s", Some(2_000)), ("5 min", Some(300_000))];
        for (value, expected) in cases {
            settings.set("statement_timeout", value).unwrap();
            let expected = expected.map(Duration::from_millis);
            assert_eq!(settings.statement_time_max(), expected, "{value}");
        }
        settings.reset(None).unwrap();
        assert_eq!(settings.statement_time_max(), None);
    }
}
