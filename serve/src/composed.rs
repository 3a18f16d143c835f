//! Projections that look alike and stand one on the other, kept apart.
//!
//! DataFusion 54 takes two equal projections in a row for one. So `SELECT x + 1 AS x FROM (SELECT
//! x + 1 AS x FROM t)` would be `x + 1` (mended after 54.1: <https://github.com/apache/datafusion/pull/24686>).
//! [`KeepComposed`] runs right before the rule that does so, and has the upper of the two name each
//! of its columns once more, by which they are different and mean the same.

use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::logical_expr::expr::Alias;
use datafusion::logical_expr::{Expr, LogicalPlan, Projection};
use datafusion::optimizer::{Optimizer, OptimizerConfig, OptimizerRule};

/// The rule of DataFusion that takes two for one.
const MERGES: &str = "optimize_projections";

/// The rules of DataFusion, and [`KeepComposed`] where it has to be.
pub(crate) fn rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    let mut rules = Optimizer::new().rules;
    let place =
        rules.iter().position(|rule| rule.name() == MERGES).expect("DataFusion has this rule");
    rules.insert(place, Arc::new(KeepComposed));
    rules
}

#[derive(Debug)]
struct KeepComposed;

impl OptimizerRule for KeepComposed {
    fn name(&self) -> &str {
        "k2_keep_composed"
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        _config: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        plan.transform_up_with_subqueries(keep_apart)
    }
}

/// From below upwards, so that of three in a row the middle one is different from both others.
fn keep_apart(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let LogicalPlan::Projection(upper) = plan else { return Ok(Transformed::no(plan)) };
    let is_repeated = matches!(&*upper.input, LogicalPlan::Projection(lower)
        if lower.expr == upper.expr && upper.expr.iter().any(is_named));
    if !is_repeated {
        return Ok(Transformed::no(LogicalPlan::Projection(upper)));
    }
    let exprs = upper.expr.into_iter().map(name_again).collect();
    let apart = Projection::try_new_with_schema(exprs, upper.input, upper.schema)?;
    Ok(Transformed::yes(LogicalPlan::Projection(apart)))
}

/// What has no name of its own means the same wherever it stands.
fn is_named(expr: &Expr) -> bool {
    matches!(expr, Expr::Alias(_))
}

fn name_again(expr: Expr) -> Expr {
    match expr {
        Expr::Alias(alias) => {
            let again = Expr::Alias(alias.clone());
            Expr::Alias(Alias { expr: Box::new(again), ..alias })
        }
        _ => expr,
    }
}
