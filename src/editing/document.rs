//! One text and who has which of its sentences.
//!
//! A lease is a range of bytes of the text at a known version, so that what is committed here shifts the others exactly. The
//! text itself is not kept: of its sentences there are hashes, by which each lease is found again in a version that
//! somebody stored by other means.

use std::hash::{BuildHasher as _, RandomState};
use std::ops::Range;
use std::time::{Duration, Instant};

use crate::editing::align::align;
use crate::editing::text::{is_ended, sentences};
use crate::ids::Lsn;

/// One lease, by a number that no other one gets while the daemon runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(pub u64);

/// For whom a lease is, as others are told.
pub type Holder = String;

/// Where a lease's sentence is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// A sentence; `piece` is its index among the hashes.
    Sentence {
        range: Range<usize>,
        piece: usize,
    },
    /// Where a new sentence goes.
    New {
        at: usize,
    },
    Gone(Gone),
}

impl Place {
    fn range(&self) -> Option<Range<usize>> {
        match self {
            Self::Sentence { range, .. } => Some(range.clone()),
            Self::New { at } => Some(*at..*at),
            Self::Gone(_) => None,
        }
    }
}

/// Why a sentence that was leased is not there for its holder any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Gone {
    #[error("somebody stored another version of the file, in which the sentence is not what it was")]
    Changed,
    #[error("somebody removed or moved the file")]
    Removed,
    #[error("it was not used for too long, and {0} has the sentence now")]
    Taken(Holder),
}

/// Why somebody does not get a sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoLease {
    #[error("{by} is editing sentence {sentence}: another one can be edited meanwhile")]
    Leased { sentence: usize, by: Holder },
    #[error("there is no sentence {sentence}: {}", how_many(*sentences))]
    Beyond { sentence: usize, sentences: usize },
    #[error("sentence {last} has no end (. ! ?) yet, so that no sentence can follow: edit that one")]
    Endless { last: usize },
}

fn how_many(sentences: usize) -> String {
    match sentences {
        0 => "the text is empty, and sentence 0 begins it".to_owned(),
        1 => "there is one, with number 0, and 1 adds a new one".to_owned(),
        count => format!("there are {count}, from 0 to {}, and {count} adds a new one", count - 1),
    }
}

/// Why a sentence is not committed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoCommit {
    #[error("the sentence cannot be committed: {0}")]
    Gone(#[from] Gone),
    /// The lease goes on.
    #[error("the sentence had an end, so that the next one begins behind it: end it with . ! or ?")]
    Endless,
    #[error("this lease is not known, or not any more")]
    Unknown,
}

/// A sentence as its editor gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    pub text: String,
    /// How many there are.
    pub sentences: usize,
}

/// A text with a sentence replaced, to be stored in place of the version that it was made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Composed {
    pub text: String,
    replaced: Range<usize>,
    by: usize,
}

#[derive(Debug)]
struct Lease {
    id: LeaseId,
    holder: Holder,
    place: Place,
    used: Instant,
}

/// What is known of one text, as long as somebody edits it.
#[derive(Debug, Default)]
pub struct Document {
    /// The version that all ranges are of; `None`: there is no file.
    version: Option<Lsn>,
    /// Of its sentences in order, cut where a lease begins or ends within one. Empty without leases.
    hashes: Vec<u64>,
    /// Invariant: no two sentences overlap, and nothing new is within one.
    leases: Vec<Lease>,
    hasher: RandomState,
}

impl Document {
    /// Takes note of the text as it is now. All that follows is about this version.
    pub fn see(&mut self, version: Option<Lsn>, text: &str) {
        if self.version == version {
            return;
        }
        self.version = version;
        if !self.is_leased() {
            return;
        }
        let now = sentences(text);
        let hashes: Vec<_> = now.iter().map(|range| self.hash(text, range.clone())).collect();
        let moved = align(&self.hashes, &hashes);
        for lease in &mut self.leases {
            match &mut lease.place {
                Place::Sentence { range, piece } => {
                    let found = moved.get(*piece).copied().flatten().and_then(|index| now.get(index));
                    match found {
                        Some(found) => *range = found.clone(),
                        None if version.is_none() => lease.place = Place::Gone(Gone::Removed),
                        None => lease.place = Place::Gone(Gone::Changed),
                    }
                }
                Place::New { at } => *at = text.len(),
                Place::Gone(_) => {}
            }
        }
        self.survey(text);
    }

