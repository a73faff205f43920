//! The mirror's status as text, in the shape of zpool's.

use std::fmt::Write as _;

use crate::client::cli::lines::{ago, clock_time, labelled, wrapped};
use crate::client::cli::progress::Remarks;
use crate::units::{bytes, count, seconds};
use crate::wire::{
    Counts, DiskDocument, DriveDocument, EditingDocument, ForeignDocument, ForeignItemDocument, HealthState,
    HostDocument, NoticeDocument, ReplayDocument, ScanDocument, SearchDocument, StatusDocument, TotalsDocument,
};

/// Events shown below the table.
const EVENTS_SHOWN: usize = 5;
/// What others changed, shown below the table; `--json` has more.
const FOREIGN_SHOWN: usize = 5;
/// Waiting paths named in the text; `--json` has more.
const WAITING_SHOWN: usize = 5;
/// Newest of what lies aside that are shown of a drive.
const ASIDE_SHOWN: usize = 3;

/// The whole status.
pub(crate) fn status(document: &StatusDocument, server: &str, remarks: Remarks) -> String {
    let mut text = labelled("mirror", server);
    text += &labelled("state", state(document.state));
    text += &notices(&document.notices);
    for drive in &document.drives {
        text += &scan(drive).map(|scan| labelled("scan", &scan)).unwrap_or_default();
    }
    for drive in &document.drives {
        text += &scrub(drive).map(|scrub| labelled("scan", &scrub)).unwrap_or_default();
    }
    let journal = &document.journal;
    let writable = if journal.writable { "" } else { ", cannot be written" };
    let entries = if journal.entries == 1 { "1 entry".to_owned() } else { format!("{} entries", journal.entries) };
    text += &labelled("journal", &format!("{entries}, head {}{writable}", journal.head_lsn));
    if document.editing.sentences > 0 {
        let EditingDocument { sentences, texts, .. } = document.editing;
        text += &labelled("editing", &format!("{} of {}", count(sentences, "sentence"), count(texts, "text")));
    }
    if document.trash.items > 0 {
        let kept = format!("{}, {} on each drive", count(document.trash.items, "thing"), bytes(document.trash.bytes));
        text += &labelled("trash", &kept);
    }
    text += &document.totals.as_ref().map(|totals| labelled("asked", &asked(totals))).unwrap_or_default();
    text += &document.host.as_ref().map(|host| labelled("host", &host_line(host))).unwrap_or_default();
    text += "\n";
    text += &table(&document.drives);
    text += &below_table(document);
    match remarks {
        Remarks::Shown => text + &events(document),
        Remarks::Quiet => text,
    }
}

/// What was asked for since the daemon started.
fn asked(totals: &TotalsDocument) -> String {
    let Counts { requests, failed, bytes_in, bytes_out } = totals.since_start.all;
    let missing = match totals.dropped_lines {
        0 => String::new(),
        lines => format!("; {} missing in the log", count(lines, "line")),
    };
    let ever = totals.ever.all.requests;
    let (came, left) = (bytes(bytes_in), bytes(bytes_out));
    format!("{}, {failed} of them refused, {came} in, {left} out; {ever} ever{missing}", count(requests, "request"))
}

/// What is not as it should be; one line where all is.
pub(crate) fn problems(document: &StatusDocument, server: &str, remarks: Remarks) -> String {
    match document.state {
        HealthState::Healthy if document.notices.is_empty() => "all drives are healthy\n".to_owned(),
        HealthState::Healthy => format!("all drives are healthy\n{}", notices(&document.notices)),
        HealthState::Degraded | HealthState::Unusable => status(document, server, remarks),
    }
}

/// One line for a monitor.
pub(crate) fn verdict(document: &StatusDocument) -> String {
    let first = document.notices.first().map(|notice| format!(": {}", notice.what)).unwrap_or_default();
    let line = format!("{}{first}", state(document.state));
    format!("{}\n", line.replace('\n', " "))
}

/// One line for somebody who waits: who is behind, and for how long still.
pub(crate) fn waiting_for(document: &StatusDocument) -> String {
    let behind = |drive: &&DriveDocument| !["in-sync", "parked"].contains(&drive.state.as_str());
    let parts = document.drives.iter().filter(behind).map(|drive| {
        let (name, state) = (&drive.name, &drive.state);
        match drive.scan.as_ref().filter(|scan| scan.running) {
            Some(scan) => format!("{name} {state}: {}{}", amounts(scan), pace(scan)),
            None => format!("{name} is {state}"),
        }
    });
    let text = parts.collect::<Vec<_>>().join("; ");
    if text.is_empty() { "in sync, but for what is being written".to_owned() } else { text }
}

