//! What one query sees, and what it has touched of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use k2_dataflows::live::{LivePin, Version, Views};
use k2_model::{DataType, Gap, Instrument, Offsets, Stream, Time};
use k2_operators::sequence::StreamCounts;
use k2_sinks::{At, ColdPin, PlannedFile, Table};

use crate::answer::Sources;
use crate::constraint::{Constraint, Key};
use crate::explain::Scan;
use crate::request::AsOf;
use crate::tables::counted::Side;

/// The tables at one snapshot, and the live rows that join them without a seam.
#[derive(Clone, Debug)]
pub(crate) struct Pinned {
    /// `None`: the tables are all there is.
    pub(crate) live: Option<LivePin>,
    pub(crate) cold: Arc<ColdPin>,
    /// Only records below these offsets are seen.
    pub(crate) as_of: Option<AsOf>,
    /// The earlier moment that `cold` is of; then there is no live side.
    pub(crate) at: Option<At>,
    /// The tables cannot be read, and their rows are left out.
    pub(crate) is_live_alone: bool,
}

impl Pinned {
    /// The tables alone, at their latest pin.
    pub(crate) fn tables(cold: Arc<ColdPin>) -> Self {
        Self { live: None, cold, as_of: None, at: None, is_live_alone: false }
    }

    /// The rows of the live side alone.
    pub(crate) fn without_tables(self) -> Self {
        let mut cold = ColdPin::clone(&self.cold);
        cold.tables.clear();
        Self { cold: Arc::new(cold), is_live_alone: true, ..self }
    }

    /// Whether it is not the latest that there is.
    pub(crate) fn is_past(&self) -> bool {
        self.as_of.is_some() || self.at.is_some()
    }

    /// Whether all that can be said of it is said by the latest snapshots.
    pub(crate) fn is_latest(&self) -> bool {
        self.live.is_none() && !self.is_past()
    }

    /// The views in memory, if they are of the moment that is asked for.
    pub(crate) fn views(&self) -> Option<impl Iterator<Item = &Views> + Clone> {
        let live = self.live.as_ref().filter(|_| self.as_of.is_none())?;
        Some(live.versions.iter().map(|version| &version.views))
    }

    pub(crate) fn frontier(&self) -> Time {
        self.live.as_ref().map_or(self.cold.frontier, |live| live.frontier)
    }

    pub(crate) fn offsets(&self) -> &Offsets {
        self.live.as_ref().map_or(&self.cold.position.offsets, |live| &live.offsets)
    }

    pub(crate) fn snapshot_id(&self, table: Table) -> Option<i64> {
        self.cold.snapshot_id(table)
    }

    pub(crate) fn files(&self, table: Table) -> &[Arc<PlannedFile>] {
        self.cold.tables.get(&table).map_or(&[], |pin| &pin.files)
    }

    /// The token of this moment, or the one that was asked with.
    pub(crate) fn token(&self) -> AsOf {
        self.as_of.clone().unwrap_or_else(|| AsOf {
            snapshot_id: self.snapshot_id(Table::ANCHOR),
            frontier: self.frontier(),
            offsets: self.offsets().clone(),
        })
    }

    /// The offsets that filter the rows of `table`, where something is to be filtered.
    pub(crate) fn as_of_offsets(&self, table: Table) -> Option<Arc<Offsets>> {
        let is_ahead = self.cold.tables.get(&table).is_some_and(|pin| pin.is_ahead);
        let offsets = match &self.as_of {
            Some(as_of) => &as_of.offsets,
            None if is_ahead => self.offsets(),
            None => return None,
        };
        Some(Arc::new(offsets.clone()))
    }

