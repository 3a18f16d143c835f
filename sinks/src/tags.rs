//! Tags: names of moments, set on every table, so that other engines know them too.
//!
//! The library cannot set one. So the new metadata is made from the current one, written beside it,
//! and takes its place by a comparison of the location in the catalog: what the catalog itself does
//! for a commit. A job that commits meanwhile makes the swap fail, and it is tried again on what the
//! job made; a tag that comes first makes the job's attempt fail, and the job tries again on a table
//! whose `main` is where it was. A tag is no snapshot, so no position changes (POSITION-3).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;

use iceberg::MetadataLocation;
use iceberg::spec::{SnapshotReference, SnapshotRetention, TableMetadata};

use crate::catalog::swap_metadata;
use crate::commit::Committer;
use crate::config::Attempts;
use crate::error::{Error, ErrorKind, Result};
use crate::history::{At, History, NoMoment, Place, tags_of};
use crate::table::Table;

/// Characters of a name.
const NAME_CHARS_MAX: usize = 64;

/// Sets and removes tags. A job may run meanwhile, in this process or another.
pub struct Tags<'a> {
    pub(crate) committer: Committer<'a>,
    pub(crate) database: PathBuf,
    pub(crate) history: History,
}

impl Tags<'_> {
    /// Name and snapshot of each, as the anchor has them.
    pub fn list(&self) -> Result<BTreeMap<String, Place>> {
        let tags = self.history.tags()?.into_iter();
        Ok(tags.filter_map(|(name, id)| Some((name, self.history.place(id)?))).collect())
    }

    /// Names the moment `at`, or without it the latest one.
    pub fn create(&self, name: &str, at: Option<&At>) -> Result<Result<Place, NoMoment>> {
        check_name(name)?;
        if let Some(id) = self.history.tags()?.get(name) {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!("create tag {name}: it names snapshot {id} already; delete it first"),
            ));
        }
        let found = match at {
            Some(at) => self.history.find(at)?,
            None => self.history.latest(),
        };
        let moment = match found {
            Ok(moment) => moment,
            Err(none) => return Ok(Err(none)),
        };
        let snapshots = self.history.snapshots(moment)?;
        // The anchor last: a name that it has is one that every table has.
        let others = Table::ALL.into_iter().filter(|table| *table != Table::ANCHOR);
        for table in others.chain([Table::ANCHOR]) {
            if let Some(id) = snapshots.get(&table) {
                self.set(table, name, Some(*id))?;
            }
        }
        let place = self.history.place(moment.snapshot_id);
        Ok(Ok(place.expect("the moment's snapshot was found in this history")))
    }

    /// Removes a name, and answers whether there was one.
    pub fn delete(&self, name: &str) -> Result<bool> {
        let is_there = self.history.tags()?.contains_key(name);
        for table in Table::ALL {
            self.set(table, name, None)?;
        }
        Ok(is_there)
    }

    /// Sets the tag of one table, or removes it. Doing it twice is doing it once.
    fn set(&self, table: Table, name: &str, snapshot_id: Option<i64>) -> Result<()> {
        let attempted = || format!("set tag {name} of table {}", table.as_str());
        Attempts::new(self.committer.config).run(|| {
            let loaded = self.committer.load_table(&table.ident())?;
            let current = tags_of(loaded.metadata())?.get(name).copied();
            if current == snapshot_id {
                return Ok(());
            }
            if current.is_none() && loaded.metadata().snapshot_for_ref(name).is_some() {
                let message = format!("{}: a branch is called so", attempted());
                return Err(Error::new(ErrorKind::Invalid, message));
            }
            let failed = |error| Error::of(attempted(), error);
            let location = loaded.metadata_location_result().map_err(failed)?;
            let metadata =
                with_tag(loaded.metadata(), location, name, snapshot_id).map_err(failed)?;
            let next = MetadataLocation::from_str(location).map_err(failed)?;
            let next = next.with_next_version().with_new_metadata(&metadata);
            let write = metadata.write_to(loaded.file_io(), &next);
            self.committer.runtime.block_on(write).map_err(failed)?;
            let next = next.to_string();
            let swap = swap_metadata(&self.database, table.as_str(), location, &next);
            let is_swapped = self.committer.runtime.block_on(swap);
            if is_swapped.map_err(|error| Error::of(attempted(), error))? {
                return Ok(());
            }
            // Nothing can name the file: the swap is all that would have.
            let delete = loaded.file_io().delete(&next);
            if let Err(error) = self.committer.runtime.block_on(delete) {
                tracing::warn!(%error, "could not delete metadata that was not used");
            }
            let message = format!("{}: the table changed meanwhile", attempted());
            Err(Error::new(ErrorKind::Unavailable, message))
        })
    }
}

fn with_tag(
    metadata: &TableMetadata,
    location: &str,
    name: &str,
    snapshot_id: Option<i64>,
) -> iceberg::Result<TableMetadata> {
    let builder = metadata.clone().into_builder(Some(location.to_owned()));
    let builder = match snapshot_id {
        Some(id) => {
            let retention = SnapshotRetention::Tag { max_ref_age_ms: None };
            builder.set_ref(name, SnapshotReference::new(id, retention))?
        }
        None => builder.remove_ref(name),
    };
    Ok(builder.build()?.metadata)
}

fn check_name(name: &str) -> Result<()> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let is_fine = (1..=NAME_CHARS_MAX).contains(&name.len()) && name.bytes().all(is_plain);
    if is_fine && name != "main" {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Invalid,
        format!(
            "create tag {name:?}: a name has 1 to {NAME_CHARS_MAX} letters, digits, ., _ and -, \
             and is not main"
        ),
    ))
}