/// What drives lack that no drive has whole.
pub(crate) fn lost(document: &StatusDocument) -> Option<String> {
    let lacking = document.drives.iter().filter(|drive| drive.lost > 0);
    let parts: Vec<_> = lacking.map(|drive| format!("{} lacks {}", drive.name, count(drive.lost, "path"))).collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn state(state: HealthState) -> &'static str {
    match state {
        HealthState::Healthy => "healthy",
        HealthState::Degraded => "degraded",
        HealthState::Unusable => "unusable",
    }
}

fn notices(notices: &[NoticeDocument]) -> String {
    let mut text = String::new();
    for notice in notices {
        let since = match (&notice.since, notice.seconds) {
            (Some(since), Some(seconds)) => format!("\nsince {} ({})", clock_time(*since), ago(seconds)),
            (Some(_) | None, _) => String::new(),
        };
        text += &labelled("status", &format!("{}{since}", notice.what));
        text += &labelled("action", &notice.action);
    }
    text
}

/// The work of a drive that came back: under way, or the last.
fn scan(drive: &DriveDocument) -> Option<String> {
    let name = &drive.name;
    let Some(scan) = &drive.scan else {
        let replay = drive.replay.as_ref().filter(|replay| replay.running || replay.paths > 0)?;
        return Some(replay_alone(drive, replay));
    };
    let what = format!("{} of {name}", scan.kind);
    let lasted = seconds(scan.seconds);
    let done = drive.replay.as_ref().map(|replay| format!(": {}", figures(replay))).unwrap_or_default();
    Some(if scan.running {
        let began = if scan.kind == "backfill" { format!(" begun {},", clock_time(scan.began)) } else { String::new() };
        format!("{what},{began} running for {lasted}: {}{}", amounts(scan), pace(scan))
    // What came after it is not the scan's, and may still be on its way.
    } else if scan.paths_done >= scan.paths_total || drive.state == "in-sync" {
        format!("{what} done in {lasted}{done}")
    } else if scan.seconds == 0 {
        format!("{what}, decided on {}, waits for the drive: {}", clock_time(scan.began), amounts(scan))
    } else {
        format!("{what} broken off after {lasted}, goes on when {name} is back: {}", amounts(scan))
    })
}

/// The scrubs alone, a line a drive.
pub(crate) fn scrubs(drives: &[DriveDocument]) -> String {
    let line = |drive: &DriveDocument| {
        let scrub = scrub(drive).unwrap_or_else(|| format!("drive {} was never scrubbed", drive.name));
        format!("{scrub}\n")
    };
    drives.iter().map(line).collect()
}

/// The last scrub of a drive, in zpool's words.
fn scrub(drive: &DriveDocument) -> Option<String> {
    let scrub = drive.scrub.as_ref()?;
    let what = format!("scrub of {}", drive.name);
    let errors = count(scrub.damaged.saturating_sub(scrub.repaired), "error");
    let amounts = format!("{} of {}", bytes(scrub.bytes_done), bytes(scrub.bytes_total));
    let found = match scrub.damaged {
        0 => String::new(),
        damaged => format!("; {damaged} damaged, {} repaired", scrub.repaired),
    };
    Some(match (scrub.state.as_str(), scrub.ended) {
        ("done", ended) => {
            let repaired = match scrub.repaired {
                0 => "0 files".to_owned(),
                files => format!("{} ({})", count(files, "file"), bytes(scrub.repaired_bytes)),
            };
            let when = ended.map(|ended| format!(" on {}", clock_time(ended))).unwrap_or_default();
            format!("{what} repaired {repaired} in {} with {errors}{when}", seconds(scrub.seconds))
        }
        ("running", _) => {
            let left = match scrub.seconds_left {
                Some(left) => format!(", at {}/s, about {} left", bytes(scrub.bytes_per_second), seconds(left)),
                None => ", time left not known yet".to_owned(),
            };
            format!("{what}, running for {}: {amounts}{left}{found}", seconds(scrub.seconds))
        }
        ("paused", _) => format!("{what} paused at {amounts}{found}"),
        // What a newer daemon says is not to be hidden.
        (state, _) => format!("{what} {state}: {amounts}{found}"),
    })
}

/// As much as a daemon says that knows of no scans.
fn replay_alone(drive: &DriveDocument, replay: &ReplayDocument) -> String {
    let (name, lasted) = (&drive.name, seconds(replay.seconds));
    if !replay.running {
        return format!("replay of {name} done in {lasted}: {}", figures(replay));
    }
    let total = replay.copied_bytes.saturating_add(drive.behind.bytes);
    let copied = format!("{} of {}", bytes(replay.copied_bytes), bytes(total));
    format!("replay of {name}, running for {lasted}: {copied}; {}", figures(replay))
}

