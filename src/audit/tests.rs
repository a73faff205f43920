#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_wrap,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests, on files of their own"
)]

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::files::{Files, numbers, path};
use super::saved::{self, Found, Position};
use super::*;
use crate::path::RelPath;
use crate::wire::{AuditLine, LogLine, Missing, Time, Totals, line_of};

const PATIENCE: Duration = Duration::from_mins(1);
const SMALL: AuditLimits = AuditLimits { file_bytes: 600, files: 3 };

fn line(number: i64) -> AuditLine {
    AuditLine {
        time: Time(number),
        user: Some(if number % 2 == 0 { "anna" } else { "ben" }.to_owned()),
        address: "10.0.0.1:1".to_owned(),
        command: "put".to_owned(),
        path: Some(format!("d{}/f", number % 3)),
        bytes: 5,
        outcome: "ok".to_owned(),
        ..AuditLine::default()
    }
}

fn append(files: &mut Files, numbers: impl Iterator<Item = i64>, limits: AuditLimits) {
    for number in numbers {
        files.append(&line_of(&line(number)), limits).unwrap();
    }
}

/// All that a reader gives; `None` stands for a gap.
fn rest(reader: &mut Reader) -> Vec<Option<i64>> {
    let mut all = Vec::new();
    loop {
        match reader.read().unwrap() {
            Piece::Lines(lines) => all.extend(times(&lines).into_iter().map(Some)),
            Piece::Gap => all.push(None),
            Piece::End => return all,
        }
    }
}

fn times(lines: &[u8]) -> Vec<i64> {
    let lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice::<AuditLine>(line).unwrap().time.0).collect()
}

fn some(numbers: impl Iterator<Item = i64>) -> Vec<Option<i64>> {
    numbers.map(Some).collect()
}

/// The lines of a whole folder.
fn lines(folder: &Path) -> Vec<LogLine> {
    let mut reader = Reader::oldest(folder);
    let mut all = Vec::new();
    while let Piece::Lines(lines) = reader.read().unwrap() {
        let lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        all.extend(lines.map(|line| serde_json::from_slice(line).unwrap()));
    }
    all
}

#[test]
fn files_are_rotated_by_size_and_the_oldest_removed() {
    let dir = tempfile::tempdir().unwrap();
    let mut files = Files::new(dir.path().to_owned());
    append(&mut files, 0..40, SMALL);
    let kept = numbers(dir.path()).unwrap();
    assert_eq!(kept.len(), 3);
    assert!(kept[0] > 1);
    for number in &kept {
        assert!(fs::metadata(path(dir.path(), *number)).unwrap().len() <= SMALL.file_bytes);
    }
    let all = rest(&mut Reader::oldest(dir.path()));
    assert_eq!(all, some(40 - all.len() as i64..40));
    // A batch longer than a file is parted between lines.
    let batch: Vec<u8> = (40..50).flat_map(|number| line_of(&line(number))).collect();
    files.append(&batch, SMALL).unwrap();
    let all = rest(&mut Reader::oldest(dir.path()));
    assert_eq!(all, some(50 - all.len() as i64..50));
}

#[test]
fn half_a_line_at_the_end_is_cut_off_and_the_next_one_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    append(&mut Files::new(dir.path().to_owned()), 0..3, AuditLimits::default());
    let file = path(dir.path(), 1);
    for torn in [b"{\"time\":\"2026".to_vec(), vec![0; 100_000]] {
        let before = fs::read(&file).unwrap();
        fs::write(&file, [&before[..], &torn].concat()).unwrap();
        append(&mut Files::new(dir.path().to_owned()), 3..4, AuditLimits::default());
        assert_eq!(fs::read(&file).unwrap(), [before, line_of(&line(3))].concat());
    }
}

