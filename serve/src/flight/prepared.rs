//! Prepared statements. Their handles are signed texts that have all that is known of them, so a
//! server keeps none, forgets none, and takes those from before it was started again.

use arrow_flight::error::FlightError;
use arrow_flight::sql::{ActionCreatePreparedStatementResult, DoPutPreparedStatementResult};
use arrow_flight::{IpcMessage, SchemaAsIpc};
use arrow_ipc::writer::IpcWriteOptions;
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use serde::{Deserialize, Serialize};

use super::parameter;
use super::rows::sent_schema;
use crate::describe::Described;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::secret::Secret;
use crate::template::Template;

const PURPOSE: &str = "flight statement";

/// A prepared statement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Prepared {
    /// As it was prepared, with placeholders.
    template: String,
    /// With the parameters that were bound last.
    bound: Option<String>,
}

impl Prepared {
    pub(super) fn open(handle: &[u8], secret: &Secret) -> Result<Self> {
        secret.opened(PURPOSE, handle).map_err(|broken| {
            let message = format!("find the prepared statement: {}", broken.reason());
            Error::bad_request("invalid_statement", message)
                .with_hint("send the handle as it came last, or prepare the statement again")
        })
    }

    fn handle(&self, secret: &Secret) -> Result<Bytes> {
        secret.sealed(PURPOSE, self).map(Bytes::from)
    }

    /// The question, if its parameters are bound.
    pub(super) fn question(self) -> Result<String> {
        match self.bound {
            Some(sql) => Ok(sql),
            None => match Template::with_marks(self.template.clone()).parameters() {
                0 => Ok(self.template),
                wanted => Err(wrong_count(0, wanted)),
            },
        }
    }

    /// With placeholders, where they are still open.
    pub(super) async fn describe(&self, engine: &Engine) -> Result<Described> {
        match &self.bound {
            Some(sql) => engine.describe(sql).await,
            None => describe(engine, &Template::with_marks(self.template.clone())).await,
        }
    }

    /// With the one row of parameters that `batches` have.
    pub(super) async fn bind(
        self,
        mut batches: impl Stream<Item = Result<arrow_array::RecordBatch, FlightError>> + Unpin,
        secret: &Secret,
    ) -> Result<DoPutPreparedStatementResult> {
        let template = Template::with_marks(self.template.clone());
        let mut literals = None;
        while let Some(batch) = batches.next().await {
            let batch = batch.map_err(|error| {
                Error::bad_request("invalid_parameters", format!("read parameters: {error}"))
                    .with_hint("send them as one record batch, a column each")
            })?;
            if batch.num_rows() > 1 || batch.num_rows() == 1 && literals.is_some() {
                let message = "bind parameters: there is more than one row of them";
                return Err(Error::bad_request("invalid_parameters", message)
                    .with_hint("run the statement once for each row"));
            }
            if batch.num_rows() == 1 {
                let row = batch.columns().iter().map(|column| parameter::literal(column, 0));
                literals = Some(row.collect::<Result<Vec<_>>>()?);
            }
        }
        let literals = literals.unwrap_or_default();
        if literals.len() != template.parameters() {
            return Err(wrong_count(literals.len(), template.parameters()));
        }
        let bound = Some(template.filled(|at| literals[at].clone()));
        let handle = Self { bound, ..self }.handle(secret)?;
        Ok(DoPutPreparedStatementResult { prepared_statement_handle: Some(handle) })
    }
}

/// Prepares `sql`: its handle, its columns, and the types of its parameters.
pub(super) async fn prepare(
    engine: &Engine,
    sql: String,
    secret: &Secret,
) -> Result<ActionCreatePreparedStatementResult> {
    let template = Template::with_marks(sql);
    let Described { schema, parameters, .. } = describe(engine, &template).await?;
    let parameter = |at: usize| {
        let name = format!("${}", at + 1);
        // One whose type nothing tells is a text.
        let kind = parameters.get(&name).cloned().flatten().unwrap_or(DataType::Utf8);
        Field::new(name, kind, true)
    };
    let wanted: Vec<Field> = (0..template.parameters()).map(parameter).collect();
    let prepared = Prepared { template: template.sql().to_owned(), bound: None };
    Ok(ActionCreatePreparedStatementResult {
        prepared_statement_handle: prepared.handle(secret)?,
        dataset_schema: packed(&sent_schema(schema))?,
        parameter_schema: packed(&Schema::new(wanted))?,
    })
}

/// Plans a statement with its parameters open; where that does not work, with nulls for them.
async fn describe(engine: &Engine, template: &Template) -> Result<Described> {
    let open = engine.describe(&template.filled(|at| format!("${}", at + 1))).await;
    if open.is_ok() || template.parameters() == 0 {
        return open;
    }
    // Where that does not help, the first error says more.
    let again = engine.describe(&template.filled(|_| "NULL".to_owned())).await;
    again.or(open)
}

pub(super) fn packed(schema: &Schema) -> Result<Bytes> {
    let failed = |error: ArrowError| Error::internal("write columns").with_source(error);
    let options = IpcWriteOptions::default();
    let IpcMessage(bytes) = SchemaAsIpc::new(schema, &options).try_into().map_err(failed)?;
    Ok(bytes)
}

pub(super) fn unpacked(columns: Vec<u8>) -> Result<SchemaRef> {
    let failed = |error: ArrowError| Error::internal("read columns").with_source(error);
    Schema::try_from(IpcMessage(columns.into())).map(SchemaRef::from).map_err(failed)
}

fn wrong_count(given: usize, wanted: usize) -> Error {
    let message = format!("bind {given} parameters to a statement with {wanted}");
    Error::bad_request("invalid_parameters", message)
        .with_hint("bind one column for each placeholder; a driver must send the handle on that binding answers with")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_is_taken_as_it_was_given_out_and_not_otherwise() {
        let secret = Secret::random();
        let prepared = Prepared { template: "SELECT ?".into(), bound: None };
        let handle = prepared.handle(&secret).unwrap();
        assert_eq!(Prepared::open(&handle, &secret).unwrap(), prepared);
        for at in 0..handle.len() {
            let mut forged = handle.to_vec();
            forged[at] ^= 1;
            let error = Prepared::open(&forged, &secret).unwrap_err();
            assert_eq!(error.code(), "invalid_statement");
        }
        assert_eq!(prepared.question().unwrap_err().code(), "invalid_parameters");
        let whole = Prepared { template: "SELECT '?'".into(), bound: None };
        assert_eq!(whole.question().unwrap(), "SELECT '?'");
    }
}
