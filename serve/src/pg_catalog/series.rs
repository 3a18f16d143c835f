//! Functions that make rows: `generate_series` and `unnest`.
//!
//! * `FROM generate_series(1, 10) g`: an alias names the column too, where it names none itself.
//!   Without an alias both have the name of the function.
//! * `SELECT generate_series(1, 3)` has a row for each number. To the planner it is a list of them.
//! * `WITH ORDINALITY` numbers the rows, which the planner refuses, or reads over.
//! * What the planner makes rows of in `FROM` are literals of one type. Where they are not, the rows
//!   are those of a list: `generate_series((SELECT min(ts) FROM trades), now(), '1 hour')`.

use datafusion::sql::sqlparser::ast::{
    DataType, Expr, FunctionArg, FunctionArgExpr, Ident, Interval, TableAlias, TableAliasColumnDef,
    TableFactor, TimezoneInfo, TypedString, UnaryOperator, Value, ValueWithSpan,
};

use super::idioms::SERIES;
use super::rewrite::{cast, last_of, text, text_of};
use super::written::{expr_of, query_of};
use crate::seconds::with_seconds;

/// Names the column of a function that makes rows of one, in `FROM`.
pub(super) fn name_rows(table: &mut TableFactor) {
    match table {
        TableFactor::Table { name, args: Some(args), alias, with_ordinality, .. }
            if last_of(name) == SERIES =>
        {
            bring_to_one_type(&mut args.args);
            name_column(Some(alias.get_or_insert_with(|| named(SERIES))));
            if *with_ordinality || !args.args.iter().all(is_literal) {
                let listed: Vec<String> = args.args.iter().map(ToString::to_string).collect();
                let list = format!("{SERIES}({})", listed.join(", "));
                if let Some(rows) = rows_of_list(&list, SERIES, alias.clone(), *with_ordinality) {
                    *table = rows;
                }
            }
        }
        TableFactor::Function { name, alias, .. } if last_of(name) == SERIES => {
            name_column(alias.as_mut());
        }
        TableFactor::UNNEST { alias, array_exprs, with_offset: false, with_ordinality, .. } => {
            let [list] = &array_exprs[..] else { return };
            name_column(alias.as_mut());
            if *with_ordinality
                && let Some(rows) = rows_of_list(&list.to_string(), "unnest", alias.clone(), true)
            {
                *table = rows;
            }
        }
        _ => {}
    }
}

/// `AS g` is `AS g (g)`.
fn name_column(alias: Option<&mut TableAlias>) {
    if let Some(alias) = alias.filter(|alias| alias.columns.is_empty()) {
        alias.columns = vec![TableAliasColumnDef { name: alias.name.clone(), data_type: None }];
    }
}

/// The alias of what has none.
fn named(function: &str) -> TableAlias {
    TableAlias { explicit: true, name: Ident::new(function), columns: Vec::new(), at: None }
}

/// The rows of a list under an alias, or under the name of the function that makes them; with their
/// numbers behind them if it is asked for those.
fn rows_of_list(
    list: &str,
    function: &str,
    alias: Option<TableAlias>,
    is_numbered: bool,
) -> Option<TableFactor> {
    let mut alias = alias.unwrap_or_else(|| named(function));
    name_column(Some(&mut alias));
    let mut sql = format!("SELECT unnest({list}) AS rows_of_list");
    if is_numbered {
        if alias.columns.len() == 1 {
            alias.columns.push(TableAliasColumnDef::from_name("ordinality"));
        }
        sql = format!(
            "SELECT rows_of_list, CAST(row_number() OVER () AS BIGINT) AS number_of_row \
             FROM ({sql}) AS rows_to_number"
        );
    }
    let subquery = query_of(&sql)?;
    Some(TableFactor::Derived { lateral: false, subquery, alias: Some(alias), sample: None })
}

