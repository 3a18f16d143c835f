//! `vendor_data ->> 'M' = 'true'`: what a map has under a key, as PostgreSQL asks for a field of
//! JSON. `->` is the same here, as what a map has are texts.
//!
//! The parser binds the arrow looser than comparisons, where PostgreSQL binds it tighter: it reads
//! `vendor_data ->> ('M' = 'true')`. So the key is what stands first on the right, and the value
//! takes its place there.

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr};

use super::rewrite::text_of;
use super::written::expr_of;

/// Replaces an arrow, and what hangs on its right, by the same with the value in it.
pub(super) fn rewrite_arrow(expr: &mut Expr) {
    let Expr::BinaryOp { left, op: BinaryOperator::LongArrow | BinaryOperator::Arrow, right } =
        expr
    else {
        return;
    };
    let key = leftmost(right);
    let sql = match text_of(key) {
        Some(_) => format!("({left})[{key}]"),
        // A key that only a row or a parameter tells.
        None => format!("map_extract({left}, {key})[1]"),
    };
    if let Some(value) = expr_of(&sql) {
        *key = value;
        let whole = (**right).clone();
        *expr = whole;
    }
}

/// What stands first in an expression of operators.
fn leftmost(expr: &mut Expr) -> &mut Expr {
    match expr {
        Expr::BinaryOp { left, .. } | Expr::AnyOp { left, .. } | Expr::AllOp { left, .. } => {
            leftmost(left)
        }
        Expr::IsNull(inner)
        | Expr::IsNotNull(inner)
        | Expr::InList { expr: inner, .. }
        | Expr::InSubquery { expr: inner, .. }
        | Expr::Between { expr: inner, .. }
        | Expr::Like { expr: inner, .. }
        | Expr::ILike { expr: inner, .. } => leftmost(inner),
        first => first,
    }
}