#[test]
fn a_reader_sees_whole_lines_alone_and_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let mut files = Files::new(dir.path().to_owned());
    let mut reader = Reader::last(dir.path(), 0, &Filter::default()).unwrap();
    assert_eq!(reader.read().unwrap(), Piece::End, "before there is a file");
    append(&mut files, 0..3, SMALL);
    assert_eq!(rest(&mut reader), some(0..3));
    let whole = fs::read(path(dir.path(), 1)).unwrap();
    fs::write(path(dir.path(), 1), [&whole[..], b"{\"time\""].concat()).unwrap();
    assert_eq!(reader.read().unwrap(), Piece::End, "half a line");
    fs::write(path(dir.path(), 1), whole).unwrap();
    append(&mut files, 3..8, SMALL);
    assert_eq!(rest(&mut reader), some(3..8), "over the end of a file");
    append(&mut files, 8..60, SMALL);
    let late = rest(&mut reader);
    let gap = late.iter().position(Option::is_none).unwrap();
    let (before, after) = (&late[..gap], &late[gap + 1..]);
    assert_eq!(before, some(8..8 + before.len() as i64), "the file that it has open can be read to its end");
    assert_eq!(after, some(60 - after.len() as i64..60));
}

#[test]
fn the_last_lines_are_found_from_the_end() {
    let dir = tempfile::tempdir().unwrap();
    append(&mut Files::new(dir.path().to_owned()), 0..3000, AuditLimits { file_bytes: 150_000, files: 8 });
    assert!(numbers(dir.path()).unwrap().len() > 2);
    let last = |count, filter: &Filter| Reader::last(dir.path(), count, filter).unwrap();
    let all = Filter::default();
    for count in [0, 1, 7, 1500, 2999, 3000, 9000] {
        assert_eq!(rest(&mut last(count, &all)), some((3000 - count as i64).max(0)..3000), "{count}");
    }
    let of_ben = Filter { user: Some("ben".to_owned()), ..Filter::default() };
    assert_eq!(rest(&mut last(2, &of_ben))[0], Some(2997));
    let of_eve = Filter { user: Some("eve".to_owned()), ..Filter::default() };
    assert_eq!(rest(&mut last(2, &of_eve)), [], "none, and not all");
}

#[test]
fn a_filter_takes_a_path_with_all_below_it_and_no_neighbours() {
    let of = |path: &str| Filter { path: Some(RelPath::parse_folder(path).unwrap()), ..Filter::default() };
    let moved = AuditLine { path: Some("a/b".to_owned()), to: Some("c/d".to_owned()), ..line(7) };
    for (path, is_taken) in [("a", true), ("a/b", true), ("c", true), ("", true), ("a/bb", false), ("a/b/c", false)] {
        assert_eq!(of(path).takes(&line_of(&moved)), is_taken, "{path}");
    }
    let without = AuditLine { path: None, ..line(7) };
    assert!(!of("a").takes(&line_of(&without)));
    assert!(Filter { since: Some(Time(7)), ..Filter::default() }.takes(&line_of(&moved)));
    assert!(!Filter { since: Some(Time(8)), ..Filter::default() }.takes(&line_of(&moved)));
    let both = Filter { user: Some("anna".to_owned()), ..of("a") };
    assert!(!both.takes(&line_of(&moved)));
    assert!(both.takes(&line_of(&AuditLine { user: Some("anna".to_owned()), ..moved })));
}

#[tokio::test]
async fn what_a_full_disk_does_not_take_is_counted_and_told() {
    let state = tempfile::tempdir().unwrap();
    let folder = folder(state.path());
    let log = AuditLog::start(state.path(), AuditLimits::default());
    fs::create_dir(&folder).unwrap();
    // Whatever is written to it finds no room.
    std::os::unix::fs::symlink("/dev/full", path(&folder, 1)).unwrap();
    for number in 1..=3 {
        log.record(line(number));
    }
    log.caught_up(PATIENCE).await;
    assert_eq!(log.totals().dropped_lines, 3);
    assert_eq!(log.totals().since_start.all.requests, 3);
    fs::remove_file(path(&folder, 1)).unwrap();
    log.record(line(4));
    log.caught_up(PATIENCE).await;
    let written = lines(&folder);
    let [LogLine::Missing(missing), LogLine::Request(after)] = &written[..] else { panic!("{written:?}") };
    assert_eq!((missing.missing, missing.lines), (Missing::Dropped, Some(3)));
    assert_eq!((missing.from, missing.until), (Some(Time(1)), Some(Time(3))));
    assert_eq!(after.time, Time(4));
    assert_eq!(log.totals().dropped_lines, 3);
    log.close(PATIENCE).await;
    assert_eq!(saved::load(&folder).totals.all.requests, 4, "dropped ones count");
}

