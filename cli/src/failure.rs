//! How a command ends when it cannot do what it was asked.

use std::fmt::Display;
use std::io;

use strsim::damerau_levenshtein;

/// Something went wrong: it was tried, and failed.
pub const EXIT_FAILED: u8 = 1;
/// The request itself was wrong: a flag, a venue, a statement.
pub const EXIT_USAGE: u8 = 2;

/// Edits that a name may be away from the right one to be worth a hint.
const HINT_EDITS_MAX: usize = 3;

/// The end of a command, other than success.
#[derive(Debug)]
pub enum Failure {
    /// The request was wrong, and the text says what would be right.
    Usage(String),
    Failed(anyhow::Error),
    /// Whoever read our output has enough. Not worth a word.
    OutputClosed,
}

pub type Result<T = (), E = Failure> = std::result::Result<T, E>;

impl Failure {
    pub fn usage(message: impl Into<String>) -> Self {
        Self::Usage(message.into())
    }

    /// `attempted` in a few words, as in `write the lines to a.ndjson`.
    pub fn failed(
        attempted: impl Display,
        source: impl std::error::Error + Send + Sync + 'static,
    ) -> Self {
        Self::Failed(anyhow::Error::new(source).context(format!("could not {attempted}")))
    }

    /// An error in writing to standard output.
    pub fn output(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::OutputClosed
        } else {
            Self::failed("write to standard output", error)
        }
    }

    /// What is said on standard error, if anything, and the exit code.
    pub fn report(&self) -> (Option<String>, u8) {
        match self {
            Self::Usage(message) => (Some(message.clone()), EXIT_USAGE),
            Self::Failed(error) => (Some(chain(error)), EXIT_FAILED),
            Self::OutputClosed => (None, 0),
        }
    }
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// The causes, outermost first, each said once: many errors already quote what caused them.
fn chain(error: &anyhow::Error) -> String {
    let mut said = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !said.contains(&cause) {
            said = format!("{said}: {cause}");
        }
    }
    said
}

/// The one of `known` that was probably meant by `given`.
pub fn nearest<'a>(given: &str, known: &[&'a str]) -> Option<&'a str> {
    let given = given.to_ascii_lowercase();
    let distance = |name: &str| damerau_levenshtein(&given, &name.to_ascii_lowercase());
    let (edits, name) = known.iter().map(|name| (distance(name), *name)).min()?;
    (edits <= HINT_EDITS_MAX.min(name.len() / 2)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_name_is_found_and_a_far_one_is_not() {
        let known = ["BINANCE", "BINANCE_USDM"];
        assert_eq!(nearest("binanc", &known), Some("BINANCE"));
        assert_eq!(nearest("BINANCE-USDM", &known), Some("BINANCE_USDM"));
        assert_eq!(nearest("KRAKEN", &known), None);
    }

    #[test]
    fn a_cause_that_is_quoted_is_not_said_twice() {
        let missing = io::Error::new(io::ErrorKind::NotFound, "no such thing");
        let Failure::Failed(error) = Failure::failed("open the door", missing) else { panic!() };
        assert_eq!(chain(&error), "could not open the door: no such thing");
        let quoting = error.context("gave up: could not open the door: no such thing");
        assert_eq!(chain(&quoting), "gave up: could not open the door: no such thing");
    }
}
