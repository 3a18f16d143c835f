//! What clients of PostgreSQL ask about a server: its version, its schemas, tables and columns.
//!
//! The schemas `pg_catalog` and `information_schema`, made of what the engine's own catalog says,
//! for all doors alike. `rewrite` turns what only PostgreSQL understands into what the planner
//! does; `functions` has the functions that such questions call.

mod arrows;
pub(crate) mod column_names;
mod counts;
mod empty;
pub(crate) mod functions;
mod idioms;
mod lists;
mod live;
mod numbers;
mod patterns;
mod recursion;
pub(crate) mod rewrite;
mod series;
mod table;
mod times;
pub(crate) mod written;

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{SchemaProvider, TableProvider};
use datafusion::error::Result;

use crate::catalog::{Scope, table_names};
pub(crate) use numbers::type_oid;

pub(crate) const PG_CATALOG: &str = "pg_catalog";
pub(crate) const INFORMATION_SCHEMA: &str = "information_schema";

/// Of the PostgreSQL whose catalog this is like, with our own behind it.
pub(crate) const SERVER_VERSION: &str = concat!("15.0 (K2 ", env!("CARGO_PKG_VERSION"), ")");
pub(crate) const SERVER_VERSION_NUM: &str = "150000";

/// The number of the first table; the others follow in the order of their names.
const TABLE_OID_FIRST: i64 = 16_384;
const SCHEMA_OID: i64 = 2_200;

/// The number of a table or view of ours.
fn oid_of(table: &str) -> Option<i64> {
    let at = table_names().iter().position(|name| name == table)?;
    Some(TABLE_OID_FIRST + i64::try_from(at).ok()?)
}

/// The table or view of ours with a number.
fn table_of(oid: i64) -> Option<String> {
    let at = usize::try_from(oid - TABLE_OID_FIRST).ok()?;
    table_names().into_iter().nth(at)
}

/// One of the two schemas.
#[derive(Debug)]
pub(crate) struct CatalogTables {
    pub(crate) schema: &'static str,
    pub(crate) scope: Arc<Scope>,
}

#[async_trait]
impl SchemaProvider for CatalogTables {
    fn table_names(&self) -> Vec<String> {
        let own = live::names(self.schema).map(str::to_owned);
        own.chain(empty::names(self.schema).map(str::to_owned)).collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        match empty::columns(self.schema, name) {
            Some(columns) => table::of(columns, &[]).map(Some),
            None => live::table(&self.scope, self.schema, name).await,
        }
    }

    fn table_exist(&self, name: &str) -> bool {
        live::names(self.schema).any(|known| known == name)
            || empty::columns(self.schema, name).is_some()
    }
}
