//! The oracle: what a client's own folder must hold.

use std::collections::BTreeMap;
use std::path::Path;

use crate::content::Content;
use crate::random::Random;
use crate::tree;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    Folder,
    File(Content),
}

/// One thing to ask of `fget`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    Put { path: String, content: Content },
    Get { path: String },
    Remove { path: String },
    RemoveTree { path: String },
    Move { from: String, to: String },
    MakeFolder { path: String },
}

/// Names below one folder that nobody else writes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Model {
    nodes: BTreeMap<String, Node>,
}

/// Files that one client keeps at once; more only make the comparisons longer.
const FILES_MAX: usize = 14;
/// Folders that one client keeps at once.
const FOLDERS_MAX: usize = 6;

impl Model {
    /// Chooses something that must succeed now.
    pub fn choose(&self, random: &mut Random, mut size: impl FnMut(&mut Random) -> usize) -> Operation {
        let file = random.choose(&self.paths(Self::is_file)).cloned();
        let folder = random.choose(&self.paths(Self::is_folder)).cloned();
        let (full, crowded) = (self.count(Self::is_file) >= FILES_MAX, self.count(Self::is_folder) >= FOLDERS_MAX);
        let mut content = |random: &mut Random| Content { len: size(random), seed: random.number() };
        match (random.below(100), file, folder) {
            (0..25, Some(path), _) => Operation::Get { path },
            (25..40, Some(path), _) => Operation::Put { path, content: content(random) },
            (40..50, Some(path), _) => Operation::Remove { path },
            (50..58, Some(from), _) => Operation::Move { from, to: self.free_name(random, "f") },
            (58..63, _, Some(from)) => Operation::Move { from, to: self.free_top_name(random) },
            (63..65, _, Some(path)) => Operation::RemoveTree { path },
            (65..70, _, _) if !crowded => Operation::MakeFolder { path: self.free_name(random, "d") },
            (_, Some(path), _) if full => Operation::Remove { path },
            (_, _, _) => Operation::Put { path: self.free_name(random, "f"), content: content(random) },
        }
    }

    /// A name that is not taken, in the root or in a folder that exists.
    fn free_name(&self, random: &mut Random, kind: &str) -> String {
        loop {
            let name = format!("{kind}{:06}", random.below(1_000_000));
            let path = match random.choose(&self.paths(Self::is_folder)) {
                Some(folder) if random.below(3) > 0 => format!("{folder}/{name}"),
                Some(_) | None => name,
            };
            if !self.nodes.contains_key(&path) {
                return path;
            }
        }
    }

    /// A folder's name that is not taken, in the root alone: a folder cannot move below itself.
    fn free_top_name(&self, random: &mut Random) -> String {
        loop {
            let name = format!("d{:06}", random.below(1_000_000));
            if !self.nodes.contains_key(&name) {
                return name;
            }
        }
    }

    /// Does to the model what a command that succeeded did to the mirror.
    pub fn apply(&mut self, operation: &Operation) {
        match operation {
            Operation::Get { .. } => {}
            Operation::Put { path, content } => self.insert(path, Node::File(*content)),
            Operation::MakeFolder { path } => self.insert(path, Node::Folder),
            Operation::Remove { path } | Operation::RemoveTree { path } => drop(self.take(path)),
            Operation::Move { from, to } => {
                for (name, node) in self.take(from) {
                    self.insert(&format!("{to}{name}"), node);
                }
            }
        }
    }

    /// The file's content, if there is such a file.
    pub fn content(&self, path: &str) -> Option<Content> {
        match self.nodes.get(path) {
            Some(Node::File(content)) => Some(*content),
            Some(Node::Folder) | None => None,
        }
    }

    /// Paths of all files.
    pub fn files(&self) -> Vec<String> {
        self.paths(Self::is_file)
    }

    /// The model without what is missing below `path` of a folder on a disk.
    #[must_use]
    pub fn without_missing(&self, path: &str, root: &Path) -> Self {
        let below = |name: &str| name.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        let there = |name: &str| !below(name) || root.join(name).symlink_metadata().is_ok();
        let nodes = self.nodes.iter().filter(|(name, _)| there(name)).map(|(name, node)| (name.clone(), *node));
        Self { nodes: nodes.collect() }
    }

