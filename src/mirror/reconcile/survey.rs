//! How far the search of a drive for what somebody else changed is. Pure: the lane looks.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::ids::NodeId;
use crate::journal::{FileNode, Place};
use crate::mirror::reconcile::hints::Hint;
use crate::mirror::volume::{FileKind, Meta, VolumeFile};
use crate::path::Name;

/// What differs must stay as it is for so long before anything follows from it: somebody may be writing it.
pub(crate) const SETTLE: Duration = Duration::from_secs(5);
/// Names that differ and are waited for; the search goes on when there are fewer.
pub(crate) const SUSPECTS_MAX: usize = 1024;
/// Names in new folders that are noted ahead, about 200 bytes each; of those beyond, the time begins when their folder
/// is the mirror's.
pub(crate) const SIGHTED_MAX: usize = 16_384;
/// Folders that the drive is to get and that wait for that; those beyond are found by the next search.
const PUT_OFF_MAX: usize = 1024;
/// Names that one turn looks at.
pub(crate) const TURN_NAMES_MAX: usize = 128;

/// Whether the folders below one are searched too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    Alone,
    WithAllBelow,
    /// It was missing, with all that is below.
    Missing,
}

/// What a name was when it was found to differ; `None`: nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Suspect {
    pub(crate) seen: Option<Meta>,
    pub(crate) since: Instant,
}

/// A folder that is being looked at.
#[derive(Debug)]
pub(crate) struct Visit {
    pub(crate) folder: NodeId,
    pub(crate) depth: Depth,
    pub(crate) stage: Stage,
    /// Names that the catalog has, as they compare, where the file system makes no difference between cases.
    pub(crate) known: BTreeSet<String>,
}

/// First what the catalog has in a folder, then what the drive has beyond that.
#[derive(Debug)]
pub(crate) enum Stage {
    Catalog { after: Option<Name> },
    Drive { names: Vec<String> },
}

/// A folder that the catalog does not have, by its path on the drive.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Strange {
    pub(crate) path: String,
    /// What is still to be looked at in it; `None`: nobody has looked yet.
    pub(crate) names: Option<Vec<String>>,
}

/// Whether there is more to be known of a new name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// It was not seen before, or as something else.
    Yes,
    /// It was, or there is no room for more.
    No,
}

/// How much of a search lies ahead, as far as it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ahead {
    /// Folders to look into.
    pub(crate) folders: u64,
    /// Names that differ, and that nobody is to touch for a while before anything follows from it.
    pub(crate) settling: u64,
}

/// A file whose time stamp is another one, and whose size is not: its bytes decide.
#[derive(Clone, Debug)]
pub(crate) struct Doubt {
    pub(crate) place: Place,
    pub(crate) path: String,
    pub(crate) file: FileNode,
    pub(crate) meta: Meta,
}

/// A doubtful file that is being read, a part in each turn.
pub(crate) struct Reading {
    pub(crate) doubt: Doubt,
    pub(crate) handle: Arc<dyn VolumeFile>,
    pub(crate) offset: u64,
    pub(crate) hasher: crc32fast::Hasher,
}

/// What is to be done next.
pub(crate) enum Turn {
    Read(Reading),
    Open(Doubt),
    Judge(Vec<Place>),
    Strange(Strange),
    Hints(Vec<Hint>),
    Visit(Visit),
    Nothing,
}

/// When there is something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Now,
    At(Instant),
    /// When somebody says so.
    Asked,
}

impl Next {
    pub(crate) fn sooner(self, other: Self) -> Self {
        match (self, other) {
            (Self::Now, _) | (_, Self::Now) => Self::Now,
            (Self::At(one), Self::At(other)) => Self::At(one.min(other)),
            (at @ Self::At(_), Self::Asked) | (Self::Asked, at) => at,
        }
    }
}

/// The search of one drive.
#[derive(Default)]
pub(crate) struct Survey {
    /// Folders to look at, the next one last.
    folders: Vec<(NodeId, Depth)>,
    /// Folders that the drive is to get before they can be looked at.
    put_off: BTreeSet<NodeId>,
    /// New folders to look into, the next one last. What is in them is only noted: it cannot be judged before the folder
    /// is the catalog's, but what has not changed since it was noted need not settle again then, level by level.
    strange: Vec<Strange>,
    /// What was noted in new folders, by its path on the drive.
    sighted: BTreeMap<String, Suspect>,
    /// Names to look at, before the folders.
    hints: Vec<Hint>,
    visit: Option<Visit>,
    suspects: BTreeMap<Place, Suspect>,
    doubts: VecDeque<Doubt>,
    reading: Option<Reading>,
}

impl std::fmt::Debug for Survey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Survey({} folders, {} suspects, {} doubts)",
            self.folders.len(),
            self.suspects.len(),
            self.doubts.len()
        )
    }
}

impl Survey {
    /// Also looks at a folder.
    pub(crate) fn add(&mut self, folder: NodeId, depth: Depth) {
        if !self.folders.contains(&(folder, depth)) {
            self.folders.push((folder, depth));
        }
    }

