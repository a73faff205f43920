//! Concurrent clients on few files while drives come and go and the daemon is killed: every answer must be explained.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::content::Content;
use crate::daemon::End;
use crate::freeze::Hung;
use crate::linear::{Action, Fate, Operation, check};
use crate::link::{Link, Reply};
use crate::random::Random;
use crate::stick::{Pull, Side};
use crate::twins::Twins;
use crate::wait::PATIENCE;

/// How much, and which of the random histories.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub operations: usize,
    pub clients: usize,
    pub seed: u64,
}

/// The files: few, so that clients meet; some in a folder. Each is moved to its neighbour in the pair and back.
const PATHS: [[&str; 2]; 3] = [["r0", "d/e/r1"], ["r2", "r3"], ["d/r4", "d/r5"]];
/// What a move needs to be there.
const FOLDER: &str = "d/e";
/// The longest time for which a drive hangs: some go on before they count as gone, most do not.
const HANG_MILLIS_MAX: usize = 2500;
const GOES_ON_AFTER_KILL: Duration = Duration::from_millis(50);
/// Operations of a path that are shown before one that cannot be explained.
const SHOWN: usize = 12;

/// One of the files: of which pair, and which of the two.
#[derive(Clone, Copy)]
struct Register {
    pair: usize,
    nth: usize,
}

impl Register {
    fn all() -> impl Iterator<Item = Self> {
        (0..PATHS.len()).flat_map(|pair| (0..2).map(move |nth| Self { pair, nth }))
    }

    fn path(self) -> &'static str {
        PATHS[self.pair][self.nth]
    }

    fn neighbour(self) -> Self {
        Self { nth: 1 - self.nth, ..self }
    }
}

/// What one client did, by pair.
#[derive(Default)]
struct Record {
    operations: BTreeMap<usize, Vec<Operation>>,
    /// Answers that are no bytes of any one PUT.
    torn: Vec<String>,
    /// Operations that were refused with an error, by its name.
    refused: BTreeMap<String, usize>,
}

struct Worker<'a> {
    number: usize,
    address: String,
    random: Random,
    began: Instant,
    /// Operations of all that were not refused.
    count: &'a AtomicUsize,
    link: Option<Link>,
    /// When the last request was sent.
    sent: u64,
    written: u64,
    record: Record,
}

/// How a mutation ended for its client.
enum Ending {
    Answered(Reply),
    /// No answer came to at least one attempt, and no answer after it tells what became of that.
    Unknown,
}

/// Moments at which a daemon was gone, and what else was done.
#[derive(Default)]
struct Faults {
    /// No request that was sent before has an effect after.
    gone: Vec<u64>,
    left: usize,
    returned: usize,
    hung: usize,
}

/// A drive that hangs now.
struct Hanging {
    side: Side,
    until: Instant,
    _hung: Hung,
}

/// Lets clients put, get, move and remove the same few files while drives leave in these ways, hang and return and the
/// daemon is killed, and checks for each two files that one order of all that was done explains all answers.
pub fn every_answer_is_explained_by_one_order(twins: &mut Twins, plan: Plan, ways: &[Pull]) {
    twins.client().run(&["mkdir", FOLDER]).expect(0);
    let (count, began) = (AtomicUsize::new(0), Instant::now());
    let worker = |number: usize, random| Worker {
        number,
        address: twins.address().to_owned(),
        random,
        began,
        count: &count,
        link: None,
        sent: 0,
        written: 0,
        record: Record::default(),
    };
    let mut workers: Vec<_> = (0..plan.clients)
        .map(|number| worker(number, Random::new(plan.seed.wrapping_mul(1000).wrapping_add(number as u64))))
        .collect();
    let mut last = worker(plan.clients, Random::new(plan.seed));
    let faults = thread::scope(|scope| {
        let running: Vec<_> = workers.iter_mut().map(|worker| scope.spawn(|| worker.work(plan.operations))).collect();
        let random = Random::new(plan.seed ^ 0x5eed);
        // A client that has found something out ends the test; what else goes on is not waited for.
        let faults = disturb(twins, ways, random, began, || running.iter().all(thread::ScopedJoinHandle::is_finished));
        running.into_iter().for_each(|client| client.join().expect("a client"));
        faults
    });
    twins.check_identical();
    Register::all().for_each(|register| last.read(register));
    workers.push(last);
    report(plan, began.elapsed(), &faults, workers.into_iter().map(|worker| worker.record).collect());
}

