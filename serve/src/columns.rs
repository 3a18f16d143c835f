//! Each column of an answer has a name, and one of its own.
//!
//! A column that a question computes is called as it is written: `sum(price * quantity)`. In a query
//! within the question it is called as in PostgreSQL, so that what is around it can name it: `sum`.
//! PostgreSQL's wire has those names everywhere.
//!
//! `SELECT price, price::float8` and `SELECT a.price, b.price` have two columns of one name. The planner
//! refuses some of these, and of the others no reader of JSON could have both. The first keeps its
//! name, the next one is `price_1`.

mod casts;

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use datafusion::error::Result;
use datafusion::logical_expr::{Expr as PlanExpr, LogicalPlan, LogicalPlanBuilder};
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    Expr, Ident, ObjectName, OrderBy, OrderByExpr, OrderByKind, Query, Select, SelectItem,
    SelectItemQualifiedWildcardKind, SetExpr, TableFactor, VisitMut, VisitorMut, visit_expressions,
    visit_expressions_mut,
};

pub(crate) use casts::functions;

use crate::pg_catalog::column_names::name_of as short_name_of;
use crate::statement::ast_of_mut;

/// Bytes of a name, as in PostgreSQL. What is written in more of them has its short name.
const NAME_BYTES_MAX: usize = 63;

/// Gives a name of its own to each column of `statement` and of the queries within it.
pub(crate) fn name_apart(statement: &mut Statement) {
    if let Some(ast) = ast_of_mut(statement) {
        let _all = ast.visit(&mut Apart::default());
    }
}

#[derive(Default)]
struct Apart {
    /// Of the queries that the visitor is in, the names that are read to order their rows.
    ordered: Vec<BTreeSet<String>>,
}

impl VisitorMut for Apart {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        self.ordered.push(read_to_order(query));
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        self.ordered.pop();
        order_by_names(query);
        // Once all have their names, so that those are of what was written.
        casts::tell_apart(query);
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        let mut names = Names::default();
        for item in &mut select.projection {
            if let SelectItem::ExprWithAlias { alias, .. } = item {
                let name = normalized(alias);
                if !names.take(name.clone()) {
                    *alias = Ident::with_quote('"', names.next(&name));
                }
            }
        }
        let all = Covered::by(select);
        for item in &mut select.projection {
            let SelectItem::UnnamedExpr(expr) = item else { continue };
            let name = self.name_of(expr);
            let is_covered = is_column(expr) && all.covers(expr);
            let is_free = !is_covered && names.take(name.clone());
            // In an expression that rows are ordered by, a name is that of what is read.
            let is_read = self.ordered.last().is_some_and(|names| names.contains(&name));
            if is_free && (is_bare(expr) || (is_column(expr) && is_read)) {
                continue;
            }
            let name = if is_free { name } else { names.next(&name) };
            let alias = Ident::with_quote('"', name);
            *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
        }
        ControlFlow::Continue(())
    }
}

/// The names in what the rows of `query` are ordered by, beside its own columns.
fn read_to_order(query: &Query) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let SetExpr::Select(select) = &*query.body else { return names };
    let Some(OrderBy { kind: OrderByKind::Expressions(orders), .. }) = &query.order_by else {
        return names;
    };
    let is_read = |order: &&OrderByExpr| {
        !is_bare(&order.expr) && item_of(select, &order.expr.to_string()).is_none()
    };
    for order in orders.iter().filter(is_read) {
        let _all = visit_expressions(&order.expr, |part| {
            if let Expr::Identifier(name) = part {
                names.insert(normalized(name));
            }
            ControlFlow::<()>::Continue(())
        });
    }
    names
}

/// Orders rows by a column where they are ordered by what it is: the planner would look for that
/// below, where what is `DISTINCT` is not yet so.
fn order_by_names(query: &mut Query) {
    let SetExpr::Select(select) = &*query.body else { return };
    let Some(OrderBy { kind: OrderByKind::Expressions(orders), .. }) = &mut query.order_by else {
        return;
    };
    for order in orders.iter_mut().filter(|order| !is_bare(&order.expr)) {
        if let Some(SelectItem::ExprWithAlias { alias, .. }) =
            item_of(select, &order.expr.to_string())
        {
            order.expr = Expr::Identifier(alias.clone());
        }
    }
}

