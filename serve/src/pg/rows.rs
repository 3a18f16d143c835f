//! An answer on its way to a client: its columns, then its rows, as many at a time as are asked.

use arrow_array::{Array, RecordBatch};
use arrow_schema::Schema;

use super::encode::Encoder;
use super::refusal::Refusal;
use super::session::Stop;
use super::types::{WireType, wire_type};
use super::wire::{Form, Writer, put_text};
use crate::answer::Meta;
use crate::engine::stream::AnswerStream;

/// Bytes of a batch, and so of a row, that are written without a look at each row: as text they are
/// a few times as many, and a message has less than 2 GiB.
const BATCH_BYTES_MAX: usize = 256 << 20;

/// One column of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Column {
    name: String,
    wire: WireType,
}

impl Column {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn rename(&mut self, name: String) {
        self.name = name;
    }
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
    answer: AnswerStream,
    current: Option<Current>,
}

/// The batch that is being sent.
struct Current {
    batch: RecordBatch,
    forms: Vec<Form>,
    encoders: Vec<Encoder>,
    next: usize,
}

impl Rows {
    /// As `described` before, if it was; the answer may since have got other types.
    pub(super) fn new(
        answer: AnswerStream,
        described: Option<Vec<Column>>,
    ) -> Result<Self, Refusal> {
        let own = columns_of(answer.schema());
        let columns = described.unwrap_or_else(|| own.clone());
        if columns.len() != own.len() {
            return Err(Refusal::error("0A000", "answer a query: its columns have changed")
                .with_hint("prepare the statement again"));
        }
        Ok(Self { columns, answer, current: None })
    }

    pub(super) fn columns(&self) -> &[Column] {
        &self.columns
    }

    pub(super) fn columns_mut(&mut self) -> &mut [Column] {
        &mut self.columns
    }

    /// What the rows are rows of; after the last of them with how many were read.
    pub(super) fn meta(&self) -> Meta {
        self.answer.meta()
    }

    /// Sends up to `rows_max` rows, or all that are left if that is 0: how many, and whether there
    /// was an end. An end right after the last row that was asked for is not looked for.
    pub(super) async fn send(
        &mut self,
        out: &mut Writer,
        forms: &[Form],
        rows_max: usize,
    ) -> Result<(usize, bool), Stop> {
        self.write_in(forms)?;
        let mut sent = 0;
        while rows_max == 0 || sent < rows_max {
            let Some((encoders, row)) = self.next_row(forms).await? else {
                return Ok((sent, true));
            };
            out.message(b'D', |body| put_row(encoders, row, body));
            sent += 1;
            out.send_full().await?;
        }
        Ok((sent, false))
    }

    /// Passes over up to `rows_max` rows, or over all that are left if that is 0: over how many.
    pub(super) async fn skip(&mut self, rows_max: usize) -> Result<usize, Stop> {
        let mut passed = 0;
        while (rows_max == 0 || passed < rows_max) && self.next_row(&[]).await?.is_some() {
            passed += 1;
        }
        Ok(passed)
    }

    /// The next row: encoders of its columns, and where they find it.
    pub(super) async fn next_row(
        &mut self,
        forms: &[Form],
    ) -> Result<Option<(&[Encoder], usize)>, Stop> {
        while self.current.as_ref().is_none_or(|it| it.next >= it.batch.num_rows()) {
            let Some(batch) = self.answer.next().await else { return Ok(None) };
            let batch = batch.map_err(Refusal::from)?;
            self.current = Some(self.prepared(batch, forms, 0)?);
        }
        let Some(Current { encoders, next, .. }) = &mut self.current else { return Ok(None) };
        *next += 1;
        Ok(Some((encoders, *next - 1)))
    }

    /// What is left of a batch goes on in the forms that are asked for now.
    fn write_in(&mut self, forms: &[Form]) -> Result<(), Refusal> {
        if let Some(Current { batch, next, .. }) = self.current.take_if(|it| it.forms != forms) {
            self.current = Some(self.prepared(batch, forms, next)?);
        }
        Ok(())
    }

    fn prepared(
        &self,
        batch: RecordBatch,
        forms: &[Form],
        next: usize,
    ) -> Result<Current, Refusal> {
        check_size(&batch)?;
        let columns = batch.columns().iter().zip(&self.columns).enumerate();
        let encoders = columns
            .map(|(at, (array, column))| Encoder::new(array, &column.wire, form_of(forms, at)));
        let encoders = encoders.collect::<Result<_, _>>();
        let encoders = encoders
            .map_err(|error| Refusal::error("22003", format!("write an answer: {error}")))?;
        Ok(Current { batch, forms: forms.to_vec(), encoders, next })
    }
}

/// The values of a row, with their count before them.
pub(super) fn put_row(encoders: &[Encoder], row: usize, body: &mut Vec<u8>) {
    body.extend(count(encoders.len()).to_be_bytes());
    encoders.iter().for_each(|encoder| encoder.put(row, body));
}

/// Each row must fit in a message.
fn check_size(batch: &RecordBatch) -> Result<(), Refusal> {
    let bytes = |batch: &RecordBatch| -> usize {
        let columns = batch.columns().iter();
        columns.map(|it| it.to_data().get_slice_memory_size().unwrap_or(usize::MAX)).sum()
    };
    if bytes(batch) <= BATCH_BYTES_MAX {
        return Ok(());
    }
    match (0..batch.num_rows()).find(|row| bytes(&batch.slice(*row, 1)) > BATCH_BYTES_MAX) {
        None => Ok(()),
        Some(_) => {
            let message = format!("write an answer: a row has more than {BATCH_BYTES_MAX} bytes");
            Err(Refusal::error("54000", message).with_hint("select fewer or shorter columns"))
        }
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
