//! Where the checkout is.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// Asked for at run time: a build may outlive the checkout that it was made in.
pub fn root() -> &'static Path {
    static ROOT: LazyLock<PathBuf> = LazyLock::new(|| {
        let of_crate = std::env::var_os("CARGO_MANIFEST_DIR").expect("the test runner sets it");
        Path::new(&of_crate).parent().expect("a crate is in the workspace").to_owned()
    });
    &ROOT
}
