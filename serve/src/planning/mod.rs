//! From a statement to a plan, within bounds.
//!
//! To plan is work that cannot be interrupted, and what it takes is not told by the length of a
//! question: the optimiser looks at a query inside an expression twice at each of its steps, so that
//! each further level doubles its time; a name that stands for a query is that query wherever it
//! stands; and a condition on what was computed is the whole computation. So a question is measured
//! before it is planned (`names`), and its plan before it is optimised (`sizes`). And a query in a query
//! takes a lot of stack, which a thread that answers does not have.

mod groups;
mod names;
pub(crate) mod sizes;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::parser::Statement;

use crate::columns;
use crate::engine::failed;
use crate::error::{Error, Result};
use crate::statement;

/// Steps of a plan, those of a query in an expression counted twice for each level that it is deep.
/// It takes about 10 µs to plan one.
const STEPS_MAX: usize = 20_000;
/// Queries and tables in a question, those behind a name counted wherever it stands.
const PARTS_MAX: usize = 10_000;
/// Sets of groups of one query.
const GROUP_SETS_MAX: usize = 256;
/// Steps of all conditions, once they are pushed down.
const CONDITIONS_MAX: usize = 10_000;
/// Steps that may stand one on the other.
const DEPTH_MAX: usize = 1_000;

/// The stack of a thread that answers; where less than half of it is left, planning takes another.
/// Memory is taken only of what is used.
pub const STACK_BYTES: usize = 32 << 20;

/// The plan of `statement` as it stands.
pub(crate) async fn plan_of(state: &SessionState, mut statement: Statement) -> Result<LogicalPlan> {
    if names::parts_of(&statement) > PARTS_MAX {
        return Err(too_many_steps());
    }
    if groups::sets_of(&statement) > GROUP_SETS_MAX {
        return Err(too_complex(&format!("has more than {GROUP_SETS_MAX} sets of groups"))
            .with_hint("name the sets that are wanted with GROUPING SETS ((a, b), (a), ())"));
    }
    columns::name_apart(&mut statement);
    let planning = OnLargeStack(Box::pin(state.statement_to_plan(statement)));
    let plan = planning.await.map_err(failed)?;
    statement::check(&plan)?;
    let plan = columns::with_names_apart(plan).map_err(failed)?;
    on_large_stack(|| measure(&plan))?;
    Ok(plan)
}

/// The plan that runs.
pub(crate) fn optimized(state: &SessionState, plan: &LogicalPlan) -> Result<LogicalPlan> {
    on_large_stack(|| state.optimize(plan)).map_err(failed)
}

fn on_large_stack<T>(work: impl FnOnce() -> T) -> T {
    stacker::maybe_grow(STACK_BYTES / 2, STACK_BYTES, work)
}

/// A future that is polled with a large stack.
struct OnLargeStack<F>(Pin<Box<F>>);

impl<F: Future> Future for OnLargeStack<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        on_large_stack(|| self.0.as_mut().poll(context))
    }
}

/// Refuses a plan that would take too long to optimise.
fn measure(plan: &LogicalPlan) -> Result<()> {
    let (mut steps, mut conditions) = (0_usize, 0_usize);
    let mut queries = vec![(Arc::new(plan.clone()), 1_usize, 0_usize)];
    while let Some((query, weight, above)) = queries.pop() {
        let mut nodes = vec![(&*query, above)];
        while let Some((node, depth)) = nodes.pop() {
            steps = steps.saturating_add(weight);
            if steps > STEPS_MAX {
                return Err(too_many_steps());
            }
            if depth > DEPTH_MAX {
                return Err(too_complex(&format!("has more than {DEPTH_MAX} steps in a row"))
                    .with_hint("ask in several questions"));
            }
            nodes.extend(node.inputs().into_iter().map(|input| (input, depth + 1)));
            let visited = node.apply_subqueries(|inner| {
                if let LogicalPlan::Subquery(inner) = inner {
                    queries.push((inner.subquery.clone(), weight.saturating_mul(2), depth + 1));
                }
                Ok(TreeNodeRecursion::Continue)
            });
            visited.map_err(failed)?;
        }
        conditions = conditions.saturating_add(sizes::conditions_of(&query).map_err(failed)?);
        if conditions > CONDITIONS_MAX {
            return Err(too_complex("has conditions on what is computed from itself too often")
                .with_hint("ask in several questions, or compare before computing"));
        }
    }
    Ok(())
}

fn too_many_steps() -> Error {
    too_complex("has more steps than can be planned in time")
        .with_hint("ask in several questions, or join instead of nesting queries")
}

fn too_complex(what: &str) -> Error {
    Error::bad_request("query_too_complex", format!("answer a query: its plan {what}"))
}
