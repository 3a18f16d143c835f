//! Failures of the query engine in the words of this crate: what was wrong, and what was meant.

use std::sync::LazyLock;

use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;
use datafusion::execution::SessionStateDefaults;
use parquet::errors::ParquetError;

use crate::catalog::SCHEMA;
use crate::error::{Error, ErrorKind};
use crate::functions::postgresql;

/// What `error` is to the one who asked. `tables` are those that there are.
pub(crate) fn of_datafusion(error: DataFusionError, tables: &[String]) -> Error {
    match error {
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => {
            of_datafusion(*inner, tables)
        }
        DataFusionError::Collection(mut errors) if !errors.is_empty() => {
            of_datafusion(errors.swap_remove(0), tables)
        }
        DataFusionError::External(inner) => match inner.downcast::<Error>() {
            Ok(own) => *own,
            Err(other) => of_function(&*other).with_source(other),
        },
        DataFusionError::Shared(shared) => of_shared(&shared, tables),
        DataFusionError::SQL(cause, _) => {
            Error::bad_request("sql_syntax", format!("parse the query: {}", lowered(&cause)))
                .with_hint("the syntax is that of PostgreSQL, as far as DataFusion knows it")
        }
        DataFusionError::SchemaError(cause, _) => of_schema(&cause),
        DataFusionError::Plan(message) => of_plan(&message, tables),
        DataFusionError::NotImplemented(message) => not_supported(&message),
        // As for max(vendor_data).
        DataFusionError::Internal(message) if message.contains("not implemented for type") => {
            let message = "answer a query: a function in it does not take values of this type";
            Error::bad_request("wrong_types", message)
                .with_hint("name one value of a map or list, as in vendor_data ->> 'key'")
        }
        DataFusionError::ResourcesExhausted(message) => out_of_memory().with_source(message),
        DataFusionError::Execution(message) => cannot_compute(&message),
        DataFusionError::ArrowError(cause, _) => of_arrow(*cause),
        DataFusionError::ObjectStore(cause) => unreadable(*cause),
        DataFusionError::IoError(cause) => unreadable(cause),
        DataFusionError::ParquetError(cause) => of_parquet(*cause),
        other => Error::internal(format!("answer a query: {other}")).with_source(other),
    }
}

/// What several tasks share cannot be taken apart; its text still tells the most common kinds.
fn of_shared(shared: &DataFusionError, tables: &[String]) -> Error {
    match shared.find_root() {
        DataFusionError::ResourcesExhausted(message) => out_of_memory().with_source(&**message),
        DataFusionError::Plan(message) => of_plan(message, tables),
        DataFusionError::Execution(message) => cannot_compute(message),
        DataFusionError::ObjectStore(cause) => unreadable(Told(cause.to_string())),
        DataFusionError::IoError(cause) => unreadable(Told(cause.to_string())),
        DataFusionError::ParquetError(cause) => of_parquet_text(cause.to_string()),
        DataFusionError::External(cause) => match cause.downcast_ref::<Error>() {
            Some(own) => copied(own),
            None => of_function(&**cause),
        },
        other => Error::internal(format!("answer a query: {other}")),
    }
}

/// An error of ours that several tasks share, but for what it came from.
fn copied(error: &Error) -> Error {
    let copy = Error::new(error.kind(), error.code(), error.message());
    match error.hint() {
        Some(hint) => copy.with_hint(hint),
        None => copy,
    }
}

/// What a function has failed with that is not the engine's own. A wrong regular expression is
/// such a thing; its text is several lines, of which the last one tells.
fn of_function(cause: &(dyn std::error::Error + Send + Sync)) -> Error {
    let text = cause.to_string();
    if !text.starts_with("regex parse error") {
        return Error::internal(format!("answer a query: {text}"));
    }
    let reason = text.rsplit("error: ").next().unwrap_or_default().trim();
    Error::bad_request("invalid_regex", format!("read a regular expression: {reason}"))
        .with_hint("the syntax is that of Rust's regex: without look-around and back-references")
}

