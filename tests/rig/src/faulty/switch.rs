//! Which call of a faulty file system goes wrong, and how.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

/// What the kernel asks of a file system. Left out are `forget`, `flush` and `release`, whose answers no program sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Call {
    Lookup,
    Attributes,
    SetAttributes,
    Create,
    Open,
    Read,
    /// Past the file's end.
    Write,
    /// Of bytes that the file has.
    Overwrite,
    Allocate,
    Sync,
    SyncFolder,
    MakeFolder,
    Rename,
    Link,
    Unlink,
    RemoveFolder,
    OpenFolder,
    List,
    Space,
}

impl Call {
    /// The calls that need new blocks.
    pub const ALLOCATING: &[Self] = &[Self::Create, Self::Write, Self::Allocate, Self::MakeFolder];
    /// The calls that change something.
    pub const CHANGING: &[Self] = &[
        Self::SetAttributes,
        Self::Create,
        Self::Write,
        Self::Overwrite,
        Self::Allocate,
        Self::MakeFolder,
        Self::Rename,
        Self::Link,
        Self::Unlink,
        Self::RemoveFolder,
    ];
    pub const SYNCING: &[Self] = &[Self::Sync, Self::SyncFolder];
}

/// What a path is on a drive: as far as calls to it differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    Root,
    /// `.twinstick` and the folders in it.
    OwnFolder,
    Label,
    Lock,
    Log,
    Stage,
    Draft,
    /// Any other file of the mirror's own.
    OwnFile,
    /// What the mirror keeps for its user.
    User,
}

impl Class {
    fn of(path: &str) -> Self {
        let Some(own) = path.strip_prefix(".twinstick") else {
            return if path.is_empty() { Self::Root } else { Self::User };
        };
        match own.strip_prefix('/').unwrap_or_default().split_once('/') {
            None if own.starts_with("/label") => Self::Label,
            None if own == "/lock" => Self::Lock,
            None if own.is_empty() || ["/log", "/stage", "/aside", "/limbo"].contains(&own) => Self::OwnFolder,
            None => Self::OwnFile,
            Some(("log", _)) => Self::Log,
            // A lane's own copies have more in their names than the ticket.
            Some(("stage", name)) if name.contains('.') => Self::Draft,
            Some(("stage", _)) => Self::Stage,
            Some(_) => Self::OwnFile,
        }
    }
}

/// One call among all: the so-manieth of its kind on such a path, counted from 1 since counting began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Site {
    pub call: Call,
    pub class: Class,
    pub number: u32,
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?} #{}", self.call, self.class, self.number)
    }
}

/// How a call goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// This once.
    Fails(Errno),
    /// It and all that follow, until the medium is revived.
    Dies(Errno),
    /// It and all that follow wait, until the medium is revived.
    Hangs,
}

/// What becomes of a call.
pub(super) enum Verdict {
    Goes,
    Fails(Errno),
    Hangs,
}

