//! `FROM trades AT (SNAPSHOT 123)`: tables of a question at moments of their own.
//!
//! The parser knows no such clause, so two tokens are changed before it reads them: `AT` goes, and
//! the word in the parentheses gets an arrow, `trades (SNAPSHOT => 123)`, which is a table with a
//! named argument. Tokens, because in them texts and comments are whole. In what was parsed, such a
//! table is then renamed to one of a schema that is the moment, under its old name as an alias.

use std::ops::ControlFlow;

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, Ident, ObjectName, ObjectNamePart, TableAlias, TableFactor,
    Value, ValueWithSpan, VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Word};
use k2_sinks::At;

use crate::catalog::{CATALOG, PUBLIC, SCHEMA};
use crate::error::{Error, Result};
use crate::request::parse_time;
use crate::statement::ast_of_mut;

/// Moments that one question may name.
const MOMENTS_MAX: usize = 8;

pub(crate) const HINT: &str = "write it right behind the table's name, as in FROM trades AT (SNAPSHOT 123), \
                    AT (TIMESTAMP '2024-08-09T00:00:00Z') or AT (TAG 'eod')";

/// What a moment is named by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Snapshot,
    Timestamp,
    Tag,
}

impl Kind {
    fn of(word: &str) -> Option<Self> {
        Some(match word.to_ascii_lowercase().as_str() {
            "snapshot" => Self::Snapshot,
            "timestamp" => Self::Timestamp,
            "tag" => Self::Tag,
            _ => return None,
        })
    }
}

/// Makes the clauses something that the parser knows.
pub(crate) fn marked(tokens: Vec<TokenWithSpan>) -> Result<Vec<TokenWithSpan>> {
    let is_blank = |token: &TokenWithSpan| matches!(token.token, Token::Whitespace(_));
    let told: Vec<usize> = (0..tokens.len()).filter(|at| !is_blank(&tokens[*at])).collect();
    // Positions of `AT`, and of the words that get an arrow.
    let (mut dropped, mut arrowed) = (Vec::new(), Vec::new());
    for window in told.windows(6) {
        let token = |at: usize| &tokens[window[at]].token;
        let is_clause = matches!(token(0), Token::Word(_))
            && plain_word(token(1)).is_some_and(|word| word.eq_ignore_ascii_case("at"))
            && *token(2) == Token::LParen
            && plain_word(token(3)).is_some_and(|word| Kind::of(word).is_some());
        if !is_clause {
            continue;
        }
        match (token(4), token(5)) {
            (Token::Number(..) | Token::SingleQuotedString(_), Token::RParen) => {
                dropped.push(window[1]);
                arrowed.push(window[3]);
            }
            // Names of columns behind an alias that is called `at`.
            (Token::Comma | Token::RParen, _) => {}
            _ => return Err(unclear(token(4))),
        }
    }
    let mut marked = Vec::with_capacity(tokens.len());
    for (at, token) in tokens.into_iter().enumerate() {
        if dropped.contains(&at) {
            continue;
        }
        let span = token.span;
        marked.push(token);
        if arrowed.contains(&at) {
            marked.push(TokenWithSpan { token: Token::RArrow, span });
        }
    }
    Ok(marked)
}

fn plain_word(token: &Token) -> Option<&str> {
    match token {
        Token::Word(Word { value, quote_style: None, .. }) => Some(value),
        _ => None,
    }
}

/// Gives each table that is asked for at a moment its name there, and answers the moments.
pub(crate) fn name_moments(statement: &mut Statement) -> Result<Vec<At>> {
    let mut moments = Moments::default();
    match ast_of_mut(statement).map(|ast| ast.visit(&mut moments)) {
        Some(ControlFlow::Break(error)) => Err(error),
        _ => Ok(moments.found),
    }
}

/// The schema whose tables are as of `at`.
pub(crate) fn schema_of(at: &At) -> String {
    at.to_string()
}

#[derive(Default)]
struct Moments {
    found: Vec<At>,
}

impl Moments {
    fn rename(&mut self, factor: &mut TableFactor) -> Result<()> {
        let TableFactor::Table { name, alias, args, .. } = factor else { return Ok(()) };
        let named = args.as_ref().and_then(|args| named_by(&args.args));
        let (Some((kind, value)), Some(table)) = (named, table_of(name)) else { return Ok(()) };
        let at = moment_of(kind, value)?;
        let schema = Ident::with_quote('"', schema_of(&at));
        if !self.found.contains(&at) {
            self.found.push(at);
        }
        if self.found.len() > MOMENTS_MAX {
            let message = format!("answer a query: it names more than {MOMENTS_MAX} moments");
            return Err(Error::bad_request("too_many_moments", message)
                .with_hint("ask for fewer of them at a time"));
        }
        if alias.is_none() {
            let (name, columns) = (table.clone(), Vec::new());
            *alias = Some(TableAlias { explicit: true, name, columns, at: None });
        }
        let parts = [Ident::new(CATALOG), schema, table].map(ObjectNamePart::Identifier);
        *name = ObjectName(parts.into());
        *args = None;
        Ok(())
    }
}

impl VisitorMut for Moments {
    type Break = Error;

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Error> {
        match self.rename(factor) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }
}

