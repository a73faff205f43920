//! The boot disk died, or an old image of it was put back: `twinstickd adopt`. And `init --adopt`.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test makes files, says its figures, and stops at the first surprise"
)]

mod waived;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::Ordering;
use std::thread::sleep;
use std::time::Duration;

use twinstick_rig::{
    Binaries, Drives, End, Needs, Outcome, Pull, Random, Side, Sizes, Trials, Twins, Worker, is_full, pile_up,
    run_while, wait_until,
};

const LOOP: Drives = Drives::Loop { bytes: 1 << 30 };
const CLIENTS: usize = 4;
/// What they do at least before the journal is lost.
const COMMANDS: usize = 30;
/// In the name of a version that was kept beside the one that counts.
const KEPT: &str = " (kept from ";

fn main() -> ExitCode {
    Trials::default()
        .with("nothing_acknowledged_is_lost_with_the_journal_on_loop_drives", Needs::LoopMounts, lost_on_loop)
        .with("nothing_acknowledged_is_lost_with_the_journal", Needs::Nothing, lost_on_plain)
        .with("what_a_drive_missed_is_known_when_the_journal_is_lost", Needs::Nothing, missed)
        .with("a_drive_that_was_waived_is_compared_when_it_comes", Needs::Nothing, without_one)
        .with("nothing_removed_or_moved_comes_back_with_a_drive_that_was_waived", Needs::Nothing, waived::on_plain)
        .with("nothing_comes_back_with_a_waived_loop_drive", Needs::LoopMounts, waived::on_loop)
        .with("what_was_written_by_hand_on_a_drive_that_was_waived_is_kept", Needs::Nothing, waived::edits_are_kept)
        .with("a_waived_drive_that_comes_alone_is_judged_by_what_is_known", Needs::Nothing, waived::alone)
        .with("an_old_journal_is_replaced_and_kept", Needs::Nothing, old_journal)
        .with("drives_with_two_histories_are_refused_with_the_choice", Needs::Nothing, diverged)
        .with("what_cannot_be_adopted_is_refused_with_what_to_do", Needs::Nothing, refusals)
        .with("files_on_both_drives_are_taken_in_and_what_differs_is_kept", Needs::Nothing, init_adopt)
        .with("init_leaves_alone_what_no_path_can_name_and_so_does_the_daemon", Needs::Nothing, init_beyond)
        .beside(1)
        .main()
}

fn twins(drives: Drives) -> Twins {
    Twins::new(Binaries::new(env!("CARGO_BIN_EXE_twinstickd"), env!("CARGO_BIN_EXE_fget")), drives)
}

/// Adopts these drives, with more words.
fn adopt(twins: &Twins, sides: &[Side], words: &[&str]) -> Outcome {
    let roots: Vec<_> = sides.iter().map(|side| twins.root(*side).to_str().expect("UTF-8")).collect();
    let drives = roots.iter().flat_map(|root| ["--drive", root]);
    let words: Vec<_> = std::iter::once("adopt").chain(drives).chain(words.iter().copied()).collect();
    twins.command(&words)
}

fn adopt_plain(twins: &Twins, sides: &[Side], words: &[&str]) -> Outcome {
    adopt(twins, sides, &[&["--plain-directory"], words].concat())
}

fn lose_state(twins: &Twins) {
    fs::remove_dir_all(twins.state()).expect("our own folder");
}

fn lost_on_loop() {
    lost(&mut twins(LOOP), &[], [Pull::Shutdown, Pull::Unmount]);
}

fn lost_on_plain() {
    lost(&mut twins(Drives::Plain), &["--plain-directory"], [Pull::Rename; 2]);
}

