//! Rules that replace parts of expressions all over a plan.

use arrow_schema::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr::{Cast, TryCast};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, LogicalPlan};

/// `plan` with each part of its expressions, and of the queries in them, as `rewrite` makes it, from
/// below upwards. Columns keep their names.
pub(crate) fn with_parts_rewritten(
    plan: LogicalPlan,
    rewrite: impl Fn(Expr) -> Result<Transformed<Expr>>,
) -> Result<LogicalPlan> {
    let rewritten = plan.transform_up_with_subqueries(|node| step_rewritten(node, &rewrite))?;
    Ok(rewritten.data)
}

/// The same where `rewrite` has to know of what types the columns are.
fn with_typed_parts_rewritten(
    plan: LogicalPlan,
    rewrite: impl Fn(Expr, &DFSchema) -> Result<Transformed<Expr>>,
) -> Result<LogicalPlan> {
    let rewritten = plan.transform_up_with_subqueries(|node| {
        let mut schema = merge_schema(&node.inputs());
        if let LogicalPlan::TableScan(scan) = &node {
            schema.merge(&DFSchema::try_from_qualified_schema(
                scan.table_name.clone(),
                &scan.source.schema(),
            )?);
        }
        step_rewritten(node, &|part| rewrite(part, &schema))
    })?;
    Ok(rewritten.data)
}

fn step_rewritten(
    step: LogicalPlan,
    rewrite: &impl Fn(Expr) -> Result<Transformed<Expr>>,
) -> Result<Transformed<LogicalPlan>> {
    let names = NamePreserver::new(&step);
    step.map_expressions(|expr| {
        let name = names.save(&expr);
        let rewritten = expr.transform_up(rewrite)?;
        Ok(rewritten.update_data(|expr| name.restore(expr)))
    })
}

/// `plan` with what is cast as `rewrite` makes it, which is told what it is cast to.
pub(crate) fn with_casts_rewritten(
    plan: LogicalPlan,
    rewrite: impl Fn(Expr, &DataType) -> Transformed<Expr>,
) -> Result<LogicalPlan> {
    with_parts_rewritten(plan, |expr| Ok(cast_rewritten(expr, &rewrite)))
}

/// The same where `rewrite` has to know of what types the columns are.
pub(crate) fn with_typed_casts_rewritten(
    plan: LogicalPlan,
    rewrite: impl Fn(Expr, &DataType, &DFSchema) -> Transformed<Expr>,
) -> Result<LogicalPlan> {
    with_typed_parts_rewritten(plan, |expr, schema| {
        Ok(cast_rewritten(expr, &|inner, wanted| rewrite(inner, wanted, schema)))
    })
}

fn cast_rewritten(
    expr: Expr,
    rewrite: &impl Fn(Expr, &DataType) -> Transformed<Expr>,
) -> Transformed<Expr> {
    match expr {
        Expr::Cast(Cast { expr: inner, field }) => {
            let inner = rewrite(*inner, field.data_type());
            inner.update_data(|it| Expr::Cast(Cast { expr: Box::new(it), field }))
        }
        Expr::TryCast(TryCast { expr: inner, field }) => {
            let inner = rewrite(*inner, field.data_type());
            inner.update_data(|it| Expr::TryCast(TryCast { expr: Box::new(it), field }))
        }
        other => Transformed::no(other),
    }
}
