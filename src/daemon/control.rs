//! `<state>/control.sock`: commands to a running daemon from its own machine.
//!
//! One line of JSON either way, one command a connection. Only the daemon's own user and root are heard.
#![allow(clippy::disallowed_methods, reason = "the socket lies in the state directory, never on a drive")]

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

use crate::accounts;
use crate::audit::AuditLog;
use crate::clock;
use crate::config::Config;
use crate::daemon::accounts::{Changed, Copies, Keeper};
use crate::daemon::replace::{self, ReplaceError, ReplaceRequest, Replaced};
use crate::daemon::state_lock::{StateLock, StateLockError};
use crate::ids::Side;
use crate::journal::store::StoreError;
use crate::mirror::Mirror;
use crate::watcher::{KnownDrive, WatcherHandle};
use crate::wire::{self, AccountLine, AuditLine, Op, Time};

/// The socket's name in the state directory.
const SOCKET: &str = "control.sock";
/// Bytes of a command.
const LINE_BYTES_MAX: u64 = 64 << 10;
/// Bytes of an answer: one may be all accounts.
const ANSWER_BYTES_MAX: u64 = 64 << 20;
/// Of a refusal, in the audit log.
const MESSAGE_CHARS_MAX: usize = 200;
/// For a command to arrive.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(10);

/// What a running daemon can be told.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Command {
    Replace(ReplaceRequest),
    /// Takes up a parked drive at once.
    Unpark {
        side: Side,
    },
    /// Changes an account.
    Accounts(accounts::Change),
    /// Lists the accounts.
    Users,
}

/// What it answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Answer {
    Replaced(Replaced),
    Done,
    /// An account was changed; the token that it got, which is told this once.
    Accounts {
        token: Option<String>,
        copies: Copies,
    },
    Users {
        users: Vec<AccountLine>,
    },
    Refused {
        message: String,
    },
}

/// Why a running daemon could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    #[error("{}: {source}", path.display())]
    Socket { path: PathBuf, source: io::Error },
    #[error("{}: the daemon hung up without an answer", .0.display())]
    HungUp(PathBuf),
    #[error("{}: no answer of this version's: {source}", path.display())]
    Answer { path: PathBuf, source: serde_json::Error },
}

fn socket(state: &Path) -> PathBuf {
    state.join(SOCKET)
}

/// Opens the socket of a daemon that has the journal, and so no other beside it.
pub fn listen(state: &Path) -> Result<UnixListener, ControlError> {
    let path = socket(state);
    let failed = |source| ControlError::Socket { path: path.clone(), source };
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        Ok(()) | Err(_) => {}
    }
    UnixListener::bind(&path).map_err(failed)
}

/// Removes the socket when the daemon ends. One that stays is found to lead nowhere, and made anew.
pub fn close(state: &Path) {
    let _ = std::fs::remove_file(socket(state));
}

/// Whom commands are about.
pub(crate) struct Told {
    pub(crate) mirror: Arc<Mirror>,
    pub(crate) watcher: WatcherHandle,
    pub(crate) keeper: Arc<Keeper>,
    pub(crate) audit: Arc<AuditLog>,
    pub(crate) state: PathBuf,
}

/// Serves commands, one after the other, until the task is dropped.
pub(crate) async fn serve(listener: UnixListener, told: Told) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                if let Err(error) = converse(stream, &told).await {
                    tracing::warn!(%error, "control socket");
                }
            }
            Err(error) => {
                tracing::warn!(%error, "control socket");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

async fn converse(stream: UnixStream, told: &Told) -> io::Result<()> {
    let peer = stream.peer_cred()?.uid();
    let (reader, mut writer) = stream.into_split();
    let answer = if peer != 0 && peer != rustix::process::geteuid().as_raw() {
        refused(format!("user {peer} may not command this daemon: only root and its own user may"))
    } else {
        let mut line = String::new();
        let mut reader = BufReader::new(reader.take(LINE_BYTES_MAX));
        let read = tokio::time::timeout(COMMAND_TIMEOUT, reader.read_line(&mut line)).await;
        read.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        match serde_json::from_str(&line) {
            Ok(command) => perform_audited(command, told).await,
            Err(error) => refused(format!("no command of this version's: {error}")),
        }
    };
    let mut line = serde_json::to_vec(&answer)?;
    line.push(b'\n');
    writer.write_all(&line).await
}

async fn perform_audited(command: Command, told: &Told) -> Answer {
    let (time, began) = (Time(clock::wall_ns()), clock::now());
    let (name, detail) = match &command {
        Command::Replace(request) => ("replace", request.side.name().to_owned()),
        Command::Unpark { side } => ("unpark", side.name().to_owned()),
        Command::Accounts(change) => (Op::Account.as_str(), change.summary()),
        Command::Users => (Op::Accounts.as_str(), String::new()),
    };
    let answer = perform(command, told).await;
    let (outcome, message) = match &answer {
        Answer::Replaced(_) | Answer::Done | Answer::Accounts { .. } | Answer::Users { .. } => (wire::OK, None),
        Answer::Refused { message } => ("refused", Some(message.chars().take(MESSAGE_CHARS_MAX).collect())),
    };
    told.audit.record(AuditLine {
        time,
        address: "control".to_owned(),
        command: name.to_owned(),
        detail: Some(detail).filter(|detail| !detail.is_empty()),
        microseconds: u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX),
        outcome: outcome.to_owned(),
        message,
        ..AuditLine::default()
    });
    answer
}

