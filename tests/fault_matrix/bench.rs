//! A mirror on two media whose calls can be made to go wrong, and its way back to health.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use serde_json::{Value, json};
use twinstick_rig::{Binaries, Call, Class, Drives, End, Faulty, Pull, Side, Twins, stages, stir_mounts};

use crate::story::Story;
use crate::wire;

/// How long anything may take to be well again.
const HEALED_WITHIN: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// As that, for what takes seconds: each look reads both drives.
const LOOK_AGAIN_LATER: Duration = Duration::from_millis(100);
/// A drive that did not come at its return is looked at again so often: the watcher itself would take a minute.
const STIR_EVERY: Duration = Duration::from_millis(200);
/// So long a medium hangs where nobody says that it does: longer than `stall_after`.
const HANGS_FOR: Duration = Duration::from_secs(3);
/// What others changed must stay as it is for five seconds before it is taken in, and what could not be read then is tried
/// again ten seconds later.
const TAKEN_IN_WITHIN: Duration = Duration::from_secs(45);
/// Calls may follow the last answer for so long.
const TRAILING: Duration = Duration::from_millis(40);

pub(crate) type Result<T> = std::result::Result<T, String>;

pub(crate) struct Bench {
    pub(crate) twins: Twins,
}

impl Bench {
    pub(crate) fn new(settings: &str) -> Self {
        // Probes only when something has changed: their calls would be among those counted.
        let config = format!("flaps_max = 1000000\nprobe_every = \"1m\"\nstall_after = \"1s\"\n{settings}");
        let binaries = Binaries::new(env!("CARGO_BIN_EXE_twinstickd"), env!("CARGO_BIN_EXE_fget"));
        Self { twins: Twins::with_config(binaries, Drives::Faulty, |_| config.clone()) }
    }

    pub(crate) fn address(&self) -> &str {
        self.twins.address()
    }

    pub(crate) fn medium(&self, side: Side) -> &Faulty {
        self.twins.stick(side).medium()
    }

    pub(crate) fn pull(&mut self, side: Side) -> Result<()> {
        self.twins.stick_mut(side).pull(Pull::Unmount);
        self.wait("the pulled drive is absent", |bench| Ok(bench.state(side)? == "absent"))
    }

    pub(crate) fn plug_in(&mut self, side: Side) {
        self.twins.stick_mut(side).bring_back();
    }