/// Makes rows of a series that is selected, by itself or as a part of an operator.
pub(super) fn rows_of(expr: &mut Expr) {
    match expr {
        Expr::Function(function) if last_of(&function.name) == SERIES => {
            if let Some(rows) = expr_of(&format!("unnest({function})")) {
                *expr = rows;
            }
        }
        Expr::Nested(inner)
        | Expr::Cast { expr: inner, .. }
        | Expr::UnaryOp { expr: inner, .. } => rows_of(inner),
        Expr::BinaryOp { left, right, .. } => {
            rows_of(left);
            rows_of(right);
        }
        _ => {}
    }
}

/// Texts become what the arguments beside them are, days moments of the zone, and a step that is no
/// number an interval.
fn bring_to_one_type(arguments: &mut [FunctionArg]) {
    let mut exprs: Vec<&mut Expr> = arguments.iter_mut().filter_map(expr_in).collect();
    let [start, stop, step] = &mut exprs[..] else { return };
    let kinds: Vec<DataType> = [moment_of(start), moment_of(stop)].into_iter().flatten().collect();
    // What has a zone says more than what has none.
    let kind = kinds.iter().find(|kind| is_zoned(kind)).or(kinds.first());
    for end in [start, stop] {
        if let Some(kind) = kind
            && let Some(written) = literal_of(end)
        {
            let written = with_seconds(written).unwrap_or_else(|| written.to_owned());
            **end = cast(text(written.trim()), kind.clone());
        }
    }
    if let Some(written) = text_of(step)
        && written.trim().parse::<f64>().is_err()
    {
        let value = Box::new(text(written));
        **step = Expr::Interval(Interval {
            value,
            leading_field: None,
            leading_precision: None,
            last_field: None,
            fractional_seconds_precision: None,
        });
    }
}

fn expr_in(argument: &mut FunctionArg) -> Option<&mut Expr> {
    match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
        _ => None,
    }
}

/// The text that a literal of a moment is written with.
fn literal_of(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Cast { expr: inner, data_type, .. } if is_moment(data_type) => text_of(inner),
        Expr::TypedString(TypedString { data_type, value, .. }) if is_moment(data_type) => {
            match &value.value {
                Value::SingleQuotedString(text) => Some(text),
                _ => None,
            }
        }
        other => text_of(other),
    }
}

/// The type of a moment that `expr` is cast to; a day is the moment that it begins with.
fn moment_of(expr: &Expr) -> Option<DataType> {
    let kind = match expr {
        Expr::Cast { data_type, .. } | Expr::TypedString(TypedString { data_type, .. }) => {
            data_type
        }
        _ => return None,
    };
    match kind {
        DataType::Date => Some(DataType::Timestamp(None, TimezoneInfo::Tz)),
        kind if is_moment(kind) => Some(kind.clone()),
        _ => None,
    }
}

fn is_moment(kind: &DataType) -> bool {
    matches!(kind, DataType::Date | DataType::Timestamp(..) | DataType::Datetime(_))
}

fn is_zoned(kind: &DataType) -> bool {
    matches!(kind, DataType::Timestamp(_, TimezoneInfo::Tz | TimezoneInfo::WithTimeZone))
}

/// Whether the planner can make rows up to an argument without asking for any.
fn is_literal(argument: &FunctionArg) -> bool {
    let FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) = argument else { return false };
    match expr {
        Expr::Cast { data_type: DataType::Interval { .. }, expr, .. } => text_of(expr).is_some(),
        Expr::Interval(interval) => text_of(&interval.value).is_some(),
        // The planner counts moments in nanoseconds, which those are of which nothing else is said.
        other => {
            let is_moment = matches!(moment_of(other), Some(DataType::Timestamp(None, _)));
            is_whole(other) || (is_moment && literal_of(other).is_some())
        }
    }
}

