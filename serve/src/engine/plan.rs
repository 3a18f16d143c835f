//! From a statement to the first of its rows.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::source_as_provider;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool};
use datafusion::execution::{SendableRecordBatchStream, SessionState};
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::physical_plan::execute_stream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::sql::parser::Statement;
use futures::StreamExt;

use super::failed;
use super::limits::{too_large, too_many_rows};
use crate::catalog::Scope;
use crate::config::Limits;
use crate::error::Result;
use crate::functions::finality::needs_clocks;
use crate::memory::QueryMemory;
use crate::planning;
use crate::session;
use crate::tables::stored::StoredTable;

/// A query that reads fewer rows than this runs on one thread: handing them over costs more.
const PARALLEL_ROWS_MIN: usize = 100_000;

/// The optimised plan of `statement`, and the session it was planned in.
pub(super) async fn planned(
    scope: &Arc<Scope>,
    statement: Statement,
) -> Result<(SessionState, LogicalPlan)> {
    let state = scope.session();
    let plan = planning::plan_of(&state, statement).await?;
    let plan = planning::optimized(&state, &plan)?;
    Ok((state, plan))
}

/// What must be known of a plan before it runs.
pub(super) struct PlanFacts {
    /// Rows of the tables that it scans, before any filter.
    rows: usize,
    pub(super) needs_clocks: bool,
}

pub(super) fn facts_of(plan: &LogicalPlan) -> Result<PlanFacts> {
    let mut facts = PlanFacts { rows: 0, needs_clocks: false };
    let visited = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && let Ok(provider) = source_as_provider(&scan.source)
            && let Some(table) = provider.downcast_ref::<StoredTable>()
        {
            facts.rows = facts.rows.saturating_add(table.rows());
        }
        node.apply_expressions(|expr| {
            expr.apply(|part| {
                facts.needs_clocks |=
                    matches!(part, Expr::ScalarFunction(call) if needs_clocks(call.name()));
                Ok(TreeNodeRecursion::Continue)
            })
        })
    });
    visited.map_err(failed)?;
    Ok(facts)
}

/// Refuses more bytes at once than a query may hold.
pub(super) fn check_size(bytes: usize, limits: Limits) -> Result<()> {
    if bytes > limits.memory_bytes_max { Err(too_large(limits)) } else { Ok(()) }
}

/// A query that runs, and the memory that it has.
pub(super) struct Begun {
    rows: SendableRecordBatchStream,
    memory: Arc<QueryMemory>,
}

impl Begun {
    pub(super) async fn new(
        mut state: SessionState,
        plan: &LogicalPlan,
        facts: &PlanFacts,
        memory: Arc<QueryMemory>,
    ) -> Result<Self> {
        if facts.rows < PARALLEL_ROWS_MIN {
            state.config_mut().options_mut().execution.target_partitions = 1;
        }
        let planner = state.query_planner().clone();
        let plan = planner.create_physical_plan(plan, &state).await.map_err(failed)?;
        let task = session::task(&state, memory.clone());
        let rows = execute_stream(plan, task).map_err(|error| memory.told(failed(error)))?;
        Ok(Self { rows, memory })
    }

    /// Rows that have been found already.
    pub(super) fn of(
        schema: SchemaRef,
        batches: Vec<RecordBatch>,
        memory: Arc<QueryMemory>,
    ) -> Self {
        let batches = futures::stream::iter(batches.into_iter().map(Ok));
        Self { rows: Box::pin(RecordBatchStreamAdapter::new(schema, batches)), memory }
    }

    pub(super) fn schema(&self) -> SchemaRef {
        self.rows.schema()
    }

    pub(super) fn memory(&self) -> Arc<QueryMemory> {
        self.memory.clone()
    }

    /// The next batch that has rows.
    pub(super) async fn next(&mut self) -> Option<Result<RecordBatch>> {
        loop {
            let next = self.rows.next().await?;
            match next.map_err(|error| self.memory.told(failed(error))) {
                Ok(batch) if batch.num_rows() == 0 => {}
                next => return Some(next),
            }
        }
    }

    /// All rows, if they stay within the limits of an answer.
    pub(super) async fn collect(mut self, limits: Limits) -> Result<Vec<RecordBatch>> {
        let pool: Arc<dyn MemoryPool> = self.memory.clone();
        let held = MemoryConsumer::new("answer").register(&pool);
        let (mut batches, mut rows, mut bytes) = (Vec::new(), 0, 0);
        while let Some(batch) = self.next().await {
            let batch = batch?;
            rows += batch.num_rows();
            bytes += batch.get_array_memory_size();
            if rows > limits.rows_max {
                return Err(too_many_rows(limits));
            }
            check_size(bytes, limits)?;
            let grown = held.try_grow(batch.get_array_memory_size());
            grown.map_err(|error| self.memory.told(failed(error)))?;
            batches.push(batch);
        }
        Ok(batches)
    }
}
