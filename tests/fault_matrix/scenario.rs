//! What is under way when a call fails.

use crate::story::{LARGE, SMALL, Story};

/// Entries past which a drive that is behind is backfilled, where a scenario wants that.
const BACKFILL: &str = "journal_entries_max = 6\n";

/// When the call may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// From the first request until all is installed.
    Request,
    /// From then until the checkpoint is made.
    Checkpoint,
    /// From the drive's return until it has everything.
    Return,
    /// As that, after it was pulled when a checkpoint had been made and changed elsewhere, until that is taken in.
    ReturnFromElsewhere,
}

/// Which drive's calls fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failing {
    /// The one that the scenario is about.
    Itself,
    /// The one that it copies from.
    Source,
}

pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) moment: Moment,
    pub(crate) failing: Failing,
    /// More of the daemon's settings.
    pub(crate) settings: &'static str,
    /// Done with both drives in sync; then all is installed.
    pub(crate) before: fn(&mut Story),
    /// What it is about; with the drive away, where it is about its return.
    pub(crate) act: fn(&mut Story),
}

const REQUEST: Scenario =
    Scenario { name: "", moment: Moment::Request, failing: Failing::Itself, settings: "", before: |_| {}, act: |_| {} };

pub(crate) const ALL: &[Scenario] = &[
    Scenario { name: "put", act: |story| story.put("f", SMALL), ..REQUEST },
    Scenario { name: "put-large", act: |story| story.put("f", LARGE), ..REQUEST },
    Scenario {
        name: "overwrite",
        before: |story| story.put("f", SMALL),
        act: |story| story.put("f", SMALL),
        ..REQUEST
    },
    Scenario {
        name: "overwrite-large",
        before: |story| story.put("f", SMALL),
        act: |story| story.put("f", LARGE),
        ..REQUEST
    },
    Scenario {
        name: "rm",
        before: |story| {
            story.put("d/f", SMALL);
            story.put("g", SMALL);
        },
        act: |story| story.remove("d"),
        ..REQUEST
    },
    Scenario {
        name: "undo",
        before: |story| {
            story.put("f", SMALL);
            story.put("f", LARGE);
            story.put("d/g", SMALL);
            story.remove("d");
        },
        act: |story| {
            story.undo("f");
            story.undo("d");
        },
        ..REQUEST
    },
    Scenario { name: "mkdir", act: |story| story.make_folder("d/e"), ..REQUEST },
    Scenario {
        name: "mv",
        before: |story| {
            story.put("d/f", SMALL);
            story.put("g", SMALL);
        },
        act: |story| {
            story.rename("d", "e");
            story.rename("g", "e/g");
        },
        ..REQUEST
    },
    Scenario { name: "get", before: put_two, act: Story::read_all, ..REQUEST },
    Scenario { name: "scrub", before: put_two, act: Story::scrub, ..REQUEST },
    Scenario {
        name: "checkpoint",
        moment: Moment::Checkpoint,
        before: |story| story.put("g", SMALL),
        act: |story| story.put("f", SMALL),
        ..REQUEST
    },
    Scenario { name: "replay", moment: Moment::Return, before: before_absence, act: in_absence, ..REQUEST },
    Scenario {
        name: "replay-source",
        moment: Moment::Return,
        failing: Failing::Source,
        before: before_absence,
        act: in_absence,
        ..REQUEST
    },
    Scenario {
        name: "backfill",
        moment: Moment::Return,
        settings: BACKFILL,
        before: before_absence,
        act: in_absence,
        ..REQUEST
    },
    Scenario {
        name: "backfill-source",
        moment: Moment::Return,
        failing: Failing::Source,
        settings: BACKFILL,
        before: before_absence,
        act: in_absence,
    },
    Scenario {
        name: "reconcile",
        moment: Moment::ReturnFromElsewhere,
        before: before_absence,
        act: |story| story.change_elsewhere("changed", "removed", ("d/moved", "renamed"), "new"),
        ..REQUEST
    },
];

fn put_two(story: &mut Story) {
    story.put("f", SMALL);
    story.put("g", LARGE);
}

fn before_absence(story: &mut Story) {
    story.put("changed", SMALL);
    story.put("removed", SMALL);
    story.put("d/moved", SMALL);
}

fn in_absence(story: &mut Story) {
    story.put("changed", SMALL);
    story.put("new/large", LARGE);
    story.remove("removed");
    story.rename("d", "e");
    story.make_folder("empty");
    story.rename("e/moved", "moved");
    story.put("new/small", SMALL);
}