/// The column that is `written` so.
fn item_of<'a>(select: &'a Select, written: &str) -> Option<&'a SelectItem> {
    select.projection.iter().find(|item| match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
            expr.to_string() == written
        }
        _ => false,
    })
}

impl Apart {
    fn name_of(&self, expr: &Expr) -> String {
        let is_within = self.ordered.len() > 1;
        let written = if is_within && !is_column(expr) { None } else { Some(name_of(expr)) };
        let fitting = written.filter(|it| is_column(expr) || it.len() <= NAME_BYTES_MAX);
        fitting.unwrap_or_else(|| short_name_of(expr))
    }
}

/// Names that are taken.
#[derive(Default)]
struct Names(BTreeSet<String>);

impl Names {
    /// Whether `name` was free.
    fn take(&mut self, name: String) -> bool {
        self.0.insert(name)
    }

    /// The first name after `name` that is free.
    fn next(&mut self, name: &str) -> String {
        let numbered = (1..).map(|number| format!("{name}_{number}"));
        let free = numbered.into_iter().find(|it| !self.0.contains(it)).unwrap_or_default();
        self.0.insert(free.clone());
        free
    }
}

/// The columns that wildcards stand for, as far as the question tells.
enum Covered {
    None,
    /// All of them.
    All,
    /// Those of some tables; and those without a table, if there is only one.
    Of {
        tables: Vec<String>,
        is_only: bool,
    },
}

impl Covered {
    fn by(select: &Select) -> Self {
        let mut tables = Vec::new();
        for item in &select.projection {
            match item {
                SelectItem::Wildcard(_) => return Self::All,
                SelectItem::QualifiedWildcard(
                    SelectItemQualifiedWildcardKind::ObjectName(name),
                    _,
                ) => tables.extend(last_of(name)),
                _ => {}
            }
        }
        let is_only = matches!(&select.from[..], [only] if only.joins.is_empty()
            && !matches!(only.relation, TableFactor::NestedJoin { .. }));
        if tables.is_empty() { Self::None } else { Self::Of { tables, is_only } }
    }

    fn covers(&self, column: &Expr) -> bool {
        match (self, column) {
            (Self::None, _) => false,
            (Self::All, _) => true,
            (_, Expr::Cast { expr, .. } | Expr::Nested(expr)) => self.covers(expr),
            (Self::Of { tables, .. }, Expr::CompoundIdentifier(parts)) => match &parts[..] {
                [.., table, _] => tables.contains(&normalized(table)),
                _ => false,
            },
            (Self::Of { is_only, .. }, _) => *is_only,
        }
    }
}

fn is_bare(expr: &Expr) -> bool {
    match expr {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) => true,
        Expr::Nested(expr) => is_bare(expr),
        _ => false,
    }
}

fn is_column(expr: &Expr) -> bool {
    match expr {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) => true,
        Expr::Cast { expr, .. } | Expr::Nested(expr) => is_column(expr),
        _ => false,
    }
}

/// What is written, without its casts: the planner gives a column that is cast the column's name.
fn name_of(expr: &Expr) -> String {
    match expr {
        Expr::Identifier(name) => normalized(name),
        Expr::CompoundIdentifier(parts) => parts.last().map(normalized).unwrap_or_default(),
        Expr::Cast { expr, .. } | Expr::Nested(expr) => name_of(expr),
        other => {
            // Nor does a cast within it change the name.
            let mut bare = other.clone();
            let _all = visit_expressions_mut(&mut bare, |part| {
                if let Expr::Cast { expr, .. } = part {
                    *part = (**expr).clone();
                }
                ControlFlow::<()>::Continue(())
            });
            bare.to_string()
        }
    }
}

fn normalized(name: &Ident) -> String {
    match name.quote_style {
        Some(_) => name.value.clone(),
        None => name.value.to_ascii_lowercase(),
    }
}

fn last_of(name: &ObjectName) -> Option<String> {
    name.0.last()?.as_ident().map(normalized)
}

