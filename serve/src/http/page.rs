//! Pages: rows in one order, so many at a time, all of one moment.
//!
//! A page asks for one row more than its limit, which tells whether there are more. The next page
//! begins behind the last row, and at the moment of the first: new rows and compaction move none.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal128Type, Int32Type, Int64Type, TimestampNanosecondType};
use arrow_array::{Array, RecordBatch};
use arrow_cast::cast;
use arrow_schema::{DataType, Schema, TimeUnit};
use k2_model::time::{NANOS_PER_DAY, NANOS_PER_SECOND};
use k2_model::{Coordinates, Decimal, Instrument, Nanos};
use k2_sinks::At;

use super::ask::Ask;
use super::cursor::{Cursor, Part};
use super::reply::{ROWS_INLINE_MAX, body_bytes};
use super::{names, partial};
use crate::access::Lane;
use crate::answer::{Answer, Pagination};
use crate::engine::newest::{MemoryRow, NewestRow, Records};
use crate::error::{Error, Result};
use crate::format::{Format, begin_page};
use crate::literal;
use crate::request::{AsOf, Request};
use crate::views::bars::BarRow;

/// Rows and where they stand among all that were asked for.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) answer: Answer,
    pub(super) pagination: Pagination,
    /// The rows, where they are not those of the answer.
    pub(super) begun: Option<Begun>,
}

/// Rows that are written as JSON already, straight from records.
#[derive(Debug)]
pub(super) struct Begun {
    /// The envelope up to the end of its rows.
    pub(super) body: Vec<u8>,
    rows: usize,
    /// Of the rows; one of neighbours that are of the same.
    instruments: Vec<Instrument>,
}

impl Page {
    pub(super) fn of(answer: Answer, pagination: Pagination) -> Self {
        Self { answer, pagination, begun: None }
    }

    pub(super) fn rows(&self) -> usize {
        self.begun.as_ref().map_or_else(|| self.answer.rows(), |begun| begun.rows)
    }

    pub(super) fn warn_of_venues(&mut self, ask: &Ask) {
        let Answer { batches, meta, .. } = &mut self.answer;
        let begun = self.begun.iter().flat_map(|it| &it.instruments).map(|it| &*it.venue);
        names::warn_of_venues(ask, begun.chain(names::venues_of(batches)), meta);
    }
}

/// A column that pages are ordered by.
#[derive(Clone, Copy, Debug)]
pub(super) struct OrderedBy {
    pub(super) column: &'static str,
    is_moment: bool,
}

const fn by(column: &'static str) -> OrderedBy {
    OrderedBy { column, is_moment: false }
}

/// Records: by time, then the venue's number; where both are equal, by where they came from, which
/// tells any two rows of a table apart.
pub(super) const RECORDS: &[OrderedBy] =
    &[by("ts_event"), by("sequence"), by("source"), by("partition"), by("offset")];

/// Symbols, by name.
pub(super) const SYMBOLS: &[OrderedBy] = &[by("venue"), by("symbol"), by("raw_symbol")];

/// Snapshots of all tables, by time.
pub(super) const SNAPSHOTS: &[OrderedBy] =
    &[OrderedBy { column: "committed_at", is_moment: true }, by("table"), by("snapshot_id")];

/// Gaps, by when they were revealed.
pub(super) const GAPS: &[OrderedBy] = &[
    OrderedBy { column: "revealed_ts", is_moment: true },
    by("venue"),
    by("symbol"),
    by("data_type"),
    by("first_missing"),
];

/// Bars: by window.
pub(super) const BARS: &[OrderedBy] =
    &[OrderedBy { column: "window_start", is_moment: true }, by("venue"), by("symbol")];

/// Intervals of aggregations, oldest first.
pub(super) const INTERVALS: &[OrderedBy] =
    &[OrderedBy { column: "interval_start", is_moment: true }, by("venue"), by("symbol")];

/// Levels of a volume profile.
pub(super) const LEVELS: &[OrderedBy] = &[
    OrderedBy { column: "interval_start", is_moment: true },
    by("venue"),
    by("symbol"),
    by("price_level"),
];

/// Which rows are asked for.
#[derive(Clone, Debug)]
pub(super) struct Listing {
    pub(super) from: String,
    /// `None`: all columns.
    pub(super) columns: Option<Vec<String>>,
    pub(super) conditions: Vec<String>,
    pub(super) order: &'static [OrderedBy],
    pub(super) is_descending: bool,
    /// Of records: the first and the last event time that is asked for.
    pub(super) times: Option<(Nanos, Nanos)>,
    /// The start of a window that this page's moment decides, and that the next pages keep.
    pub(super) since: Option<Nanos>,
}

