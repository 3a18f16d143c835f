//! What PostgreSQL calls a column that a question gives no name.
//!
//! It is that of a column, or of a function, whatever is around it that has none. A cast and a `CASE`
//! have weaker names, which stand where there is no other: that of the type, and `case`.

use datafusion::sql::sqlparser::ast::{
    AccessExpr, DataType, Expr, Ident, Query, SelectItem, SetExpr, TrimWhereField, Value,
};

use super::numbers::type_oid;
use super::rewrite::last_of;
use crate::pg::{by_oid, element_of};

const NONE: &str = "?column?";

/// The name of a column that is `expr`.
pub(crate) fn name_of(expr: &Expr) -> String {
    found(expr).map_or_else(|| NONE.to_owned(), |found| found.name)
}

/// The names of the columns of `query`; what a wildcard stands for only the planner knows.
pub(crate) fn names_of(query: &Query) -> Option<Vec<String>> {
    let mut body = &*query.body;
    let select = loop {
        body = match body {
            SetExpr::Select(select) => break select,
            SetExpr::Query(query) => query.body.as_ref(),
            SetExpr::SetOperation { left, .. } => left.as_ref(),
            _ => return None,
        };
    };
    let name = |item: &SelectItem| match item {
        SelectItem::ExprWithAlias { alias, .. } => Some(normalized(alias)),
        SelectItem::UnnamedExpr(expr) => Some(name_of(expr)),
        _ => None,
    };
    select.projection.iter().map(name).collect()
}

struct Found {
    name: String,
    /// It gives way to the name of a type, and to `case`.
    is_weak: bool,
}

fn strong(name: impl Into<String>) -> Option<Found> {
    Some(Found { name: name.into(), is_weak: false })
}

fn weak(name: impl Into<String>) -> Option<Found> {
    Some(Found { name: name.into(), is_weak: true })
}

fn found(expr: &Expr) -> Option<Found> {
    match expr {
        Expr::Identifier(name) => strong(normalized(name)),
        Expr::CompoundIdentifier(names) => strong(names.last().map(normalized)?),
        Expr::Function(function) => strong(last_of(&function.name)),
        Expr::Nested(inner) | Expr::Collate { expr: inner, .. } => found(inner),
        Expr::Cast { expr, data_type, .. } => {
            found(expr).filter(|it| !it.is_weak).or_else(|| weak(type_name(data_type)))
        }
        Expr::Case { else_result, .. } => {
            let otherwise = else_result.as_deref().and_then(found);
            otherwise.filter(|it| !it.is_weak).or_else(|| weak("case"))
        }
        Expr::TypedString(typed) => weak(type_name(&typed.data_type)),
        Expr::Interval(_) => weak("interval"),
        Expr::Value(value) if matches!(value.value, Value::Boolean(_)) => weak("bool"),
        Expr::CompoundFieldAccess { root, access_chain } => {
            let field = access_chain.iter().rev().find_map(|access| match access {
                AccessExpr::Dot(field) => found(field),
                AccessExpr::Subscript(_) => None,
            });
            // What is in parentheses was an arrow, `a -> 'k'`, and has no name.
            let is_arrow = matches!(**root, Expr::Nested(_));
            field.or_else(|| found(root).filter(|_| !is_arrow))
        }
        Expr::Subquery(query) => strong(names_of(query)?.into_iter().next()?),
        _ => strong(spelled(expr)?),
    }
}

/// The name of a function that has a spelling of its own.
fn spelled(expr: &Expr) -> Option<&'static str> {
    Some(match expr {
        Expr::Ceil { .. } => "ceil",
        Expr::Floor { .. } => "floor",
        Expr::Position { .. } => "position",
        Expr::Substring { shorthand: true, .. } => "substr",
        Expr::Substring { .. } => "substring",
        Expr::Overlay { .. } => "overlay",
        Expr::Extract { .. } => "extract",
        Expr::AtTimeZone { .. } => "timezone",
        Expr::Trim { trim_where: Some(TrimWhereField::Leading), .. } => "ltrim",
        Expr::Trim { trim_where: Some(TrimWhereField::Trailing), .. } => "rtrim",
        Expr::Trim { .. } => "btrim",
        Expr::Exists { .. } => "exists",
        Expr::Array(_) => "array",
        Expr::Tuple(_) => "row",
        _ => return None,
    })
}

/// Of an array that of its elements.
fn type_name(kind: &DataType) -> String {
    if let DataType::Char(_) | DataType::Character(_) = kind {
        return "bpchar".to_owned();
    }
    let written = kind.to_string().to_lowercase();
    let oid = type_oid(&written).and_then(|oid| u32::try_from(oid).ok());
    let known = oid.and_then(|oid| by_oid(oid).or_else(|| element_of(oid)));
    known.map_or(written, |known| known.name.to_owned())
}

fn normalized(name: &Ident) -> String {
    match name.quote_style {
        Some(_) => name.value.clone(),
        None => name.value.to_ascii_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;

    #[test]
    fn columns_are_called_as_in_postgresql() {
        let cases = [
            ("Price", "price"),
            ("t.\"Price\"", "Price"),
            ("count(*)", "count"),
            ("1 + 1", NONE),
            ("NULL", NONE),
            ("'x'", NONE),
            ("true", "bool"),
            ("floor(x)", "floor"),
            ("ceil(x)", "ceil"),
            ("substring(x, 1, 2)", "substring"),
            ("position('a' IN x)", "position"),
            ("trim(x)", "btrim"),
            ("trim(LEADING 'a' FROM x)", "ltrim"),
            ("trim(TRAILING 'a' FROM x)", "rtrim"),
            ("overlay(x PLACING 'a' FROM 1)", "overlay"),
            ("extract(year FROM ts)", "extract"),
            ("ts AT TIME ZONE 'UTC'", "timezone"),
            ("ts::date", "ts"),
            ("max(ts)::date", "max"),
            ("'2024-01-01'::date", "date"),
            ("1::int", "int4"),
            ("1::bigint", "int8"),
            ("(1 + 1)::float8", "float8"),
            ("'1'::double precision", "float8"),
            ("1::numeric(38, 12)", "numeric"),
            ("'a'::varchar(3)", "varchar"),
            ("'now'::timestamptz", "timestamptz"),
            ("'now'::timestamp with time zone", "timestamptz"),
            ("'{a}'::text[]", "text"),
            ("1::int::text", "text"),
            ("DATE '2024-01-01'", "date"),
            ("TIMESTAMP '2024-01-01'", "timestamp"),
            ("INTERVAL '1 day'", "interval"),
            ("ARRAY[1, 2]", "array"),
            ("EXISTS (SELECT 1)", "exists"),
            ("CASE WHEN a THEN 1 END", "case"),
            ("CASE WHEN a THEN 1 ELSE b END", "b"),
            ("CASE WHEN a THEN 1 ELSE 2::int END", "case"),
            ("(SELECT max(price) AS highest FROM t)", "highest"),
            ("(SELECT max(price) FROM t)", "max"),
            ("(SELECT 1)", NONE),
            ("conditions[1]", "conditions"),
            ("(a)['k']", NONE),
        ];
        for (sql, wanted) in cases {
            let parser = Parser::new(&PostgreSqlDialect {}).try_with_sql(sql);
            let expr = parser.unwrap().parse_expr().unwrap();
            assert_eq!(name_of(&expr), wanted, "{sql}");
        }
    }
}