fn amounts(scan: &ScanDocument) -> String {
    let paths = format!("{} of {}", scan.paths_done, count(scan.paths_total, "path"));
    if scan.bytes_total == 0 {
        return paths;
    }
    format!("{} of {}, {paths}", bytes(scan.bytes_done), bytes(scan.bytes_total))
}

fn pace(scan: &ScanDocument) -> String {
    match (scan.seconds_left, scan.still_seconds) {
        (Some(left), _) => format!(", at {}/s, about {} left", bytes(scan.bytes_per_second), seconds(left)),
        (None, Some(still)) => format!(", nothing has moved for {}", seconds(still)),
        (None, None) => ", time left not known yet".to_owned(),
    }
}

fn figures(replay: &ReplayDocument) -> String {
    let mut parts = vec![format!("{} copied ({})", count(replay.copied_files, "file"), bytes(replay.copied_bytes))];
    let others = [
        (replay.moved, format!("{} moved", replay.moved)),
        (replay.removed, format!("{} removed", replay.removed)),
        (replay.made_folders, format!("{} made", count(replay.made_folders, "folder"))),
        (replay.unchanged, format!("{} already right", replay.unchanged)),
    ];
    parts.extend(others.into_iter().filter(|(number, _)| *number > 0).map(|(_, text)| text));
    parts.join(", ")
}

fn host_line(host: &HostDocument) -> String {
    let is_boot = |disk: &&DiskDocument| disk.holds.iter().any(|held| held == "state");
    let boot = host.disks.iter().find(is_boot);
    let boot = boot.map(|boot| format!(", {} boot disk", bytes(boot.available))).unwrap_or_default();
    let load = host.load.map(|[one, _, _]| format!("; load {one:.2}")).unwrap_or_default();
    format!("free: {} memory{boot}{load}; up {}", bytes(host.memory_available), seconds(host.uptime_seconds))
}

fn table(drives: &[DriveDocument]) -> String {
    let head = ["drive", "state", "used", "size", "read", "write", "cksum", "path"].map(str::to_owned);
    let rows: Vec<[String; 8]> = std::iter::once(head).chain(drives.iter().map(row)).collect();
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..8).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| match column {
            // Figures end where their column ends.
            2..=6 => format!("{cell:>width$}"),
            _ => format!("{cell:<width$}"),
        });
        let line = cells.collect::<Vec<_>>().join("  ");
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {}", line.trim_end());
    }
    text
}

fn row(drive: &DriveDocument) -> [String; 8] {
    [
        drive.name.clone(),
        drive.state.clone(),
        bytes(drive.used),
        bytes(drive.size),
        drive.errors.read.to_string(),
        drive.errors.write.to_string(),
        drive.errors.checksum.to_string(),
        drive.path.clone().unwrap_or_else(|| "-".to_owned()),
    ]
}

/// What does not fit into a row.
fn below_table(document: &StatusDocument) -> String {
    let mut text = String::new();
    let mut say = |name: &str, what: &str| text += &wrapped(&format!("  {name}: "), what);
    for drive in &document.drives {
        let name = &drive.name;
        if drive.behind.paths > 0 {
            let lacking =
                if drive.behind.bytes == 0 { String::new() } else { format!(", {}", bytes(drive.behind.bytes)) };
            let lost = match drive.lost {
                0 => String::new(),
                lost => format!(", of which no drive has {lost} whole"),
            };
            say(name, &format!("{} behind{lacking}{lost}", count(drive.behind.paths, "path")));
        }
        // The notice of that drive says it already, from a daemon that gives it one.
        if let Some(reason) = drive.reason.as_ref().filter(|reason| !is_noticed(document, name, reason)) {
            say(name, reason);
        }
        text_of_waiting(drive, document, &mut say);
        if let Some(search) = &drive.search {
            say(name, &text_of_search(search));
        }
        if drive.aside > 0 {
            say(name, &text_of_aside(drive));
        }
    }
    for unavailable in &document.unavailable {
        let holder = &unavailable.holder;
        for path in &unavailable.paths {
            say(holder, &format!("{path} cannot be had without it"));
        }
        let more = unavailable.count.saturating_sub(unavailable.paths.len() as u64);
        if more > 0 {
            let at_least = if unavailable.at_least { "at least " } else { "" };
            say(holder, &format!("{at_least}{} cannot be had without it either", count(more, "other file")));
        }
    }
    if !text.is_empty() {
        text.insert(0, '\n');
    }
    text + &foreign(&document.foreign)
}

