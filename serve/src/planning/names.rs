//! How large a question is once each name that stands for a query is that query.
//!
//! `WITH a AS (…), b AS (SELECT * FROM a UNION ALL SELECT * FROM a), …` doubles with each further name.
//! The planner puts the query where the name stands, so this has to be known before it begins.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{ObjectName, Query, Visit, Visitor};

use crate::statement::ast_of;

/// Queries and tables in `statement`, those behind a name counted wherever it stands.
pub(super) fn parts_of(statement: &Statement) -> usize {
    let mut parts = Parts::default();
    if let Some(ast) = ast_of(statement) {
        let _all = ast.visit(&mut parts);
    }
    parts.all
}

/// The queries that the visitor is in, from without inwards.
#[derive(Default)]
struct Parts {
    open: Vec<Open>,
    /// Of what is through: it has been planned, wherever it is used.
    all: usize,
}

struct Open {
    parts: usize,
    /// What names stand for, by their parts.
    names: BTreeMap<String, usize>,
    /// Names whose queries are still to come, the next one last.
    ahead: Vec<String>,
}

impl Parts {
    fn named(&self, name: &ObjectName) -> Option<usize> {
        let [only] = &name.0[..] else { return None };
        let name = only.as_ident()?.value.to_lowercase();
        self.open.iter().rev().find_map(|query| query.names.get(&name).copied())
    }
}

impl Visitor for Parts {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let with = query.with.iter().flat_map(|with| with.cte_tables.iter().rev());
        let ahead = with.map(|table| table.alias.name.value.to_lowercase()).collect();
        self.open.push(Open { parts: 1, names: BTreeMap::new(), ahead });
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
        let parts = self.open.pop().map_or(0, |query| query.parts);
        match self.open.last_mut() {
            // The queries of names come before that which uses them.
            Some(outer) => match outer.ahead.pop() {
                Some(name) => {
                    self.all = self.all.saturating_add(parts);
                    outer.names.insert(name, parts);
                }
                None => outer.parts = outer.parts.saturating_add(parts),
            },
            None => self.all = self.all.saturating_add(parts),
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, name: &ObjectName) -> ControlFlow<()> {
        let parts = self.named(name).unwrap_or(1);
        if let Some(query) = self.open.last_mut() {
            query.parts = query.parts.saturating_add(parts);
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::parser::DFParser;

    use super::*;

    fn parts(sql: &str) -> usize {
        parts_of(&DFParser::parse_sql(sql).unwrap()[0])
    }

    #[test]
    fn a_name_is_the_query_that_it_stands_for_wherever_it_stands() {
        assert_eq!(parts("SELECT 1"), 1);
        assert_eq!(parts("SELECT * FROM a, b WHERE x IN (SELECT y FROM c)"), 5);
        assert_eq!(parts("EXPLAIN SELECT * FROM a"), 2);
        assert_eq!(parts("WITH t AS (SELECT 1) SELECT * FROM T, t"), 1 + 3);
        let doubled = "WITH t AS (SELECT 1), u AS (SELECT * FROM t UNION ALL SELECT * FROM t)";
        assert_eq!(parts(&format!("{doubled} SELECT * FROM u")), 1 + 3 + 4);
        // The inner one hides the outer one, but not in itself.
        let hidden = "WITH t AS (SELECT * FROM a, b, c) \
                      SELECT * FROM (WITH t AS (SELECT * FROM t) SELECT * FROM t)";
        assert_eq!(parts(hidden), 4 + 5 + (1 + 1 + 5));
        assert_eq!(parts("WITH t AS (SELECT 1) SELECT * FROM s.t"), 1 + 2);
    }

    #[test]
    fn what_doubles_again_and_again_is_counted_at_no_cost() {
        let names: Vec<String> = (1..200)
            .map(|it| {
                format!("c{it} AS (SELECT * FROM c{p} UNION ALL SELECT * FROM c{p})", p = it - 1)
            })
            .collect();
        let sql = format!("WITH c0 AS (SELECT 1), {} SELECT * FROM c199", names.join(", "));
        assert_eq!(parts(&sql), usize::MAX);
    }
}
