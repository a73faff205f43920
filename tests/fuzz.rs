//! The fuzz targets over their committed inputs and so many changed ones, the same each time.
//!
//! `TWINSTICK_FUZZ_INPUTS` sets how many for each target. For hours and with coverage: `fuzz/`.
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a test tells its figures and keeps what fails")]

use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};
use twinstick::fuzz::{TARGETS, Target};
use twinstick_rig::{Counting, Random};

/// Counts what is allocated: by one input at a time, since there is one thread.
#[global_allocator]
static ALLOCATED: Counting = Counting::new();

const INPUTS: usize = 100_000;
/// Longest input: a line of the wire and a body behind it.
const BYTES_MAX: usize = 40_000;
/// Numbers at which parsers turn.
const NUMBERS: [u64; 10] = [0, 1, 0x7f, 0x80, 0xff, 0x7fff_ffff, 0xffff_ffff, 1 << 32, i64::MAX as u64, u64::MAX];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // The count of allocated bytes is the whole process's.
    arguments.test_threads = Some(1);
    let inputs = std::env::var("TWINSTICK_FUZZ_INPUTS").ok().and_then(|count| count.parse().ok()).unwrap_or(INPUTS);
    let trial = |target: Target| {
        Trial::test(format!("no_bytes_make_{}_panic_or_take_too_much_memory", target.name), move || run(target, inputs))
    };
    libtest_mimic::run(&arguments, TARGETS.into_iter().map(trial).collect()).exit_code()
}

fn run(target: Target, inputs: usize) -> Result<(), libtest_mimic::Failed> {
    let seeds = seeds(target.name)?;
    let mut random = Random::new(8946);
    let mut largest = 0;
    for nth in 0..seeds.len() + inputs {
        let input = match seeds.get(nth) {
            Some(seed) => seed.clone(),
            None => mutated(&seeds, &mut random),
        };
        let before = ALLOCATED.allocated().bytes;
        if catch_unwind(|| (target.run)(&input)).is_err() {
            return Err(format!("a panic, {}", kept(target, &input)).into());
        }
        let bytes = ALLOCATED.allocated().bytes - before;
        if bytes > target.bytes_max + input.len() * target.bytes_a_byte_max {
            return Err(format!("{bytes} bytes allocated for {}, {}", input.len(), kept(target, &input)).into());
        }
        largest = largest.max(bytes);
    }
    println!("{}: {} seeds, {inputs} inputs, at most {largest} bytes allocated for one", target.name, seeds.len());
    Ok(())
}

/// The committed inputs, in the order of their names.
fn seeds(target: &str) -> Result<Vec<Vec<u8>>, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/fuzz").join(target);
    let entries = fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
    paths.sort();
    let read = |path: &PathBuf| fs::read(path).map_err(|error| format!("{}: {error}", path.display()));
    let seeds = paths.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    if seeds.is_empty() { Err(format!("{} is empty", folder.display())) } else { Ok(seeds) }
}

/// Keeps an input that fails, and says where.
fn kept(target: Target, input: &[u8]) -> String {
    let path = std::env::temp_dir().join(format!("twinstick-fuzz-{}", target.name));
    match fs::write(&path, input) {
        Ok(()) => format!("the input is {}", path.display()),
        Err(error) => format!("the input cannot be kept ({error}): {input:02x?}"),
    }
}

/// One of the seeds with a few changes.
fn mutated(seeds: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut input = random.choose(seeds).cloned().unwrap_or_default();
    for _ in 0..=random.below(6) {
        change(&mut input, seeds, random);
    }
    input.truncate(BYTES_MAX);
    input
}

fn change(input: &mut Vec<u8>, seeds: &[Vec<u8>], random: &mut Random) {
    let at = random.below(input.len() + 1);
    let to = (at + random.magnitude(1, 64)).min(input.len());
    match random.below(10) {
        0 | 1 => {
            if let Some(byte) = input.get_mut(at) {
                *byte ^= 1 << random.below(8);
            }
        }
        2 => {
            if let Some(byte) = input.get_mut(at) {
                *byte = random.below(256) as u8;
            }
        }
        3 => drop(input.drain(at..to)),
        4 => {
            let again = input.get(at..to).unwrap_or_default().repeat(random.magnitude(1, 400));
            input.splice(at..at, again);
        }
        5 => {
            let number = random.choose(&NUMBERS).copied().unwrap_or_default().to_le_bytes();
            let width = 1 << random.below(4);
            let end = (at + width).min(input.len());
            input.splice(at..end, number.into_iter().take(width));
        }
        6 => {
            let number = random.choose(&NUMBERS).copied().unwrap_or_default();
            input.splice(at..to.min(at + 2), number.to_string().into_bytes());
        }
        7 => input.truncate(at),
        8 => {
            let any = (0..random.magnitude(1, 64)).map(|_| random.below(256) as u8).collect::<Vec<_>>();
            input.splice(at..at, any);
        }
        _ => {
            let other = random.choose(seeds).map(Vec::as_slice).unwrap_or_default();
            let from = random.below(other.len() + 1);
            input.splice(at.., other.get(from..).unwrap_or_default().iter().copied());
        }
    }
}
