//! Real recorded feeds, where a checkout has them beside it.

use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

/// The folder of the recordings: in `K2_SHARED`, or beside this checkout. `None` if there is none,
/// which is said, so that a test that goes without is seen to.
pub fn recordings() -> Option<PathBuf> {
    let shared = std::env::var_os("K2_SHARED").map(PathBuf::from);
    let recordings = shared.unwrap_or_else(beside).join("data/binance-raw");
    let found = recordings.is_dir();
    if !found {
        eprintln!("SKIPPED: no recordings in {}; set K2_SHARED", recordings.display());
    }
    found.then_some(recordings)
}

/// Asked for at run time: a build may outlive the checkout that it was made in.
fn beside() -> PathBuf {
    let of_crate = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    of_crate.unwrap_or_else(|| PathBuf::from(".")).join("../../shared")
}

/// What the recording at `path` holds.
///
/// # Panics
///
/// If it cannot be read: a recording that is there is whole.
pub fn unzipped(path: &Path) -> Vec<u8> {
    let file = std::fs::File::open(path).expect("a recording can be opened");
    let mut bytes = Vec::new();
    MultiGzDecoder::new(file).read_to_end(&mut bytes).expect("a recording is whole");
    bytes
}
