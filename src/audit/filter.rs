//! Which lines a reader wants.

use serde::Deserialize;
use std::borrow::Cow;

use crate::path::RelPath;
use crate::wire::Time;

/// Each that is given must hold. Lines that tell of missing ones belong to everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    pub user: Option<String>,
    /// It and all below it.
    pub path: Option<RelPath>,
    /// Not before it.
    pub since: Option<Time>,
}

/// What is looked at of a line.
#[derive(Deserialize)]
struct Keys<'a> {
    time: Time,
    #[serde(default, borrow)]
    user: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    path: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    to: Option<Cow<'a, str>>,
    missing: Option<serde::de::IgnoredAny>,
}

impl Filter {
    /// Whether a line of the log is wanted. One that is no line of ours is not, unless all are.
    pub fn takes(&self, line: &[u8]) -> bool {
        if *self == Self::default() {
            return true;
        }
        let Ok(keys) = serde_json::from_slice::<Keys<'_>>(line) else { return false };
        if self.since.is_some_and(|since| keys.time < since) {
            return false;
        }
        keys.missing.is_some() || (self.takes_user(&keys) && self.takes_path(&keys))
    }

    /// The lines of some that are wanted.
    pub fn of(&self, lines: Vec<u8>) -> Vec<u8> {
        if *self == Self::default() {
            return lines;
        }
        let wanted = lines.split_inclusive(|byte| *byte == b'\n').filter(|line| self.takes(line));
        wanted.collect::<Vec<_>>().concat()
    }

    fn takes_user(&self, keys: &Keys<'_>) -> bool {
        self.user.as_ref().is_none_or(|user| keys.user.as_deref() == Some(user))
    }

    fn takes_path(&self, keys: &Keys<'_>) -> bool {
        let Some(wanted) = &self.path else { return true };
        let is_within = |path: &str| RelPath::parse_folder(path).is_ok_and(|path| path.starts_with(wanted));
        [&keys.path, &keys.to].into_iter().flatten().any(|path| is_within(path))
    }
}
