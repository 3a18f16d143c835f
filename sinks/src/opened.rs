//! The tables as they were loaded, and what of them is kept: for readers and for the next commit.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use k2_model::{Offsets, Time};
use tokio::runtime::Runtime;
use uuid::Uuid;

use crate::catalog::Access;
use crate::commit::{Committer, Standing};
use crate::error::Result;
use crate::pin::{ColdPin, TablePin};
use crate::position::{Incarnation, JobPosition};
use crate::recovery::TablePosition;
use crate::state;
use crate::table::Table;
use crate::threads::Threads;
use crate::write::Layout;

/// All tables at about the same moment: the anchor first, so the others may be ahead of it.
pub(crate) struct Opened {
    pub(crate) standings: BTreeMap<Table, Standing>,
}

impl Opened {
    pub(crate) fn load(committer: &Committer<'_>, access: Access) -> Result<Self> {
        if access == Access::ReadWrite {
            committer.create_missing()?;
        }
        debug_assert_eq!(Table::ALL[0], Table::ANCHOR, "the anchor is loaded first");
        let load = |table| Ok((table, committer.load_first(table, access)?));
        let standings = Table::ALL.into_iter().map(load).collect::<Result<_>>()?;
        Ok(Self { standings })
    }

    pub(crate) fn positions(&self) -> BTreeMap<Table, TablePosition> {
        let position = |(table, standing): (&Table, &Standing)| (*table, standing.position.clone());
        self.standings.iter().map(position).collect()
    }

    pub(crate) fn tables(self) -> BTreeMap<Table, iceberg::table::Table> {
        self.standings.into_iter().map(|(table, standing)| (table, standing.table)).collect()
    }

    pub(crate) fn uuids(&self) -> BTreeMap<Table, Uuid> {
        let uuid =
            |(table, standing): (&Table, &Standing)| (*table, standing.table.metadata().uuid());
        self.standings.iter().map(uuid).collect()
    }

    pub(crate) fn layouts(&self) -> Result<BTreeMap<Table, Layout>> {
        let layout = |(table, standing): (&Table, &Standing)| {
            Ok((*table, Layout::of(*table, &standing.table)?))
        };
        self.standings.iter().map(layout).collect()
    }

    pub(crate) fn read_state(&self, runtime: &Runtime) -> Result<Option<Vec<u8>>> {
        let anchor = &self.standings[&Table::ANCHOR];
        let read = |path| state::read(&anchor.table, path, runtime);
        anchor.position.state.as_deref().map(read).transpose()
    }

    /// Builds pins from the manifests.
    pub(crate) fn version(
        &self,
        threads: &Arc<Threads>,
        state: Option<Vec<u8>>,
    ) -> Result<Version> {
        let mut tables = BTreeMap::new();
        for (table, standing) in &self.standings {
            let pin = TablePin::load(standing.table.clone(), table.as_str());
            tables.insert(*table, threads.block_on(pin)?);
        }
        Ok(Version::of(tables, &self.positions(), state, threads))
    }
}

/// What readers see. Replaced as a whole.
pub(crate) struct Version {
    pub(crate) pin: Arc<ColdPin>,
    pub(crate) offsets: BTreeMap<Table, Offsets>,
    pub(crate) next_epoch: Time,
}

impl Version {
    pub(crate) fn of(
        mut tables: BTreeMap<Table, TablePin>,
        positions: &BTreeMap<Table, TablePosition>,
        state: Option<Vec<u8>>,
        threads: &Arc<Threads>,
    ) -> Self {
        let anchor = &positions[&Table::ANCHOR];
        for (table, pin) in &mut tables {
            pin.is_ahead = positions[table].is_beyond(anchor);
        }
        let position = Arc::new(JobPosition {
            incarnation: anchor.incarnation,
            commit_id: anchor.commit_id,
            upper: anchor.upper,
            offsets: anchor.offsets.clone(),
            state,
        });
        let furthest = |(table, own): (&Table, &TablePosition)| {
            (*table, own.offsets.clone().furthest(&anchor.offsets))
        };
        Self {
            offsets: positions.iter().map(furthest).collect(),
            next_epoch: positions.values().map(|position| position.upper).max().unwrap_or(0),
            pin: Arc::new(ColdPin {
                frontier: anchor.upper,
                position,
                tables,
                threads: Arc::clone(threads),
            }),
        }
    }
}

/// Where this process left each table.
pub(crate) struct Standings {
    pub(crate) positions: BTreeMap<Table, TablePosition>,
    /// `None` until this process has claimed the tables.
    pub(crate) incarnation: Option<Incarnation>,
    /// The batch that was begun and is not known to be in all its tables.
    pub(crate) pending: Option<Pending>,
    /// State files of this process, oldest first. At most [`state::KEPT`].
    pub(crate) states: VecDeque<String>,
}

/// A batch's identity over all attempts to commit it.
pub(crate) struct Pending {
    pub(crate) range: (Time, Time),
    pub(crate) commit_id: Uuid,
    pub(crate) state_path: String,
}

impl Standings {
    pub(crate) fn of(opened: &Opened, incarnation: Option<Incarnation>) -> Self {
        let positions = opened.positions();
        let states = positions[&Table::ANCHOR].state.iter().cloned().collect();
        Self { positions, incarnation, pending: None, states }
    }
}
