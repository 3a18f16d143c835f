//! What `--input` names: `[VENUE=]PATH`, or `-` for standard input.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use k2_model::codec::VENUES;
use k2_operators::ingest::Input;

use crate::failure::{Failure, Result, nearest};

const VENUE_DEFAULT: &str = VENUES[0];
/// Standard input as a source: its rows carry `stdin-<hash of its head>`.
const STDIN: &str = "stdin";

/// A parsed `--input`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputArgument {
    pub venue: &'static str,
    pub from: From,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum From {
    File(PathBuf),
    Stdin,
}

impl InputArgument {
    /// A path may hold a `=`, so only a known venue before it is a venue. What looks like a
    /// misspelled one, and is no file, is refused with the nearest right name.
    pub fn parse(argument: &OsStr) -> Result<Self> {
        let bytes = argument.as_bytes();
        let Some(at) = bytes.iter().position(|&byte| byte == b'=') else {
            return Ok(Self { venue: VENUE_DEFAULT, from: From::named(argument) });
        };
        let prefix = String::from_utf8_lossy(&bytes[..at]);
        let rest = OsString::from_vec(bytes[at + 1..].to_vec());
        if let Some(venue) = VENUES.into_iter().find(|venue| *venue == prefix) {
            if rest.is_empty() {
                return Err(Failure::usage(format!("--input {venue}= names no file after the =")));
            }
            return Ok(Self { venue, from: From::named(&rest) });
        }
        let hint = nearest(&prefix, &VENUES);
        if Path::new(argument).exists() || (hint.is_none() && !looks_like_venue(&prefix)) {
            return Ok(Self { venue: VENUE_DEFAULT, from: From::named(argument) });
        }
        let hint = hint.map_or(String::new(), |venue| format!("; did you mean {venue}?"));
        Err(Failure::usage(format!(
            "--input {}: unknown venue {prefix}{hint} Known venues: {}",
            argument.display(),
            VENUES.join(", ")
        )))
    }

    pub fn open(&self) -> Result<Input, k2_operators::Error> {
        match &self.from {
            From::File(path) => Input::file(self.venue, path),
            From::Stdin => Input::stream(self.venue, STDIN, Box::new(std::io::stdin())),
        }
    }
}

impl From {
    fn named(name: &OsStr) -> Self {
        if name == "-" { Self::Stdin } else { Self::File(name.into()) }
    }
}

fn looks_like_venue(prefix: &str) -> bool {
    let is_venue_byte =
        |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    !prefix.is_empty() && prefix.bytes().all(is_venue_byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<InputArgument> {
        InputArgument::parse(OsStr::new(text))
    }

    #[test]
    fn only_a_known_venue_before_the_equals_sign_is_one() {
        let parsed = |text| parse(text).unwrap();
        let file = |path: &str| From::File(path.into());
        let binance = |from| InputArgument { venue: "BINANCE", from };
        assert_eq!(parsed("a.gz"), binance(file("a.gz")));
        assert_eq!(parsed("-"), binance(From::Stdin));
        assert_eq!(parsed("BINANCE=a=b"), binance(file("a=b")));
        assert_eq!(parsed("day=8/a.gz"), binance(file("day=8/a.gz")));
        let usdm = InputArgument { venue: "BINANCE_USDM", from: From::Stdin };
        assert_eq!(parsed("BINANCE_USDM=-"), usdm);
    }

    #[test]
    fn a_misspelled_venue_is_refused_with_the_right_one() {
        for text in ["BINANC=a.gz", "binance=a.gz", "BINANCE-USDM=a.gz", "KRAKEN=a.gz", "BINANCE="]
        {
            let (message, code) = parse(text).unwrap_err().report();
            let message = message.unwrap();
            assert_eq!(code, 2, "{text}: {message}");
            assert!(message.contains("BINANCE"), "{text}: {message}");
        }
        let (message, _) = parse("BINANC=a.gz").unwrap_err().report();
        assert!(message.unwrap().contains("did you mean BINANCE?"));
    }
}
