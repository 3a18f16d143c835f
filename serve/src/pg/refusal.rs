//! What is refused: severity, SQLSTATE, message and hint, as clients show them.

use super::wire::{Writer, put_text};
use crate::error::{Error, ErrorKind};

/// Why a statement, or a connection, is refused.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) is_fatal: bool,
    /// Five letters that programs decide by.
    pub(super) state: &'static str,
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

impl Refusal {
    /// The statement fails, the session goes on.
    pub(super) fn error(state: &'static str, message: impl Into<String>) -> Self {
        Self { is_fatal: false, state, message: message.into(), hint: None }
    }

    /// The session ends with it.
    pub(super) fn fatal(state: &'static str, message: impl Into<String>) -> Self {
        Self { is_fatal: true, ..Self::error(state, message) }
    }

    #[must_use]
    pub(super) fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self {
            is_fatal: false,
            state: state_of(&error),
            message: error.message().to_owned(),
            hint: error.hint().map(str::to_owned),
        }
    }
}

/// The SQLSTATE that PostgreSQL would give.
fn state_of(error: &Error) -> &'static str {
    match error.code() {
        "sql_syntax" | "several_statements" => "42601",
        "unknown_table" => "42P01",
        "unknown_column" => "42703",
        "unknown_function" => "42883",
        "ambiguous_column" => "42702",
        "not_grouped" => "42803",
        "wrong_types" => "42883",
        "not_supported" => "0A000",
        // As for any statement that writes in a transaction that is read-only.
        "not_a_query" => "25006",
        "query_too_long" | "query_too_complex" => "54001",
        "limit_memory" | "crowded" => "53200",
        "limit_time" => "57014",
        "cannot_compute" => state_of_value(error.message()),
        "storage" => "58030",
        "starting" => "57P03",
        "too_busy" => "53300",
        "rate_limited" => "53400",
        "invalid_setting" | "unknown_time_zone" => "22023",
        "no_key" | "unknown_key" | "revoked_key" => "28P01",
        "out_of_scope" => "42501",
        _ => match error.kind() {
            ErrorKind::BadRequest => "42000",
            ErrorKind::LimitReached => "54000",
            ErrorKind::Unavailable => "55000",
            ErrorKind::Internal => "XX000",
        },
    }
}

/// Of a value that cannot be computed: the kernels tell what was wrong in words alone.
fn state_of_value(message: &str) -> &'static str {
    const DATE_TIME: [&str; 4] = ["date", "time", "interval", "duration"];
    let message = message.to_lowercase();
    let is = |words: &[&str]| words.iter().any(|word| message.contains(word));
    // A text that is no value of a type, whatever else is in that text.
    if let Some((_, kind)) = message.rsplit_once("to value of ") {
        let is_time = DATE_TIME.iter().any(|name| kind.starts_with(name));
        return if is_time { "22007" } else { "22P02" };
    }
    if is(&["error parsing timestamp", "type interval", "error parsing interval"]) {
        "22007"
    } else if is(&["divide by zero", "division by zero"]) {
        "22012"
    } else if is(&["overflow", "can't cast value", "to store in a", "does not fit"]) {
        "22003"
    } else if is(&["cannot cast string", "parser error"]) {
        "22P02"
    } else {
        "22000"
    }
}

impl Refusal {
    pub(super) fn tell(&self, out: &mut Writer) {
        let severity = if self.is_fatal { "FATAL" } else { "ERROR" };
        tell(out, b'E', severity, self.state, &self.message, self.hint.as_deref());
    }
}

/// Tells a client something that is no error.
pub(super) fn tell_notice(out: &mut Writer, message: &str) {
    tell(out, b'N', "NOTICE", "00000", message, None);
}

/// Tells a client that something was not done, which is no error either.
pub(super) fn tell_warning(out: &mut Writer, state: &str, message: &str) {
    tell(out, b'N', "WARNING", state, message, None);
}

fn tell(out: &mut Writer, tag: u8, severity: &str, state: &str, message: &str, hint: Option<&str>) {
    let fields = [(b'S', severity), (b'V', severity), (b'C', state), (b'M', message)].into_iter();
    out.message(tag, |body| {
        for (field, text) in fields.chain(hint.map(|hint| (b'H', hint))) {
            body.push(field);
            put_text(body, text);
        }
        body.push(0);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_cannot_be_computed_have_the_states_of_postgresql() {
        let cases = [
            ("cast error: Cannot cast string 'abc' to value of Int64 type", "22P02"),
            ("cast error: Cannot cast string 'to value of Date32' to value of Int64 type", "22P02"),
            ("cast error: Cannot cast value 'x' to value of Boolean type", "22P02"),
            ("cast error: Cannot cast string '2024-13-01' to value of Date32 type", "22007"),
            ("cast error: Cannot cast string '10:99' to value of Time64(ns) type", "22007"),
            ("parser error: Error parsing timestamp from 'x': error parsing date", "22007"),
            ("parser error: Invalid input syntax for type interval: \"x\"", "22007"),
            ("cast error: Can't cast value 1000000 to type Int16", "22003"),
            ("arithmetic overflow: Overflow happened on: 1 * 2", "22003"),
            ("sum does not fit DECIMAL(38, 12); have fewer decimals added", "22003"),
            ("divide by zero error", "22012"),
            ("something else", "22000"),
        ];
        for (message, state) in cases {
            let error = Error::bad_request("cannot_compute", format!("answer a query: {message}"));
            assert_eq!(Refusal::from(error).state, state, "{message}");
        }
    }
}
