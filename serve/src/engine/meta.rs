//! What rows are rows of: the gaps in what was read, and the clocks that tell what is final.

use std::sync::{Arc, PoisonError};

use k2_sinks::Table;

use super::{Engine, Remembered};
use crate::answer::{Meta, OpenGaps};
use crate::catalog::Scope;
use crate::clocks;
use crate::error::Result;
use crate::functions::finality::VenueClocks;
use crate::gaps::{self, GapList, TouchedGaps};
use crate::pinned::{Pinned, Touched};
use crate::views::definitions;

impl Engine {
    /// Of each venue the greatest event time over its trades, by the cheapest way there is.
    pub(super) async fn venue_clocks(&self, pinned: &Arc<Pinned>) -> Result<Arc<VenueClocks>> {
        if pinned.views().is_some() {
            return Ok(Arc::new(clocks::of_versions(pinned.versions())));
        }
        let snapshot = pinned.snapshot_id(Table::Trades);
        let is_latest = pinned.is_latest();
        if is_latest && let Some(known) = recall(&self.0.clocks, snapshot) {
            return Ok(known);
        }
        let is_whole = pinned.live.is_none() && pinned.as_of.is_none();
        let clocks = match is_whole.then(|| clocks::of_bounds(pinned)).flatten() {
            Some(clocks) => clocks,
            None => clocks::of_rows(&self.ask(pinned, definitions::CLOCKS).await?),
        };
        let clocks = Arc::new(clocks);
        if is_latest {
            remember(&self.0.clocks, snapshot, &clocks);
        }
        Ok(clocks)
    }

    pub(super) async fn meta(&self, scope: &Arc<Scope>, correlation_id: String) -> Result<Meta> {
        let (gaps, has_halt) = self.touched_gaps(scope).await?;
        let told = scope.told();
        let pinned = &told.pinned;
        let mut warnings = Vec::new();
        if pinned.is_live_alone {
            warnings.push("the tables cannot be read: these are the rows of memory alone".into());
        }
        if pinned.is_latest() && pinned.cold.tables.is_empty() {
            warnings.push("there are no tables yet".to_owned());
        }
        let correlation_id = if correlation_id.is_empty() {
            uuid::Uuid::now_v7().to_string()
        } else {
            correlation_id
        };
        Ok(Meta {
            sources: scope.sources(),
            snapshot_id: pinned.snapshot_id(Table::ANCHOR),
            snapshots: pinned.snapshots(),
            moments: told.moments.iter().map(|(at, scope)| scope.as_moment(at)).collect(),
            as_of: pinned.token(),
            complete: !has_halt && !pinned.is_live_alone,
            gaps,
            deferred: 0,
            warnings,
            query_time_ms: 0.0,
            correlation_id,
        })
    }

    /// The gaps open in what was touched, and whether any of them is a halt.
    async fn touched_gaps(&self, scope: &Arc<Scope>) -> Result<(OpenGaps, bool)> {
        let touched = scope.all().map(|scope| (scope, scope.trace.touched()));
        let touched: Vec<_> = touched.filter(|(_, touched)| !touched.is_empty()).collect();
        if let [(scope, touched)] = &touched[..]
            && let Some(views) = scope.pinned.views()
        {
            return Ok(gaps::of_views(views, touched, &self.0.config.severity));
        }
        let mut known: Vec<TouchedGaps> = Vec::new();
        for (scope, touched) in touched {
            known.push((self.open_gaps(&scope.pinned, &touched).await?, touched));
        }
        Ok(gaps::of_touched(&known))
    }

    /// All open gaps, or at least those of what was touched.
    async fn open_gaps(&self, pinned: &Arc<Pinned>, touched: &[Touched]) -> Result<Arc<GapList>> {
        let severity = &self.0.config.severity;
        if let Some(views) = pinned.views() {
            let open = views.flat_map(|views| views.gaps_open.iter());
            let open = open.filter(|gap| touched.iter().any(|scan| scan.covers_gap(gap)));
            return Ok(Arc::new(open.map(|gap| gaps::of_gap(gap, severity)).collect()));
        }
        let snapshot = pinned.snapshot_id(Table::Gaps);
        let is_latest = pinned.is_latest();
        if is_latest && let Some(known) = recall(&self.0.gaps, snapshot) {
            return Ok(known);
        }
        let open = Arc::new(gaps::of_rows(&self.ask(pinned, gaps::OPEN).await?));
        if is_latest {
            remember(&self.0.gaps, snapshot, &open);
        }
        Ok(open)
    }
}

fn recall<T>(memory: &Remembered<T>, snapshot: Option<i64>) -> Option<Arc<T>> {
    let known = memory.lock().unwrap_or_else(PoisonError::into_inner);
    known.as_ref().filter(|(at, _)| *at == snapshot).map(|(_, value)| value.clone())
}

fn remember<T>(memory: &Remembered<T>, snapshot: Option<i64>, value: &Arc<T>) {
    *memory.lock().unwrap_or_else(PoisonError::into_inner) = Some((snapshot, value.clone()));
}
