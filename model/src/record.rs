//! What a message becomes: trade, quote, depth mark, reject.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use serde::{Deserialize, Serialize};

use crate::decimal::Decimal;
use crate::instrument::Instrument;
use crate::intern::Interner;
use crate::origin::Coordinates;
use crate::time::Nanos;

/// What a stream or feed carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DataType {
    Trades,
    Quotes,
    Depth,
}

impl DataType {
    pub const ALL: [Self; 3] = [Self::Trades, Self::Quotes, Self::Depth];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trades => "trades",
            Self::Quotes => "quotes",
            Self::Depth => "depth",
        }
    }
}

/// The scope in which a venue numbers its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Stream {
    pub instrument: Instrument,
    pub data_type: DataType,
}

impl Stream {
    /// What the ids of all messages of the stream begin with: `VENUE/RAWSYMBOL/DATATYPE/`. The
    /// number follows, so that the same message has the same id wherever it came from.
    pub fn message_id_prefix(&self) -> String {
        let Self { instrument, data_type } = self;
        format!("{}/{}/{}/", instrument.venue, instrument.raw_symbol, data_type.as_str())
    }
}

/// The aggressor's side.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Side {
    Buy,
    Sell,
    SellShort,
    #[default]
    Unknown,
}

impl Side {
    pub const ALL: [Self; 4] = [Self::Buy, Self::Sell, Self::SellShort, Self::Unknown];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Buy => "BUY",
            Self::Sell => "SELL",
            Self::SellShort => "SELL_SHORT",
            Self::Unknown => "UNKNOWN",
        }
    }
}

/// One execution.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Trade {
    pub instrument: Instrument,
    /// The venue's own id of the trade, unique within the stream.
    pub trade_id: u64,
    /// The venue's number in the stream; equals `trade_id` where the venue numbers its trades.
    pub sequence: u64,
    /// The venue's clock.
    pub ts_event: Nanos,
    /// Ours, when it was received; the venue's sending time where the capture has none.
    pub ts_recv: Nanos,
    pub price: Decimal,
    pub quantity: Decimal,
    pub side: Side,
    pub vendor_data: VendorData,
    pub at: Coordinates,
}

/// Best bid and offer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Quote {
    pub instrument: Instrument,
    /// The venue's update id: rises within the stream, but not by ones.
    pub sequence: u64,
    pub ts_event: Nanos,
    pub ts_recv: Nanos,
    pub bid_price: Decimal,
    pub bid_quantity: Decimal,
    pub ask_price: Decimal,
    pub ask_quantity: Decimal,
    pub vendor_data: VendorData,
    pub at: Coordinates,
}

/// An order-book update: its place in the stream's numbering; the levels are not kept.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Depth {
    pub instrument: Instrument,
    /// First number that the update covers: the venue's previous number + 1 where it names that
    /// (`pu` + 1), otherwise the update's own first (`U`).
    pub first: u64,
    /// Last number that the update covers (`u`).
    pub last: u64,
    pub ts_event: Nanos,
    pub ts_recv: Nanos,
    pub at: Coordinates,
}

/// A message that could not become a record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Reject {
    pub venue: Box<str>,
    /// The message as it came, without its line end.
    pub raw: Vec<u8>,
    pub reason: RejectReason,
    /// What exactly was wrong, for a person.
    pub detail: String,
    /// Receive time, where the line had one that could be read.
    pub ts_recv: Option<Nanos>,
    /// The registry's id of the schema that the message names; `None` for one that names none.
    pub schema_id: Option<u32>,
    pub at: Coordinates,
}

/// Why a message was rejected: the stable code in the `reason` column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RejectReason {
    NotUtf8,
    NotJson,
    UnknownEvent,
    MissingField,
    /// A field is there but has the wrong type or form.
    InvalidField,
    /// More than 12 decimals: it would have to be rounded.
    TooPrecise,
    OutOfRange,
    Negative,
    /// The line is longer than the source accepts; `raw` is its head.
    TooLong,
    /// Same identity as an earlier record of the stream, but other content.
    Contradiction,
    /// More unknown raw symbols than a job accepts.
    TooManyInstruments,
    /// The stream's sequence set has reached its bound of runs.
    TooManyGaps,
    /// The message is not in the format that its topic is set to.
    WrongFormat,
    /// The registry has no schema of the id that the message names, or it is of no trade or quote.
    UnknownSchema,
    /// The bytes are not a record of the schema that the message names.
    NotAvro,
}

