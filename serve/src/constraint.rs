//! What a filter says of the columns that files and memory can be pruned by.
//!
//! Pure. A constraint is never narrower than its filter: every row that the filter lets pass
//! fulfils the constraint, and what is not understood constrains nothing.

use std::collections::{BTreeMap, BTreeSet};

use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::{InList, ScalarFunction};
use datafusion::logical_expr::{Between, BinaryExpr, Expr, Operator};
use k2_model::Nanos;
use k2_model::time::{NANOS_PER_DAY, NANOS_PER_MICRO};
use k2_sinks::{Bounds, PlannedFile};

use crate::functions::window::WINDOW;

/// A column that rows are looked up by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    Venue,
    Symbol,
    /// Microseconds.
    Ts,
    TsEvent,
    TsRecv,
    TradeId,
    Sequence,
    Offset,
    /// Nanoseconds.
    WindowStart,
}

impl Key {
    fn of(column: &str) -> Option<Self> {
        Some(match column {
            "venue" => Self::Venue,
            "symbol" => Self::Symbol,
            "ts" => Self::Ts,
            "ts_event" => Self::TsEvent,
            "ts_recv" => Self::TsRecv,
            "trade_id" => Self::TradeId,
            "sequence" => Self::Sequence,
            "offset" => Self::Offset,
            "window_start" => Self::WindowStart,
            _ => return None,
        })
    }

    /// Nanoseconds of one unit, for the columns that are times.
    fn unit_ns(self) -> Option<i64> {
        match self {
            Self::Ts => Some(NANOS_PER_MICRO),
            Self::WindowStart => Some(1),
            _ => None,
        }
    }
}

/// From the first to the last, both inclusive.
pub(crate) type Range = Bounds<i64>;

const ALL: Range = Range { lower: i64::MIN, upper: i64::MAX };

/// Of each key that is constrained the values that rows may have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Constraint {
    texts: BTreeMap<Key, BTreeSet<String>>,
    ranges: BTreeMap<Key, Range>,
    /// No row can fulfil it.
    is_never: bool,
}

impl Constraint {
    /// What rows that pass all of `filters` must fulfil.
    pub(crate) fn of(filters: &[Expr]) -> Self {
        let all = filters.iter().map(of_filter);
        all.fold(Self::default(), Self::and).with_derived_times()
    }

    pub(crate) fn is_never(&self) -> bool {
        self.is_never
    }

    /// The values that a text may have; `None` if it may be anything.
    pub(crate) fn texts(&self, key: Key) -> Option<&BTreeSet<String>> {
        self.texts.get(&key)
    }

    pub(crate) fn range(&self, key: Key) -> Range {
        self.ranges.get(&key).copied().unwrap_or(ALL)
    }

    pub(crate) fn is_constrained(&self, key: Key) -> bool {
        self.ranges.contains_key(&key) || self.texts.contains_key(&key)
    }

    pub(crate) fn admits_text(&self, key: Key, text: &str) -> bool {
        self.texts.get(&key).is_none_or(|texts| texts.contains(text))
    }

    /// Whether the numbers of a row are within their ranges; `number` answers those it has.
    pub(crate) fn admits_numbers(&self, number: impl Fn(Key) -> Option<i64>) -> bool {
        self.ranges.iter().all(|(key, range)| {
            number(*key).is_none_or(|value| range.lower <= value && value <= range.upper)
        })
    }

    /// Whether a row of `file` may fulfil it. `buckets` are those of the symbols.
    pub(crate) fn admits_file(&self, file: &PlannedFile, buckets: Option<&BTreeSet<i32>>) -> bool {
        let day = |micros: i64| Nanos(micros.saturating_mul(NANOS_PER_MICRO)).day();
        let ts = self.range(Key::Ts);
        let of_key = |key| match key {
            Key::TsEvent => file.ts_event,
            Key::TsRecv => file.ts_recv,
            Key::TradeId => file.trade_id,
            Key::Sequence => file.sequence,
            Key::Offset => file.offset,
            Key::Venue | Key::Symbol | Key::Ts | Key::WindowStart => None,
        };
        let has_text = |key, bounds: &Option<Bounds<Box<str>>>| match (self.texts(key), bounds) {
            (Some(texts), Some(bounds)) => {
                texts.iter().any(|text| *bounds.lower <= **text && **text <= *bounds.upper)
            }
            _ => true,
        };
        !self.is_never
            && file.day.is_none_or(|at| day(ts.lower) <= at && at <= day(ts.upper))
            && file.bucket.is_none_or(|at| buckets.is_none_or(|buckets| buckets.contains(&at)))
            && has_text(Key::Venue, &file.venue)
            && has_text(Key::Symbol, &file.symbol)
            && self.ranges.iter().all(|(key, range)| {
                of_key(*key).is_none_or(|bounds| bounds.meets(&range.lower, &range.upper))
            })
    }

