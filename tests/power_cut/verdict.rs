//! What a check found.

use std::collections::BTreeMap;
use std::fmt;

use twinstick_rig::Content;

use crate::history::{Fate, Files, Story};

/// Violations by their kind, and words for the first of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Acknowledged, and not there.
    lost: u64,
    /// An older version than was acknowledged.
    stale: u64,
    /// Bytes that are no version.
    torn: u64,
    /// Removed, and there.
    resurrected: u64,
    /// The drives differ, or cannot be read.
    apart: u64,
    words: Vec<String>,
}

const WORDS_MAX: usize = 12;

impl Verdict {
    pub(crate) fn is_good(&self) -> bool {
        self.words.is_empty()
    }

    pub(crate) fn lost(&mut self, word: &str) {
        self.lost += 1;
        self.say(word);
    }

    pub(crate) fn apart(&mut self, word: &str) {
        self.apart += 1;
        self.say(word);
    }

    fn say(&mut self, word: &str) {
        if self.words.len() < WORDS_MAX {
            self.words.push(word.to_owned());
        }
    }

    /// Compares what was found with a client's story; what became of the request that was not answered.
    pub(crate) fn judge(&mut self, place: &str, story: &Story, found: &BTreeMap<String, Vec<u8>>) -> Option<Fate> {
        let found: BTreeMap<_, _> = found.iter().map(|(path, bytes)| (path.clone(), Content::of(bytes))).collect();
        let is = |files: &Files| {
            found.len() == files.len() && files.iter().all(|(path, content)| found.get(path) == Some(&Some(*content)))
        };
        let otherwise = story.otherwise();
        if is(&story.files) {
            return otherwise.map(|_| Fate::NotDone);
        }
        if otherwise.as_ref().is_some_and(is) {
            return Some(Fate::Done);
        }
        for (path, content) in &story.files {
            match found.get(path) {
                Some(Some(actual)) if actual == content => {}
                Some(Some(actual)) if actual.seed < content.seed => {
                    self.stale += 1;
                    self.say(&format!("{place}: stale {path}: {actual:?}, acknowledged {content:?}"));
                }
                Some(actual) => {
                    self.torn += 1;
                    self.say(&format!("{place}: torn {path}: {actual:?}, acknowledged {content:?}"));
                }
                None => self.lost(&format!("{place}: lost {path}: {content:?}")),
            }
        }
        for (path, content) in found.iter().filter(|(path, _)| !story.files.contains_key(*path)) {
            self.resurrected += 1;
            self.say(&format!("{place}: resurrected {path}: {content:?}"));
        }
        if let Some(act) = &story.open {
            self.say(&format!("{place}: under way was {act:?}"));
        }
        None
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lost, stale, torn, resurrected, apart, words } = self;
        write!(f, "lost={lost} stale={stale} torn={torn} resurrected={resurrected} apart={apart}")?;
        words.iter().try_for_each(|word| write!(f, "\n  {word}"))
    }
}
