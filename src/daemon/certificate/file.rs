//! The own key and certificate in the state folder, in one file, so that they change together.
#![allow(clippy::disallowed_methods, reason = "the file lies in the state directory, never on a drive")]

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};

use crate::daemon::certificate::CertificateError;

const FILE: &str = "tls.pem";
/// While it is written.
const NEW_FILE: &str = "tls.pem.new";

pub(super) fn path(state: &Path) -> PathBuf {
    state.join(FILE)
}

pub(super) fn exists(state: &Path) -> Result<bool, CertificateError> {
    let path = path(state);
    path.try_exists().map_err(|source| CertificateError::File { path, source })
}

/// Puts it there durably, all or nothing. Readable for the daemon's user alone, also where root makes it.
pub(super) fn write(state: &Path, pem: &str) -> Result<(), CertificateError> {
    let (path, new) = (path(state), state.join(NEW_FILE));
    let written = || {
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let folder = fs::metadata(state)?;
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(&new)?;
        if folder.uid() != rustix::process::geteuid().as_raw() {
            fchown(&file, Some(folder.uid()), Some(folder.gid()))?;
        }
        file.write_all(pem.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, &path)?;
        File::open(state)?.sync_all()
    };
    written().map_err(|source| CertificateError::File { path: path.clone(), source })
}
