//! What the server answers: lines of JSON that begin with `"ok"`.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::digest::Crc32;
use crate::ids::Lsn;
use crate::wire::error::{AnswerError, Fault};
use crate::wire::line::Secret;
use crate::wire::text;
use crate::wire::time::Time;

/// What most answers fit in.
const LINE_BYTES: usize = 256;

/// A line of compact JSON with its newline.
pub fn line_of<T: Serialize>(value: &T) -> Vec<u8> {
    lines_of([value])
}

/// A line for each.
pub fn lines_of<T: Serialize>(values: impl IntoIterator<Item = T>) -> Vec<u8> {
    let mut lines = Vec::with_capacity(LINE_BYTES);
    for value in values {
        #[expect(clippy::expect_used, reason = "the wire's types have text keys and no failing serializer")]
        serde_json::to_writer(&mut lines, &value).expect("a type of the wire is JSON");
        lines.push(b'\n');
    }
    lines
}

/// Reads a line that is either a `T` or a refusal.
pub fn read_answer<T: DeserializeOwned>(line: &[u8]) -> Result<T, AnswerError> {
    #[derive(Deserialize)]
    struct Verdict {
        ok: bool,
    }
    let Verdict { ok } = serde_json::from_slice(line).map_err(AnswerError::Malformed)?;
    if ok {
        serde_json::from_slice(line).map_err(AnswerError::Malformed)
    } else {
        let fault: Fault = serde_json::from_slice(line).map_err(AnswerError::Malformed)?;
        Err(AnswerError::Refused(fault))
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HelloAnswer {
    pub ok: bool,
    pub server: String,
    /// Who the token is of, where there are accounts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

/// The answer to a mutation: it is durable.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MutationAnswer {
    pub ok: bool,
    pub lsn: Lsn,
    /// CRC-32 of a PUT's body.
    #[serde(default, with = "text::option", skip_serializing_if = "Option::is_none")]
    pub crc32: Option<Crc32>,
    /// The drives on which it is durable (a PUT), or which apply it now (others).
    #[serde(default)]
    pub drives: Vec<String>,
    /// To a PUT of somebody who has nearly all in use that may be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<UsageNote>,
}

/// The head of a sentence that somebody may edit now; the sentence is the body.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct EditAnswer {
    pub ok: bool,
    pub len: u64,
    /// What names it in what follows on this connection.
    pub lease: u64,
    /// How many there are.
    pub sentences: u64,
    /// The text's version; absent where there is no file yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lsn: Option<Lsn>,
}

/// Bytes that a user's files come to, and may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageNote {
    pub bytes: u64,
    pub limit: u64,
}

/// The answer to `usage`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageAnswer {
    pub ok: bool,
    pub user: String,
    pub files: u64,
    pub bytes: u64,
    /// Bytes; absent where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free: Option<u64>,
}

/// The answer to an undo: what it brought back is durable.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UndoAnswer {
    pub ok: bool,
    pub lsn: Lsn,
    /// The drives that apply it now.
    #[serde(default)]
    pub drives: Vec<String>,
    /// Files and folders.
    pub restored: u64,
}

/// How much was let go of.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct EmptiedAnswer {
    pub ok: bool,
    pub items: u64,
    pub bytes: u64,
}

/// One line of a `trash` body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrashLine {
    /// Where it was.
    pub path: String,
    pub kind: Kind,
    pub size: u64,
    /// When it was thrown away, by the daemon's clock then.
    pub when: Time,
    pub why: Why,
    /// What names it among others of its path.
    pub lsn: Lsn,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Why {
    Removed,
    Overwritten,
}

/// The head of a GET's answer; the body and its trailer follow.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DownloadAnswer {
    pub ok: bool,
    /// Bytes that follow.
    pub len: u64,
    #[serde(default)]
    pub lsn: Lsn,
    /// Bytes of the whole file, where only a part was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtime: Option<Time>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub executable: bool,
    /// Whether the body comes in chunks.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub chunked: bool,
}

/// The head of an answer with a body: `ls`, `status`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct BodyAnswer {
    pub ok: bool,
    pub len: u64,
}

/// The line behind a body. A client's has no `ok`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Trailer {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ok: Option<bool>,
    #[serde(with = "text")]
    pub crc32: Crc32,
}

impl Trailer {
    pub fn of_server(crc32: Crc32) -> Self {
        Self { ok: Some(true), crc32 }
    }

    pub fn of_client(crc32: Crc32) -> Self {
        Self { ok: None, crc32 }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    File,
    Folder,
}

/// One line of an `ls` body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryLine {
    /// Relative to the folder listed; a path where the listing is recursive.
    pub name: String,
    pub kind: Kind,
    #[serde(default)]
    pub size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified: Option<Time>,
    #[serde(default)]
    pub lsn: Lsn,
    #[serde(default, with = "text::option", skip_serializing_if = "Option::is_none")]
    pub crc32: Option<Crc32>,
}

