//! One table's commit, on exactly the version that was checked.
//!
//! * **Attempt**: load the table, check that it is the same table, find its position, let the
//!   caller judge that position, append on exactly this version, and load again to see it there.
//! * `COMMIT-1`: nothing is appended unless the position found is the one expected.
//! * `COMMIT-2`: an answer is never believed. A success is read back, because the SQL catalog
//!   drops the error of its own COMMIT; a failure other than a conflict may be a success, so the
//!   table is loaded until it can be, and the commit id looked for.
//! * `COMMIT-3`: files of a commit with unknown outcome are never deleted here.

use std::collections::HashMap;
use std::sync::Arc;

use iceberg::spec::{DataFile, TableMetadata};
use iceberg::transaction::{ApplyTransactionAction, Transaction};
use iceberg::{Catalog, TableIdent};
use uuid::Uuid;

use crate::catalog::{Access, PinnedCatalog};
use crate::config::{Attempts, LakeConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::position::Incarnation;
use crate::recovery::{TablePosition, recover, recover_leniently};
use crate::table::{Table, namespace};

/// Commits to the tables of one catalog. Blocks; not for use inside a runtime.
pub(crate) struct Committer<'a> {
    pub(crate) config: &'a LakeConfig,
    pub(crate) catalog: &'a Arc<dyn Catalog>,
    pub(crate) runtime: &'a tokio::runtime::Runtime,
}

/// What to do about the position that was found.
pub(crate) enum Verdict {
    /// It is already there.
    Done,
    Append(TablePosition),
    /// The position is older than one already seen: the catalog answered with an old version.
    Stale,
}

/// One append to one table.
pub(crate) struct Append<'a> {
    pub(crate) table: Table,
    /// The table that was seen at the start must still be the one.
    pub(crate) uuid: Uuid,
    pub(crate) files: &'a [DataFile],
    pub(crate) judge: &'a dyn Fn(&TablePosition) -> Result<Verdict>,
}

/// A table as it was read back, and where it stands.
pub(crate) struct Standing {
    pub(crate) table: iceberg::table::Table,
    pub(crate) position: TablePosition,
}

impl Committer<'_> {
    /// Appends once, whatever the catalog answers.
    pub(crate) fn append(&self, append: &Append<'_>) -> Result<Standing> {
        let mut attempts = Attempts::new(self.config);
        let mut is_acknowledged = false;
        let name = append.table.as_str();
        loop {
            let standing = match self.load(append.table, append.uuid) {
                Err(error) if error.retryable() => {
                    attempts.wait_after(error)?;
                    continue;
                }
                loaded => loaded?,
            };
            let next = match (append.judge)(&standing.position)? {
                Verdict::Done => {
                    attempts.succeeded();
                    return Ok(standing);
                }
                Verdict::Stale => {
                    attempts.wait_after(stale(name))?;
                    continue;
                }
                Verdict::Append(next) => next,
            };
            if std::mem::take(&mut is_acknowledged) {
                attempts.wait_after(not_there(name))?;
                continue;
            }
            match self.append_to(&standing.table, append.files, &next) {
                Ok(()) => is_acknowledged = true,
                Err(error) if error.kind() == iceberg::ErrorKind::CatalogCommitConflicts => {
                    attempts.wait_after_conflict(Error::of(conflicted(name), error))?;
                }
                Err(error) => attempts.wait_after(Error::of(unknown(name), error))?,
            }
        }
    }

    /// Creates the namespace and the tables that are not there yet.
    pub(crate) fn create_missing(&self) -> Result<()> {
        let namespace = namespace();
        let exists = self.runtime.block_on(self.catalog.namespace_exists(&namespace));
        if !exists.map_err(|error| Error::of("look for the namespace", error))? {
            let create = self.catalog.create_namespace(&namespace, HashMap::new());
            if let Err(error) = self.runtime.block_on(create)
                && error.kind() != iceberg::ErrorKind::NamespaceAlreadyExists
            {
                return Err(Error::of("create the namespace", error));
            }
        }
        for table in Table::ALL {
            let attempted = || format!("create table {}", table.as_str());
            let exists = self.runtime.block_on(self.catalog.table_exists(&table.ident()));
            if exists.map_err(|error| Error::of(attempted(), error))? {
                continue;
            }
            let create = self.catalog.create_table(&namespace, table.creation()?);
            if let Err(error) = self.runtime.block_on(create)
                && error.kind() != iceberg::ErrorKind::TableAlreadyExists
            {
                return Err(Error::of(attempted(), error));
            }
        }
        Ok(())
    }

    /// Loads `table` when nothing is known of it yet.
    pub(crate) fn load_first(&self, table: Table, access: Access) -> Result<Standing> {
        let name = table.as_str();
        let loaded = self.load_table(&table.ident())?;
        let position = match access {
            Access::ReadOnly => recover_leniently(loaded.metadata())?,
            Access::ReadWrite => self.recover(loaded.metadata(), name)?,
        };
        Ok(Standing { table: loaded, position })
    }

    /// As [`Committer::load`], but tries again.
    pub(crate) fn load_patiently(&self, table: Table, uuid: Uuid) -> Result<Standing> {
        Attempts::new(self.config).run(|| self.load(table, uuid))
    }

    /// Loads `table` and finds where it stands.
    pub(crate) fn load(&self, table: Table, uuid: Uuid) -> Result<Standing> {
        let name = table.as_str();
        let loaded = self.load_table(&table.ident())?;
        let metadata = loaded.metadata();
        if metadata.uuid() != uuid {
            return Err(Error::new(
                ErrorKind::TableReplaced,
                format!(
                    "load table {name}: it has uuid {}, it had {uuid} when the job started; \
                     somebody dropped and created it, so stop and start the job",
                    metadata.uuid()
                ),
            ));
        }
        let position = self.recover(metadata, name)?;
        Ok(Standing { table: loaded, position })
    }

    fn recover(&self, metadata: &TableMetadata, name: &str) -> Result<TablePosition> {
        recover(metadata, name, &self.config.sink_id, self.config.accept_rollback)
    }

    pub(crate) fn load_table(&self, ident: &TableIdent) -> Result<iceberg::table::Table> {
        self.runtime
            .block_on(self.catalog.load_table(ident))
            .map_err(|error| Error::of(format!("load table {ident}"), error))
    }

    fn append_to(
        &self,
        base: &iceberg::table::Table,
        files: &[DataFile],
        next: &TablePosition,
    ) -> iceberg::Result<()> {
        let keys = next.to_properties(&self.config.sink_id);
        let transaction = Transaction::new(base);
        let append = transaction
            .fast_append()
            .with_check_duplicate(false)
            .set_snapshot_properties(keys.clone())
            .add_data_files(files.iter().cloned());
        let transaction = append.apply(transaction)?;
        // The copy that outlives the expiry of our snapshots, in the same metadata commit.
        let properties =
            keys.into_iter().fold(transaction.update_table_properties(), |action, (key, value)| {
                action.set(key, value)
            });
        let transaction = properties.apply(transaction)?;
        let pinned = PinnedCatalog::new(base.clone(), Arc::clone(self.catalog));
        self.runtime.block_on(transaction.commit(&pinned)).map(drop)
    }
}

