//! What a running daemon does with the accounts.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Mutex, watch};
use tokio::time::{sleep, timeout};

use crate::accounts::{ACCOUNTS_FILE, Accounts, BadAccounts, Change, SHARED_FOLDER, SharedRules};
use crate::clock;
use crate::daemon::accounts::{AccountsError, Changed, Copies, file, uses};
use crate::digest::Crc32;
use crate::mirror::Mirror;
use crate::mirror::refusal::Refusal;
use crate::mirror::request::{Asker, BodySource, Limited, Overwrite, Priority, PutRequest, Recurse, Span};
use crate::path::{BadPath, RelPath};
use crate::server::{ChangeRefused, Changer, Roll, TokenUses, account_lines};
use crate::wire::AccountLine;

/// How long whoever changes an account waits until it is on the drives too.
const DRIVES_WAIT: Duration = Duration::from_secs(3);
/// Before it is tried again to read or write the drives' copy.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(2);
/// Between two looks whether the drives' copy can still be read.
const LOOK_EVERY: Duration = Duration::from_mins(10);
/// Between two times that the tokens' last uses are saved, while they change.
const SAVE_USES_EVERY: Duration = Duration::from_mins(10);
/// Bytes of a document that is believed to be one.
const DOCUMENT_BYTES_MAX: u64 = 64 << 20;

/// The accounts while the daemon runs; it alone changes them.
pub(crate) struct Keeper {
    state: PathBuf,
    mirror: Arc<Mirror>,
    /// The address that is served, where others than this machine reach it.
    public: Option<SocketAddr>,
    /// `None` while they are on the drives alone.
    accounts: Mutex<Option<Arc<Accounts>>>,
    rules: parking_lot::Mutex<Arc<SharedRules>>,
    roll: watch::Sender<Roll>,
    /// The serial that the drives have.
    on_drives: watch::Sender<u64>,
    uses: Arc<TokenUses>,
}