/// Loses the journal with a kill under load: with both drives there, and with one that had left just before.
fn lost(twins: &mut Twins, words: &[&str], ways: [Pull; 2]) {
    let mut random = Random::new(7);
    let sizes = Sizes { least: 16, most: 512 << 10 };
    let mut workers = Worker::team(&twins.client(), CLIENTS, 7, sizes);
    let counters: Vec<_> = workers.iter().map(Worker::counter).collect();
    let done = || counters.iter().map(|counter| counter.load(Ordering::Relaxed)).sum::<usize>();
    let do_some = |least: usize, random: &mut Random| {
        let enough = done() + least + random.below(2 * least);
        wait_until("clients have worked for a while", || done() >= enough);
    };
    let (mut found, mut kept) = (0, 0);
    let rounds = if is_full() { 40 } else { 4 };
    for round in 0..rounds {
        let mut away = None;
        run_while(&mut workers, || {
            do_some(COMMANDS, &mut random);
            if round % 2 == 1 {
                let which = round / 2 % 2;
                let side = Side::BOTH[which];
                twins.pull(side, ways[which]);
                away = Some(side);
                do_some(COMMANDS / 2, &mut random);
            }
            twins.end(End::Kill);
        });
        if let Some(side) = away {
            twins.put_in(side);
        }
        for worker in &mut workers {
            worker.take_failures();
        }
        lose_state(twins);
        cut_short(twins, words, random.below(200) as u64);
        let outcome = adopt(twins, &Side::BOTH, words).expect(0);
        assert!(!outcome.stderr.contains("on record and on no drive"), "{}", outcome.stderr);
        twins.serve();
        kept += drop_kept(twins);
        twins.check_identical();
        for worker in &mut workers {
            worker.check(twins.root(Side::A));
            found += worker.model().files().len();
        }
    }
    println!(
        "{rounds} journals lost: {} commands acknowledged, {found} files looked for, none lost; {kept} kept beside",
        done()
    );
    assert!(found > 0);
}

/// Adopts, and is killed on the way.
fn cut_short(twins: &Twins, words: &[&str], after_ms: u64) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_twinstickd"));
    command.arg("adopt").args(words).arg("--config").arg(twins.config()).arg("--state").arg(twins.state());
    for side in Side::BOTH {
        command.arg("--drive").arg(twins.root(side));
    }
    let mut child = command.stderr(Stdio::null()).spawn().expect("twinstickd");
    sleep(Duration::from_millis(after_ms));
    child.kill().expect("our own child");
    child.wait().expect("our own child");
}

/// Removes what was kept beside the current version; how many that were.
fn drop_kept(twins: &Twins) -> usize {
    let listing = String::from_utf8(twins.client().run(&["ls", "-R"]).expect(0).stdout).expect("UTF-8");
    let kept: Vec<_> = listing.lines().filter(|line| line.contains(KEPT)).collect();
    for path in &kept {
        twins.client().run(&["rm", path]).expect(0);
    }
    kept.len()
}

/// One drive is away for deletions, moves and overwrites, and the journal is lost before it is back.
fn missed() {
    let mut twins = twins(Drives::Plain);
    let client = twins.client();
    for number in 0..20 {
        client.put(&format!("d/{number}"), format!("as it was {number}").as_bytes()).expect(0);
    }
    client.run(&["status", "--wait"]).expect(0);
    twins.pull(Side::B, Pull::Rename);
    let large = vec![7; 3 << 20];
    client.put("large", &large).expect(0);
    for number in 0..5 {
        client.run(&["rm", &format!("d/{number}")]).expect(0);
    }
    client.put("d/6", b"written again").expect(0);
    client.run(&["mv", "d", "moved"]).expect(0);
    client.run(&["mv", "moved/7", "seven"]).expect(0);
    twins.end(End::Kill);
    lose_state(&twins);
    twins.put_in(Side::B);
    let outcome = adopt_plain(&twins, &Side::BOTH, &[]).expect(0);
    assert!(outcome.stderr.contains("0 files that no history knew"), "{}", outcome.stderr);
    twins.serve();
    twins.check_identical();
    let listing = String::from_utf8(client.run(&["ls", "-R"]).expect(0).stdout).expect("UTF-8");
    assert!(!listing.contains(KEPT), "{listing}");
    assert_eq!(listing.lines().count(), 3 + 14, "{listing}");
    assert_eq!(client.get("moved/6").expect(0).stdout, b"written again");
    assert_eq!(client.get("seven").expect(0).stdout, b"as it was 7");
    assert_eq!(client.get("large").expect(0).stdout, large);
    client.get("moved/3").expect(4);
    twins.end(End::Drain);
    twins.check(&[]).expect(0);
}

