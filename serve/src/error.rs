//! The one error of this crate: what was attempted, why it failed, what to do.

use std::error::Error as StdError;
use std::fmt;

use serde::Serialize;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Whose fault it is, for code that has to decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorKind {
    /// The question cannot be answered as it was put.
    BadRequest,
    /// The answer is larger, or takes longer, than the limits allow.
    LimitReached,
    /// What the answer needs cannot be reached now; later it may.
    Unavailable,
    /// A defect of K2.
    Internal,
}

/// What is wrong with one field of a question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldError {
    pub field: String,
    pub message: String,
}

/// Why a question has no answer.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    code: &'static str,
    message: String,
    hint: Option<String>,
    fields: Box<[FieldError]>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// `code` is stable and for programs; `message` is lower case and for people.
    pub fn new(kind: ErrorKind, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            kind,
            code,
            message: message.into(),
            hint: None,
            fields: Box::default(),
            source: None,
        }
    }

    pub fn bad_request(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::BadRequest, code, message)
    }

    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, "internal", message)
            .with_hint("this is a defect of k2: please report it with the query")
    }

    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Every field that is wrong, not only the first.
    #[must_use]
    pub fn with_fields(mut self, fields: Vec<FieldError>) -> Self {
        self.fields = fields.into();
        self
    }

    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Stable, for programs: `unknown_table`, `sql_syntax`.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// What was attempted and why it failed, without the hint.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The fields of the question that are wrong, if it was they that were.
    pub fn fields(&self) -> &[FieldError] {
        &self.fields
    }

    /// What to do.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_ref().map(|source| source.as_ref() as _)
    }
}