/// How far from where a page begins its rows are looked for first. A page mostly needs little of
/// a long history, and what is near is in few files.
const NEAR_NS: [i64; 3] = [60 * NANOS_PER_SECOND, 3_600 * NANOS_PER_SECOND, NANOS_PER_DAY];

impl Listing {
    /// The query for at most `rows` rows behind `last`.
    pub(super) fn sql(&self, last: Option<&[Part]>, rows: usize) -> Result<String> {
        let columns = match &self.columns {
            None => "*".to_owned(),
            Some(columns) => {
                let hidden = self.order.iter().map(|by| by.column);
                let hidden = hidden.filter(|name| !columns.iter().any(|known| known == name));
                let all = columns.iter().map(String::as_str).chain(hidden);
                all.map(literal::column).collect::<Vec<_>>().join(", ")
            }
        };
        let mut conditions = self.conditions.clone();
        if let Some(last) = last {
            conditions.extend(self.behind(last)?);
        }
        let mut sql = format!("SELECT {columns} FROM {}", self.from);
        if !conditions.is_empty() {
            sql.push_str(&format!(" WHERE {}", conditions.join(" AND ")));
        }
        let direction = if self.is_descending { "DESC" } else { "ASC" };
        let order =
            self.order.iter().map(|by| format!("{} {direction}", literal::column(by.column)));
        sql.push_str(&format!(" ORDER BY {} LIMIT {rows}", order.collect::<Vec<_>>().join(", ")));
        Ok(sql)
    }

    /// The same, of the records from `since` on.
    pub(super) fn since(mut self, since: Nanos) -> Self {
        self.conditions.push(format!("ts_event >= {}", since.0));
        let last = self.times.map_or(i64::MAX, |(_, last)| last.0);
        Self { times: Some((since, Nanos(last))), since: Some(since), ..self }
    }

    /// What rows behind `last` fulfil. The first condition follows from the second, and is what
    /// files and memory can be pruned by.
    fn behind(&self, last: &[Part]) -> Result<[String; 2]> {
        if last.len() != self.order.len() {
            return Err(Error::bad_request(
                "invalid_cursor",
                "read the cursor: it is of another list",
            )
            .with_hint("ask for the first page again"));
        }
        let (beyond, comparison) = if self.is_descending { ("<", "<=") } else { (">", ">=") };
        let parts: Vec<(String, String)> = self
            .order
            .iter()
            .zip(last)
            .map(|(by, part)| (literal::column(by.column), written(*by, part)))
            .collect();
        let (first, value) = &parts[0];
        let bound = format!("{first} {comparison} {value}");
        let exact = parts.iter().rev().fold(String::new(), |rest, (column, value)| {
            if rest.is_empty() {
                format!("{column} {beyond} {value}")
            } else {
                format!("({column} {beyond} {value} OR ({column} = {value} AND {rest}))")
            }
        });
        Ok([bound, exact])
    }

    /// The page that `ask` asks for.
    pub(super) async fn page(&self, ask: &Ask) -> Result<Page> {
        let cursor = ask.cursor()?;
        let last = cursor.as_ref().map(|cursor| &*cursor.last);
        let as_of = cursor.as_ref().map(|cursor| &cursor.as_of).or(ask.values.as_of());
        let rows = ask.values.limit() + 1;
        if let Some(begin) = self.begin(ask, last).await? {
            for bound in NEAR_NS.iter().map_while(|length| self.bound(begin, *length)) {
                let mut near = self.clone();
                near.conditions.push(bound);
                let answer = ask.query(near.sql(last, rows)?, as_of.cloned()).await?;
                // Rows that are further away come behind these.
                if answer.rows() == rows {
                    return self.finish(ask, answer);
                }
            }
        }
        let answer = ask.query(self.sql(last, rows)?, as_of.cloned()).await?;
        self.finish(ask, answer)
    }

    /// About the time at which the page begins, where that is known.
    async fn begin(&self, ask: &Ask, last: Option<&[Part]>) -> Result<Option<Nanos>> {
        let Some((first_time, last_time)) = self.times else { return Ok(None) };
        if let Some([Part::Integer(time), ..]) = last {
            return Ok(Some(Nanos(*time)));
        }
        if !self.is_descending {
            return Ok((first_time.0 > i64::MIN).then_some(first_time));
        }
        if ask.is_pinned() {
            return Ok((last_time.0 < i64::MAX).then_some(last_time));
        }
        let newest = ask.state.engine.newest_trade_time(ask.values.text("venue"), None).await?;
        Ok(newest.map(|newest| newest.min(last_time)))
    }