fn without_one() {
    let mut twins = twins(Drives::Plain);
    let client = twins.client();
    for number in 0..10 {
        client.put(&format!("d/{number}"), format!("bytes {number}").as_bytes()).expect(0);
    }
    client.run(&["status", "--wait"]).expect(0);
    twins.end(End::Kill);
    lose_state(&twins);
    twins.take_out(Side::B, Pull::Rename);
    let refused = adopt_plain(&twins, &[Side::A], &[]).expect(1);
    assert!(refused.stderr.contains("--without b"), "{}", refused.stderr);
    adopt_plain(&twins, &[Side::A], &["--without", "b"]).expect(0);
    twins.serve();
    let client = twins.client();
    wait_until("drive a is there", || client.state(Side::A) == "in-sync");
    assert_eq!(client.get("d/3").expect(0).stdout, b"bytes 3");
    client.put("d/3", b"newer").expect(0);
    client.run(&["rm", "d/4"]).expect(0);
    twins.bring_back(Side::B);
    twins.check_identical();
    assert_eq!(client.get("d/3").expect(0).stdout, b"newer");
    twins.end(End::Drain);
    // Its new history goes on with this journal.
    lose_state(&twins);
    adopt_plain(&twins, &Side::BOTH, &[]).expect(0);
    twins.serve();
    twins.check_identical();
    assert_eq!(twins.client().get("d/3").expect(0).stdout, b"newer");
}

fn old_journal() {
    let mut twins = twins(Drives::Plain);
    twins.client().put("f", b"older").expect(0);
    twins.client().run(&["status", "--wait"]).expect(0);
    twins.end(End::Drain);
    let kept = twins.dir().join("state-kept");
    copy(&twins.state(), &kept);
    twins.serve();
    twins.client().put("f", b"newer").expect(0);
    twins.client().put("g", b"new").expect(0);
    twins.client().run(&["status", "--wait"]).expect(0);
    twins.end(End::Drain);
    lose_state(&twins);
    copy(&kept, &twins.state());
    twins.serve();
    wait_until("a stick shows that the journal is old", || twins.client().state(Side::A) == "faulted");
    let status = String::from_utf8(twins.client().run(&["status"]).stdout).expect("UTF-8");
    let command = format!("twinstickd adopt --drive {}", twins.root(Side::A).display());
    let other = format!("twinstickd adopt --drive {}", twins.root(Side::B).display());
    assert!(status.contains(&command) || status.contains(&other), "{status}");
    for words in [&["get", "f", "-"][..], &["info", "f"], &["ls"], &["trash"], &["aside"], &["verify"]] {
        let refused = twins.client().run(words).expect(5);
        assert!(
            refused.stdout.is_empty() && refused.stderr.contains("twinstickd adopt"),
            "{words:?}: {}",
            refused.stderr
        );
    }
    adopt_plain(&twins, &Side::BOTH, &[]).expect(4);
    twins.end(End::Drain);
    let outcome = adopt_plain(&twins, &Side::BOTH, &[]).expect(0);
    assert!(outcome.stderr.contains("journal.before-adopt-1"), "{}", outcome.stderr);
    assert!(twins.state().join("journal.before-adopt-1").is_dir());
    twins.serve();
    twins.check_identical();
    assert_eq!(twins.client().get("f").expect(0).stdout, b"newer");
    assert_eq!(twins.client().get("g").expect(0).stdout, b"new");
}

fn diverged() {
    let mut twins = twins(Drives::Plain);
    twins.client().put("f", b"common").expect(0);
    twins.client().run(&["status", "--wait"]).expect(0);
    twins.end(End::Drain);
    let kept = twins.dir().join("state-kept");
    copy(&twins.state(), &kept);
    // Two boot disks, each with one of the drives.
    for (side, bytes) in [(Side::A, b"by the first"), (Side::B, b"by the other")] {
        twins.take_out(side.other(), Pull::Rename);
        lose_state(&twins);
        copy(&kept, &twins.state());
        twins.serve();
        wait_until("the drive is there", || twins.client().state(side) == "in-sync");
        twins.client().put("f", bytes).expect(0);
        twins.end(End::Drain);
        twins.put_in(side.other());
    }
    lose_state(&twins);
    let refused = adopt_plain(&twins, &Side::BOTH, &[]).expect(1);
    let (a, b) = (twins.root(Side::A).display(), twins.root(Side::B).display());
    for choice in [format!("--drive {a} --without b"), format!("--drive {b} --without a")] {
        assert!(refused.stderr.contains(&choice), "{}", refused.stderr);
    }
    adopt_plain(&twins, &[Side::B], &["--without", "a"]).expect(0);
    twins.serve();
    twins.check_identical();
    assert_eq!(twins.client().get("f").expect(0).stdout, b"by the other");
    assert!(keeps(twins.root(Side::A), b"by the first"), "what the other boot disk wrote is on drive a");
}