/// The one argument that names a moment.
fn named_by(args: &[FunctionArg]) -> Option<(Kind, &Value)> {
    match args {
        [FunctionArg::Named { name, arg: FunctionArgExpr::Expr(Expr::Value(value)), .. }] => {
            let ValueWithSpan { value, .. } = value;
            Some((Kind::of(&name.value)?, value))
        }
        _ => None,
    }
}

/// The last part of a name, if the others are those of the catalog.
fn table_of(name: &ObjectName) -> Option<Ident> {
    let parts = name.0.iter().map(ObjectNamePart::as_ident).collect::<Option<Vec<_>>>()?;
    let is = |ident: &Ident, known: &str| ident.value.eq_ignore_ascii_case(known);
    let is_ours = |schema: &Ident| is(schema, SCHEMA) || is(schema, PUBLIC);
    match parts[..] {
        [table] => Some(table.clone()),
        [schema, table] if is_ours(schema) => Some(table.clone()),
        [catalog, schema, table] if is(catalog, CATALOG) && is_ours(schema) => Some(table.clone()),
        _ => None,
    }
}

fn moment_of(kind: Kind, value: &Value) -> Result<At> {
    match (kind, value) {
        (Kind::Snapshot, Value::Number(number, _)) => {
            number.parse().map(At::Snapshot).map_err(|_| {
                let message = format!("answer a query: {number} is no id of a snapshot");
                Error::bad_request("invalid_moment", message)
                    .with_hint("SELECT \"table\", snapshot_id FROM snapshots lists them")
            })
        }
        (Kind::Timestamp, Value::SingleQuotedString(time)) => parse_time(time).map(At::Timestamp),
        (Kind::Tag, Value::SingleQuotedString(name)) => Ok(At::Tag(name.clone())),
        _ => Err(unclear(value)),
    }
}

fn unclear(found: &impl std::fmt::Display) -> Error {
    let message = format!("answer a query: {found} names no moment of a table");
    Error::bad_request("invalid_moment", message).with_hint(HINT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statement::parse;

    /// The statement as it is planned, and the moments that it names.
    fn read(sql: &str) -> (String, Vec<At>) {
        let question = parse(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        (question.statement.to_string(), question.moments)
    }

    #[test]
    fn a_table_at_a_moment_is_one_of_another_schema_under_its_own_name() {
        let (sql, moments) = read("SELECT trades.price FROM trades AT (SNAPSHOT 7)");
        assert_eq!(sql, "SELECT trades.price FROM k2.\"snapshot 7\".trades AS trades");
        assert_eq!(moments, [At::Snapshot(7)]);
        let (sql, moments) = read(
            "EXPLAIN WITH x AS (SELECT * FROM market_data.quotes at(tag 'eod') q) SELECT * FROM x \
             JOIN k2.market_data.trades AT /* a moment */ (TIMESTAMP '2024-08-09') AS t ON true \
             WHERE 1 IN (SELECT 1 FROM trades AT (SNAPSHOT 7))",
        );
        assert!(sql.contains("k2.\"tag eod\".quotes q"), "{sql}");
        assert!(sql.contains("trades AS t"), "{sql}");
        let day = At::Timestamp(k2_model::Nanos(1_723_161_600_000_000_000));
        assert_eq!(moments, [At::Tag("eod".into()), day, At::Snapshot(7)]);
    }

    #[test]
    fn texts_comments_names_and_time_zones_are_left_alone() {
        for sql in [
            "SELECT 'x AT (SNAPSHOT 7)' FROM trades",
            "SELECT 1 FROM trades -- AT (SNAPSHOT 7)",
            "SELECT 1 /* trades AT (SNAPSHOT 7) */ FROM trades",
            "SELECT \"AT\" FROM trades AS \"at\"",
            "SELECT ts AT TIME ZONE 'UTC' FROM trades",
            "SELECT at.tag FROM (SELECT 1, 2) at (tag, snapshot)",
            "SELECT x.tag FROM (SELECT 1) AS at (tag)",
        ] {
            let (planned, moments) = read(sql);
            assert_eq!(moments, [], "{sql}");
            assert!(!planned.contains("snapshot 7"), "{planned}");
        }
    }

    #[test]
    fn what_names_no_moment_is_refused_with_the_form_that_does() {
        for sql in [
            "SELECT 1 FROM trades AT (SNAPSHOT x)",
            "SELECT 1 FROM trades AT (SNAPSHOT 'x')",
            "SELECT 1 FROM trades AT (SNAPSHOT 99999999999999999999)",
            "SELECT 1 FROM trades AT (SNAPSHOT 1.5)",
            "SELECT 1 FROM trades AT (TAG 7)",
            "SELECT 1 FROM trades AT (TIMESTAMP 'yesterday')",
            "SELECT 1 FROM trades AT (TIMESTAMP 7)",
        ] {
            let error = parse(sql).unwrap_err();
            assert!(["invalid_moment", "invalid_time"].contains(&error.code()), "{sql}: {error}");
            assert!(error.hint().is_some(), "{sql}");
        }
        let misplaced = parse("SELECT 1 FROM trades t AT (SNAPSHOT 7)").unwrap_err();
        assert_eq!((misplaced.code(), misplaced.hint()), ("sql_syntax", Some(HINT)));
        let many: Vec<String> = (0..=MOMENTS_MAX)
            .map(|id| format!("SELECT 1 FROM trades AT (SNAPSHOT {id})"))
            .collect();
        let error = parse(&many.join(" UNION ALL ")).unwrap_err();
        assert_eq!(error.code(), "too_many_moments");
    }
}