type Held = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct State {
    counts: Option<BTreeMap<(Call, Class), u32>>,
    plan: Option<(Site, Fault)>,
    fired: bool,
    dead: Option<Errno>,
    hangs: bool,
    held: Vec<Held>,
    /// Kinds of calls that fail, all of them.
    standing: Vec<(&'static [Call], Errno)>,
}

/// Decides of every call.
#[derive(Default)]
pub(crate) struct Switch(Mutex<State>);

impl Switch {
    pub(super) fn decide(&self, call: Call, path: &str) -> Verdict {
        let mut state = self.state();
        let class = Class::of(path);
        let number = state.counts.as_mut().map(|counts| {
            let number = counts.entry((call, class)).or_default();
            *number += 1;
            *number
        });
        if state.hangs {
            return Verdict::Hangs;
        }
        if let Some(errno) = state.dead {
            return Verdict::Fails(errno);
        }
        if let Some((_, errno)) = state.standing.iter().find(|(calls, _)| calls.contains(&call)) {
            return Verdict::Fails(*errno);
        }
        let here = number.map(|number| Site { call, class, number });
        let Some((_, fault)) = state.plan.take_if(|(site, _)| Some(*site) == here) else { return Verdict::Goes };
        state.fired = true;
        match fault {
            Fault::Fails(errno) => Verdict::Fails(errno),
            Fault::Dies(errno) => {
                state.dead = Some(errno);
                Verdict::Fails(errno)
            }
            Fault::Hangs => {
                state.hangs = true;
                Verdict::Hangs
            }
        }
    }

    /// Keeps a call until the medium is revived.
    pub(super) fn hold(&self, held: Held) {
        let mut state = self.state();
        if state.hangs {
            state.held.push(held);
        } else {
            drop(state);
            held();
        }
    }

    /// Begins to count, with this one call to go wrong.
    pub(super) fn arm(&self, plan: Option<(Site, Fault)>) {
        let mut state = self.state();
        state.counts = Some(BTreeMap::new());
        (state.plan, state.fired) = (plan, false);
    }

    pub(super) fn has_fired(&self) -> bool {
        self.state().fired
    }

    pub(super) fn counted(&self) -> u32 {
        self.state().counts.as_ref().map_or(0, |counts| counts.values().sum())
    }

    pub(super) fn count(&self, call: Call, class: Class) -> u32 {
        self.state().counts.as_ref().and_then(|counts| counts.get(&(call, class)).copied()).unwrap_or(0)
    }

    /// Ends counting; all sites that there were.
    pub(super) fn disarm(&self) -> Vec<Site> {
        let mut state = self.state();
        state.plan = None;
        let counts = state.counts.take().unwrap_or_default();
        let sites = |((call, class), count)| (1..=count).map(move |number| Site { call, class, number });
        counts.into_iter().flat_map(sites).collect()
    }

    pub(super) fn set_standing(&self, standing: Vec<(&'static [Call], Errno)>) {
        self.state().standing = standing;
    }

    pub(crate) fn set_hanging(&self) {
        self.state().hangs = true;
    }

    /// Everything works again. What hung goes on, in the order in which it came and before all that comes now.
    pub(crate) fn revive(&self) {
        let mut state = self.state();
        (state.plan, state.dead) = (None, None);
        state.standing.clear();
        state.hangs = false;
        // With the lock held, since what comes now must wait.
        std::mem::take(&mut state.held).into_iter().for_each(|held| held());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(switch: &Switch, call: Call, path: &str) -> Option<Errno> {
        match switch.decide(call, path) {
            Verdict::Goes => None,
            Verdict::Fails(errno) => Some(errno),
            Verdict::Hangs => panic!("it hangs"),
        }
    }

    #[test]
    fn one_call_of_a_kind_on_such_a_path_fails_and_only_once() {
        let switch = Switch::default();
        let site = Site { call: Call::Sync, class: Class::Log, number: 2 };
        switch.arm(Some((site, Fault::Fails(Errno::IO))));
        assert_eq!(outcome(&switch, Call::Sync, ".twinstick/log/1-0"), None);
        assert_eq!(outcome(&switch, Call::Write, ".twinstick/log/1-0"), None);
        assert_eq!(outcome(&switch, Call::Sync, "a"), None);
        assert_eq!(outcome(&switch, Call::Sync, ".twinstick/log/1-0"), Some(Errno::IO));
        assert_eq!(outcome(&switch, Call::Sync, ".twinstick/log/1-0"), None);
        assert!(switch.has_fired());
        assert_eq!(switch.disarm().len(), 5);
    }

    #[test]
    fn a_dead_medium_fails_until_it_is_revived() {
        let switch = Switch::default();
        let site = Site { call: Call::Read, class: Class::User, number: 1 };
        switch.arm(Some((site, Fault::Dies(Errno::NODEV))));
        assert_eq!(outcome(&switch, Call::Space, ""), None);
        assert_eq!(outcome(&switch, Call::Read, "a/b"), Some(Errno::NODEV));
        assert_eq!(outcome(&switch, Call::Space, ""), Some(Errno::NODEV));
        switch.revive();
        assert_eq!(outcome(&switch, Call::Space, ""), None);
    }

    #[test]
    fn a_full_medium_fails_what_needs_room() {
        let switch = Switch::default();
        switch.set_standing(vec![(Call::ALLOCATING, Errno::NOSPC)]);
        assert_eq!(outcome(&switch, Call::Unlink, "a"), None);
        assert_eq!(outcome(&switch, Call::Write, "a"), Some(Errno::NOSPC));
    }
}
