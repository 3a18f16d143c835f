//! How much each table holds, from the pin alone: nothing is read.

use std::sync::{Arc, LazyLock};

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use futures::future::BoxFuture;
use k2_sinks::Table;

use super::Engine;
use crate::answer::Answer;
use crate::error::{Error, Result};
use crate::pinned::{Pinned, Trace};
use crate::request::Request;
use crate::tables::stored::StoredTable;

/// Of each table: rows on both sides of the seam, and files.
pub(crate) static SIZES: LazyLock<SchemaRef> = LazyLock::new(|| {
    let long = |name: &str| Field::new(name, DataType::Int64, false);
    Arc::new(Schema::new(vec![
        Field::new("table", DataType::Utf8, false),
        long("rows"),
        long("rows_iceberg"),
        long("rows_live"),
        long("files"),
        long("bytes"),
        Field::new("snapshot_id", DataType::Int64, true),
    ]))
});

impl Engine {
    /// How much each table holds.
    pub(crate) fn sizes(&self, correlation_id: String) -> BoxFuture<'_, Result<Answer>> {
        let sizes = async move {
            let pinned = Arc::new(self.pin(&Request::default()).await?);
            let batch = rows(&pinned)
                .map_err(|error| Error::internal("count the tables").with_source(error))?;
            let meta = self.meta(&self.own_scope(pinned), correlation_id).await?;
            Ok(Some(Answer { schema: SIZES.clone(), batches: vec![batch], meta }))
        };
        Box::pin(async move {
            let sizes = self.timed(self.0.config.limits, Box::pin(sizes)).await?;
            sizes.ok_or_else(|| Error::internal("count the tables: there is no answer"))
        })
    }
}

fn rows(pinned: &Arc<Pinned>) -> Result<RecordBatch, arrow_schema::ArrowError> {
    let longs = |long: &dyn Fn(Table) -> u64| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(Table::ALL.map(|table| long(table).cast_signed())))
    };
    let cold = |table| pinned.files(table).iter().map(|file| file.record_count).sum::<u64>();
    let live = |table| {
        let table = StoredTable::new(table, pinned.clone(), Arc::new(Trace::default()));
        table.rows_live() as u64
    };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(Table::ALL.map(Table::as_str))),
        longs(&|table| cold(table) + live(table)),
        longs(&cold),
        longs(&live),
        longs(&|table| pinned.files(table).len() as u64),
        longs(&|table| pinned.files(table).iter().map(|file| file.size_bytes).sum()),
        Arc::new(Table::ALL.map(|table| pinned.snapshot_id(table)).iter().collect::<Int64Array>()),
    ];
    RecordBatch::try_new(SIZES.clone(), columns)
}
