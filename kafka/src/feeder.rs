//! Raw messages of a venue → its topics.

use k2_model::codec::{Decoded, Decoder};
use k2_model::{Coordinates, InstrumentTable, Origin, Reject};

use crate::error::Result;
use crate::format::Format;
use crate::publisher::Publisher;
use crate::settings::KafkaSettings;

/// Decodes the raw messages of one venue, and writes each to the topic of its kind.
pub struct Feeder {
    publisher: Publisher,
    decoder: Decoder,
    venue: &'static str,
    /// Empty between messages.
    decoded: Decoded,
}

impl Feeder {
    /// `venue` is one of [`k2_model::codec::VENUES`].
    ///
    /// # Errors
    /// As [`Publisher::connect`].
    pub fn connect(
        settings: &KafkaSettings,
        format: Format,
        venue: &'static str,
        instruments: &InstrumentTable,
    ) -> Result<Self> {
        let decoder = Decoder::new(venue, instruments.clone());
        let decoder = decoder.expect("only venues with a decoder are named");
        let publisher = Publisher::connect(settings, format, instruments.clone())?;
        Ok(Self { publisher, decoder, venue, decoded: Decoded::default() })
    }

    /// Writes one message, without its line end. `position` is its place in `origin`.
    ///
    /// Answers a message that cannot be read and so has no topic: raw ones go to that of trades,
    /// where whoever reads it finds it again, but there is no Avro of them. Snapshots of books and
    /// messages about the connection are not written, nor are empty lines.
    fn feed(&mut self, line: &[u8], origin: Origin, position: u64) -> Result<Option<Reject>> {
        let decoded = &mut self.decoded;
        self.decoder.decode(line, Coordinates { origin, offset: position }, decoded);
        if let Some(trade) = decoded.trades.pop() {
            self.publisher.trade(&trade, line, position)?;
        }
        if let Some(quote) = decoded.quotes.pop() {
            self.publisher.quote(&quote, line, position)?;
        }
        if let Some(depth) = decoded.depths.pop() {
            self.publisher.depth(depth.instrument, line, position)?;
        }
        match decoded.rejects.pop() {
            Some(reject) if !self.publisher.unreadable(self.venue, line, position)? => {
                Ok(Some(reject))
            }
            _ => Ok(None),
        }
    }

    /// Writes each line of `bytes`, of which `first` is the place of the first. Answers those that
    /// have no topic.
    pub fn feed_lines(&mut self, bytes: &[u8], origin: Origin, first: u64) -> Result<Vec<Reject>> {
        let mut unwritten = Vec::new();
        for (line, position) in bytes.split_inclusive(|&byte| byte == b'\n').zip(first..) {
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            unwritten.extend(self.feed(line, origin, position)?);
        }
        Ok(unwritten)
    }

    pub fn publisher(&self) -> &Publisher {
        &self.publisher
    }
}