    /// What rows within `length_ns` of `begin` fulfil; `None` if all that are asked for do.
    fn bound(&self, begin: Nanos, length_ns: i64) -> Option<String> {
        let (first_time, last_time) = self.times?;
        if self.is_descending {
            let from = begin.0.saturating_sub(length_ns);
            (from > first_time.0).then(|| format!("ts_event >= {from}"))
        } else {
            let until = begin.0.saturating_add(length_ns);
            (until < last_time.0).then(|| format!("ts_event <= {until}"))
        }
    }

    /// Cuts `answer`, which may have one row too many, and says how to go on.
    pub(super) fn finish(&self, ask: &Ask, mut answer: Answer) -> Result<Page> {
        let limit = ask.values.limit();
        let has_more = answer.rows() > limit;
        cut(&mut answer, limit);
        let cursor = match (has_more, answer.batches.last()) {
            (true, Some(batch)) => Some(self.cursor(ask, batch, &answer.meta.as_of)?),
            _ => None,
        };
        if let Some(columns) = &self.columns {
            keep(&mut answer, columns.len())?;
        }
        Ok(Page::of(answer, Pagination { limit, cursor, has_more }))
    }

    /// As [`Listing::finish`], of rows of memory that come in the listing's order.
    pub(super) fn page_of<R: PlacedRow>(&self, ask: &Ask, records: Records<R>) -> Result<Page> {
        match ask.wanted.format {
            Format::Json if records.rows.len() <= ROWS_INLINE_MAX => self.begun(ask, records),
            _ => self.finish(ask, records.into_answer()?),
        }
    }

    fn cursor(&self, ask: &Ask, batch: &RecordBatch, as_of: &AsOf) -> Result<String> {
        let row = batch.num_rows() - 1;
        let part = |by: &OrderedBy| {
            let column = batch.column_by_name(by.column).map(|column| part_of(column, row));
            column.flatten().ok_or_else(|| {
                Error::internal(format!("write a cursor: rows have no {}", by.column))
            })
        };
        self.seal(ask, self.order.iter().map(part).collect::<Result<_>>()?, as_of)
    }

    /// The page, with its rows as JSON already.
    fn begun<R: PlacedRow>(&self, ask: &Ask, records: Records<R>) -> Result<Page> {
        let Records { mut rows, meta, .. } = records;
        let limit = ask.values.limit();
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        let last = rows.last().filter(|_| has_more).map(R::place);
        let cursor = last.map(|last| self.seal(ask, last, &meta.as_of)).transpose()?;
        let body = begin_page(&rows, body_bytes(rows.len()));
        let mut instruments: Vec<Instrument> = rows.iter().map(R::instrument_of).collect();
        instruments.dedup();
        let begun = Begun { body, rows: rows.len(), instruments };
        let answer = Answer { schema: R::schema(), batches: Vec::new(), meta };
        Ok(Page { answer, pagination: Pagination { limit, cursor, has_more }, begun: Some(begun) })
    }

    fn seal(&self, ask: &Ask, last: Vec<Part>, as_of: &AsOf) -> Result<String> {
        let (question, as_of) = (ask.question(), as_of.clone());
        Cursor { question, as_of, since: self.since, last }.sealed(&ask.state.secret)
    }
}

/// Rows that know their place in the order that they are listed in.
pub(super) trait PlacedRow: MemoryRow {
    fn place(&self) -> Vec<Part>;
}

/// Among [`RECORDS`].
impl<R: NewestRow> PlacedRow for R {
    fn place(&self) -> Vec<Part> {
        let Coordinates { origin, offset } = self.at();
        vec![
            Part::Integer(self.ts_event().0),
            Part::Integer(self.numbers().1.cast_signed()),
            Part::Text(origin.source().to_owned()),
            Part::Integer(origin.partition().into()),
            Part::Integer(offset.cast_signed()),
        ]
    }
}

/// Among [`BARS`].
impl PlacedRow for BarRow {
    fn place(&self) -> Vec<Part> {
        let text = |text: &str| Part::Text(text.to_owned());
        let names = self.instrument.parts();
        vec![Part::Integer(self.start.0), text(&names.venue), text(&names.symbol)]
    }
}

fn written(by: OrderedBy, part: &Part) -> String {
    match part {
        Part::Integer(nanos) if by.is_moment => literal::moment(Nanos(*nanos)),
        Part::Integer(integer) => integer.to_string(),
        Part::Decimal(decimal) => literal::decimal(*decimal),
        Part::Text(text) => literal::text(text),
    }
}

