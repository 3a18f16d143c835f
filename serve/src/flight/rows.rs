//! Rows on their way to a client: in pieces that every driver takes, as fast as it takes them.
//!
//! A piece is made when the connection has room for it, so a slow client holds a few batches and
//! what its connection buffers, and no more. The last piece has no rows: its metadata says what the
//! rows before it were rows of.

use std::sync::{Arc, OnceLock};

use arrow_array::{Array, RecordBatch, RecordBatchOptions};
use arrow_cast::cast;
use arrow_flight::FlightData;
use arrow_flight::encode::{FlightDataEncoder, FlightDataEncoderBuilder};
use arrow_flight::error::FlightError;
use arrow_ipc::writer::{CompressionContext, DictionaryTracker, IpcDataGenerator, IpcWriteOptions};
use arrow_schema::{ArrowError, SchemaRef};
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt, TryStreamExt};
use tonic::Status;

use super::refusal::Refusal;
use crate::answer::Meta;
use crate::engine::stream::AnswerStream;
use crate::error::{Error, ErrorKind, Result};

/// Bytes of a piece. Drivers take messages of 4 MiB at least.
const PIECE_BYTES_MAX: usize = 2 << 20;

/// What a client is sent.
pub(super) type Rows = BoxStream<'static, Result<FlightData, Status>>;

/// The columns as clients get them: those with a dictionary as what it holds.
pub(super) fn sent_schema(schema: SchemaRef) -> SchemaRef {
    let encoder = FlightDataEncoderBuilder::new().with_schema(schema.clone());
    encoder.build(stream::empty()).known_schema().unwrap_or(schema)
}

/// The rows of an answer in the columns that were told, and then what it is an answer of.
pub(super) fn of_answer(answer: AnswerStream, told: SchemaRef, correlation_id: String) -> Rows {
    // Set once the answer is whole: of one that is not, nothing is said but why.
    let meta = Arc::new(OnceLock::new());
    let (columns, ended) = (told.clone(), meta.clone());
    let batches = stream::unfold(answer, move |mut answer| {
        let (columns, ended) = (columns.clone(), ended.clone());
        async move {
            let Some(batch) = answer.next().await else {
                let _first = ended.set(answer.meta());
                return None;
            };
            Some((batch.and_then(|batch| as_told(&batch, &columns)), answer))
        }
    });
    let rows = sent(told.clone(), batches, correlation_id.clone());
    let last = stream::once(async move {
        let last = meta.get().map(|meta| last_piece(&told, meta));
        last.map(|last| last.map_err(|error| Refusal::from(error).status(&correlation_id)))
    });
    rows.chain(last.filter_map(std::future::ready)).boxed()
}

/// Rows that are of no moment.
pub(super) fn of_batch(batch: RecordBatch, correlation_id: String) -> Rows {
    sent(batch.schema(), stream::iter([Ok(batch)]), correlation_id).boxed()
}

fn sent(
    schema: SchemaRef,
    batches: impl Stream<Item = Result<RecordBatch>> + Send + 'static,
    correlation_id: String,
) -> impl Stream<Item = Result<FlightData, Status>> + Send {
    let refused =
        move |error: Error| FlightError::from(Refusal::from(error).status(&correlation_id));
    let pieces = batches.map_ok(|batch| stream::iter(pieces(batch).map(Ok))).try_flatten();
    encoder(schema, pieces.map_err(refused)).map_err(Status::from)
}

fn encoder(
    schema: SchemaRef,
    pieces: impl Stream<Item = Result<RecordBatch, FlightError>> + Send + 'static,
) -> FlightDataEncoder {
    // It would cut by the memory behind a batch, which slices of one large batch all share.
    let encoder = FlightDataEncoderBuilder::new().with_max_flight_data_size(usize::MAX);
    encoder.with_schema(schema).build(pieces)
}