/// `plan`, whose columns have names of their own: `*` of several tables has some twice.
pub(crate) fn with_names_apart(plan: LogicalPlan) -> Result<LogicalPlan> {
    let columns = plan.schema().columns();
    let mut names = Names(columns.iter().map(|column| column.name.clone()).collect());
    if names.0.len() == columns.len() {
        return Ok(plan);
    }
    let mut passed = BTreeSet::new();
    let mut apart = Vec::new();
    for column in columns {
        let is_first = passed.insert(column.name.clone());
        let name = column.name.clone();
        let expr = PlanExpr::Column(column);
        apart.push(if is_first { expr } else { expr.alias(names.next(&name)) });
    }
    LogicalPlanBuilder::from(plan).project(apart)?.build()
}

#[cfg(test)]
mod tests {
    use datafusion::sql::parser::DFParser;

    use super::*;

    fn apart(sql: &str) -> String {
        let mut statement = DFParser::parse_sql(sql).unwrap().pop_front().unwrap();
        name_apart(&mut statement);
        statement.to_string()
    }

    #[test]
    fn what_has_a_name_of_its_own_keeps_it() {
        for sql in [
            "SELECT price, quantity FROM trades",
            "SELECT *, price AS p FROM trades",
            "SELECT t.*, q.bid_price FROM trades AS t JOIN quotes AS q ON true",
            "SELECT t.*, bid_price FROM trades AS t JOIN quotes AS q ON true",
            "SELECT ts::DATE FROM trades ORDER BY ts + d",
            "SELECT \"Price\", price FROM t",
        ] {
            assert_eq!(apart(sql), sql);
        }
    }

    #[test]
    fn the_next_of_a_name_has_a_number() {
        for (sql, wanted) in [
            ("SELECT ts, ts::date FROM t", "SELECT ts, ts::DATE AS \"ts_1\" FROM t"),
            ("SELECT t.p::int FROM t", "SELECT t.p::INT AS \"p\" FROM t"),
            (
                "SELECT p::int FROM t ORDER BY p::int DESC, p",
                "SELECT p::INT AS \"p\" FROM t ORDER BY \"p\" DESC, p",
            ),
            ("SELECT 1, 1", "SELECT 1 AS \"1\", 1 AS \"1_1\""),
            ("SELECT max(a), max(a)", "SELECT max(a) AS \"max(a)\", max(a) AS \"max(a)_1\""),
            ("SELECT a.p, b.p FROM a, b", "SELECT a.p, b.p AS \"p_1\" FROM a, b"),
            (
                "SELECT max(p), max(p::float) FROM t",
                "SELECT max(p) AS \"max(p)\", max(k2_cast(p::FLOAT)) AS \"max(p)_1\" FROM t",
            ),
            (
                "SELECT p, p::int FROM t GROUP BY p, p::int ORDER BY p::int",
                "SELECT p, k2_cast(p::INT) AS \"p_1\" FROM t GROUP BY p, k2_cast(p::INT) \
                 ORDER BY \"p_1\"",
            ),
            ("SELECT p AS x, q AS x FROM t", "SELECT p AS x, q AS \"x_1\" FROM t"),
            ("SELECT P, q AS p FROM t", "SELECT P AS \"p_1\", q AS p FROM t"),
            ("SELECT p, p AS p_1, p FROM t", "SELECT p, p AS p_1, p AS \"p_2\" FROM t"),
            ("SELECT *, ts::date FROM t", "SELECT *, ts::DATE AS \"ts_1\" FROM t"),
            ("SELECT t.*, price FROM t", "SELECT t.*, price AS \"price_1\" FROM t"),
            ("SELECT t.*, t.p, u.p FROM t, u", "SELECT t.*, t.p AS \"p_1\", u.p FROM t, u"),
            (
                "SELECT x FROM (SELECT max(a), 2 * b FROM t) AS y",
                "SELECT x FROM (SELECT max(a) AS \"max\", 2 * b AS \"?column?\" FROM t) AS y",
            ),
            (
                "SELECT x FROM (SELECT 1, 1) AS y",
                "SELECT x FROM (SELECT 1 AS \"?column?\", 1 AS \"?column?_1\") AS y",
            ),
        ] {
            assert_eq!(apart(sql), wanted);
        }
    }
}
