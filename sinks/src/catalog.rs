//! The catalog: a SQLite file in the data directory, and the wrapper that pins a commit's base.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use iceberg::table::Table;
use iceberg::{
    Catalog, CatalogBuilder, Namespace, NamespaceIdent, Runtime, TableCommit, TableCreation,
    TableIdent,
};
use iceberg_catalog_sql::{SQL_CATALOG_PROP_URI, SQL_CATALOG_PROP_WAREHOUSE, SqlCatalogBuilder};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection};

use crate::error::{Error, Result};
use crate::failpoint::failpoint;
use crate::storage::DurableFsFactory;
use crate::table::NAMESPACE;

/// The catalog's name: other engines must open it under the same.
const CATALOG_NAME: &str = "k2";

/// Connections to the database. One commits, one reads.
const CONNECTIONS_MAX: &str = "2";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    ReadWrite,
    ReadOnly,
}

/// Opens the catalog in `database`, whose tables are in `warehouse`.
pub(crate) async fn open(
    database: &Path,
    warehouse: &str,
    storage: DurableFsFactory,
    runtime: Runtime,
    access: Access,
) -> Result<Arc<dyn Catalog>> {
    let attempted = || format!("open the catalog {}", database.display());
    if access == Access::ReadWrite {
        set_write_ahead_log(database).await.map_err(|error| Error::of(attempted(), error))?;
    }
    let mode = match access {
        Access::ReadWrite => "rwc",
        Access::ReadOnly => "ro",
    };
    let uri = database_uri(database, mode);
    let properties = HashMap::from(
        [
            (SQL_CATALOG_PROP_URI, uri.as_str()),
            (SQL_CATALOG_PROP_WAREHOUSE, warehouse),
            ("pool.max-connections", CONNECTIONS_MAX),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned())),
    );
    let catalog = SqlCatalogBuilder::default()
        .with_storage_factory(Arc::new(storage))
        .with_runtime(runtime)
        .load(CATALOG_NAME, properties)
        .await
        .map_err(|error| Error::of(attempted(), error))?;
    Ok(Arc::new(catalog))
}

/// Escapes what an URI gives a meaning.
fn database_uri(database: &Path, mode: &str) -> String {
    let path = database.to_string_lossy();
    let path = path.replace('%', "%25").replace('?', "%3F").replace('#', "%23");
    format!("sqlite://{path}?mode={mode}")
}

/// Sets the write-ahead log, which stays set in the file.
///
/// In the other journal modes a reader makes a COMMIT fail, and the catalog drops that error.
async fn set_write_ahead_log(database: &Path) -> std::result::Result<(), sqlx::Error> {
    let connection = SqliteConnectOptions::new()
        .filename(database)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .connect()
        .await?;
    connection.close().await
}

/// Puts the metadata file at `next` in the place of the one at `current`. `false`: `current` is not
/// the current one any more.
pub(crate) async fn swap_metadata(
    database: &Path,
    table: &str,
    current: &str,
    next: &str,
) -> std::result::Result<bool, sqlx::Error> {
    const SWAP: &str = "UPDATE iceberg_tables \
                        SET metadata_location = ?, previous_metadata_location = ? \
                        WHERE catalog_name = ? AND table_namespace = ? AND table_name = ? \
                        AND metadata_location = ?";
    let mut connection = SqliteConnectOptions::new()
        .filename(database)
        .synchronous(SqliteSynchronous::Full)
        .connect()
        .await?;
    let swap = sqlx::query(SWAP)
        .bind(next)
        .bind(current)
        .bind(CATALOG_NAME)
        .bind(NAMESPACE)
        .bind(table)
        .bind(current);
    let swapped = swap.execute(&mut connection).await?;
    connection.close().await?;
    Ok(swapped.rows_affected() == 1)
}

/// A catalog that shows one version of one table, and commits on that version only.
///
/// [`Transaction::commit`](iceberg::transaction::Transaction::commit) loads the table anew, rebases
/// onto what it finds, and tries again on a conflict: two sinks would both succeed. Here it finds
/// the very table whose position was checked, and no error is worth trying again, so its commit
/// holds on exactly that base or fails.
#[derive(Debug)]
pub(crate) struct PinnedCatalog {
    base: Table,
    real: Arc<dyn Catalog>,
}

impl PinnedCatalog {
    pub(crate) fn new(base: Table, real: Arc<dyn Catalog>) -> Self {
        Self { base, real }
    }
}

#[async_trait]
impl Catalog for PinnedCatalog {
    async fn load_table(&self, table: &TableIdent) -> iceberg::Result<Table> {
        debug_assert_eq!(table, self.base.identifier(), "a pin is of one table");
        Ok(self.base.clone())
    }

    async fn update_table(&self, commit: TableCommit) -> iceberg::Result<Table> {
        failpoint("commit.before-catalog");
        let updated = self.real.update_table(commit).await;
        failpoint("commit.after-catalog");
        updated.map_err(|error| error.with_retryable(false))
    }

    async fn list_namespaces(
        &self,
        parent: Option<&NamespaceIdent>,
    ) -> iceberg::Result<Vec<NamespaceIdent>> {
        self.real.list_namespaces(parent).await
    }

    async fn create_namespace(
        &self,
        namespace: &NamespaceIdent,
        properties: HashMap<String, String>,
    ) -> iceberg::Result<Namespace> {
        self.real.create_namespace(namespace, properties).await
    }

    async fn get_namespace(&self, namespace: &NamespaceIdent) -> iceberg::Result<Namespace> {
        self.real.get_namespace(namespace).await
    }

    async fn namespace_exists(&self, namespace: &NamespaceIdent) -> iceberg::Result<bool> {
        self.real.namespace_exists(namespace).await
    }

    async fn update_namespace(
        &self,
        namespace: &NamespaceIdent,
        properties: HashMap<String, String>,
    ) -> iceberg::Result<()> {
        self.real.update_namespace(namespace, properties).await
    }

    async fn drop_namespace(&self, namespace: &NamespaceIdent) -> iceberg::Result<()> {
        self.real.drop_namespace(namespace).await
    }

    async fn list_tables(&self, namespace: &NamespaceIdent) -> iceberg::Result<Vec<TableIdent>> {
        self.real.list_tables(namespace).await
    }

    async fn create_table(
        &self,
        namespace: &NamespaceIdent,
        creation: TableCreation,
    ) -> iceberg::Result<Table> {
        self.real.create_table(namespace, creation).await
    }

    async fn drop_table(&self, table: &TableIdent) -> iceberg::Result<()> {
        self.real.drop_table(table).await
    }

    async fn purge_table(&self, table: &TableIdent) -> iceberg::Result<()> {
        self.real.purge_table(table).await
    }

    async fn table_exists(&self, table: &TableIdent) -> iceberg::Result<bool> {
        self.real.table_exists(table).await
    }

    async fn rename_table(&self, from: &TableIdent, to: &TableIdent) -> iceberg::Result<()> {
        self.real.rename_table(from, to).await
    }

    async fn register_table(&self, table: &TableIdent, metadata: String) -> iceberg::Result<Table> {
        self.real.register_table(table, metadata).await
    }
}
