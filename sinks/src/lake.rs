//! The lake: all tables of one data directory, behind calls that block.
//!
//! * **Open** takes the lock of the directory, creates what is missing, and finds where each table
//!   stands. **Claim** makes this process the only one that may commit: an empty snapshot with a
//!   new incarnation on *every* table, the anchor first, each on exactly the version inspected.
//! * **Write** makes files, from any thread. **Commit** puts all files of a batch into the tables:
//!   first the tables that have rows in it, then the anchor, whose summary moves the job on.
//! * `LAKE-1`: a batch that the anchor has is in every table; the other tables may be ahead.
//! * `LAKE-2`: a pin is published after its commits were read back, never before.
//! * `LAKE-3`: no table's offsets go back, in any partition, whatever the batches are cut like.
//!
//! Every call blocks on an own runtime, so none may be made from asynchronous code.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::File;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use iceberg::Catalog;
use iceberg::spec::DataFile;
use k2_model::{GapChange, Offsets, Quote, Reject, Time, Trade};
use k2_operators::MarketBatch;
use uuid::Uuid;

use crate::catalog::{self, Access};
use crate::commit::{Append, Committer, judge_batch, judge_claim};
use crate::config::{Attempts, LakeConfig};
use crate::directory::Directory;
use crate::error::{Error, ErrorKind, Result};
use crate::failpoint::failpoint;
use crate::history::History;
use crate::opened::{Opened, Pending, Standings, Version};
use crate::pin::{ColdPin, TablePin};
use crate::position::{Incarnation, JobPosition};
use crate::recovery::TablePosition;
use crate::rows::{BatchId, Sealed};
use crate::snapshots::{Snapshot, snapshots_of};
use crate::state;
use crate::storage::{DurableFs, DurableFsFactory, sweep_temporaries};
use crate::table::Table;
use crate::tags::Tags;
use crate::threads::Threads;
use crate::write::{Layout, Writer, Writers};

/// The tables of one data directory.
pub struct Lake {
    config: LakeConfig,
    directory: Directory,
    catalog: Arc<dyn Catalog>,
    layouts: BTreeMap<Table, Layout>,
    uuids: BTreeMap<Table, Uuid>,
    access: Access,
    threads: Arc<Threads>,
    writers: Writers,
    published: RwLock<Version>,
    /// Set by the claim; apart from the standings, because writers must not wait for a commit.
    incarnation: AtomicU64,
    /// Held by a claim or a commit while it runs.
    standings: Mutex<Standings>,
    lock: Mutex<Option<File>>,
}

impl fmt::Debug for Lake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lake").field("directory", &self.directory).finish_non_exhaustive()
    }
}

impl Lake {
    /// Opens the lake for a job, and creates what is missing.
    pub fn open(config: LakeConfig) -> Result<Self> {
        config.check()?;
        let storage = DurableFs::new(config.faults.clone());
        let directory = Directory::create(&config.dir, &storage)?;
        let lock = directory.lock(config.take_over)?;
        Self::assemble(config, directory, storage, lock, Access::ReadWrite)
    }

    /// Opens the lake for queries. Creates and locks nothing; it is an error if there is none.
    pub fn open_read_only(config: LakeConfig) -> Result<Self> {
        let storage = DurableFs::new(config.faults.clone());
        let directory = Directory::existing(&config.dir)?;
        Self::assemble(config, directory, storage, None, Access::ReadOnly)
    }

    fn assemble(
        config: LakeConfig,
        directory: Directory,
        storage: DurableFs,
        lock: Option<File>,
        access: Access,
    ) -> Result<Self> {
        let threads = Arc::new(Threads::start()?);
        let mut catalog = threads.block_on(catalog::open(
            &directory.database(),
            &directory.warehouse_uri(),
            DurableFsFactory::new(storage),
            iceberg::Runtime::new(&threads),
            access,
        ))?;
        if let Some(wrap) = &config.wrap_catalog {
            catalog = wrap(catalog);
        }
        let committer = Committer { config: &config, catalog: &catalog, runtime: &threads };
        let opened = Opened::load(&committer, access)?;
        let state = opened.read_state(&threads)?;
        Ok(Self {
            layouts: opened.layouts()?,
            uuids: opened.uuids(),
            standings: Mutex::new(Standings::of(&opened, None)),
            published: RwLock::new(opened.version(&threads, state)?),
            incarnation: AtomicU64::new(0),
            config,
            directory,
            catalog,
            access,
            threads,
            writers: Writers::default(),
            lock: Mutex::new(lock),
        })
    }

