//! Records, exact numbers, time, instruments and codecs of K2.
//!
//! No I/O, no clock, no timely: what stands here is a pure function of its input.
//!
//! # Glossary
//!
//! One thing has one word in code, configuration, metrics, API and page.
//!
//! | word | meaning |
//! |---|---|
//! | venue | where it traded: `BINANCE`, `BINANCE_USDM`; upper case |
//! | symbol | canonical `BASE-QUOTE` for crypto; the venue's own spelling is `raw_symbol` |
//! | feed | (venue, data type) |
//! | stream | the scope in which a venue numbers its messages: (venue, symbol, data type) |
//! | sequence | the venue's own number of a message in its stream |
//! | epoch | the dataflow's time; orders things within one run of a job, never across runs |
//! | frontier | the epoch below which everything has been processed |
//! | seam | the frontier at which a query passes from the snapshot to the live rows |
//! | offset | the number of a record in its source partition; a position says the *next* one |
//! | origin | (source, partition): a topic's partition, or a file |
//! | bar | OHLCV over `[start, end)`, stamped with its start; no trades, no bar |
//! | reject | a message that could not become a record, kept with its bytes and the reason |

pub mod bar;
pub mod codec;
pub mod decimal;
pub mod digits;
pub mod gap;
pub mod instrument;
mod intern;
pub mod origin;
pub mod record;
pub mod time;

pub use bar::{Bar, Timeframe};
pub use decimal::{Decimal, Wide};
pub use gap::{Gap, GapCause, GapChange, Severity, SeverityLevels};
pub use instrument::{AssetClass, Instrument, InstrumentTable};
pub use origin::{Coordinates, Offsets, Origin};
pub use record::{DataType, Depth, Quote, Reject, RejectReason, Side, Stream, Trade, VendorData};
pub use time::{Nanos, Time};