/// Whether any file below a folder has these bytes.
fn keeps(folder: &Path, bytes: &[u8]) -> bool {
    fs::read_dir(folder).expect("a folder").any(|entry| {
        let path = entry.expect("a readable folder").path();
        if path.is_dir() { keeps(&path, bytes) } else { fs::read(&path).expect("a file") == bytes }
    })
}

fn refusals() {
    let mut twins = twins(Drives::Plain);
    twins.end(End::Drain);
    let blank = twins.dir().join("blank");
    fs::create_dir(&blank).expect("a new folder");
    let given = |words: &[&str], why: &str| {
        let words = [&["adopt", "--plain-directory"], words].concat();
        let outcome = twins.command(&words).expect(1);
        assert!(outcome.stderr.contains(why), "{why:?} expected: {}", outcome.stderr);
    };
    let (a, b) = (twins.root(Side::A).to_str().expect("UTF-8"), twins.root(Side::B).to_str().expect("UTF-8"));
    given(&["--drive", blank.to_str().expect("UTF-8")], "twinstickd init --adopt");
    given(&["--drive", a, "--drive", a], "both drives are");
    given(&["--drive", a, "--drive", b, "--without", "b"], "both given and waived");
    given(&["--drive", a, "--drive", b, "--drive", b], "give one drive or both");
    let outcome = twins.command(&["adopt", "--drive", a, "--drive", b]).expect(1);
    assert!(outcome.stderr.contains("nothing is mounted at"), "{}", outcome.stderr);
    twins.serve();
    twins.check_identical();
}

fn init_adopt() {
    let mut twins = twins(Drives::Plain);
    twins.end(End::Drain);
    lose_state(&twins);
    for side in Side::BOTH {
        fs::remove_dir_all(twins.root(side).join(".twinstick")).expect("our own folder");
    }
    let write = |side: Side, name: &str, bytes: &[u8]| {
        let path = twins.root(side).join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a new folder");
        fs::write(path, bytes).expect("a new file");
    };
    let large = vec![9; 2 << 20];
    for side in Side::BOTH {
        let name = side.name();
        write(side, "both/same.txt", b"the same");
        write(side, "both/large", &large);
        write(side, "both/differs.txt", format!("as {name} has it").as_bytes());
        write(side, &format!("only-{name}/deep/file"), name.as_bytes());
        fs::create_dir(twins.root(side).join(format!("empty-{name}"))).expect("a new folder");
    }
    // A file here, a folder there.
    write(Side::A, "kind", b"a file");
    write(Side::B, "kind/inside", b"in a folder");
    let drives = Side::BOTH.map(|side| format!("--drive={}={}", side.name(), twins.root(side).display()));
    let words = ["init", "--plain-directory", &drives[0], &drives[1]];
    let refused = twins.command(&words).expect(1);
    assert!(refused.stderr.contains("--adopt"), "{}", refused.stderr);
    let odd = [&b"both/bad\xff\xfe"[..], b"odd\xff", b"odd\xff/inside", b"two\nlines\x1b[2J"];
    let odd = odd.map(|name| twins.root(Side::B).join(OsStr::from_bytes(name)));
    fs::create_dir(&odd[1]).expect("a new folder");
    for file in [&odd[0], &odd[2], &odd[3]] {
        fs::write(file, "x").expect("a new file");
    }
    let said = twins.command(&[&words[..], &["--adopt"]].concat()).expect(0).stderr;
    for line in [
        r"drive b: left alone: both/bad\xff\xfe: its name is not UTF-8: rename it",
        r"drive b: left alone: odd\xff: its name is not UTF-8: rename it",
        r"drive b: left alone: two\nlines\u{1b}[2J: ",
    ] {
        assert!(said.lines().any(|said| said.starts_with(line)), "{line}: {said}");
    }
    twins.serve();
    // What is left alone is told of by the daemon too.
    let client = twins.client();
    wait_until("the status tells of them", || {
        let status = client.status().to_string();
        // A backslash is two in JSON.
        [r"both/bad\\xff\\xfe", r"odd\\xff", r"two\\nlines\\u{1b}[2J"].iter().all(|name| status.contains(name))
    });
    assert_eq!(fs::read(&odd[2]).expect("left alone"), b"x");
    fs::remove_dir_all(&odd[1]).expect("ours");
    for file in [&odd[0], &odd[3]] {
        fs::remove_file(file).expect("ours");
    }
    twins.check_identical();
    assert_eq!(client.get("both/same.txt").expect(0).stdout, b"the same");
    assert_eq!(client.get("both/large").expect(0).stdout, large);
    assert_eq!(client.get("only-a/deep/file").expect(0).stdout, b"a");
    assert_eq!(client.get("only-b/deep/file").expect(0).stdout, b"b");
    assert_eq!(client.get("both/differs.txt").expect(0).stdout, b"as a has it");
    assert_eq!(client.get("kind/inside").expect(0).stdout, b"in a folder");
    let listing = String::from_utf8(client.run(&["ls", "-R"]).expect(0).stdout).expect("UTF-8");
    let kept = listing.lines().find(|line| line.starts_with("both/differs (kept from b"));
    assert_eq!(client.get(kept.expect(&listing)).expect(0).stdout, b"as b has it");
    let kept = listing.lines().find(|line| line.starts_with("kind (kept from a"));
    assert_eq!(client.get(kept.expect(&listing)).expect(0).stdout, b"a file");
    assert!(listing.contains("empty-a") && listing.contains("empty-b"), "{listing}");
    twins.end(End::Drain);
    twins.check(&[]).expect(0);
}

