//! `LIMIT '3'`, which is a number to PostgreSQL, and to the drivers that send it.

use datafusion::sql::sqlparser::ast::{Expr, LimitClause, Query, Value};

/// Makes numbers of texts where a number of rows stands.
pub(super) fn rewrite_counts(query: &mut Query) {
    let counts = match &mut query.limit_clause {
        Some(LimitClause::LimitOffset { limit, offset, .. }) => {
            [limit.as_mut(), offset.as_mut().map(|it| &mut it.value)]
        }
        Some(LimitClause::OffsetCommaLimit { offset, limit }) => [Some(limit), Some(offset)],
        None => [None, None],
    };
    let fetched = query.fetch.as_mut().and_then(|fetch| fetch.quantity.as_mut());
    counts.into_iter().flatten().chain(fetched).for_each(rewrite_count);
}

fn rewrite_count(count: &mut Expr) {
    let Expr::Value(value) = count else { return };
    let Value::SingleQuotedString(text) = &value.value else { return };
    if let Ok(number) = text.trim().parse::<u64>() {
        value.value = Value::Number(number.to_string(), false);
    }
}
