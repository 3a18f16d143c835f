//! Lists that something is compared with: `ANY('{a,b}')`, `ANY(ARRAY['a', 'b'])`, also as casts.

use datafusion::sql::sqlparser::ast::{ArrayElemTypeDef, DataType, Expr, Value};

use super::rewrite::{cast, text, text_of, value};
use crate::pg::array_elements;

/// The elements of a list: `ARRAY[…]`, the text of one, or a cast of either.
pub(super) fn elements(list: &Expr) -> Option<Vec<Expr>> {
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
