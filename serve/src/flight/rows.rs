//! Rows on their way to a client: in pieces that every driver takes, as fast as it takes them.
//!
//! A piece is made when the connection has room for it, so a slow client holds one batch and what
//! its connection buffers, and no more. The last piece has no rows: its metadata says what the
//! rows before it were rows of.

use arrow_array::{Array, RecordBatch};
use arrow_flight::FlightData;
use arrow_flight::encode::{FlightDataEncoder, FlightDataEncoderBuilder};
use arrow_flight::error::FlightError;
use arrow_ipc::writer::{CompressionContext, DictionaryTracker, IpcDataGenerator, IpcWriteOptions};
use arrow_schema::{ArrowError, SchemaRef};
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt, TryStreamExt};
use tonic::Status;

use super::refusal::Refusal;
use crate::answer::{Answer, Meta};
use crate::error::{Error, Result};

/// Bytes of a piece. Drivers take messages of 4 MiB at least.
const PIECE_BYTES_MAX: usize = 2 << 20;

/// What a client is sent.
pub(super) type Rows = BoxStream<'static, Result<FlightData, Status>>;

/// The columns as clients get them: those with a dictionary as what it holds.
pub(super) fn sent_schema(schema: SchemaRef) -> SchemaRef {
    let encoder = FlightDataEncoderBuilder::new().with_schema(schema.clone());
    encoder.build(stream::empty()).known_schema().unwrap_or(schema)
}

/// The rows of an answer, and then what it is an answer of.
pub(super) fn of_answer(answer: Answer, correlation_id: String) -> Result<Rows> {
    let Answer { schema, batches, meta } = answer;
    let last = last_piece(&sent_schema(schema.clone()), &meta)?;
    let rows = sent(schema, stream::iter(batches.into_iter().map(Ok)), correlation_id);
    Ok(rows.chain(stream::once(async { Ok(last) })).boxed())
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
    use std::sync::Arc;

    use arrow_array::{Int64Array, StringArray};

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
}