/// What somebody else did on the drives, and when that was found: what became of it since does not change it.
fn foreign(foreign: &ForeignDocument) -> String {
    let mut text = String::new();
    for item in foreign.last.iter().rev().take(FOREIGN_SHOWN).rev() {
        let ForeignItemDocument { time, drive, path, what, copy, why } = item;
        let what = match (what.as_str(), copy, why) {
            ("changed", _, Some(why)) => format!("{path} was changed by somebody else, and {why}"),
            ("missing", _, Some(why)) => format!("{path} was taken away by somebody else, and {why}"),
            ("changed", ..) => format!("{path} was changed by somebody else; the mirror's version is restored"),
            ("missing", ..) => format!("{path} was taken away by somebody else, and is restored"),
            ("new", ..) => format!("{path} is somebody else's, and was taken in"),
            (_, Some(copy), _) => format!("what was {path} there is kept as {copy}"),
            (_, None, Some(why)) => format!("{path} was not taken in: {why}"),
            (what, None, None) => format!("{path}: {what}"),
        };
        text += &wrapped(&format!("  {}  ", clock_time(*time)), &format!("{drive}: {what}"));
    }
    let all = foreign.changed + foreign.missing + foreign.new + foreign.kept + foreign.refused;
    if all > FOREIGN_SHOWN as u64 {
        let all = format!(
            "in all: {} changed, {} taken away, {} new, {} kept under other names, {} not taken in",
            foreign.changed, foreign.missing, foreign.new, foreign.kept, foreign.refused
        );
        text += &wrapped("  ", &all);
    }
    if text.is_empty() { text } else { format!("\n  by others:\n{text}") }
}

/// How far the search for what others changed is.
fn text_of_search(search: &SearchDocument) -> String {
    let SearchDocument { folders, settling, taking_in } = *search;
    let parts = [
        (folders, format!("{} to go", count(folders, "folder"))),
        (settling, format!("{settling} found and left to settle")),
        (taking_in, format!("{taking_in} being taken in")),
    ];
    let parts: Vec<_> = parts.into_iter().filter(|(number, _)| *number > 0).map(|(_, text)| text).collect();
    format!("looking for what others changed: {}", parts.join(", "))
}

/// How much lies aside on a drive, and the newest of it.
fn text_of_aside(drive: &DriveDocument) -> String {
    let lies = format!("{} ({}) set aside", count(drive.aside, "thing"), bytes(drive.aside_bytes));
    let newest: Vec<_> = drive.aside_newest.iter().take(ASIDE_SHOWN).map(|item| item.path.as_str()).collect();
    let last = if newest.is_empty() { String::new() } else { format!(", the last: {}", newest.join(", ")) };
    format!("{lies}{last}; 'fget aside' lists all")
}

/// Paths that wait for a drive that is there; those that wait for an absent one are listed under its name.
fn text_of_waiting(drive: &DriveDocument, document: &StatusDocument, say: &mut impl FnMut(&str, &str)) {
    let is_away = |holder: &str| document.unavailable.iter().any(|unavailable| unavailable.holder == holder);
    if drive.waiting.iter().any(|waiting| is_away(&waiting.holder)) {
        return;
    }
    for waiting in drive.waiting.iter().take(WAITING_SHOWN) {
        say(&drive.name, &format!("{} waits for {}", waiting.path, waiting.holder));
    }
    let all = drive.waiting_count.max(drive.waiting.len() as u64);
    if all > WAITING_SHOWN as u64 {
        say(&drive.name, &format!("{} more wait for the other drive", all - WAITING_SHOWN as u64));
    }
}

fn is_noticed(document: &StatusDocument, name: &str, reason: &str) -> bool {
    let of_drive = |notice: &&NoticeDocument| notice.drive.as_deref() == Some(name);
    document.notices.iter().filter(of_drive).any(|notice| notice.what.contains(reason))
}

fn events(document: &StatusDocument) -> String {
    if document.events.is_empty() {
        return String::new();
    }
    let mut text = "\n  events:\n".to_owned();
    for event in document.events.iter().skip(document.events.len().saturating_sub(EVENTS_SHOWN)) {
        let drive = event.drive.as_ref().map(|drive| format!("{drive}: ")).unwrap_or_default();
        text += &wrapped(&format!("  {}  ", clock_time(event.time)), &format!("{drive}{}", event.what));
    }
    text
}

#[cfg(test)]
mod tests;
