//! What something is compared with that is more than one: `ANY('{a,b}')`, `ANY(ARRAY['a', 'b'])`, also as
//! casts, and `ANY (SELECT …)`; and how long a list is.
//!
//! `= ANY` is `IN`, which prunes. Compared with a query in another way, a column of it is called as none
//! outside is: the planner would take `price` in `price >= ALL (SELECT price …)` for one and the same.

use datafusion::sql::sqlparser::ast::{
    ArrayElemTypeDef, BinaryOperator, DataType, Expr, Function, Query, Value,
};

use super::rewrite::{cast, text, text_of, value};
use super::written::{call, query_of};
use crate::pg::array_elements;

/// What `left op ANY (right)` is, said otherwise.
pub(super) fn any_of(left: &Expr, op: &BinaryOperator, right: &mut Expr) -> Option<Expr> {
    match (op, subquery_of(right)) {
        (BinaryOperator::Eq, Some(query)) => Some(in_query(left, query, false)),
        (_, Some(query)) => {
            call_apart(query);
            None
        }
        (BinaryOperator::Eq, None) => Some(in_list(left, elements(right)?, false)),
        _ => None,
    }
}

/// What `left op ALL (right)` is, said otherwise.
pub(super) fn all_of(left: &Expr, op: &BinaryOperator, right: &mut Expr) -> Option<Expr> {
    match (op, subquery_of(right)) {
        (BinaryOperator::NotEq, Some(query)) => Some(in_query(left, query, true)),
        (_, Some(query)) => {
            call_apart(query);
            None
        }
        (BinaryOperator::NotEq, None) => Some(in_list(left, elements(right)?, true)),
        _ => None,
    }
}

fn subquery_of(right: &mut Expr) -> Option<&mut Box<Query>> {
    match right {
        Expr::Subquery(query) => Some(query),
        Expr::Nested(inner) => subquery_of(inner),
        _ => None,
    }
}

fn in_query(left: &Expr, query: &Query, negated: bool) -> Expr {
    let (expr, subquery) = (Box::new(left.clone()), Box::new(query.clone()));
    Expr::InSubquery { expr, subquery, negated }
}

/// Calls the one column of `query` as nothing else is called.
fn call_apart(query: &mut Box<Query>) {
    let sql = format!("SELECT k2_compared FROM ({query}) AS k2_compared_rows (k2_compared)");
    if let Some(apart) = query_of(&sql) {
        *query = apart;
    }
}

/// The elements of a list: `ARRAY[…]`, the text of one, or a cast of either.
fn elements(list: &Expr) -> Option<Vec<Expr>> {
    match list {
        Expr::Array(array) => Some(array.elem.clone()),
        Expr::Nested(inner) => elements(inner),
        Expr::Cast { expr: inner, data_type, .. } => {
            let kind = element_type(data_type)?;
            // A text is what it is, and so prunes.
            let is_text = matches!(kind, DataType::Text | DataType::Varchar(_));
            let as_kind = |element: Expr| match is_text || is_placeholder(&element) {
                true => element,
                false => cast(element, kind.clone()),
            };
            Some(elements(inner)?.into_iter().map(as_kind).collect())
        }
        // Of a question that is only described: what the list's elements are compared with is told
        // by any one of them.
        placeholder if is_placeholder(placeholder) => Some(vec![list.clone()]),
        other => {
            let texts = array_elements(text_of(other)?)?.into_iter();
            Some(texts.map(|it| it.map_or(value(Value::Null), |it| text(&it))).collect())
        }
    }
}

fn is_placeholder(expr: &Expr) -> bool {
    matches!(expr, Expr::Value(literal) if matches!(literal.value, Value::Placeholder(_)))
}

fn element_type(list: &DataType) -> Option<&DataType> {
    match list {
        DataType::Array(
            ArrayElemTypeDef::SquareBracket(element, _) | ArrayElemTypeDef::AngleBracket(element),
        ) => Some(element.as_ref()),
        _ => None,
    }
}

pub(super) fn is_text_array(kind: &DataType) -> bool {
    let is_text = |kind: &DataType| {
        matches!(kind, DataType::Text | DataType::Varchar(_) | DataType::Custom(..))
    };
    element_type(kind).is_some_and(is_text)
}

/// `expr [NOT] IN (list)`.
pub(super) fn in_list(expr: &Expr, list: Vec<Expr>, negated: bool) -> Expr {
    if list.is_empty() {
        return value(Value::Boolean(negated));
    }
    Expr::InList { expr: Box::new(expr.clone()), list, negated }
}

/// `array_length(…)` as in PostgreSQL: a number with a sign, so that it goes with others, and null of a
/// list without elements.
pub(super) fn length(function: &Function) -> Expr {
    let length = cast(Expr::Function(function.clone()), DataType::BigInt(None));
    let none = value(Value::Number("0".to_owned(), false));
    call("nullif", vec![length, none])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pg_catalog::written::expr_of;

    #[test]
    fn a_list_without_elements_has_no_length() {
        let Some(Expr::Function(function)) = expr_of("array_length(a, 1)") else {
            panic!("no function")
        };
        let wanted = "nullif(CAST(array_length(a, 1) AS BIGINT), 0)";
        assert_eq!(length(&function).to_string(), wanted);
    }
}
