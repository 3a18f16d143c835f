//! State files: what a job saves with a commit, named in the summary of that commit.
//!
//! A file lies in the `metadata` folder of the anchor: a checksum, then the content compressed.

use std::collections::BTreeSet;
use std::io;

use bytes::Bytes;
use iceberg::table::Table;
use k2_model::Time;
use tokio::runtime::Runtime;
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

use crate::error::{Error, Result};
use crate::position::Incarnation;
use crate::storage::local_path;

/// State files kept besides the one in use, so that a rollback by a few snapshots can go on.
pub(crate) const KEPT: usize = 8;

const PREFIX: &str = "k2-state-";
const CHECKSUM_BYTES: usize = 8;
const COMPRESSION_LEVEL: i32 = 1;

/// A new state file's path, relative to the table's location.
pub(crate) fn path(incarnation: Incarnation, upper: Time, commit_id: Uuid) -> String {
    format!("metadata/{PREFIX}{}-{upper}-{commit_id}.bin", incarnation.0)
}

pub(crate) fn write(table: &Table, location: &str, state: &[u8], runtime: &Runtime) -> Result<()> {
    let attempted = || format!("write the job's state to {location}");
    let mut bytes = xxh3_64(state).to_le_bytes().to_vec();
    let compressed = zstd::bulk::compress(state, COMPRESSION_LEVEL);
    bytes.extend(compressed.map_err(|error| Error::of(attempted(), error))?);
    let file = table.file_io().new_output(location);
    let file = file.map_err(|error| Error::of(attempted(), error))?;
    runtime.block_on(file.write(Bytes::from(bytes))).map_err(|error| Error::of(attempted(), error))
}

pub(crate) fn read(table: &Table, path: &str, runtime: &Runtime) -> Result<Vec<u8>> {
    let location = format!("{}/{path}", table.metadata().location());
    let attempted = || format!("read the job's state from {location}");
    let file = table.file_io().new_input(&location);
    let file = file.map_err(|error| Error::of(attempted(), error))?;
    let bytes = runtime.block_on(file.read()).map_err(|error| Error::of(attempted(), error))?;
    let damaged = || Error::corrupt(format!("{}: it is damaged", attempted()));
    let (checksum, compressed) = bytes.split_at_checked(CHECKSUM_BYTES).ok_or_else(damaged)?;
    let state = zstd::stream::decode_all(compressed).map_err(|_| damaged())?;
    if xxh3_64(&state).to_le_bytes() != checksum {
        return Err(damaged());
    }
    Ok(state)
}

/// Deletes state files of older incarnations that no snapshot names. They are fenced, so none of
/// these can be named any more.
pub(crate) fn sweep(table: &Table, incarnation: Incarnation) -> io::Result<u64> {
    let metadata = table.metadata();
    let named: BTreeSet<&str> = metadata
        .snapshots()
        .filter_map(|snapshot| snapshot.summary().additional_properties.get("k2.state"))
        .chain(metadata.properties().get("k2.state"))
        .filter_map(|path| path.rsplit('/').next())
        .collect();
    let folder = local_path(metadata.location()).join("metadata");
    let mut swept = 0;
    for entry in folder.read_dir()? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let maker = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        let is_older = maker
            .and_then(|maker| maker.parse::<u64>().ok())
            .is_some_and(|maker| maker < incarnation.0);
        if is_older && !named.contains(name.as_ref()) {
            std::fs::remove_file(entry.path())?;
            swept += 1;
        }
    }
    Ok(swept)
}
