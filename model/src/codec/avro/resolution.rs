//! A writer's schema against ours: which of its fields is which of ours, and how each is read.
//!
//! Fields are found by name, otherwise by an alias that the writer gives; what only the writer has
//! is skipped, and what only we have takes its default. Types that Avro promotes to ours are taken,
//! and beyond that whatever cannot be misunderstood: decimals of any scale, fixed ones too, and
//! times in any unit that their logical type names. What would have to be guessed is refused.

use std::sync::LazyLock;

use super::schema::{Field, Record, Schema, SchemaProblem, Type, bare_name, problem};
use super::{QUOTE_SCHEMA, TRADE_SCHEMA};
use crate::record::DataType;
use crate::time::{NANOS_PER_MICRO, NANOS_PER_MILLI};

/// A field of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    Venue,
    Symbol,
    RawSymbol,
    AssetClass,
    Currency,
    TradeId,
    Sequence,
    TsEvent,
    TsRecv,
    Price,
    Quantity,
    BidPrice,
    BidQuantity,
    AskPrice,
    AskQuantity,
    Side,
    Conditions,
    VendorData,
}

/// What a field of ours is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Text,
    Symbol,
    Number,
    Time,
    Decimal,
    Texts,
    Pairs,
}

impl Slot {
    pub(super) const COUNT: usize = Self::VendorData as usize + 1;

    pub(super) const TRADE: [Self; 14] = [
        Self::Venue,
        Self::Symbol,
        Self::RawSymbol,
        Self::AssetClass,
        Self::Currency,
        Self::TradeId,
        Self::Sequence,
        Self::TsEvent,
        Self::TsRecv,
        Self::Price,
        Self::Quantity,
        Self::Side,
        Self::Conditions,
        Self::VendorData,
    ];

    pub(super) const QUOTE: [Self; 14] = [
        Self::Venue,
        Self::Symbol,
        Self::RawSymbol,
        Self::AssetClass,
        Self::Currency,
        Self::Sequence,
        Self::TsEvent,
        Self::TsRecv,
        Self::BidPrice,
        Self::BidQuantity,
        Self::AskPrice,
        Self::AskQuantity,
        Self::Conditions,
        Self::VendorData,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Venue => "venue",
            Self::Symbol => "symbol",
            Self::RawSymbol => "raw_symbol",
            Self::AssetClass => "asset_class",
            Self::Currency => "currency",
            Self::TradeId => "trade_id",
            Self::Sequence => "sequence",
            Self::TsEvent => "ts_event",
            Self::TsRecv => "ts_recv",
            Self::Price => "price",
            Self::Quantity => "quantity",
            Self::BidPrice => "bid_price",
            Self::BidQuantity => "bid_quantity",
            Self::AskPrice => "ask_price",
            Self::AskQuantity => "ask_quantity",
            Self::Side => "side",
            Self::Conditions => "conditions",
            Self::VendorData => "vendor_data",
        }
    }

    /// Whether our schemas have a default for it: empty, or an unknown side.
    pub(super) fn has_default(self) -> bool {
        matches!(self, Self::Currency | Self::Side | Self::Conditions | Self::VendorData)
    }

    pub(super) fn wanted(self) -> Wanted {
        match self {
            Self::Venue | Self::Symbol | Self::RawSymbol | Self::Currency => Wanted::Text,
            Self::AssetClass | Self::Side => Wanted::Symbol,
            Self::TradeId | Self::Sequence => Wanted::Number,
            Self::TsEvent | Self::TsRecv => Wanted::Time,
            Self::Price
            | Self::Quantity
            | Self::BidPrice
            | Self::BidQuantity
            | Self::AskPrice
            | Self::AskQuantity => Wanted::Decimal,
            Self::Conditions => Wanted::Texts,
            Self::VendorData => Wanted::Pairs,
        }
    }
}

impl Wanted {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Text => "a string",
            Self::Symbol => "an enum",
            Self::Number => "a long",
            Self::Time => "a time since 1970 in UTC",
            Self::Decimal => "a decimal",
            Self::Texts => "an array of strings",
            Self::Pairs => "a map of strings",
        }
    }
}