/// Pulls drives, has them hang, brings them back and kills the daemon until the clients are done.
fn disturb(twins: &mut Twins, ways: &[Pull], mut random: Random, began: Instant, is_done: impl Fn() -> bool) -> Faults {
    let mut faults = Faults::default();
    let mut hanging: Option<Hanging> = None;
    while !is_done() {
        let side = if random.below(2) == 0 { Side::A } else { Side::B };
        pause(&mut random);
        hanging.take_if(|hanging| hanging.until < Instant::now());
        let away = twins.stick(side).is_away();
        let other_away = twins.stick(side.other()).is_away();
        match random.below(10) {
            0 | 1 => {
                // Who waits for a drive that hangs can be killed, but ends only when it goes on.
                let hanging = hanging.take();
                thread::scope(|scope| {
                    scope.spawn(|| {
                        thread::sleep(GOES_ON_AFTER_KILL);
                        drop(hanging);
                    });
                    twins.end(End::Kill);
                });
                faults.gone.push(began.elapsed().as_nanos() as u64);
                twins.serve();
            }
            // What hangs stays where it is.
            _ if hanging.as_ref().is_some_and(|hanging| hanging.side == side) => {}
            _ if away => {
                twins.stick_mut(side).bring_back();
                faults.returned += 1;
            }
            // Both out now and then.
            2 | 3 if hanging.is_none() => {
                let until = Instant::now() + Duration::from_millis(100 + random.below(HANG_MILLIS_MAX) as u64);
                if let Some(hung) = twins.stick(side).hang() {
                    hanging = Some(Hanging { side, until, _hung: hung });
                    faults.hung += 1;
                }
            }
            2..8 if other_away => {}
            _ => {
                twins.stick_mut(side).pull(*random.choose(ways).expect("a way to leave"));
                faults.left += 1;
            }
        }
    }
    drop(hanging);
    for side in Side::BOTH {
        if twins.stick(side).is_away() {
            twins.stick_mut(side).bring_back();
            faults.returned += 1;
        }
    }
    faults
}

fn pause(random: &mut Random) {
    thread::sleep(Duration::from_millis(30 + random.below(300) as u64));
}

impl Worker<'_> {
    fn work(&mut self, operations: usize) {
        while self.count.load(Ordering::Relaxed) < operations {
            let register = Register { pair: self.random.below(PATHS.len()), nth: self.random.below(2) };
            match self.random.below(20) {
                0..8 => self.read(register),
                8..12 => self.write(register),
                12..16 => self.remove(register),
                _ => self.rename(register),
            }
        }
    }

    fn now(&self) -> u64 {
        self.began.elapsed().as_nanos() as u64
    }

    fn read(&mut self, register: Register) {
        let (invoked, path) = (self.now(), register.path());
        let answer = self.attempt(|link| link.get(path));
        let ended = self.now();
        let read = match answer {
            Some(Reply::Done(bytes)) => match Content::of(&bytes) {
                Some(content) => Some(content.seed),
                None => {
                    let (begin, len) = (&bytes[..bytes.len().min(16)], bytes.len());
                    return self.record.torn.push(format!("{path}: {len} bytes, {begin:?}…, at {ended}"));
                }
            },
            Some(Reply::Refused(name)) if name == "not-found" => None,
            Some(Reply::Refused(name)) => return self.refused(name),
            None => return,
        };
        self.done(register, Action::Get(read), Fate::Done, invoked, ended);
    }

    fn write(&mut self, register: Register) {
        self.written += 1;
        let value = (self.number as u64) << 32 | self.written;
        // Short ones go through the drives' logs, long ones through files.
        let (least, most) = if self.random.below(20) == 0 { (64 << 10, 300 << 10) } else { (16, 4 << 10) };
        let bytes = Content { seed: value, len: self.random.magnitude(least, most) }.bytes();
        self.mutate(register, Action::Put(value), |link, id| link.put(register.path(), &bytes, id));
    }

    fn remove(&mut self, register: Register) {
        self.mutate(register, Action::Remove, |link, id| link.remove(register.path(), id));
    }

    fn rename(&mut self, register: Register) {
        let (from, to) = (register.path(), register.neighbour().path());
        self.mutate(register, Action::Move, |link, id| link.rename(from, to, id));
    }

    /// Half of the mutations have an id and are sent again until there is an answer.
    fn mutate(
        &mut self,
        register: Register,
        action: Action,
        mut send: impl FnMut(&mut Link, Option<&str>) -> std::io::Result<Reply>,
    ) {
        self.written += 1;
        let id = format!("{}-{}", self.number, self.written);
        let id = (self.random.below(2) == 0).then_some(id.as_str());
        let (invoked, began) = (self.now(), Instant::now());
        let mut in_doubt = false;
        let ending = loop {
            assert!(began.elapsed() < PATIENCE, "{}: no answer", register.path());
            match (self.attempt(|link| send(link, id)), id) {
                (Some(Reply::Refused(name)), Some(_)) if name == "journal-unavailable" => in_doubt = true,
                (Some(Reply::Refused(name)), None) if name == "journal-unavailable" => break Ending::Unknown,
                // An answer to the id tells what became of every attempt; another error only of the last.
                (Some(Reply::Refused(name)), _) if in_doubt && in_vain(action, &name).is_none() => {
                    break Ending::Unknown;
                }
                (Some(reply), _) => break Ending::Answered(reply),
                (None, Some(_)) => in_doubt = true,
                (None, None) => break Ending::Unknown,
            }
        };
        let now = self.now();
        let (action, fate, ended) = match ending {
            Ending::Answered(Reply::Done(_)) => (action, Fate::Done, now),
            Ending::Answered(Reply::Refused(name)) => match in_vain(action, &name) {
                Some(action) => (action, Fate::Done, now),
                // Nothing was done.
                None => return self.refused(name),
            },
            // Its end is found when it is known when the daemon was gone.
            Ending::Unknown => (action, Fate::Unknown, self.sent),
        };
        self.done(register, action, fate, invoked, ended);
    }

    fn done(&mut self, register: Register, action: Action, fate: Fate, invoked: u64, ended: u64) {
        self.count.fetch_add(1, Ordering::Relaxed);
        let operation = Operation { client: self.number, register: register.nth, action, fate, invoked, ended };
        self.record.operations.entry(register.pair).or_default().push(operation);
    }

    /// Nothing was done. While no drive is there nothing else is to be had: the others get their turn.
    fn refused(&mut self, name: String) {
        *self.record.refused.entry(name).or_default() += 1;
        thread::sleep(Duration::from_millis(2));
    }

    /// Sends a request over a connection that stands, or a new one; `None` where it broke.
    fn attempt(&mut self, send: impl FnOnce(&mut Link) -> std::io::Result<Reply>) -> Option<Reply> {
        let mut link = match self.link.take() {
            Some(link) => link,
            None => self.connect(),
        };
        self.sent = self.now();
        let reply = send(&mut link).ok()?;
        self.link = Some(link);
        Some(reply)
    }

    fn connect(&self) -> Link {
        let began = Instant::now();
        loop {
            match Link::connect(&self.address) {
                Ok(link) => return link,
                Err(error) => assert!(began.elapsed() < PATIENCE, "{}: {error}", self.address),
            }
            thread::sleep(Duration::from_millis(2));
        }
    }
}

