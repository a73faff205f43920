//! All scenarios with all sites and errors, by several daemons at once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use rustix::io::Errno;
use twinstick_rig::{Class, Fault, Side, Site, is_full, seconds};

use crate::bench::Bench;
use crate::case::{Outcome, is_shortage, play};
use crate::scenario::{self, Moment, Scenario};

/// Names the one scenario to play, for those who look into a failure.
const ONLY: &str = "TWINSTICK_FAULT_SCENARIO";
/// Sets how many daemons at once.
const WORKERS_WANTED: &str = "TWINSTICK_FAULT_WORKERS";
/// Daemons at once: a case mostly waits.
const WORKERS: usize = 6;
/// Daemons at once while the sites are counted: another one's mounts wake a watcher, whose probes are calls too.
const COUNTERS: usize = 1;
/// Runs without a fault that find the sites: calls of several threads do not always come in the same numbers.
const DRY_RUNS: usize = 5;
/// As that, where each takes long.
const LONG_DRY_RUNS: usize = 3;
/// Times that a case is played until its call comes.
const TRIES: usize = 10;
/// Lines of the daemon's log that are shown with a broken rule.
const LOG_LINES: usize = 40;
/// Cases that one daemon lives through.
const CHUNK: usize = 40;
/// As that, where each takes long.
const LONG_CHUNK: usize = 4;

const FAULTS: &[(&str, Fault)] = &[
    ("EIO", Fault::Fails(Errno::IO)),
    ("ENOSPC", Fault::Fails(Errno::NOSPC)),
    ("EROFS", Fault::Fails(Errno::ROFS)),
    ("ENODEV", Fault::Fails(Errno::NODEV)),
    ("EMFILE", Fault::Fails(Errno::MFILE)),
    ("hang", Fault::Hangs),
];
/// Of what others changed one site in so many gets its turn, but for the full figures: each case takes ten seconds.
const ELSEWHERE_ONE_IN: usize = 30;
/// From so many sites on they take turns with the errors.
const MANY_SITES: usize = 100;
/// Of so many sites one hangs, beside the first of each kind of call, but for the full figures: each takes `stall_after`.
const HANGS_EVERY: usize = 8;
/// Of so many sites of a request one meets the daemon's own shortage, beside the first of each kind of call.
const SHORTAGES_EVERY: usize = 4;

/// One call that goes wrong in one way.
#[derive(Clone, Copy)]
struct Case {
    scenario: &'static Scenario,
    side: Side,
    site: Site,
    /// Which of [`FAULTS`].
    fault: usize,
}

/// Cases of one scenario, for one daemon.
struct Chunk {
    scenario: &'static Scenario,
    cases: Vec<Case>,
}

/// One line of the table, by fault.
#[derive(Clone, Copy, Default)]
struct Tally {
    sites: usize,
    fired: usize,
    broken: usize,
}

#[derive(Default)]
struct Findings {
    tallies: BTreeMap<(&'static str, usize), Tally>,
    broken: Vec<String>,
    unreached: Vec<String>,
}

static CASE: AtomicUsize = AtomicUsize::new(0);

pub(crate) fn all() {
    let begin = Instant::now();
    let only = std::env::var(ONLY).ok();
    let wanted = |scenario: &&Scenario| only.as_ref().is_none_or(|only| scenario.name == only);
    let scenarios: Vec<&'static Scenario> = scenario::ALL.iter().filter(wanted).collect();
    let sites = find_sites(&scenarios);
    let found = seconds(begin.elapsed());
    let chunks = chunks(&scenarios, &sites);
    let count: usize = chunks.iter().map(|chunk| chunk.cases.len()).sum();
    println!("{count} cases of {} scenarios; the sites were found in {found}", scenarios.len());
    let queue = Mutex::new(VecDeque::from(chunks));
    let findings = Mutex::new(Findings::default());
    std::thread::scope(|scope| {
        for _ in 0..workers() {
            scope.spawn(|| {
                while let Some(chunk) = pop(&queue) {
                    play_chunk(chunk, &findings);
                }
            });
        }
    });
    let findings = findings.into_inner().expect("no worker panics");
    println!("{}", findings.table());
    println!("{count} cases in {}", seconds(begin.elapsed()));
    for line in findings.unreached.iter().chain(&findings.broken) {
        println!("{line}");
    }
    assert!(findings.broken.is_empty(), "{} rules were broken", findings.broken.len());
    assert!(findings.unreached.is_empty(), "{} sites were not reached", findings.unreached.len());
}

fn workers() -> usize {
    std::env::var(WORKERS_WANTED).ok().and_then(|count| count.parse().ok()).unwrap_or(WORKERS)
}

fn pop<T>(queue: &Mutex<VecDeque<T>>) -> Option<T> {
    queue.lock().expect("no worker panics").pop_front()
}

/// The sites of each scenario on each drive: those of every run without a fault.
fn find_sites(scenarios: &[&'static Scenario]) -> BTreeMap<(&'static str, &'static str), BTreeSet<Site>> {
    let jobs = scenarios.iter().flat_map(|scenario| sides(scenario).into_iter().map(move |side| (*scenario, side)));
    let queue = Mutex::new(jobs.collect::<VecDeque<_>>());
    let all = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..COUNTERS {
            scope.spawn(|| {
                while let Some((scenario, side)) = pop(&queue) {
                    let mut bench = Bench::new(scenario.settings);
                    let mut common: Option<BTreeSet<Site>> = None;
                    let dry_runs = if takes_long(scenario) { LONG_DRY_RUNS } else { DRY_RUNS };
                    for _ in 0..dry_runs {
                        let Outcome { sites, broken, .. } = play(&mut bench, scenario, side, next_case(), None);
                        assert!(broken.is_empty(), "{} with no fault: {broken:#?}", scenario.name);
                        let sites = BTreeSet::from_iter(sites);
                        common = Some(common.map_or_else(|| sites.clone(), |common| &common & &sites));
                    }
                    let key = (scenario.name, side.name());
                    all.lock().expect("no worker panics").insert(key, common.unwrap_or_default());
                }
            });
        }
    });
    all.into_inner().expect("no worker panics")
}

