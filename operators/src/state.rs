//! The state that is saved with each batch: what the sequence operators and the source must know
//! to go on as if nothing had happened.

use std::collections::BTreeMap;

use k2_model::{DataType, Instrument, InstrumentTable, Origin};
use serde::{Deserialize, Serialize};

use crate::batch::{SourceMark, StateShard};
use crate::numbered::Numbered;
use crate::sequence::StreamState;

/// Raised when the encoding changes; a state of another version cannot be resumed.
const VERSION: u8 = 2;
/// zstd's fastest regular level: runs and ids are mostly packed already.
const COMPRESSION_LEVEL: i32 = 1;

/// The state as of the end of one batch, whatever the number of workers was.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedState {
    /// The encoded [`StreamState`]s of each kind.
    streams: BTreeMap<DataType, Vec<Vec<u8>>>,
    /// How each input is recognised and resumed.
    pub marks: BTreeMap<Origin, SourceMark>,
}

/// Why bytes are not a state.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    #[error("the saved state has version {found}, this program reads version {VERSION}")]
    Version { found: u8 },
    #[error("the saved state is damaged: {0}")]
    Damaged(String),
}

impl SavedState {
    /// Puts the shards of all workers together.
    pub fn new(shards: Vec<StateShard>, marks: BTreeMap<Origin, SourceMark>) -> Self {
        let mut streams: BTreeMap<DataType, Vec<Vec<u8>>> = BTreeMap::new();
        for shard in shards {
            streams.entry(shard.data_type).or_default().extend(shard.states);
        }
        Self { streams, marks }
    }

    pub fn encode(&self) -> Vec<u8> {
        let plain = postcard::to_allocvec(self).expect("a state is plain data");
        let packed = zstd::bulk::compress(&plain, COMPRESSION_LEVEL);
        let mut bytes = vec![VERSION];
        bytes.extend((plain.len() as u64).to_le_bytes());
        bytes.extend(packed.expect("compressing into memory cannot fail"));
        bytes
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, StateError> {
        let damaged = |why: &str| StateError::Damaged(why.into());
        let (&version, rest) = bytes.split_first().ok_or_else(|| damaged("it is empty"))?;
        if version != VERSION {
            return Err(StateError::Version { found: version });
        }
        let (length, packed) = rest.split_at_checked(8).ok_or_else(|| damaged("it is cut"))?;
        let length = u64::from_le_bytes(length.try_into().expect("eight bytes were split off"));
        let length = usize::try_from(length).map_err(|_| damaged("its length is absurd"))?;
        let plain = zstd::bulk::decompress(packed, length);
        let plain = plain.map_err(|error| StateError::Damaged(error.to_string()))?;
        postcard::from_bytes(&plain).map_err(|error| StateError::Damaged(error.to_string()))
    }

    /// The streams of one kind. Instruments are looked up again in `instruments`, which may have
    /// learned more of them since.
    pub fn streams<R: Numbered>(
        &self,
        instruments: &InstrumentTable,
    ) -> Result<Vec<StreamState<R>>, StateError> {
        let states = self.streams.get(&R::DATA_TYPE).into_iter().flatten();
        let decoded = states.map(|bytes| {
            let state: Option<StreamState<R>> = StreamState::decode(bytes);
            let mut state = state.ok_or_else(|| StateError::Damaged("a stream's state".into()))?;
            state.stream.instrument = relearned(state.stream.instrument, instruments);
            if let Some(latest) = &mut state.latest {
                latest.set_instrument(state.stream.instrument);
            }
            Ok(state)
        });
        decoded.collect()
    }
}

fn relearned(instrument: Instrument, instruments: &InstrumentTable) -> Instrument {
    instruments.get(&instrument.venue, &instrument.raw_symbol).unwrap_or(instrument)
}
