//! The one error of this crate: what was attempted, why it failed, what to do.

use std::error::Error as StdError;
use std::fmt;
use std::io;

pub type Result<T, E = Error> = std::result::Result<T, E>;

type Source = Box<dyn StdError + Send + Sync>;

/// What kind of failure it is, for code that has to decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorKind {
    /// Another job holds the data directory.
    Locked,
    /// The data directory was written by a newer version.
    NewerFormat,
    /// There is no lake in the directory.
    NoLake,
    /// The directory, or the catalog in it, may not be written.
    ReadOnly,
    /// The disk, or the quota, is full.
    StorageFull,
    /// Another process holds the catalog database.
    CatalogBusy,
    /// A newer incarnation of the sink has claimed the tables.
    Fenced,
    /// The table's last position is not what this process left there.
    Diverged,
    /// Somebody else changed the table's rows.
    Foreign,
    /// The table was set back to an older snapshot.
    RolledBack,
    /// The table was dropped and created again.
    TableReplaced,
    /// The storage or the catalog could not be reached within the retry policy.
    Unavailable,
    /// What was there at that moment has been expired.
    Expired,
    /// What was read cannot be right.
    Corrupt,
    /// The caller broke the contract.
    Invalid,
    /// The caller asked to give up.
    Interrupted,
}

/// A failure of the sink.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    context: String,
    source: Option<Source>,
    retryable: bool,
}

impl Error {
    /// `context` is lower case and says what was attempted, why it failed and what to do.
    pub fn new(kind: ErrorKind, context: impl Into<String>) -> Self {
        let retryable = matches!(
            kind,
            ErrorKind::StorageFull | ErrorKind::CatalogBusy | ErrorKind::Unavailable
        );
        Self { kind, context: context.into(), source: None, retryable }
    }

    #[must_use]
    pub fn with_source(mut self, source: impl Into<Source>) -> Self {
        self.source = Some(source.into());
        self
    }

    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether the same call may succeed later without anybody changing anything here.
    pub fn retryable(&self) -> bool {
        self.retryable
    }

    /// Wraps an error of a library, with the kind that its cause tells.
    pub(crate) fn of(
        context: impl Into<String>,
        source: impl StdError + Send + Sync + 'static,
    ) -> Self {
        let kind = kind_of(&source);
        let advice = match kind {
            ErrorKind::ReadOnly => "; make the data directory writable for this user",
            ErrorKind::StorageFull => "; free some space",
            ErrorKind::CatalogBusy => "; close the other program that has catalog.db open",
            _ => "",
        };
        Self::new(kind, format!("{}{advice}", context.into())).with_source(source)
    }

    pub(crate) fn corrupt(context: impl Into<String>) -> Self {
        Self::new(ErrorKind::Corrupt, context)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.context)?;
        match &self.source {
            Some(source) => write!(f, ": {}", root_cause(source.as_ref())),
            None => Ok(()),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_ref().map(|source| source.as_ref() as _)
    }
}

fn root_cause<'a>(error: &'a (dyn StdError + 'static)) -> &'a (dyn StdError + 'static) {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause
}

/// Looks through the causes for one that says what it really was.
pub(crate) fn kind_of(error: &(dyn StdError + 'static)) -> ErrorKind {
    let mut next = Some(error);
    while let Some(cause) = next {
        if let Some(kind) = cause.downcast_ref::<io::Error>().and_then(kind_of_io) {
            return kind;
        }
        if let Some(sqlx::Error::Database(database)) = cause.downcast_ref::<sqlx::Error>() {
            return kind_of_sqlite(database.as_ref());
        }
        if let Some(iceberg) = cause.downcast_ref::<iceberg::Error>()
            && iceberg.kind() == iceberg::ErrorKind::DataInvalid
            && cause.source().is_none()
        {
            return ErrorKind::Corrupt;
        }
        next = cause.source();
    }
    ErrorKind::Unavailable
}

fn kind_of_io(error: &io::Error) -> Option<ErrorKind> {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Some(ErrorKind::StorageFull),
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
            Some(ErrorKind::ReadOnly)
        }
        _ => None,
    }
}

fn kind_of_sqlite(error: &dyn sqlx::error::DatabaseError) -> ErrorKind {
    // The low byte of SQLite's extended result code is the result code.
    let code = error.code().and_then(|code| code.parse::<i32>().ok()).map(|code| code & 0xff);
    match code {
        Some(5 | 6) => ErrorKind::CatalogBusy,
        Some(8) => ErrorKind::ReadOnly,
        Some(13) => ErrorKind::StorageFull,
        Some(11 | 26) => ErrorKind::Corrupt,
        _ => ErrorKind::Unavailable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_is_found_behind_wrappings() {
        let full = io::Error::from(io::ErrorKind::StorageFull);
        let wrapped =
            iceberg::Error::new(iceberg::ErrorKind::Unexpected, "write").with_source(full);
        assert_eq!(Error::of("write a file", wrapped).kind(), ErrorKind::StorageFull);
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        assert_eq!(Error::of("write a file", denied).kind(), ErrorKind::ReadOnly);
    }
}
