//! The state directory: the new journal beside the old one, then in its place.
#![allow(clippy::disallowed_methods, reason = "the state directory lies on the boot disk, never on a drive")]

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::daemon::accounts::ACCOUNTS_FILE;
use crate::daemon::adopt::error::AdoptError;
use crate::journal::Beginning;
use crate::journal::buffered::BufferedStore;
use crate::mirror::Mirror;
use crate::mirror::adopt::Outcome;

/// The journal while it is written.
pub(in crate::daemon) const NEW_FOLDER: &str = "journal.adopting";
/// What a journal that was there before is called from then on, with a number.
const OLD_FOLDER: &str = "journal.before-adopt";
/// The same of accounts.
const OLD_ACCOUNTS: &str = "accounts.json.before-adopt";

/// A journal that was written and is not yet in use.
#[derive(Debug)]
pub(super) struct Begun {
    state: PathBuf,
    /// Whether the drives have accounts, which count for more than what may be left on an old boot disk.
    has_accounts: bool,
}

/// Where what was there before is now.
pub(super) struct Aside {
    pub(super) journal: Option<PathBuf>,
    pub(super) accounts: Option<PathBuf>,
}

pub(super) fn make(state: &Path) -> Result<(), AdoptError> {
    fs::create_dir_all(state).map_err(failed(state))
}

/// Writes a journal beside the one that may be there.
pub(super) fn write(state: &Path, outcome: &Outcome, beginning: &Beginning) -> Result<Begun, AdoptError> {
    let folder = state.join(NEW_FOLDER);
    match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(&folder)(error)),
        Ok(()) | Err(_) => {}
    }
    let store = BufferedStore::open(&folder)?;
    outcome.import(&store, beginning)?;
    Ok(Begun { state: state.to_owned(), has_accounts: outcome.has_accounts() })
}

impl Begun {
    /// Puts it in the place of the old one, which is kept; where that is now.
    pub(super) fn take_effect(self) -> Result<Aside, AdoptError> {
        let (new, place) = (self.state.join(NEW_FOLDER), Mirror::journal_folder(&self.state));
        let aside = if place.exists() { Some(free_name(&self.state, OLD_FOLDER)) } else { None };
        if let Some(aside) = &aside {
            fs::rename(&place, aside).map_err(failed(&place))?;
        }
        let accounts = self.state.join(ACCOUNTS_FILE);
        let is_left = self.has_accounts && accounts.exists();
        let accounts_aside = is_left.then(|| free_name(&self.state, OLD_ACCOUNTS));
        if let Some(aside) = &accounts_aside {
            fs::rename(&accounts, aside).map_err(failed(&accounts))?;
        }
        // Cut short here there is no journal: the same command begins again.
        fs::rename(&new, &place).map_err(failed(&new))?;
        File::open(&self.state).and_then(|folder| folder.sync_all()).map_err(failed(&self.state))?;
        Ok(Aside { journal: aside, accounts: accounts_aside })
    }
}

fn free_name(state: &Path, name: &str) -> PathBuf {
    let mut number = 1;
    loop {
        let path = state.join(format!("{name}-{number}"));
        if !path.exists() {
            return path;
        }
        number += 1;
    }
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> AdoptError + '_ {
    move |source| AdoptError::State { path: path.to_owned(), source }
}