/// Judges what a batch finds in a table where it `expected` to find its own last commit.
pub(crate) fn judge_batch(
    name: &str,
    expected: &TablePosition,
    next: &TablePosition,
    found: &TablePosition,
) -> Result<Verdict> {
    if found.is_same_commit(next) {
        return Ok(Verdict::Done);
    }
    if found.is_same_commit(expected) {
        return Ok(Verdict::Append(next.clone()));
    }
    if found.incarnation > next.incarnation {
        return Err(fenced(name, found, next));
    }
    if (found.upper, found.incarnation) < (expected.upper, expected.incarnation) {
        return Ok(Verdict::Stale);
    }
    Err(Error::new(
        ErrorKind::Diverged,
        format!(
            "commit epochs {}..{} to table {name}: the last commit there is {} up to epoch {}, \
             expected {} up to {}; somebody else writes as this job, so find and stop that \
             process, then start this job again",
            next.lower,
            next.upper,
            found.commit_id,
            found.upper,
            expected.commit_id,
            expected.upper,
        ),
    ))
}

/// Judges what a claim finds: anything older may be taken over.
pub(crate) fn judge_claim(
    name: &str,
    incarnation: Incarnation,
    claim_id: Uuid,
    found: &TablePosition,
) -> Result<Verdict> {
    let claim = TablePosition {
        incarnation,
        commit_id: claim_id,
        lower: found.upper,
        upper: found.upper,
        offsets: found.offsets.clone(),
        state: found.state.clone(),
    };
    if found.is_same_commit(&claim) {
        return Ok(Verdict::Done);
    }
    if found.incarnation >= incarnation {
        return Err(fenced(name, found, &claim));
    }
    Ok(Verdict::Append(claim))
}

fn fenced(name: &str, found: &TablePosition, own: &TablePosition) -> Error {
    Error::new(
        ErrorKind::Fenced,
        format!(
            "commit to table {name} as incarnation {}: incarnation {} of this job has claimed it; \
             this process stops, the other one goes on",
            own.incarnation.0, found.incarnation.0
        ),
    )
}

fn stale(name: &str) -> Error {
    Error::new(
        ErrorKind::Unavailable,
        format!(
            "load table {name}: the catalog shows a version older than one it has shown before; \
             if somebody rolled the table back, stop the job and start it again"
        ),
    )
}

fn not_there(name: &str) -> Error {
    Error::new(
        ErrorKind::Unavailable,
        format!(
            "commit to table {name}: the catalog reported success, but the commit is not there"
        ),
    )
}

fn conflicted(name: &str) -> String {
    format!("commit to table {name}: the table changed meanwhile")
}

fn unknown(name: &str) -> String {
    format!("commit to table {name}: it is unknown whether the commit is in")
}