    /// Where the job stands.
    pub fn position(&self) -> Arc<JobPosition> {
        Arc::clone(&self.pin().position)
    }

    /// What of each origin is in `table`: its own offsets or the anchor's, whichever is further.
    pub fn table_offsets(&self, table: Table) -> Offsets {
        self.read(|version| version.offsets[&table].clone())
    }

    /// What of each origin is in any table.
    pub fn furthest_offsets(&self) -> Offsets {
        let furthest = |all: Offsets, own: &Offsets| all.furthest(own);
        self.read(|version| version.offsets.values().fold(Offsets::default(), furthest))
    }

    /// The lowest epoch that no table has a row of.
    pub fn next_epoch(&self) -> Time {
        self.read(|version| version.next_epoch)
    }

    /// The latest published pin.
    pub fn pin(&self) -> Arc<ColdPin> {
        self.read(|version| Arc::clone(&version.pin))
    }

    /// All snapshots of all tables, as of the latest pin: by table, oldest first.
    pub fn snapshots(&self) -> Vec<Snapshot> {
        snapshots_of(&self.pin())
    }

    /// The snapshots that there are now, as the catalog says; [`Lake::pin`] stays where it is.
    pub fn history(&self) -> Result<History> {
        let opened = Opened::load(&self.committer(), Access::ReadOnly)?;
        Ok(History::new(opened.tables(), &self.threads))
    }