    fn never() -> Self {
        Self { is_never: true, ..Self::default() }
    }

    fn text(key: Key, texts: BTreeSet<String>) -> Self {
        Self { is_never: texts.is_empty(), texts: [(key, texts)].into(), ..Self::default() }
    }

    fn ranged(key: Key, range: Range) -> Self {
        let is_never = range.lower > range.upper;
        Self { is_never, ranges: [(key, range)].into(), ..Self::default() }
    }

    fn and(mut self, other: Self) -> Self {
        self.is_never |= other.is_never;
        for (key, theirs) in other.texts {
            let texts = match self.texts.remove(&key) {
                Some(mine) => mine.intersection(&theirs).cloned().collect(),
                None => theirs,
            };
            self.is_never |= texts.is_empty();
            self.texts.insert(key, texts);
        }
        for (key, theirs) in other.ranges {
            let mine = self.range(key);
            let (lower, upper) = (mine.lower.max(theirs.lower), mine.upper.min(theirs.upper));
            self.is_never |= lower > upper;
            self.ranges.insert(key, Range { lower, upper });
        }
        self
    }

    /// The least that covers both: only what both constrain stays constrained.
    fn or(mut self, other: Self) -> Self {
        if self.is_never {
            return other;
        }
        if other.is_never {
            return self;
        }
        self.texts.retain(|key, _| other.texts.contains_key(key));
        for (key, texts) in &mut self.texts {
            texts.extend(other.texts[key].iter().cloned());
        }
        self.ranges.retain(|key, _| other.ranges.contains_key(key));
        for (key, range) in &mut self.ranges {
            let theirs = other.ranges[key];
            range.lower = range.lower.min(theirs.lower);
            range.upper = range.upper.max(theirs.upper);
        }
        self
    }

    /// `ts` is `ts_event` in microseconds, rounded down: each constrains the other.
    fn with_derived_times(self) -> Self {
        let mut derived = Self::default();
        if let Some(event) = self.ranges.get(&Key::TsEvent) {
            let micros = |ns: i64| ns.div_euclid(NANOS_PER_MICRO);
            let range = Range { lower: micros(event.lower), upper: micros(event.upper) };
            derived = derived.and(Self::ranged(Key::Ts, range));
        }
        if let Some(ts) = self.ranges.get(&Key::Ts) {
            let lower = ts.lower.saturating_mul(NANOS_PER_MICRO);
            let upper =
                ts.upper.saturating_mul(NANOS_PER_MICRO).saturating_add(NANOS_PER_MICRO - 1);
            derived = derived.and(Self::ranged(Key::TsEvent, Range { lower, upper }));
        }
        self.and(derived)
    }
}

