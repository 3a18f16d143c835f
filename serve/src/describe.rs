//! What a question's answer would look like, without answering it: its columns, and the types of
//! its parameters.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::{DataType, SchemaRef};

use crate::catalog::Scope;
use crate::engine::{Engine, failed};
use crate::error::Result;
use crate::explain;
use crate::planning;
use crate::request::{AsOf, Request};
use crate::statement::{self, PlansFor, Question};
use crate::stop::Stop;

/// The shape of an answer.
pub(crate) struct Described {
    pub(crate) schema: SchemaRef,
    /// `$1` → its type, where the question tells it.
    pub(crate) parameters: HashMap<String, Option<DataType>>,
    /// The moment at which it would be so.
    pub(crate) as_of: AsOf,
}

impl Engine {
    /// Plans `sql`, which may have parameters, at the moment of now.
    pub(crate) async fn describe(&self, sql: &str) -> Result<Described> {
        self.described(sql).await.map(|(described, _scope)| described)
    }

    /// The same, for a client that will ask for the rows as of that moment at once.
    pub(crate) async fn describe_and_hold(&self, sql: &str) -> Result<Described> {
        let (described, scope) = self.described(sql).await?;
        self.hold(&scope);
        Ok(described)
    }

    async fn described(&self, sql: &str) -> Result<(Described, Arc<Scope>)> {
        let (engine, sql) = (self.clone(), sql.to_owned());
        self.apart(move |stop| async move { engine.describe_now(&sql, stop).await }).await
    }

    async fn describe_now(&self, sql: &str, stop: Stop) -> Result<(Described, Arc<Scope>)> {
        let Question { statement, moments, explains } = statement::parse(sql)?;
        let scope = self.scope_of(&Request::default(), moments, stop).await?;
        let plan = planning::plan_of(&scope.session(), statement).await?;
        let parameters = plan.get_parameter_types().map_err(failed)?;
        let schema = match explains {
            Some(PlansFor::Postgres) => explain::json_schema(),
            _ => Arc::new(plan.schema().as_arrow().clone()),
        };
        Ok((Described { schema, parameters, as_of: scope.pinned.token() }, scope))
    }
}
