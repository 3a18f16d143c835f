//! The market that a job watches when no input is named: generated, paced, and without an end.
//!
//! Its description lies in the data directory, so that a job that is started again goes on with
//! the same market where it was.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use k2_harness::generator::{Flaws, Generator, GeneratorConfig, LineForm};
use k2_model::Nanos;
use k2_model::time::NANOS_PER_SECOND;
use k2_operators::ingest::Input;
use serde::{Deserialize, Serialize};

use crate::failure::{Failure, Result};

const NAME: &str = "market.json";
/// The source of its rows.
const SOURCE: &str = "generated";
const VENUE: &str = "BINANCE";
/// Bytes generated at once.
const BLOCK_BYTES: usize = 1 << 16;

/// What the market of a data directory is made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Market {
    pub seed: u64,
    pub symbols: u32,
    pub messages_per_second: u64,
    /// Event time of the first message, nanoseconds since 1970.
    pub start_ns: i64,
}

impl Market {
    /// The market of `directory`; a new one starts at `now`.
    pub fn of(directory: &Path, now: Nanos) -> Result<Self> {
        let path = directory.join(NAME);
        match fs::read_to_string(&path) {
            Ok(text) => serde_json::from_str(&text).map_err(|error| {
                Failure::failed(format!("read the generated market from {}", path.display()), error)
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let start_ns = now.floor(NANOS_PER_SECOND).0;
                let market = Self { seed: 42, symbols: 100, messages_per_second: 1_000, start_ns };
                market.write(directory, &path).map_err(|error| {
                    Failure::failed(format!("note the market in {}", path.display()), error)
                })?;
                Ok(market)
            }
            Err(error) => Err(Failure::failed(format!("read {}", path.display()), error)),
        }
    }

    /// On disk before the first row is: without it the rows could not be gone on with.
    fn write(&self, directory: &Path, path: &Path) -> io::Result<()> {
        let temporary = directory.join(format!(".{NAME}"));
        let mut file = File::create(&temporary)?;
        serde_json::to_writer(&mut file, self)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        File::open(directory)?.sync_all()
    }

    pub fn input(&self) -> Result<Input> {
        let generator = Generator::new(self.config())?;
        let reader = MarketReader { generator, block: Vec::new(), at: 0 };
        Ok(Input::reader(VENUE, SOURCE, Box::new(reader)))
    }

    /// Trades, quotes and book updates as a busy venue mixes them, with the flaws of an ordinary
    /// day.
    fn config(&self) -> GeneratorConfig {
        GeneratorConfig {
            seed: self.seed,
            symbols: self.symbols,
            messages: None,
            start: Nanos(self.start_ns),
            form: LineForm { receive_time: true, envelope: true },
            quotes_per_million: 450_000,
            depth_per_million: 150_000,
            flaws: Flaws {
                reordered_per_million: 1_000,
                late_per_million: 100,
                ..Flaws::default()
            },
            ..GeneratorConfig::default()
        }
        .at_rate(self.messages_per_second)
    }
}

/// The market's bytes from the first; never ends.
struct MarketReader {
    generator: Generator,
    block: Vec<u8>,
    at: usize,
}

impl Read for MarketReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.block.len() {
            self.block.clear();
            self.at = 0;
            self.generator.fill(&mut self.block, BLOCK_BYTES);
        }
        let length = buffer.len().min(self.block.len() - self.at);
        buffer[..length].copy_from_slice(&self.block[self.at..self.at + length]);
        self.at += length;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_keeps_its_market() {
        let directory = tempfile::tempdir().unwrap();
        let first = Market::of(directory.path(), Nanos(5_500_000_000)).unwrap();
        assert_eq!(first.start_ns, 5_000_000_000);
        let again = Market::of(directory.path(), Nanos(9_000_000_000)).unwrap();
        assert_eq!(again, first);
        first.input().unwrap();
    }
}
