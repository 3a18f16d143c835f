//! What a record must tell to be judged.

use k2_model::{Coordinates, DataType, Instrument, Nanos, Stream};

use crate::kept::Kept;

/// What `sequence` needs to know of a record.
pub trait Numbered: timely::ExchangeData + Sync + Clone + Ord {
    /// How the unique records are kept.
    type Kept: Kept<Row = Self>;

    const DATA_TYPE: DataType;
    /// A hole in the numbers is a gap. Without it the numbers only tell repeats.
    const DENSE: bool;

    fn instrument(&self) -> Instrument;
    fn set_instrument(&mut self, instrument: Instrument);
    /// First and last number that the record covers.
    fn numbers(&self) -> (u64, u64);
    fn ts_event(&self) -> Nanos;
    fn ts_recv(&self) -> Nanos;
    fn at(&self) -> Coordinates;
    /// Of what makes two records with the same number the same; never of when they were received.
    fn print(&self) -> u32;

    fn stream(&self) -> Stream {
        Stream { instrument: self.instrument(), data_type: Self::DATA_TYPE }
    }
}