/// Whether each case takes seconds: what others changed is looked at twice.
fn takes_long(scenario: &Scenario) -> bool {
    match scenario.moment {
        Moment::Request | Moment::Checkpoint | Moment::Return => false,
        Moment::ReturnFromElsewhere => true,
    }
}

/// The drives that a scenario is played on: both with the full figures, else one, which differs by scenario.
fn sides(scenario: &Scenario) -> Vec<Side> {
    let number = scenario::ALL.iter().position(|other| other.name == scenario.name).unwrap_or_default();
    if is_full() { Side::BOTH.to_vec() } else { vec![Side::BOTH[number % 2]] }
}

/// The errors that a site gets. With the full figures all; else those of a scenario with many sites take turns, as the
/// hundreds of a return do, and few sites hang.
fn faults(scenario: &Scenario, sites: &BTreeSet<Site>, number: usize, site: Site) -> Vec<usize> {
    let all = 0..FAULTS.len();
    if is_full() {
        return all.collect();
    }
    let is_first_of_its_kind = sites.iter().find(|other| other.call == site.call) == Some(&site);
    let (hangs, fails): (Vec<_>, Vec<_>) = all.partition(|fault| FAULTS[*fault].1 == Fault::Hangs);
    let in_turn = |nth: usize| fails[nth % fails.len()];
    let (fails, hangs_too) = match scenario.moment {
        Moment::Return => (vec![in_turn(number)], is_first_of_its_kind),
        Moment::Request if sites.len() >= MANY_SITES => (vec![in_turn(number)], is_first_of_its_kind),
        Moment::ReturnFromElsewhere if number.is_multiple_of(ELSEWHERE_ONE_IN) => {
            let nth = number / ELSEWHERE_ONE_IN;
            (vec![in_turn(nth)], nth.is_multiple_of(2))
        }
        Moment::ReturnFromElsewhere => return Vec::new(),
        Moment::Request | Moment::Checkpoint => {
            let is_short = is_first_of_its_kind || number.is_multiple_of(SHORTAGES_EVERY);
            let fails = fails.into_iter().filter(|fault| is_short || !is_shortage(FAULTS[*fault].1)).collect();
            let is_special = match scenario.moment {
                Moment::Checkpoint => site.class == Class::Label,
                Moment::Request | Moment::Return | Moment::ReturnFromElsewhere => is_first_of_its_kind,
            };
            (fails, is_special || number.is_multiple_of(HANGS_EVERY))
        }
    };
    if hangs_too { [fails, hangs].concat() } else { fails }
}