    /// Leases a sentence of the text that was seen last; one more than there are begins a new one at its end.
    pub fn open(
        &mut self,
        text: &str,
        sentence: usize,
        (id, holder): (LeaseId, Holder),
        (now, idle): (Instant, Duration),
    ) -> Result<Opened, NoLease> {
        let all = sentences(text);
        let place = match (all.get(sentence), all.last()) {
            (Some(range), _) => Place::Sentence { range: range.clone(), piece: 0 },
            (None, _) if sentence > all.len() => {
                return Err(NoLease::Beyond { sentence, sentences: all.len() });
            }
            (None, Some(last)) if !text.get(last.clone()).is_some_and(is_ended) => {
                return Err(NoLease::Endless { last: all.len() - 1 });
            }
            (None, _) => Place::New { at: text.len() },
        };
        let is_over = |lease: &Lease| now.saturating_duration_since(lease.used) >= idle;
        if let Some(by) = self.leases.iter().find(|lease| meet(&lease.place, &place) && !is_over(lease)) {
            return Err(NoLease::Leased { sentence, by: by.holder.clone() });
        }
        for lease in self.leases.iter_mut().filter(|lease| meet(&lease.place, &place)) {
            lease.place = Place::Gone(Gone::Taken(holder.clone()));
        }
        let range = place.range().unwrap_or_default();
        self.leases.push(Lease { id, holder, place, used: now });
        self.survey(text);
        Ok(Opened { text: text.get(range).unwrap_or_default().to_owned(), sentences: all.len() })
    }

    /// Its holder is at work.
    pub fn renew(&mut self, id: LeaseId, now: Instant) -> Result<(), NoCommit> {
        let lease = self.leases.iter_mut().find(|lease| lease.id == id).ok_or(NoCommit::Unknown)?;
        lease.used = now;
        match &lease.place {
            Place::Gone(gone) => Err(gone.clone().into()),
            Place::Sentence { .. } | Place::New { .. } => Ok(()),
        }
    }

    /// The text that was seen last with the lease's sentence replaced.
    pub fn compose(&self, id: LeaseId, text: &str, sentence: &str) -> Result<Composed, NoCommit> {
        let lease = self.leases.iter().find(|lease| lease.id == id).ok_or(NoCommit::Unknown)?;
        let (replaced, by) = match &lease.place {
            Place::Gone(gone) => return Err(gone.clone().into()),
            Place::Sentence { range, .. } => {
                let had_end = text.get(range.clone()).is_some_and(is_ended);
                let sentence = sentence.trim();
                if had_end && !sentence.is_empty() && !is_ended(sentence) {
                    return Err(NoCommit::Endless);
                }
                (range.clone(), sentence.to_owned())
            }
            Place::New { at } => (*at..*at, set_off(text, *at, sentence.trim())),
        };
        let (before, after) = (text.get(..replaced.start), text.get(replaced.end..));
        let text = [before.unwrap_or_default(), &by, after.unwrap_or_default()].concat();
        Ok(Composed { text, replaced, by: by.len() })
    }

    /// What was composed is the version `version` now, and its lease is over.
    pub fn committed(&mut self, id: LeaseId, composed: &Composed, version: Lsn) {
        let Composed { text, replaced, by } = composed;
        self.leases.retain(|lease| lease.id != id);
        let shifted = |at: usize| at - replaced.end + replaced.start + by;
        for lease in &mut self.leases {
            match &mut lease.place {
                Place::Sentence { range, .. } if range.start >= replaced.end => {
                    *range = shifted(range.start)..shifted(range.end);
                }
                Place::New { at } if *at >= replaced.end => *at = shifted(*at),
                Place::Sentence { .. } | Place::New { .. } | Place::Gone(_) => {}
            }
        }
        self.version = Some(version);
        self.survey(text);
    }

    /// Bytes were added behind the version `from`, which is `version` now.
    pub fn appended(&mut self, from: Option<Lsn>, version: Lsn, added: &[u8]) {
        if self.version == from {
            self.version = Some(version);
            if self.is_leased() {
                self.hashes.push(self.hasher.hash_one(added));
            }
        }
    }

    pub fn release(&mut self, id: LeaseId) {
        self.leases.retain(|lease| lease.id != id);
        if !self.is_leased() {
            self.hashes = Vec::new();
        }
    }

    /// Whether nobody has a lease, over or not.
    pub fn is_unused(&self) -> bool {
        self.leases.is_empty()
    }

    /// Hashes that are kept.
    pub fn weight(&self) -> usize {
        self.hashes.len()
    }

    fn is_leased(&self) -> bool {
        self.leases.iter().any(|lease| !matches!(lease.place, Place::Gone(_)))
    }

    fn hash(&self, text: &str, range: Range<usize>) -> u64 {
        self.hasher.hash_one(text.get(range).unwrap_or_default().trim())
    }

