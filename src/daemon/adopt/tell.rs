//! What was found, for whoever reads standard error.

use std::io::Write;
use std::path::Path;

use crate::ids::PerSide;
use crate::mirror::adopt::{Examples, Outcome, Survey};
use crate::mirror::manifest::Manifest;
use crate::units;

/// Things passed over on one drive that are named.
const PASSED_OVER_MAX: usize = 20;

/// How much the drives know of the past, and what is left alone on them.
pub(super) fn histories(surveys: &PerSide<Option<Survey>>) {
    for (side, survey) in surveys.iter() {
        let Some(survey) = survey else { continue };
        match survey.manifest {
            Some(Manifest::Whole) | None => {}
            Some(Manifest::Partial) => {
                say(&format!("drive {side}: its manifest is incomplete; the files on it are what counts"));
            }
            Some(Manifest::None) => {
                say(&format!("drive {side}: it has no manifest; the files on it are what counts"));
            }
        }
        for what in survey.passed_over.iter().take(PASSED_OVER_MAX) {
            say(&format!("drive {side}: left alone: {what}"));
        }
        let more = survey.passed_over.len().saturating_sub(PASSED_OVER_MAX);
        if more > 0 {
            say(&format!("drive {side}: and {more} more"));
        }
    }
}

pub(super) fn outcome(outcome: &Outcome, aside: Option<&Path>) {
    let report = &outcome.report;
    say(&format!(
        "{} and {}, {}; {} that no history knew",
        units::count(report.files, "file"),
        units::count(report.folders, "folder"),
        units::bytes(report.bytes),
        units::count(report.taken_in, "file"),
    ));
    if report.trashed > 0 {
        say(&format!("{} in the trash, kept from now on as if removed just now", units::count(report.trashed, "file")));
    }
    if report.late > 0 {
        say(&format!("{} whose answer nobody can tell of", units::count(report.late, "upload")));
    }
    examples(&report.kept, "kept beside the current version");
    examples(&report.missing, "on record and on no drive that was given");
    if report.strange_accounts {
        say("accounts that no history knows were found on a drive: nobody is let in by them");
    }
    if !outcome.has_accounts() {
        say(
            "no accounts were found: if there were some, make them anew with twinstickd user add before others are served",
        );
    }
    if let Some(aside) = aside {
        say(&format!("the journal that was there is now {}", aside.display()));
    }
}

fn examples(examples: &Examples, what: &str) {
    if examples.count == 0 {
        return;
    }
    say(&format!("{} {what}:", units::count(examples.count, "file")));
    for name in &examples.names {
        say(&format!("  {name}"));
    }
    let more = examples.count - examples.names.len() as u64;
    if more > 0 {
        say(&format!("  and {more} more"));
    }
}

pub(super) fn say(line: &str) {
    // Without a stderr there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "{}", units::one_line(line));
}
