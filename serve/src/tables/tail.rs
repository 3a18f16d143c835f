//! The live rows of a pin as a scan: records become columns only when they are read, and only
//! those columns that are asked for.

use std::fmt;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use datafusion::common::stats::Precision;
use datafusion::common::{Statistics, internal_err};
use datafusion::error::Result;
use datafusion::execution::TaskContext;
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, SchedulingType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties,
    SendableRecordBatchStream,
};
use k2_dataflows::live::Chunk;
use k2_operators::Kept;

use crate::tables::rows::{Row, batch_of};
use crate::tables::selection::Selection;

/// Rows of a batch, about: a batch ends with the chunk that fills it.
const BATCH_ROWS: usize = 8_192;
/// Fewer rows than this are not worth a second thread.
const PARTITION_ROWS_MIN: usize = 65_536;

/// The chunks of one partition.
type Part<B> = Arc<[Arc<Chunk<B>>]>;

/// Scans chunks of live rows.
#[derive(Debug)]
pub(crate) struct TailExec<R: Row> {
    /// Of each partition its chunks.
    partitions: Vec<Part<R::Kept>>,
    selection: Arc<Selection>,
    schema: SchemaRef,
    rows: usize,
    properties: Arc<PlanProperties>,
}

impl<R: Row> TailExec<R> {
    /// `schema` names the columns that are read.
    pub(crate) fn new(
        chunks: Vec<Arc<Chunk<R::Kept>>>,
        selection: Selection,
        schema: SchemaRef,
        parallelism: usize,
    ) -> Self {
        let rows = chunks.iter().map(|chunk| chunk.len()).sum::<usize>();
        let wanted = (rows / PARTITION_ROWS_MIN).clamp(1, parallelism.max(1));
        let partitions = split(chunks, rows, wanted);
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema.clone()),
            Partitioning::UnknownPartitioning(partitions.len()),
            EmissionType::Incremental,
            Boundedness::Bounded,
        )
        .with_scheduling_type(SchedulingType::NonCooperative);
        let (selection, properties) = (Arc::new(selection), Arc::new(properties));
        Self { partitions, selection, schema, rows, properties }
    }
}

/// Cuts `chunks` into `wanted` parts of about equally many rows, in order.
fn split<B: Kept>(chunks: Vec<Arc<Chunk<B>>>, rows: usize, wanted: usize) -> Vec<Part<B>> {
    let mut parts: Vec<Vec<Arc<Chunk<B>>>> = vec![Vec::new()];
    let mut seen = 0;
    for chunk in chunks {
        if seen * wanted >= rows.max(1) * parts.len() {
            parts.push(Vec::new());
        }
        seen += chunk.len();
        parts.last_mut().expect("there is a first part").push(chunk);
    }
    parts.into_iter().map(Arc::from).collect()
}

impl<R: Row> DisplayAs for TailExec<R> {
    fn fmt_as(&self, _kind: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let chunks: usize = self.partitions.iter().map(|chunks| chunks.len()).sum();
        write!(f, "TailExec: table={}, chunks={chunks}, rows={}", R::TABLE.as_str(), self.rows)
    }
}

impl<R: Row> ExecutionPlan for TailExec<R> {
    fn name(&self) -> &str {
        "TailExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn with_new_children(
        self: Arc<Self>,
        _children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(
        &self,
        partition: usize,
        _context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let Some(chunks) = self.partitions.get(partition) else {
            return internal_err!("the live rows have no partition {partition}");
        };
        let batches = Batches::<R> {
            chunks: chunks.clone(),
            next: 0,
            selection: self.selection.clone(),
            schema: self.schema.clone(),
        };
        let batches = futures::stream::iter(batches);
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), batches)))
    }

    fn partition_statistics(&self, partition: Option<usize>) -> Result<Arc<Statistics>> {
        let rows = match partition {
            Some(at) => self.partitions[at].iter().map(|chunk| chunk.len()).sum(),
            None => self.rows,
        };
        let unknown = Statistics::new_unknown(&self.schema);
        Ok(Arc::new(unknown.with_num_rows(Precision::Inexact(rows))))
    }
}

/// The batches of one partition.
struct Batches<R: Row> {
    chunks: Part<R::Kept>,
    next: usize,
    selection: Arc<Selection>,
    schema: SchemaRef,
}

impl<R: Row> Iterator for Batches<R> {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut rows: Vec<R> = Vec::new();
        while rows.len() < BATCH_ROWS
            && let Some(chunk) = self.chunks.get(self.next)
        {
            self.next += 1;
            for batch in &chunk.batches {
                R::select(batch, &self.selection, &mut rows);
            }
        }
        (!rows.is_empty()).then(|| batch_of(&self.schema, &rows))
    }
}
