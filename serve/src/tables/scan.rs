//! What all scans have in common: filters are applied exactly, then rows are counted.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_schema::SchemaRef;
use datafusion::catalog::Session;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::filter::FilterExecBuilder;

use crate::pinned::Trace;
use crate::tables::counted::{CountedExec, Side};

/// What is asked of a scan.
pub(crate) struct Wanted<'a> {
    pub(crate) state: &'a dyn Session,
    /// All columns of the table.
    pub(crate) schema: &'a SchemaRef,
    /// The columns that go on.
    pub(crate) projection: Vec<usize>,
    /// Rows that do not pass all of them do not go on.
    pub(crate) filters: Vec<Expr>,
}

impl<'a> Wanted<'a> {
    pub(crate) fn new(
        state: &'a dyn Session,
        schema: &'a SchemaRef,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
    ) -> Self {
        let all = || (0..schema.fields().len()).collect();
        let projection = projection.cloned().unwrap_or_else(all);
        Self { state, schema, projection, filters: filters.to_vec() }
    }

    /// The columns that must be read: those that go on, and those of the filters.
    pub(crate) fn columns(&self) -> Result<Vec<usize>> {
        if self.filters.is_empty() {
            return Ok(self.projection.clone());
        }
        let mut columns: BTreeSet<usize> = self.projection.iter().copied().collect();
        for filter in &self.filters {
            for column in filter.column_refs() {
                columns.insert(self.schema.index_of(&column.name)?);
            }
        }
        Ok(columns.into_iter().collect())
    }

    /// Filters what `input` reads, which are the columns of [`Wanted::columns`], and counts it.
    pub(crate) fn finish(
        &self,
        input: Arc<dyn ExecutionPlan>,
        side: Side,
        trace: &Trace,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let filtered = match conjunction(self.filters.iter().cloned()) {
            Some(filter) => {
                let schema = DFSchema::try_from(input.schema())?;
                let filter = self.state.create_physical_expr(filter, &schema)?;
                let columns = self.columns()?;
                let place = |wanted: &usize| columns.binary_search(wanted);
                let places = self
                    .projection
                    .iter()
                    .map(|wanted| place(wanted).expect("the columns include those that go on"));
                let filter = FilterExecBuilder::new(filter, input)
                    .apply_projection(Some(places.collect()))?
                    .build()?;
                Arc::new(filter)
            }
            None => input,
        };
        Ok(Arc::new(CountedExec::new(filtered, side, trace.rows(side))))
    }
}

/// Every filter that stands on its own is applied by the scan itself.
pub(crate) fn pushdown(filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
    let judge = |filter: &&Expr| {
        let mut stands_alone = !filter.is_volatile();
        filter.apply(|part| {
            stands_alone &= !matches!(
                part,
                Expr::ScalarSubquery(_)
                    | Expr::InSubquery(_)
                    | Expr::Exists(_)
                    | Expr::SetComparison(_)
                    | Expr::OuterReferenceColumn(_, _)
                    | Expr::Placeholder(_)
            );
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(if stands_alone {
            TableProviderFilterPushDown::Exact
        } else {
            TableProviderFilterPushDown::Unsupported
        })
    };
    filters.iter().map(judge).collect()
}
