//! A table at the seam: the pinned files, and the live rows of epochs in `[F_c, F_q)`.
//!
//! No row is on both sides and none on neither (SEAM-1), so nothing is deduplicated here.

use std::sync::Arc;

use arrow_schema::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType, col, lit};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::union::UnionExec;
use k2_dataflows::live::Chunk;
use k2_model::{DataType, GapChange, Nanos, Quote, Reject, Trade};
use k2_sinks::Table;

use crate::constraint::{Constraint, Key};
use crate::engine::newest::NewestRow;
use crate::explain::{Part, Scan};
use crate::functions::covered::covered;
use crate::pinned::{Pinned, Trace};
use crate::schema;
use crate::tables::counted::Side;
use crate::tables::files;
use crate::tables::rows::Row;
use crate::tables::scan::{Wanted, pushdown};
use crate::tables::selection::Selection;
use crate::tables::tail::TailExec;

/// One of the four tables.
#[derive(Debug)]
pub(crate) struct StoredTable {
    table: Table,
    schema: SchemaRef,
    pinned: Arc<Pinned>,
    trace: Arc<Trace>,
}

impl StoredTable {
    pub(crate) fn new(table: Table, pinned: Arc<Pinned>, trace: Arc<Trace>) -> Self {
        Self { table, schema: schema::of_table(table), pinned, trace }
    }

    /// Whether rows of both sides are few enough for one thread.
    pub(crate) fn rows(&self) -> usize {
        let cold = usize::try_from(self.cold_rows()).unwrap_or(usize::MAX);
        cold.saturating_add(self.rows_live())
    }

    fn cold_rows(&self) -> u64 {
        self.pinned.files(self.table).iter().map(|file| file.record_count).sum()
    }

    pub(crate) fn rows_live(&self) -> usize {
        self.live_chunks().1
    }

    /// Chunks, and rows in them.
    fn live_chunks(&self) -> (usize, usize) {
        match self.table {
            Table::Trades => self.counted::<Trade>(),
            Table::Quotes => self.counted::<Quote>(),
            Table::Rejects => self.counted::<Reject>(),
            Table::Gaps => self.counted::<GapChange>(),
        }
    }

    fn counted<R: Row>(&self) -> (usize, usize) {
        self.pinned.live.as_ref().map_or((0, 0), |live| live.counted(R::of_tail))
    }

    /// All that there is, and nothing of it read.
    fn unread(&self) -> Scan {
        let all = |all: u64| Part { read: 0, all };
        let (chunks, live_rows) = self.live_chunks();
        Scan {
            table: self.table.as_str(),
            snapshot_id: self.pinned.snapshot_id(self.table),
            files: all(self.pinned.files(self.table).len() as u64),
            rows: all(self.cold_rows()),
            chunks: all(chunks as u64),
            live_rows: all(live_rows as u64),
        }
    }

    fn cold(&self, wanted: &Wanted<'_>, constraint: &Constraint, note: &mut Scan) -> Result<Parts> {
        let mut filters = wanted.filters.clone();
        filters.extend(time_filter(&self.schema, constraint));
        filters.extend(self.pinned.as_of_offsets(self.table).map(covered));
        let wanted = Wanted { filters, projection: wanted.projection.clone(), ..*wanted };
        let files = files::prune(self.pinned.files(self.table), constraint);
        note.files.read = files.len() as u64;
        note.rows.read = files.iter().map(|file| file.record_count).sum();
        if files.is_empty() {
            return Ok(Vec::new());
        }
        let read = files::scan(wanted.state, &self.schema, &files, wanted.columns()?)?;
        Ok(vec![wanted.finish(read, Side::Iceberg, &self.trace)?])
    }

    /// The live rows at the seam.
    fn live<R: Row>(
        &self,
        wanted: &Wanted<'_>,
        constraint: &Constraint,
        note: &mut Scan,
    ) -> Result<Parts> {
        let from = Nanos(constraint.range(Key::TsEvent).lower);
        let live = self.pinned.live.iter();
        let chunks = live.flat_map(|live| live.rows(R::of_tail, from)).cloned().collect();
        self.in_memory::<R>(chunks, wanted, constraint, note)
    }

