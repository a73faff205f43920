//! What can go wrong between a client and its server.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::client::limits::RETRY_AFTER_MAX;
use crate::digest::Crc32;
use crate::tls::Fingerprint;
use crate::wire::{AnswerError, ErrorName, Fault, FrameError};

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("{0}")]
    Refused(Fault),
    #[error("no twinstickd answers at {address}: {source}")]
    Unreachable { address: String, source: io::Error },
    #[error("the connection to {address} was lost: {source}")]
    Lost { address: String, source: FrameError },
    /// What was asked for may have been done: the answer was lost, or leaves it open.
    #[error("{0}; the request had been sent, and whether it was done is not known")]
    InDoubt(Box<ClientError>),
    #[error("the connection to {address} was lost in the middle of a stream, which cannot be sent again")]
    CutOff { address: String },
    #[error("what answers at {address} does not speak twinstick/1: {source}")]
    Foreign { address: String, source: serde_json::Error },
    #[error("the key of {address} is not known here, so nothing was sent: its fingerprint is {seen}")]
    UnknownKey { address: String, seen: Fingerprint },
    #[error(
        "{address} has another key than it had, so nothing was sent: somebody may be in between. Its fingerprint is {seen}; \
         {pinned} was pinned"
    )]
    OtherKey { address: String, pinned: Fingerprint, seen: Fingerprint },
    /// `source` is for those who know TLS.
    #[error("no TLS connection with {address} came about: {} ({source})", no_handshake(source))]
    Handshake { address: String, source: rustls::Error },
    #[error("{address} took the password and gave no token for it: is it of another version?")]
    NoToken { address: String },
    #[error("{path} arrived with CRC-32 {actual}, the server sent {expected}: nothing was kept, get it again")]
    Damaged { path: String, expected: Crc32, actual: Crc32 },
    #[error("{path}: {source}")]
    Local { path: PathBuf, source: io::Error },
    #[error("{path} changed while it was read: it has fewer than {expected} bytes now")]
    Shrunk { path: PathBuf, expected: u64 },
}

/// Whether the same request can be sent again with another outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remedy {
    /// On a new connection, after a pause.
    Reconnect,
    /// If there was a server before, it may be starting again.
    ReconnectIfKnown,
    /// At once.
    Restart,
    None,
}

/// Why there was no handshake, for people.
fn no_handshake(error: &rustls::Error) -> &'static str {
    use rustls::Error;
    match error {
        Error::InvalidMessage(_) | Error::InappropriateMessage { .. } | Error::PeerSentOversizedRecord => {
            "what answers there does not speak TLS, so nothing was sent; is it another service's port?"
        }
        Error::PeerIncompatible(_) => "it does not speak TLS 1.3, so it is no twinstickd of this kind",
        Error::AlertReceived(_) => "the server broke it off",
        Error::InvalidCertificate(_) | Error::NoCertificatesPresented => {
            "what it shows is no certificate of a twinstickd"
        }
        _ => "the two did not come to terms",
    }
}

impl ClientError {
    pub(crate) fn remedy(&self) -> Remedy {
        match self {
            Self::Refused(fault) => match fault.error {
                ErrorName::Busy | ErrorName::Timeout => Remedy::Reconnect,
                ErrorName::Superseded => Remedy::Restart,
                ErrorName::NotFound
                | ErrorName::Exists
                | ErrorName::IsADirectory
                | ErrorName::NotADirectory
                | ErrorName::NotEmpty
                | ErrorName::BadPath
                | ErrorName::BadRequest
                | ErrorName::UnknownOp
                | ErrorName::UnsupportedVersion
                | ErrorName::TooLarge
                | ErrorName::BadChecksum
                | ErrorName::NoSpace
                | ErrorName::Quota
                | ErrorName::Unavailable
                | ErrorName::JournalUnavailable
                | ErrorName::Denied
                | ErrorName::NeedsForce
                | ErrorName::OtherVersion
                | ErrorName::Leased
                | ErrorName::SentenceGone
                | ErrorName::TlsRequired
                | ErrorName::NoTls
                | ErrorName::Unknown(_) => Remedy::None,
            },
            Self::Lost { .. } => Remedy::Reconnect,
            Self::Unreachable { .. } => Remedy::ReconnectIfKnown,
            Self::InDoubt(_)
            | Self::CutOff { .. }
            | Self::Foreign { .. }
            | Self::UnknownKey { .. }
            | Self::OtherKey { .. }
            | Self::Handshake { .. }
            | Self::NoToken { .. }
            | Self::Damaged { .. }
            | Self::Local { .. }
            | Self::Shrunk { .. } => Remedy::None,
        }
    }

    /// Whether it says what became of a change that was asked for before, by its id: it was not made. What comes before
    /// anybody looks at the id does not, nor does a journal that may have it or not.
    pub(crate) fn is_verdict(&self) -> bool {
        match self {
            Self::Refused(fault) => !matches!(
                fault.error,
                ErrorName::Busy
                    | ErrorName::Timeout
                    | ErrorName::Unavailable
                    | ErrorName::JournalUnavailable
                    | ErrorName::Denied
                    | ErrorName::UnsupportedVersion
                    | ErrorName::TlsRequired
                    | ErrorName::NoTls
                    | ErrorName::Unknown(_)
            ),
            _ => false,
        }
    }

    /// Whether it leaves open what became of the request that it answers.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self, Self::Refused(fault) if fault.error == ErrorName::JournalUnavailable)
    }

    /// When the server said that it would take the request.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused(fault) => {
                fault.retry_after.map(Duration::from_secs).filter(|pause| *pause <= RETRY_AFTER_MAX)
            }
            _ => None,
        }
    }

    pub(crate) fn of_answer(error: AnswerError, address: &str) -> Self {
        match error {
            AnswerError::Refused(fault) => Self::Refused(fault),
            AnswerError::Malformed(source) => Self::Foreign { address: address.to_owned(), source },
        }
    }
}
