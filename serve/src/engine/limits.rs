//! What becomes of a query that reaches its limits.

use arrow_array::RecordBatch;
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;

use super::failed;
use crate::config::Limits;
use crate::error::{Error, ErrorKind, Result};

/// The rows of an answer, if they stay within its limits.
pub(super) async fn collect(
    mut stream: SendableRecordBatchStream,
    limits: Limits,
) -> Result<Vec<RecordBatch>> {
    let (mut batches, mut rows, mut bytes) = (Vec::new(), 0, 0);
    while let Some(batch) = stream.next().await {
        let batch = batch.map_err(failed)?;
        if batch.num_rows() == 0 {
            continue;
        }
        rows += batch.num_rows();
        bytes += batch.get_array_memory_size();
        if rows > limits.rows_max {
            return Err(too_many_rows(limits));
        }
        if bytes > limits.memory_bytes_max {
            return Err(too_large(limits));
        }
        batches.push(batch);
    }
    Ok(batches)
}

fn limit_reached(code: &'static str, message: String) -> Error {
    Error::new(ErrorKind::LimitReached, code, message)
}

fn too_many_rows(limits: Limits) -> Error {
    let message = format!("answer a query: it has more than {} rows", limits.rows_max);
    limit_reached("limit_rows", message)
        .with_hint("add LIMIT, or narrow the time range and the symbols in WHERE")
}

fn too_large(limits: Limits) -> Error {
    let message = format!(
        "answer a query: its rows take more than the {} MiB that a query may hold",
        limits.memory_bytes_max >> 20
    );
    limit_reached("limit_memory", message).with_hint("add LIMIT, or select fewer columns")
}

pub(super) fn out_of_time(limits: Limits) -> Error {
    let message = format!("answer a query: it took longer than {:?}", limits.time_max);
    limit_reached("limit_time", message)
        .with_hint("name symbols and a time range in WHERE, so that less is read")
}
