//! Earlier moments: what all tables were at a snapshot of the anchor.
//!
//! A snapshot is of one table, and a batch is in the lake once the anchor has it. So a moment is a
//! snapshot of the **anchor**, and of each other table the newest snapshot whose upper epoch is not
//! above the anchor's (`HISTORY-1`). `LAKE-1` says that everything of the moment is in there; what a
//! crash left there beyond it is told by [`TablePin::is_ahead`], and readers filter by the offsets.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use iceberg::spec::{SnapshotRef, TableMetadata};
use k2_model::Nanos;
use k2_model::time::NANOS_PER_MILLI;

use crate::error::{Error, ErrorKind, Result};
use crate::pin::{ColdPin, TablePin};
use crate::position::JobPosition;
use crate::recovery::{TablePosition, position_at, upper_of};
use crate::table::Table;
use crate::threads::Threads;

/// A way to name an earlier moment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum At {
    /// The id of a snapshot of any table.
    Snapshot(i64),
    /// What had been committed by then, by the clock of who committed.
    Timestamp(Nanos),
    /// A tag of the anchor.
    Tag(String),
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Snapshot(id) => write!(f, "snapshot {id}"),
            Self::Timestamp(time) => write!(f, "timestamp {time}"),
            Self::Tag(name) => write!(f, "tag {name}"),
        }
    }
}

/// One moment: equal ones have equal rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment {
    /// The anchor's snapshot.
    pub snapshot_id: i64,
    /// A snapshot of another table that it was asked by, and that is then shown of that table.
    pub asked: Option<(Table, i64)>,
}

/// A snapshot that there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub snapshot_id: i64,
    pub committed_at: Nanos,
}

/// Why there is no such moment, and what there is instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoMoment {
    /// It was there, and is no more; `nearest` is the oldest that is.
    Expired {
        nearest: Option<Place>,
    },
    /// No table has a snapshot of that id; `nearest` is the newest that there is.
    UnknownSnapshot {
        nearest: Option<Place>,
    },
    /// Nothing was committed yet at that time; `nearest` is the first commit.
    TooEarly {
        nearest: Option<Place>,
    },
    UnknownTag {
        tags: Vec<String>,
    },
}

impl NoMoment {
    /// Why there is none, as in `…: {reason}`.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Expired { .. } => "what was there then has been expired",
            Self::UnknownSnapshot { nearest: None } => "nothing has been committed yet",
            Self::UnknownSnapshot { .. } => "no table has or had such a snapshot",
            Self::TooEarly { .. } => "nothing had been committed by then",
            Self::UnknownTag { .. } => "there is no such tag",
        }
    }

    /// What there is.
    pub fn instead(&self) -> String {
        let (what, nearest) = match self {
            Self::Expired { nearest } => ("oldest", nearest),
            Self::UnknownSnapshot { nearest } => ("newest", nearest),
            Self::TooEarly { nearest } => ("first", nearest),
            Self::UnknownTag { tags } if tags.is_empty() => return "there are no tags".to_owned(),
            Self::UnknownTag { tags } => return format!("tags are {}", tags.join(", ")),
        };
        match nearest {
            Some(Place { snapshot_id, committed_at }) => {
                format!("the {what} snapshot is {snapshot_id}, committed at {committed_at}")
            }
            None => "there is no snapshot".to_owned(),
        }
    }
}

/// The snapshots that there are, and what each of them holds.
#[derive(Clone, Debug)]
pub struct History {
    tables: BTreeMap<Table, iceberg::table::Table>,
    threads: Arc<Threads>,
}

impl ColdPin {
    /// The snapshots that this pin knows.
    pub fn history(&self) -> History {
        let tables = self.tables.iter().map(|(table, pin)| (*table, pin.table.clone()));
        History { tables: tables.collect(), threads: Arc::clone(&self.threads) }
    }
}

impl History {
    pub(crate) fn new(
        tables: BTreeMap<Table, iceberg::table::Table>,
        threads: &Arc<Threads>,
    ) -> Self {
        Self { tables, threads: Arc::clone(threads) }
    }

    /// As [`History::find`], but a snapshot that some engine has expired without a trace in the
    /// metadata is found in earlier ones. Reads files, and blocks.
    pub fn find_and_look_back(&self, at: &At) -> Result<Result<Moment, NoMoment>> {
        let found = self.find(at)?;
        if let (Err(NoMoment::UnknownSnapshot { .. }), At::Snapshot(id)) = (&found, at)
            && self.tables.values().any(|table| self.had_before(table, *id))
        {
            return Ok(Err(NoMoment::Expired { nearest: self.oldest() }));
        }
        Ok(found)
    }

    /// The moment that `at` names.
    pub fn find(&self, at: &At) -> Result<Result<Moment, NoMoment>> {
        match at {
            At::Snapshot(id) => self.of_snapshot(*id),
            At::Timestamp(time) => Ok(self.of_time(*time)),
            At::Tag(name) => self.of_tag(name),
        }
    }

