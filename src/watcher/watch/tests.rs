#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test stops at the first surprise, and plays the hand that takes a stick away"
)]

use std::fs;

use tempfile::TempDir;

use super::*;
use crate::ids::{Arrival, Epoch, Lsn};
use crate::mirror::label::{self, Label, SLOT_PATHS};
use crate::path::OWN_FOLDER;

const MIRROR: MirrorId = MirrorId([1; 16]);
const DRIVES: PerSide<DriveId> = PerSide { a: DriveId([0xa; 16]), b: DriveId([0xb; 16]) };

/// A watcher over plain folders.
struct Stand {
    folder: TempDir,
    news: mpsc::Receiver<Sighting>,
    handle: WatcherHandle,
}

fn config(folder: &Path, patterns: &[&str], ground: Ground) -> WatcherConfig {
    let place = |side: Side| folder.join(side.name());
    WatcherConfig {
        mirror: MIRROR,
        known: PerSide::new(|side| KnownDrive { id: *DRIVES.get(side), places: vec![place(side)] }),
        ground,
        serials: Arc::default(),
        holder: "the watcher's test".to_owned(),
        pace: Pace {
            places: patterns.iter().map(|pattern| format!("{}/{pattern}", folder.display())).collect(),
            tick: Duration::from_millis(50),
            probe_timeout: Duration::from_mins(1),
        },
    }
}

impl Stand {
    /// Both drives in their places, the watcher running.
    fn new(patterns: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for side in Side::BOTH {
            enrol(&folder.path().join(side.name()), MIRROR, side);
        }
        Self::over(folder, patterns)
    }

    fn over(folder: TempDir, patterns: &[&str]) -> Self {
        Self::on(folder, patterns, Ground::AnyFolder)
    }

