//! An `init` that is cut short at any of its calls to the sticks or the boot disk: the next one ends it.

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
        .with("another_init_does_not_take_what_one_has_begun", Needs::LoopMounts, another)
        .beside(2)
        .main()
}

/// The media that an init works on, any of which may fail.
const MEDIA: [&str; 3] = ["a", "b", "boot"];
/// A file that is on drive a before, where files are taken in.
const FOUND: &str = "found.txt";

struct Ground {
    _dir: tempfile::TempDir,
    media: [Faulty; 3],
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

/// The calls by which an init changes a medium, or makes that durable: a cut before any other leaves the same.
fn sites(name: &str, words: &[&'static str]) -> Vec<Site> {
    let ground = Ground::new(words);
    ground.medium(name).arm(None);
    let init = ground.init();
    assert!(init.status.success(), "{}", said(&init));
    let mut sites = ground.medium(name).disarm();
    sites.retain(|site| Call::CHANGING.contains(&site.call) || Call::SYNCING.contains(&site.call));
    ground.check_enrolled();
    sites
}

/// Cuts each so-manieth call.
fn cut_anywhere(words: &[&'static str], every: usize) {
    let (mut cuts, mut resumed) = (0, 0);
    for name in MEDIA {
        for site in sites(name, words).into_iter().step_by(every) {
            let ground = Ground::new(words);
            ground.medium(name).arm(Some((site, Fault::Dies(Errno::IO))));
            let cut = ground.init();
            let fired = ground.medium(name).has_fired();
            ground.medium(name).revive();
            ground.medium(name).disarm();
            cuts += u32::from(fired);
            assert!(fired || cut.status.success(), "{name}, {site}: {}", said(&cut));
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

fn another() {
    let ground = Ground::new(&[]);
    let last = sites("boot", &[]).into_iter().rfind(|site| site.call == Call::Unlink).unwrap();
    ground.medium("boot").arm(Some((last, Fault::Dies(Errno::IO))));
    assert!(!ground.init().status.success());
    ground.medium("boot").revive();
    ground.medium("boot").disarm();
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