impl RejectReason {
    pub const ALL: [Self; 15] = [
        Self::NotUtf8,
        Self::NotJson,
        Self::UnknownEvent,
        Self::MissingField,
        Self::InvalidField,
        Self::TooPrecise,
        Self::OutOfRange,
        Self::Negative,
        Self::TooLong,
        Self::Contradiction,
        Self::TooManyInstruments,
        Self::TooManyGaps,
        Self::WrongFormat,
        Self::UnknownSchema,
        Self::NotAvro,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotUtf8 => "not_utf8",
            Self::NotJson => "not_json",
            Self::UnknownEvent => "unknown_event",
            Self::MissingField => "missing_field",
            Self::InvalidField => "invalid_field",
            Self::TooPrecise => "too_precise",
            Self::OutOfRange => "out_of_range",
            Self::Negative => "negative",
            Self::TooLong => "too_long",
            Self::Contradiction => "contradiction",
            Self::TooManyInstruments => "too_many_instruments",
            Self::TooManyGaps => "too_many_gaps",
            Self::WrongFormat => "wrong_format",
            Self::UnknownSchema => "unknown_schema",
            Self::NotAvro => "not_avro",
        }
    }
}

/// Field name → value, as the vendor gave them: what K2 has no column for.
pub type VendorPairs = Vec<(Box<str>, Box<str>)>;

/// What some vendors say of a record, and most do not.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct VendorFields {
    /// The venue's codes for the conditions of the trade or quote, in its order.
    pub conditions: Vec<Box<str>>,
    pub pairs: VendorPairs,
}

impl VendorFields {
    const NONE: Self = Self { conditions: Vec::new(), pairs: Vec::new() };

    /// `pairs`, and no conditions.
    pub fn of_pairs(pairs: VendorPairs) -> Self {
        Self { pairs, ..Self::NONE }
    }

    pub fn is_empty(&self) -> bool {
        self.conditions.is_empty() && self.pairs.is_empty()
    }
}

static VENDOR_DATA: Interner<VendorFields> = Interner::new();
static NO_VENDOR_DATA: VendorFields = VendorFields::NONE;

/// A record's [`VendorFields`]: shared where few values recur, owned where each record has its own.
#[derive(Clone)]
pub enum VendorData {
    Shared(&'static VendorFields),
    Owned(Box<VendorFields>),
}

impl VendorData {
    pub const EMPTY: Self = Self::Shared(&NO_VENDOR_DATA);

    /// Interns `fields`. Only for values of which there are few: an interned value is never freed.
    pub fn shared(fields: VendorFields) -> Self {
        if fields.is_empty() { Self::EMPTY } else { Self::Shared(VENDOR_DATA.intern(fields)) }
    }

    /// Keeps `fields` with its one record.
    pub fn owned(fields: VendorFields) -> Self {
        if fields.is_empty() { Self::EMPTY } else { Self::Owned(Box::new(fields)) }
    }

    #[inline]
    pub fn fields(&self) -> &VendorFields {
        match self {
            Self::Shared(fields) => fields,
            Self::Owned(fields) => fields,
        }
    }

    #[inline]
    pub fn conditions(&self) -> &[Box<str>] {
        &self.fields().conditions
    }

    #[inline]
    pub fn pairs(&self) -> &VendorPairs {
        &self.fields().pairs
    }
}

impl PartialEq for VendorData {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.fields(), other.fields()) || self.fields() == other.fields()
    }
}

impl Eq for VendorData {}

impl PartialOrd for VendorData {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for VendorData {
    fn cmp(&self, other: &Self) -> Ordering {
        self.fields().cmp(other.fields())
    }
}

impl Hash for VendorData {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.fields().hash(state);
    }
}

impl fmt::Debug for VendorData {
    /// The pairs as a map, with the conditions before them where there are any.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.conditions().is_empty() {
            write!(f, "{:?} ", self.conditions())?;
        }
        f.debug_map().entries(self.pairs().iter().map(|(key, value)| (key, value))).finish()
    }
}

impl Serialize for VendorData {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.fields().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for VendorData {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        VendorFields::deserialize(deserializer).map(Self::owned)
    }
}
