//! What a client asks: one line of JSON, read once into a typed request.

use serde::{Deserialize, Serialize};

use crate::accounts::Change;
use crate::ids::Lsn;
use crate::wire::audit::LogRequest;
use crate::wire::body::BodyLength;
use crate::wire::error::{ErrorName, Fault};
use crate::wire::limits::ID_BYTES_MAX;
use crate::wire::line::{Priority, RequestLine, Secret, VERSION};
use crate::wire::op::Op;
use crate::wire::time::Time;

/// Who comes, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HelloRequest {
    pub token: Option<Secret>,
    /// Of somebody without one, who is about to get it by a password.
    pub login: bool,
    pub priority: Priority,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// A hello of the version that this side speaks, with a token where its sender has one.
    Hello(HelloRequest),
    Get(GetRequest),
    Put(PutRequest),
    Rm(RemoveRequest),
    Info {
        path: String,
    },
    Ls(ListRequest),
    Mkdir(MakeFolderRequest),
    Mv(MoveRequest),
    Undo(UndoRequest),
    /// What is in the trash of a path and of all below it.
    Trash {
        path: String,
    },
    EmptyTrash,
    Status(StatusRequest),
    Eject(EjectRequest),
    Scrub(ScrubAction),
    Verify(VerifyRequest),
    Aside,
    Drop(DropRequest),
    Share(ShareRequest),
    Unshare(ShareRequest),
    /// With whom the client shares, and what is shared with the client.
    Shares,
    /// An admin changes an account.
    Account(Change),
    Accounts,
    /// What the files of a user come to; without a name, the client's.
    Usage {
        user: Option<String>,
    },
    Log(LogRequest),
    Login(LoginRequest),
    Passwd(PasswdRequest),
    Edit(EditRequest),
    /// Whoever has a lease is at work.
    Renew(LeaseRequest),
    Commit(CommitRequest),
    /// A lease is not wanted any more.
    Release(LeaseRequest),
    Append(AppendRequest),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GetRequest {
    pub path: String,
    pub offset: u64,
    pub count: Option<u64>,
    /// Whether the client can read an answer in chunks.
    pub chunked: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutRequest {
    pub path: String,
    pub length: BodyLength,
    pub condition: PutCondition,
    pub mtime: Option<Time>,
    pub executable: bool,
    pub id: Option<String>,
}

/// What has to be there for a put.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PutCondition {
    #[default]
    Whatever,
    Nothing,
    /// This version.
    Version(Lsn),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoveRequest {
    pub path: String,
    pub recursive: bool,
    pub id: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListRequest {
    pub path: String,
    pub recursive: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MakeFolderRequest {
    pub path: String,
    pub recursive: bool,
    pub id: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MoveRequest {
    pub path: String,
    pub to: String,
    pub id: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UndoRequest {
    pub path: String,
    /// What threw it away; without it: the last that did.
    pub lsn: Option<Lsn>,
    pub id: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusRequest {
    /// Whether to answer only when both drives are in sync.
    pub wait: bool,
}

/// What is to become of a scrub.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScrubAction {
    /// Begins one, or resumes the one that is paused.
    Start,
    Pause,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifyRequest {
    /// Whether names and sizes are enough.
    pub quick: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EjectRequest {
    /// By its name.
    pub drive: String,
    /// Whether to wait first until both drives are in sync.
    pub wait: bool,
    /// Whether to let go of it although something cannot be had then.
    pub force: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DropRequest {
    /// By its name.
    pub drive: String,
    /// As `aside` names it.
    pub item: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareRequest {
    pub path: String,
    /// With whom, by name.
    pub user: String,
    /// Whether to change things too, and not only to read.
    pub write: bool,
}

/// Somebody shows a password, for a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginRequest {
    pub user: String,
    pub password: Secret,
    /// What the token is to be called.
    pub label: String,
}

/// A user gets a password, or another one, or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasswdRequest {
    /// Without a name, the client.
    pub user: Option<String>,
    /// `None`: there is to be none.
    pub password: Option<Secret>,
    pub old: Option<Secret>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EditRequest {
    pub path: String,
    pub sentence: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseRequest {
    pub path: String,
    pub lease: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitRequest {
    pub path: String,
    pub lease: u64,
    pub length: BodyLength,
    pub id: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppendRequest {
    pub path: String,
    pub length: BodyLength,
    pub id: Option<String>,
}

/// Why a line is no request.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    #[error("the line is not a JSON object with the keys of the protocol: {0}")]
    NotJson(String),
    #[error("the line has neither \"hello\" nor \"op\"")]
    Nothing,
    #[error("{op} needs {key:?}")]
    Missing { op: &'static str, key: &'static str },
    #[error("{op} takes either \"len\" or \"chunked\":true")]
    TwoLengths { op: &'static str },
    #[error("put takes either \"if_absent\":true or \"if_version\"")]
    TwoConditions,
    #[error("an id has 1 to {ID_BYTES_MAX} bytes, this one has {0}")]
    BadId(usize),
    #[error("no such operation: {0}")]
    UnknownOp(String),
    #[error("this server speaks {VERSION}, not {0}")]
    UnsupportedVersion(String),
}

impl RequestError {
    /// The same as the server says it.
    pub fn fault(&self) -> Fault {
        match self {
            Self::NotJson(_)
            | Self::Nothing
            | Self::Missing { .. }
            | Self::TwoLengths { .. }
            | Self::TwoConditions
            | Self::BadId(_) => Fault::new(ErrorName::BadRequest, self.to_string()).closing(),
            // Nobody has to know an operation to know where its line ends.
            Self::UnknownOp(_) => Fault::new(ErrorName::UnknownOp, self.to_string()),
            Self::UnsupportedVersion(_) => Fault::new(ErrorName::UnsupportedVersion, self.to_string()).closing(),
        }
    }
}

impl Request {
    /// The body that comes behind its line, where it has one.
    pub fn body(&self) -> Option<BodyLength> {
        match self {
            Self::Put(PutRequest { length, .. })
            | Self::Commit(CommitRequest { length, .. })
            | Self::Append(AppendRequest { length, .. }) => Some(*length),
            _ => None,
        }
    }

    /// Reads one line, with or without its newline.
    pub fn read(line: &[u8]) -> Result<Self, RequestError> {
        let line: RequestLine =
            serde_json::from_slice(line).map_err(|error| RequestError::NotJson(error.to_string()))?;
        if let Some(version) = line.hello {
            return if version == VERSION {
                let priority = line.priority.unwrap_or_default();
                Ok(Self::Hello(HelloRequest { token: line.token, login: line.login, priority }))
            } else {
                Err(RequestError::UnsupportedVersion(version))
            };
        }
        let name = line.op.as_deref().ok_or(RequestError::Nothing)?;
        let op = Op::ALL.into_iter().find(|op| op.as_str() == name);
        let op = op.ok_or_else(|| RequestError::UnknownOp(name.chars().take(64).collect()))?;
        Self::of(op, line)
    }

    fn of(op: Op, line: RequestLine) -> Result<Self, RequestError> {
        let id = line.id;
        if let Some(bytes) = id.as_ref().map(String::len).filter(|bytes| !(1..=ID_BYTES_MAX).contains(bytes)) {
            return Err(RequestError::BadId(bytes));
        }
        let needed = |value: Option<String>, key| value.ok_or(RequestError::Missing { op: op.as_str(), key });
        let number = |value: Option<u64>, key| value.ok_or(RequestError::Missing { op: op.as_str(), key });
        let recursive = line.recursive;
        Ok(match op {
            Op::Get => Self::Get(GetRequest {
                path: needed(line.path, "path")?,
                offset: line.offset.unwrap_or(0),
                count: line.count,
                chunked: line.chunked,
            }),
            Op::Put => Self::Put(PutRequest {
                path: needed(line.path, "path")?,
                length: length(op, line.len, line.chunked)?,
                condition: match (line.if_absent, line.if_version) {
                    (false, None) => PutCondition::Whatever,
                    (true, None) => PutCondition::Nothing,
                    (false, Some(lsn)) => PutCondition::Version(lsn),
                    (true, Some(_)) => return Err(RequestError::TwoConditions),
                },
                mtime: line.mtime,
                executable: line.executable,
                id,
            }),
            Op::Rm => Self::Rm(RemoveRequest { path: needed(line.path, "path")?, recursive, id }),
            Op::Info => Self::Info { path: needed(line.path, "path")? },
            Op::Ls => Self::Ls(ListRequest { path: line.path.unwrap_or_default(), recursive }),
            Op::Mkdir => Self::Mkdir(MakeFolderRequest { path: needed(line.path, "path")?, recursive, id }),
            Op::Mv => Self::Mv(MoveRequest { path: needed(line.path, "path")?, to: needed(line.to, "to")?, id }),
            Op::Undo => Self::Undo(UndoRequest { path: needed(line.path, "path")?, lsn: line.lsn, id }),
            Op::Trash => Self::Trash { path: line.path.unwrap_or_default() },
            Op::EmptyTrash => Self::EmptyTrash,
            Op::Status => Self::Status(StatusRequest { wait: line.wait }),
            Op::Verify => Self::Verify(VerifyRequest { quick: line.quick }),
            Op::Aside => Self::Aside,
            Op::Drop => {
                Self::Drop(DropRequest { drive: needed(line.drive, "drive")?, item: needed(line.item, "item")? })
            }
            Op::Eject => {
                Self::Eject(EjectRequest { drive: needed(line.drive, "drive")?, wait: line.wait, force: line.force })
            }
            Op::Share | Op::Unshare => {
                let share = ShareRequest {
                    path: needed(line.path, "path")?,
                    user: needed(line.user, "user")?,
                    write: line.write,
                };
                if op == Op::Share { Self::Share(share) } else { Self::Unshare(share) }
            }
            Op::Shares => Self::Shares,
            Op::Account => Self::Account(line.change.ok_or(RequestError::Missing { op: op.as_str(), key: "change" })?),
            Op::Accounts => Self::Accounts,
            Op::Usage => Self::Usage { user: line.user },
            Op::Log => Self::Log(LogRequest {
                follow: line.follow,
                user: line.user,
                path: line.path,
                since: line.since,
                count: line.count,
            }),
            Op::Login => Self::Login(LoginRequest {
                user: needed(line.user, "user")?,
                password: line.password.ok_or(RequestError::Missing { op: op.as_str(), key: "password" })?,
                label: needed(line.label, "label")?,
            }),
            Op::Passwd => Self::Passwd(PasswdRequest { user: line.user, password: line.password, old: line.old }),
            Op::Edit => Self::Edit(EditRequest {
                path: needed(line.path, "path")?,
                sentence: number(line.sentence, "sentence")?,
            }),
            Op::Renew | Op::Release => {
                let lease = LeaseRequest { path: needed(line.path, "path")?, lease: number(line.lease, "lease")? };
                if op == Op::Renew { Self::Renew(lease) } else { Self::Release(lease) }
            }
            Op::Commit => Self::Commit(CommitRequest {
                path: needed(line.path, "path")?,
                lease: number(line.lease, "lease")?,
                length: length(op, line.len, line.chunked)?,
                id,
            }),
            Op::Append => Self::Append(AppendRequest {
                path: needed(line.path, "path")?,
                length: length(op, line.len, line.chunked)?,
                id,
            }),
            Op::Scrub => Self::Scrub(line.action.ok_or(RequestError::Missing { op: op.as_str(), key: "action" })?),
        })
    }
}

fn length(op: Op, len: Option<u64>, chunked: bool) -> Result<BodyLength, RequestError> {
    let op = op.as_str();
    match (len, chunked) {
        (Some(len), false) => Ok(BodyLength::Known(len)),
        (None, true) => Ok(BodyLength::Chunked),
        (Some(_), true) => Err(RequestError::TwoLengths { op }),
        (None, false) => Err(RequestError::Missing { op, key: "len" }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn fault(line: &str) -> Fault {
        Request::read(line.as_bytes()).unwrap_err().fault()
    }

    #[test]
    fn keys_that_nobody_knows_are_ignored() {
        let read = Request::read(br#"{"op":"info","path":"a","colour":{"deep":[1,2]}}"#).unwrap();
        assert_eq!(read, Request::Info { path: "a".to_owned() });
    }

    #[test]
    fn the_length_of_a_body_is_said_once() {
        assert_eq!(fault(r#"{"op":"put","path":"a"}"#).error, ErrorName::BadRequest);
        assert_eq!(fault(r#"{"op":"put","path":"a","len":1,"chunked":true}"#).error, ErrorName::BadRequest);
        assert_eq!(fault(r#"{"op":"put","path":"a","len":-1}"#).error, ErrorName::BadRequest);
        let Request::Put(put) = Request::read(br#"{"op":"put","path":"a","chunked":true}"#).unwrap() else { panic!() };
        assert_eq!(put.length, BodyLength::Chunked);
    }

    #[test]
    fn only_an_unknown_operation_leaves_the_connection_open() {
        assert!(!fault(r#"{"op":"chmod","path":"a"}"#).close);
        assert!(fault("hello").close);
        assert!(fault("[]").close);
        assert!(fault("{}").close);
        assert!(fault(r#"{"op":7}"#).close);
        assert!(fault(r#"{"hello":"twinstick/2"}"#).close);
    }

    #[test]
    fn an_id_is_neither_empty_nor_long() {
        assert_eq!(fault(r#"{"op":"rm","path":"a","id":""}"#).error, ErrorName::BadRequest);
        let long = format!(r#"{{"op":"rm","path":"a","id":"{}"}}"#, "x".repeat(65));
        assert_eq!(fault(&long).error, ErrorName::BadRequest);
    }

    #[test]
    fn a_line_of_the_client_has_only_the_keys_it_needs() {
        let line = RequestLine { op: Some("get".to_owned()), path: Some("a".to_owned()), ..RequestLine::default() };
        assert_eq!(serde_json::to_string(&line).unwrap(), r#"{"op":"get","path":"a"}"#);
    }
}