fn part_of(column: &dyn Array, row: usize) -> Option<Part> {
    Some(match column.data_type() {
        DataType::Int32 => Part::Integer(column.as_primitive::<Int32Type>().value(row).into()),
        DataType::Int64 => Part::Integer(column.as_primitive::<Int64Type>().value(row)),
        DataType::Timestamp(_, zone) => {
            let nanos = DataType::Timestamp(TimeUnit::Nanosecond, zone.clone());
            let moment = cast(&column.slice(row, 1), &nanos).ok()?;
            Part::Integer(moment.as_primitive_opt::<TimestampNanosecondType>()?.value(0))
        }
        DataType::Decimal128(_, _) => {
            Part::Decimal(Decimal(column.as_primitive::<Decimal128Type>().value(row)))
        }
        DataType::Utf8 => Part::Text(column.as_string::<i32>().value(row).to_owned()),
        _ => return None,
    })
}

/// Lets the first `rows` rows stand.
pub(super) fn cut(answer: &mut Answer, rows: usize) {
    let mut left = rows;
    answer.batches.retain_mut(|batch| {
        let kept = left.min(batch.num_rows());
        left -= kept;
        if kept < batch.num_rows() {
            *batch = batch.slice(0, kept);
        }
        kept > 0
    });
}

/// Lets the first `columns` columns stand.
fn keep(answer: &mut Answer, columns: usize) -> Result<()> {
    let kept: Vec<usize> = (0..columns).collect();
    let failed = |error| Error::internal("cut an answer's columns").with_source(error);
    for batch in &mut answer.batches {
        *batch = batch.project(&kept).map_err(failed)?;
    }
    let schema: Schema = answer.schema.project(&kept).map_err(failed)?;
    answer.schema = Arc::new(schema);
    Ok(())
}

impl Ask {
    /// The cursor that was sent, if one was.
    pub(super) fn cursor(&self) -> Result<Option<Cursor>> {
        let Some(text) = self.values.text("cursor") else { return Ok(None) };
        let cursor = Cursor::open(text, self.question(), &self.state.secret)?;
        match self.values.as_of() {
            Some(as_of) if as_of.offsets != cursor.as_of.offsets => Err(Error::bad_request(
                "invalid_cursor",
                "read the cursor: it is of another moment than as_of",
            )
            .with_hint("leave as_of out: a cursor goes on at the moment of its first page")),
            _ => Ok(Some(cursor)),
        }
    }

    /// Answers `sql`, at the snapshot of the path if that names one.
    pub(super) async fn query(&self, sql: String, as_of: Option<AsOf>) -> Result<Answer> {
        let correlation_id = self.correlation_id.clone();
        let at = self.values.integer("id").map(At::Snapshot);
        // Which is a moment already.
        let as_of = as_of.filter(|_| at.is_none());
        let lane = Lane::Reads;
        let request = Request { sql, as_of, at, lane, correlation_id, ..Request::default() };
        let engine = &self.state.engine;
        partial::answer(self.on_partial(), engine, request, |request| engine.query(request)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_looked_for_near_where_a_page_begins_unless_all_are_near() {
        let mut listing = Listing {
            from: "trades".into(),
            columns: None,
            conditions: vec![],
            order: RECORDS,
            is_descending: true,
            times: Some((Nanos(100), Nanos(900))),
            since: None,
        };
        assert_eq!(listing.bound(Nanos(800), 50).as_deref(), Some("ts_event >= 750"));
        assert_eq!(listing.bound(Nanos(800), 700), None);
        listing.is_descending = false;
        assert_eq!(listing.bound(Nanos(800), 50).as_deref(), Some("ts_event <= 850"));
        assert_eq!(listing.bound(Nanos(800), 100), None);
    }

    #[test]
    fn the_next_page_is_what_comes_behind_the_last_row_in_the_same_order() {
        let listing = Listing {
            from: "trades".into(),
            columns: Some(vec!["price".into()]),
            conditions: vec!["symbol = 'A'".into()],
            order: &RECORDS[..2],
            is_descending: true,
            times: None,
            since: None,
        };
        let last = [Part::Integer(9), Part::Integer(-4)];
        assert_eq!(
            listing.sql(Some(&last), 3).unwrap(),
            "SELECT \"price\", \"ts_event\", \"sequence\" FROM trades WHERE symbol = 'A' AND \
             \"ts_event\" <= 9 AND (\"ts_event\" < 9 OR (\"ts_event\" = 9 AND \"sequence\" < -4)) \
             ORDER BY \"ts_event\" DESC, \"sequence\" DESC LIMIT 3"
        );
        assert!(listing.sql(Some(&last[..1]), 3).is_err());
    }
}
