//! Which of the live rows a scan reads.

use std::sync::Arc;

use k2_model::{Coordinates, Instrument, Offsets};

use crate::constraint::{Constraint, Key};

/// Which live rows are read.
#[derive(Clone, Debug)]
pub(crate) struct Selection {
    pub(crate) constraint: Constraint,
    /// `None`: of all instruments.
    pub(crate) instruments: Option<Vec<Instrument>>,
    /// Only records below them.
    pub(crate) as_of: Option<Arc<Offsets>>,
}

impl Selection {
    /// Whether rows of these names may be asked for; `None` where records have no symbol.
    pub(crate) fn admits_names(&self, venue: &str, symbol: Option<&str>) -> bool {
        self.constraint.admits_text(Key::Venue, venue)
            && symbol.is_none_or(|symbol| self.constraint.admits_text(Key::Symbol, symbol))
    }

    /// Whether the row at `at` with these numbers may be asked for.
    pub(crate) fn admits(&self, at: Coordinates, number: impl Fn(Key) -> Option<i64>) -> bool {
        self.constraint.admits_numbers(number)
            && self.as_of.as_ref().is_none_or(|offsets| offsets.covers(at))
    }
}
