//! How many sets of groups a question asks for.
//!
//! `GROUP BY CUBE (a, b, …)` is a set for each choice of its columns. Each batch of rows is taken once for
//! each set, all at once, so that 14 columns take gigabytes before anything is counted.

use std::ops::ControlFlow;

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    Expr, GroupByExpr, GroupByWithModifier, Select, Visit, Visitor,
};

use crate::statement::ast_of;

/// The sets of the query in `statement` that has the most.
pub(super) fn sets_of(statement: &Statement) -> usize {
    let mut most = Most(1);
    if let Some(ast) = ast_of(statement) {
        let _all = ast.visit(&mut most);
    }
    most.0
}

struct Most(usize);

impl Visitor for Most {
    type Break = ();

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        let (exprs, modifiers) = match &select.group_by {
            GroupByExpr::Expressions(exprs, modifiers) => (&exprs[..], modifiers),
            GroupByExpr::All(modifiers) => (&[][..], modifiers),
        };
        let mut sets = exprs.iter().map(sets_in).fold(1, usize::saturating_mul);
        for modifier in modifiers {
            sets = sets.saturating_mul(match modifier {
                GroupByWithModifier::Cube => cube(exprs.len()),
                GroupByWithModifier::Rollup => exprs.len() + 1,
                GroupByWithModifier::GroupingSets(sets) => sets_in(sets),
                GroupByWithModifier::Totals => 2,
            });
        }
        self.0 = self.0.max(sets);
        ControlFlow::Continue(())
    }
}

fn sets_in(expr: &Expr) -> usize {
    match expr {
        Expr::Cube(parts) => cube(parts.len()),
        Expr::Rollup(parts) => parts.len() + 1,
        Expr::GroupingSets(sets) => sets.len(),
        _ => 1,
    }
}

fn cube(parts: usize) -> usize {
    u32::try_from(parts).ok().and_then(|parts| 2_usize.checked_pow(parts)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use datafusion::sql::parser::DFParser;

    use super::*;

    #[test]
    fn sets_of_groups_multiply() {
        let cases = [
            ("a, b", 1),
            ("CUBE (a, b, c)", 8),
            ("ROLLUP (a, b)", 3),
            ("GROUPING SETS ((a), (b), ())", 3),
            ("CUBE (a, b), ROLLUP (c), d", 8),
        ];
        for (groups, sets) in cases {
            let sql = format!("SELECT count(*) FROM (SELECT 1 FROM t GROUP BY {groups}) AS x");
            assert_eq!(sets_of(&DFParser::parse_sql(&sql).unwrap()[0]), sets, "{groups}");
        }
    }
}
