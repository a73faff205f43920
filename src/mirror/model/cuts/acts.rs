//! The histories: all sequences of mutations over a small namespace, one of each kind.

use crate::ids::Lsn;
use crate::mirror::model::oracle::{Oracle, Verdict};
use crate::mirror::model::world::{Way, World};

/// Two names, in the root and in folders of these names.
const PATHS: [&str; 6] = ["x", "y", "x/x", "x/y", "y/x", "y/y"];
const ROOT_PATHS: usize = 2;

/// A mutation; paths are numbers in [`PATHS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Change {
    /// Staged in the drive log, as small files are.
    PutSmall(usize),
    /// Staged in a file.
    PutLarge(usize),
    MakeFolder(usize),
    Move(usize, usize),
    Remove(usize),
}

/// What the lanes do after a mutation, before the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Then {
    Nothing,
    /// One step of the first drive's lane.
    StepA,
    StepB,
    /// Both to the end of their debts, and a checkpoint of each.
    Rest,
}

/// A mutation, and what the lanes do after it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Act {
    pub(super) change: Change,
    pub(super) then: Then,
}

/// A way to name the same things otherwise: the names in the root swapped, those in folders.
#[derive(Clone, Copy)]
enum Renamed {
    Root,
    Inner,
    Both,
}

impl Renamed {
    fn path(self, path: usize) -> usize {
        let (folder, name) = if path < ROOT_PATHS { (path, None) } else { ((path - 2) / 2, Some((path - 2) % 2)) };
        let folder = match self {
            Self::Root | Self::Both => 1 - folder,
            Self::Inner => folder,
        };
        let swapped = |name| match self {
            Self::Inner | Self::Both => 1 - name,
            Self::Root => name,
        };
        name.map_or(folder, |name: usize| ROOT_PATHS + 2 * folder + swapped(name))
    }

    fn change(self, change: Change) -> Change {
        match change {
            Change::PutSmall(path) => Change::PutSmall(self.path(path)),
            Change::PutLarge(path) => Change::PutLarge(self.path(path)),
            Change::MakeFolder(path) => Change::MakeFolder(self.path(path)),
            Change::Move(from, to) => Change::Move(self.path(from), self.path(to)),
            Change::Remove(path) => Change::Remove(self.path(path)),
        }
    }
}

impl Change {
    fn all() -> Vec<Self> {
        let each = |change: fn(usize) -> Self| (0..PATHS.len()).map(change);
        let moves = (0..PATHS.len()).flat_map(|from| (0..PATHS.len()).map(move |to| Self::Move(from, to)));
        let mut all: Vec<_> = each(Self::PutSmall).chain(each(Self::PutLarge)).chain(each(Self::Remove)).collect();
        all.extend((0..ROOT_PATHS).map(Self::MakeFolder));
        all.extend(moves.filter(|change| !matches!(change, Self::Move(from, to) if from == to)));
        all
    }

    /// The bytes that the `nth` mutation puts: some, or more than a sector of them.
    fn bytes(self, nth: usize) -> Vec<u8> {
        let len = if matches!(self, Self::PutLarge(_)) { 600 } else { 7 };
        vec![b'0' + nth as u8; len]
    }

    /// Whether the mutation is done, and does something.
    fn counts(self, oracle: &Oracle) -> bool {
        let verdict = match self {
            Self::PutSmall(path) | Self::PutLarge(path) => oracle.judge_put(PATHS[path]),
            Self::MakeFolder(path) if oracle.tree.contains_key(PATHS[path]) => Verdict::Exists,
            Self::MakeFolder(path) => oracle.judge_folder(PATHS[path]),
            Self::Move(from, to) => oracle.judge_move(PATHS[from], PATHS[to]),
            Self::Remove(path) => oracle.judge_remove(PATHS[path]),
        };
        verdict == Verdict::Done
    }

    pub(super) fn perform(self, world: &mut World, nth: usize) {
        match self {
            Self::PutSmall(path) => world.put(PATHS[path], &self.bytes(nth), Way::Log),
            Self::PutLarge(path) => world.put(PATHS[path], &self.bytes(nth), Way::File),
            Self::MakeFolder(path) => world.make_folder(PATHS[path]),
            Self::Move(from, to) => world.move_to(PATHS[from], PATHS[to]),
            Self::Remove(path) => world.remove(PATHS[path]),
        }
    }

    /// The trees that a cut while this is under way may leave: the one before, the one after, and what is between.
    pub(super) fn outcomes(self, before: &Oracle, nth: usize) -> Vec<Oracle> {
        let mut trees = vec![before.clone()];
        let mut after = before.clone();
        match self {
            Self::PutSmall(path) | Self::PutLarge(path) => {
                if let Some((folder, _)) = PATHS[path].split_once('/')
                    && !before.tree.contains_key(folder)
                {
                    // A folder above is an entry of its own.
                    after.make_folder(folder);
                    trees.push(after.clone());
                }
                after.put(PATHS[path], &self.bytes(nth), &[], Lsn(0));
            }
            Self::MakeFolder(path) => after.make_folder(PATHS[path]),
            Self::Move(from, to) => after.move_to(PATHS[from], PATHS[to]),
            Self::Remove(path) => after.remove(PATHS[path]),
        }
        trees.push(after);
        trees
    }
}

/// All sequences of so many mutations that are all done, but for those that are others with the names swapped.
pub(super) fn sequences(len: usize) -> Vec<Vec<Change>> {
    let all = Change::all();
    let mut found = vec![(Vec::new(), Oracle::default())];
    for nth in 0..len {
        let mut longer = Vec::new();
        for (sequence, oracle) in &found {
            for change in all.iter().filter(|change| change.counts(oracle)) {
                let mut sequence: Vec<Change> = sequence.clone();
                sequence.push(*change);
                let after = change.outcomes(oracle, nth).pop().unwrap_or_default();
                longer.push((sequence, after));
            }
        }
        found = longer;
    }
    found.into_iter().map(|(sequence, _)| sequence).filter(|sequence| is_least(sequence)).collect()
}

/// Whether no way to swap the names makes the sequence a smaller one.
fn is_least(sequence: &[Change]) -> bool {
    [Renamed::Root, Renamed::Inner, Renamed::Both]
        .into_iter()
        .all(|renamed| sequence.iter().map(|change| renamed.change(*change)).ge(sequence.iter().copied()))
}

#[test]
fn sequences_are_all_that_can_be_done_up_to_the_names() {
    use Change as C;
    let first = [C::PutSmall(0), C::PutSmall(2), C::PutLarge(0), C::PutLarge(2), C::MakeFolder(0)];
    assert_eq!(sequences(1).concat(), first);
    let moves = |sequence: &Vec<Change>| matches!(sequence[..], [C::MakeFolder(0), C::Move(0, _)]);
    assert_eq!(sequences(2).into_iter().filter(moves).count(), 1);
}
