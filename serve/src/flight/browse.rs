//! What drivers ask before they ask for rows: catalogs, schemas, tables and their columns.

use arrow_array::RecordBatch;
use arrow_flight::error::FlightError;
use arrow_flight::sql::{Command, CommandGetTables};
use arrow_schema::{Schema, SchemaRef};

use super::{facts, keys};
use crate::catalog::{CATALOG, SCHEMA, is_stored, table_names};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::literal;

const TABLE: &str = "TABLE";
const VIEW: &str = "VIEW";

/// The columns of the answer to `command`.
pub(super) fn schema(command: &Command) -> Result<SchemaRef> {
    Ok(match command.clone() {
        Command::CommandGetCatalogs(it) => it.into_builder().schema(),
        Command::CommandGetDbSchemas(it) => it.into_builder().schema(),
        Command::CommandGetTables(it) => it.into_builder().schema(),
        Command::CommandGetTableTypes(it) => it.into_builder().schema(),
        Command::CommandGetSqlInfo(it) => it.into_builder(&facts::SERVER).schema(),
        Command::CommandGetXdbcTypeInfo(it) => it.into_builder(&facts::TYPES).schema(),
        Command::CommandGetPrimaryKeys(_) => keys::primary(),
        Command::CommandGetExportedKeys(_)
        | Command::CommandGetImportedKeys(_)
        | Command::CommandGetCrossReference(_) => keys::foreign(),
        other => return Err(super::asked::unknown(other.type_url())),
    })
}

/// The answer to `command`.
pub(super) async fn answer(command: Command, engine: &Engine) -> Result<RecordBatch> {
    let rows = match command {
        Command::CommandGetCatalogs(it) => {
            let mut catalogs = it.into_builder();
            catalogs.append(CATALOG);
            catalogs.build()
        }
        Command::CommandGetDbSchemas(it) => {
            let mut schemas = it.into_builder();
            schemas.append(CATALOG, SCHEMA);
            schemas.build()
        }
        Command::CommandGetTables(it) => return tables(it, engine).await,
        Command::CommandGetTableTypes(it) => {
            let mut types = it.into_builder();
            [TABLE, VIEW].iter().for_each(|name| types.append(name));
            types.build()
        }
        Command::CommandGetSqlInfo(it) => it.into_builder(&facts::SERVER).build(),
        Command::CommandGetXdbcTypeInfo(it) => it.into_builder(&facts::TYPES).build(),
        other => return Ok(RecordBatch::new_empty(schema(&other)?)),
    };
    rows.map_err(failed)
}

async fn tables(command: CommandGetTables, engine: &Engine) -> Result<RecordBatch> {
    let wants_columns = command.include_schema;
    let mut tables = command.into_builder();
    for name in table_names() {
        let columns = match wants_columns {
            true => columns_of(&name, engine).await?,
            false => Schema::empty().into(),
        };
        let kind = if is_stored(&name) { TABLE } else { VIEW };
        tables.append(CATALOG, SCHEMA, &name, kind, &columns).map_err(failed)?;
    }
    tables.build().map_err(failed)
}

/// As a client gets them.
async fn columns_of(name: &str, engine: &Engine) -> Result<SchemaRef> {
    let sql = format!("SELECT * FROM {CATALOG}.{SCHEMA}.{}", literal::column(name));
    Ok(super::rows::sent_schema(engine.describe(&sql).await?.schema))
}

fn failed(error: FlightError) -> Error {
    Error::bad_request("invalid_command", format!("answer a question about the catalog: {error}"))
        .with_hint("its patterns are those of LIKE")
}
