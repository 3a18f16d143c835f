//! What `EXPLAIN` adds to the plans: what is pinned, and what of it each scan reads; and its
//! options as PostgreSQL spells them.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{ArrayRef, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};
use k2_sinks::{NAMESPACE, Table};
use object_store::path::Path;

use crate::catalog::Scope;
use crate::error::{Error, Result};

/// One scan of a table: of each thing what is read, and what there is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Scan {
    pub(crate) table: &'static str,
    pub(crate) snapshot_id: Option<i64>,
    pub(crate) files: Part,
    /// Of the files, before any filter.
    pub(crate) rows: Part,
    pub(crate) chunks: Part,
    /// Of the chunks, before any filter.
    pub(crate) live_rows: Part,
}

/// What is read of all that there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) read: u64,
    pub(crate) all: u64,
}

impl Part {
    /// So many are read, of those at the seam or of more.
    pub(crate) fn reading(self, read: usize) -> Self {
        let read = read as u64;
        Self { read, all: self.all.max(read) }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.read, self.all)
    }
}

impl Scan {
    /// A line for each side that has something.
    fn lines(&self) -> impl Iterator<Item = String> {
        let Self { table, snapshot_id, files, rows, chunks, live_rows } = self;
        let of_files = snapshot_id
            .map(|id| format!("{table} of snapshot {id}: {files} files with {rows} rows"));
        let of_chunks = (chunks.all > 0)
            .then(|| format!("{table} that are live: {chunks} chunks with {live_rows} rows"));
        of_files.into_iter().chain(of_chunks)
    }
}

/// `plans` without where on the server the tables are: files are named from their namespace on.
pub(crate) fn without_places(scope: &Arc<Scope>, plans: Vec<RecordBatch>) -> Vec<RecordBatch> {
    let places = places_of(scope);
    let without = |text: &str| {
        places.iter().fold(text.to_owned(), |text, place| text.replace(place.as_str(), ""))
    };
    let column = |column: &ArrayRef| -> ArrayRef {
        match column.as_string_opt::<i32>() {
            Some(texts) => {
                Arc::new(texts.iter().map(|it| it.map(without)).collect::<StringArray>())
            }
            None => column.clone(),
        }
    };
    let told = plans.into_iter().map(|batch| {
        let columns = batch.columns().iter().map(column).collect();
        RecordBatch::try_new(batch.schema(), columns).unwrap_or(batch)
    });
    told.collect()
}

/// The directories that namespaces are in, as plans have them.
fn places_of(scope: &Arc<Scope>) -> BTreeSet<String> {
    let namespace = format!("/{NAMESPACE}/");
    let mut places = BTreeSet::new();
    for pinned in scope.all().map(|scope| &scope.pinned) {
        for file in Table::ALL.iter().flat_map(|table| pinned.files(*table)) {
            let path = Path::from_absolute_path(file.local_path()).map(String::from);
            if let Ok(path) = path
                && let Some(at) = path.find(&namespace)
            {
                places.insert(path[..=at].to_owned());
            }
        }
    }
    places
}

/// What is pinned and read, and then the plans in `batches`: a row for each line.
pub(crate) fn lines(
    scope: &Arc<Scope>,
    schema: &SchemaRef,
    batches: Vec<RecordBatch>,
) -> Vec<RecordBatch> {
    let mut lines: Vec<(String, String)> = pins(scope).map(|pin| ("pins".into(), pin)).collect();
    let scans = scope.all().flat_map(|scope| scope.trace.scans());
    let scans: Vec<Scan> = scans.collect();
    lines.extend(scans.iter().flat_map(|scan| scan.lines()).map(|line| ("reads".into(), line)));
    for batch in &batches {
        let [Some(kinds), Some(plans)] =
            [0, 1].map(|at| batch.columns().get(at)?.as_string_opt::<i32>())
        else {
            return batches;
        };
        for (kind, plan) in kinds.iter().zip(plans) {
            let of_plan = plan.unwrap_or_default().lines();
            lines.extend(of_plan.map(|line| (kind.unwrap_or_default().into(), line.into())));
        }
    }
    let kinds = StringArray::from_iter_values(lines.iter().map(|(kind, _)| kind));
    let texts = StringArray::from_iter_values(lines.iter().map(|(_, line)| line));
    match RecordBatch::try_new(schema.clone(), vec![Arc::new(kinds), Arc::new(texts)]) {
        Ok(batch) => vec![batch],
        // They are no plans.
        Err(_) => batches,
    }
}

