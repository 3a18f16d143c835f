//! The general reader: bodies in any schema that can be read as ours, and what is wrong with them.
//!
//! A body is first taken apart as its writer's schema says, and only then looked at as a trade or
//! a quote: what is told of a body that is no record of its schema must not depend on what its
//! bytes happen to mean.

use super::body::Body;
use super::decimals::decimal_of;
use super::instruments::Named;
use super::resolution::{Reading, Slot, Step, Wanted, WriterSchema};
use super::schema::{Record, Type};
use crate::codec::{Problem, excerpt};
use crate::decimal::{Decimal, DecimalError};
use crate::instrument::AssetClass;
use crate::record::{RejectReason, Side};
use crate::time::Nanos;

/// Values that are skipped in one record, those within others included. Without an end to them, a
/// schema of records in records could ask for any number from a body without a byte.
const SKIPPED_MAX: usize = 1 << 20;
/// Types within types in what is skipped.
const DEPTH_MAX: usize = 64;

/// A value as it stands in the body.
#[derive(Clone, Debug, Default)]
enum Value<'a> {
    /// Null, or not in the writer's schema.
    #[default]
    Absent,
    Text(&'a str),
    Symbol(&'a str),
    Number(i64),
    Time {
        units: i64,
        nanos_per_unit: i64,
    },
    Decimal {
        bytes: &'a [u8],
        scale: u32,
    },
    Texts(Vec<&'a str>),
    Pairs(Vec<(&'a str, &'a str)>),
    /// Of a branch of a union that is not ours, as this says.
    Other(String),
}

/// Our fields of one record.
pub(super) struct Values<'a>([Value<'a>; Slot::COUNT]);

/// Takes `body` apart.
pub(super) fn read<'a>(schema: &'a WriterSchema, body: &'a [u8]) -> Result<Values<'a>, Problem> {
    let mut reader =
        Reader { body: Body::new(body), records: &schema.records, skips_left: SKIPPED_MAX };
    let mut values = Values(Default::default());
    for step in &schema.steps {
        let start = body.len() - reader.body.rest().len();
        let read = match step.slot {
            Some(slot) => {
                reader.value(&step.kind, slot.wanted()).map(|value| values.0[slot as usize] = value)
            }
            None => reader.skip(&step.kind, DEPTH_MAX),
        };
        read.ok_or_else(|| not_a_value(step, start, body.len()))?;
    }
    match reader.body.rest().len() {
        0 => Ok(values),
        more => Err(Problem {
            reason: RejectReason::NotAvro,
            detail: format!("{more} of {} bytes are left behind the last field", body.len()),
        }),
    }
}

#[cold]
fn not_a_value(step: &Step, start: usize, length: usize) -> Problem {
    let Step { name, kind, .. } = step;
    let (name, kind) = (excerpt(name), kind.to_string());
    let kind = excerpt(&kind);
    let detail = format!("field `{name}`: no {kind} can be read at byte {start} of {length}");
    Problem { reason: RejectReason::NotAvro, detail }
}

struct Reader<'a> {
    body: Body<'a>,
    records: &'a [Record],
    skips_left: usize,
}