    /// All rows that are asked for, if memory has them on either side of the seam.
    fn held<R: NewestRow>(
        &self,
        wanted: &Wanted<'_>,
        constraint: &Constraint,
        note: &mut Scan,
    ) -> Result<Option<Parts>> {
        let from = Nanos(constraint.range(Key::TsEvent).lower);
        let instruments = self.pinned.instruments(constraint, R::DATA_TYPE);
        let live = self.pinned.live.as_ref();
        let Some(live) = live.filter(|live| live.holds::<R>(instruments.as_deref(), from)) else {
            return Ok(None);
        };
        let chunks = live.recent::<R>(from).cloned().collect();
        self.in_memory::<R>(chunks, wanted, constraint, note).map(Some)
    }

    fn in_memory<R: Row>(
        &self,
        chunks: Vec<Arc<Chunk<R::Kept>>>,
        wanted: &Wanted<'_>,
        constraint: &Constraint,
        note: &mut Scan,
    ) -> Result<Parts> {
        if chunks.is_empty() {
            return Ok(Vec::new());
        }
        let instruments =
            self.touched().and_then(|data_type| self.pinned.instruments(constraint, data_type));
        if instruments.as_ref().is_some_and(Vec::is_empty) {
            return Ok(Vec::new());
        }
        note.chunks = note.chunks.reading(chunks.len());
        note.live_rows = note.live_rows.reading(chunks.iter().map(|chunk| chunk.len()).sum());
        let constraint = constraint.clone();
        let as_of = self.pinned.as_of_offsets(self.table);
        let selection = Selection { constraint, instruments, as_of };
        let schema = Arc::new(self.schema.project(&wanted.columns()?)?);
        let parallelism = wanted.state.config().target_partitions();
        let read = TailExec::<R>::new(chunks, selection, schema, parallelism);
        Ok(vec![wanted.finish(Arc::new(read), Side::Live, &self.trace)?])
    }

    fn both_sides(
        &self,
        wanted: &Wanted<'_>,
        constraint: &Constraint,
        note: &mut Scan,
    ) -> Result<Parts> {
        let mut parts = self.cold(wanted, constraint, note)?;
        parts.extend(match self.table {
            Table::Trades => self.live::<Trade>(wanted, constraint, note)?,
            Table::Quotes => self.live::<Quote>(wanted, constraint, note)?,
            Table::Rejects => self.live::<Reject>(wanted, constraint, note)?,
            Table::Gaps => self.live::<GapChange>(wanted, constraint, note)?,
        });
        Ok(parts)
    }

    fn touched(&self) -> Option<DataType> {
        match self.table {
            Table::Trades => Some(DataType::Trades),
            Table::Quotes => Some(DataType::Quotes),
            Table::Rejects | Table::Gaps => None,
        }
    }
}

/// At most one scan.
type Parts = Vec<Arc<dyn ExecutionPlan>>;

/// What a filter on windows says of the times themselves, in words that the reader can prune by.
fn time_filter(schema: &SchemaRef, constraint: &Constraint) -> Option<Expr> {
    if !constraint.is_constrained(Key::TsEvent) || schema.index_of("ts_event").is_err() {
        return None;
    }
    let range = constraint.range(Key::TsEvent);
    let lower = col("ts_event").gt_eq(lit(range.lower));
    Some(lower.and(col("ts_event").lt_eq(lit(range.upper))))
}

#[async_trait]
impl TableProvider for StoredTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        pushdown(filters)
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let wanted = Wanted::new(state, &self.schema, projection, filters);
        let constraint = Constraint::of(filters);
        self.trace.touch(self.touched(), &constraint);
        let (mut parts, mut note) = (Parts::new(), self.unread());
        if !constraint.is_never() {
            let held = match self.table {
                Table::Trades => self.held::<Trade>(&wanted, &constraint, &mut note)?,
                Table::Quotes => self.held::<Quote>(&wanted, &constraint, &mut note)?,
                Table::Rejects | Table::Gaps => None,
            };
            parts = match held {
                Some(parts) => parts,
                None => self.both_sides(&wanted, &constraint, &mut note)?,
            };
        }
        self.trace.plan(note);
        match parts.len() {
            0 => Ok(Arc::new(EmptyExec::new(Arc::new(self.schema.project(&wanted.projection)?)))),
            1 => Ok(parts.swap_remove(0)),
            _ => UnionExec::try_new(parts),
        }
    }
}
