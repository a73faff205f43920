//! Exit codes, and the words that go with them.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::client::error::ClientError;
use crate::client::kept::KeptError;
use crate::client::token::TokenError;
use crate::tls::Fingerprint;
use crate::wire::{ErrorName, HealthState};

/// How `fget` ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Done,
    Other,
    Usage,
    Partial,
    NotFound,
    Unavailable,
    Denied,
    NoSpace,
    Integrity,
    Exists,
    FewerCopies,
    Interrupted,
    Terminated,
    /// Nobody reads standard output any more.
    BrokenPipe,
    /// What `status --check` found; `None`: nobody could tell.
    Check(Option<HealthState>),
}

impl Exit {
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Done | Self::Check(Some(HealthState::Healthy)) => 0,
            Self::Other | Self::Check(Some(HealthState::Degraded)) => 1,
            Self::Usage | Self::Check(Some(HealthState::Unusable)) => 2,
            Self::Partial => 3,
            Self::NotFound | Self::Check(None) => 4,
            Self::Unavailable => 5,
            Self::Denied => 6,
            Self::NoSpace => 7,
            Self::Integrity => 8,
            Self::Exists => 9,
            Self::FewerCopies => 10,
            Self::Interrupted => 130,
            Self::BrokenPipe => 141,
            Self::Terminated => 143,
        }
    }
}

/// Why a command did not do all that it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    #[error("{0}")]
    Client(#[from] ClientError),
    #[error("{0}")]
    Usage(String),
    #[error("{failed} of {all} failed")]
    Partial { failed: usize, all: usize },
    #[error(
        "the key was not compared, so nothing was sent: where 'twinstickd cert' on the server shows it, give --fingerprint {0}"
    )]
    NotCompared(Fingerprint),
    #[error("{error}{}what you wrote is in {}", fate(error), kept.display())]
    NotStored { error: ClientError, kept: PathBuf },
    #[error("{}", changed(path, mine, theirs.as_deref()))]
    Changed { path: String, mine: PathBuf, theirs: Option<PathBuf> },
    #[error("{why}: nothing is stored{}", kept.as_ref().map_or_else(String::new, |kept| format!(", and what you wrote is in {}", kept.display())))]
    Editor { why: String, kept: Option<PathBuf> },
    #[error("{why}: nothing is stored{}", kept.as_ref().map_or_else(String::new, |kept| format!(", and what you wrote is in {}", kept.display())))]
    Unfinished { why: String, kept: Option<PathBuf> },
    #[error("line {line}: {why}: nothing is stored")]
    BadLine { line: usize, why: String },
    #[error("stored on {stored}, {wanted} copies were asked for: see 'fget status'")]
    FewerCopies { stored: String, wanted: u8 },
    #[error("{path}: {source}")]
    Config { path: PathBuf, source: toml::de::Error },
    #[error("the server's answer is no status document: {0}")]
    Document(#[from] serde_json::Error),
    #[error("cannot tell: {0}")]
    CannotTell(String),
    #[error("{address} did not answer within {after}", after = humantime::format_duration(*after))]
    NoAnswer { address: String, after: Duration },
    #[error("not in sync after {after}: {state}", after = humantime::format_duration(*after))]
    NotInSync { after: Duration, state: String },
    #[error("in sync, but for what no drive has whole: {0}")]
    NotWhole(String),
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error(transparent)]
    Kept(#[from] KeptError),
    #[error("standard output: {0}")]
    Output(#[from] io::Error),
}

/// What is said between why something was not stored and where it is kept.
fn fate(error: &ClientError) -> &'static str {
    if matches!(error, ClientError::InDoubt(_)) { ": " } else { ": nothing is stored, and " }
}

fn changed(path: &str, mine: &Path, theirs: Option<&Path>) -> String {
    let what = match theirs {
        Some(theirs) => {
            format!("somebody stored another version of {path} meanwhile, which is in {}", theirs.display())
        }
        None => format!("somebody removed {path} meanwhile"),
    };
    format!("{what}: nothing is stored, and yours is in {}", mine.display())
}