    /// Keeps of the text what will be needed to find its leases in another version.
    fn survey(&mut self, text: &str) {
        self.hashes = Vec::new();
        if !self.is_leased() {
            return;
        }
        let mut cuts: Vec<_> = self.leases.iter().filter_map(|lease| lease.place.range()).collect();
        cuts.sort_unstable_by_key(|range| (range.start, range.end));
        let mut cuts = cuts.into_iter().flat_map(|range| [range.start, range.end]).peekable();
        let mut starts = Vec::new();
        for range in sentences(text) {
            let mut from = range.start;
            while let Some(cut) = cuts.next_if(|cut| *cut < range.end) {
                if cut > from {
                    starts.push(from);
                    self.hashes.push(self.hash(text, from..cut));
                    from = cut;
                }
            }
            starts.push(from);
            self.hashes.push(self.hash(text, from..range.end));
        }
        for lease in &mut self.leases {
            if let Place::Sentence { range, piece } = &mut lease.place {
                *piece = starts.partition_point(|start| *start < range.start);
            }
        }
    }
}

/// Whether two cannot be leased at the same time.
fn meet(one: &Place, other: &Place) -> bool {
    match (one, other) {
        (Place::Sentence { range, .. }, Place::Sentence { range: other, .. }) => {
            range.start < other.end && other.start < range.end
        }
        (Place::Sentence { range, .. }, Place::New { at }) | (Place::New { at }, Place::Sentence { range, .. }) => {
            range.start < *at && *at < range.end
        }
        (Place::New { at }, Place::New { at: other }) => at == other,
        (Place::Gone(_), _) | (_, Place::Gone(_)) => false,
    }
}