    /// What sets and removes tags, which needs no claim.
    pub fn tags(&self) -> Result<Tags<'_>> {
        let (committer, database) = (self.committer(), self.directory.database());
        Ok(Tags { committer, database, history: self.history()? })
    }

    /// Makes this process the one that may commit. Positions and offsets read before are void.
    ///
    /// Of several processes that claim at once one wins, and the others get
    /// [`ErrorKind::Fenced`].
    pub fn claim(&self) -> Result<Incarnation> {
        self.check_writable()?;
        let mut standings = self.lock_standings();
        failpoint("claim.before");
        let committer = self.committer();
        let mut highest = Incarnation::default();
        for table in Table::ALL {
            let standing = committer.load_patiently(table, self.uuids[&table])?;
            highest = highest.max(standing.position.incarnation);
        }
        let incarnation = Incarnation(highest.0 + 1);
        let claim_id = Uuid::now_v7();
        let mut claimed = BTreeMap::new();
        // The anchor first: whoever loses the race there has not touched any other table.
        for table in [Table::ANCHOR].into_iter().chain(others()) {
            let standing = committer.append(&Append {
                table,
                uuid: self.uuids[&table],
                files: &[],
                judge: &|found| judge_claim(table.as_str(), incarnation, claim_id, found),
            })?;
            claimed.insert(table, standing);
            failpoint("claim.between-tables");
        }
        let opened = Opened { standings: claimed };
        self.sweep(&opened, incarnation);
        let state = opened.read_state(&self.threads)?;
        self.publish(opened.version(&self.threads, state)?);
        *standings = Standings::of(&opened, Some(incarnation));
        self.incarnation.store(incarnation.0, Ordering::Release);
        failpoint("claim.after");
        Ok(incarnation)
    }

    /// Lets the next job in, though something still holds this lake. Nothing can be committed
    /// through it any more.
    pub fn release(&self) {
        self.lock_standings().incarnation = None;
        drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// Does both on the threads that write files, together if one of them is free.
    pub fn write_both<A: Send, B: Send>(
        &self,
        first: impl FnOnce() -> A + Send,
        second: impl FnOnce() -> B + Send,
    ) -> Result<(A, B)> {
        Ok(self.writers.threads()?.pool.join(first, second))
    }

    /// Writes files of trades. They are in the table once a [`Sealed`] with them is committed.
    pub fn write_trades(
        &self,
        batch: &BatchId,
        rows: &[MarketBatch<Trade>],
    ) -> Result<Vec<DataFile>> {
        self.writer(Table::Trades, batch)?.write_market(self.writers.threads()?, rows)
    }

    /// Writes files of quotes. They are in the table once a [`Sealed`] with them is committed.
    pub fn write_quotes(
        &self,
        batch: &BatchId,
        rows: &[MarketBatch<Quote>],
    ) -> Result<Vec<DataFile>> {
        self.writer(Table::Quotes, batch)?.write_market(self.writers.threads()?, rows)
    }

    /// Writes files of rejects. They are in the table once a [`Sealed`] with them is committed.
    pub fn write_rejects(&self, batch: &BatchId, rows: Vec<&Reject>) -> Result<Vec<DataFile>> {
        self.writer(Table::Rejects, batch)?.write_rejects(rows)
    }

    /// Writes files of gap changes. They are in the table once a [`Sealed`] with them is committed.
    pub fn write_gaps(&self, batch: &BatchId, rows: Vec<&GapChange>) -> Result<Vec<DataFile>> {
        self.writer(Table::Gaps, batch)?.write_gaps(rows)
    }

    /// Commits a batch and publishes the pin of it. One caller at a time.
    ///
    /// After a retryable error the same batch may be committed again: what is in already is
    /// recognised. After any other error the lake must be opened anew.
    pub fn commit(&self, batch: Sealed) -> Result<Arc<ColdPin>> {
        let mut standings = self.lock_standings();
        let incarnation = standings.incarnation.ok_or_else(not_claimed)?;
        self.check_batch(&standings, &batch)?;
        let pending = match standings.pending.take() {
            Some(pending) => pending,
            None => self.begin(incarnation, &batch)?,
        };
        let mut next = TablePosition {
            incarnation,
            commit_id: pending.commit_id,
            lower: batch.lower,
            upper: batch.upper,
            offsets: batch.offsets.clone(),
            state: None,
        };
        let state_path = pending.state_path.clone();
        standings.pending = Some(pending);
        let mut loaded = BTreeMap::new();
        let has_files = |table: &Table| batch.files.get(table).is_some_and(|it| !it.is_empty());
        for table in others().filter(has_files) {
            failpoint("commit.before-table");
            loaded.insert(table, self.commit_table(&mut standings, table, &next, &batch)?);
            failpoint("commit.after-table");
        }
        failpoint("commit.before-anchor");
        next.state = Some(state_path.clone());
        let anchor = self.commit_table(&mut standings, Table::ANCHOR, &next, &batch)?;
        loaded.insert(Table::ANCHOR, anchor);
        failpoint("commit.before-publish");
        let version = self.version_after(loaded, &standings, batch)?;
        let pin = Arc::clone(&version.pin);
        self.publish(version);
        standings.pending = None;
        failpoint("commit.after-publish");
        self.retire_states(&mut standings, state_path);
        Ok(pin)
    }

    /// Loads what other processes committed, and publishes the pin of it.
    pub fn refresh(&self) -> Result<Arc<ColdPin>> {
        let mut standings = self.lock_standings();
        let opened = Opened::load(&self.committer(), self.access)?;
        let state = self.position().state.clone();
        self.publish(opened.version(&self.threads, state)?);
        if standings.incarnation.is_none() {
            *standings = Standings::of(&opened, None);
        }
        Ok(self.pin())
    }

    /// Writes the state of a batch, and gives the batch its identity.
    fn begin(&self, incarnation: Incarnation, batch: &Sealed) -> Result<Pending> {
        failpoint("commit.before-state");
        let commit_id = Uuid::now_v7();
        let state_path = state::path(incarnation, batch.upper, commit_id);
        let anchor = &self.pin().tables[&Table::ANCHOR].table;
        let location = format!("{}/{state_path}", anchor.metadata().location());
        let write = || state::write(anchor, &location, &batch.state, &self.threads);
        Attempts::new(&self.config).run(write)?;
        failpoint("commit.after-state");
        Ok(Pending { range: (batch.lower, batch.upper), commit_id, state_path })
    }

    fn commit_table(
        &self,
        standings: &mut Standings,
        table: Table,
        next: &TablePosition,
        batch: &Sealed,
    ) -> Result<iceberg::table::Table> {
        let expected = &standings.positions[&table];
        // `LAKE-3`: a crash may have left the table ahead in partitions that this batch has not
        // come as far in.
        let offsets = expected.offsets.clone().furthest(&next.offsets);
        let next = TablePosition { offsets, ..next.clone() };
        let standing = self.committer().append(&Append {
            table,
            uuid: self.uuids[&table],
            files: batch.files.get(&table).map_or(&[], Vec::as_slice),
            judge: &|found| judge_batch(table.as_str(), expected, &next, found),
        })?;
        standings.positions.insert(table, standing.position);
        Ok(standing.table)
    }

    /// What is to be published after a batch: the old version with the batch's files on top.
    fn version_after(
        &self,
        loaded: BTreeMap<Table, iceberg::table::Table>,
        standings: &Standings,
        batch: Sealed,
    ) -> Result<Version> {
        let mut tables = self.pin().tables.clone();
        for (table, loaded) in loaded {
            let added = batch.files.get(&table).map_or(&[][..], Vec::as_slice);
            let pin = match tables[&table].with_added(loaded.clone(), added) {
                Some(pin) => pin,
                None => self.threads.block_on(TablePin::load(loaded, table.as_str()))?,
            };
            tables.insert(table, pin);
        }
        Ok(Version::of(tables, &standings.positions, Some(batch.state), &self.threads))
    }

    /// The batch must go on where the last one ended, and no file may be in twice.
    fn check_batch(&self, standings: &Standings, batch: &Sealed) -> Result<()> {
        let invalid = |reason: String| {
            let (lower, upper) = (batch.lower, batch.upper);
            Error::new(ErrorKind::Invalid, format!("commit epochs {lower}..{upper}: {reason}"))
        };
        if let Some(pending) = &standings.pending {
            // Some tables may have it already, so the same rows under other epochs would double.
            let (lower, upper) = pending.range;
            return if pending.range == (batch.lower, batch.upper) {
                Ok(())
            } else {
                Err(invalid(format!("first commit {lower}..{upper} again, which may be in")))
            };
        }
        let anchor_upper = standings.positions[&Table::ANCHOR].upper;
        let next_epoch = self.next_epoch();
        let goes_on = batch.lower == anchor_upper || batch.lower == next_epoch;
        if !goes_on || batch.lower >= batch.upper || batch.upper <= next_epoch {
            return Err(invalid(format!("a batch must begin at {next_epoch} and end after it")));
        }
        let pin = self.pin();
        for (table, files) in &batch.files {
            let mut paths: BTreeSet<&str> = BTreeSet::new();
            let repeated = files.iter().map(DataFile::file_path).find(|path| !paths.insert(path));
            let known = pin.tables[table].files.iter().map(|file| file.path.as_str());
            if let Some(path) = repeated.or_else(|| known.into_iter().find(|p| paths.contains(p))) {
                return Err(invalid(format!("{path} is in twice")));
            }
        }
        Ok(())
    }

    /// Removes what crashed processes left behind. Failing to is no reason to stop.
    fn sweep(&self, opened: &Opened, incarnation: Incarnation) {
        let warehouse = self.directory.warehouse();
        let anchor = &opened.standings[&Table::ANCHOR].table;
        let swept = sweep_temporaries(&warehouse)
            .and_then(|files| Ok(files + state::sweep(anchor, incarnation)?));
        match swept {
            Ok(files) => tracing::debug!(files, "swept up what crashed writers left"),
            Err(error) => tracing::warn!(%error, "could not sweep up what crashed writers left"),
        }
    }

    /// Deletes state files of this process that are too old to go back to.
    fn retire_states(&self, standings: &mut Standings, newest: String) {
        standings.states.push_back(newest);
        while standings.states.len() > state::KEPT {
            let Some(oldest) = standings.states.pop_front() else { break };
            let anchor = &self.pin().tables[&Table::ANCHOR].table;
            let location = format!("{}/{oldest}", anchor.metadata().location());
            if let Err(error) = self.threads.block_on(anchor.file_io().delete(&location)) {
                tracing::warn!(%error, "could not delete an old state file");
            }
        }
    }

    fn writer(&self, table: Table, batch: &BatchId) -> Result<Writer<'_>> {
        let incarnation = match self.incarnation.load(Ordering::Acquire) {
            0 => return Err(not_claimed()),
            incarnation => Incarnation(incarnation),
        };
        Ok(Writer {
            layout: &self.layouts[&table],
            config: &self.config,
            runtime: &self.threads,
            incarnation,
            batch: *batch,
        })
    }

    fn committer(&self) -> Committer<'_> {
        Committer { config: &self.config, catalog: &self.catalog, runtime: &self.threads }
    }

    fn check_writable(&self) -> Result<()> {
        match self.access {
            Access::ReadWrite => Ok(()),
            Access::ReadOnly => Err(Error::new(
                ErrorKind::Invalid,
                "claim the tables: the lake was opened for reading; open it for a job",
            )),
        }
    }

    fn lock_standings(&self) -> MutexGuard<'_, Standings> {
        self.standings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read<T>(&self, read: impl FnOnce(&Version) -> T) -> T {
        read(&self.published.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn publish(&self, version: Version) {
        *self.published.write().unwrap_or_else(PoisonError::into_inner) = version;
    }
}

fn others() -> impl Iterator<Item = Table> {
    Table::ALL.into_iter().filter(|table| *table != Table::ANCHOR)
}

fn not_claimed() -> Error {
    Error::new(ErrorKind::Invalid, "write to the tables: they are not claimed; claim them first")
}
