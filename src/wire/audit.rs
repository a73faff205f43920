//! The audit log's lines and the totals. Keys are added, never renamed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ids::Lsn;
use crate::wire::Time;

/// The outcome of what was done.
pub const OK: &str = "ok";
/// The one command whose body comes in.
const PUT: &str = "put";
/// Users that are counted by name; those beyond are in the sums alone.
const USERS_MAX: usize = 1000;

/// Which lines of the audit log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogRequest {
    /// Whether to go on with what comes.
    pub follow: bool,
    pub user: Option<String>,
    /// It and all below it.
    pub path: Option<String>,
    pub since: Option<Time>,
    /// The last of those that were; all of them where it is not said.
    pub count: Option<u64>,
}

/// One request and what became of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditLine {
    /// When it began.
    pub time: Time,
    /// None where there are no accounts, or nobody was recognized.
    pub user: Option<String>,
    /// IP address and port, or `control` for commands on the machine itself.
    pub address: String,
    /// The operation by its name; `hello` for one that was refused, `unknown` for a line that is no request.
    pub command: String,
    /// In the mirror's root, without a leading `/`; as it was sent, where it can be no path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Where an `mv` goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// What else was asked for, in the command's own words; never a token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Of the body: of a `put` those that came, of all others those that were sent.
    pub bytes: u64,
    /// The change that was made, or the version that was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lsn: Option<Lsn>,
    /// Those that the answer named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drives: Vec<String>,
    /// From the request's line to the end of its answer.
    pub microseconds: u64,
    /// `ok`, or the error's name; `client-left`, `cut-off` and `lost` where there was no whole answer.
    pub outcome: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Says that lines are missing here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingLines {
    pub time: Time,
    pub missing: Missing,
    /// How many, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lines: Option<u64>,
    /// The times of the first and of the last of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Time>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
    /// For people.
    pub message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Missing {
    /// They could not be written, or came faster than they could be.
    Dropped,
    /// Their file was removed before this reader came to it.
    Rotated,
}

/// Any line of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum LogLine {
    Request(Box<AuditLine>),
    Missing(MissingLines),
}

/// What was asked for, and how much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub requests: u64,
    /// Those of them that were not done.
    pub failed: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
}

/// The sums, and of what they are made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    #[serde(flatten)]
    pub all: Counts,
    pub by_command: BTreeMap<String, Counts>,
    pub by_user: BTreeMap<String, Counts>,
}

/// The totals as `status` has them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TotalsDocument {
    pub since_start: Totals,
    pub ever: Totals,
    /// Lines that are missing in the log since the daemon started; they are counted all the same.
    pub dropped_lines: u64,
}

impl Counts {
    fn of(line: &AuditLine) -> Self {
        let (bytes_in, bytes_out) = if line.command == PUT { (line.bytes, 0) } else { (0, line.bytes) };
        Self { requests: 1, failed: u64::from(line.outcome != OK), bytes_in, bytes_out }
    }

    fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.failed += other.failed;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
    }
}

impl Totals {
    pub fn count(&mut self, line: &AuditLine) {
        let counts = Counts::of(line);
        self.all.add(counts);
        add_to(&mut self.by_command, &line.command, usize::MAX, counts);
        if let Some(user) = &line.user {
            add_to(&mut self.by_user, user, USERS_MAX, counts);
        }
    }

    /// Both together.
    #[must_use]
    pub fn plus(mut self, other: &Self) -> Self {
        self.all.add(other.all);
        for (command, counts) in &other.by_command {
            add_to(&mut self.by_command, command, usize::MAX, *counts);
        }
        for (user, counts) in &other.by_user {
            add_to(&mut self.by_user, user, USERS_MAX, *counts);
        }
        self
    }

    /// What one user may see: the sums, and no names of others.
    #[must_use]
    pub fn for_user(mut self, name: &str) -> Self {
        self.by_user.retain(|user, _| user == name);
        self
    }
}

/// Looked up first, so that a name is copied once.
fn add_to(map: &mut BTreeMap<String, Counts>, name: &str, names_max: usize, counts: Counts) {
    if let Some(sum) = map.get_mut(name) {
        sum.add(counts);
    } else if map.len() < names_max {
        map.insert(name.to_owned(), counts);
    }
}
