//! Errors as they stand on the wire.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::wire::limits::MESSAGE_BYTES_MAX;

macro_rules! names {
    ($($(#[$doc:meta])* $variant:ident = $text:literal,)*) => {
        /// The stable names of errors. Names are added, never changed.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum ErrorName {
            $($(#[$doc])* $variant,)*
            /// One that this version does not know yet.
            Unknown(String),
        }

        impl ErrorName {
            /// All that this version knows.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $text,)*
                    Self::Unknown(text) => text,
                }
            }
        }

        impl From<String> for ErrorName {
            fn from(text: String) -> Self {
                match text.as_str() {
                    $($text => Self::$variant,)*
                    _ => Self::Unknown(text),
                }
            }
        }
    };
}

names! {
    /// There is no such file or folder.
    NotFound = "not-found",
    /// The name is taken.
    Exists = "exists",
    /// A file was meant, it is a folder.
    IsADirectory = "is-a-directory",
    /// A folder was meant, it is a file.
    NotADirectory = "not-a-directory",
    /// The folder has something in it.
    NotEmpty = "not-empty",
    /// The path cannot be one of the mirror's.
    BadPath = "bad-path",
    /// The line is not what PROTOCOL.md says.
    BadRequest = "bad-request",
    /// The server has no such operation.
    UnknownOp = "unknown-op",
    /// The server speaks another version.
    UnsupportedVersion = "unsupported-version",
    /// A limit was passed.
    TooLarge = "too-large",
    /// The body's bytes are not those of its trailer.
    BadChecksum = "bad-checksum",
    /// A drive has no room; `drive` says which.
    NoSpace = "no-space",
    /// The user's files may not come to more.
    Quota = "quota",
    /// No present drive has it; `drive` says which one would.
    Unavailable = "unavailable",
    /// The version that was being read is gone: start again.
    Superseded = "superseded",
    /// The journal cannot be written, and reads go on; or it cannot be read.
    JournalUnavailable = "journal-unavailable",
    /// Too many connections, or the server lacks descriptors or memory for now: try again.
    Busy = "busy",
    /// The client was silent for too long.
    Timeout = "timeout",
    /// Not allowed.
    Denied = "denied",
    /// Something could not be had then; `force` does it all the same.
    NeedsForce = "needs-force",
    /// Somebody changed it since: it is not the version that was meant.
    OtherVersion = "other-version",
    /// Somebody else is editing the sentence.
    Leased = "leased",
    /// The sentence that was edited is not there any more, or somebody else has it.
    SentenceGone = "sentence-gone",
    /// Nothing is taken in clear here.
    TlsRequired = "tls-required",
    /// The server does not speak TLS; said in clear.
    NoTls = "no-tls",
}

impl fmt::Display for ErrorName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for ErrorName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for ErrorName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}

/// A refusal: a line of its own, or a body's trailer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    ok: bool,
    /// The stable name.
    pub error: ErrorName,
    /// For people.
    #[serde(default)]
    pub message: String,
    /// The drive that holds what was asked for, or that lacks room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drive: Option<String>,
    /// Seconds after which the same request would be taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
    /// Whether the server closes the connection behind this line.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub close: bool,
}

impl Fault {
    /// Invariant: the message is at most [`MESSAGE_BYTES_MAX`] long, so that the line fits its limit.
    pub fn new(error: ErrorName, message: impl Into<String>) -> Self {
        let mut message = message.into();
        if message.len() > MESSAGE_BYTES_MAX {
            let end = (0..=MESSAGE_BYTES_MAX - 3).rev().find(|&at| message.is_char_boundary(at));
            message.truncate(end.unwrap_or(0));
            message.push('\u{2026}');
        }
        Self { ok: false, error, message, drive: None, retry_after: None, close: false }
    }

    /// A refusal that would be none after so many seconds.
    #[must_use]
    pub fn until(self, seconds: u64) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }

    #[must_use]
    pub fn of_drive(self, drive: Option<&str>) -> Self {
        Self { drive: drive.map(str::to_owned), ..self }
    }

    /// The same, said to be the connection's last line.
    #[must_use]
    pub fn closing(self) -> Self {
        Self { close: true, ..self }
    }
}

/// What an answer that was not the expected one is.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    #[error("{0}")]
    Refused(Fault),
    #[error("the answer is no line of the protocol: {0}")]
    Malformed(serde_json::Error),
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn names_come_back_as_they_were() {
        for name in ErrorName::ALL {
            assert_eq!(ErrorName::from(name.to_string()), *name);
        }
        assert_eq!(ErrorName::from("later".to_owned()), ErrorName::Unknown("later".to_owned()));
    }

    #[test]
    fn a_fault_with_the_longest_message_fits_one_line() {
        let fault = Fault::new(ErrorName::BadPath, "\u{1}".repeat(20_000)).closing();
        let line = serde_json::to_vec(&fault).unwrap();
        assert!(line.len() < crate::wire::limits::HEADER_BYTES_MAX, "{}", line.len());
        assert!(Fault::new(ErrorName::BadPath, "\u{e9}".repeat(600)).message.len() <= MESSAGE_BYTES_MAX);
    }

    #[test]
    fn a_plain_fault_has_only_its_name_and_message() {
        let line = serde_json::to_string(&Fault::new(ErrorName::NotFound, "no such file: none")).unwrap();
        assert_eq!(line, r#"{"ok":false,"error":"not-found","message":"no such file: none"}"#);
    }
}