fn is_whole(expr: &Expr) -> bool {
    match expr {
        Expr::Value(ValueWithSpan { value: Value::Number(digits, _), .. }) => {
            digits.bytes().all(|it| it.is_ascii_digit())
        }
        Expr::Value(ValueWithSpan { value: Value::Null, .. }) => true,
        Expr::UnaryOp { op: UnaryOperator::Minus | UnaryOperator::Plus, expr } => is_whole(expr),
        Expr::Nested(inner) => is_whole(inner),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::ast::Statement;
    use datafusion::sql::sqlparser::dialect::GenericDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    use super::super::idioms::rewrite_idioms;

    fn rewritten(sql: &str) -> String {
        let mut parser = Parser::new(&GenericDialect {}).try_with_sql(sql).unwrap();
        let mut statement: Statement = parser.parse_statement().unwrap();
        rewrite_idioms(&mut statement);
        statement.to_string()
    }

    #[test]
    fn an_alias_names_the_column_too() {
        let cases = [
            ("generate_series(1, 3)", "generate_series(1, 3) AS generate_series (generate_series)"),
            ("generate_series(1, -3, -1) g", "generate_series(1, -3, -1) g (g)"),
            ("generate_series(1, 3) AS t (n)", "generate_series(1, 3) AS t (n)"),
            ("unnest(ARRAY[1, 2]) AS u", "UNNEST(ARRAY[1, 2]) AS u (u)"),
            (
                "generate_series('2024-08-09'::timestamptz, '2024-08-10 09:30', '1 hour') AS t",
                "generate_series(CAST('2024-08-09' AS TIMESTAMPTZ), \
                 CAST('2024-08-10 09:30:00' AS TIMESTAMPTZ), INTERVAL '1 hour') AS t (t)",
            ),
            (
                "generate_series(DATE '2024-08-09', '2024-08-10', '02:30') AS t",
                "generate_series(CAST('2024-08-09' AS TIMESTAMPTZ), \
                 CAST('2024-08-10' AS TIMESTAMPTZ), \
                 INTERVAL '0 months 0 days 9000 seconds 0 nanoseconds') AS t (t)",
            ),
            (
                "generate_series((SELECT min(ts) FROM trades), now(), '1 hour') AS t",
                "(SELECT unnest(generate_series((SELECT min(ts) FROM trades), now(), \
                 INTERVAL '1 hour')) AS rows_of_list) AS t (t)",
            ),
            (
                "unnest(ARRAY[1, 2]) WITH ORDINALITY AS u",
                "(SELECT rows_of_list, CAST(row_number() OVER () AS BIGINT) AS number_of_row FROM \
                 (SELECT unnest(ARRAY[1, 2]) AS rows_of_list) AS rows_to_number) \
                 AS u (u, ordinality)",
            ),
            (
                "generate_series(1, 3) WITH ORDINALITY AS t (n, i)",
                "(SELECT rows_of_list, CAST(row_number() OVER () AS BIGINT) AS number_of_row FROM \
                 (SELECT unnest(generate_series(1, 3)) AS rows_of_list) AS rows_to_number) \
                 AS t (n, i)",
            ),
            (
                "generate_series(0, 1, 0.5)",
                "(SELECT unnest(generate_series(0, 1, 0.5)) AS rows_of_list) \
                 AS generate_series (generate_series)",
            ),
        ];
        for (table, wanted) in cases {
            let sql = |table: &str| format!("SELECT * FROM {table}");
            assert_eq!(rewritten(&sql(table)), sql(wanted), "{table}");
        }
    }

    #[test]
    fn a_series_that_is_selected_is_rows() {
        let cases = [
            ("generate_series(1, 3)", "unnest(generate_series(1, 3)) AS generate_series"),
            ("generate_series(1, 3) AS n", "unnest(generate_series(1, 3)) AS n"),
            ("day + generate_series(0, 1)", "day + unnest(generate_series(0, 1))"),
            ("unnest(generate_series(1, 3))", "unnest(generate_series(1, 3))"),
            (
                "array_length(generate_series(1, 3))",
                "array_length(generate_series(1, 3)) AS array_length",
            ),
        ];
        for (selected, wanted) in cases {
            assert_eq!(rewritten(&format!("SELECT {selected}")), format!("SELECT {wanted}"));
        }
    }
}
