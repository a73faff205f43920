//! The documents of accounts that are known when the journal is rebuilt: on the drives, and on the boot disk.

use std::path::Path;

use crate::accounts::Accounts;
use crate::daemon::accounts;
use crate::daemon::adopt::tell::say;
use crate::digest::Crc32;
use crate::ids::{PerSide, Side};
use crate::mirror::adopt::{Homes, Outcome, Survey};

/// What can be read of them.
pub(super) struct Documents {
    on_drives: Vec<((u64, Crc32), Accounts)>,
    on_boot_disk: Option<Accounts>,
}

impl Documents {
    /// One that cannot be read tells nothing: whether it counts is not decided here.
    pub(super) fn of(surveys: &PerSide<Option<Survey>>, state: &Path) -> Self {
        let bytes = surveys.iter().filter_map(|(_, survey)| survey.as_ref()?.accounts.as_ref());
        let document = |bytes: &Vec<u8>| Some(((bytes.len() as u64, Crc32::of(bytes)), Accounts::parse(bytes).ok()?));
        Self { on_drives: bytes.filter_map(document).collect(), on_boot_disk: accounts::on_boot_disk(state) }
    }

    /// Whose homes there are by each of them.
    pub(super) fn homes(&self) -> Homes {
        let users = |accounts: &Accounts| accounts.users().map(|(name, _)| name.to_string()).collect();
        Homes {
            by_document: self.on_drives.iter().map(|(document, accounts)| (*document, users(accounts))).collect(),
            otherwise: self.on_boot_disk.as_ref().map(users).unwrap_or_default(),
        }
    }

    /// Which accounts are taken, and which are left. `left` is where those of the boot disk are now.
    pub(super) fn tell(&self, outcome: &Outcome, without: Option<Side>, left: Option<&Path>) {
        let Some(version) = outcome.accounts() else { return };
        let document = (version.size, version.crc32);
        let taken = self.on_drives.iter().find(|(of_drive, _)| *of_drive == document).map(|(_, accounts)| accounts);
        if let Some(taken) = taken {
            say(&format!("the accounts are those of the drives: change {}, {}", taken.serial(), names(taken)));
        }
        let newer = self.on_boot_disk.as_ref().filter(|here| taken.is_none_or(|taken| here.serial() > taken.serial()));
        if let (Some(newer), Some(left)) = (newer, left) {
            say(&format!(
                "NEWER accounts were on the boot disk and are left: change {}, {}. Users and tokens that were removed since are \
                 let in again. If they are the right ones, put them back before twinstickd serves: mv {} {}",
                newer.serial(),
                names(newer),
                left.display(),
                left.with_file_name(accounts::ACCOUNTS_FILE).display()
            ));
        }
        if let (Some(without), None) = (without, newer) {
            say(&format!(
                "whether accounts were changed while drive {without} alone was there is not known: look at twinstickd user list"
            ));
        }
    }
}

fn names(accounts: &Accounts) -> String {
    let names: Vec<_> = accounts.users().map(|(name, _)| name.as_str()).collect();
    if names.is_empty() { "no users".to_owned() } else { names.join(", ") }
}