/// Deeper than a path may be, and longer than one call takes.
fn init_beyond() {
    let mut twins = twins(Drives::Plain);
    twins.end(End::Drain);
    lose_state(&twins);
    for side in Side::BOTH {
        fs::remove_dir_all(twins.root(side).join(".twinstick")).expect("our own folder");
    }
    let (b, long) = (twins.root(Side::B), "L".repeat(250));
    pile_up(b, "deepest", 64);
    pile_up(b, "m", 80);
    pile_up(b, &long, 18);
    fs::write(b.join("good"), "good").expect("a new file");
    let drives = Side::BOTH.map(|side| format!("--drive={}={}", side.name(), twins.root(side).display()));
    let said = twins.command(&["init", "--adopt", "--plain-directory", &drives[0], &drives[1]]).expect(0).stderr;
    let left_alone: Vec<_> = said.lines().filter_map(|line| line.strip_prefix("drive b: left alone: ")).collect();
    let (deepest, m) = (vec!["deepest"; 64].join("/"), vec!["m"; 64].join("/"));
    let long = [long.as_str(); 12].join("/");
    let expected = [
        format!("{long}/*: some of it has a path of more than 3072 bytes: "),
        format!("{deepest}/*: it lies deeper than 64 names: "),
        format!("{m}/*: it lies deeper than 64 names: "),
    ];
    assert_eq!(left_alone.len(), expected.len(), "{said}");
    assert!(left_alone.iter().zip(&expected).all(|(line, expected)| line.starts_with(expected)), "{said}");
    twins.serve();
    let client = twins.client();
    wait_until("the daemon tells of them, and takes nothing in", || {
        let status = client.status();
        status["foreign"]["refused"] == 3 && status["drives"][1]["search"].is_null()
    });
    assert_eq!(client.status()["foreign"]["new"], 0);
    client.run(&["status", "--wait"]).expect(0);
    assert_eq!(client.get("good").expect(0).stdout, b"good");
    for folder in [&deepest, &m, &long] {
        let there = twins.root(Side::A).join(folder);
        assert_eq!(fs::read_dir(&there).expect("the mirror's").count(), 0, "{}", there.display());
    }
    twins.end(End::Drain);
    let said = twins.check(&["--json"]).expect(1).json();
    assert_eq!(said["differences"].as_array().map(Vec::len), Some(3), "{said}");
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp");
    assert!(copied.success());
}
