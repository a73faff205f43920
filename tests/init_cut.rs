//! An `init` or `replace` that is cut short at any of its calls to the sticks or the boot disk: the next one ends it.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "tests"
)]

use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Output};

use rustix::io::Errno;
use twinstick_rig::{Binaries, Call, Fault, Faulty, Needs, Site, Trials, is_full};

fn main() -> ExitCode {
    Trials::default()
        .with("an_init_that_is_cut_short_anywhere_is_ended_by_the_next", Needs::LoopMounts, || cut_anywhere(&[], 1))
        .with("an_init_that_takes_files_in_and_is_cut_short_is_ended_by_the_next", Needs::LoopMounts, || {
            cut_anywhere(&["--adopt"], if is_full() { 1 } else { 3 });
        })
        .with("a_replace_that_is_cut_short_anywhere_is_ended_by_the_next", Needs::LoopMounts, cut_replace)
        .with("another_init_does_not_take_what_one_has_begun", Needs::LoopMounts, another)
        .beside(2)
        .main()
}

/// All media: the last is a stick that is to be put in place of drive b.
const MEDIA: [&str; 4] = ["a", "b", "boot", "new"];
/// Those that an init works on, any of which may fail.
const INIT_MEDIA: [&str; 3] = ["a", "b", "boot"];
/// Those that a replace changes.
const REPLACE_MEDIA: [&str; 2] = ["boot", "new"];
/// A file that is on drive a before, where files are taken in.
const FOUND: &str = "found.txt";

struct Ground {
    _dir: tempfile::TempDir,
    media: [Faulty; 4],
    words: Vec<&'static str>,
}

impl Ground {
    fn new(words: &[&'static str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let media = MEDIA.map(|name| Faulty::new(dir.path(), name));
        let ground = Self { _dir: dir, media, words: words.to_vec() };
        if !ground.words.is_empty() {
            fs::write(ground.medium("a").files().join(FOUND), "found").unwrap();
        }
        ground
    }

    /// Where a mirror is enrolled.
    fn enrolled() -> Self {
        let ground = Self::new(&[]);
        let init = ground.init();
        assert!(init.status.success(), "{}", said(&init));
        ground
    }

    fn medium(&self, name: &str) -> &Faulty {
        &self.media[MEDIA.iter().position(|known| *known == name).unwrap()]
    }

    fn state(&self) -> PathBuf {
        self.medium("boot").base().join("state")
    }

    fn init(&self) -> Output {
        self.init_with(self.state())
    }

    fn init_with(&self, state: PathBuf) -> Output {
        let drive = |name: &str| format!("{name}={}", self.medium(name).base().display());
        self.twinstickd("init", state, &["--drive", &drive("a"), "--drive", &drive("b")])
    }

    fn replace(&self) -> Output {
        let drive = format!("b={}", self.medium("new").base().display());
        self.twinstickd("replace", self.state(), &["--drive", &drive])
    }

    /// The calls by which a command changes a medium, or makes that durable: a cut before any other leaves the same.
    fn changes(&self, name: &str, command: fn(&Self) -> Output) -> (Vec<Site>, Output) {
        self.medium(name).arm(None);
        let output = command(self);
        let mut sites = self.medium(name).disarm();
        sites.retain(|site| Call::CHANGING.contains(&site.call) || Call::SYNCING.contains(&site.call));
        (sites, output)
    }

    /// Has a medium fail from a call on, and work again after the command; whether it came to that call. Where it did
    /// not, the command succeeded.
    #[track_caller]
    fn cut(&self, name: &str, site: Site, command: fn(&Self) -> Output) -> bool {
        self.medium(name).arm(Some((site, Fault::Dies(Errno::IO))));
        let output = command(self);
        let fired = self.medium(name).has_fired();
        self.medium(name).revive();
        self.medium(name).disarm();
        assert!(fired || output.status.success(), "{name}, {site}: {}", said(&output));
        fired
    }

    fn twinstickd(&self, command: &str, state: PathBuf, words: &[&str]) -> Output {
        let program = Binaries::new(env!("CARGO_BIN_EXE_twinstickd"), env!("CARGO_BIN_EXE_fget")).twinstickd;
        let own = if command == "init" { self.words.as_slice() } else { &[] };
        Command::new(program).arg(command).args(words).args(own).arg("--state").arg(state).output().unwrap()
    }

    /// Neither more nor less than a mirror, by its own offline check.
    #[track_caller]
    fn check_enrolled(&self) {
        let check = self.twinstickd("check", self.state(), &[]);
        assert!(check.status.success(), "{}", said(&check));
        assert!(!self.state().join("init.begun").exists());
        if !self.words.is_empty() {
            assert_eq!(fs::read(self.medium("a").files().join(FOUND)).unwrap(), b"found");
        }
    }
}

fn said(output: &Output) -> String {
    [output.stdout.as_slice(), &output.stderr].map(String::from_utf8_lossy).concat()
}

fn sites(name: &str, words: &[&'static str]) -> Vec<Site> {
    let ground = Ground::new(words);
    let (sites, init) = ground.changes(name, Ground::init);
    assert!(init.status.success(), "{}", said(&init));
    ground.check_enrolled();
    sites
}

/// Cuts each so-manieth call.
fn cut_anywhere(words: &[&'static str], every: usize) {
    let (mut cuts, mut resumed) = (0, 0);
    for name in INIT_MEDIA {
        for site in sites(name, words).into_iter().step_by(every) {
            let ground = Ground::new(words);
            cuts += u32::from(ground.cut(name, site, Ground::init));
            let again = ground.init();
            // It may have been cut after all was done, or have found its last call refused.
            if again.status.success() {
                resumed += 1;
            } else {
                assert!(said(&again).contains("a mirror is enrolled here already"), "{name}, {site}: {}", said(&again));
            }
            ground.check_enrolled();
        }
    }
    println!("{words:?}: {cuts} cuts, {resumed} ended by the next init");
    assert!(resumed > 0 && cuts > 0);
}

/// Cuts each call by which a `replace` changes the new stick or the boot disk.
fn cut_replace() {
    let (mut cuts, mut resumed) = (0, 0);
    for name in REPLACE_MEDIA {
        let ground = Ground::enrolled();
        let (sites, whole) = ground.changes(name, Ground::replace);
        assert!(whole.status.success(), "{}", said(&whole));
        for site in sites {
            let ground = Ground::enrolled();
            cuts += u32::from(ground.cut(name, site, Ground::replace));
            let again = ground.replace();
            if again.status.success() {
                resumed += 1;
            } else {
                assert!(said(&again).contains("is drive b itself"), "{name}, {site}: {}", said(&again));
            }
            ground.check_enrolled();
        }
    }
    println!("replace: {cuts} cuts, {resumed} ended by the next");
    assert!(resumed > 0 && cuts > 0);
}

fn another() {
    let ground = Ground::new(&[]);
    let last = sites("boot", &[]).into_iter().rfind(|site| site.call == Call::Unlink).unwrap();
    assert!(ground.cut("boot", last, Ground::init));
    for command in ["serve", "check"] {
        let refused = ground.twinstickd(command, ground.state(), &[]);
        assert!(!refused.status.success());
        assert!(said(&refused).contains("run the same twinstickd init again"), "{command}: {}", said(&refused));
    }
    let other = ground.init_with(ground.medium("boot").base().join("other"));
    assert!(!other.status.success());
    assert!(said(&other).contains("run that init again"), "{}", said(&other));
    let again = ground.init();
    assert!(again.status.success(), "{}", said(&again));
    ground.check_enrolled();
}
