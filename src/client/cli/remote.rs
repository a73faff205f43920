//! Paths on the mirror, as people type them.

use crate::client::cli::exit::CommandError;
use crate::path::RelPath;

/// A path below another; either may be empty or end in `/`.
pub(crate) fn join(folder: &str, name: &str) -> String {
    let folder = folder.trim_end_matches('/');
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

/// The last name of a path; refused for the root and for what is no path.
pub(crate) fn last_name(path: &str) -> Result<String, CommandError> {
    let parsed = RelPath::parse_folder(path).map_err(|why| CommandError::Usage(format!("{path:?}: {why}")))?;
    let last = parsed.split_last().map(|(_, name)| name.to_string());
    last.ok_or_else(|| CommandError::Usage(format!("{path:?} is the mirror's root: give the path of something in it")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn paths_are_joined_with_one_slash() {
        assert_eq!(join("", "b"), "b");
        assert_eq!(join("/", "b"), "b");
        assert_eq!(join("a/", "b/c"), "a/b/c");
        assert_eq!(last_name("/a/b/").unwrap(), "b");
        assert!(last_name("/").is_err());
        assert!(last_name("a/..").is_err());
    }
}
