//! `twinstickd user`: through the daemon where one runs, else on the boot disk's copy.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use crate::accounts::{Accounts, Change};
use crate::clock;
use crate::config::Config;
use crate::daemon::accounts::keeper::has_copy;
use crate::daemon::accounts::{AccountsError, Changed, Copies, file, uses};
use crate::daemon::control::{self, Answer, Command};
use crate::daemon::state_lock::StateLock;
use crate::mirror::Mirror;
use crate::server::account_lines;
use crate::wire::AccountLine;

/// What is known of the accounts without asking anybody.
#[derive(Clone, Debug)]
pub enum Known {
    Accounts(Accounts),
    /// None were ever made, or the boot disk was lost since.
    Nothing,
}

/// Makes a change: through the daemon where one runs, else here.
pub async fn change(config: &Config, change: &Change) -> Result<Changed, AccountsError> {
    let state = &config.state;
    match control::ask(state, &Command::Accounts(change.clone())).await? {
        Some(Answer::Accounts { token, copies }) => return Ok(Changed { token, copies }),
        Some(Answer::Refused { message }) => return Err(AccountsError::Refused(message)),
        Some(Answer::Replaced(_) | Answer::Done | Answer::Users { .. }) => return Err(AccountsError::AnotherAnswer),
        None => {}
    }
    if !Mirror::exists(state) {
        return Err(AccountsError::NotEnrolled(state.clone()));
    }
    check_owner(state)?;
    let _lock = StateLock::take(state, "user")?;
    let now = match file::read(state)? {
        Some(accounts) => accounts,
        None if has_sticks_copy(config).await? => return Err(AccountsError::Unread),
        None => Accounts::default(),
    };
    let (next, token) = now.with(change, clock::wall_ns())?;
    file::write(state, &next)?;
    Ok(Changed::new(token.as_ref(), Copies::BootDisk))
}

/// Gives up what nobody can read, and begins with one account. Only while no daemon runs.
pub fn begin_anew(config: &Config, change: &Change) -> Result<Changed, AccountsError> {
    let state = &config.state;
    if !Mirror::exists(state) {
        return Err(AccountsError::NotEnrolled(state.clone()));
    }
    check_owner(state)?;
    let _lock = StateLock::take(state, "user")?;
    let now_ns = clock::wall_ns();
    let (next, token) = Accounts::anew(now_ns).with(change, now_ns)?;
    file::write(state, &next)?;
    Ok(Changed::new(token.as_ref(), Copies::BootDisk))
}

/// Files that root makes in the state folder the daemon's user could not read.
fn check_owner(state: &Path) -> Result<(), AccountsError> {
    let failed = |source| AccountsError::File { path: state.to_owned(), source };
    let owner = std::fs::metadata(state).map_err(failed)?.uid();
    if owner == rustix::process::geteuid().as_raw() {
        return Ok(());
    }
    Err(AccountsError::Owner { state: state.to_owned(), owner })
}

async fn has_sticks_copy(config: &Config) -> Result<bool, AccountsError> {
    let started = Mirror::start(&config.state, config.mirror_limits());
    let (mirror, _losses) = started.map_err(|source| AccountsError::Journal { state: config.state.clone(), source })?;
    let has_copy = has_copy(&mirror);
    mirror.close(Duration::ZERO).await;
    Ok(has_copy)
}

/// The accounts as the boot disk has them: what is in force, whether a daemon runs or not.
pub fn known(config: &Config) -> Result<Known, AccountsError> {
    Ok(file::read(&config.state)?.map_or(Known::Nothing, Known::Accounts))
}

/// The accounts as people see them: by a running daemon, which knows what files come to, else as the boot disk has them.
pub async fn listed(config: &Config) -> Result<Option<Vec<AccountLine>>, AccountsError> {
    let state = &config.state;
    // One that does not answer, such as one of another version, is no reason to show nothing.
    if let Ok(Some(Answer::Users { users })) = control::ask(state, &Command::Users).await {
        return Ok(Some(users));
    }
    match known(config)? {
        Known::Accounts(accounts) => account_lines(&accounts, &uses::read(state), |_| Ok(None)).map(Some),
        Known::Nothing => Ok(None),
    }
}

/// The accounts in a state directory, if there are any that can be read.
pub(in crate::daemon) fn on_boot_disk(state: &Path) -> Option<Accounts> {
    file::read(state).ok().flatten()
}
