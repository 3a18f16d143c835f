//! What a question's answer would look like, without answering it: its columns, and the types of
//! its parameters.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::{DataType, SchemaRef};

use crate::engine::{Engine, failed};
use crate::error::Result;
use crate::request::Request;
use crate::statement::{self, Question};

/// The shape of an answer.
pub(crate) struct Described {
    pub(crate) schema: SchemaRef,
    /// `$1` → its type, where the question tells it.
    pub(crate) parameters: HashMap<String, Option<DataType>>,
}

impl Engine {
    /// Plans `sql`, which may have parameters, at the moment of now.
    pub(crate) async fn describe(&self, sql: &str) -> Result<Described> {
        let Question { statement, moments, .. } = statement::parse(sql)?;
        let scope = self.scope_of(&Request::default(), moments).await?;
        let plan = scope.session().statement_to_plan(statement).await.map_err(failed)?;
        statement::check(&plan)?;
        let parameters = plan.get_parameter_types().map_err(failed)?;
        Ok(Described { schema: Arc::new(plan.schema().as_arrow().clone()), parameters })
    }
}
