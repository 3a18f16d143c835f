//! Which statements are answered: one query, or a question about the tables. Nothing that writes,
//! sets, or reads a file.

use std::ops::ControlFlow;

use datafusion::error::DataFusionError;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SQLOptions;
use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::sqlparser::ast::{Query, Statement as Ast, Visit, Visitor, visit_statements};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};
use k2_sinks::At;

use crate::at;
use crate::error::{Error, Result};
use crate::explain;
use crate::hint;
use crate::pg_catalog::rewrite::rewrite;

/// Parentheses and operators may be nested this deep.
const DEPTH_MAX: usize = 64;

/// Bytes of a query. Long chains of operators are deep trees, and those need stack.
const BYTES_MAX: usize = 64 << 10;

/// Words and signs in a row, without a comma or a parenthesis. A chain of operators is as deep a tree
/// as it is long, and it takes the square of that to plan.
const CHAIN_MAX: usize = 1_000;
/// What one of `EXCEPT` and `INTERSECT` counts as: each takes far more than an operator.
const SET_OPERATION_WEIGHT: usize = 20;

/// What is asked.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) statement: Statement,
    /// The moments that its tables are asked for at, besides the one of the whole question.
    pub(crate) moments: Vec<At>,
    /// It asks for plans.
    pub(crate) explains: Option<PlansFor>,
}

/// Who reads the plans that are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PlansFor {
    People,
    /// What PostgreSQL's programs read: JSON in one column.
    Postgres,
    Programs,
}

/// The one question that `sql` is.
pub(crate) fn parse(sql: &str) -> Result<Question> {
    if sql.len() > BYTES_MAX {
        let message = format!("answer a query: it is longer than {} KiB", BYTES_MAX >> 10);
        return Err(Error::bad_request("query_too_long", message)
            .with_hint("ask for fewer things at a time, or use ranges instead of lists"));
    }
    let tokens = Tokenizer::new(&GenericDialect {}, sql).tokenize_with_location();
    let tokens = tokens.map_err(|error| syntax(ParserError::from(error).into()))?;
    if longest_chain(&tokens) > CHAIN_MAX {
        let message = "answer a query: too many operators follow each other".to_owned();
        return Err(Error::bad_request("query_too_complex", message)
            .with_hint("write IN (…) instead of OR, or ask in several questions"));
    }
    let (tokens, is_json) = explain::spelled(tokens)?;
    let tokens = at::marked(tokens)?;
    let may_name_moments = tokens.iter().any(|token| token.token == Token::RArrow);
    // What is behind an alias has been marked too, and that the parser does not take.
    let mut statement = parse_statement(tokens).map_err(|error| {
        let is_misplaced = error.message().contains("found: =>");
        if is_misplaced { error.with_hint(at::HINT) } else { error }
    })?;
    let moments = if may_name_moments { at::name_moments(&mut statement)? } else { Vec::new() };
    let explains = match &statement {
        Statement::Explain(_) if is_json => Some(PlansFor::Postgres),
        Statement::Explain(it) if it.format.is_none() => Some(PlansFor::People),
        Statement::Explain(_) => Some(PlansFor::Programs),
        _ => None,
    };
    Ok(Question { statement, moments, explains })
}

/// The most words and signs that stand in a row at one level of parentheses, without a comma.
fn longest_chain(tokens: &[TokenWithSpan]) -> usize {
    let (mut longest, mut levels) = (0, vec![0]);
    for token in tokens {
        let weight = match &token.token {
            Token::Whitespace(_) => continue,
            Token::LParen | Token::LBracket => {
                levels.push(0);
                continue;
            }
            Token::RParen | Token::RBracket => {
                if levels.len() > 1 {
                    levels.pop();
                }
                2
            }
            Token::Comma => {
                if let Some(level) = levels.last_mut() {
                    *level = 0;
                }
                continue;
            }
            Token::Word(word) if matches!(word.keyword, Keyword::EXCEPT | Keyword::INTERSECT) => {
                SET_OPERATION_WEIGHT
            }
            _ => 1,
        };
        if let Some(level) = levels.last_mut() {
            *level += weight;
            longest = longest.max(*level);
        }
    }
    longest
}

fn syntax(error: DataFusionError) -> Error {
    hint::of_datafusion(error, &[])
}

