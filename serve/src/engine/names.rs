//! Which names of symbols and venues there are: in the instrument data, and among the records.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use futures::future::BoxFuture;

use super::Engine;
use crate::error::Result;
use crate::pinned::Pinned;
use crate::request::Request;

/// What the tables tell of names, where nothing in memory does.
const RECORDED: &str = "SELECT DISTINCT venue, symbol, raw_symbol FROM symbols";

/// All names that there are.
#[derive(Debug, Default)]
pub(crate) struct KnownNames {
    /// In every spelling.
    pub(crate) symbols: BTreeSet<String>,
    pub(crate) venues: BTreeSet<String>,
}

impl KnownNames {
    fn add(&mut self, venue: &str, symbols: [&str; 2]) {
        if !self.venues.contains(venue) {
            self.venues.insert(venue.to_owned());
        }
        self.symbols.extend(symbols.map(str::to_owned));
    }
}

impl Engine {
    /// All names that there are, unless `symbols` and `venues` are all among those that are found
    /// without a walk over the others.
    pub(crate) fn names_unless_known<'a>(
        &'a self,
        symbols: &'a [String],
        venues: &'a [String],
    ) -> BoxFuture<'a, Result<Option<KnownNames>>> {
        Box::pin(async move {
            let pinned = Arc::new(self.pin(&Request::default()).await?);
            if self.are_found(&pinned, symbols, venues) {
                return Ok(None);
            }
            let mut known = KnownNames::default();
            let configured = self.0.config.instruments.iter();
            let traded = pinned.streams().map(|(stream, _)| stream.instrument);
            for it in configured.chain(traded) {
                known.add(&it.venue, [&it.symbol, &it.raw_symbol]);
            }
            if pinned.live.is_none() {
                for batch in self.ask(&pinned, RECORDED).await? {
                    let text =
                        |column: usize, row| batch.column(column).as_string::<i32>().value(row);
                    for row in 0..batch.num_rows() {
                        known.add(text(0, row), [text(1, row), text(2, row)]);
                    }
                }
            }
            Ok(Some(known))
        })
    }

    fn are_found(&self, pinned: &Pinned, symbols: &[String], venues: &[String]) -> bool {
        let instruments = &self.0.config.instruments;
        let streams = || pinned.versions().iter().map(|version| &version.views.streams);
        let is_symbol = |name: &String| {
            streams().any(|of_worker| !of_worker.named(name).is_empty())
                || instruments.at_all_venues(name).next().is_some()
        };
        let is_venue = |name: &String| instruments.venues().any(|venue| venue == name);
        symbols.iter().all(is_symbol) && venues.iter().all(is_venue)
    }
}
