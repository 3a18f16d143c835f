//! `LIMIT '3'`, which is a number to PostgreSQL, and to the drivers that send it; and `FETCH FIRST 3
//! ROWS ONLY`, the standard's word for `LIMIT 3`.

use datafusion::sql::sqlparser::ast::{Expr, Fetch, LimitClause, Query, Value};

/// Says how many rows as the planner understands it.
pub(super) fn rewrite_counts(query: &mut Query) {
    if let Some(Fetch { with_ties: false, percent: false, quantity }) = &query.fetch {
        let one = || Expr::Value(Value::Number("1".to_owned(), false).into());
        let wanted = quantity.clone().unwrap_or_else(one);
        let clause = query.limit_clause.get_or_insert(LimitClause::LimitOffset {
            limit: None,
            offset: None,
            limit_by: Vec::new(),
        });
        if let LimitClause::LimitOffset { limit: limit @ None, .. } = clause {
            *limit = Some(wanted);
            query.fetch = None;
        }
    }
    let counts = match &mut query.limit_clause {
        Some(LimitClause::LimitOffset { limit, offset, .. }) => {
            [limit.as_mut(), offset.as_mut().map(|it| &mut it.value)]
        }
        Some(LimitClause::OffsetCommaLimit { offset, limit }) => [Some(limit), Some(offset)],
        None => [None, None],
    };
    counts.into_iter().flatten().for_each(rewrite_count);
}

fn rewrite_count(count: &mut Expr) {
    let Expr::Value(value) = count else { return };
    let Value::SingleQuotedString(text) = &value.value else { return };
    if let Ok(number) = text.trim().parse::<u64>() {
        value.value = Value::Number(number.to_string(), false);
    }
}