impl CommandError {
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Client(error) | Self::NotStored { error, .. } => exit_of(error),
            Self::Changed { .. } => Exit::Exists,
            Self::Usage(_) | Self::Config { .. } | Self::BadLine { .. } => Exit::Usage,
            Self::Token(_) | Self::Kept(_) | Self::NotCompared(_) => Exit::Denied,
            Self::Partial { .. } => Exit::Partial,
            Self::FewerCopies { .. } => Exit::FewerCopies,
            Self::Editor { .. } | Self::Unfinished { .. } | Self::Document(_) => Exit::Other,
            Self::CannotTell(_) => Exit::Check(None),
            Self::NotWhole(_) => Exit::Integrity,
            Self::NoAnswer { .. } | Self::NotInSync { .. } => Exit::Unavailable,
            Self::Output(error) => exit_of_output(error),
        }
    }

    /// What the user can do, where the message does not say it.
    pub(crate) fn advice(&self) -> Option<&'static str> {
        match self {
            Self::Client(ClientError::InDoubt(_)) | Self::NotStored { error: ClientError::InDoubt(_), .. } => Some(
                "'fget info' or 'fget ls' shows what is there, 'fget aside' what is beside it, once the daemon answers: look \
                 before you do it again",
            ),
            Self::Client(error) => match error {
                ClientError::Unreachable { .. } => Some(
                    "is it running? 'twinstickd serve' starts it there; --server HOST:PORT or FGET_SERVER names another",
                ),
                ClientError::Lost { .. } => Some("'fget status' says whether the daemon is back; then try again"),
                ClientError::CutOff { .. } => Some("run the command again from the start of the stream"),
                ClientError::UnknownKey { .. } | ClientError::OtherKey { .. } => Some(
                    "if 'twinstickd cert' there shows this very fingerprint, 'fget login' pins it; scripts have it in \
                     FGET_FINGERPRINT",
                ),
                ClientError::Refused(fault) if fault.error == ErrorName::TlsRequired => {
                    Some("'fget --tls always login' pins its key; from then on TLS is spoken with it")
                }
                ClientError::Refused(fault) if fault.error == ErrorName::NoTls => Some(
                    "nothing was sent. If it should speak TLS, somebody may be in between; if it never did, 'twinstickd cert' \
                     makes a key there. 'fget logout' forgets a key that was pinned",
                ),
                ClientError::InDoubt(_)
                | ClientError::Refused(_)
                | ClientError::Handshake { .. }
                | ClientError::NoToken { .. }
                | ClientError::Foreign { .. }
                | ClientError::Damaged { .. }
                | ClientError::Local { .. }
                | ClientError::Shrunk { .. } => None,
            },
            Self::NotInSync { .. } | Self::NotWhole(_) => Some("'fget status' says what to do"),
            Self::Usage(_)
            | Self::NotStored { .. }
            | Self::Changed { .. }
            | Self::Editor { .. }
            | Self::Unfinished { .. }
            | Self::BadLine { .. }
            | Self::CannotTell(_)
            | Self::NoAnswer { .. }
            | Self::Partial { .. }
            | Self::FewerCopies { .. }
            | Self::Config { .. }
            | Self::Token(_)
            | Self::Kept(_)
            | Self::NotCompared(_)
            | Self::Document(_)
            | Self::Output(_) => None,
        }
    }
}

/// Whether a tree's other files would meet with the same.
pub(crate) fn is_of_server(error: &ClientError) -> bool {
    match error {
        ClientError::InDoubt(error) => is_of_server(error),
        ClientError::Unreachable { .. }
        | ClientError::Lost { .. }
        | ClientError::Foreign { .. }
        | ClientError::UnknownKey { .. }
        | ClientError::OtherKey { .. }
        | ClientError::Handshake { .. } => true,
        ClientError::Refused(fault) => {
            matches!(
                fault.error,
                ErrorName::JournalUnavailable
                    | ErrorName::Busy
                    | ErrorName::Denied
                    | ErrorName::TlsRequired
                    | ErrorName::NoTls
            )
        }
        ClientError::CutOff { .. }
        | ClientError::NoToken { .. }
        | ClientError::Damaged { .. }
        | ClientError::Local { .. }
        | ClientError::Shrunk { .. } => false,
    }
}

