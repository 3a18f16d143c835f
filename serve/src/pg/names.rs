//! What columns are called that a question gives no name: `count` of `count(*)`, as in PostgreSQL.
//! To the planner, and at other doors, a column is called as it is computed.

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{Expr, SelectItem, SetExpr, Statement as Ast};

use super::rows::Column;
use crate::pg_catalog::rewrite::name_of;
use crate::statement;

/// Gives the columns of `sql` the names that PostgreSQL gives them.
pub(super) fn rename(sql: &str, columns: &mut [Column]) {
    let is_in_name = |letter: char| letter.is_alphanumeric() || letter == '_';
    let is_name = |name: &str| {
        !name.starts_with(|letter: char| letter.is_ascii_digit()) && name.chars().all(is_in_name)
    };
    // Most questions name all of their columns, and need not be read again.
    if columns.iter().all(|column| is_name(column.name())) {
        return;
    }
    let names = names_of(sql).filter(|names| names.len() == columns.len());
    for (column, name) in columns.iter_mut().zip(names.into_iter().flatten()) {
        if let Some(name) = name {
            column.rename(name);
        }
    }
}

/// Of each column the name, where it is not that of the planner. What a wildcard stands for only
/// the planner knows.
fn names_of(sql: &str) -> Option<Vec<Option<String>>> {
    let Statement::Statement(ast) = statement::parse(sql).ok()?.statement else { return None };
    let Ast::Query(query) = *ast else { return None };
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
        SelectItem::UnnamedExpr(Expr::Identifier(_) | Expr::CompoundIdentifier(_))
        | SelectItem::ExprWithAlias { .. } => Some(None),
        SelectItem::UnnamedExpr(expr) => Some(Some(name_of(expr))),
        _ => None,
    };
    select.projection.iter().map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_without_a_name_are_called_as_in_postgresql() {
        let names = |sql: &str| {
            let names = names_of(sql)?.into_iter();
            Some(names.map(|name| name.unwrap_or_else(|| "-".to_owned())).collect::<Vec<_>>())
        };
        let sql = "SELECT count(*), t.price, sum(price) AS total, 1 + 1, max(ts)::date, 'x' FROM t";
        let expected = ["count", "-", "-", "?column?", "max", "?column?"];
        assert_eq!(names(sql).unwrap(), expected);
        let sql = "WITH c AS (SELECT 1) (SELECT avg(price) FROM t LIMIT 1) UNION ALL SELECT 2";
        assert_eq!(names(sql).unwrap(), ["avg"]);
        assert_eq!(names("SELECT *, count(*) FROM t"), None);
        assert_eq!(names("EXPLAIN SELECT 1"), None);
    }
}