    /// What differs between a folder on a disk and the model, in words.
    pub fn differences(&self, root: &Path) -> Vec<String> {
        let found = if root.exists() { tree::walk(root) } else { BTreeMap::new() };
        let mut differences: Vec<_> = found
            .keys()
            .filter(|name| !self.nodes.contains_key(*name))
            .map(|name| format!("{name}: too much"))
            .collect();
        for (name, node) in &self.nodes {
            match (found.get(name), node) {
                (None, _) => differences.push(format!("{name}: missing")),
                (Some(meta), Node::Folder) if meta.is_dir() => {}
                (Some(meta), Node::File(content)) if meta.is_file() => {
                    if tree::read(&root.join(name)) != content.bytes() {
                        differences.push(format!("{name}: {} bytes that are not {content:?}", meta.len()));
                    }
                }
                (Some(_), Node::Folder | Node::File(_)) => differences.push(format!("{name}: another kind")),
            }
        }
        differences
    }

    fn insert(&mut self, path: &str, node: Node) {
        for (at, _) in path.match_indices('/') {
            self.nodes.entry(path[..at].to_owned()).or_insert(Node::Folder);
        }
        self.nodes.insert(path.to_owned(), node);
    }

    /// Removes a name and all below it; what is removed, with names that follow the given one.
    fn take(&mut self, path: &str) -> Vec<(String, Node)> {
        let below = |name: &str| name.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        let names: Vec<_> = self.nodes.keys().filter(|name| below(name)).cloned().collect();
        names
            .into_iter()
            .filter_map(|name| self.nodes.remove(&name).map(|node| (name[path.len()..].to_owned(), node)))
            .collect()
    }

    fn is_file(node: &Node) -> bool {
        matches!(node, Node::File(_))
    }

    fn is_folder(node: &Node) -> bool {
        matches!(node, Node::Folder)
    }

    fn paths(&self, of: fn(&Node) -> bool) -> Vec<String> {
        self.nodes.iter().filter(|(_, node)| of(node)).map(|(path, _)| path.clone()).collect()
    }

    fn count(&self, of: fn(&Node) -> bool) -> usize {
        self.nodes.values().filter(|node| of(node)).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(seed: u64) -> Content {
        Content { seed, len: 20 }
    }

    #[test]
    fn a_moved_folder_takes_all_below_it_and_no_neighbour() {
        let mut model = Model::default();
        for path in ["d/x", "d/e/y", "dd/z"] {
            model.apply(&Operation::Put { path: path.into(), content: content(1) });
        }
        model.apply(&Operation::Move { from: "d".into(), to: "new".into() });
        assert_eq!(model.files(), ["dd/z", "new/e/y", "new/x"]);
        model.apply(&Operation::RemoveTree { path: "new".into() });
        assert_eq!(model.files(), ["dd/z"]);
    }

    #[test]
    fn a_tree_is_compared_both_ways() {
        let dir = tempfile::tempdir().unwrap();
        let mut model = Model::default();
        model.apply(&Operation::Put { path: "d/x".into(), content: content(1) });
        assert_eq!(model.differences(dir.path()).len(), 2);
        std::fs::create_dir(dir.path().join("d")).unwrap();
        std::fs::write(dir.path().join("d/x"), content(1).bytes()).unwrap();
        assert_eq!(model.differences(dir.path()), [""; 0]);
        std::fs::write(dir.path().join("y"), "").unwrap();
        std::fs::write(dir.path().join("d/x"), content(2).bytes()).unwrap();
        assert_eq!(model.differences(dir.path()).len(), 2);
    }

    #[test]
    fn what_is_chosen_can_be_done() {
        let (mut model, mut random) = (Model::default(), Random::new(3));
        for _ in 0..2000 {
            let operation = model.choose(&mut random, |_| 20);
            match &operation {
                Operation::Get { path } | Operation::Remove { path } => assert!(model.content(path).is_some()),
                Operation::RemoveTree { path } => assert!(model.nodes.contains_key(path)),
                Operation::Move { from, to } => {
                    assert!(model.nodes.contains_key(from) && !to.starts_with(&format!("{from}/")));
                    assert!(!model.nodes.contains_key(to));
                }
                Operation::Put { .. } | Operation::MakeFolder { .. } => {}
            }
            model.apply(&operation);
        }
        assert!(model.files().len() <= FILES_MAX);
    }
}