    fn on(folder: TempDir, patterns: &[&str], ground: Ground) -> Self {
        let (sender, news) = mpsc::channel(16);
        let (watcher, handle) = Watcher::new(config(folder.path(), patterns, ground), sender);
        tokio::spawn(watcher.run());
        Self { folder, news, handle }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    async fn next(&mut self) -> Sighting {
        loop {
            match self.told().await {
                // Whether a look falls between two steps of a test is chance.
                Sighting::Cleared { .. } => {}
                news => return news,
            }
        }
    }

    async fn told(&mut self) -> Sighting {
        tokio::time::timeout(Duration::from_secs(20), self.news.recv()).await.unwrap().unwrap()
    }

    async fn arrived(&mut self) -> Found {
        match self.next().await {
            Sighting::Arrived(found) => *found,
            other => panic!("{other:?}"),
        }
    }

    async fn both_arrived(&mut self) -> PerSide<Found> {
        let (first, second) = (self.arrived().await, self.arrived().await);
        let (a, b) = if first.side == Side::A { (first, second) } else { (second, first) };
        assert_eq!((a.side, b.side), (Side::A, Side::B));
        PerSide { a, b }
    }

    async fn departed(&mut self) -> (Side, Visit, Departure) {
        match self.next().await {
            Sighting::Departed { side, visit, why } => (side, visit, why),
            other => panic!("{other:?}"),
        }
    }

    async fn refused(&mut self) -> (PathBuf, RefusedLabel) {
        match self.next().await {
            Sighting::Refused { place, why } => (place, why),
            other => panic!("{other:?}"),
        }
    }
}

fn enrol(place: &Path, mirror: MirrorId, side: Side) {
    fs::create_dir_all(place).unwrap();
    let label = Label {
        mirror,
        drive: *DRIVES.get(side),
        side,
        enrolled: DRIVES,
        epoch: Epoch(1),
        committed: Lsn(0),
        arrivals: Arrival(0),
        serial: 0,
    };
    label::create(&OsVolume::open(place).unwrap(), &label).unwrap();
}

#[tokio::test]
async fn both_drives_arrive_locked_and_with_their_labels() {
    let mut stand = Stand::new(&[]);
    let found = stand.both_arrived().await;
    assert_eq!(found.b.label.drive, DRIVES.b);
    assert_eq!(found.b.path, stand.path("b"));
    let again = OsVolume::open(&stand.path("b")).unwrap();
    assert!(again.lock("another").is_err());
}

#[tokio::test]
async fn a_folder_renamed_away_and_back_departs_and_arrives() {
    let mut stand = Stand::new(&[]);
    let PerSide { a: _a, mut b } = stand.both_arrived().await;
    for round in 3..6 {
        stand.rename("b", "away");
        let (side, visit, why) = stand.departed().await;
        assert_eq!((side, visit), (Side::B, b.visit));
        assert!(matches!(why, Departure::Moved), "{why}");
        stand.rename("away", "b");
        // As an owner does: nothing can arrive again before its old lock is dropped.
        drop(b);
        stand.handle.rescan();
        b = stand.arrived().await;
        assert_eq!((b.side, b.visit), (Side::B, Visit(round)));
    }
}

#[tokio::test]
async fn a_bare_place_is_absent_without_a_word_and_stays_untouched() {
    let mut stand = Stand::new(&[]);
    drop(stand.both_arrived().await);
    stand.rename("b", "away");
    fs::create_dir(stand.path("b")).unwrap();
    assert_eq!(stand.departed().await.0, Side::B);
    // A later event of the other drive shows that the bare place was looked at and nothing said of it.
    stand.rename("a", "a-away");
    assert_eq!(stand.departed().await.0, Side::A);
    stand.rename("a-away", "a");
    assert_eq!(stand.arrived().await.side, Side::A);
    assert_eq!(fs::read_dir(stand.path("b")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_label_moved_away_is_a_departure_and_its_return_an_arrival() {
    let mut stand = Stand::new(&[]);
    drop(stand.both_arrived().await);
    stand.rename("b/.twinstick", "b/elsewhere");
    let (side, _, why) = stand.departed().await;
    assert!(side == Side::B && matches!(why, Departure::ProbeFailed(_)), "{side} {why}");
    stand.rename("b/elsewhere", "b/.twinstick");
    assert_eq!(stand.arrived().await.side, Side::B);
}

#[tokio::test]
async fn a_drive_given_up_by_its_owner_arrives_again_after_its_lock_is_free() {
    let mut stand = Stand::new(&[]);
    let found = stand.both_arrived().await;
    stand.handle.lost(Side::A, found.a.visit);
    stand.handle.lost(Side::B, Visit(0));
    drop(found.a);
    let back = stand.arrived().await;
    assert_eq!((back.side, back.visit), (Side::A, Visit(3)));
}

#[tokio::test]
async fn a_drive_is_found_where_a_pattern_leads_and_in_the_others_place() {
    let mut stand = Stand::new(&["media/*/*"]);
    drop(stand.both_arrived().await);
    fs::create_dir_all(stand.path("media/user")).unwrap();
    stand.rename("b", "media/user/STICK1");
    assert_eq!(stand.departed().await.0, Side::B);
    let back = stand.arrived().await;
    assert_eq!((back.side, back.path.clone()), (Side::B, stand.path("media/user/STICK1")));
    stand.rename("a", "a-away");
    assert_eq!(stand.departed().await.0, Side::A);
    stand.rename("a-away", "b");
    let back = stand.arrived().await;
    assert_eq!((back.side, back.path.clone()), (Side::A, stand.path("b")));
}

#[tokio::test]
async fn foreign_damaged_and_used_drives_are_refused_once() {
    let folder = tempfile::tempdir().unwrap();
    enrol(&folder.path().join("a"), MirrorId([9; 16]), Side::A);
    enrol(&folder.path().join("b"), MIRROR, Side::B);
    let (a, b) = (folder.path().join("a"), folder.path().join("b"));
    let lock = OsVolume::open(&b).unwrap().lock("mkfs pid 7").unwrap();
    let mut stand = Stand::over(folder, &[]);
    let mut refused = [stand.refused().await, stand.refused().await];
    refused.sort_by(|one, other| one.0.cmp(&other.0));
    let foreign = RefusedLabel::OtherMirror { mirror: MirrorId([9; 16]), drive: DRIVES.a };
    let used = RefusedLabel::InUse { holder: "mkfs pid 7".to_owned() };
    assert_eq!(refused, [(a.clone(), foreign), (b, used)]);

    let [first, _] = SLOT_PATHS;
    fs::write(a.join(first), "rubbish").unwrap();
    assert_eq!(stand.refused().await, (a.clone(), RefusedLabel::Damaged));
    drop(lock);
    assert_eq!(stand.arrived().await.side, Side::B);
    fs::remove_dir_all(a.join(OWN_FOLDER)).unwrap();
    // Made elsewhere: a label half written would be news of its own.
    enrol(&stand.path("made"), MIRROR, Side::A);
    fs::rename(stand.path("made").join(OWN_FOLDER), a.join(OWN_FOLDER)).unwrap();
    assert_eq!(stand.arrived().await.side, Side::A);
}

#[tokio::test]
async fn a_copy_of_a_present_drive_is_refused() {
    let mut stand = Stand::new(&["media/*"]);
    let _found = stand.both_arrived().await;
    enrol(&stand.path("made/copy"), MIRROR, Side::B);
    stand.rename("made", "media");
    stand.handle.rescan();
    assert_eq!(stand.refused().await, (stand.path("media/copy"), RefusedLabel::Copy { side: Side::B }));
}

#[tokio::test]
async fn places_are_expanded_once_more_when_that_was_asked_for_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let (sender, _news) = mpsc::channel(16);
    for (again, expands) in [(Again::Yes, true), (Again::No, false)] {
        let (mut watcher, _handle) =
            Watcher::new(config(folder.path(), &["media/*"], Ground::AnyFolder), sender.clone());
        watcher.done(Job::Expand, Done::Expanded(Vec::new()), again).await;
        assert_eq!(watcher.jobs.is_running(&Job::Expand), expands);
    }
}

#[tokio::test]
async fn what_was_refused_is_cleared_when_it_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    enrol(&folder.path().join("a"), MirrorId([9; 16]), Side::A);
    let mut stand = Stand::over(folder, &["media/*"]);
    assert_eq!(stand.refused().await.0, stand.path("a"));
    stand.rename("a", "away");
    let gone = stand.told().await;
    assert!(matches!(&gone, Sighting::Cleared { place } if *place == stand.path("a")), "{gone:?}");
    fs::create_dir(stand.path("media")).unwrap();
    stand.rename("away", "media/stick");
    assert_eq!(stand.refused().await.0, stand.path("media/stick"));
    stand.rename("media/stick", "away");
    let gone = stand.told().await;
    assert!(matches!(&gone, Sighting::Cleared { place } if *place == stand.path("media/stick")), "{gone:?}");
}

#[tokio::test]
async fn a_parked_drive_is_let_go_of_and_left_alone_until_it_is_unparked() {
    let mut stand = Stand::new(&["media/*"]);
    let PerSide { a, b } = stand.both_arrived().await;
    stand.handle.park(Side::B);
    stand.handle.lost(Side::B, b.visit);
    let volume = Arc::downgrade(&b.volume);
    drop(b);
    let deadline = now() + Duration::from_secs(20);
    while volume.strong_count() > 0 {
        assert!(now() < deadline, "the watcher holds a parked drive open");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Neither where it was nor elsewhere. The other drive's news show that everything was looked at meanwhile.
    fs::create_dir(stand.path("media")).unwrap();
    stand.rename("b", "media/b");
    stand.rename("a", "away");
    assert_eq!(stand.departed().await.0, Side::A);
    drop(a);
    stand.rename("away", "a");
    assert_eq!(stand.arrived().await.side, Side::A);
    assert!(OsVolume::open(&stand.path("media/b")).unwrap().lock("another").is_ok());
    stand.handle.unpark(Side::B);
    let back = stand.arrived().await;
    assert_eq!((back.side, back.path.clone()), (Side::B, stand.path("media/b")));
}

#[tokio::test]
async fn a_folder_with_a_drives_label_is_no_drive_where_file_systems_are_enrolled() {
    let folder = tempfile::tempdir().unwrap();
    enrol(&folder.path().join("b"), MIRROR, Side::B);
    let before = fs::read_dir(folder.path().join("b").join(OWN_FOLDER)).unwrap().count();
    let mut stand = Stand::on(folder, &[], Ground::FileSystems);
    assert_eq!(stand.refused().await, (stand.path("b"), RefusedLabel::NotMounted { side: Side::B }));
    assert_eq!(fs::read_dir(stand.path("b").join(OWN_FOLDER)).unwrap().count(), before, "not even the lock is made");
}

#[tokio::test]
async fn the_watcher_ends_when_nobody_listens() {
    let folder = tempfile::tempdir().unwrap();
    let known = PerSide::new(|side| KnownDrive { id: *DRIVES.get(side), places: vec![folder.path().join("none")] });
    let config = WatcherConfig {
        mirror: MIRROR,
        known,
        ground: Ground::AnyFolder,
        serials: Arc::default(),
        holder: String::new(),
        pace: Pace { places: Vec::new(), tick: Duration::from_secs(1), probe_timeout: Duration::from_secs(5) },
    };
    let (sender, news) = mpsc::channel(1);
    let (watcher, _handle) = Watcher::new(config, sender);
    drop(news);
    tokio::time::timeout(Duration::from_secs(20), watcher.run()).await.unwrap();
}