/// Why the drives' copy is not what it should be.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Mirror(#[from] Refusal),
    #[error(transparent)]
    Path(#[from] BadPath),
    #[error("the drives' copy: {0}")]
    Document(#[from] crate::accounts::BadAccounts),
    #[error("the drives' copy has {0} bytes: it is none")]
    TooLarge(u64),
    #[error(transparent)]
    File(#[from] AccountsError),
}

impl Failure {
    /// Whether it may be otherwise once another drive is there, or a little later.
    fn may_pass(&self) -> bool {
        match self {
            Self::Mirror(Refusal::Unavailable { drive, .. }) => drive.is_some(),
            Self::Mirror(Refusal::NotFound(_)) | Self::TooLarge(_) | Self::Document(BadAccounts::NotJson(_)) => false,
            Self::Document(BadAccounts::TooNew(_)) | Self::Mirror(_) | Self::Path(_) | Self::File(_) => true,
        }
    }
}

impl Keeper {
    /// Reads what there is. `listen` is the address that is served.
    pub(crate) fn open(
        state: PathBuf,
        mirror: &Arc<Mirror>,
        listen: SocketAddr,
        rules: SharedRules,
    ) -> Result<Arc<Self>, AccountsError> {
        let accounts = match file::read(&state) {
            Ok(Some(accounts)) => Some(accounts),
            Ok(None) if has_copy(mirror) => None,
            Ok(None) => Some(Accounts::default()),
            // The drives have a good one.
            Err(AccountsError::Document { path, source: source @ BadAccounts::NotJson(_) }) if has_copy(mirror) => {
                tracing::error!(path = %path.display(), %source, "the accounts here are damaged: those on the drives are taken");
                None
            }
            Err(error) => return Err(error),
        };
        let public = Some(listen).filter(|listen| !listen.ip().is_loopback());
        let accounts = accounts.map(Arc::new);
        let rules = Arc::new(rules);
        let (roll, now) = (watch::Sender::new(roll_of(accounts.as_ref(), &rules, public)), accounts.clone());
        let (mirror, accounts, on_drives) = (Arc::clone(mirror), Mutex::new(accounts), watch::Sender::new(0));
        let rules = parking_lot::Mutex::new(rules);
        let uses = Arc::new(TokenUses::new(uses::read(&state)));
        let keeper = Self { state, mirror, public, accounts, rules, roll, on_drives, uses };
        keeper.publish(now.as_ref());
        Ok(Arc::new(keeper))
    }

    pub(crate) fn roll(&self) -> watch::Receiver<Roll> {
        self.roll.subscribe()
    }

    /// When tokens were last used: sessions note it.
    pub(crate) fn uses(&self) -> Arc<TokenUses> {
        Arc::clone(&self.uses)
    }

    /// Saves that now and then while it changes, until the task is dropped.
    pub(crate) async fn keep_uses(self: Arc<Self>) {
        loop {
            sleep(SAVE_USES_EVERY).await;
            self.save_uses().await;
        }
    }

    /// Saves when tokens were last used, if that has changed. Nothing depends on it.
    pub(crate) async fn save_uses(&self) {
        let accounts = self.accounts.lock().await.clone();
        // Those that are on the drives alone have tokens too.
        let Some(accounts) = accounts else { return };
        let tokens: BTreeSet<_> = accounts.users().flat_map(|(_, user)| user.tokens().map(|(id, _)| id)).collect();
        let Some(last) = self.uses.take_changed(|token| tokens.contains(&token)) else { return };
        let state = self.state.clone();
        let saved = tokio::task::spawn_blocking(move || uses::write(&state, last)).await;
        if let Err(error) = saved.unwrap_or_else(|error| Err(std::io::Error::other(error))) {
            tracing::warn!(%error, "when tokens were last used is not saved");
            self.uses.put_back();
        }
    }

    /// The accounts as people see them.
    pub(crate) async fn lines(&self) -> Result<Vec<AccountLine>, AccountsError> {
        let accounts = self.accounts.lock().await.clone().ok_or(AccountsError::Unread)?;
        // What files come to is not known while the journal cannot be read.
        let usage = |name: &str| Ok(self.mirror.usage(name).ok());
        account_lines(&accounts, &self.uses.last(), usage)
    }

    /// How sessions change them.
    pub(crate) fn changer(self: &Arc<Self>) -> Changer {
        let keeper = Arc::clone(self);
        Arc::new(move |change| {
            let keeper = Arc::clone(&keeper);
            Box::pin(async move {
                match keeper.change(&change).await {
                    Ok(changed) => Ok(changed.token),
                    Err(AccountsError::Account(error)) => Err(ChangeRefused::Account(error)),
                    Err(error) => Err(ChangeRefused::Other(error.to_string())),
                }
            })
        })
    }

    /// Whether nobody has an account. Those that could not be read yet count as some.
    pub(crate) async fn is_empty(&self) -> bool {
        self.accounts.lock().await.as_ref().is_some_and(|accounts| accounts.is_empty())
    }

    /// Makes a change that is in force when this returns.
    pub(crate) async fn change(&self, change: &Change) -> Result<Changed, AccountsError> {
        let (token, serial) = {
            let mut accounts = self.accounts.lock().await;
            let now = accounts.as_ref().ok_or(AccountsError::Unread)?;
            // On a journal that is older than the sticks nothing would last.
            match self
                .mirror
                .info(&RelPath::parse(ACCOUNTS_FILE).map_err(|why| AccountsError::Mirror(why.to_string()))?)
            {
                Ok(_) | Err(Refusal::NotFound(_)) => {}
                Err(refusal) => return Err(AccountsError::Mirror(refusal.to_string())),
            }
            let (next, token) = now.with(change, clock::wall_ns())?;
            if let Some(public) = self.public.filter(|_| next.is_empty()) {
                return Err(AccountsError::LastOnNetwork(public));
            }
            let serial = next.serial();
            self.take(&mut accounts, next)?;
            (token, serial)
        };
        let mut on_drives = self.on_drives.subscribe();
        let there = timeout(DRIVES_WAIT, on_drives.wait_for(|there| *there >= serial)).await;
        let copies = if matches!(there, Ok(Ok(_))) { Copies::OnDrives } else { Copies::BootDisk };
        Ok(Changed::new(token.as_ref(), copies))
    }

    fn take(&self, accounts: &mut Option<Arc<Accounts>>, next: Accounts) -> Result<(), AccountsError> {
        file::write(&self.state, &next)?;
        *accounts = Some(Arc::new(next));
        self.publish(accounts.as_ref());
        Ok(())
    }

    fn publish(&self, accounts: Option<&Arc<Accounts>>) {
        let users = accounts.into_iter().flat_map(|accounts| accounts.users());
        self.mirror.set_users(users.map(|(name, user)| (name.to_string(), user.quota)).collect());
        let rules = Arc::clone(&self.rules.lock());
        self.roll.send_replace(roll_of(accounts, &rules, self.public));
    }

    /// New settings.
    pub(crate) async fn set_rules(&self, rules: SharedRules) {
        let accounts = self.accounts.lock().await;
        *self.rules.lock() = Arc::new(rules);
        self.publish(accounts.as_ref());
    }

    /// Keeps both copies alike until the task is dropped.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut roll = self.roll.subscribe();
        let mut told = String::new();
        loop {
            roll.mark_unchanged();
            match self.settle().await {
                Ok(serial) => {
                    self.on_drives.send_replace(serial);
                    told.clear();
                    if let Ok(Err(_)) = timeout(LOOK_EVERY, roll.changed()).await {
                        return;
                    }
                }
                Err(failure) => {
                    let what = failure.to_string();
                    if what != told && self.mirror.is_anybody_there() {
                        tracing::warn!(failure = what, "the accounts are not on the drives as they are here");
                        told = what;
                    }
                    sleep(TRY_AGAIN_AFTER).await;
                }
            }
        }
    }

    /// Makes both copies alike, and the folders that users expect; the serial of what is on the drives then.
    async fn settle(&self) -> Result<u64, Failure> {
        let serial = self.compare().await?;
        let users = self.accounts.lock().await.clone();
        let users = users.iter().flat_map(|accounts| accounts.users()).map(|(name, _)| name.as_str());
        let mut homes: Vec<_> = users.map(str::to_owned).collect();
        if !homes.is_empty() {
            homes.push(SHARED_FOLDER.to_owned());
        }
        for home in homes {
            let path = RelPath::parse(&home)?;
            if !matches!(self.mirror.info(&path), Err(Refusal::NotFound(_))) {
                continue;
            }
            match self.mirror.make_folder(&path, Recurse::No, None).await {
                // A client was faster.
                Err(Refusal::Exists(_)) => {}
                made => drop(made?),
            }
        }
        Ok(serial)
    }

    /// Makes both copies alike, by the newer one; its serial.
    async fn compare(&self) -> Result<u64, Failure> {
        let here = self.accounts.lock().await.clone();
        let path = RelPath::parse(ACCOUNTS_FILE)?;
        let there = match self.mirror.info(&path) {
            Ok(info) => Some((info.size, info.crc32)),
            Err(Refusal::NotFound(_)) => None,
            Err(refusal) => return Err(refusal.into()),
        };
        let document = here.as_ref().map(|here| here.document());
        let is_alike = |(size, crc32): (u64, Option<Crc32>)| {
            document.as_ref().is_some_and(|here| size == here.len() as u64 && crc32 == Some(Crc32::of(here)))
        };
        match (&here, there) {
            (Some(here), None) if here.serial() == 0 => return Ok(0),
            (None, None) => return Ok(0),
            // Somebody may have deleted or damaged it on all drives since: then it is written anew.
            (Some(here), Some(there)) if is_alike(there) => match self.read(&path).await {
                Ok(_) => return Ok(here.serial()),
                Err(failure) if failure.may_pass() => return Err(failure),
                Err(_) => {}
            },
            (Some(_), None) => {}
            (_, Some(_)) => {
                let found = match self.found(&path).await {
                    Ok(found) => Some(found),
                    // What nobody can read is not waited for where there is another.
                    Err(failure) if here.is_none() || failure.may_pass() => return Err(failure),
                    Err(_) => None,
                };
                if let Some(found) = found
                    && here.as_ref().is_none_or(|here| here.serial() < found.serial())
                {
                    let mut accounts = self.accounts.lock().await;
                    // Somebody may have changed them meanwhile: the next look compares again.
                    if accounts.as_ref().is_none_or(|now| now.serial() < found.serial()) {
                        tracing::info!(serial = found.serial(), "the accounts were taken from the drives");
                        self.take(&mut accounts, found)?;
                    }
                    return Ok(accounts.as_ref().map_or(0, |now| now.serial()));
                }
            }
        }
        if let (Some(here), Some(document)) = (here, document) {
            self.write(path, document).await?;
            return Ok(here.serial());
        }
        Ok(0)
    }

    async fn found(&self, path: &RelPath) -> Result<Accounts, Failure> {
        Ok(Accounts::parse(&self.read(path).await?)?)
    }

    async fn read(&self, path: &RelPath) -> Result<Vec<u8>, Failure> {
        let mut download = self.mirror.open(path, Span::default(), &Asker::own(Priority::Normal)).await?;
        if download.size > DOCUMENT_BYTES_MAX {
            return Err(Failure::TooLarge(download.size));
        }
        let mut bytes = Vec::new();
        while let Some(piece) = download.next().await? {
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }

    async fn write(&self, path: RelPath, document: Vec<u8>) -> Result<(), Failure> {
        let request = PutRequest {
            path,
            overwrite: Overwrite::Yes,
            len: Some(document.len() as u64),
            mtime_ns: None,
            executable: false,
            owner: String::new(),
            asker: Asker::own(Priority::Normal),
            source: BodySource::Client,
            limited: Limited::No,
            id: None,
        };
        let mut upload = self.mirror.begin_put(request).await?;
        upload.write(Bytes::from(document)).await?;
        let crc = upload.crc32();
        upload.commit(crc).await?;
        Ok(())
    }
}

/// Whether the mirror has accounts, as far as its journal can be read.
pub(super) fn has_copy(mirror: &Mirror) -> bool {
    RelPath::parse(ACCOUNTS_FILE).is_ok_and(|path| !matches!(mirror.info(&path), Err(Refusal::NotFound(_))))
}

/// Without an account a mirror is everybody's, on this machine.
fn roll_of(accounts: Option<&Arc<Accounts>>, rules: &Arc<SharedRules>, public: Option<SocketAddr>) -> Roll {
    match accounts {
        None => Roll::Unread,
        Some(accounts) if accounts.is_empty() && public.is_none() => Roll::Open,
        Some(accounts) => Roll::Accounts(Arc::clone(accounts), Arc::clone(rules)),
    }
}
