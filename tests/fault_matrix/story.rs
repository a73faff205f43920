//! What clients do in one case, and what they may see.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

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
    Busy,
}

impl Allowed {
    fn allows(self, error: &str) -> bool {
        match self {
            Self::Nothing => false,
            Self::NoSpace => error == "no-space",
            Self::Busy => error == "busy",
        }
    }
}

/// One case's folder, what is in it as far as clients were told, and which rules were broken.
pub(crate) struct Story {
    address: String,
    pub(crate) folder: String,
    pub(crate) model: Model,
    /// What was removed or overwritten, and is kept.
    trash: BTreeMap<String, Content>,
    seed: u64,
    /// What the drive says while the case is judged; nothing goes wrong while it is prepared.
    errno: Option<Errno>,
    /// Its folder on the drive that is away, for what others do there.
    elsewhere: PathBuf,
    /// What others made of one of its files, to be kept beside it.
    edited: Option<(String, Content)>,
    pub(crate) broken: Vec<String>,
}

impl Story {
    pub(crate) fn new(address: &str, number: usize) -> Self {
        Self {
            address: address.to_owned(),
            folder: format!("c{number}"),
            model: Model::default(),
            trash: BTreeMap::new(),
            seed: number as u64 * 1000,
            errno: None,
            elsewhere: PathBuf::new(),
            edited: None,
            broken: Vec::new(),
        }
    }

    /// From now on this is the drive that is away.
    pub(crate) fn is_away(&mut self, files: &Path) {
        self.elsewhere = files.join(&self.folder);
    }

    /// Does on the drive that is away what its owner does on another machine: edits a file, deletes one, renames one,
    /// and makes one. What the mirror had stays in it, and what is there now comes to it.
    pub(crate) fn change_elsewhere(&mut self, edited: &str, removed: &str, (from, to): (&str, &str), made: &str) {
        let mut write = |path: &str, len| {
            self.seed += 1;
            let content = Content { seed: self.seed, len };
            fs::write(self.elsewhere.join(path), content.bytes()).expect("a drive that is away");
            content
        };
        let (edit, new) = (write(edited, SMALL + 1), write(made, LARGE));
        fs::remove_file(self.elsewhere.join(removed)).expect("a drive that is away");
        fs::rename(self.elsewhere.join(from), self.elsewhere.join(to)).expect("a drive that is away");
        let renamed = self.model.content(from).expect("a file of the mirror");
        for (path, content) in [(to, renamed), (made, new)] {
            self.model.apply(&Operation::Put { path: path.to_owned(), content });
        }
        self.edited = Some((edited.to_owned(), edit));
    }

    /// Whether all that others did is in the mirror, on both drives.
    pub(crate) fn is_taken_in(&mut self, roots: [&Path; 2]) -> bool {
        let Some((path, content)) = &self.edited else { return true };
        let folders = roots.map(|root| root.join(&self.folder));
        // The name says where it was found, and when.
        let copy = fs::read_dir(&folders[0]).into_iter().flatten().flatten().find_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            name.starts_with(&format!("{path} (")).then_some(name)
        });
        let Some(copy) = copy else { return false };
        let mut model = self.model.clone();
        model.apply(&Operation::Put { path: copy, content: *content });
        let is_there = folders.iter().all(|folder| model.differences(folder).is_empty());
        if is_there {
            (self.model, self.edited) = (model, None);
        }
        is_there
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
        // Where the daemon lacks descriptors its client is told to come again.
        let allowed = match self.errno {
            Some(Errno::NOSPC) => Allowed::NoSpace,
            Some(Errno::MFILE) => Allowed::Busy,
            _ => Allowed::Nothing,
        };
        let before = self.model.content(path).map(|before| (path.to_owned(), before));
        if self.judge(&Operation::Put { path: path.to_owned(), content }, &reply, allowed) {
            self.trash.extend(before);
        }
    }

    pub(crate) fn remove(&mut self, path: &str) {
        let files: Vec<_> = self.model.files().into_iter().filter(|file| is_at(file, path)).collect();
        let before: Vec<_> =
            files.into_iter().filter_map(|file| Some((file.clone(), self.model.content(&file)?))).collect();
        let reply = self.ask(&json!({"op": "rm", "path": self.at(path), "recursive": true}));
        if self.judge(&Operation::RemoveTree { path: path.to_owned() }, &reply, Allowed::Nothing) {
            self.trash.extend(before);
        }
    }

    /// Brings back what was last removed or overwritten at a path, or removed with it.
    pub(crate) fn undo(&mut self, path: &str) {
        match self.ask(&json!({"op": "undo", "path": self.at(path)})) {
            Reply::Done(_) => {
                for (path, content) in self.trash.extract_if(.., |file, _| is_at(file, path)) {
                    self.model.apply(&Operation::Put { path, content });
                }
            }
            other => self.broken.push(format!("undo {path}: {other}")),
        }
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

    /// Whether it was done.
    fn judge(&mut self, operation: &Operation, reply: &Reply, allowed: Allowed) -> bool {
        match reply {
            Reply::Done(_) => {
                self.model.apply(operation);
                return true;
            }
            Reply::Refused { error, .. } if allowed.allows(error) => {}
            other => self.broken.push(format!("{operation:?}: {other}")),
        }
        false
    }

    fn ask(&self, request: &Value) -> Reply {
        wire::ask(&self.address, request, &[])
    }

    fn at(&self, path: &str) -> String {
        format!("{}/{path}", self.folder)
    }
}

/// Whether a file lies at a path, or below it.
fn is_at(file: &str, path: &str) -> bool {
    file.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