#[test]
fn what_finds_no_room_is_counted_and_nobody_waits() {
    let log = AuditLog::new(Totals::default(), AuditLimits::default(), "/nonexistent".into());
    let lengthy = AuditLine { path: Some("x".repeat(1 << 20)), ..line(1) };
    for _ in 0..5 {
        log.record(lengthy.clone());
    }
    assert_eq!(log.totals().dropped_lines, 2);
    assert_eq!(log.totals().since_start.all.requests, 5);
    let batch = log.take(None);
    assert_eq!((batch.lines.len(), batch.missed.lines), (3, 2));
    log.record(lengthy);
    assert_eq!(log.totals().dropped_lines, 2, "there is room again");
}

#[test]
fn totals_count_on_from_where_they_were_saved() {
    let dir = tempfile::tempdir().unwrap();
    let mut files = Files::new(dir.path().to_owned());
    let mut totals = Totals::default();
    append(&mut files, 0..4, SMALL);
    (0..4).for_each(|number| totals.count(&line(number)));
    saved::save(dir.path(), &totals, files.position().unwrap()).unwrap();
    assert_eq!(saved::load(dir.path()), Found { totals, position: files.position().unwrap(), is_ahead: false });
    append(&mut files, 4..8, SMALL);
    let found = saved::load(dir.path());
    assert_eq!((found.totals.all.requests, found.is_ahead), (8, true));
    assert_eq!(found.totals.by_user["anna"].bytes_in, 20);
    assert_eq!(found.position, files.position().unwrap());
    // Nothing saved: what the log has is all that is known.
    fs::remove_file(dir.path().join("totals.json")).unwrap();
    assert_eq!(saved::load(dir.path()).totals, found.totals);
    fs::write(dir.path().join("totals.json"), "{").unwrap();
    assert_eq!(saved::load(dir.path()).totals, found.totals);
}

#[test]
fn a_log_that_lost_its_end_counts_what_is_written_there_anew() {
    let dir = tempfile::tempdir().unwrap();
    let mut files = Files::new(dir.path().to_owned());
    append(&mut files, 0..6, AuditLimits::default());
    let mut totals = Totals::default();
    (0..6).for_each(|number| totals.count(&line(number)));
    saved::save(dir.path(), &totals, files.position().unwrap()).unwrap();
    let file = path(dir.path(), 1);
    let whole = fs::read(&file).unwrap();
    fs::write(&file, &whole[..whole.len() / 2 + 10]).unwrap();
    let found = saved::load(dir.path());
    assert_eq!(found.totals, totals);
    assert!(found.is_ahead && found.position < files.position().unwrap());
    saved::save(dir.path(), &found.totals, found.position).unwrap();
    append(&mut Files::new(dir.path().to_owned()), 6..8, AuditLimits::default());
    assert_eq!(saved::load(dir.path()).totals.all.requests, 8);
}

#[test]
fn users_beyond_those_that_are_counted_are_in_the_sums() {
    let mut totals = Totals::default();
    for number in 0..2000 {
        totals.count(&AuditLine { user: Some(format!("u{number}")), ..line(0) });
    }
    assert_eq!((totals.all.requests, totals.by_user.len()), (2000, 1000));
    assert_eq!(totals.for_user("u7").by_user.len(), 1);
    assert_eq!(Position::default().offset, 0);
}