/// A new sentence with the white space that parts it from what is before and behind. Where lines are ended, it is a line.
fn set_off(text: &str, at: usize, sentence: &str) -> String {
    if sentence.is_empty() {
        return String::new();
    }
    let (before, after) = (text.get(..at).unwrap_or_default(), text.get(at..).unwrap_or_default());
    let line_end = ["\r\n", "\n"].into_iter().find(|end| before.ends_with(end));
    let lead = if before.is_empty() || before.ends_with(char::is_whitespace) { "" } else { " " };
    let tail = match (line_end, after.chars().next()) {
        (_, Some(next)) if next.is_whitespace() => "",
        (Some(end), _) => end,
        (None, Some(_)) => " ",
        (None, None) => "",
    };
    format!("{lead}{sentence}{tail}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const IDLE: Duration = Duration::from_mins(10);

    /// A text in a file, and its document.
    struct Desk {
        document: Document,
        text: String,
        version: u64,
        now: Instant,
    }

    impl Desk {
        fn of(text: &str) -> Self {
            Self { document: Document::default(), text: text.to_owned(), version: 1, now: crate::clock::now() }
        }

        fn open(&mut self, id: u64, sentence: usize) -> Result<Opened, NoLease> {
            self.document.see(Some(Lsn(self.version)), &self.text);
            let holder = format!("user {id}");
            self.document.open(&self.text, sentence, (LeaseId(id), holder), (self.now, IDLE))
        }

        fn commit(&mut self, id: u64, sentence: &str) -> Result<&str, NoCommit> {
            self.document.see(Some(Lsn(self.version)), &self.text);
            let composed = self.document.compose(LeaseId(id), &self.text, sentence)?;
            self.version += 1;
            self.document.committed(LeaseId(id), &composed, Lsn(self.version));
            self.text = composed.text;
            Ok(&self.text)
        }

        fn put(&mut self, text: &str) {
            self.version += 1;
            self.text = text.to_owned();
        }

        fn append(&mut self, text: &str) {
            self.version += 1;
            self.text.push_str(text);
            self.document.appended(Some(Lsn(self.version - 1)), Lsn(self.version), text.as_bytes());
        }
    }

    #[test]
    fn two_sentences_are_edited_at_the_same_time() {
        let mut desk = Desk::of("One.  Two.\nThree.\n");
        assert_eq!(desk.open(1, 0).unwrap(), Opened { text: "One.".to_owned(), sentences: 3 });
        assert_eq!(desk.open(2, 2).unwrap().text, "Three.");
        assert_eq!(desk.open(3, 2), Err(NoLease::Leased { sentence: 2, by: "user 2".to_owned() }));
        assert_eq!(desk.commit(1, "One and more. And more!").unwrap(), "One and more. And more!  Two.\nThree.\n");
        // What was sentence 2 is sentence 3 now.
        assert_eq!(desk.open(3, 3), Err(NoLease::Leased { sentence: 3, by: "user 2".to_owned() }));
        assert_eq!(desk.open(3, 2).unwrap().text, "Two.");
        assert_eq!(desk.commit(2, "Last.").unwrap(), "One and more. And more!  Two.\nLast.\n");
        assert_eq!(desk.commit(3, "2.").unwrap(), "One and more. And more!  2.\nLast.\n");
        assert_eq!(desk.commit(3, "2."), Err(NoCommit::Unknown));
        assert!(desk.document.is_unused() && desk.document.weight() == 0);
    }

    #[test]
    fn a_number_behind_the_last_adds_a_sentence() {
        let mut desk = Desk::of("");
        assert_eq!(desk.open(1, 1), Err(NoLease::Beyond { sentence: 1, sentences: 0 }));
        assert_eq!(desk.open(1, 0).unwrap(), Opened { text: String::new(), sentences: 0 });
        assert!(matches!(desk.open(2, 0), Err(NoLease::Leased { .. })));
        assert_eq!(desk.commit(1, "Hello").unwrap(), "Hello");
        assert_eq!(desk.open(2, 1), Err(NoLease::Endless { last: 0 }));
        desk.open(2, 0).unwrap();
        assert_eq!(desk.commit(2, "Hello.").unwrap(), "Hello.");
        desk.open(3, 1).unwrap();
        assert_eq!(desk.commit(3, "World.").unwrap(), "Hello. World.");
        desk.put("Hello.\n");
        desk.open(4, 1).unwrap();
        assert_eq!(desk.commit(4, "World.").unwrap(), "Hello.\nWorld.\n");
        desk.put("Hello.\r\n");
        desk.open(5, 1).unwrap();
        assert_eq!(desk.commit(5, "World.").unwrap(), "Hello.\r\nWorld.\r\n");
    }

    #[test]
    fn what_is_appended_meanwhile_stays_behind() {
        let mut desk = Desk::of("One. Two wor");
        desk.open(1, 1).unwrap();
        desk.append("ds. Three.\n");
        assert!(matches!(desk.open(2, 1), Err(NoLease::Leased { .. })));
        desk.open(2, 2).unwrap();
        desk.open(3, 3).unwrap();
        desk.append("Four.\n");
        assert_eq!(desk.commit(1, "Two and more wor").unwrap(), "One. Two and more words. Three.\nFour.\n");
        assert_eq!(desk.commit(3, "New").unwrap(), "One. Two and more words. Three.\nNew\nFour.\n");
        assert_eq!(desk.commit(2, "3.").unwrap(), "One. Two and more words. 3.\nNew\nFour.\n");
    }

    #[test]
    fn what_others_store_moves_a_sentence_or_ends_its_session() {
        let mut desk = Desk::of("One. Two. Three. Yes. Yes.");
        for id in 0..5 {
            desk.open(id, id as usize).unwrap();
        }
        desk.put("Zero. Three. Yes.\nOne. Yes.");
        assert_eq!(desk.document.renew(LeaseId(1), desk.now), Ok(()), "nobody has looked");
        assert_eq!(desk.commit(1, "2."), Err(NoCommit::Gone(Gone::Changed)));
        assert_eq!(desk.document.renew(LeaseId(1), desk.now), Err(NoCommit::Gone(Gone::Changed)));
        assert_eq!(desk.commit(0, "1.").unwrap(), "Zero. Three. Yes.\n1. Yes.");
        assert_eq!(desk.commit(4, "Second!").unwrap(), "Zero. Three. Yes.\n1. Second!");
        assert_eq!(desk.commit(3, "First!").unwrap(), "Zero. Three. First!\n1. Second!");
        desk.put("");
        desk.document.see(None, "");
        assert_eq!(desk.document.renew(LeaseId(2), desk.now), Err(NoCommit::Gone(Gone::Removed)));
        desk.document.release(LeaseId(2));
        desk.document.release(LeaseId(1));
        assert!(desk.document.is_unused());
    }

    #[test]
    fn a_lease_that_is_not_used_is_taken_by_whoever_wants_it_and_by_nobody_else() {
        let mut desk = Desk::of("One. Two.");
        desk.open(1, 0).unwrap();
        desk.open(2, 1).unwrap();
        desk.now += IDLE;
        desk.document.renew(LeaseId(2), desk.now).unwrap();
        assert!(matches!(desk.open(3, 1), Err(NoLease::Leased { .. })));
        desk.open(3, 0).unwrap();
        assert_eq!(desk.commit(1, "1."), Err(NoCommit::Gone(Gone::Taken("user 3".to_owned()))));
        desk.now += IDLE;
        assert_eq!(desk.commit(2, "2.").unwrap(), "One. 2.", "nobody took it");
        assert_eq!(desk.commit(3, "1.").unwrap(), "1. 2.");
    }

    #[test]
    fn a_sentence_with_an_end_keeps_one() {
        let mut desk = Desk::of("One. Two.");
        desk.open(1, 0).unwrap();
        assert_eq!(desk.commit(1, "1"), Err(NoCommit::Endless));
        assert_eq!(desk.commit(1, " ").unwrap(), " Two.");
    }
}
