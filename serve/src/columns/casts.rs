//! Casts that are told apart where the planner would take one for the other.
//!
//! To the planner a cast has the name of what is cast, so it takes `max(price), max(price::float8)`, and
//! `GROUP BY ts, ts::date`, for two columns of one name, and refuses them. Where a query has such a pair
//! its casts are put into a function that does nothing, but has the type in its name.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow_schema::{DataType, FieldRef};
use datafusion::common::Result;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr as PlanExpr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility,
};
use datafusion::sql::sqlparser::ast::{
    Expr, GroupByExpr, OrderBy, OrderByKind, Query, Select, SelectItem, SetExpr, visit_expressions,
    visit_expressions_mut,
};

use super::name_of;
use crate::pg_catalog::written::call;

const CAST: &str = "k2_cast";

/// The functions that questions are rewritten with.
pub(crate) fn functions() -> [Arc<ScalarUDF>; 1] {
    [Arc::new(ScalarUDF::new_from_impl(Cast(Signature::any(1, Volatility::Immutable))))]
}

/// Tells the casts of `query` apart, if the planner would not. Queries within it are left as they are.
pub(super) fn tell_apart(query: &mut Query) {
    let SetExpr::Select(select) = &*query.body else { return };
    if !has_cast(query) {
        return;
    }
    let mut named = Named::default();
    each_part(select, query.order_by.as_ref(), |part, is_column| named.add(part, is_column));
    if !named.is_ambiguous {
        return;
    }
    let mut wrap = |expr: &mut Expr| {
        let _all = visit_expressions_mut(expr, |part| {
            if matches!(part, Expr::Cast { .. }) {
                *part = call(CAST, vec![part.clone()]);
            }
            ControlFlow::<()>::Continue(())
        });
    };
    if let SetExpr::Select(select) = &mut *query.body {
        columns_of_mut(select).for_each(&mut wrap);
        groups_of_mut(select).for_each(&mut wrap);
        select.having.iter_mut().chain(&mut select.qualify).for_each(&mut wrap);
    }
    if let Some(OrderBy { kind: OrderByKind::Expressions(orders), .. }) = &mut query.order_by {
        orders.iter_mut().for_each(|order| wrap(&mut order.expr));
    }
}

/// Without one nothing is taken for something else, as in most questions.
fn has_cast(query: &Query) -> bool {
    let found = visit_expressions(query, |part| match part {
        Expr::Cast { .. } => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    found.is_break()
}

/// What is written for a name of the planner.
#[derive(Default)]
struct Named {
    written: BTreeMap<String, String>,
    is_ambiguous: bool,
}

impl Named {
    /// Adds what becomes a column of a step of the plan: the calls in `expr`, and itself if it
    /// `is_column`.
    fn add(&mut self, expr: &Expr, is_column: bool) {
        if is_column {
            self.add_one(expr);
        }
        let _all = visit_expressions(expr, |part| {
            if matches!(part, Expr::Function(_)) {
                self.add_one(part);
            }
            ControlFlow::<()>::Continue(())
        });
    }

    fn add_one(&mut self, expr: &Expr) {
        let written = expr.to_string();
        let before = self.written.entry(name_of(expr)).or_insert_with(|| written.clone());
        self.is_ambiguous |= *before != written;
    }
}

/// What of a query can become a column; with whether it is one by itself.
fn each_part(select: &Select, order_by: Option<&OrderBy>, mut add: impl FnMut(&Expr, bool)) {
    let groups = match &select.group_by {
        GroupByExpr::Expressions(groups, _) => &groups[..],
        GroupByExpr::All(_) => &[],
    };
    groups.iter().for_each(|group| add(group, true));
    // A group may be named by the place or the name of its column.
    for item in &select.projection {
        if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
            add(expr, !groups.is_empty());
        }
    }
    select.having.iter().chain(&select.qualify).for_each(|it| add(it, false));
    if let Some(OrderBy { kind: OrderByKind::Expressions(orders), .. }) = order_by {
        orders.iter().for_each(|order| add(&order.expr, false));
    }
}

fn columns_of_mut(select: &mut Select) -> impl Iterator<Item = &mut Expr> {
    select.projection.iter_mut().filter_map(|item| match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr),
        _ => None,
    })
}

fn groups_of_mut(select: &mut Select) -> impl Iterator<Item = &mut Expr> {
    let groups = match &mut select.group_by {
        GroupByExpr::Expressions(groups, _) => Some(groups.iter_mut()),
        GroupByExpr::All(_) => None,
    };
    groups.into_iter().flatten()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Cast(Signature);

impl ScalarUDFImpl for Cast {
    fn name(&self) -> &str {
        CAST
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        Ok(arguments[0].clone())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        Ok(args.arg_fields[0].clone())
    }

    fn invoke_with_args(&self, mut call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Ok(call.args.swap_remove(0))
    }

    fn simplify(
        &self,
        mut args: Vec<PlanExpr>,
        _info: &SimplifyContext,
    ) -> Result<ExprSimplifyResult> {
        Ok(ExprSimplifyResult::Simplified(args.swap_remove(0)))
    }

    fn schema_name(&self, args: &[PlanExpr]) -> Result<String> {
        let [cast] = args else { return Ok(CAST.to_owned()) };
        Ok(match cast {
            PlanExpr::Cast(it) => format!("{}::{}", it.expr.schema_name(), it.field.data_type()),
            other => other.schema_name().to_string(),
        })
    }
}
