//! Random orders of what three editors, appenders and somebody who stores whole texts do, against a list of sentences in
//! which each has an identity: nothing that was committed is lost, and nothing gets into another's sentence.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use crate::editing::{Document, LeaseId, NoCommit, NoLease};
use crate::ids::Lsn;

const IDLE: Duration = Duration::from_secs(10);
const EDITORS: u64 = 3;

#[derive(Clone, Debug)]
enum Step {
    Open {
        editor: u64,
        sentence: usize,
    },
    /// Ends with so many new sentences in place of the old one; 0 removes it.
    Commit {
        editor: u64,
        into: usize,
    },
    Release {
        editor: u64,
    },
    Append,
    /// Somebody stores another text: without the one, with a new one before the other.
    Put {
        without: usize,
        before: usize,
    },
    /// Two change places.
    Swap {
        one: usize,
        other: usize,
    },
    Wait,
}

fn step() -> impl Strategy<Value = Step> {
    let editor = 0..EDITORS;
    prop_oneof![
        4 => (editor.clone(), 0..7_usize).prop_map(|(editor, sentence)| Step::Open { editor, sentence }),
        4 => (editor.clone(), 0..3_usize).prop_map(|(editor, into)| Step::Commit { editor, into }),
        1 => editor.prop_map(|editor| Step::Release { editor }),
        1 => Just(Step::Append),
        1 => (0..7_usize, 0..7_usize).prop_map(|(without, before)| Step::Put { without, before }),
        1 => (0..7_usize, 0..7_usize).prop_map(|(one, other)| Step::Swap { one, other }),
        1 => Just(Step::Wait),
    ]
}

/// Who has what, in the model.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Held {
    /// A sentence by its identity.
    Sentence(u64),
    /// A new one, in front of the ones that came since.
    New { behind: Option<u64> },
}

struct World {
    document: Document,
    version: u64,
    now: Instant,
    /// In order; the words of a sentence are its identity, which it has alone unless it is a `twin`.
    sentences: Vec<u64>,
    held: BTreeMap<u64, (LeaseId, Held, Instant)>,
    next: u64,
}

/// Every fourth one reads like the others of its kind.
fn words(id: u64) -> String {
    if id.is_multiple_of(4) { "Yes.".to_owned() } else { format!("Sentence {id}.") }
}

/// What a sentence has in common with those that read like it; a new one has nothing.
fn alike(held: Held) -> Option<String> {
    if let Held::Sentence(id) = held { Some(words(id)) } else { None }
}

impl World {
    fn new(count: u64) -> Self {
        let (document, now) = (Document::default(), crate::clock::now());
        Self { document, version: 1, now, sentences: (0..count).collect(), held: BTreeMap::new(), next: 100 }
    }

    fn text(&self) -> String {
        self.sentences.iter().map(|id| words(*id)).collect::<Vec<_>>().join(" ")
    }

    fn see(&mut self) -> String {
        let text = self.text();
        self.document.see(Some(Lsn(self.version)), &text);
        text
    }

    fn fresh(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn at(&self, id: u64) -> Option<usize> {
        self.sentences.iter().position(|other| *other == id)
    }

    fn is_over(&self, used: Instant) -> bool {
        self.now - used >= IDLE
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Open { editor, sentence } => self.open(*editor, *sentence),
            Step::Commit { editor, into } => self.commit(*editor, *into),
            Step::Release { editor } => {
                if let Some((id, ..)) = self.held.remove(editor) {
                    self.document.release(id);
                }
            }
            Step::Append => {
                let id = self.fresh();
                let added = format!(" {}", words(id));
                self.version += 1;
                self.document.appended(Some(Lsn(self.version - 1)), Lsn(self.version), added.as_bytes());
                self.sentences.push(id);
            }
            Step::Put { without, before } => {
                self.see();
                if *without < self.sentences.len() {
                    self.sentences.remove(*without);
                }
                let id = self.fresh();
                self.sentences.insert((*before).min(self.sentences.len()), id);
                self.stored_by_others();
            }
            Step::Swap { one, other } => {
                self.see();
                if *one < self.sentences.len() && *other < self.sentences.len() {
                    self.sentences.swap(*one, *other);
                    self.stored_by_others();
                }
            }
            Step::Wait => self.now += IDLE / 2,
        }
    }

    /// New sentences go to the end of what others stored.
    fn stored_by_others(&mut self) {
        self.version += 1;
        let last = self.sentences.last().copied();
        for (_, held, _) in self.held.values_mut() {
            if let Held::New { behind } = held {
                *behind = last;
            }
        }
    }