impl<'a> Reader<'a> {
    /// Takes a value of `kind` for a field of ours. `None` if the body has none.
    fn value(&mut self, kind: &'a Type, wanted: Wanted) -> Option<Value<'a>> {
        let kind = match kind {
            Type::Union(branches) => branches.get(self.body.short()?)?,
            kind => kind,
        };
        let Some(reading) = Reading::of(kind, wanted) else {
            self.skip(kind, DEPTH_MAX)?;
            return Some(Value::Other(format!("it is {kind}")));
        };
        Some(match reading {
            Reading::Null => Value::Absent,
            Reading::Text => Value::Text(self.body.text()?),
            Reading::Symbol(symbols) => Value::Symbol(self.symbol(symbols)?),
            Reading::Number => Value::Number(self.integer(kind)?),
            Reading::Time(nanos_per_unit) => {
                Value::Time { units: self.integer(kind)?, nanos_per_unit }
            }
            Reading::Decimal { size, scale } => {
                let bytes = match size {
                    Some(size) => self.body.take(size)?,
                    None => self.body.bytes()?,
                };
                Value::Decimal { bytes, scale }
            }
            Reading::Texts(items) => self.texts(items)?,
            Reading::Pairs(values) => self.pairs(values)?,
        })
    }

    fn symbol(&mut self, symbols: &'a [Box<str>]) -> Option<&'a str> {
        symbols.get(self.body.short()?).map(|symbol| &**symbol)
    }

    fn integer(&mut self, kind: &Type) -> Option<i64> {
        let long = self.body.long()?;
        let fits = !matches!(kind, Type::Int(_)) || i32::try_from(long).is_ok();
        fits.then_some(long)
    }

    fn texts(&mut self, items: &'a Type) -> Option<Value<'a>> {
        let (mut texts, mut other) = (Vec::new(), None);
        self.blocks(|reader| {
            match reader.value(items, Wanted::Text)? {
                Value::Text(text) => texts.push(text),
                _ => other = Some(Value::Other("not all in it are strings".into())),
            }
            Some(())
        })?;
        Some(other.unwrap_or(Value::Texts(texts)))
    }

    fn pairs(&mut self, values: &'a Type) -> Option<Value<'a>> {
        let (mut pairs, mut other) = (Vec::new(), None);
        self.blocks(|reader| {
            let key = reader.body.text()?;
            match reader.value(values, Wanted::Text)? {
                Value::Text(text) => pairs.push((key, text)),
                _ => other = Some(Value::Other("not all in it are strings".into())),
            }
            Some(())
        })?;
        Some(other.unwrap_or(Value::Pairs(pairs)))
    }

    /// [`Body::blocks`], with the items taken by this reader.
    fn blocks(&mut self, mut item: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        let mut body = self.body;
        body.blocks(|body| {
            self.body = *body;
            item(self)?;
            *body = self.body;
            Some(())
        })?;
        self.body = body;
        Some(())
    }

    /// Takes a value of `kind` and forgets it.
    fn skip(&mut self, kind: &'a Type, depth: usize) -> Option<()> {
        self.skips_left = self.skips_left.checked_sub(1)?;
        let depth = depth.checked_sub(1)?;
        match kind {
            Type::Null => {}
            Type::Boolean => {
                self.body.take(1).filter(|byte| byte[0] < 2)?;
            }
            Type::Int(_) | Type::Long(_) => {
                self.integer(kind)?;
            }
            Type::Float => {
                self.body.take(4)?;
            }
            Type::Double => {
                self.body.take(8)?;
            }
            Type::Text => {
                self.body.text()?;
            }
            Type::Bytes | Type::Decimal { size: None, .. } => {
                self.body.bytes()?;
            }
            Type::Fixed(size) | Type::Decimal { size: Some(size), .. } => {
                self.body.take(*size)?;
            }
            Type::Enum(symbols) => {
                self.symbol(symbols)?;
            }
            Type::Array(items) => self.blocks(|reader| reader.skip(items, depth))?,
            Type::Map(values) => self.blocks(|reader| {
                reader.body.text()?;
                reader.skip(values, depth)
            })?,
            Type::Union(branches) => {
                let branch = branches.get(self.body.short()?)?;
                self.skip(branch, depth)?;
            }
            Type::Record(place) => {
                let fields = &self.records[*place].fields;
                fields.iter().try_for_each(|field| self.skip(&field.kind, depth))?;
            }
        }
        Some(())
    }
}

impl<'a> Values<'a> {
    pub(super) fn named(&self) -> Result<Named<'_>, Problem> {
        Ok(Named {
            venue: self.text(Slot::Venue)?,
            symbol: self.text(Slot::Symbol)?,
            raw_symbol: self.text(Slot::RawSymbol)?,
            asset_class: self.asset_class()?,
            currency: self.text(Slot::Currency)?,
        })
    }

    fn text(&self, slot: Slot) -> Result<&'a str, Problem> {
        match self.of(slot)? {
            Value::Text(text) => Ok(text),
            _ => Ok(""),
        }
    }

    fn symbol(&self, slot: Slot) -> Result<Option<&'a str>, Problem> {
        match self.of(slot)? {
            Value::Symbol(symbol) => Ok(Some(symbol)),
            _ => Ok(None),
        }
    }

    /// A symbol that is none of ours is our schema's default.
    fn asset_class(&self) -> Result<AssetClass, Problem> {
        let symbol = self.symbol(Slot::AssetClass)?;
        let known = AssetClass::ALL.into_iter().find(|known| Some(known.as_str()) == symbol);
        Ok(known.unwrap_or_default())
    }

    /// A symbol that is none of ours is our schema's default, as is none at all.
    pub(super) fn side(&self) -> Result<Side, Problem> {
        let symbol = self.symbol(Slot::Side)?;
        let known = Side::ALL.into_iter().find(|known| Some(known.as_str()) == symbol);
        Ok(known.unwrap_or_default())
    }

    pub(super) fn number(&self, slot: Slot) -> Result<u64, Problem> {
        let Value::Number(number) = self.of(slot)? else { unreachable!("{ONLY_WHAT_IS_WANTED}") };
        u64::try_from(*number).map_err(|_| {
            let what = format!("{number} is not from 0 to {}", i64::MAX);
            problem(slot, RejectReason::OutOfRange, &what)
        })
    }

    pub(super) fn time(&self, slot: Slot) -> Result<Nanos, Problem> {
        let Value::Time { units, nanos_per_unit } = self.of(slot)? else {
            unreachable!("{ONLY_WHAT_IS_WANTED}")
        };
        let nanos = units.checked_mul(*nanos_per_unit).filter(|&nanos| nanos >= 0);
        nanos.map(Nanos).ok_or_else(|| {
            let what =
                format!("{units} times {nanos_per_unit} ns is not from 0 to {} ns", i64::MAX);
            problem(slot, RejectReason::OutOfRange, &what)
        })
    }

    /// A price or quantity: not negative.
    pub(super) fn decimal(&self, slot: Slot) -> Result<Decimal, Problem> {
        let Value::Decimal { bytes, scale } = self.of(slot)? else {
            unreachable!("{ONLY_WHAT_IS_WANTED}")
        };
        let number = decimal_of(bytes, *scale).map_err(|error| match error {
            DecimalError::Form => problem(slot, RejectReason::InvalidField, "it has no bytes"),
            DecimalError::TooPrecise => problem(slot, RejectReason::TooPrecise, &error.to_string()),
            DecimalError::OutOfRange => problem(slot, RejectReason::OutOfRange, &error.to_string()),
        })?;
        if number.is_negative() {
            return Err(problem(slot, RejectReason::Negative, &format!("{number} is negative")));
        }
        Ok(number)
    }

    pub(super) fn conditions(&self) -> Result<&[&'a str], Problem> {
        match self.of(Slot::Conditions)? {
            Value::Texts(texts) => Ok(texts),
            _ => Ok(&[]),
        }
    }

    pub(super) fn pairs(&self) -> Result<&[(&'a str, &'a str)], Problem> {
        match self.of(Slot::VendorData)? {
            Value::Pairs(pairs) => Ok(pairs),
            _ => Ok(&[]),
        }
    }

    /// What is there for `slot`: of the kind that it wants, or absent if it has a default.
    fn of(&self, slot: Slot) -> Result<&Value<'a>, Problem> {
        match &self.0[slot as usize] {
            Value::Absent if !slot.has_default() => {
                Err(problem(slot, RejectReason::MissingField, "null, and it has no default"))
            }
            Value::Other(what) => {
                let what = format!("{what}, and ours is {}", slot.wanted().name());
                Err(problem(slot, RejectReason::InvalidField, &what))
            }
            value => Ok(value),
        }
    }
}

/// Why no slot has a value of another kind.
const ONLY_WHAT_IS_WANTED: &str = "a slot without a default has what it wants, or an error";

#[cold]
fn problem(slot: Slot, reason: RejectReason, what: &str) -> Problem {
    Problem { reason, detail: format!("field `{}`: {what}", slot.name()) }
}