/// A line for each moment.
fn pins(scope: &Arc<Scope>) -> impl Iterator<Item = String> {
    let of_moments = scope.moments.iter().map(|(at, scope)| (at.as_str(), scope));
    let moments = [("now", scope)].into_iter().chain(of_moments);
    moments.map(|(name, scope)| {
        let pinned = &scope.pinned;
        let name = pinned.at.as_ref().map_or(name.to_owned(), ToString::to_string);
        let anchor = Table::ANCHOR.as_str();
        let snapshot = match pinned.snapshot_id(Table::ANCHOR) {
            Some(id) => format!("snapshot {id} of {anchor}"),
            None => "no snapshot".to_owned(),
        };
        let live = if pinned.live.is_some() { ", with live rows" } else { "" };
        format!("{name}: {snapshot}, frontier {}{live}", pinned.token().frontier)
    })
}

/// The one column of a plan that is asked for as JSON, as PostgreSQL names it.
pub(crate) fn json_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("QUERY PLAN", DataType::Utf8, false)]))
}

/// The plans in `batches`, without the kinds of plans that they are.
pub(crate) fn json(batches: Vec<RecordBatch>) -> Vec<RecordBatch> {
    let plans = batches.iter().filter_map(|batch| batch.columns().get(1)).cloned();
    let batches = plans.map(|plans| RecordBatch::try_new(json_schema(), vec![plans]));
    batches.filter_map(std::result::Result::ok).collect()
}

/// Options that change nothing here: what they would show is not counted, or always shown.
const IDLE_OPTIONS: [&str; 8] =
    ["COSTS", "BUFFERS", "TIMING", "SUMMARY", "SETTINGS", "WAL", "MEMORY", "GENERIC_PLAN"];

/// What `EXPLAIN (…)` asks for.
#[derive(Debug, Default)]
struct Options {
    analyze: bool,
    verbose: bool,
    format: Option<String>,
}

/// Tokens with `EXPLAIN (ANALYZE, FORMAT json)` spelled as the parser reads it, and whether the
/// plan is asked for as JSON.
pub(crate) fn spelled(tokens: Vec<TokenWithSpan>) -> Result<(Vec<TokenWithSpan>, bool)> {
    let is_told = |token: &&TokenWithSpan| !matches!(token.token, Token::Whitespace(_));
    let explain = tokens.iter().find(is_told).filter(|token| match &token.token {
        Token::Word(word) => word.keyword == Keyword::EXPLAIN,
        _ => false,
    });
    let Some(span) = explain.map(|token| token.span) else { return Ok((tokens, false)) };
    let Some((options, end)) = options_of(&tokens) else { return Ok((tokens, false)) };
    let Options { analyze, verbose, format } = read(&options)?;
    let is_json = format.as_deref() == Some("JSON");
    let format = if is_json { Some("pgjson".to_owned()) } else { format };
    // In JSON there is one plan, with all that there is to say of it.
    let words = [("EXPLAIN", true), ("ANALYZE", analyze), ("VERBOSE", verbose && !is_json)];
    let words = words.into_iter().filter(|(_, is_asked)| *is_asked);
    let words = words.map(|(word, _)| Token::make_keyword(word));
    let format = format
        .into_iter()
        .flat_map(|format| [Token::make_keyword("FORMAT"), Token::make_word(&format, None)]);
    let spelled = words.chain(format).map(|token| TokenWithSpan { token, span });
    Ok((spelled.chain(tokens.into_iter().skip(end)).collect(), is_json))
}

/// The words of each option in the parentheses behind the first word, and how many tokens that
/// takes; `None` where it is a query that they are around.
fn options_of(tokens: &[TokenWithSpan]) -> Option<(Vec<Vec<String>>, usize)> {
    let told = tokens.iter().enumerate();
    let mut told = told.filter(|(_, it)| !matches!(it.token, Token::Whitespace(_))).skip(1);
    told.next().filter(|(_, it)| it.token == Token::LParen)?;
    let (mut options, mut option) = (Vec::new(), Vec::new());
    for (at, token) in told {
        match &token.token {
            Token::Word(word) => option.push(word.value.to_uppercase()),
            Token::SingleQuotedString(text) | Token::Number(text, _) => {
                option.push(text.to_uppercase());
            }
            Token::Comma => options.push(std::mem::take(&mut option)),
            Token::RParen => {
                options.push(option);
                let known = ["ANALYZE", "VERBOSE", "FORMAT"];
                let first = options.first().and_then(|option| option.first())?.as_str();
                let is_option = known.contains(&first) || IDLE_OPTIONS.contains(&first);
                return is_option.then_some((options, at + 1));
            }
            _ => return None,
        }
    }
    None
}

