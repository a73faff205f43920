//! The copy on the boot disk.
#![allow(clippy::disallowed_methods, reason = "the file lies in the state directory, never on a drive")]

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use crate::accounts::Accounts;
use crate::daemon::accounts::AccountsError;

pub(in crate::daemon) const FILE: &str = "accounts.json";
/// While it is written.
const NEW_FILE: &str = "accounts.json.new";

/// The accounts on the boot disk, if there are any.
pub(super) fn read(state: &Path) -> Result<Option<Accounts>, AccountsError> {
    let path = state.join(FILE);
    match fs::read(&path) {
        Ok(bytes) => {
            let accounts = Accounts::parse(&bytes).map_err(|source| AccountsError::Document { path, source })?;
            Ok(Some(accounts))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(AccountsError::File { path, source }),
    }
}

/// Puts them there durably, all or nothing. Readable for the daemon's user alone.
pub(super) fn write(state: &Path, accounts: &Accounts) -> Result<(), AccountsError> {
    let (path, new) = (state.join(FILE), state.join(NEW_FILE));
    let written = || {
        let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(&accounts.document())?;
        file.sync_all()?;
        fs::rename(&new, &path)?;
        File::open(state)?.sync_all()
    };
    written().map_err(|source| AccountsError::File { path: path.clone(), source })
}