    /// All tables at `moment`. Reads manifests, and blocks.
    pub fn pin(&self, moment: Moment) -> Result<ColdPin> {
        let anchor = self.metadata(Table::ANCHOR);
        let position = position_at(anchor, moment.snapshot_id)?;
        let mut tables = BTreeMap::new();
        for (table, loaded) in &self.tables {
            let snapshot = self.snapshot_at(*table, moment, &position)?;
            let is_ahead = match (*table, &snapshot) {
                (Table::ANCHOR, _) | (_, None) => false,
                (_, Some(snapshot)) => {
                    let own = position_at(loaded.metadata(), snapshot.snapshot_id())?;
                    own.is_beyond(&position)
                }
            };
            let pin = TablePin::load_at(loaded.clone(), table.as_str(), snapshot);
            let pin = self.threads.block_on(pin)?;
            tables.insert(*table, TablePin { is_ahead, ..pin });
        }
        Ok(ColdPin {
            frontier: position.upper,
            position: Arc::new(JobPosition {
                incarnation: position.incarnation,
                commit_id: position.commit_id,
                upper: position.upper,
                offsets: position.offsets,
                state: None,
            }),
            tables,
            threads: Arc::clone(&self.threads),
        })
    }

    /// The moment of the anchor's last commit.
    pub(crate) fn latest(&self) -> Result<Moment, NoMoment> {
        let newest = self.metadata(Table::ANCHOR).current_snapshot();
        let moment = |it: &SnapshotRef| Moment { snapshot_id: it.snapshot_id(), asked: None };
        newest.map(moment).ok_or(NoMoment::UnknownSnapshot { nearest: None })
    }

    /// Of each table that has one its snapshot at `moment`.
    pub(crate) fn snapshots(&self, moment: Moment) -> Result<BTreeMap<Table, i64>> {
        let anchor = position_at(self.metadata(Table::ANCHOR), moment.snapshot_id)?;
        let mut snapshots = BTreeMap::new();
        for table in self.tables.keys() {
            if let Some(snapshot) = self.snapshot_at(*table, moment, &anchor)? {
                snapshots.insert(*table, snapshot.snapshot_id());
            }
        }
        Ok(snapshots)
    }

    /// One of the anchor's snapshots.
    pub(crate) fn place(&self, snapshot_id: i64) -> Option<Place> {
        self.metadata(Table::ANCHOR).snapshot_by_id(snapshot_id).map(place_of)
    }

    /// The names of the anchor's tags.
    pub fn tags(&self) -> Result<BTreeMap<String, i64>> {
        tags_of(self.metadata(Table::ANCHOR))
    }

    fn metadata(&self, table: Table) -> &TableMetadata {
        self.tables[&table].metadata()
    }

    fn of_snapshot(&self, id: i64) -> Result<Result<Moment, NoMoment>> {
        for (table, loaded) in &self.tables {
            let metadata = loaded.metadata();
            if metadata.snapshot_by_id(id).is_none() {
                continue;
            }
            if *table == Table::ANCHOR {
                return Ok(Ok(Moment { snapshot_id: id, asked: None }));
            }
            let position = position_at(metadata, id)?;
            let anchor = newest_up_to(self.metadata(Table::ANCHOR), &position)?;
            let moment = anchor.map(|anchor| Moment {
                snapshot_id: anchor.snapshot_id(),
                asked: Some((*table, id)),
            });
            return Ok(moment.ok_or_else(|| NoMoment::Expired { nearest: self.oldest() }));
        }
        let is_expired = self.tables.values().any(|table| had(table.metadata(), id));
        Ok(Err(if is_expired {
            NoMoment::Expired { nearest: self.oldest() }
        } else {
            let newest = self.metadata(Table::ANCHOR).current_snapshot();
            NoMoment::UnknownSnapshot { nearest: newest.map(place_of) }
        }))
    }

    fn of_time(&self, time: Nanos) -> Result<Moment, NoMoment> {
        let ms = time.0.div_euclid(NANOS_PER_MILLI);
        let anchor = self.metadata(Table::ANCHOR);
        let found = ancestry(anchor).find(|snapshot| snapshot.timestamp_ms() <= ms);
        match found {
            Some(snapshot) => Ok(Moment { snapshot_id: snapshot.snapshot_id(), asked: None }),
            None if is_cut(anchor) => Err(NoMoment::Expired { nearest: self.oldest() }),
            None => Err(NoMoment::TooEarly { nearest: self.oldest() }),
        }
    }

    fn of_tag(&self, name: &str) -> Result<Result<Moment, NoMoment>> {
        let tags = self.tags()?;
        Ok(match tags.get(name) {
            Some(id) => Ok(Moment { snapshot_id: *id, asked: None }),
            None => Err(NoMoment::UnknownTag { tags: tags.into_keys().collect() }),
        })
    }

