//! Which binaries are under test.

use std::path::PathBuf;

/// Names a folder with both binaries, to test those instead of the ones cargo has just built.
const BIN_DIR: &str = "TWINSTICK_BIN_DIR";

#[derive(Clone, Debug)]
pub struct Binaries {
    pub twinstickd: PathBuf,
    pub fget: PathBuf,
}

impl Binaries {
    /// Takes `env!("CARGO_BIN_EXE_…")` of the calling test, which alone knows them.
    pub fn new(twinstickd: &str, fget: &str) -> Self {
        match std::env::var_os(BIN_DIR).map(PathBuf::from) {
            // Clients run in a folder of their own.
            Some(folder) => Self::in_folder(&std::path::absolute(folder).expect("a folder of binaries")),
            None => Self { twinstickd: twinstickd.into(), fget: fget.into() },
        }
    }

    fn in_folder(folder: &std::path::Path) -> Self {
        Self { twinstickd: folder.join("twinstickd"), fget: folder.join("fget") }
    }
}