/// The answer to `info`, all in one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InfoAnswer {
    pub ok: bool,
    pub path: String,
    pub kind: Kind,
    pub size: u64,
    pub modified: Time,
    #[serde(default, with = "text::option", skip_serializing_if = "Option::is_none")]
    pub crc32: Option<Crc32>,
    pub owner: String,
    pub lsn: Lsn,
    pub executable: bool,
    pub drives: Vec<InfoCopy>,
    /// With whom it is shared, itself or as a part of something; for those alone who may share it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shared: Vec<SharedWith>,
}

/// Somebody with whom something is shared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedWith {
    pub user: String,
    /// Whether to change it too, and not only to read.
    pub write: bool,
}

/// An account was changed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AccountAnswer {
    pub ok: bool,
    /// The one that it got, said this once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Secret>,
}

/// One line of the accounts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountLine {
    pub user: String,
    #[serde(default)]
    pub admin: bool,
    #[serde(default)]
    pub read_only: bool,
    /// What the user's files come to, where that is known, and may; without a limit as much as the drives take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// Whether there is one to log in with.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub password: bool,
    pub tokens: Vec<TokenLine>,
}

/// What is known of a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenLine {
    pub id: String,
    pub label: String,
    pub made: Time,
    /// `None`: never, as far as is known.
    #[serde(default)]
    pub last_used: Option<Time>,
}

/// One line of the shares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShareLine {
    pub path: String,
    pub user: String,
    pub write: bool,
}

/// One line of what lies aside on the drives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AsideLine {
    pub drive: String,
    /// Its name for `drop`.
    pub item: String,
    /// Where it was.
    pub path: String,
    /// `edited`, `found`, `damaged` or `unknown`.
    pub cause: String,
    /// Whether a repair has put a whole copy in its place: the oldest such go when the aside folder is full.
    #[serde(default)]
    pub replaced: bool,
    /// The day in UTC when it was set aside.
    pub day: Option<String>,
    pub lsn: Option<Lsn>,
    pub files: u64,
    pub size: u64,
}

/// The answer to `drop`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropAnswer {
    pub ok: bool,
}

/// The answer to `eject`: nothing is open on the drive any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EjectAnswer {
    pub ok: bool,
    pub drive: String,
    /// Where it was mounted.
    pub path: String,
    /// Whether it may be pulled now.
    pub unmounted: bool,
    /// What unmounts it, where the daemon could not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// For people.
    pub message: String,
}

/// Where a drive's copy of this version is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CopyState {
    /// Under its name.
    Installed,
    /// Durable, not yet under its name.
    Staged,
    Missing,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InfoCopy {
    pub name: String,
    pub present: bool,
    pub copy: CopyState,
    /// Whether this drive would have the version after a power cut.
    pub durable: bool,
    pub last_verified: Option<Time>,
    /// How often the copy was damaged or gone and was made whole again, since the daemon started.
    #[serde(default, skip_serializing_if = "is_none")]
    pub repaired: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_none(count: &u64) -> bool {
    *count == 0
}

/// The head of an answer that comes line by line.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct VerifyAnswer {
    pub ok: bool,
    pub chunked: bool,
}

/// One line of a comparison of drives and catalog, or how far it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifiedLine {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The drive that it is about; none where all that are there are alike.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drive: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<VerifyFinding>,
    /// Why it could not be looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Files looked at so far, and bytes read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VerifyFinding {
    Same,
    /// In the catalog, not on the drive.
    Missing,
    /// On the drive, not in the catalog.
    Extra,
    Differs,
    Error,
}

/// What came of an order to scrub.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubAnswer {
    pub ok: bool,
    pub state: ScrubOrdered,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScrubOrdered {
    Started,
    Resumed,
    Paused,
    AlreadyRunning,
    AlreadyPaused,
    NothingToPause,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn an_answer_is_one_compact_line() {
        let answer = MutationAnswer {
            ok: true,
            lsn: Lsn(17),
            crc32: Some(Crc32::of(b"hello world")),
            drives: vec!["a".to_owned(), "b".to_owned()],
            usage: None,
        };
        let line = String::from_utf8(line_of(&answer)).unwrap();
        assert_eq!(line, "{\"ok\":true,\"lsn\":17,\"crc32\":\"0d4a1185\",\"drives\":[\"a\",\"b\"]}\n");
    }

    #[test]
    fn a_refusal_is_told_from_an_answer() {
        let refused = read_answer::<Trailer>(br#"{"ok":false,"error":"superseded","message":"changed"}"#);
        assert!(matches!(refused, Err(AnswerError::Refused(fault)) if fault.message == "changed"));
        let trailer = read_answer::<Trailer>(br#"{"ok":true,"crc32":"0d4a1185"}"#).unwrap();
        assert_eq!(trailer.crc32, Crc32::of(b"hello world"));
        assert!(matches!(read_answer::<Trailer>(b"rubbish"), Err(AnswerError::Malformed(_))));
        assert!(matches!(read_answer::<Trailer>(br#"{"ok":true}"#), Err(AnswerError::Malformed(_))));
    }
}
