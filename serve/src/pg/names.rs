//! What columns are called that a question gives no name: `count` of `count(*)`, as in PostgreSQL.
//! To the planner, and at other doors, a column is called as it is computed, and the second one of a
//! name has a number.

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::Statement as Ast;

use super::rows::Column;
use crate::pg_catalog::column_names;
use crate::statement;

/// Gives the columns of `sql` the names that PostgreSQL gives them.
pub(super) fn rename(sql: &str, columns: &mut [Column]) {
    // Most questions name all of their columns, and need not be read again.
    if columns.iter().all(|column| is_plain(column.name())) {
        return;
    }
    let names = names_of(sql).filter(|names| names.len() == columns.len());
    for (column, name) in columns.iter_mut().zip(names.into_iter().flatten()) {
        column.rename(name);
    }
}

/// Whether a column has this name in PostgreSQL too.
fn is_plain(name: &str) -> bool {
    let is_in_name = |letter: char| letter.is_alphanumeric() || letter == '_';
    let is_digits =
        |text: &str| !text.is_empty() && text.chars().all(|letter| letter.is_ascii_digit());
    let is_numbered = name.rsplit_once('_').is_some_and(|(_, number)| is_digits(number));
    let is_value = ["null", "true", "false"].iter().any(|it| name.eq_ignore_ascii_case(it));
    !name.starts_with(|letter: char| letter.is_ascii_digit())
        && name.chars().all(is_in_name)
        && !is_numbered
        && !is_value
}

/// The names of all columns, unless only the planner knows which there are.
fn names_of(sql: &str) -> Option<Vec<String>> {
    let Statement::Statement(ast) = statement::parse(sql).ok()?.statement else { return None };
    let Ast::Query(query) = *ast else { return None };
    column_names::names_of(&query)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_without_a_name_are_called_as_in_postgresql() {
        let sql = "SELECT count(*), t.price, sum(price) AS total, 1 + 1, max(ts)::date, 'x' FROM t";
        let expected = ["count", "price", "total", "?column?", "max", "?column?"];
        assert_eq!(names_of(sql).unwrap(), expected);
        let sql = "WITH c AS (SELECT 1) (SELECT avg(price) FROM t LIMIT 1) UNION ALL SELECT 2";
        assert_eq!(names_of(sql).unwrap(), ["avg"]);
        assert_eq!(names_of("SELECT a, a, 1 AS n, 2 AS n").unwrap(), ["a", "a", "n", "n"]);
        assert_eq!(names_of("SELECT *, count(*) FROM t"), None);
        assert_eq!(names_of("EXPLAIN SELECT 1"), None);
    }

    #[test]
    fn a_name_with_a_number_may_be_that_of_the_engine() {
        for name in ["price", "ohlcv_1m", "_", "a_"] {
            assert!(is_plain(name), "{name}");
        }
        for name in ["symbol_1", "max(price)", "1", "NULL", "true"] {
            assert!(!is_plain(name), "{name}");
        }
    }
}
