//! What a subscription asks for, read from the parameters of a request.

use std::collections::BTreeSet;
use std::time::Duration;

use k2_model::Timeframe;

use crate::error::{Error, FieldError, Result};
use crate::stream::roster::Names;
use crate::stream::token::Token;

/// Names in one subscription.
const NAMES_MAX: usize = 1_000;
/// Characters of a name.
pub(crate) const NAME_CHARS_MAX: usize = 64;
/// Rows of a snapshot, of one symbol.
pub(crate) const SNAPSHOT_MAX: usize = 1_000;
const RATE_DEFAULT: f64 = 4.0;
pub(crate) const RATE_MIN: f64 = 0.1;
pub(crate) const RATE_MAX: f64 = 100.0;
const PARAMETERS: &str = "parameters are symbol and venue (repeated, or separated by commas), \
                          on_slow=conflate|skip, rate, snapshot and resume";

/// What is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    Trades,
    Bars(Timeframe),
}

/// What becomes of rows that come faster than a reader takes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnSlow {
    /// Of each symbol the newest is sent, so many times a second.
    Conflate,
    /// Every row is sent; past what memory holds, rows are left out, and it is said how many.
    Skip,
}

/// One subscription.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Spec {
    pub(crate) subject: Subject,
    pub(crate) names: Names,
    pub(crate) on_slow: OnSlow,
    /// Between two updates, when conflated.
    pub(crate) interval: Duration,
    /// Rows of each symbol first; `None`: what fits.
    pub(crate) snapshot: Option<usize>,
    pub(crate) resume: Option<Token>,
}

impl Spec {
    /// Of all symbols, with what holds unless something else is asked for.
    pub(crate) fn new(subject: Subject) -> Self {
        Self {
            subject,
            names: Names::default(),
            on_slow: match subject {
                Subject::Trades => OnSlow::Skip,
                Subject::Bars(_) => OnSlow::Conflate,
            },
            interval: Duration::from_secs_f64(1.0 / RATE_DEFAULT),
            snapshot: None,
            resume: None,
        }
    }

    /// Reads `parameters`. `last_event_id` is where a client was that connects again by itself;
    /// what it asks for in so many words comes first.
    pub(crate) fn read(
        subject: Subject,
        parameters: &[(String, String)],
        last_event_id: Option<&str>,
    ) -> Result<Self> {
        let mut spec = Self::new(subject);
        let mut problems = Vec::new();
        if let Some(id) = last_event_id.filter(|id| !id.is_empty()) {
            spec.resume = token(id, "Last-Event-ID", &mut problems);
        }
        for (name, value) in parameters {
            spec.take(name, value, &mut problems);
        }
        if spec.names.symbols.len() > NAMES_MAX || spec.names.venues.len() > NAMES_MAX {
            problems.push(format!("symbol names more than {NAMES_MAX}"));
        }
        if problems.is_empty() {
            return Ok(spec);
        }
        let message = format!("subscribe: {}", problems.join("; "));
        let fields = problems.iter().map(|problem| {
            let (field, message) = problem.split_once(' ').unwrap_or((problem, ""));
            FieldError { field: field.to_owned(), message: message.to_owned() }
        });
        let error = Error::bad_request("invalid_parameters", message).with_hint(PARAMETERS);
        Err(error.with_fields(fields.collect()))
    }

    fn take(&mut self, name: &str, value: &str, problems: &mut Vec<String>) {
        match name {
            "symbol" => add_names(&mut self.names.symbols, name, value, problems),
            // As everywhere else, in any case.
            "venue" | "exchange" => {
                add_names(&mut self.names.venues, name, &value.to_uppercase(), problems);
            }
            "on_slow" => match value {
                "conflate" => self.on_slow = OnSlow::Conflate,
                "skip" => self.on_slow = OnSlow::Skip,
                _ => problems.push(format!("on_slow is conflate or skip, not {value:?}")),
            },
            "rate" => match value.parse::<f64>() {
                Ok(rate) if (RATE_MIN..=RATE_MAX).contains(&rate) => {
                    self.interval = Duration::from_secs_f64(1.0 / rate);
                }
                _ => problems.push(format!(
                    "rate is a number of updates a second from {RATE_MIN} to {RATE_MAX}, not \
                     {value:?}"
                )),
            },
            "snapshot" => match value.parse() {
                Ok(rows) if rows <= SNAPSHOT_MAX => self.snapshot = Some(rows),
                _ => problems.push(format!(
                    "snapshot is a number of rows from 0 to {SNAPSHOT_MAX}, not {value:?}"
                )),
            },
            "resume" => self.resume = token(value, name, problems),
            _ => problems.push(format!("{name} is no parameter here")),
        }
    }
}

fn add_names(names: &mut BTreeSet<String>, name: &str, value: &str, problems: &mut Vec<String>) {
    for text in value.split(',') {
        if text.is_empty() || text.chars().count() > NAME_CHARS_MAX {
            problems.push(format!("{name} is a name of 1 to {NAME_CHARS_MAX} characters"));
        } else {
            names.insert(text.to_owned());
        }
    }
}

fn token(text: &str, name: &str, problems: &mut Vec<String>) -> Option<Token> {
    let token = text.parse().ok();
    if token.is_none() {
        problems.push(format!("{name} is the id of an event as it was sent"));
    }
    token
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &[(&str, &str)]) -> Result<Spec> {
        let pairs: Vec<(String, String)> =
            query.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        Spec::read(Subject::Trades, &pairs, None)
    }

    #[test]
    fn names_come_repeated_and_in_lists() {
        let spec = read(&[
            ("symbol", "BTC-USDT,ETHUSDT"),
            ("symbol", "SOL-USDT"),
            ("exchange", "binance"),
            ("rate", "0.5"),
            ("snapshot", "0"),
            ("resume", "0000002a-7-1"),
        ])
        .unwrap();
        assert_eq!(spec.names.symbols.len(), 3);
        assert!(spec.names.venues.contains("BINANCE"));
        assert_eq!((spec.interval, spec.snapshot), (Duration::from_secs(2), Some(0)));
        assert_eq!(spec.resume, "0000002a-7-1".parse().ok());
        assert_eq!(spec.on_slow, OnSlow::Skip, "what holds for trades");
        assert_eq!(Spec::new(Subject::Bars(Timeframe::M1)).on_slow, OnSlow::Conflate);
    }

    #[test]
    fn every_wrong_parameter_is_named_at_once() {
        let wrong = [
            ("symbol", ""),
            ("on_slow", "drop"),
            ("rate", "NaN"),
            ("snapshot", "-1"),
            ("resume", "x"),
            ("limit", "1"),
        ];
        let error = read(&wrong).unwrap_err();
        for (name, _) in wrong {
            assert!(error.message().contains(name), "{name}: {error}");
        }
        for rate in ["0", "0.09", "101", "inf", "-4", "1e9", ""] {
            assert!(read(&[("rate", rate)]).is_err(), "{rate}");
        }
        let error = Spec::read(Subject::Trades, &[], Some("7")).unwrap_err();
        assert!(error.message().contains("Last-Event-ID"), "{error}");
    }
}
