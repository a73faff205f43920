//! `token-uses.json`: when each token was last used, as it was a few minutes ago.
#![allow(clippy::disallowed_methods, reason = "the file lies in the state directory, never on a drive")]

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::server::LastUsed;

const FILE: &str = "token-uses.json";
/// While it is written.
const NEW_FILE: &str = "token-uses.json.new";
/// Of its form.
const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Document {
    format: u32,
    /// In nanoseconds since 1970.
    last_used_ns: LastUsed,
}

/// What was saved. Nobody is let in or shut out by it: where it cannot be read all begins anew.
pub(super) fn read(state: &Path) -> LastUsed {
    let path = state.join(FILE);
    let document = match fs::read(&path) {
        Ok(bytes) => serde_json::from_slice::<Document>(&bytes).map_err(io::Error::from),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return LastUsed::new(),
        Err(error) => Err(error),
    };
    match document {
        Ok(Document { format: FORMAT, last_used_ns }) => return last_used_ns,
        Ok(Document { format, .. }) => {
            tracing::warn!(path = %path.display(), format, "when tokens were last used is not known: of another version");
        }
        Err(error) => tracing::warn!(path = %path.display(), %error, "when tokens were last used is not known"),
    }
    LastUsed::new()
}

/// Puts them there durably, all or nothing.
pub(super) fn write(state: &Path, last_used_ns: LastUsed) -> io::Result<()> {
    let (path, new) = (state.join(FILE), state.join(NEW_FILE));
    let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(&serde_json::to_vec(&Document { format: FORMAT, last_used_ns })?)?;
    file.sync_all()?;
    fs::rename(&new, &path)?;
    File::open(state)?.sync_all()
}
