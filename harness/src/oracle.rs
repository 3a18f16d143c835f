//! The oracle: the right answer, computed from the raw input by a plain program.
//!
//! * **Input**: lines with their venue and source, in the order of arrival.
//! * **Output**: what the product must answer about them: unique trades and quotes (the first
//!   arrival of each number), bars, latest records, open gaps, counts, rejects.
//! * **State**: everything. Nothing is streamed, dropped or estimated, which is what makes it easy
//!   to believe; a trade takes about 400 bytes.
//!
//! It shares no code with the product but the names of reject reasons and the instrument data.
//!
//! Two records with the same number in a stream are a *contradiction* if they differ in price,
//! quantity, side or event time (of a quote: in any price or quantity), and *duplicates*
//! otherwise, however far apart they come.
//!
//! The result does not change when lines are repeated, nor when they are shuffled, as long as
//! lines with the same number are byte for byte the same: of a contradiction the first arrival
//! stays, and so the order decides.

mod bars;
mod canonical;
mod coverage;
mod message;
mod number;

use std::collections::BTreeMap;

use k2_model::{DataType, InstrumentTable, RejectReason};

pub use canonical::{
    CanonicalBar, CanonicalGap, CanonicalQuote, CanonicalTrade, ResultHash, differences,
};
pub use message::{Quote, Trade};
pub use number::decimal_text;

use coverage::{Coverage, holes};
use message::Message;

/// Computes everything again from all lines that it has observed.
#[derive(Debug, Default)]
pub struct Oracle {
    instruments: InstrumentTable,
    streams: BTreeMap<Listing, Streams>,
    tally: Tally,
    /// Lines of each source, empty ones too.
    lines: BTreeMap<String, u64>,
}

/// A symbol at a venue. Ordered by both.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listing {
    pub venue: String,
    pub symbol: String,
}

/// What is known of one listing.
#[derive(Clone, Debug, Default)]
pub struct Streams {
    pub raw_symbol: String,
    /// Unique trades by id.
    pub trades: BTreeMap<u64, Trade>,
    /// Unique quotes by update id.
    pub quotes: BTreeMap<u64, Quote>,
    depth: Coverage,
    counts: BTreeMap<DataType, Counts>,
    highest: BTreeMap<DataType, u64>,
}

/// Lines by what they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub trades: u64,
    pub quotes: u64,
    pub depth_updates: u64,
    pub depth_snapshots: u64,
    /// Replies to subscriptions.
    pub control: u64,
    /// Lines that are no message. Contradictions are messages and not among them.
    pub rejects: BTreeMap<RejectReason, u64>,
}

/// Messages of a stream by what they brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub messages: u64,
    pub unique: u64,
    pub duplicates: u64,
    pub contradictions: u64,
    /// Unique ones with a number below the highest before them.
    pub out_of_order: u64,
}

impl Counts {
    fn add(&mut self, other: &Self) {
        self.messages += other.messages;
        self.unique += other.unique;
        self.duplicates += other.duplicates;
        self.contradictions += other.contradictions;
        self.out_of_order += other.out_of_order;
    }
}

/// What a message brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Unique,
    Duplicate,
    Contradiction,
}

impl Oracle {
    /// An oracle that names symbols by `instruments`.
    pub fn new(instruments: InstrumentTable) -> Self {
        Self { instruments, ..Self::default() }
    }

    /// Observes all lines of `bytes`, which is one source of a venue.
    pub fn observe_all(&mut self, venue: &str, source: &str, bytes: &[u8]) {
        for line in bytes.split_inclusive(|&byte| byte == b'\n') {
            self.observe(venue, source, line.strip_suffix(b"\n").unwrap_or(line));
        }
    }

    /// Observes one line without its line end. An empty line is nothing.
    pub fn observe(&mut self, venue: &str, source: &str, line: &[u8]) {
        match self.lines.get_mut(source) {
            Some(lines) => *lines += 1,
            None => _ = self.lines.insert(source.to_owned(), 1),
        }
        if line.is_empty() {
            return;
        }
        match message::read(line) {
            Ok(message) => self.take(venue, message),
            Err(reason) => *self.tally.rejects.entry(reason).or_default() += 1,
        }
    }