fn of_filter(filter: &Expr) -> Constraint {
    match filter {
        Expr::BinaryExpr(BinaryExpr { op: Operator::And, .. }) => {
            let parts = chain(filter, Operator::And).into_iter().map(of_filter);
            parts.reduce(Constraint::and).unwrap_or_default()
        }
        Expr::BinaryExpr(BinaryExpr { op: Operator::Or, .. }) => {
            let parts = chain(filter, Operator::Or).into_iter().map(of_filter);
            parts.reduce(Constraint::or).unwrap_or_default()
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match (&**left, &**right) {
            (target, Expr::Literal(value, _)) => of_comparison(target, *op, value),
            (Expr::Literal(value, _), target) => {
                op.swap().map_or_else(Constraint::default, |op| of_comparison(target, op, value))
            }
            _ => Constraint::default(),
        },
        Expr::InList(InList { expr, list, negated: false }) => {
            let literals = list.iter().map(|item| match item {
                Expr::Literal(value, _) => of_comparison(expr, Operator::Eq, value),
                _ => Constraint::default(),
            });
            literals.reduce(Constraint::or).unwrap_or_default()
        }
        Expr::Between(Between { expr, negated: false, low, high }) => {
            let bound = |op, bound: &Expr| match bound {
                Expr::Literal(value, _) => of_comparison(expr, op, value),
                _ => Constraint::default(),
            };
            bound(Operator::GtEq, low).and(bound(Operator::LtEq, high))
        }
        Expr::Literal(ScalarValue::Boolean(Some(false)), _) => Constraint::never(),
        _ => Constraint::default(),
    }
}

/// What `op` ties together in `filter`. Long chains lean to the left, so that side is walked and
/// not recursed into.
fn chain(filter: &Expr, op: Operator) -> Vec<&Expr> {
    let (mut parts, mut rest) = (Vec::new(), filter);
    while let Expr::BinaryExpr(BinaryExpr { left, op: found, right }) = rest
        && *found == op
    {
        parts.push(&**right);
        rest = left;
    }
    parts.push(rest);
    parts
}

fn of_comparison(target: &Expr, op: Operator, value: &ScalarValue) -> Constraint {
    match target {
        Expr::Column(column) => match Key::of(&column.name) {
            Some(key @ (Key::Venue | Key::Symbol)) => of_text(key, op, value),
            Some(key) => of_number(key, op, value)
                .map_or_else(Constraint::default, |range| Constraint::ranged(key, range)),
            None => Constraint::default(),
        },
        Expr::ScalarFunction(function) => of_window(function, op, value),
        _ => Constraint::default(),
    }
}

fn of_text(key: Key, op: Operator, value: &ScalarValue) -> Constraint {
    match (op, value.try_as_str()) {
        (Operator::Eq, Some(Some(text))) => Constraint::text(key, [text.to_owned()].into()),
        _ => Constraint::default(),
    }
}

/// `k2_window(ts_event, step) op value` says of `ts_event` that its window is that.
fn of_window(function: &ScalarFunction, op: Operator, value: &ScalarValue) -> Constraint {
    let (Expr::Column(column), Some(step)) = (match &function.args[..] {
        [column, Expr::Literal(ScalarValue::Int64(step), _)] if function.name() == WINDOW => {
            (column, *step)
        }
        _ => return Constraint::default(),
    }) else {
        return Constraint::default();
    };
    let Some(windows) = of_number(Key::WindowStart, op, value) else {
        return Constraint::default();
    };
    match Key::of(&column.name) {
        Some(Key::TsEvent) if windows.lower <= windows.upper => {
            let upper = windows.upper.saturating_add(step - 1);
            Constraint::ranged(Key::TsEvent, Range { lower: windows.lower, upper })
        }
        Some(Key::TsEvent) => Constraint::never(),
        _ => Constraint::default(),
    }
}

/// The values of a number that `op value` lets pass; `None` if that is not understood.
fn of_number(key: Key, op: Operator, value: &ScalarValue) -> Option<Range> {
    // The value in the column's unit, rounded down and up: it may lie between two of them.
    let (floor, ceil) = in_unit(key, value)?;
    Some(match op {
        Operator::Eq => Range { lower: ceil, upper: floor },
        Operator::GtEq => Range { lower: ceil, upper: i64::MAX },
        Operator::Gt if floor == i64::MAX => Range { lower: 1, upper: 0 },
        Operator::Gt => Range { lower: floor + 1, upper: i64::MAX },
        Operator::LtEq => Range { lower: i64::MIN, upper: floor },
        Operator::Lt if ceil == i64::MIN => Range { lower: 1, upper: 0 },
        Operator::Lt => Range { lower: i64::MIN, upper: ceil - 1 },
        _ => return None,
    })
}

fn in_unit(key: Key, value: &ScalarValue) -> Option<(i64, i64)> {
    use ScalarValue as S;
    let Some(unit) = key.unit_ns() else {
        let exact = match value {
            S::Int8(value) => i64::from((*value)?),
            S::Int16(value) => i64::from((*value)?),
            S::Int32(value) => i64::from((*value)?),
            S::Int64(value) => (*value)?,
            S::UInt8(value) => i64::from((*value)?),
            S::UInt16(value) => i64::from((*value)?),
            S::UInt32(value) => i64::from((*value)?),
            S::UInt64(value) => i64::try_from((*value)?).ok()?,
            _ => return None,
        };
        return Some((exact, exact));
    };
    let ns = match value {
        S::TimestampSecond(value, Some(_)) => i128::from((*value)?) * 1_000_000_000,
        S::TimestampMillisecond(value, Some(_)) => i128::from((*value)?) * 1_000_000,
        S::TimestampMicrosecond(value, Some(_)) => i128::from((*value)?) * 1_000,
        S::TimestampNanosecond(value, Some(_)) => i128::from((*value)?),
        S::Date32(value) => i128::from((*value)?) * i128::from(NANOS_PER_DAY),
        _ => return None,
    };
    let unit = i128::from(unit);
    let (floor, ceil) = (ns.div_euclid(unit), -(-ns).div_euclid(unit));
    Some((i64::try_from(floor).ok()?, i64::try_from(ceil).ok()?))
}

#[cfg(test)]
mod tests;
