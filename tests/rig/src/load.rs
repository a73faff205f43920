//! Clients under load, each with a folder and an oracle of its own.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crate::client::{Client, Outcome};
use crate::model::{Model, Operation};
use crate::random::Random;
use crate::wait::Stop;

/// Bounds of the sizes of files.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    pub least: usize,
    pub most: usize,
}

/// One client. It stops at the first command that does not succeed, since then it no longer knows.
pub struct Worker {
    pub name: String,
    client: Client,
    random: Random,
    sizes: Sizes,
    /// What its folder holds.
    model: Model,
    /// What its folder may hold instead: the last command failed, and perhaps had its effect.
    doubt: Option<Model>,
    /// The folder of a recursive removal that failed: a series of removals, each done or not.
    half_removed: Option<String>,
    failures: Vec<String>,
    done: Arc<AtomicUsize>,
    /// The commands that succeeded, for the report of a difference.
    last: Vec<String>,
}

impl Worker {
    pub fn team(client: &Client, count: usize, seed: u64, sizes: Sizes) -> Vec<Self> {
        let worker = |number| Self {
            name: format!("client-{number:02}"),
            client: client.clone(),
            random: Random::new(seed.wrapping_mul(1000).wrapping_add(number as u64)),
            sizes,
            model: Model::default(),
            doubt: None,
            half_removed: None,
            failures: Vec::new(),
            done: Arc::default(),
            last: Vec::new(),
        };
        (0..count).map(worker).collect()
    }

    /// Works until told to stop, or until a command fails.
    fn work(&mut self, stop: &AtomicBool) {
        while self.failures.is_empty() && !stop.load(Ordering::Acquire) {
            let Sizes { least, most } = self.sizes;
            // One file in ten is as short as they come: those are where special cases live.
            let size = |random: &mut Random| match random.below(10) {
                0 => least,
                _ => random.magnitude(least.max(16), most),
            };
            let operation = self.model.choose(&mut self.random, size);
            let outcome = self.perform(&operation);
            let mut after = self.model.clone();
            after.apply(&operation);
            if outcome.code != 0 {
                self.failures.push(format!("{}: exit {}: {}", outcome.command, outcome.code, outcome.stderr.trim()));
                self.doubt = Some(after);
                if let Operation::RemoveTree { path } = operation {
                    self.half_removed = Some(path);
                }
                return;
            }
            if let Operation::Get { path } = &operation {
                let expected = self.model.content(path).expect("only files are read");
                if outcome.stdout != expected.bytes() {
                    let actual = outcome.stdout.len();
                    self.failures.push(format!("{}: {actual} bytes that are not {expected:?}", outcome.command));
                }
            }
            self.model = after;
            self.done.fetch_add(1, Ordering::Relaxed);
            self.last.push(outcome.command);
        }
    }

    fn perform(&self, operation: &Operation) -> Outcome {
        let at = |path: &str| format!("{}/{path}", self.name);
        match operation {
            // Both ways to send a body: with its length before it, and in chunks.
            Operation::Put { path, content } if content.seed % 4 == 0 => {
                self.client.put_piped(&at(path), &content.bytes())
            }
            Operation::Put { path, content } => self.client.put(&at(path), &content.bytes()),
            Operation::Get { path } => self.client.get(&at(path)),
            Operation::Remove { path } => self.client.run(&["rm", &at(path)]),
            Operation::RemoveTree { path } => self.client.run(&["rm", "-r", &at(path)]),
            Operation::Move { from, to } => self.client.run(&["mv", &at(from), &at(to)]),
            Operation::MakeFolder { path } => self.client.run(&["mkdir", &at(path)]),
        }
    }

    /// What went wrong since the last call.
    pub fn take_failures(&mut self) -> Vec<String> {
        std::mem::take(&mut self.failures)
    }

    /// Commands that succeeded so far.
    pub fn done(&self) -> usize {
        self.done.load(Ordering::Relaxed)
    }

    /// The same while it works.
    pub fn counter(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.done)
    }

    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Panics unless the client's folder below `root` is what it must be. A command that failed may have had
    /// its effect or not, but all of it or nothing; from then on that is known.
    #[track_caller]
    pub fn check(&mut self, root: &Path) {
        let folder = root.join(&self.name);
        if let Some(path) = self.half_removed.take() {
            self.model = self.model.without_missing(&path, &folder);
        }
        let differences = self.model.differences(&folder);
        if differences.is_empty() {
            self.doubt = None;
            return;
        }
        match self.doubt.take() {
            Some(doubt) if doubt.differences(&folder).is_empty() => self.model = doubt,
            Some(doubt) => panic!(
                "{}: neither as before the command that failed {differences:#?} nor as after it {:#?}",
                folder.display(),
                doubt.differences(&folder)
            ),
            None => panic!(
                "{}: {differences:#?}, last done: {:#?}",
                folder.display(),
                self.last.iter().rev().take(40).collect::<Vec<_>>()
            ),
        }
    }
}

/// Lets all workers work while `act` goes on; returns when each has finished its last command.
pub fn run_while<T>(workers: &mut [Worker], act: impl FnOnce() -> T) -> T {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let guard = Stop(&stop);
        for worker in workers {
            scope.spawn(|| worker.work(&stop));
        }
        let outcome = act();
        drop(guard);
        outcome
    })
}
