//! `WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers …)`: the names in
//! the parentheses are those of the first part, where the planner gives them to the whole alone, so
//! that the second part would not find them.

use datafusion::sql::sqlparser::ast::{Cte, Expr, Ident, Query, SelectItem, SetExpr};

use super::written::query_of;

/// Gives the columns of what is recursive their names where the recursion begins.
pub(super) fn name_columns(query: &mut Query) {
    let Some(with) = query.with.as_mut().filter(|with| with.recursive) else { return };
    with.cte_tables.iter_mut().for_each(name_first);
}

fn name_first(cte: &mut Cte) {
    let names: Vec<Ident> = cte.alias.columns.iter().map(|column| column.name.clone()).collect();
    let SetExpr::SetOperation { left, .. } = &mut *cte.query.body else { return };
    if names.is_empty() {
        return;
    }
    if let SetExpr::Values(_) = **left {
        let listed: Vec<String> = names.iter().map(Ident::to_string).collect();
        let sql = format!("SELECT * FROM ({left}) AS first_rows({})", listed.join(", "));
        if let Some(first) = query_of(&sql) {
            **left = SetExpr::Query(first);
        }
    }
    let SetExpr::Select(select) = &mut **left else { return };
    let is_one = |item: &SelectItem| {
        matches!(item, SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. })
    };
    // What a wildcard stands for only the planner knows.
    if select.projection.len() != names.len() || !select.projection.iter().all(is_one) {
        return;
    }
    for (item, alias) in select.projection.iter_mut().zip(names) {
        if let Some(expr) = expr_of(item) {
            *item = SelectItem::ExprWithAlias { expr, alias };
        }
    }
}

fn expr_of(item: &SelectItem) -> Option<Expr> {
    match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
            Some(expr.clone())
        }
        _ => None,
    }
}
