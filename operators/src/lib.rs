//! One operator a file: sources, decoding, sequencing. What happens to records on their way.

pub mod batch;
pub mod decode;
mod error;
pub mod ingest;
pub mod kept;
pub mod kit;
pub mod market_batch;
pub mod numbered;
mod records;
pub mod sequence;
pub mod state;

pub use batch::{Batch, Boundary, FileMark, Parcel, PartitionMark, SourceMark, StateShard};
pub use error::Error;
pub use kept::Kept;
pub use market_batch::{MarketBatch, MarketColumns, MarketRecord};
pub use numbered::Numbered;
pub use state::SavedState;
