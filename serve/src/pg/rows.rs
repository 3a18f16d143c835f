//! An answer on its way to a client: its columns, then its rows, as many at a time as are asked.

use arrow_array::RecordBatch;
use arrow_schema::Schema;

use super::encode::Encoder;
use super::refusal::Refusal;
use super::session::Stop;
use super::types::{WireType, wire_type};
use super::wire::{Form, Writer, put_text};
use crate::answer::{Answer, Meta};

/// One column of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Column {
    name: String,
    wire: WireType,
}

pub(super) fn columns_of(schema: &Schema) -> Vec<Column> {
    let fields = schema.fields().iter();
    fields
        .map(|field| Column { name: field.name().clone(), wire: wire_type(field.data_type()) })
        .collect()
}

/// The form of the column `at`: one form is of all columns, none is text.
fn form_of(forms: &[Form], at: usize) -> Form {
    match forms {
        [] => Form::Text,
        [one] => *one,
        several => several.get(at).copied().unwrap_or(Form::Text),
    }
}

/// Tells a client which columns rows will have.
pub(super) fn describe(out: &mut Writer, columns: &[Column], forms: &[Form]) {
    out.message(b'T', |body| {
        body.extend(count(columns.len()).to_be_bytes());
        for (at, column) in columns.iter().enumerate() {
            put_text(body, &column.name);
            // Of no table that a client could look up, and no column of it.
            body.extend([0; 6]);
            body.extend(column.wire.oid().to_be_bytes());
            body.extend(column.wire.length().to_be_bytes());
            body.extend(column.wire.modifier.to_be_bytes());
            let is_binary = form_of(forms, at) == Form::Binary;
            body.extend(u16::from(is_binary).to_be_bytes());
        }
    });
}

fn count(columns: usize) -> u16 {
    u16::try_from(columns).expect("a query has less text than this many columns need")
}

/// The rows of an answer that are still to be sent.
pub(super) struct Rows {
    columns: Vec<Column>,
    batches: std::vec::IntoIter<RecordBatch>,
    /// The batch that is being sent, and its next row.
    current: Option<(Vec<Encoder>, usize, usize)>,
    pub(super) meta: Meta,
}

impl Rows {
    /// As `described` before, if it was; the answer may since have got other types.
    pub(super) fn new(answer: Answer, described: Option<Vec<Column>>) -> Result<Self, Refusal> {
        let own = columns_of(&answer.schema);
        let columns = described.unwrap_or_else(|| own.clone());
        if columns.len() != own.len() {
            return Err(Refusal::error("0A000", "answer a query: its columns have changed")
                .with_hint("prepare the statement again"));
        }
        Ok(Self { columns, batches: answer.batches.into_iter(), current: None, meta: answer.meta })
    }

    pub(super) fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// Sends up to `rows_max` rows, or all; how many, and whether that was the last of them.
    pub(super) async fn send(
        &mut self,
        out: &mut Writer,
        forms: &[Form],
        rows_max: usize,
    ) -> Result<(usize, bool), Stop> {
        let mut sent = 0;
        loop {
            let Some((encoders, next, end)) = &mut self.current else {
                let Some(batch) = self.batches.next() else { return Ok((sent, true)) };
                self.current = Some((self.encoders(&batch, forms)?, 0, batch.num_rows()));
                continue;
            };
            if next == end {
                self.current = None;
                continue;
            }
            if rows_max > 0 && sent == rows_max {
                return Ok((sent, false));
            }
            out.message(b'D', |body| {
                body.extend(count(encoders.len()).to_be_bytes());
                encoders.iter().for_each(|encoder| encoder.put(*next, body));
            });
            (*next, sent) = (*next + 1, sent + 1);
            out.send_full().await?;
        }
    }

    fn encoders(&self, batch: &RecordBatch, forms: &[Form]) -> Result<Vec<Encoder>, Refusal> {
        let columns = batch.columns().iter().zip(&self.columns).enumerate();
        let encoders = columns
            .map(|(at, (array, column))| Encoder::new(array, &column.wire, form_of(forms, at)));
        encoders
            .collect::<Result<_, _>>()
            .map_err(|error| Refusal::error("22003", format!("write an answer: {error}")))
    }
}

/// What a client is told of an answer besides its rows, if it wants to be.
pub(super) fn notice(meta: &Meta, wanted: &str) -> Option<String> {
    let is_incomplete = !meta.complete || meta.deferred > 0;
    let warnings = meta.warnings.iter();
    match wanted {
        "all" => {}
        "incomplete" if is_incomplete || !meta.warnings.is_empty() => {}
        _ => return None,
    }
    let snapshot = meta.snapshot_id.map_or("none".to_owned(), |id| id.to_string());
    let mut parts = vec![
        if is_incomplete { "the answer is not complete" } else { "the answer is complete" }
            .to_owned(),
        format!("snapshot {snapshot}, frontier {}", meta.as_of.frontier),
        format!("read {} rows from tables and {} live", meta.sources.iceberg, meta.sources.live),
    ];
    if meta.gaps.open > 0 {
        parts.push(format!("{} open gaps with {} numbers", meta.gaps.open, meta.gaps.missing));
    }
    if meta.deferred > 0 {
        parts.push(format!("{} records deferred", meta.deferred));
    }
    parts.extend(warnings.cloned());
    Some(parts.join("; "))
}