/// The text of a cause that several tasks share.
#[derive(Debug)]
struct Told(String);

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Told {}

/// What the planner does not know, without the names that its own parts have.
fn not_supported(message: &str) -> Error {
    let error = |what: &str| Error::bad_request("not_supported", format!("answer a query: {what}"));
    if message.contains("OuterReferenceColumn") || message.contains("undecorrelated Subquery") {
        return error(
            "a query within it needs columns of the one around it in a way that is not known",
        )
        .with_hint(
            "join the two, and number the rows of the inner one: instead of LATERAL (… ORDER BY ts \
             DESC LIMIT 1) keep those whose row_number() OVER (PARTITION BY … ORDER BY ts DESC) is 1",
        );
    }
    if message.starts_with("Row format support") {
        return Error::bad_request(
            "wrong_types",
            "answer a query: vendor_data and other maps cannot be compared, grouped or ordered by",
        )
        .with_hint("name the columns that are wanted, or one value, as in vendor_data ->> 'key'");
    }
    if message.contains("JOIN operator") {
        return error("this kind of join is not known")
            .with_hint("joins are inner, left, right, full, semi, anti and cross");
    }
    let message = lowered(&message);
    error(message.split(" { ").next().unwrap_or(&message))
}

fn out_of_memory() -> Error {
    Error::new(
        ErrorKind::LimitReached,
        "limit_memory",
        "answer a query: it needs more memory than a query may use",
    )
    .with_hint("name symbols and a time range in WHERE, or aggregate before sorting and joining")
}

fn unreadable(cause: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(
        ErrorKind::Unavailable,
        "storage",
        format!("read the tables' files: {cause}"),
    )
    .with_hint(
        "see whether the data directory is complete; over HTTP on_partial=allow asks for what is \
         in memory",
    )
    .with_source(cause)
}

/// Conditions are looked at while files are read, so what is wrong with them comes from there.
fn of_parquet(cause: ParquetError) -> Error {
    match cause {
        ParquetError::External(inner) => match inner.downcast::<arrow_schema::ArrowError>() {
            Ok(error) => of_arrow(*error),
            Err(inner) => match inner.downcast::<DataFusionError>() {
                Ok(error) => of_datafusion(*error, &[]),
                Err(other) => unreadable(ParquetError::External(other)),
            },
        },
        ParquetError::ArrowError(text) => of_parquet_text(text),
        other => unreadable(other),
    }
}

/// The same where only its text is left.
fn of_parquet_text(text: String) -> Error {
    const COMPUTED: [&str; 6] = [
        "Cast error: ",
        "Divide by zero error",
        "Arithmetic overflow: ",
        "Compute error: ",
        "Parser error: ",
        "Invalid argument error: ",
    ];
    let begin = COMPUTED.iter().filter_map(|kind| text.rfind(kind)).min();
    match begin {
        Some(begin) => cannot_compute(&text[begin..]),
        None => unreadable(Told(text)),
    }
}

/// What a condition has failed with, of which the reader of files keeps the debug form alone.
fn of_condition(cause: &str) -> Error {
    if cause.contains("ResourcesExhausted") {
        return out_of_memory();
    }
    if cause.contains("limit_time") {
        let message = "answer a query: its time is over";
        return Error::new(ErrorKind::LimitReached, "limit_time", message);
    }
    if cause.contains("DivideByZero") {
        return cannot_compute("Divide by zero error");
    }
    let said = cause.split_once("(\"").and_then(|(_, rest)| rest.split_once("\")"));
    cannot_compute(&said.map_or(cause, |(said, _)| said).replace("\\\"", "\"").replace("\\'", "'"))
}

fn cannot_compute(message: &str) -> Error {
    if let Some((_, cause)) = message.split_once("Error evaluating filter predicate: ") {
        return of_condition(cause);
    }
    Error::bad_request("cannot_compute", format!("answer a query: {}", lowered(&message)))
}

