//! A view that is kept in memory: its rows become columns when it is scanned.

use std::fmt;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use k2_model::DataType;

use crate::constraint::Constraint;
use crate::pinned::Trace;
use crate::tables::counted::Side;
use crate::tables::scan::{Wanted, pushdown};

/// Makes the rows that may fulfil a constraint.
pub(crate) type MakeRows = Box<dyn Fn(&Constraint) -> Result<Vec<RecordBatch>> + Send + Sync>;

pub(crate) struct MemoryTable {
    schema: SchemaRef,
    rows: MakeRows,
    side: Side,
    /// Of which records the view is: `None` is of every kind.
    touches: &'static [Option<DataType>],
    trace: Arc<Trace>,
}

impl MemoryTable {
    pub(crate) fn new(
        schema: SchemaRef,
        side: Side,
        touches: &'static [Option<DataType>],
        trace: Arc<Trace>,
        rows: MakeRows,
    ) -> Self {
        Self { schema, rows, side, touches, trace }
    }
}

impl fmt::Debug for MemoryTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryTable").field("side", &self.side).finish_non_exhaustive()
    }
}

#[async_trait]
impl TableProvider for MemoryTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::View
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
        for data_type in self.touches {
            self.trace.touch(*data_type, &constraint);
        }
        let rows = if constraint.is_never() { Vec::new() } else { (self.rows)(&constraint)? };
        let columns = wanted.columns()?;
        let read = MemorySourceConfig::try_new_exec(&[rows], self.schema.clone(), Some(columns))?;
        wanted.finish(read, self.side, &self.trace)
    }
}