fn parse_statement(tokens: Vec<TokenWithSpan>) -> Result<Statement> {
    let mut statements = DFParserBuilder::new(tokens)
        .with_dialect(&GenericDialect {})
        .with_recursion_limit(DEPTH_MAX)
        .build()
        .and_then(|mut parser| parser.parse_statements())
        .map_err(syntax)?;
    match (statements.pop_front(), statements.len()) {
        (None, _) => Err(Error::bad_request("empty_query", "answer a query: it is empty")
            .with_hint("try SELECT * FROM latest_trade")),
        (Some(statement), 0) if writes(&statement) => Err(read_only()),
        (Some(statement), 0) if locks(&statement) => Err(no_locks()),
        (Some(mut statement), 0) if is_question(&statement) => {
            rewrite(&mut statement);
            Ok(statement)
        }
        (Some(_), 0) => Err(not_a_query()),
        (Some(_), more) => Err(Error::bad_request(
            "several_statements",
            format!("answer a query: there are {} statements", more + 1),
        )
        .with_hint("send one statement at a time")),
    }
}

/// What is asked, or whose plan is asked for. None, if DataFusion has a statement of its own for it.
pub(crate) fn ast_of(statement: &Statement) -> Option<&Ast> {
    match statement {
        Statement::Statement(ast) => Some(ast),
        Statement::Explain(explain) => ast_of(&explain.statement),
        Statement::CreateExternalTable(_) | Statement::CopyTo(_) | Statement::Reset(_) => None,
    }
}

/// The same, to be rewritten.
pub(crate) fn ast_of_mut(statement: &mut Statement) -> Option<&mut Ast> {
    match statement {
        Statement::Statement(ast) => Some(ast),
        Statement::Explain(explain) => ast_of_mut(&mut explain.statement),
        Statement::CreateExternalTable(_) | Statement::CopyTo(_) | Statement::Reset(_) => None,
    }
}

fn is_question(statement: &Statement) -> bool {
    ast_of(statement).is_some_and(is_question_ast)
}

fn is_question_ast(statement: &Ast) -> bool {
    match statement {
        Ast::Query(_)
        | Ast::ShowTables { .. }
        | Ast::ShowColumns { .. }
        | Ast::ExplainTable { .. } => true,
        Ast::Explain { statement, .. } => is_question_ast(statement),
        _ => false,
    }
}

/// Whether a statement would change a table, or one within it: `WITH x AS (INSERT …) SELECT …` is
/// a query by its form.
fn writes(statement: &Statement) -> bool {
    let Some(ast) = ast_of(statement) else { return !matches!(statement, Statement::Reset(_)) };
    let found = visit_statements(ast, |it| {
        if changes_tables(it) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    found.is_break()
}

/// Whether a statement, or a query within it, locks the rows that it reads: `FOR UPDATE`, `FOR SHARE`.
fn locks(statement: &Statement) -> bool {
    match statement {
        Statement::Statement(statement) => statement.visit(&mut Locks).is_break(),
        Statement::Explain(explain) => locks(&explain.statement),
        Statement::CreateExternalTable(_) | Statement::CopyTo(_) | Statement::Reset(_) => false,
    }
}

/// Stops at the first query that locks rows.
struct Locks;

impl Visitor for Locks {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        if query.locks.is_empty() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }
}

fn changes_tables(statement: &Ast) -> bool {
    matches!(
        statement,
        Ast::Insert(_)
            | Ast::Update(_)
            | Ast::Delete(_)
            | Ast::Merge(_)
            | Ast::Truncate(_)
            | Ast::Copy { .. }
            | Ast::CreateTable(_)
            | Ast::CreateView(_)
            | Ast::CreateIndex(_)
            | Ast::CreateSchema { .. }
            | Ast::CreateDatabase { .. }
            | Ast::AlterTable(_)
            | Ast::AlterView { .. }
            | Ast::Drop { .. }
    )
}

/// A plan can still have something that writes: `SELECT … INTO`.
pub(crate) fn check(plan: &LogicalPlan) -> Result<()> {
    let options =
        SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    options.verify_plan(plan).map_err(|_| read_only())
}

fn not_a_query() -> Error {
    refused("this statement is not one")
}

fn read_only() -> Error {
    refused("this statement writes, and all tables are read-only here")
}

fn no_locks() -> Error {
    refused("this statement locks rows, and all tables are read-only here")
}

fn refused(reason: &str) -> Error {
    Error::bad_request("not_a_query", format!("answer a query: {reason}")).with_hint(
        "queries are read-only: only SELECT, EXPLAIN, DESCRIBE, SHOW TABLES and SHOW COLUMNS are \
         answered",
    )
}
