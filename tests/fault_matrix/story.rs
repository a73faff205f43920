//! What clients do in one case, and what they may see.

use rustix::io::Errno;
use serde_json::{Value, json};
use twinstick_rig::{Content, Model, Operation};

use crate::wire::{self, Reply};

/// A file whose bytes go through the drive logs, and one whose bytes go to a stage of their own.
pub(crate) const SMALL: usize = 3000;
pub(crate) const LARGE: usize = 150_000;

/// Which errors a client may see.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Allowed {
    Nothing,
    NoSpace,
}

/// One case's folder, what is in it as far as clients were told, and which rules were broken.
pub(crate) struct Story {
    address: String,
    pub(crate) folder: String,
    pub(crate) model: Model,
    seed: u64,
    /// What the drive says while the case is judged; nothing goes wrong while it is prepared.
    errno: Option<Errno>,
    pub(crate) broken: Vec<String>,
}

impl Story {
    pub(crate) fn new(address: &str, number: usize) -> Self {
        Self {
            address: address.to_owned(),
            folder: format!("c{number}"),
            model: Model::default(),
            seed: number as u64 * 1000,
            errno: None,
            broken: Vec::new(),
        }
    }

    /// From now on a drive may say this.
    pub(crate) fn expect(&mut self, errno: Option<Errno>) {
        self.errno = errno;
    }

    pub(crate) fn put(&mut self, path: &str, len: usize) {
        self.seed += 1;
        let content = Content { seed: self.seed, len };
        let reply = wire::put(&self.address, &self.at(path), &content.bytes());
        // With a full drive a PUT is refused and the old version stays; nothing else is.
        let allowed = if self.errno == Some(Errno::NOSPC) { Allowed::NoSpace } else { Allowed::Nothing };
        self.judge(&Operation::Put { path: path.to_owned(), content }, &reply, allowed);
    }

    pub(crate) fn remove(&mut self, path: &str) {
        let reply = self.ask(&json!({"op": "rm", "path": self.at(path), "recursive": true}));
        self.judge(&Operation::RemoveTree { path: path.to_owned() }, &reply, Allowed::Nothing);
    }

    pub(crate) fn make_folder(&mut self, path: &str) {
        let reply = self.ask(&json!({"op": "mkdir", "path": self.at(path), "recursive": true}));
        self.judge(&Operation::MakeFolder { path: path.to_owned() }, &reply, Allowed::Nothing);
    }

    pub(crate) fn rename(&mut self, from: &str, to: &str) {
        let reply = self.ask(&json!({"op": "mv", "path": self.at(from), "to": self.at(to)}));
        self.judge(&Operation::Move { from: from.to_owned(), to: to.to_owned() }, &reply, Allowed::Nothing);
    }

    /// Has both drives read through.
    pub(crate) fn scrub(&mut self) {
        if let other @ (Reply::Refused { .. } | Reply::None(_)) = self.ask(&json!({"op": "scrub", "action": "start"})) {
            self.broken.push(format!("scrub: {other}"));
        }
    }

    /// Reads all files and compares them.
    pub(crate) fn read_all(&mut self) {
        for path in self.model.files() {
            let Some(content) = self.model.content(&path) else { continue };
            match wire::fetch(&self.address, &json!({"op": "get", "path": self.at(&path)})) {
                Ok(bytes) if bytes == content.bytes() => {}
                Ok(bytes) => self.broken.push(format!("get {path}: {} bytes that are not {content:?}", bytes.len())),
                Err(reply) => self.broken.push(format!("get {path}: {reply}")),
            }
        }
    }

    /// Gives its room back. Whether that works is the next case's concern.
    pub(crate) fn clean_up(&self) {
        let _ = self.ask(&json!({"op": "rm", "path": self.folder, "recursive": true}));
    }

    fn judge(&mut self, operation: &Operation, reply: &Reply, allowed: Allowed) {
        match reply {
            Reply::Done(_) => self.model.apply(operation),
            Reply::Refused { error, .. } if allowed == Allowed::NoSpace && error == "no-space" => {}
            other => self.broken.push(format!("{operation:?}: {other}")),
        }
    }

    fn ask(&self, request: &Value) -> Reply {
        wire::ask(&self.address, request, &[])
    }

    fn at(&self, path: &str) -> String {
        format!("{}/{path}", self.folder)
    }
}
