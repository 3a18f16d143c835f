//! Joins that can be stopped, and that let others run.
//!
//! A query is stopped, and others have their turn, where it gives its thread back. By itself it does
//! so now and then as it reads, but a join makes millions of rows of a few thousand; and one that
//! takes few of the pairs that it looks at may be at work for minutes before it has a batch of them.
//! So what makes more rows than it reads has turns, joins with a condition are given their rows in
//! small pieces, and a condition looks whether the query has to end, and steps aside if it is at work
//! for long.

mod alive;
mod aside;
mod pieces;

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::error::Result;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::joins::{
    CrossJoinExec, HashJoinExec, HashJoinExecBuilder, NestedLoopJoinExec, NestedLoopJoinExecBuilder,
};
use datafusion::physical_plan::unnest::UnnestExec;

use crate::stop::Stop;
use alive::Alive;
use pieces::Pieces;

/// Rows that a join gets at once which compares each of them with all rows of its other side. Few
/// enough that it compares one with several others at a time, and does not become slower.
const LOOP_ROWS: usize = 512;
/// Rows that a join gets at once which compares each with those of the same key.
const HASH_ROWS: usize = 1_024;

/// Lets what makes more rows than it reads give its thread back while it does.
#[derive(Debug)]
pub(crate) struct YieldingJoins;

impl PhysicalOptimizerRule for YieldingJoins {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        options: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let stop = Stop::of(options);
        plan.transform_up(|node| yielding(node, stop)).data()
    }

    fn name(&self) -> &str {
        "yielding_joins"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn yielding(
    node: Arc<dyn ExecutionPlan>,
    stop: Option<&Stop>,
) -> Result<Transformed<Arc<dyn ExecutionPlan>>> {
    if node.children().len() < 2 && !node.is::<UnnestExec>() {
        return Ok(Transformed::no(node));
    }
    let join = match stop {
        Some(stop) => stoppable(&node, stop)?.unwrap_or(node),
        None => node,
    };
    let keeps = join.is::<CrossJoinExec>() || join.is::<NestedLoopJoinExec>();
    let join = if keeps { counting_kept(join)? } else { join };
    Ok(Transformed::yes(Arc::new(Pieces::turns(join))))
}

/// A join that keeps all of its left side, and the number of its batches bounded.
fn counting_kept(join: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let mut children: Vec<_> = join.children().into_iter().cloned().collect();
    if let Some(left) = children.first_mut() {
        *left = Arc::new(Pieces::kept(left.clone()));
    }
    join.with_new_children(children)
}

/// A join whose condition may refuse many pairs, as one that can be stopped meanwhile.
fn stoppable(node: &Arc<dyn ExecutionPlan>, stop: &Stop) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    if let Some(join) = node.downcast_ref::<NestedLoopJoinExec>()
        && let Some(filter) = join.filter()
    {
        let filter = until(stop, filter);
        let join = NestedLoopJoinExecBuilder::from(join).with_filter(Some(filter)).build()?;
        return Ok(Some(in_pieces(Arc::new(join), LOOP_ROWS)?));
    }
    if let Some(join) = node.downcast_ref::<HashJoinExec>()
        && let Some(filter) = join.filter()
    {
        let filter = until(stop, filter);
        let join = HashJoinExecBuilder::from(join).with_filter(Some(filter)).build()?;
        return Ok(Some(in_pieces(Arc::new(join), HASH_ROWS)?));
    }
    Ok(None)
}

/// `filter`, which fails once the query has to end.
fn until(stop: &Stop, filter: &JoinFilter) -> JoinFilter {
    let condition = Arc::new(Alive::new(filter.expression().clone(), stop.clone()));
    JoinFilter::new(condition, filter.column_indices().to_vec(), filter.schema().clone())
}

/// `join`, whose right side comes in pieces of so many rows.
fn in_pieces(join: Arc<dyn ExecutionPlan>, rows: usize) -> Result<Arc<dyn ExecutionPlan>> {
    let mut children: Vec<_> = join.children().into_iter().cloned().collect();
    if let Some(right) = children.pop() {
        children.push(Arc::new(Pieces::of(right, rows)));
    }
    join.with_new_children(children)
}