    /// Waits until both drives have everything and are at rest. One that is out is pulled and plugged in again, as its owner would.
    pub(crate) fn heal(&mut self) -> Result<()> {
        let begin = Instant::now();
        let (mut plugged, mut stirred) = ([false; 2], begin);
        loop {
            let status = self.status()?;
            let mut healthy = true;
            for (number, side) in Side::BOTH.into_iter().enumerate() {
                let state = state_in(&status, side);
                healthy &= state == "in-sync" && behind_in(&status, side) == Some(0) && !is_scrubbed(&status, side);
                if state == "fenced" || begin.elapsed() > HANGS_FOR {
                    self.medium(side).revive();
                }
                if state == "absent" && !plugged[number] {
                    plugged[number] = true;
                    self.replug(side);
                } else if state == "absent" && stirred.elapsed() > STIR_EVERY {
                    stir_mounts(self.twins.dir());
                    stirred = Instant::now();
                }
            }
            if healthy {
                return Ok(());
            }
            if begin.elapsed() > HEALED_WITHIN {
                return Err(format!("not in sync within {HEALED_WITHIN:?}: {status}"));
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    /// As [`Bench::heal`], and until all that others did on a drive is in the mirror, and lies nowhere else.
    pub(crate) fn heal_until_taken_in(&mut self, story: &mut Story) -> Result<()> {
        let begin = Instant::now();
        loop {
            self.heal()?;
            let [a, b] = Side::BOTH.map(|side| self.medium(side).files());
            if story.is_taken_in([a, b]) && Side::BOTH.into_iter().all(|side| self.aside(side).next().is_none()) {
                return Ok(());
            }
            if begin.elapsed() > TAKEN_IN_WITHIN {
                return Err(format!("not taken in within {TAKEN_IN_WITHIN:?}: {}", self.status()?["foreign"]));
            }
            std::thread::sleep(LOOK_AGAIN_LATER);
        }
    }

    /// How often a drive was given up for an error, as the log tells it.
    pub(crate) fn losses(&self, errno: Errno) -> usize {
        let error = format!("(os error {})", errno.raw_os_error());
        self.twins.log().lines().filter(|line| line.contains("to=absent") && line.contains(&error)).count()
    }

    /// Lets both media work again.
    pub(crate) fn revive(&self) {
        for side in Side::BOTH {
            self.medium(side).revive();
        }
    }

    /// A new arrival of a drive that is there or out.
    pub(crate) fn replug(&mut self, side: Side) {
        if !self.twins.stick(side).is_away() {
            self.twins.stick_mut(side).pull(Pull::Unmount);
        }
        self.twins.stick_mut(side).bring_back();
    }

    /// Waits until a medium's calls pause.
    pub(crate) fn wait_until_quiet(&self, side: Side) -> Result<()> {
        let (mut counted, mut since) = (0, Instant::now());
        self.wait("its calls pause", |bench| {
            let now = bench.medium(side).counted();
            if now != counted || bench.medium(side).has_fired() {
                (counted, since) = (now, Instant::now());
            }
            Ok(since.elapsed() > TRAILING || bench.medium(side).has_fired())
        })
    }

    /// Waits until a checkpoint has been made, or what was to go wrong did.
    pub(crate) fn wait_for_checkpoint(&self, side: Side) -> Result<()> {
        self.wait("a checkpoint is made", |bench| {
            let medium = bench.medium(side);
            Ok(medium.has_fired() || medium.count(Call::Sync, Class::Label) > 0)
        })
    }

    /// Waits until a drive has under their names all that clients stored while the other one was away.
    pub(crate) fn wait_until_installed(&self, side: Side) -> Result<()> {
        self.wait("all is installed", |bench| Ok(bench.twins.client().drive(side)["behind"]["paths"] == 0))
    }

    /// What is wrong with what lies on the drives beside the user's files.
    pub(crate) fn leftovers(&self) -> Vec<String> {
        let mut broken = Vec::new();
        for side in Side::BOTH {
            let files = self.medium(side).files();
            let begin = Instant::now();
            while !stages(files).is_empty() && begin.elapsed() < HEALED_WITHIN / 10 {
                std::thread::sleep(LOOK_AGAIN);
            }
            broken.extend(stages(files).iter().map(|stage| format!("a stage is left: {}", stage.display())));
            broken.extend(self.aside(side).map(|path| format!("set aside: {}", path.display())));
        }
        broken
    }

    /// What lies aside on a drive.
    fn aside(&self, side: Side) -> impl Iterator<Item = PathBuf> {
        let entries = std::fs::read_dir(self.medium(side).files().join(".twinstick/aside"));
        entries.into_iter().flatten().flatten().map(|entry| entry.path())
    }

    /// Ends the daemon and has everything checked while it is down.
    pub(crate) fn finish(mut self) -> Vec<String> {
        let log = self.twins.log();
        let mut broken: Vec<_> = log.lines().filter(|line| line.contains("panicked")).map(str::to_owned).collect();
        if let Err(why) = self.heal() {
            return vec![why];
        }
        let [a, b] = Side::BOTH.map(|side| self.medium(side).files().to_owned());
        broken.extend(twinstick_rig::differences(&a, &b));
        self.twins.end(End::Drain);
        let check = self.twins.check(&[]);
        if check.code != 0 {
            broken.push(format!("twinstickd check: {}{}", String::from_utf8_lossy(&check.stdout), check.stderr));
        }
        for side in Side::BOTH {
            self.twins.take_out(side, Pull::Unmount);
            broken.extend(self.twins.stick(side).trespass());
        }
        broken
    }

    fn status(&self) -> Result<Value> {
        let bytes =
            wire::fetch(self.address(), &json!({"op": "status"})).map_err(|reply| format!("status: {reply}"))?;
        serde_json::from_slice(&bytes).map_err(|error| format!("status: {error}"))
    }

    fn state(&self, side: Side) -> Result<String> {
        Ok(state_in(&self.status()?, side).to_owned())
    }

    fn wait(&self, what: &str, mut condition: impl FnMut(&Self) -> Result<bool>) -> Result<()> {
        let begin = Instant::now();
        while !condition(self)? {
            if begin.elapsed() > HEALED_WITHIN {
                return Err(format!("{what}: not within {HEALED_WITHIN:?}"));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }
}

fn drive_in(status: &Value, side: Side) -> Option<&Value> {
    status["drives"].as_array()?.iter().find(|drive| drive["name"] == side.name())
}

fn state_in(status: &Value, side: Side) -> &str {
    drive_in(status, side).and_then(|drive| drive["state"].as_str()).unwrap_or("unknown")
}

/// Paths that a drive lacks.
fn behind_in(status: &Value, side: Side) -> Option<u64> {
    drive_in(status, side)?.pointer("/behind/paths")?.as_u64()
}

/// Whether a scrub is under way, or waits for its drive.
fn is_scrubbed(status: &Value, side: Side) -> bool {
    let state = drive_in(status, side).and_then(|drive| drive.pointer("/scrub/state")?.as_str());
    state.is_some_and(|state| state != "done")
}
