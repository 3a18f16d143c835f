//! A deterministic market: endless or counted lines of Binance spot messages, with known flaws.
//!
//! * **Input**: a [`GeneratorConfig`]. One config is one sequence of bytes, on every machine and
//!   for ever: integers only, and randomness from the seed alone.
//! * **Output**: newline-delimited messages, and a [`Summary`] of what is true of them.
//! * **State**: about 150 bytes a symbol, and at most [`Flaws::within_messages`] messages that
//!   come later.

mod clock;
mod flaws;
mod lines;
mod market;
mod message;
mod pairs;
pub mod random;
mod summary;
mod text;

use std::fmt;

use k2_model::time::{NANOS_PER_MILLI, NANOS_PER_SECOND};
use k2_model::{DataType, Nanos};

use clock::{Clock, Instants};
use flaws::{Fate, Fates, Nature, Schedule};
use market::{Market, Message};
use message::{MALFORMED, Writer};
use random::{MILLION, Random, scaled_32};
use summary::Truth;

pub use flaws::Flaws;
pub use lines::{cut_lines, double_lines, shuffle_lines};
pub use message::LineForm;
pub use summary::Summary;

/// Symbols of one market, at most.
pub const SYMBOLS_MAX: u32 = 100_000;
/// Mean time between two messages, at most: an hour.
pub const INTERVAL_NS_MAX: u64 = 3_600_000_000_000;

/// What to generate. The default has ten million messages in four hours, and never ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GeneratorConfig {
    pub seed: u64,
    /// The first hundred are real pairs, busiest first; the others are made up.
    pub symbols: u32,
    /// Lines in all, with duplicates and malformed ones; `None` for ever.
    pub messages: Option<u64>,
    /// Event time of the first message, not before 1970.
    pub start: Nanos,
    /// Mean event time from one message to the next.
    pub interval_ns: u64,
    /// Whether activity goes up and down in waves around its mean.
    pub bursts: bool,
    pub form: LineForm,
    /// Best bids and offers among the messages. They name no time, so a line needs its receive
    /// time.
    pub quotes_per_million: u32,
    /// Book updates among the messages.
    pub depth_per_million: u32,
    pub flaws: Flaws,
}

impl Default for GeneratorConfig {
    fn default() -> Self {
        Self {
            seed: 42,
            symbols: 100,
            messages: None,
            // 2024-01-01T00:00:00Z.
            start: Nanos(1_704_067_200 * NANOS_PER_SECOND),
            interval_ns: 1_440_000,
            bursts: true,
            form: LineForm { receive_time: false, envelope: false },
            quotes_per_million: 0,
            depth_per_million: 0,
            flaws: Flaws::default(),
        }
    }
}

impl GeneratorConfig {
    /// The same at a mean of `messages_per_second` of event time.
    #[must_use]
    pub fn at_rate(self, messages_per_second: u64) -> Self {
        let interval_ns = NANOS_PER_SECOND.unsigned_abs() / messages_per_second.max(1);
        Self { interval_ns, ..self }
    }

    /// The same with `messages` messages, spread over `span_ns` of event time.
    #[must_use]
    pub fn spread(self, messages: u64, span_ns: u64) -> Self {
        Self { messages: Some(messages), interval_ns: span_ns / messages.max(1), ..self }
    }

    fn check(&self) -> Result<(), InvalidConfig> {
        let shares = u64::from(self.quotes_per_million) + u64::from(self.depth_per_million);
        let problem = if self.symbols == 0 || self.symbols > SYMBOLS_MAX {
            Some("symbols must be from 1 to 100000")
        } else if self.interval_ns > INTERVAL_NS_MAX {
            Some("the time between messages must be at most an hour")
        } else if self.start.0 < 0 {
            Some("the start must not be before 1970")
        } else if shares > MILLION {
            Some("quotes and depth add up to more than all messages")
        } else if self.quotes_per_million > 0 && !self.form.receive_time {
            Some("quotes name no time, so they need lines with a receive time")
        } else {
            self.flaws.problem()
        };
        problem.map_or(Ok(()), |problem| Err(InvalidConfig(problem)))
    }
}

/// Why a [`GeneratorConfig`] describes no market.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidConfig(&'static str);

impl fmt::Display for InvalidConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "simulate a market: {}", self.0)
    }
}

impl std::error::Error for InvalidConfig {}

/// Writes the lines of one simulated market. A clone goes on from the same place.
#[derive(Clone, Debug)]
pub struct Generator {
    config: GeneratorConfig,
    random: Random,
    clock: Clock,
    market: Market,
    writer: Writer,
    fates: Fates,
    schedule: Schedule,
    truth: Truth,
    /// Lines written, which is the number of the next.
    slot: u64,
}

impl Generator {
    pub fn new(config: GeneratorConfig) -> Result<Self, InvalidConfig> {
        config.check()?;
        Ok(Self {
            random: Random::new(config.seed),
            clock: Clock::new(config.start, config.interval_ns, config.bursts),
            market: Market::new(config.symbols),
            writer: Writer::new(config.symbols, config.form.envelope),
            fates: Fates::new(&config.flaws),
            schedule: Schedule::default(),
            truth: Truth::new(config.symbols),
            slot: 0,
            config,
        })
    }

    /// Appends whole lines until `block` holds `bytes` or more, and says how many; 0 at the end.
    pub fn fill(&mut self, block: &mut Vec<u8>, bytes: usize) -> u64 {
        let before = self.slot;
        while block.len() < bytes && self.push_line(block) {}
        self.slot - before
    }