    /// Of each table that has one its snapshot.
    pub(crate) fn snapshots(&self) -> BTreeMap<&'static str, i64> {
        let tables = Table::ALL.into_iter();
        tables.filter_map(|table| Some((table.as_str(), self.snapshot_id(table)?))).collect()
    }

    /// What each worker has seen.
    pub(crate) fn versions(&self) -> &[Arc<Version>] {
        self.live.as_ref().map_or(&[], |live| &live.versions)
    }

    /// The counts of all streams that are live. Each stream has one worker.
    pub(crate) fn streams(&self) -> impl Iterator<Item = (&Stream, &StreamCounts)> {
        self.versions().iter().flat_map(|version| version.views.streams.iter())
    }

    /// The instruments that `constraint` names, of those that are live; `None`: it names none.
    pub(crate) fn instruments(
        &self,
        constraint: &Constraint,
        data_type: DataType,
    ) -> Option<Vec<Instrument>> {
        let symbols = constraint.texts(Key::Symbol)?;
        let mut named: Vec<Instrument> = Vec::new();
        for streams in self.versions().iter().map(|version| &version.views.streams) {
            let of_symbols = symbols.iter().flat_map(|symbol| streams.named(symbol)).copied();
            named.extend(of_symbols.filter(|instrument| {
                streams.contains(&Stream { instrument: *instrument, data_type })
                    && constraint.admits_text(Key::Venue, &instrument.venue)
            }));
        }
        named.sort_unstable();
        named.dedup();
        Some(named)
    }
}

/// What a query has scanned: for the meta data of its answer.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    iceberg: Arc<AtomicU64>,
    live: Arc<AtomicU64>,
    touched: Mutex<Vec<Touched>>,
    scans: Mutex<Vec<Scan>>,
}

/// One scan: of which records it was.
#[derive(Clone, Debug)]
pub(crate) struct Touched {
    /// `None`: of every kind.
    data_type: Option<DataType>,
    /// `None`: of all.
    venues: Option<BTreeSet<String>>,
    symbols: Option<BTreeSet<String>>,
}

impl Touched {
    pub(crate) fn covers_gap(&self, gap: &Gap) -> bool {
        self.covers_stream(&gap.stream)
    }

    /// `None`: of all.
    pub(crate) fn symbols(&self) -> Option<&BTreeSet<String>> {
        self.symbols.as_ref()
    }

    pub(crate) fn covers_stream(&self, stream: &Stream) -> bool {
        let Stream { instrument, data_type } = stream;
        self.covers(*data_type, &instrument.venue, &instrument.symbol)
    }

    pub(crate) fn covers(&self, data_type: DataType, venue: &str, symbol: &str) -> bool {
        let has = |texts: &Option<BTreeSet<String>>, text| {
            texts.as_ref().is_none_or(|texts| texts.contains(text))
        };
        self.data_type.is_none_or(|touched| touched == data_type)
            && has(&self.venues, venue)
            && has(&self.symbols, symbol)
    }
}

impl Trace {
    pub(crate) fn rows(&self, side: Side) -> Arc<AtomicU64> {
        match side {
            Side::Iceberg => self.iceberg.clone(),
            Side::Live => self.live.clone(),
        }
    }

    pub(crate) fn sources(&self) -> Sources {
        let read = |rows: &AtomicU64| rows.load(Ordering::Relaxed);
        Sources { iceberg: read(&self.iceberg), live: read(&self.live) }
    }

    pub(crate) fn touch(&self, data_type: Option<DataType>, constraint: &Constraint) {
        let texts = |key| constraint.texts(key).cloned();
        let (venues, symbols) = (texts(Key::Venue), texts(Key::Symbol));
        let mut touched = self.touched.lock().unwrap_or_else(PoisonError::into_inner);
        touched.push(Touched { data_type, venues, symbols });
    }

    /// Notes what a scan of a table is going to read.
    pub(crate) fn plan(&self, scan: Scan) {
        self.scans.lock().unwrap_or_else(PoisonError::into_inner).push(scan);
    }

    pub(crate) fn scans(&self) -> Vec<Scan> {
        self.scans.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn touched(&self) -> Vec<Touched> {
        self.touched.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