fn exit_of(error: &ClientError) -> Exit {
    match error {
        ClientError::InDoubt(error) => exit_of(error),
        ClientError::Refused(fault) => exit_of_name(&fault.error),
        ClientError::Unreachable { .. } | ClientError::Lost { .. } | ClientError::CutOff { .. } => Exit::Unavailable,
        ClientError::UnknownKey { .. } | ClientError::OtherKey { .. } => Exit::Denied,
        ClientError::Foreign { .. }
        | ClientError::Handshake { .. }
        | ClientError::NoToken { .. }
        | ClientError::Shrunk { .. } => Exit::Other,
        ClientError::Damaged { .. } => Exit::Integrity,
        ClientError::Local { source, .. } => exit_of_output(source),
    }
}

fn exit_of_name(name: &ErrorName) -> Exit {
    match name {
        ErrorName::NotFound => Exit::NotFound,
        ErrorName::Exists
        | ErrorName::IsADirectory
        | ErrorName::NotADirectory
        | ErrorName::NotEmpty
        | ErrorName::NeedsForce
        | ErrorName::OtherVersion
        | ErrorName::Leased
        | ErrorName::SentenceGone => Exit::Exists,
        ErrorName::BadPath => Exit::Usage,
        ErrorName::BadRequest
        | ErrorName::UnknownOp
        | ErrorName::UnsupportedVersion
        | ErrorName::TooLarge
        | ErrorName::Unknown(_) => Exit::Other,
        ErrorName::BadChecksum => Exit::Integrity,
        ErrorName::NoSpace | ErrorName::Quota => Exit::NoSpace,
        ErrorName::Unavailable
        | ErrorName::Superseded
        | ErrorName::JournalUnavailable
        | ErrorName::Busy
        | ErrorName::Timeout => Exit::Unavailable,
        ErrorName::Denied | ErrorName::TlsRequired | ErrorName::NoTls => Exit::Denied,
    }
}

fn exit_of_output(error: &io::Error) -> Exit {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Exit::BrokenPipe,
        io::ErrorKind::NotFound => Exit::NotFound,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Exit::NoSpace,
        io::ErrorKind::IsADirectory | io::ErrorKind::AlreadyExists => Exit::Exists,
        _ => Exit::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Fault;

    #[test]
    fn refusals_have_the_exit_codes_of_the_manual() {
        for (name, code) in [
            (ErrorName::NotFound, 4),
            (ErrorName::Unavailable, 5),
            (ErrorName::JournalUnavailable, 5),
            (ErrorName::Denied, 6),
            (ErrorName::TlsRequired, 6),
            (ErrorName::NoTls, 6),
            (ErrorName::NoSpace, 7),
            (ErrorName::Quota, 7),
            (ErrorName::BadChecksum, 8),
            (ErrorName::Exists, 9),
            (ErrorName::IsADirectory, 9),
            (ErrorName::NotEmpty, 9),
            (ErrorName::NeedsForce, 9),
            (ErrorName::OtherVersion, 9),
            (ErrorName::Leased, 9),
            (ErrorName::SentenceGone, 9),
            (ErrorName::UnknownOp, 1),
        ] {
            let error = CommandError::Client(ClientError::Refused(Fault::new(name.clone(), "")));
            assert_eq!(error.exit().code(), code, "{name}");
        }
        assert_eq!(Exit::Check(None).code(), 4);
        assert_eq!(Exit::Check(Some(HealthState::Unusable)).code(), 2);
    }
}
