//! What a descriptor asks for: a command of Flight SQL, a table by its name, or a question in plain
//! text, so that `pyarrow.flight` needs nothing but itself.

use arrow_flight::FlightDescriptor;
use arrow_flight::flight_descriptor::DescriptorType;
use arrow_flight::sql::{Any, Command};
use bytes::Bytes;
use prost::Message;

use crate::error::{Error, Result};
use crate::literal;

/// What the names of all messages begin with that are packed into a command.
const NAMES: &str = "type.googleapis.com/";

/// What a client asks for.
#[derive(Debug)]
pub(super) enum Asked {
    /// The rows of this SQL.
    Question(String),
    /// Those of a prepared statement, by its handle.
    Prepared(Bytes),
    /// Something about the server.
    About(Command),
}

pub(super) fn of_descriptor(descriptor: &FlightDescriptor) -> Result<Asked> {
    if descriptor.r#type() == DescriptorType::Path {
        return match &descriptor.path[..] {
            [table] => Ok(Asked::Question(format!("SELECT * FROM {}", literal::column(table)))),
            path => Err(unknown(&format!("the path {}", path.join("/")))),
        };
    }
    match packed(&descriptor.cmd)? {
        Some(command) => of_command(command),
        None => match std::str::from_utf8(&descriptor.cmd) {
            Ok(sql) => Ok(Asked::Question(sql.to_owned())),
            Err(_) => Err(unknown("a command that is neither Flight SQL nor text")),
        },
    }
}

/// The command that is packed into `bytes`; `None` if they are something else.
pub(super) fn packed(bytes: &Bytes) -> Result<Option<Command>> {
    match Any::decode(bytes.clone()) {
        Ok(any) if any.type_url.starts_with(NAMES) => {
            let name = any.type_url.clone();
            let command = Command::try_from(any).map_err(|error| {
                Error::bad_request("invalid_command", format!("read {name}: {error}"))
                    .with_hint("send the command as Flight SQL defines it")
            })?;
            Ok(Some(command))
        }
        _ => Ok(None),
    }
}

fn of_command(command: Command) -> Result<Asked> {
    match command {
        Command::CommandStatementQuery(query) => match query.transaction_id {
            Some(id) if !id.is_empty() => Err(no_transactions()),
            _ => Ok(Asked::Question(query.query)),
        },
        Command::CommandPreparedStatementQuery(query) => {
            Ok(Asked::Prepared(query.prepared_statement_handle))
        }
        Command::CommandStatementUpdate(_)
        | Command::CommandPreparedStatementUpdate(_)
        | Command::CommandStatementIngest(_) => Err(read_only()),
        Command::CommandStatementSubstraitPlan(_) => Err(no_substrait()),
        Command::CommandGetCatalogs(_)
        | Command::CommandGetDbSchemas(_)
        | Command::CommandGetTables(_)
        | Command::CommandGetTableTypes(_)
        | Command::CommandGetSqlInfo(_)
        | Command::CommandGetXdbcTypeInfo(_)
        | Command::CommandGetPrimaryKeys(_)
        | Command::CommandGetExportedKeys(_)
        | Command::CommandGetImportedKeys(_)
        | Command::CommandGetCrossReference(_) => Ok(Asked::About(command)),
        other => Err(unknown(other.type_url())),
    }
}

pub(super) fn unknown(what: &str) -> Error {
    Error::bad_request("not_supported", format!("answer a call: {what} is not known here"))
        .with_hint("send a query of Flight SQL, SQL as plain text, or a path that is a table")
}

pub(super) fn read_only() -> Error {
    Error::bad_request("read_only", "run an update: K2 is read-only at every door")
        .with_hint("only queries are answered; rows come in through the job")
}

pub(super) fn no_transactions() -> Error {
    Error::bad_request("not_supported", "begin a transaction: K2 has none")
        .with_hint("ask without one: each answer is of one moment, and as_of asks for it again")
}

pub(super) fn no_substrait() -> Error {
    Error::bad_request("not_supported", "run a plan of Substrait: K2 takes none")
        .with_hint("send the question as SQL")
}

#[cfg(test)]
mod tests {
    use arrow_flight::sql::{CommandGetCatalogs, CommandStatementQuery, ProstMessageExt};

    use super::*;

    fn sql_of(descriptor: &FlightDescriptor) -> String {
        match of_descriptor(descriptor).unwrap() {
            Asked::Question(sql) => sql,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_question_comes_as_a_command_as_plain_text_or_as_a_table() {
        let query = "SELECT 'ü'".to_owned();
        let command = CommandStatementQuery { query, transaction_id: None };
        let command = command.as_any().encode_to_vec();
        assert_eq!(sql_of(&FlightDescriptor::new_cmd(command)), "SELECT 'ü'");
        for text in ["SELECT 1", "\n SELECT 1 -- \u{a}", "select 'type.googleapis.com/'", ""] {
            assert_eq!(sql_of(&FlightDescriptor::new_cmd(text.to_owned())), text);
        }
        let path = FlightDescriptor::new_path(vec!["tra\"des".into()]);
        assert_eq!(sql_of(&path), "SELECT * FROM \"tra\"\"des\"");
    }

    #[test]
    fn what_is_not_answered_is_refused_by_its_name() {
        let command = CommandGetCatalogs {}.as_any();
        let about = FlightDescriptor::new_cmd(command.encode_to_vec());
        assert!(matches!(of_descriptor(&about), Ok(Asked::About(_))));
        let refused = |descriptor: &FlightDescriptor| of_descriptor(descriptor).unwrap_err();
        let other = Any { type_url: format!("{NAMES}x.Y"), value: Bytes::new() };
        let other = FlightDescriptor::new_cmd(other.encode_to_vec());
        assert!(refused(&other).message().contains("x.Y"));
        let path = FlightDescriptor::new_path(vec!["a".into(), "b".into()]);
        assert!(refused(&path).message().contains("a/b"));
        assert_eq!(refused(&FlightDescriptor::new_cmd(vec![0xff, 0xfe])).code(), "not_supported");
        let broken = Any { value: Bytes::from_static(&[0xff]), ..command };
        let broken = Any { type_url: broken.type_url.replace("Catalogs", "Tables"), ..broken };
        let broken = FlightDescriptor::new_cmd(broken.encode_to_vec());
        assert_eq!(refused(&broken).code(), "invalid_command");
    }
}