/// `batch` with the columns that its client was told.
fn as_told(batch: &RecordBatch, told: &SchemaRef) -> Result<RecordBatch> {
    let failed = |error: ArrowError| {
        let message = format!("answer a query: its columns are not those that were told: {error}");
        Error::new(ErrorKind::Unavailable, "columns_changed", message)
            .with_hint("ask GetFlightInfo for another ticket")
    };
    if batch.num_columns() != told.fields().len() {
        let (told, found) = (told.fields().len(), batch.num_columns());
        return Err(failed(ArrowError::SchemaError(format!("{found} and not {told}"))));
    }
    let columns = batch.columns().iter().zip(told.fields());
    let columns = columns.map(|(column, field)| match column.data_type() == field.data_type() {
        true => Ok(column.clone()),
        false => cast(column, field.data_type()),
    });
    let columns = columns.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(told.clone(), columns, &options).map_err(failed)
}

/// `batch` cut into pieces of about [`PIECE_BYTES_MAX`].
fn pieces(batch: RecordBatch) -> impl Iterator<Item = RecordBatch> + Send {
    let bytes = |column: &dyn Array| column.to_data().get_slice_memory_size().unwrap_or_default();
    let bytes: usize = batch.columns().iter().map(|column| bytes(column)).sum();
    let count = bytes.div_ceil(PIECE_BYTES_MAX).max(1);
    let rows = batch.num_rows().div_ceil(count).max(1);
    (0..batch.num_rows())
        .step_by(rows)
        .map(move |from| batch.slice(from, rows.min(batch.num_rows() - from)))
}

/// No rows, and the meta data of those before.
fn last_piece(schema: &SchemaRef, meta: &Meta) -> Result<FlightData> {
    let failed = |error: ArrowError| Error::internal("end an answer").with_source(error);
    let (_dictionaries, none) = IpcDataGenerator::default()
        .encode(
            &RecordBatch::new_empty(schema.clone()),
            &mut DictionaryTracker::new(false),
            &IpcWriteOptions::default(),
            &mut CompressionContext::default(),
        )
        .map_err(failed)?;
    let meta = serde_json::to_vec(meta)
        .map_err(|error| Error::internal("write the meta data of an answer").with_source(error))?;
    Ok(FlightData::from(none).with_app_metadata(meta))
}

#[cfg(test)]
mod tests {
    use arrow_array::{Int64Array, StringArray};
    use arrow_schema::{DataType, Field, Schema};

    use super::*;

    fn batch(rows: usize, text: &str) -> RecordBatch {
        let numbers = Int64Array::from_iter_values(0..rows as i64);
        let texts = StringArray::from_iter_values(std::iter::repeat_n(text, rows));
        RecordBatch::try_from_iter([
            ("number", Arc::new(numbers) as _),
            ("text", Arc::new(texts) as _),
        ])
        .unwrap()
    }

    #[test]
    fn pieces_are_small_and_lose_nothing() {
        let large = batch(10_000, &"x".repeat(1_000));
        let cut: Vec<RecordBatch> = pieces(large.clone()).collect();
        assert_eq!(cut.len(), 5);
        let whole = arrow_select::concat::concat_batches(&large.schema(), &cut).unwrap();
        assert_eq!(whole, large);
        assert_eq!(pieces(batch(0, "")).count(), 0);
        // Bytes are of the rows that are sent, not of all that they were cut from.
        assert_eq!(pieces(large.slice(5_000, 100)).count(), 1);
        assert_eq!(pieces(batch(3, &"x".repeat(3 << 20))).count(), 3);
    }
    #[test]
    fn rows_go_out_in_the_columns_that_were_told() {
        let batch = batch(3, "x");
        let field = |name: &str, kind: DataType| Field::new(name, kind, true);
        let told = |fields: Vec<Field>| Arc::new(Schema::new(fields));
        let wider = told(vec![field("n", DataType::Int64), field("t", DataType::LargeUtf8)]);
        let sent = as_told(&batch, &wider).unwrap();
        assert_eq!((sent.schema(), sent.num_rows()), (wider, 3));
        let fewer = told(vec![field("n", DataType::Int64)]);
        assert_eq!(as_told(&batch, &fewer).unwrap_err().code(), "columns_changed");
        let none = RecordBatch::new_empty(told(vec![field("n", DataType::Null)]));
        assert_eq!(as_told(&none, &fewer).unwrap().num_rows(), 0);
    }
}