fn chunks(
    scenarios: &[&'static Scenario],
    sites: &BTreeMap<(&'static str, &'static str), BTreeSet<Site>>,
) -> Vec<Chunk> {
    let mut chunks = Vec::new();
    for scenario in scenarios {
        let chunk = if takes_long(scenario) { LONG_CHUNK } else { CHUNK };
        for side in sides(scenario) {
            let sites = &sites[&(scenario.name, side.name())];
            let cases: Vec<_> = sites
                .iter()
                .enumerate()
                .flat_map(|(number, site)| {
                    let faults = faults(scenario, sites, number, *site).into_iter();
                    faults.map(move |fault| Case { scenario, side, site: *site, fault })
                })
                .collect();
            chunks.extend(cases.chunks(chunk).map(|cases| Chunk { scenario, cases: cases.to_vec() }));
        }
    }
    // Nobody is to wait for those at the end.
    chunks.sort_by_key(|chunk| !takes_long(chunk.scenario));
    chunks
}

fn next_case() -> usize {
    CASE.fetch_add(1, Ordering::Relaxed)
}

fn play_chunk(chunk: Chunk, findings: &Mutex<Findings>) {
    let Chunk { scenario, cases } = chunk;
    let mut cases: VecDeque<_> = cases.into_iter().map(|case| (case, Chance::First)).collect();
    // A daemon that was hurt is not judged any further: the next cases get another one.
    while !cases.is_empty() {
        let mut bench = Bench::new(scenario.settings);
        let (mut hurt, mut again) = (false, Vec::new());
        while !hurt && let Some((case, chance)) = cases.pop_front() {
            match play_case(&mut bench, case, chance, findings) {
                Verdict::Kept => {}
                Verdict::Broken => hurt = true,
                Verdict::Unreached => again.push((case, Chance::Last)),
            }
        }
        cases.extend(again);
        if !hurt {
            let ended = catch_unwind(AssertUnwindSafe(|| bench.finish()));
            let broken = ended.unwrap_or_else(|_| vec!["the daemon did not end well".to_owned()]);
            let lines = broken.into_iter().map(|line| format!("{} after all: {line}", scenario.name));
            findings.lock().expect("no worker panics").broken.extend(lines);
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Kept,
    Broken,
    /// The call did not come; it may with a daemon that nothing else has happened to.
    Unreached,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Chance {
    First,
    Last,
}

/// Plays one case until its call came.
fn play_case(bench: &mut Bench, case: Case, chance: Chance, findings: &Mutex<Findings>) -> Verdict {
    let (name, fault) = FAULTS[case.fault];
    let (mut fired, mut broken) = (false, Vec::new());
    for _ in 0..TRIES {
        let plan = Some((case.site, fault));
        let played = catch_unwind(AssertUnwindSafe(|| play(bench, case.scenario, case.side, next_case(), plan)));
        let Ok(outcome) = played else {
            broken.push("the bench broke".to_owned());
            break;
        };
        (fired, broken) = (outcome.fired, outcome.broken);
        if fired || !broken.is_empty() {
            break;
        }
    }
    let verdict = match (broken.is_empty(), fired, chance) {
        (true, false, Chance::First) => return Verdict::Unreached,
        (true, _, _) => Verdict::Kept,
        (false, _, _) => Verdict::Broken,
    };
    let label = format!("{} on {}: {} {name}", case.scenario.name, case.side.name(), case.site);
    let mut findings = findings.lock().expect("no worker panics");
    let tally = findings.tallies.entry((case.scenario.name, case.fault)).or_default();
    tally.sites += 1;
    tally.fired += usize::from(fired);
    tally.broken += usize::from(verdict == Verdict::Broken);
    match (verdict, fired) {
        (Verdict::Kept | Verdict::Unreached, true) => {}
        (Verdict::Kept | Verdict::Unreached, false) => findings.unreached.push(format!("{label}: not reached")),
        (Verdict::Broken, _) => {
            let log = bench.twins.log();
            let end: Vec<_> = log.lines().rev().take(LOG_LINES).collect();
            let mut text = format!("{label}: {broken:#?}");
            for line in end.into_iter().rev() {
                let _ = write!(text, "\n      {line}");
            }
            println!("{text}");
            findings.broken.push(text);
        }
    }
    verdict
}

impl Findings {
    fn table(&self) -> String {
        let mut table = format!("{:<18}", "scenario");
        for (name, _) in FAULTS {
            let _ = write!(table, "{name:>22}");
        }
        table.push_str("   (sites, reached, rules broken)\n");
        let mut sums = vec![Tally::default(); FAULTS.len()];
        for scenario in scenario::ALL {
            let _ = write!(table, "{:<18}", scenario.name);
            for (fault, sum) in sums.iter_mut().enumerate() {
                let tally = self.tallies.get(&(scenario.name, fault)).copied().unwrap_or_default();
                let _ = write!(table, "{:>22}", tally.cell());
                sum.sites += tally.sites;
                sum.fired += tally.fired;
                sum.broken += tally.broken;
            }
            table.push('\n');
        }
        let _ = write!(table, "{:<18}", "all");
        for sum in sums {
            let _ = write!(table, "{:>22}", sum.cell());
        }
        table
    }
}

impl Tally {
    fn cell(self) -> String {
        format!("{} {} {}", self.sites, self.fired, self.broken)
    }
}
