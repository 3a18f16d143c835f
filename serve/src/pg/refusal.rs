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
        "not_supported" => "0A000",
        // As for any statement that writes in a transaction that is read-only.
        "not_a_query" => "25006",
        "query_too_long" | "query_too_complex" => "54001",
        "limit_memory" | "crowded" => "53200",
        "limit_time" => "57014",
        "cannot_compute" if error.message().to_lowercase().contains("divide by zero") => "22012",
        "cannot_compute" => "22000",
        "storage" => "58030",
        "starting" => "57P03",
        "too_busy" => "53300",
        "rate_limited" => "53400",
        "invalid_setting" => "22023",
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