async fn perform(command: Command, told: &Told) -> Answer {
    let Told { mirror, watcher, keeper, audit: _, state } = told;
    match command {
        Command::Replace(request) => match replace::replace(mirror, state, &request).await {
            Ok(replaced) => {
                let Replaced { side, drive, path, paths, bytes } = &replaced;
                tracing::info!(drive = %side, id = %drive, paths, bytes, "drive replaced");
                watcher.expect(*side, KnownDrive { id: *drive, places: vec![path.clone()] });
                Answer::Replaced(replaced)
            }
            Err(error) => refused(error.to_string()),
        },
        Command::Accounts(change) => match keeper.change(&change).await {
            Ok(Changed { token, copies }) => {
                tracing::info!(?change, "accounts changed");
                Answer::Accounts { token, copies }
            }
            Err(error) => refused(error.to_string()),
        },
        Command::Users => match keeper.lines().await {
            Ok(users) => Answer::Users { users },
            Err(error) => refused(error.to_string()),
        },
        Command::Unpark { side } => match mirror.unpark(side) {
            Ok(()) => Answer::Done,
            Err(error) => refused(error.to_string()),
        },
    }
}

fn refused(message: String) -> Answer {
    Answer::Refused { message }
}

/// Who did what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The daemon that runs: it goes on with it at once.
    Daemon,
    /// This process, as no daemon runs.
    Us,
}

/// Why a command was not done.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    #[error(transparent)]
    Control(#[from] ControlError),
    /// In the daemon's words.
    #[error("{0}")]
    Refused(String),
    #[error(transparent)]
    Replace(#[from] ReplaceError),
    #[error(transparent)]
    Locked(#[from] StateLockError),
    #[error("no twinstickd serves {}: nothing is parked", .0.display())]
    NoDaemon(PathBuf),
    #[error("the daemon gave another command's answer: is it of another version?")]
    AnotherAnswer,
    #[error("{} has no journal: enrol two drives with twinstickd init first", .0.display())]
    NotEnrolled(PathBuf),
    #[error("the journal in {}: {source}", state.display())]
    Journal { state: PathBuf, source: StoreError },
}

impl From<Answer> for CommandError {
    /// An answer that is not the one expected.
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::Refused { message } => Self::Refused(message),
            Answer::Replaced(_) | Answer::Done | Answer::Accounts { .. } | Answer::Users { .. } => Self::AnotherAnswer,
        }
    }
}

/// Replaces a drive: through the daemon where one runs, else here.
pub async fn replace(config: &Config, request: &ReplaceRequest) -> Result<(Replaced, By), CommandError> {
    let state = &config.state;
    match ask(state, &Command::Replace(request.clone())).await? {
        Some(Answer::Replaced(replaced)) => return Ok((replaced, By::Daemon)),
        Some(answer) => return Err(answer.into()),
        None => {}
    }
    if !Mirror::exists(state) {
        return Err(CommandError::NotEnrolled(state.clone()));
    }
    let _lock = StateLock::take(state, "replace")?;
    let started = Mirror::start(state, config.mirror_limits());
    let (mirror, _losses) = started.map_err(|source| CommandError::Journal { state: state.clone(), source })?;
    let outcome = replace::replace(&mirror, state, request).await;
    mirror.close(Duration::ZERO).await;
    Ok((outcome?, By::Us))
}

/// Has the daemon that runs take up a parked drive at once.
pub async fn unpark(config: &Config, side: Side) -> Result<(), CommandError> {
    match ask(&config.state, &Command::Unpark { side }).await? {
        Some(Answer::Done) => Ok(()),
        Some(answer) => Err(answer.into()),
        None => Err(CommandError::NoDaemon(config.state.clone())),
    }
}

/// Asks the daemon of a state directory; `None` where none runs.
pub(super) async fn ask(state: &Path, command: &Command) -> Result<Option<Answer>, ControlError> {
    let path = socket(state);
    let failed = |source| ControlError::Socket { path: path.clone(), source };
    let stream = match UnixStream::connect(&path).await {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(error) => return Err(failed(error)),
    };
    let (reader, mut writer) = stream.into_split();
    let mut line = serde_json::to_vec(command).map_err(|error| failed(error.into()))?;
    line.push(b'\n');
    writer.write_all(&line).await.map_err(failed)?;
    let mut answer = String::new();
    BufReader::new(reader.take(ANSWER_BYTES_MAX)).read_line(&mut answer).await.map_err(failed)?;
    if answer.is_empty() {
        return Err(ControlError::HungUp(path));
    }
    let answer = serde_json::from_str(&answer).map_err(|source| ControlError::Answer { path: path.clone(), source })?;
    Ok(Some(answer))
}