    /// Also looks at a folder below one that is being looked at, which is named once.
    pub(crate) fn add_below(&mut self, folder: NodeId, above: Depth) {
        match above {
            Depth::Alone => {}
            Depth::WithAllBelow | Depth::Missing => self.folders.push((folder, above)),
        }
    }

    /// Looks at a folder, with all below it, when the drive has it.
    pub(crate) fn put_off(&mut self, folder: NodeId) {
        if self.put_off.len() < PUT_OFF_MAX {
            self.put_off.insert(folder);
        }
    }

    pub(crate) fn take_put_off(&mut self) -> BTreeSet<NodeId> {
        std::mem::take(&mut self.put_off)
    }

    /// Also looks into a new folder.
    pub(crate) fn look_into(&mut self, strange: Strange) {
        self.strange.push(strange);
    }

    /// Notes what a name is in a folder that the catalog does not have.
    pub(crate) fn sight(&mut self, path: &str, meta: Meta, now: Instant) -> News {
        let is_known = match self.sighted.get(path) {
            Some(sighted) => is_same(sighted.seen, Some(meta)),
            None => self.sighted.len() >= SIGHTED_MAX,
        };
        if is_known {
            return News::No;
        }
        self.sighted.insert(path.to_owned(), Suspect { seen: Some(meta), since: now });
        News::Yes
    }

    /// Forgets what was noted in new folders.
    pub(crate) fn forget_sighted(&mut self) {
        self.sighted.clear();
    }

    /// Also looks at some names, a turn's worth at a time.
    pub(crate) fn add_hints(&mut self, hints: Vec<Hint>) {
        self.hints.extend(hints);
    }

    /// Takes what is to be done next; what is left of it is given back.
    pub(crate) fn turn(&mut self, now: Instant) -> Turn {
        if let Some(reading) = self.reading.take() {
            return Turn::Read(reading);
        }
        if let Some(doubt) = self.doubts.pop_front() {
            return Turn::Open(doubt);
        }
        let due = |(_, suspect): &(&Place, &Suspect)| now.saturating_duration_since(suspect.since) >= SETTLE;
        let due: Vec<_> =
            self.suspects.iter().filter(due).map(|(place, _)| place.clone()).take(TURN_NAMES_MAX).collect();
        if !due.is_empty() {
            return Turn::Judge(due);
        }
        if let Some(strange) = self.strange.pop() {
            return Turn::Strange(strange);
        }
        if self.suspects.len() >= SUSPECTS_MAX {
            return Turn::Nothing;
        }
        if !self.hints.is_empty() {
            return Turn::Hints(std::mem::take(&mut self.hints));
        }
        let next =
            |(folder, depth)| Visit { folder, depth, stage: Stage::Catalog { after: None }, known: BTreeSet::new() };
        let visit = self.visit.take().or_else(|| self.folders.pop().map(next));
        visit.map_or(Turn::Nothing, Turn::Visit)
    }

    pub(crate) fn go_on_reading(&mut self, reading: Reading) {
        self.reading = Some(reading);
    }

    pub(crate) fn go_on_visiting(&mut self, visit: Visit) {
        self.visit = Some(visit);
    }

    pub(crate) fn doubt(&mut self, doubt: Doubt) {
        self.doubts.push_back(doubt);
    }

    /// Notes what a name is that differs. One that is still what it was has been so since then.
    pub(crate) fn suspect(&mut self, place: Place, seen: Option<Meta>, now: Instant) {
        let suspect = self.suspects.entry(place).or_insert(Suspect { seen, since: now });
        if !is_same(suspect.seen, seen) {
            *suspect = Suspect { seen, since: now };
        }
    }

    /// As [`Survey::suspect`], for a name at `path` of the drive that the catalog does not have. It may have been noted
    /// before its folder was the mirror's, and has been the same since then.
    pub(crate) fn suspect_new(&mut self, place: Place, path: &str, meta: Meta, now: Instant) -> News {
        let sighted = self.sighted.remove(path);
        let known = sighted.is_some() || self.suspects.contains_key(&place);
        let same = sighted.filter(|sighted| is_same(sighted.seen, Some(meta)));
        self.suspect(place, Some(meta), same.map_or(now, |sighted| sighted.since));
        if known { News::No } else { News::Yes }
    }

    pub(crate) fn is_suspect(&self, place: &Place) -> bool {
        self.suspects.contains_key(place)
    }

    pub(crate) fn take_suspect(&mut self, place: &Place) -> Option<Suspect> {
        self.suspects.remove(place)
    }

    /// When the next turn has something to do.
    pub(crate) fn next(&self, now: Instant) -> Next {
        let more = self.visit.is_some() || !self.folders.is_empty() || !self.hints.is_empty();
        let looks_ahead = !self.strange.is_empty();
        if self.reading.is_some()
            || !self.doubts.is_empty()
            || looks_ahead
            || (more && self.suspects.len() < SUSPECTS_MAX)
        {
            return Next::Now;
        }
        match self.suspects.values().map(|suspect| suspect.since + SETTLE).min() {
            Some(due) if due <= now => Next::Now,
            Some(due) => Next::At(due),
            None => Next::Asked,
        }
    }