/// How a value of some type becomes what is wanted.
#[derive(Clone, Copy)]
pub(super) enum Reading<'s> {
    Null,
    Text,
    /// One of these.
    Symbol(&'s [Box<str>]),
    Number,
    /// In units of so many nanoseconds.
    Time(i64),
    Decimal {
        size: Option<usize>,
        scale: u32,
    },
    /// Elements of this type.
    Texts(&'s Type),
    /// Values of this type.
    Pairs(&'s Type),
}

impl<'s> Reading<'s> {
    /// `None` if `kind`, which is no union, is not what is wanted.
    pub(super) fn of(kind: &'s Type, wanted: Wanted) -> Option<Self> {
        Some(match (wanted, kind) {
            (_, Type::Null) => Self::Null,
            (Wanted::Text, Type::Text | Type::Bytes) => Self::Text,
            (Wanted::Symbol, Type::Enum(symbols)) => Self::Symbol(symbols),
            (Wanted::Number, Type::Int(_) | Type::Long(_)) => Self::Number,
            (Wanted::Time, Type::Int(None) | Type::Long(None)) => Self::Time(1),
            (Wanted::Time, Type::Long(Some(logical))) => match &**logical {
                "timestamp-millis" => Self::Time(NANOS_PER_MILLI),
                "timestamp-micros" => Self::Time(NANOS_PER_MICRO),
                "timestamp-nanos" => Self::Time(1),
                // Of another kind of time: of a day, or of an unknown zone.
                _ => return None,
            },
            (Wanted::Decimal, Type::Decimal { size, scale }) => {
                Self::Decimal { size: *size, scale: *scale }
            }
            (Wanted::Texts, Type::Array(items)) if is_readable(items, Wanted::Text) => {
                Self::Texts(items)
            }
            (Wanted::Pairs, Type::Map(values)) if is_readable(values, Wanted::Text) => {
                Self::Pairs(values)
            }
            _ => return None,
        })
    }
}

/// Whether some value of `kind`, other than null, is what is wanted.
fn is_readable(kind: &Type, wanted: Wanted) -> bool {
    let is_wanted =
        |kind| Reading::of(kind, wanted).is_some_and(|reading| !matches!(reading, Reading::Null));
    match kind {
        Type::Union(branches) => branches.iter().any(is_wanted),
        kind => is_wanted(kind),
    }
}

/// A field of a writer's record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) name: Box<str>,
    pub(super) kind: Type,
    /// Which of our fields it is; `None` if it is skipped.
    pub(super) slot: Option<Slot>,
}

/// The schema of a writer of trades or quotes, and how its records become ours.
#[derive(Clone, Debug)]
pub struct WriterSchema {
    data_type: DataType,
    is_ours: bool,
    /// One for each field, in the writer's order.
    pub(super) steps: Vec<Step>,
    /// All records of the schema, for what is skipped.
    pub(super) records: Vec<Record>,
}

/// The steps of our own schemas.
static OURS: LazyLock<[Vec<Step>; 2]> = LazyLock::new(|| {
    [TRADE_SCHEMA, QUOTE_SCHEMA].map(|text| {
        let ours = Schema::parse(text).and_then(WriterSchema::resolve);
        ours.expect("our own schemas are read in tests").steps
    })
});

impl WriterSchema {
    /// Reads `text`, a schema as a registry has it: JSON.
    ///
    /// It is one of trades or of quotes if its record is named `Trade` or `Quote`, in any namespace,
    /// and has all fields of ours that have no default, each of a type that can be read as ours.
    pub fn parse(text: &str) -> Result<Self, SchemaProblem> {
        let mut schema = Self::resolve(Schema::parse(text)?)?;
        // Not by Avro's canonical form, which leaves out the scales of decimals and the units of
        // times: what counts is that the same bytes mean the same.
        schema.is_ours = OURS.contains(&schema.steps);
        Ok(schema)
    }

    /// [`DataType::Trades`] or [`DataType::Quotes`].
    pub fn data_type(&self) -> DataType {
        self.data_type
    }

    /// Whether its records are written as K2 writes them, and so are read fast.
    pub fn is_ours(&self) -> bool {
        self.is_ours
    }

    fn resolve(schema: Schema) -> Result<Self, SchemaProblem> {
        let Schema { root, records } = schema;
        let Type::Record(place) = root else {
            return problem(format!("{root} is not a trade or a quote: neither is a record"));
        };
        let root = &records[place];
        let mut names = std::iter::once(&root.name).chain(&root.aliases);
        let known = names.find_map(|name| match bare_name(name) {
            "Trade" => Some((DataType::Trades, Slot::TRADE)),
            "Quote" => Some((DataType::Quotes, Slot::QUOTE)),
            _ => None,
        });
        let Some((data_type, slots)) = known else {
            return problem(format!(
                "record {} is not a trade or a quote: those are named Trade or Quote, or have that \
                 as an alias",
                root.name
            ));
        };
        let steps = steps_of(root, &slots)?;
        Ok(Self { data_type, is_ours: false, steps, records })
    }
}

fn steps_of(root: &Record, slots: &[Slot]) -> Result<Vec<Step>, SchemaProblem> {
    let step = |field: &Field| Step {
        name: field.name.clone(),
        kind: field.kind.clone(),
        slot: slots.iter().copied().find(|slot| *slot.name() == *field.name),
    };
    let mut steps: Vec<Step> = root.fields.iter().map(step).collect();
    for &slot in slots {
        if steps.iter().any(|step| step.slot == Some(slot)) {
            continue;
        }
        let mut renamed = steps.iter_mut().zip(&root.fields).filter(|(step, field)| {
            step.slot.is_none() && field.aliases.iter().any(|alias| **alias == *slot.name())
        });
        match renamed.next() {
            Some((step, _)) => step.slot = Some(slot),
            None if slot.has_default() => {}
            None => {
                return problem(format!(
                    "record {} has no field `{}`, and ours has no default for it",
                    root.name,
                    slot.name()
                ));
            }
        }
    }
    for step in &steps {
        let Some(slot) = step.slot else { continue };
        if !is_readable(&step.kind, slot.wanted()) {
            return problem(format!(
                "field `{}` of record {} is {}, and ours is {}",
                step.name,
                root.name,
                step.kind,
                slot.wanted().name()
            ));
        }
    }
    Ok(steps)
}