fn of_arrow(cause: arrow_schema::ArrowError) -> Error {
    use arrow_schema::ArrowError as A;
    match cause {
        A::ExternalError(inner) => match inner.downcast::<DataFusionError>() {
            Ok(error) => of_datafusion(*error, &[]),
            Err(other) => of_function(&*other).with_source(other),
        },
        A::IoError(_, _) | A::ParquetError(_) => unreadable(cause),
        A::MemoryError(_) => out_of_memory(),
        A::NotYetImplemented(message) => not_supported(&message),
        A::CastError(_)
        | A::ParseError(_)
        | A::ComputeError(_)
        | A::DivideByZero
        | A::ArithmeticOverflow(_)
        | A::InvalidArgumentError(_) => cannot_compute(&cause.to_string()),
        _ => Error::internal(format!("answer a query: {cause}")).with_source(cause),
    }
}

fn of_schema(cause: &SchemaError) -> Error {
    match cause {
        SchemaError::FieldNotFound { field, valid_fields } => {
            let names: Vec<String> = valid_fields.iter().map(|it| it.name.clone()).collect();
            let message = format!("answer a query: there is no column {}", field.flat_name());
            let error = Error::bad_request("unknown_column", message);
            error.with_hint(match &names[..] {
                [] => "name the table that has it with FROM; texts are in single quotes".to_owned(),
                names => did_you_mean(&field.name, names, "columns"),
            })
        }
        SchemaError::AmbiguousReference { field } => Error::bad_request(
            "ambiguous_column",
            format!("answer a query: {} is a column of several tables", field.flat_name()),
        )
        .with_hint(format!("write table.{}", field.name)),
        other => {
            Error::bad_request("invalid_query", format!("answer a query: {}", lowered(&other)))
                .with_hint("give each of them a name of its own with AS")
        }
    }
}

fn of_plan(message: &str, tables: &[String]) -> Error {
    let quoted = message.split('\'').nth(1).unwrap_or_default();
    if message.starts_with("table '") && message.contains("not found") {
        let name = quoted.rsplit('.').next().unwrap_or(quoted);
        let error = format!("answer a query: there is no table {name}");
        // It is there, and not in the schema that was named.
        let hint = match tables.iter().any(|table| table == name) {
            true => format!("did you mean {SCHEMA}.{name}?"),
            false => did_you_mean(name, tables, "tables"),
        };
        return Error::bad_request("unknown_table", error).with_hint(hint);
    }
    if message.starts_with("Invalid function '") || message.starts_with("table function '") {
        let error = format!("answer a query: there is no function {quoted}");
        let hint = match message.starts_with("table") {
            true => "no function reads files or other places".to_owned(),
            false => did_you_mean(quoted, function_names(), "functions, among others,"),
        };
        return Error::bad_request("unknown_function", error).with_hint(hint);
    }
    let message = message.lines().next().unwrap_or(message);
    let told = |code, message: &str| {
        Error::bad_request(code, format!("answer a query: {}", lowered(&message)))
    };
    if let Some((_, call)) = message.split_once("No function matches the given name and argument") {
        let call = call.split('\'').nth(1).unwrap_or_default();
        return told("wrong_types", &format!("there is no {call}"))
            .with_hint("cast its arguments to what it takes, as in x::numeric");
    }
    if let Some((_, rest)) = message.split_once("Function '")
        && let Some((name, rest)) = rest.split_once('\'')
        && (rest.contains("failed to match any signature") || rest.contains("coercion failed"))
    {
        return told("wrong_types", &format!("{name} takes no arguments of these types"))
            .with_hint("cast its arguments to what it takes, as in x::numeric");
    }
    let is_of_groups = message.contains("must be in GROUP BY or an aggregate function")
        || message.contains("Aggregate functions are not allowed in the WHERE clause");
    if is_of_groups {
        let Some(column) = message.split('"').nth(1) else { return told("not_grouped", message) };
        let message = format!("{column} is neither in GROUP BY nor in a function of groups");
        return told("not_grouped", &message)
            .with_hint(format!("write max({column}), or group by it"));
    }
    let is_of_types = message.starts_with("Cannot infer common argument type")
        || message.starts_with("Cannot get result type")
        || message.starts_with("Cannot coerce");
    told(if is_of_types { "wrong_types" } else { "invalid_query" }, message)
}

