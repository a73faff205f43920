//! Which number stands for which path.

use std::collections::HashMap;

/// The root's number, by the protocol.
pub(super) const ROOT: u64 = 1;

/// Numbers that the kernel knows paths by. A path that was removed has its number no more, and none gets it again.
pub(super) struct Nodes {
    paths: HashMap<u64, String>,
    numbers: HashMap<String, u64>,
    last: u64,
}

impl Nodes {
    pub(super) fn new() -> Self {
        let paths = HashMap::from([(ROOT, String::new())]);
        Self { paths, numbers: HashMap::from([(String::new(), ROOT)]), last: ROOT }
    }

    /// The path of a number; `None` once it was removed.
    pub(super) fn path(&self, number: u64) -> Option<String> {
        self.paths.get(&number).cloned()
    }

    pub(super) fn number(&mut self, path: &str) -> u64 {
        if let Some(number) = self.numbers.get(path) {
            return *number;
        }
        self.last += 1;
        self.paths.insert(self.last, path.to_owned());
        self.numbers.insert(path.to_owned(), self.last);
        self.last
    }

    pub(super) fn remove(&mut self, path: &str) {
        if let Some(number) = self.numbers.remove(path) {
            self.paths.remove(&number);
        }
    }

    /// Moves a path and all below it.
    pub(super) fn rename(&mut self, from: &str, to: &str) {
        self.remove(to);
        let moved: Vec<_> = self.numbers.keys().filter_map(|path| Some((path.clone(), below(path, from)?))).collect();
        for (path, rest) in moved {
            if let Some(number) = self.numbers.remove(&path) {
                let path = format!("{to}{rest}");
                self.paths.insert(number, path.clone());
                self.numbers.insert(path, number);
            }
        }
    }
}

/// What follows `folder` in a path that is it or lies below it.
fn below(path: &str, folder: &str) -> Option<String> {
    let rest = path.strip_prefix(folder)?;
    (rest.is_empty() || rest.starts_with('/')).then(|| rest.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_follows_its_path_and_is_never_given_again() {
        let mut nodes = Nodes::new();
        let (file, neighbour) = (nodes.number("d/x"), nodes.number("dd"));
        nodes.rename("d", "e");
        assert_eq!(nodes.path(file).as_deref(), Some("e/x"));
        assert_eq!(nodes.path(neighbour).as_deref(), Some("dd"));
        nodes.remove("e/x");
        assert_eq!(nodes.path(file), None);
        assert_ne!(nodes.number("e/x"), file);
    }
}