    /// What lies ahead. Names that the kernel told of are not counted: most are of the mirror's own doing.
    pub(crate) fn ahead(&self) -> Ahead {
        let known = self.folders.len() + self.put_off.len() + usize::from(self.visit.is_some());
        let folders = known + self.strange.len();
        let settling = self.suspects.len() + self.doubts.len() + usize::from(self.reading.is_some());
        Ahead { folders: folders as u64, settling: settling as u64 }
    }
}

/// Whether a name is what it was. A folder's own size and time tell of what is in it.
pub(crate) fn is_same(one: Option<Meta>, other: Option<Meta>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) if one.kind == FileKind::Folder => other.kind == FileKind::Folder,
        (one, other) => one == other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Observed;

    fn meta(size: u64) -> Meta {
        Meta { kind: FileKind::File, observed: Observed { size, mtime_ns: 1 }, executable: false }
    }

    fn place(name: &str) -> Place {
        Place::new(NodeId::ROOT, Name::parse(name).unwrap())
    }

    #[test]
    fn what_goes_on_changing_is_not_judged() {
        let (mut survey, start) = (Survey::default(), crate::clock::now());
        let mut now = start;
        for size in 0..5 {
            survey.suspect(place("f"), Some(meta(size)), now);
            now += SETTLE / 2;
            assert!(matches!(survey.turn(now), Turn::Nothing));
        }
        assert_eq!(survey.next(now), Next::At(now + SETTLE / 2));
        survey.suspect(place("f"), Some(meta(4)), now);
        assert!(matches!(survey.turn(now + SETTLE / 2), Turn::Judge(due) if due == [place("f")]));
    }

    #[test]
    fn what_has_settled_in_a_new_folder_need_not_settle_again_when_that_is_the_mirrors() {
        let (mut survey, start) = (Survey::default(), crate::clock::now());
        assert_eq!(survey.sight("d/same", meta(1), start), News::Yes);
        assert_eq!(survey.sight("d/grows", meta(1), start), News::Yes);
        let later = start + SETTLE / 2;
        assert_eq!(survey.sight("d/same", meta(1), later), News::No);
        assert_eq!(survey.sight("d/grows", meta(2), later), News::Yes);
        let now = start + SETTLE;
        for (name, size, news) in
            [("same", 1, News::No), ("grows", 2, News::No), ("grown", 1, News::Yes), ("late", 1, News::Yes)]
        {
            assert_eq!(survey.suspect_new(place(name), &format!("d/{name}"), meta(size), now), news, "{name}");
        }
        assert!(matches!(survey.turn(now), Turn::Judge(due) if due == [place("same")]));
        survey.take_suspect(&place("same"));
        assert!(matches!(survey.turn(later + SETTLE), Turn::Judge(due) if due == [place("grows")]));
        survey.take_suspect(&place("grows"));
        assert_eq!(survey.next(later + SETTLE), Next::At(now + SETTLE));
    }

    #[test]
    fn what_was_noted_and_is_another_by_then_settles_from_then_on() {
        let (mut survey, start) = (Survey::default(), crate::clock::now());
        survey.sight("d/f", meta(1), start);
        let now = start + SETTLE;
        assert_eq!(survey.suspect_new(place("f"), "d/f", meta(2), now), News::No);
        assert!(matches!(survey.turn(now), Turn::Nothing));
        assert_eq!(survey.next(now), Next::At(now + SETTLE));
    }

    #[test]
    fn what_is_noted_ahead_is_bounded_and_forgotten() {
        let (mut survey, now) = (Survey::default(), crate::clock::now());
        for number in 0..SIGHTED_MAX {
            assert_eq!(survey.sight(&number.to_string(), meta(1), now), News::Yes);
        }
        assert_eq!(survey.sight("one more", meta(1), now), News::No);
        survey.forget_sighted();
        assert_eq!(survey.sight("one more", meta(1), now), News::Yes);
        assert_eq!(survey.next(now), Next::Asked, "it is no work");
    }

    #[test]
    fn too_many_suspects_hold_the_search_up_and_do_not_end_it() {
        let (mut survey, now) = (Survey::default(), crate::clock::now());
        survey.add(NodeId::ROOT, Depth::WithAllBelow);
        for number in 0..SUSPECTS_MAX {
            survey.suspect(place(&number.to_string()), Some(meta(1)), now);
        }
        assert!(matches!(survey.turn(now), Turn::Nothing));
        assert_eq!(survey.next(now), Next::At(now + SETTLE));
        survey.take_suspect(&place("7"));
        assert_eq!(survey.next(now), Next::Now);
        assert!(matches!(survey.turn(now), Turn::Visit(_)));
        assert_eq!(survey.next(now), Next::At(now + SETTLE));
    }
}