/// What a refusal by this name says of the registers, if it says anything.
fn in_vain(action: Action, name: &str) -> Option<Action> {
    match (action, name) {
        (Action::Remove, "not-found") => Some(Action::RemoveInVain),
        (Action::Move, "not-found") => Some(Action::MoveInVain),
        (Action::Move, "exists") => Some(Action::MoveBlocked),
        _ => None,
    }
}

/// Checks all that was seen, and says how it went.
#[track_caller]
fn report(plan: Plan, time: Duration, faults: &Faults, records: Vec<Record>) {
    let (mut by_pair, mut refused, mut torn) = (BTreeMap::<_, Vec<_>>::new(), BTreeMap::new(), Vec::new());
    for record in records {
        torn.extend(record.torn);
        record
            .operations
            .into_iter()
            .for_each(|(pair, operations)| by_pair.entry(pair).or_default().extend(operations));
        record.refused.into_iter().for_each(|(name, count)| *refused.entry(name).or_insert(0) += count);
    }
    let mut text = String::new();
    let (mut answered, mut unknown, mut violations) = (0, 0, BTreeMap::new());
    let mut moves = 0;
    for (pair, mut operations) in by_pair {
        for operation in operations.iter_mut().filter(|operation| operation.fate == Fate::Unknown) {
            // It may have had its effect as long as the daemon lived that it was last sent to.
            operation.ended = faults.gone.iter().copied().find(|gone| *gone >= operation.ended).unwrap_or(u64::MAX);
            unknown += 1;
        }
        moves += operations.iter().filter(|operation| operation.action == Action::Move).count();
        answered += operations.iter().filter(|operation| operation.fate == Fate::Done).count();
        if let Err(violation) = check(&operations) {
            *violations.entry(violation.name()).or_insert(0) += 1;
            let _ = write!(text, "\n{:?}: {violation:?}, after", PATHS[pair]);
            operations.retain(|operation| operation.invoked < violation.operation.ended);
            operations.sort_by_key(|operation| operation.ended);
            let from = operations.len().saturating_sub(SHOWN);
            for operation in &operations[from..] {
                let _ = write!(
                    text,
                    "
  {operation:?}"
                );
            }
        }
    }
    let Faults { gone, left, returned, hung } = faults;
    println!(
        "seed {}, {} clients, {} files: {answered} answered ({moves} moved), {unknown} without an answer, refused {refused:?}; \
         {left} times a drive left, {returned} returned, {hung} hung, {} kills; violations {violations:?}, torn {}; {:.1} s",
        plan.seed,
        plan.clients,
        Register::all().count(),
        gone.len(),
        torn.len(),
        time.as_secs_f64(),
    );
    assert!(torn.is_empty(), "seed {}: {torn:#?}", plan.seed);
    assert!(violations.is_empty(), "seed {}: {text}", plan.seed);
}
