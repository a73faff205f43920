//! The mirror's status as text, in the shape of zpool's.

use std::fmt::Write as _;

use crate::units::{bytes, count, seconds};
use crate::wire::{DriveDocument, HealthState, ReplayDocument, StatusDocument};

/// The whole status.
pub(crate) fn status(document: &StatusDocument, server: &str) -> String {
    let mut text = format!("  mirror: {server}\n   state: {}\n", state(document.state));
    for notice in &document.notices {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  status: {}\n  action: {}", indented(&notice.what), indented(&notice.action));
    }
    for drive in &document.drives {
        if let Some(scan) = scan(drive) {
            let _ = writeln!(text, "    scan: {scan}");
        }
    }
    let journal = &document.journal;
    let writable = if journal.writable { "" } else { ", cannot be written" };
    let entries = if journal.entries == 1 { "1 entry".to_owned() } else { format!("{} entries", journal.entries) };
    let _ = writeln!(text, " journal: {entries}, head {}{writable}\n", journal.head_lsn);
    text + &table(&document.drives) + &remarks(&document.drives)
}

/// What is not as it should be; one line where all is.
pub(crate) fn problems(document: &StatusDocument, server: &str) -> String {
    match document.state {
        HealthState::Healthy => "all drives are healthy\n".to_owned(),
        HealthState::Degraded | HealthState::Unusable => status(document, server),
    }
}

/// One line for a monitor.
pub(crate) fn verdict(document: &StatusDocument) -> String {
    let first = document.notices.first().map(|notice| format!(": {}", notice.what)).unwrap_or_default();
    format!("{}{first}\n", state(document.state))
}

fn state(state: HealthState) -> &'static str {
    match state {
        HealthState::Healthy => "healthy",
        HealthState::Degraded => "degraded",
        HealthState::Unusable => "unusable",
    }
}

fn indented(text: &str) -> String {
    text.trim_end().replace('\n', "\n          ")
}

/// The work of a drive that came back: under way, or the last.
fn scan(drive: &DriveDocument) -> Option<String> {
    let replay = drive.replay.as_ref()?;
    let what = if drive.state == "backfilling" { "backfill" } else { "replay" };
    let name = &drive.name;
    if !replay.running {
        return Some(format!("{what} of {name} done in {}: {}", seconds(replay.seconds), figures(replay)));
    }
    let total = replay.copied_bytes.saturating_add(drive.behind.bytes);
    let copied = format!("{} of {}", bytes(replay.copied_bytes), bytes(total));
    let pace = match replay.copied_bytes.checked_div(replay.seconds) {
        Some(speed) if speed > 0 => {
            format!(" at {}/s, {} left", bytes(speed), seconds(drive.behind.bytes.div_ceil(speed)))
        }
        Some(_) | None => String::new(),
    };
    Some(format!("{what} of {name} running for {}: {copied}{pace}; {}", seconds(replay.seconds), figures(replay)))
}

fn figures(replay: &ReplayDocument) -> String {
    let mut parts = vec![format!("{} copied ({})", count(replay.copied_files, "file"), bytes(replay.copied_bytes))];
    for (number, what) in [
        (replay.moved, "moved"),
        (replay.removed, "removed"),
        (replay.made_folders, "folders made"),
        (replay.unchanged, "already right"),
    ] {
        if number > 0 {
            parts.push(format!("{number} {what}"));
        }
    }
    parts.join(", ")
}

fn table(drives: &[DriveDocument]) -> String {
    let head = ["drive", "state", "used", "size", "behind", "read", "write", "cksum", "path"].map(str::to_owned);
    let rows: Vec<[String; 9]> = std::iter::once(head).chain(drives.iter().map(row)).collect();
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..9).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| match column {
            // Figures end where their column ends.
            2 | 3 | 5..=7 => format!("{cell:>width$}"),
            _ => format!("{cell:<width$}"),
        });
        let line = cells.collect::<Vec<_>>().join("  ");
        let _ = writeln!(text, "  {}", line.trim_end());
    }
    text
}

fn row(drive: &DriveDocument) -> [String; 9] {
    let behind = if drive.behind.paths == 0 {
        "-".to_owned()
    } else {
        format!("{}, {}", count(drive.behind.paths, "path"), bytes(drive.behind.bytes))
    };
    [
        drive.name.clone(),
        drive.state.clone(),
        bytes(drive.used),
        bytes(drive.size),
        behind,
        drive.errors.read.to_string(),
        drive.errors.write.to_string(),
        drive.errors.checksum.to_string(),
        drive.path.clone().unwrap_or_else(|| "-".to_owned()),
    ]
}

fn remarks(drives: &[DriveDocument]) -> String {
    let mut text = String::new();
    for drive in drives {
        let name = &drive.name;
        if let Some(reason) = &drive.reason {
            let _ = writeln!(text, "  {name}: {}", indented(reason));
        }
        for waiting in &drive.waiting {
            let _ = writeln!(text, "  {name}: {} waits for {}", waiting.path, waiting.holder);
        }
        if drive.aside > 0 {
            let _ = writeln!(text, "  {name}: {} set aside in .twinstick/aside", count(drive.aside, "file"));
        }
    }
    if text.is_empty() { text } else { format!("\n{text}") }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn document(text: &str) -> StatusDocument {
        serde_json::from_str(text).unwrap()
    }

    fn healthy() -> StatusDocument {
        document(include_str!("../../../tests/fixtures/cli/status-healthy.json"))
    }

    fn replaying() -> StatusDocument {
        document(include_str!("../../../tests/fixtures/cli/status-replaying.json"))
    }

    #[test]
    fn a_healthy_mirror_is_a_short_text() {
        let text = status(&healthy(), "127.0.0.1:8946");
        assert_eq!(text, include_str!("../../../tests/fixtures/cli/status-healthy.txt"));
        assert_eq!(problems(&healthy(), "127.0.0.1:8946"), "all drives are healthy\n");
        assert_eq!(verdict(&healthy()), "healthy\n");
    }

    #[test]
    fn a_replay_shows_bytes_speed_and_time_left() {
        let text = status(&replaying(), "127.0.0.1:8946");
        assert_eq!(text, include_str!("../../../tests/fixtures/cli/status-replaying.txt"));
        assert_eq!(verdict(&replaying()), "degraded: drive b is being brought up to date\n");
    }

    #[test]
    fn a_replay_that_has_just_begun_divides_by_nothing() {
        let mut document = replaying();
        for drive in &mut document.drives {
            drive.replay = drive.replay.map(|replay| ReplayDocument { seconds: 0, copied_bytes: 0, ..replay });
        }
        assert!(status(&document, "x").contains("0 B of"));
    }
}