    fn open(&mut self, editor: u64, sentence: usize) {
        if self.held.contains_key(&editor) {
            return;
        }
        let text = self.see();
        let wanted = match self.sentences.get(sentence) {
            Some(id) => Held::Sentence(*id),
            None => Held::New { behind: self.sentences.last().copied() },
        };
        let id = LeaseId(self.fresh());
        let opened = self.document.open(&text, sentence, (id, editor.to_string()), (self.now, IDLE));
        if sentence > self.sentences.len() {
            assert_eq!(opened, Err(NoLease::Beyond { sentence, sentences: self.sentences.len() }));
            return;
        }
        match opened {
            Ok(opened) => {
                assert_eq!(opened.text, self.sentences.get(sentence).map_or_else(String::new, |id| words(*id)));
                let others = self.held.values().filter(|(.., used)| !self.is_over(*used));
                let clash = others
                    .filter(|(_, held, _)| {
                        *held == wanted || alike(*held).is_some_and(|of_it| Some(of_it) == alike(wanted))
                    })
                    .filter(|(id, ..)| self.is_there(*id))
                    .count();
                // Of those that are alike nobody can tell which is whose once others have moved them, only that each is one's.
                let free = match alike(wanted) {
                    Some(words_of_it) => self.sentences.iter().filter(|id| words(**id) == words_of_it).count(),
                    None => 1,
                };
                assert!(clash < free, "{clash} have it already");
                self.held.insert(editor, (id, wanted, self.now));
            }
            Err(NoLease::Leased { by, .. }) => {
                let (_, held, used) = self.held[&by.parse::<u64>().unwrap()];
                assert!(!self.is_over(used));
                // Alike are alike: of them the document may have made one the other, as long as each has one.
                assert_eq!(alike(held), alike(wanted));
            }
            Err(other) => panic!("{other}"),
        }
    }

    fn is_there(&self, id: LeaseId) -> bool {
        let text = self.text();
        self.document.compose(id, &text, "x.").is_ok()
    }

    fn commit(&mut self, editor: u64, into: usize) {
        let Some((id, held, used)) = self.held.get(&editor).copied() else { return };
        let text = self.see();
        let ids: Vec<_> = (0..into).map(|_| self.fresh() * 4 + 1).collect();
        let new = ids.iter().map(|id| words(*id)).collect::<Vec<_>>().join(" ");
        let composed = match self.document.compose(id, &text, &new) {
            Ok(composed) => composed,
            Err(NoCommit::Gone(_)) => {
                // Only where there is a reason.
                let is_alone = |id: u64| !id.is_multiple_of(4);
                if let Held::Sentence(sentence) = held {
                    let there = self.at(sentence).is_some() && is_alone(sentence);
                    assert!(!there || self.is_over(used), "{sentence} is there: {text}");
                } else {
                    assert!(self.is_over(used), "a new one has its place");
                }
                self.held.remove(&editor);
                self.document.release(id);
                return;
            }
            Err(other) => panic!("{other}"),
        };
        // What the document says must be what the model says, up to which of those that are alike.
        let possible: Vec<Vec<u64>> = match held {
            Held::Sentence(sentence) => {
                let alike = |(_, other): &(usize, &u64)| words(**other) == words(sentence);
                let places: Vec<_> = self.sentences.iter().enumerate().filter(alike).map(|(at, _)| at).collect();
                assert!(!places.is_empty());
                places.into_iter().map(|at| [&self.sentences[..at], &ids, &self.sentences[at + 1..]].concat()).collect()
            }
            Held::New { .. } => (0..=self.sentences.len())
                .map(|at| [&self.sentences[..at], &ids, &self.sentences[at..]].concat())
                .collect(),
        };
        let read = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let written = |ids: &[u64]| ids.iter().map(|id| words(*id)).collect::<Vec<_>>().join(" ");
        let found = possible.into_iter().find(|ids| written(ids) == read(&composed.text));
        let found = found.unwrap_or_else(|| panic!("{held:?} by {new:?} in {text:?}: {:?}", composed.text));
        self.version += 1;
        // The model writes one space between all.
        let is_plain = written(&found) == composed.text;
        self.document.committed(id, &composed, Lsn(self.version));
        self.sentences = found;
        self.held.remove(&editor);
        if !is_plain {
            self.version += 1;
            self.stored_by_others();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]
    #[test]
    fn whatever_the_order_nothing_is_lost_or_confused(count in 0..5_u64, steps in prop::collection::vec(step(), 1..25)) {
        let mut world = World::new(count);
        for step in &steps {
            world.step(step);
        }
    }
}