    fn take(&mut self, venue: &str, message: Message) {
        match message {
            Message::Trade { raw_symbol, id, trade } => {
                self.tally.trades += 1;
                self.streams(venue, raw_symbol).take_trade(id, trade);
            }
            Message::Quote { raw_symbol, id, quote } => {
                self.tally.quotes += 1;
                self.streams(venue, raw_symbol).take_quote(id, quote);
            }
            Message::Depth { raw_symbol, first, last } => {
                self.tally.depth_updates += 1;
                self.streams(venue, raw_symbol).take_depth(first, last);
            }
            Message::Snapshot => self.tally.depth_snapshots += 1,
            Message::Control => self.tally.control += 1,
        }
    }

    fn streams(&mut self, venue: &str, raw_symbol: String) -> &mut Streams {
        let known = self.instruments.get(venue, &raw_symbol);
        let symbol = known.map_or(raw_symbol.clone(), |instrument| instrument.symbol.to_string());
        let streams = self.streams.entry(Listing { venue: venue.to_owned(), symbol }).or_default();
        streams.raw_symbol = raw_symbol;
        streams
    }

    /// Lines by what they are.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Lines of each source.
    pub fn lines(&self) -> &BTreeMap<String, u64> {
        &self.lines
    }

    /// Every symbol of which a trade, a quote or a book update came.
    pub fn symbols(&self) -> &BTreeMap<Listing, Streams> {
        &self.streams
    }

    /// Messages of a data type by what they brought, over all symbols.
    pub fn counts(&self, data_type: DataType) -> Counts {
        let mut sum = Counts::default();
        self.streams.values().for_each(|streams| sum.add(&streams.counts(data_type)));
        sum
    }

    /// Unique trades, by listing and id.
    pub fn trades(&self) -> impl Iterator<Item = CanonicalTrade> {
        self.streams.iter().flat_map(|(listing, streams)| {
            streams.trades.iter().map(|(&id, trade)| canonical_trade(listing, id, trade))
        })
    }

    /// Unique quotes, by listing and update id.
    pub fn quotes(&self) -> impl Iterator<Item = CanonicalQuote> {
        self.streams.iter().flat_map(|(listing, streams)| {
            streams.quotes.iter().map(|(&id, quote)| canonical_quote(listing, id, quote))
        })
    }

    /// Of each listing the trade that is last by (event time, id).
    pub fn latest_trades(&self) -> impl Iterator<Item = CanonicalTrade> {
        self.streams.iter().filter_map(|(listing, streams)| {
            let latest = streams.trades.iter().max_by_key(|(id, trade)| (trade.ts_event, **id));
            latest.map(|(&id, trade)| canonical_trade(listing, id, trade))
        })
    }

    /// Of each listing the quote that is last by (event time, update id).
    pub fn latest_quotes(&self) -> impl Iterator<Item = CanonicalQuote> {
        self.streams.iter().filter_map(|(listing, streams)| {
            let latest = streams.quotes.iter().max_by_key(|(id, quote)| (quote.ts_event, **id));
            latest.map(|(&id, quote)| canonical_quote(listing, id, quote))
        })
    }

    /// Bars of all timeframes, by listing, timeframe and start.
    pub fn bars(&self) -> impl Iterator<Item = CanonicalBar> {
        self.streams.iter().flat_map(|(listing, streams)| {
            bars::bars_of((&listing.venue, &listing.symbol), &streams.trades)
        })
    }

    /// Runs of numbers that lie inside a stream and did not come. Quotes have none: their numbers
    /// do not rise by ones.
    pub fn gaps(&self) -> impl Iterator<Item = CanonicalGap> {
        self.streams.iter().flat_map(|(listing, streams)| {
            let of_trades = holes(streams.trades.keys().map(|&id| (id, id)));
            let of_depth = holes(streams.depth.runs());
            let gap = |data_type: DataType, (first, last)| CanonicalGap {
                venue: listing.venue.clone(),
                symbol: listing.symbol.clone(),
                data_type: data_type.as_str().to_owned(),
                first_missing: long(first),
                last_missing: long(last),
            };
            let trades = of_trades.into_iter().map(move |hole| gap(DataType::Trades, hole));
            trades.chain(of_depth.into_iter().map(move |hole| gap(DataType::Depth, hole)))
        })
    }

