//! What PostgreSQL has a form of its own for, in the form that the planner knows.
//!
//! * Functions of another name: `every` is `bool_and`.
//! * `percentile_disc(0.5) WITHIN GROUP (ORDER BY x)` is one of all values in their order,
//!   `percentile_cont` lies between two of them, and `mode() WITHIN GROUP (ORDER BY x)` is a function
//!   of `x`.
//! * `date(x)` is a cast.
//! * Intervals with a time in them: `INTERVAL '1 day 02:30'`.
//! * Functions that make rows (`series`).
//!
//! A column keeps the name that it has in PostgreSQL.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    DataType, DateTimeField, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments,
    Ident, Interval, ObjectName, OrderByExpr, Select, SelectItem, Statement, TableFactor,
    UnaryOperator, Value, ValueWithSpan, VisitMut, VisitorMut,
};

use super::rewrite::{cast, last_of, text, text_of};
use super::series::{name_rows, rows_of};
use super::written::expr_of;
use crate::functions::postgresql::spans::{respelled, spelled};

/// Says all of them in `statement` as the planner knows them.
pub(super) fn rewrite_idioms(statement: &mut Statement) {
    let _all = statement.visit(&mut Idioms);
}

struct Idioms;

impl VisitorMut for Idioms {
    type Break = ();

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        for item in &mut select.projection {
            match item {
                SelectItem::UnnamedExpr(expr) => {
                    let name = name_kept(expr).map(Ident::new);
                    rows_of(expr);
                    if let Some(alias) = name {
                        *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
                    }
                }
                SelectItem::ExprWithAlias { expr, .. } => rows_of(expr),
                _ => {}
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, table: &mut TableFactor) -> ControlFlow<()> {
        name_rows(table);
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::Interval(interval) => rewrite_interval(interval),
            Expr::UnaryOp { op: UnaryOperator::Minus, expr: inner } => {
                if let Some(negated) = negated(inner) {
                    *expr = negated;
                }
            }
            Expr::Function(function) => {
                if let Some(other) = rewrite_function(function) {
                    *expr = other;
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// Functions, and what the planner calls them.
const RENAMED: [(&str, &str); 4] = [
    ("every", "bool_and"),
    ("any_value", "min"),
    ("ceiling", "ceil"),
    // That of the planner takes the first one alone.
    ("array_remove", "array_remove_all"),
];
/// Functions that something else stands for, here or in what is rewritten after it.
const REPLACED: [&str; 3] = ["date", "array_length", "array_upper"];
const PERCENTILE: &str = "percentile_disc";
const PERCENTILE_BETWEEN: &str = "percentile_cont";
const MODE: &str = crate::functions::postgresql::MODE;
/// What makes rows where it is selected.
pub(super) const SERIES: &str = "generate_series";

/// The name of a column that is called otherwise below.
fn name_kept(expr: &Expr) -> Option<String> {
    let Expr::Function(function) = expr else { return None };
    let name = last_of(&function.name);
    let is_renamed = RENAMED.iter().any(|(known, _)| *known == name)
        || name == SERIES
        || REPLACED.contains(&&*name)
        || ([PERCENTILE, PERCENTILE_BETWEEN, MODE].contains(&&*name)
            && !function.within_group.is_empty());
    is_renamed.then_some(name)
}

fn rewrite_function(function: &mut Function) -> Option<Expr> {
    let name = last_of(&function.name);
    if let Some((_, other)) = RENAMED.iter().find(|(known, _)| *known == name) {
        function.name = ObjectName::from(vec![Ident::new(*other)]);
        return None;
    }
    if name == "date" {
        return Some(cast(argument_of(function)?.clone(), DataType::Date));
    }
    let [order] = &function.within_group[..] else { return None };
    if function.over.is_some() {
        return None;
    }
    match &*name {
        PERCENTILE => percentile(function, order),
        PERCENTILE_BETWEEN => percentile_between(function, order),
        MODE => mode(function, order),
        _ => None,
    }
}

/// The first of the values in their order that has at least so great a part of them before it,
/// itself included.
fn percentile(function: &Function, order: &OrderByExpr) -> Option<Expr> {
    let (part, value) = (argument_of(function)?, &order.expr);
    let filter = filter_of(function, value);
    expr_of(&format!(
        "array_element(array_agg({value} ORDER BY {order}) FILTER (WHERE {filter}), \
         CAST(greatest(1, ceil(({part}) * count({value}) FILTER (WHERE {filter}))) AS BIGINT))"
    ))
}

/// What lies so great a part of the way from the first of the values in their order to the last one. The
/// aggregate of the planner knows millionths of the way alone. It has the words for a part that is none.
fn percentile_between(function: &Function, order: &OrderByExpr) -> Option<Expr> {
    let (part, value) = (argument_of(function)?, &order.expr);
    if is_array(part) || number_of(part).is_some_and(|part| !(0.0..=1.0).contains(&part)) {
        return None;
    }
    let filter = filter_of(function, value);
    let all = format!("array_agg({value} ORDER BY {order}) FILTER (WHERE {filter})");
    let steps = format!("(count({value}) FILTER (WHERE {filter}) - 1)");
    let way = format!("CAST({part} AS DOUBLE PRECISION) * {steps}");
    let at = |whole: &str| {
        let place = format!("CAST({whole}({way}) AS BIGINT) + 1");
        format!("CAST(array_element({all}, {place}) AS DOUBLE PRECISION)")
    };
    let (before, behind) = (at("floor"), at("ceil"));
    expr_of(&format!("({before} + ({behind} - {before}) * ({way} - floor({way})))"))
}

/// The rows with a value among those that a function is of.
fn filter_of(function: &Function, value: &Expr) -> String {
    match &function.filter {
        Some(filter) => format!("({filter}) AND ({value}) IS NOT NULL"),
        None => format!("({value}) IS NOT NULL"),
    }
}

/// The one argument of a function.
fn argument_of(function: &Function) -> Option<&Expr> {
    let FunctionArguments::List(list) = &function.args else { return None };
    let [FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))] = &list.args[..] else {
        return None;
    };
    Some(argument)
}

fn is_array(expr: &Expr) -> bool {
    match expr {
        Expr::Array(_) => true,
        Expr::Cast { expr, data_type, .. } => {
            matches!(data_type, DataType::Array(_)) || is_array(expr)
        }
        Expr::Nested(expr) => is_array(expr),
        _ => false,
    }
}

/// The number that is written.
fn number_of(expr: &Expr) -> Option<f64> {
    match expr {
        Expr::Value(ValueWithSpan { value: Value::Number(digits, _), .. }) => digits.parse().ok(),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => number_of(expr).map(|it| -it),
        Expr::Cast { expr, .. } | Expr::Nested(expr) => number_of(expr),
        other => text_of(other)?.trim().parse().ok(),
    }
}

/// Of those that most rows have the first one of the order is meant. That is the least one, unless the
/// order goes down.
fn mode(function: &Function, order: &OrderByExpr) -> Option<Expr> {
    let is_up = order.options.asc != Some(false);
    let FunctionArguments::List(list) = &function.args else { return None };
    if !is_up || !list.args.is_empty() {
        return None;
    }
    let filter = function.filter.as_ref().map(|filter| format!(" FILTER (WHERE {filter})"));
    expr_of(&format!("{MODE}({}){}", order.expr, filter.unwrap_or_default()))
}

/// `INTERVAL '1 day 02:30'`, and `INTERVAL '1 02:30' DAY TO MINUTE`.
fn rewrite_interval(interval: &mut Interval) {
    let Some(written) = text_of(&interval.value) else { return };
    let has_precision =
        interval.leading_precision.is_some() || interval.fractional_seconds_precision.is_some();
    let spelled = match (&interval.leading_field, &interval.last_field) {
        _ if has_precision => None,
        (None, None) => respelled(written),
        // `02:30` would be minutes and seconds then.
        (Some(DateTimeField::Minute), Some(_)) => None,
        (Some(_), Some(_)) => spelled(written),
        (_, None) | (None, _) => None,
    };
    if let Some(spelled) = spelled {
        *interval.value = text(&spelled);
        (interval.leading_field, interval.last_field) = (None, None);
    }
}

/// The opposite of an interval: the planner would take the sign for that of its first number alone.
fn negated(interval: &Expr) -> Option<Expr> {
    let Expr::Interval(interval) = interval else { return None };
    if interval.leading_field.is_some() {
        return None;
    }
    let negated = spelled(&format!("{} ago", text_of(&interval.value)?))?;
    Some(Expr::Interval(Interval { value: Box::new(text(&negated)), ..interval.clone() }))
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::dialect::GenericDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;

    fn rewritten(sql: &str) -> String {
        let mut parser = Parser::new(&GenericDialect {}).try_with_sql(sql).unwrap();
        let mut statement = parser.parse_statement().unwrap();
        rewrite_idioms(&mut statement);
        statement.to_string()
    }

    #[test]
    fn functions_have_the_names_that_the_planner_knows() {
        let cases = [
            ("SELECT every(a > 1) FROM t", "SELECT bool_and(a > 1) AS every FROM t"),
            ("SELECT any_value(a) AS b FROM t", "SELECT min(a) AS b FROM t"),
            ("SELECT mode() WITHIN GROUP (ORDER BY a) FROM t", "SELECT mode(a) AS mode FROM t"),
            (
                "SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY a DESC) AS p FROM t",
                "SELECT array_element(array_agg(a ORDER BY a DESC) FILTER (WHERE (a) IS NOT NULL), \
                 CAST(greatest(1, CEIL((0.5) * count(a) FILTER (WHERE (a) IS NOT NULL))) AS BIGINT)) \
                 AS p FROM t",
            ),
            ("SELECT date(ts) FROM t", "SELECT CAST(ts AS DATE) AS date FROM t"),
            (
                "SELECT array_remove(a, 1) FROM t",
                "SELECT array_remove_all(a, 1) AS array_remove FROM t",
            ),
            (
                "SELECT array_length(a, 1) FROM t",
                "SELECT array_length(a, 1) AS array_length FROM t",
            ),
            ("SELECT price, max(price) FROM t", "SELECT price, max(price) FROM t"),
        ];
        for (sql, wanted) in cases {
            assert_eq!(rewritten(sql), wanted);
        }
    }

    #[test]
    fn a_part_of_the_way_is_between_two_values() {
        let of = |call: &str| rewritten(&format!("SELECT 2 * {call} FROM t"));
        let found = of("percentile_cont(0.25) WITHIN GROUP (ORDER BY a DESC) FILTER (WHERE b)");
        let all = "array_agg(a ORDER BY a DESC) FILTER (WHERE (b) AND (a) IS NOT NULL)";
        let way = "CAST(0.25 AS DOUBLE PRECISION) * \
                   (count(a) FILTER (WHERE (b) AND (a) IS NOT NULL) - 1)";
        let at = |whole: &str| {
            format!(
                "CAST(array_element({all}, CAST({whole}({way}) AS BIGINT) + 1) AS DOUBLE PRECISION)"
            )
        };
        let (before, behind) = (at("FLOOR"), at("CEIL"));
        let wanted = format!("({before} + ({behind} - {before}) * ({way} - FLOOR({way})))");
        assert_eq!(found, format!("SELECT 2 * {wanted} FROM t"));
        for left in [
            "percentile_cont(1.5) WITHIN GROUP (ORDER BY a)",
            "percentile_cont(-0.5) WITHIN GROUP (ORDER BY a)",
            "percentile_cont(ARRAY[0.25, 0.5]) WITHIN GROUP (ORDER BY a)",
            "percentile_cont(0.5) WITHIN GROUP (ORDER BY a) OVER (PARTITION BY b)",
            "percentile_cont(a, 0.5)",
        ] {
            assert_eq!(of(left), format!("SELECT 2 * {left} FROM t"));
        }
    }

    #[test]
    fn intervals_have_units() {
        let cases = [
            ("INTERVAL '1 day'", "INTERVAL '1 day'"),
            ("INTERVAL '90' MINUTE", "INTERVAL '90' MINUTE"),
            ("INTERVAL '02:30'", "INTERVAL '0 months 0 days 9000 seconds 0 nanoseconds'"),
            ("INTERVAL '1-2' YEAR TO MONTH", "INTERVAL '14 months 0 days 0 seconds 0 nanoseconds'"),
            ("INTERVAL '02:30' MINUTE TO SECOND", "INTERVAL '02:30' MINUTE TO SECOND"),
            (
                "(-INTERVAL '1 day 2 hours')",
                "(INTERVAL '0 months -1 days -7200 seconds 0 nanoseconds')",
            ),
            ("(-INTERVAL '90' MINUTE)", "(-INTERVAL '90' MINUTE)"),
        ];
        for (interval, wanted) in cases {
            let sql = |interval: &str| format!("SELECT a + {interval} FROM t");
            assert_eq!(rewritten(&sql(interval)), sql(wanted), "{interval}");
        }
    }
}