    /// Whether a snapshot was there in earlier metadata, of a table that has lost it and does not say
    /// so. Reads those that are still named, newest first, up to one that has lost nothing.
    fn had_before(&self, table: &iceberg::table::Table, id: i64) -> bool {
        if !is_cut(table.metadata()) {
            return false;
        }
        for entry in table.metadata().metadata_log().iter().rev() {
            let before = TableMetadata::read_from(table.file_io(), &entry.metadata_file);
            let Ok(before) = self.threads.block_on(before) else { break };
            if before.snapshot_by_id(id).is_some() || had(&before, id) {
                return true;
            }
            if !is_cut(&before) {
                break;
            }
        }
        false
    }

    /// The anchor's oldest snapshot.
    fn oldest(&self) -> Option<Place> {
        ancestry(self.metadata(Table::ANCHOR)).last().map(place_of)
    }

    /// `HISTORY-1`. `None` if the table had no snapshot yet.
    fn snapshot_at(
        &self,
        table: Table,
        moment: Moment,
        anchor: &TablePosition,
    ) -> Result<Option<SnapshotRef>> {
        let metadata = self.metadata(table);
        let wanted = match moment.asked {
            _ if table == Table::ANCHOR => Some(moment.snapshot_id),
            // After a crash it may be above the anchor's: then an older one is shown.
            Some((asked, id)) if asked == table => {
                (position_at(metadata, id)?.upper <= anchor.upper).then_some(id)
            }
            _ => None,
        };
        if let Some(id) = wanted {
            let found = metadata.snapshot_by_id(id).cloned();
            return found.map(Some).ok_or_else(|| lost(table, moment));
        }
        match newest_up_to(metadata, anchor)? {
            None if is_cut(metadata) => Err(lost(table, moment)),
            found => Ok(found.cloned()),
        }
    }
}

/// The snapshots of `main`, newest first.
fn ancestry(metadata: &TableMetadata) -> impl Iterator<Item = &SnapshotRef> {
    let parent = move |snapshot: &&SnapshotRef| {
        snapshot.parent_snapshot_id().and_then(|id| metadata.snapshot_by_id(id))
    };
    std::iter::successors(metadata.current_snapshot(), parent)
}

/// Whether older snapshots have gone. Some engines leave the oldest with a parent that is not there,
/// and some take its parent away; that it was not the first is told by its number.
fn is_cut(metadata: &TableMetadata) -> bool {
    const FIRST: i64 = 1;
    ancestry(metadata).last().is_some_and(|oldest| {
        oldest.parent_snapshot_id().is_some() || oldest.sequence_number() > FIRST
    })
}

/// Whether a snapshot that is not there has left a trace.
fn had(metadata: &TableMetadata, id: i64) -> bool {
    let parents = metadata.snapshots().filter_map(|snapshot| snapshot.parent_snapshot_id());
    let logged = metadata.history().iter().map(|entry| entry.snapshot_id);
    parents.chain(logged).any(|known| known == id)
}

/// The newest keyed snapshot of `main` that is not above `position`.
fn newest_up_to<'a>(
    metadata: &'a TableMetadata,
    position: &TablePosition,
) -> Result<Option<&'a SnapshotRef>> {
    for snapshot in ancestry(metadata) {
        if upper_of(snapshot)?.is_some_and(|upper| upper <= position.upper) {
            return Ok(Some(snapshot));
        }
    }
    Ok(None)
}

fn place_of(snapshot: &SnapshotRef) -> Place {
    Place {
        snapshot_id: snapshot.snapshot_id(),
        committed_at: Nanos(snapshot.timestamp_ms().saturating_mul(NANOS_PER_MILLI)),
    }
}

/// The library does not list the references of a table, but writes them with its metadata.
pub(crate) fn tags_of(metadata: &TableMetadata) -> Result<BTreeMap<String, i64>> {
    let unreadable = || Error::corrupt("read the tags of the tables");
    let json = serde_json::to_value(metadata).map_err(|error| unreadable().with_source(error))?;
    let refs = json["refs"].as_object().into_iter().flatten();
    let tags = refs.filter(|(_, reference)| reference["type"] == "tag");
    let known: BTreeSet<i64> = metadata.snapshots().map(|it| it.snapshot_id()).collect();
    let tags = tags.map(|(name, reference)| {
        let id = reference["snapshot-id"].as_i64().filter(|id| known.contains(id));
        Ok((name.clone(), id.ok_or_else(unreadable)?))
    });
    tags.collect()
}

fn lost(table: Table, moment: Moment) -> Error {
    let (table, id) = (table.as_str(), moment.snapshot_id);
    let message = format!(
        "read table {table} as of snapshot {id}: its own snapshot of that moment has been expired; \
         ask for a later one"
    );
    Error::new(ErrorKind::Expired, message)
}