    /// Appends one line with its line end. False, and nothing is appended, at the end.
    pub fn push_line(&mut self, out: &mut Vec<u8>) -> bool {
        if self.slot >= self.end() {
            return false;
        }
        let start = out.len();
        let now = self.clock.tick(&mut self.random);
        match self.schedule.take(self.slot) {
            Some((message, nature)) => self.push_due(out, now, &message, nature),
            None => self.push_fresh(out, now),
        }
        out.push(b'\n');
        self.slot += 1;
        self.truth.count_line((out.len() - start) as u64);
        true
    }

    /// Goes on by `messages` lines as if they had been written. Takes as long as writing them.
    pub fn skip(&mut self, messages: u64) {
        let mut discarded = Vec::new();
        for _ in 0..messages {
            discarded.clear();
            if !self.push_line(&mut discarded) {
                return;
            }
        }
    }

    /// Goes on at a mean of `messages_per_second` of event time.
    pub fn change_rate(&mut self, messages_per_second: u64) {
        self.config = self.config.clone().at_rate(messages_per_second);
        self.clock.change_interval(self.config.interval_ns);
    }

    /// Event time of the last line: what a caller paces by.
    pub fn event_time(&self) -> Nanos {
        self.clock.event()
    }

    /// What is true of the lines so far.
    pub fn summary(&self) -> Summary {
        self.truth.summary(self.schedule.withheld())
    }

    fn end(&self) -> u64 {
        self.config.messages.unwrap_or(u64::MAX)
    }

    /// Writes what was scheduled for this slot.
    fn push_due(&mut self, out: &mut Vec<u8>, now: Instants, message: &Message, nature: Nature) {
        let received_ns = match nature {
            Nature::Resent { received_ns } => received_ns,
            Nature::Contradiction | Nature::Withheld => now.received_ns,
        };
        self.push_message(out, received_ns, message);
        match nature {
            Nature::Resent { .. } => self.truth.count_duplicate(),
            Nature::Contradiction => self.truth.count_contradiction(),
            Nature::Withheld => self.truth.count_new(message),
        }
    }

    /// Writes the market's next message, or what became of it.
    fn push_fresh(&mut self, out: &mut Vec<u8>, now: Instants) {
        loop {
            let bits = self.random.next();
            let fate = self.fates.of(bits as u32);
            if fate == Fate::Malformed {
                return self.push_malformed(out, now);
            }
            let mut message = self.draw((bits >> 32) as u32, &now);
            self.truth.count_missing(&message);
            if fate == Fate::Late {
                self.make_late(&mut message);
            }
            let later = self.later(fate);
            if let (Fate::Reordered, Some(slot)) = (fate, later) {
                self.schedule.put(slot, message, Nature::Withheld);
                continue;
            }
            self.push_message(out, now.received_ns, &message);
            self.truth.count_new(&message);
            match (fate, later) {
                (Fate::Duplicated, Some(slot)) => {
                    let nature = Nature::Resent { received_ns: now.received_ns };
                    self.schedule.put(slot, message, nature);
                }
                (Fate::Contradicted, Some(slot)) => {
                    if let Some(other) = message.contradicted() {
                        self.schedule.put(slot, other, Nature::Contradiction);
                    }
                }
                _ => {}
            }
            return;
        }
    }

    /// The slot where something of this message comes later, if its fate is such and there is one.
    fn later(&mut self, fate: Fate) -> Option<u64> {
        match fate {
            Fate::Duplicated | Fate::Contradicted | Fate::Reordered => {
                let (within, end) = (self.config.flaws.within_messages, self.end());
                self.schedule.free_slot(&mut self.random, self.slot, within, end)
            }
            Fate::Late | Fate::Malformed | Fate::Sound => None,
        }
    }

    /// The market's next message.
    fn draw(&mut self, bits: u32, now: &Instants) -> Message {
        let kind = scaled_32(bits, MILLION as u32);
        let (quotes, depth) = (self.config.quotes_per_million, self.config.depth_per_million);
        if kind < quotes {
            return self.market.quote(&mut self.random, now);
        }
        let skip = self.config.flaws.missing_run(&mut self.random);
        if kind < quotes + depth {
            self.market.depth(&mut self.random, now, skip)
        } else {
            self.market.trade(&mut self.random, now, skip)
        }
    }

    /// Puts a trade's event time back. Quotes and book updates cannot be late.
    fn make_late(&mut self, message: &mut Message) {
        if message.data_type() == DataType::Trades {
            let late_by_ns_max = self.config.flaws.late_by_ns_max;
            let back_ms = 1 + self.random.below(late_by_ns_max) as i64 / NANOS_PER_MILLI;
            let start_ms = self.config.start.0 / NANOS_PER_MILLI;
            message.event_ms = (message.event_ms - back_ms).max(start_ms);
            self.truth.count_late();
        }
    }

    fn push_message(&self, out: &mut Vec<u8>, received_ns: i64, message: &Message) {
        self.push_receive_time(out, received_ns);
        self.writer.push(out, message);
    }

    fn push_malformed(&mut self, out: &mut Vec<u8>, now: Instants) {
        let at = self.random.below(MALFORMED.len() as u64) as usize;
        let (reason, line) = MALFORMED[at];
        self.push_receive_time(out, now.received_ns);
        out.extend_from_slice(line);
        self.truth.count_reject(reason);
    }

    fn push_receive_time(&self, out: &mut Vec<u8>, received_ns: i64) {
        if self.config.form.receive_time {
            text::push_number(out, received_ns.unsigned_abs());
            out.push(b' ');
        }
    }
}

#[cfg(test)]
mod tests;