fn read(options: &[Vec<String>]) -> Result<Options> {
    let mut read = Options::default();
    for option in options {
        let mut words = option.iter().map(String::as_str);
        let (name, value) = (words.next().unwrap_or_default(), words.next());
        let is_on = !matches!(value, Some("FALSE" | "OFF" | "0"));
        match (name, value) {
            ("ANALYZE", _) => read.analyze = is_on,
            ("VERBOSE", _) => read.verbose = is_on,
            ("FORMAT", Some("TEXT")) => read.format = None,
            ("FORMAT", Some(format @ ("JSON" | "PGJSON" | "TREE" | "INDENT" | "GRAPHVIZ"))) => {
                read.format = Some(format.to_owned());
            }
            (idle, _) if IDLE_OPTIONS.contains(&idle) => {}
            _ => return Err(not_supported(&format!("with {}", option.join(" ")))),
        }
    }
    if read.analyze && read.format.is_some() {
        return Err(not_supported("with ANALYZE in a format of its own"));
    }
    Ok(read)
}

fn not_supported(what: &str) -> Error {
    Error::bad_request("not_supported", format!("explain a query {what}: there is no such way"))
        .with_hint(
            "there are ANALYZE, VERBOSE, and without ANALYZE the formats TEXT, JSON and TREE",
        )
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::dialect::GenericDialect;
    use datafusion::sql::sqlparser::tokenizer::Tokenizer;

    use super::*;

    #[test]
    fn options_in_parentheses_are_words_to_the_parser() {
        let spelled = |sql: &str| {
            let tokens = Tokenizer::new(&GenericDialect {}, sql).tokenize_with_location().unwrap();
            spelled(tokens).map(|(tokens, is_json)| {
                let words = tokens.iter().map(|it| it.token.to_string());
                let words: Vec<_> = words.filter(|word| !word.trim().is_empty()).collect();
                (words.join(" "), is_json)
            })
        };
        let cases = [
            ("EXPLAIN (ANALYZE, VERBOSE on) SELECT 1", "EXPLAIN ANALYZE VERBOSE SELECT 1", false),
            ("explain (analyze false, costs off) SELECT 1", "EXPLAIN SELECT 1", false),
            ("EXPLAIN (VERBOSE, FORMAT 'json') SELECT 1", "EXPLAIN FORMAT pgjson SELECT 1", true),
            ("EXPLAIN (FORMAT TEXT, TIMING 0) SELECT 1", "EXPLAIN SELECT 1", false),
            ("EXPLAIN (SELECT costs)", "EXPLAIN ( SELECT costs )", false),
            ("EXPLAIN SELECT (1)", "EXPLAIN SELECT ( 1 )", false),
            ("SELECT (analyze)", "SELECT ( analyze )", false),
        ];
        for (sql, expected, is_json) in cases {
            assert_eq!(spelled(sql).unwrap(), (expected.to_owned(), is_json), "{sql}");
        }
        for wrong in ["EXPLAIN (FORMAT xml) SELECT 1", "EXPLAIN (ANALYZE, FORMAT json) SELECT 1"] {
            assert_eq!(spelled(wrong).unwrap_err().code(), "not_supported", "{wrong}");
        }
    }

    #[test]
    fn a_scan_says_what_of_each_side_it_reads() {
        let part = |read, all| Part { read, all };
        let scan = Scan {
            table: "trades",
            snapshot_id: Some(7),
            files: part(1, 3),
            rows: part(10, 30),
            chunks: part(2, 2),
            live_rows: part(4, 4),
        };
        let lines: Vec<String> = scan.lines().collect();
        assert_eq!(
            lines,
            [
                "trades of snapshot 7: 1 of 3 files with 10 of 30 rows",
                "trades that are live: 2 of 2 chunks with 4 of 4 rows"
            ]
        );
        assert_eq!(Scan { table: "trades", ..Scan::default() }.lines().count(), 0);
    }
}
