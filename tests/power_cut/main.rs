//! Power cuts on real kernels: the real daemon and its clients inside User-Mode Linux, which is killed at random.
//!
//! Each cycle boots the same disks again, checks what is served at once and what lies on both sticks in the end, and
//! lets four clients work until the power is cut. `TWINSTICK_POWER_CUTS` says how many cycles each pair of file systems
//! gets, `TWINSTICK_SEED` where the randomness begins. Debian's `linux.uml` has no exfat (6.1.176: `CONFIG_EXFAT_FS is not
//! set`), so that its pairs need another kernel, named by `TWINSTICK_UML`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests"
)]

mod guest;
mod history;
mod init;
mod machine;
mod names;
mod verdict;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Completion, Trial};
use twinstick_rig::{Binaries, Random};

use crate::machine::{Fs, Machine};

const CYCLES: &str = "TWINSTICK_POWER_CUTS";
/// A few, for everyday; `.ci/run` asks for 100, `just power-cut` for more.
const CYCLES_DEFAULT: usize = 4;
const SEED: &str = "TWINSTICK_SEED";
/// How long the clients work before the power is cut, at most.
const WORK_MS_MAX: usize = 1200;

/// How long an init works before the power is cut, at most.
const INIT_MS_MAX: usize = 250;
/// Of so many cuts one more comes before, in the midst of an init.
const INIT_CUT_OF: usize = 20;

const PAIRS: [(&str, [Fs; 2]); 6] = [
    ("power_cuts_lose_nothing_on_ext4_and_ext4", [Fs::Ext4, Fs::Ext4]),
    ("power_cuts_lose_nothing_on_ext4_and_vfat", [Fs::Ext4, Fs::Vfat]),
    ("power_cuts_lose_nothing_on_vfat_and_vfat", [Fs::Vfat, Fs::Vfat]),
    ("power_cuts_lose_nothing_on_exfat_and_exfat", [Fs::Exfat, Fs::Exfat]),
    ("power_cuts_lose_nothing_on_ext4_and_exfat", [Fs::Ext4, Fs::Exfat]),
    ("power_cuts_lose_nothing_on_vfat_and_exfat", [Fs::Vfat, Fs::Exfat]),
];

fn main() -> ExitCode {
    if std::env::var_os(guest::FOLDER).is_some() {
        guest::run(&binaries());
    }
    let mut arguments = Arguments::from_args();
    arguments.test_threads = arguments.test_threads.or(Some(3));
    let mut trials: Vec<_> = PAIRS.into_iter().map(|(name, pair)| trial(name, pair, cycles)).collect();
    trials.push(trial("names_and_a_lost_journal_are_kept_on_vfat", [Fs::Ext4, Fs::Vfat], names));
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trial(name: &str, pair: [Fs; 2], test: fn([Fs; 2])) -> Trial {
    Trial::ignorable_test(name, move || {
        if let Some(reason) = machine::missing(pair) {
            return Ok(Completion::ignored_with(reason));
        }
        test(pair);
        Ok(Completion::Completed)
    })
}

fn binaries() -> Binaries {
    Binaries::new(env!("CARGO_BIN_EXE_twinstickd"), env!("CARGO_BIN_EXE_fget"))
}

fn number(setting: &str, default: usize) -> usize {
    std::env::var(setting).map_or(default, |value| value.parse().expect("a number"))
}

fn programs() -> PathBuf {
    binaries().twinstickd.parent().map(PathBuf::from).expect("a folder of programs")
}

fn names(pair: [Fs; 2]) {
    let machine = Machine::new(pair);
    let (found, _) = machine.boot(&programs(), guest::NAMES, 0).wait_for(&[guest::GOOD, guest::BAD]);
    assert!(found == 0, "{}", machine.said());
}

/// Cuts the power while an init is under way, so many times.
fn cut_inits(machine: &Machine, times: usize, random: &mut Random) {
    for _ in 0..times {
        let mut power = machine.boot(&programs(), guest::POWER_CUT, 0);
        if power.wait_for(&[guest::BEGINNING, guest::GOOD, guest::BAD]).0 > 0 {
            // The last one was done when it was cut.
            return;
        }
        std::thread::sleep(Duration::from_millis(random.below(INIT_MS_MAX) as u64));
    }
}

fn cycles(pair: [Fs; 2]) {
    let (cycles, seed) = (number(CYCLES, CYCLES_DEFAULT), number(SEED, 1) as u64);
    let mut random = Random::new(seed);
    let machine = Machine::new(pair);
    let (begin, mut repaired) = (Instant::now(), 0);
    cut_inits(&machine, cycles.div_ceil(INIT_CUT_OF), &mut random);
    for cycle in 0..=cycles {
        let mut power = machine.boot(&programs(), guest::POWER_CUT, random.number() >> 1);
        let (found, rest) = power.wait_for(&[guest::GOOD, guest::BAD]);
        assert!(found == 0, "{pair:?}, seed {seed}, cycle {cycle}: {rest}\n{}", machine.said());
        repaired += machine.said().matches(guest::DAMAGED).count();
        if cycle < cycles {
            power.wait_for(&[guest::WORKING]);
            // Some cuts come while the drives are still verified, whatever that takes on a busy machine.
            if cycle % 3 != 0 {
                power.wait_for(&[history::ANSWERED]);
            }
            std::thread::sleep(Duration::from_millis(random.below(WORK_MS_MAX) as u64));
        }
    }
    let history = machine.history();
    // Each but the last one was cut.
    let inits = history.matches(guest::BEGINNING).count() - 1;
    let stories = history::read(&history);
    let acknowledged: u64 = stories.values().map(|story| story.answered).sum();
    assert!(acknowledged >= cycles as u64 / 2, "the clients hardly worked: {acknowledged}");
    println!(
        "{} and {}: {cycles} cycles, {acknowledged} acknowledged, 0 lost, 0 stale, 0 torn, 0 resurrected, \
         {repaired} repaired, {inits} inits cut, {:.1} s a cycle, seed {seed}",
        pair[0].name(),
        pair[1].name(),
        begin.elapsed().as_secs_f64() / f64::from(u32::try_from(cycles).unwrap())
    );
}