/// The functions that a query may call, by name.
fn function_names() -> &'static [String] {
    static NAMES: LazyLock<Vec<String>> = LazyLock::new(|| {
        let mut scalar = SessionStateDefaults::default_scalar_functions();
        scalar.extend(postgresql::scalars());
        let aggregate = SessionStateDefaults::default_aggregate_functions();
        let window = SessionStateDefaults::default_window_functions();
        let scalar = scalar.iter().map(|function| function.name().to_owned());
        let aggregate = aggregate.iter().map(|function| function.name().to_owned());
        let window = window.iter().map(|function| function.name().to_owned());
        aggregate.chain(scalar).chain(window).collect()
    });
    &NAMES
}

/// Names at most this many edits away are taken for what was meant.
const EDITS_MAX: usize = 3;
/// Names listed where none is near.
const NAMES_MAX: usize = 30;

pub(crate) fn did_you_mean(wrong: &str, names: &[String], what: &str) -> String {
    let wrong = wrong.to_lowercase();
    let distance = |name: &String| strsim::damerau_levenshtein(&wrong, &name.to_lowercase());
    let nearest = names.iter().min_by_key(|name| distance(name));
    match nearest {
        Some(name) if distance(name) <= EDITS_MAX.min(wrong.len() / 2 + 1) => {
            format!("did you mean {name}?")
        }
        _ => {
            let mut listed: Vec<&str> = names.iter().map(String::as_str).collect();
            listed.dedup();
            listed.truncate(NAMES_MAX);
            format!("{what} are {}", listed.join(", "))
        }
    }
}

/// Names listed besides one that is not known.
const NEAREST_MAX: usize = 5;

/// The names that `wrong` is most like, nearest first.
pub(crate) fn nearest<'a>(wrong: &str, names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let wrong = wrong.to_lowercase();
    let distance = |name: &str| strsim::damerau_levenshtein(&wrong, &name.to_lowercase());
    let mut ranked: Vec<(usize, &str)> = names.map(|name| (distance(name), name)).collect();
    ranked.sort_unstable();
    ranked.dedup();
    ranked.into_iter().take(NEAREST_MAX).map(|(_, name)| name).collect()
}

/// The message with a lower-case beginning and without a full stop, as ours are.
fn lowered(message: &impl ToString) -> String {
    let message = message.to_string();
    let message = message.trim_end_matches('.');
    let mut letters = message.chars();
    match (letters.next(), letters.clone().next()) {
        // An acronym or a constant stays as it is.
        (Some(first), Some(second)) if first.is_uppercase() && second.is_lowercase() => {
            first.to_lowercase().chain(letters).collect()
        }
        _ => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_told_and_otherwise_all() {
        let names = ["trades", "quotes"].map(str::to_owned);
        assert_eq!(did_you_mean("trade", &names, "tables"), "did you mean trades?");
        assert_eq!(did_you_mean("Quotse", &names, "tables"), "did you mean quotes?");
        assert_eq!(did_you_mean("x", &names, "tables"), "tables are trades, quotes");
    }

    #[test]
    fn the_names_that_are_nearest_come_first() {
        let names = ["ETH-USDT", "BTC-USDT", "BTC-USD", "SOL-USDT", "BTC-USDT", "A", "B", "C"];
        let found = nearest("btc-usd", names.into_iter());
        assert_eq!(found[..2], ["BTC-USD", "BTC-USDT"]);
        assert_eq!(found.len(), NEAREST_MAX);
    }

    #[test]
    fn messages_begin_in_lower_case_but_keep_acronyms() {
        assert_eq!(lowered(&"Cannot do it."), "cannot do it");
        assert_eq!(lowered(&"SQL it is"), "SQL it is");
    }
}