    /// Every line of the result in its canonical text: trades, quotes, bars, open gaps.
    pub fn canonical_lines(&self) -> impl Iterator<Item = String> {
        let records = self.trades().map(|row| row.to_string());
        let records = records.chain(self.quotes().map(|row| row.to_string()));
        let records = records.chain(self.bars().map(|row| row.to_string()));
        records.chain(self.gaps().map(|row| row.to_string()))
    }

    /// One number for the whole result.
    pub fn result_hash(&self) -> ResultHash {
        let mut hash = ResultHash::default();
        self.canonical_lines().for_each(|line| hash.add_line(&line));
        hash
    }
}

impl Streams {
    /// Messages of a data type by what they brought.
    pub fn counts(&self, data_type: DataType) -> Counts {
        self.counts.get(&data_type).copied().unwrap_or_default()
    }

    fn take_trade(&mut self, id: u64, trade: Trade) {
        let content = |trade: &Trade| (trade.price, trade.quantity, trade.side, trade.ts_event);
        let verdict = match self.trades.get(&id) {
            None => Verdict::Unique,
            Some(first) if content(first) == content(&trade) => Verdict::Duplicate,
            Some(_) => Verdict::Contradiction,
        };
        if verdict == Verdict::Unique {
            self.trades.insert(id, trade);
        }
        self.count(DataType::Trades, verdict, id);
    }

    fn take_quote(&mut self, id: u64, quote: Quote) {
        let content = |q: &Quote| (q.bid_price, q.bid_quantity, q.ask_price, q.ask_quantity);
        let verdict = match self.quotes.get(&id) {
            None => Verdict::Unique,
            Some(first) if content(first) == content(&quote) => Verdict::Duplicate,
            Some(_) => Verdict::Contradiction,
        };
        if verdict == Verdict::Unique {
            self.quotes.insert(id, quote);
        }
        self.count(DataType::Quotes, verdict, id);
    }

    /// An update brings something if any of its numbers has not been covered.
    fn take_depth(&mut self, first: u64, last: u64) {
        let brings = self.depth.cover(first, last);
        let verdict = if brings { Verdict::Unique } else { Verdict::Duplicate };
        self.count(DataType::Depth, verdict, last);
    }

    fn count(&mut self, data_type: DataType, verdict: Verdict, number: u64) {
        let counts = self.counts.entry(data_type).or_default();
        counts.messages += 1;
        match verdict {
            Verdict::Duplicate => counts.duplicates += 1,
            Verdict::Contradiction => counts.contradictions += 1,
            Verdict::Unique => {
                counts.unique += 1;
                let highest = self.highest.entry(data_type).or_default();
                counts.out_of_order += u64::from(number < *highest);
                *highest = number.max(*highest);
            }
        }
    }
}

fn canonical_trade(listing: &Listing, id: u64, trade: &Trade) -> CanonicalTrade {
    CanonicalTrade {
        venue: listing.venue.clone(),
        symbol: listing.symbol.clone(),
        trade_id: long(id),
        sequence: long(id),
        ts_event: trade.ts_event,
        ts_recv: trade.ts_recv,
        price: decimal_text(trade.price),
        quantity: decimal_text(trade.quantity),
        side: trade.side.to_owned(),
        vendor_data: trade
            .vendor_data
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.clone()))
            .collect(),
    }
}

fn canonical_quote(listing: &Listing, id: u64, quote: &Quote) -> CanonicalQuote {
    CanonicalQuote {
        venue: listing.venue.clone(),
        symbol: listing.symbol.clone(),
        sequence: long(id),
        ts_event: quote.ts_event,
        ts_recv: quote.ts_recv,
        bid_price: decimal_text(quote.bid_price),
        bid_quantity: decimal_text(quote.bid_quantity),
        ask_price: decimal_text(quote.ask_price),
        ask_quantity: decimal_text(quote.ask_quantity),
        vendor_data: BTreeMap::new(),
    }
}

fn long(number: u64) -> i64 {
    i64::try_from(number).expect("a message's numbers were read below 2^63")
}

#[cfg(test)]
mod tests;
