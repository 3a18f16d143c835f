//! A catalog that misbehaves on order.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use iceberg::table::Table;
use iceberg::{
    Catalog, Error, ErrorKind, Namespace, NamespaceIdent, Result, TableCommit, TableCreation,
    TableIdent,
};
use k2_sinks::LakeConfig;

/// What the next call of a kind does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trick {
    None,
    /// The commit is applied, the answer is lost.
    LoseResponse,
    /// The commit is not applied, and the answer is an error.
    FailBefore,
    /// The commit is not applied, and the answer is success.
    Phantom,
    /// A conflict is reported, and nothing applied.
    Conflict,
    /// The version before the newest is shown.
    Stale,
}

#[derive(Debug)]
pub struct TrickyCatalog {
    real: Mutex<Option<Arc<dyn Catalog>>>,
    on_update: Mutex<VecDeque<Trick>>,
    on_load: Mutex<VecDeque<Trick>>,
    /// Versions shown or made, oldest first.
    seen: Mutex<BTreeMap<String, Vec<Table>>>,
    pub updates: Mutex<Vec<String>>,
}

impl TrickyCatalog {
    pub fn install(config: &mut LakeConfig) -> Arc<Self> {
        let tricky = Arc::new(Self {
            real: Mutex::new(None),
            on_update: Mutex::default(),
            on_load: Mutex::default(),
            seen: Mutex::default(),
            updates: Mutex::default(),
        });
        let wrapper = Arc::clone(&tricky);
        config.wrap_catalog = Some(Arc::new(move |real| {
            *wrapper.real.lock().unwrap() = Some(real);
            Arc::clone(&wrapper) as Arc<dyn Catalog>
        }));
        tricky
    }

    pub fn real(&self) -> Arc<dyn Catalog> {
        Arc::clone(self.real.lock().unwrap().as_ref().unwrap())
    }

    pub fn on_updates(&self, tricks: &[Trick]) {
        self.on_update.lock().unwrap().extend(tricks);
    }

    pub fn on_loads(&self, tricks: &[Trick]) {
        self.on_load.lock().unwrap().extend(tricks);
    }

    fn remember(&self, table: &Table) {
        let mut seen = self.seen.lock().unwrap();
        let versions = seen.entry(table.identifier().name().to_owned()).or_default();
        let same = |last: &Table| last.metadata_location() == table.metadata_location();
        if !versions.last().is_some_and(same) {
            versions.push(table.clone());
        }
    }
}

#[async_trait]
impl Catalog for TrickyCatalog {
    async fn load_table(&self, ident: &TableIdent) -> Result<Table> {
        let trick = self.on_load.lock().unwrap().pop_front().unwrap_or(Trick::None);
        let newest = self.real().load_table(ident).await?;
        self.remember(&newest);
        match trick {
            Trick::Stale => {
                let seen = self.seen.lock().unwrap();
                let versions = &seen[ident.name()];
                Ok(versions[versions.len().saturating_sub(2)].clone())
            }
            Trick::None => Ok(newest),
            _ => Err(Error::new(ErrorKind::Unexpected, "injected: cannot load")),
        }
    }

    async fn update_table(&self, commit: TableCommit) -> Result<Table> {
        let ident = commit.identifier().clone();
        self.updates.lock().unwrap().push(ident.name().to_owned());
        let trick = self.on_update.lock().unwrap().pop_front().unwrap_or(Trick::None);
        match trick {
            Trick::FailBefore => Err(Error::new(ErrorKind::Unexpected, "injected: 503")),
            Trick::Conflict => {
                Err(Error::new(ErrorKind::CatalogCommitConflicts, "injected: conflict"))
            }
            Trick::Phantom => commit.apply(self.real().load_table(&ident).await?),
            Trick::LoseResponse => {
                let updated = self.real().update_table(commit).await?;
                self.remember(&updated);
                Err(Error::new(ErrorKind::Unexpected, "injected: 502"))
            }
            Trick::None | Trick::Stale => {
                let updated = self.real().update_table(commit).await?;
                self.remember(&updated);
                Ok(updated)
            }
        }
    }

    async fn list_namespaces(
        &self,
        parent: Option<&NamespaceIdent>,
    ) -> Result<Vec<NamespaceIdent>> {
        self.real().list_namespaces(parent).await
    }

    async fn create_namespace(
        &self,
        namespace: &NamespaceIdent,
        properties: HashMap<String, String>,
    ) -> Result<Namespace> {
        self.real().create_namespace(namespace, properties).await
    }

    async fn get_namespace(&self, namespace: &NamespaceIdent) -> Result<Namespace> {
        self.real().get_namespace(namespace).await
    }

    async fn namespace_exists(&self, namespace: &NamespaceIdent) -> Result<bool> {
        self.real().namespace_exists(namespace).await
    }

    async fn update_namespace(
        &self,
        namespace: &NamespaceIdent,
        properties: HashMap<String, String>,
    ) -> Result<()> {
        self.real().update_namespace(namespace, properties).await
    }

    async fn drop_namespace(&self, namespace: &NamespaceIdent) -> Result<()> {
        self.real().drop_namespace(namespace).await
    }

    async fn list_tables(&self, namespace: &NamespaceIdent) -> Result<Vec<TableIdent>> {
        self.real().list_tables(namespace).await
    }

    async fn create_table(
        &self,
        namespace: &NamespaceIdent,
        creation: TableCreation,
    ) -> Result<Table> {
        self.real().create_table(namespace, creation).await
    }

    async fn drop_table(&self, table: &TableIdent) -> Result<()> {
        self.real().drop_table(table).await
    }

    async fn purge_table(&self, table: &TableIdent) -> Result<()> {
        self.real().purge_table(table).await
    }

    async fn table_exists(&self, table: &TableIdent) -> Result<bool> {
        self.real().table_exists(table).await
    }

    async fn rename_table(&self, from: &TableIdent, to: &TableIdent) -> Result<()> {
        self.real().rename_table(from, to).await
    }

    async fn register_table(&self, table: &TableIdent, metadata: String) -> Result<Table> {
        self.real().register_table(table, metadata).await
    }
}
