//! What runs on the machine whose power is cut: the daemon, its clients, and the check after a boot.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::json;
use twinstick::digest::Crc32;
use twinstick_rig::{Binaries, Content, Random, Raw};

pub(crate) use crate::history::Act;
use crate::history::{self, Line, Story};
use crate::init;
use crate::names;
use crate::verdict::Verdict;

pub(crate) const DRIVES: [&str; 2] = ["/run/a", "/run/b"];
/// Settings that the machine is booted with: its folder on the host, its kernel's modules, the sticks' file systems.
pub(crate) const FOLDER: &str = "TWINSTICK_GUEST";
pub(crate) const MODULES: &str = "TWINSTICK_MODULES";
pub(crate) const FS_A: &str = "TWINSTICK_FS_A";
pub(crate) const FS_B: &str = "TWINSTICK_FS_B";
/// What it is to do, and that it is not to work but to look at names.
pub(crate) const TASK: &str = "TWINSTICK_GUEST_TASK";
pub(crate) const NAMES: &str = "names";
pub(crate) const POWER_CUT: &str = "power-cut";
/// What it says before an init, of its check, and that the clients work.
pub(crate) const BEGINNING: &str = "beginning ";
pub(crate) const GOOD: &str = "good ";
pub(crate) const BAD: &str = "bad ";
pub(crate) const WORKING: &str = "working ";
/// The daemon's words for a file that it found damaged after a power cut, and repairs.
pub(crate) const DAMAGED: &str = "damaged since the last checkpoint";
pub(crate) const STATE: &str = "/run/state/twinstick";
pub(crate) const ADDRESS: &str = "127.0.0.1:8946";
/// Clients that work at once, each in a folder of its own.
const CLIENTS: usize = 4;
/// How long anything may take on a machine that shares a processor with others.
const PATIENCE: Duration = Duration::from_mins(1);
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// Below this a body travels through the drives' logs, above it through a file.
const LOGGED_BYTES_MAX: usize = 64 << 10;

/// Everything from the boot on; ends with the power.
pub(crate) fn run(binaries: &Binaries) -> ! {
    std::panic::set_hook(Box::new(|panic| {
        // Without a word the kernel would only say that its first process has ended.
        for place in [init::WORDS, "/dev/kmsg"] {
            if let Ok(mut terminal) = OpenOptions::new().append(true).open(place) {
                drop(terminal.write_all(format!("<3>{panic}\n").as_bytes()));
            }
        }
    }));
    init::set_up();
    let folder = PathBuf::from(std::env::var_os(FOLDER).expect("the machine's folder"));
    let history = fs::read(folder.join("history")).expect("the history");
    let history = String::from_utf8_lossy(&history).into_owned();
    let record = Record::open(Path::new(init::HISTORY));
    if std::env::var(TASK).as_deref() == Ok(NAMES) {
        names::run(binaries);
        record.say(&format!("{GOOD}names"));
        loop {
            std::thread::park();
        }
    }
    if !is_enrolled() {
        record.say(&format!("{BEGINNING}now"));
    }
    let _daemon = Daemon::start(binaries);
    let mut stories = history::read(&history);
    let verdict = check(binaries, &record, &mut stories);
    let words = verdict.to_string().replace('\n', " |");
    record.say(&format!("{}{words}", if verdict.is_good() { GOOD } else { BAD }));
    if verdict.is_good() {
        record.say(&format!("{WORKING}now"));
        let seed = std::env::var("TWINSTICK_SEED").expect("a seed");
        work(&record, &stories, seed.parse().expect("a number"));
    }
    loop {
        std::thread::park();
    }
}

/// The machine's daemon.
pub(crate) struct Daemon(Child);

/// Whether an init has come to its end.
fn is_enrolled() -> bool {
    let state = Path::new(STATE);
    state.join("journal").exists() && !state.join("init.begun").exists()
}

impl Daemon {
    /// Starts it, on a new mirror where there is none; a power cut may have come in the midst of an earlier try.
    pub(crate) fn start(binaries: &Binaries) -> Self {
        if !is_enrolled() {
            let drive = |name: &str, path: &str| format!("{name}={path}");
            let mut init = Command::new(&binaries.twinstickd);
            init.args(["init", "--state", STATE, "--drive", &drive("a", DRIVES[0]), "--drive", &drive("b", DRIVES[1])]);
            assert!(init.status().expect("twinstickd init").success(), "twinstickd init");
        }
        let mut serve = Command::new(&binaries.twinstickd);
        let words = OpenOptions::new().append(true).open(init::WORDS).expect("a terminal");
        serve.args(["serve", "--state", STATE, "--listen", ADDRESS]).stdin(Stdio::null()).stderr(words);
        let child = serve.spawn().expect("twinstickd serve");
        let begin = Instant::now();
        while std::net::TcpStream::connect(ADDRESS).is_err() {
            assert!(begin.elapsed() < PATIENCE, "the daemon does not listen");
            std::thread::sleep(LOOK_AGAIN);
        }
        Self(child)
    }

    /// Ends it in good order.
    pub(crate) fn stop(mut self) {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
        assert!(self.0.wait().expect("a child").success(), "twinstickd ends in good order");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Where the history is written. A line is safe with the host when its write returns.
struct Record(Mutex<File>);

impl Record {
    fn open(path: &Path) -> Self {
        let mut file = OpenOptions::new().append(true).open(path).expect("the history");
        // What the last power cut left of a line ends here.
        file.write_all(b"\n").expect("the history");
        Self(Mutex::new(file))
    }

    fn add(&self, line: &Line) {
        self.say(&line.text());
    }

    fn say(&self, text: &str) {
        self.0.lock().unwrap().write_all(format!("{text}\n").as_bytes()).expect("the history");
    }
}

/// Lets the clients work until the power is cut.
fn work(record: &Record, stories: &BTreeMap<usize, Story>, seed: u64) {
    std::thread::scope(|scope| {
        for number in 0..CLIENTS {
            let story = stories.get(&number).cloned().unwrap_or_default();
            let random = Random::new(seed.wrapping_mul(64).wrapping_add(number as u64));
            scope.spawn(move || Client { number, story, random, record, raw: Raw::greeted(ADDRESS) }.work());
        }
    });
}

struct Client<'a> {
    number: usize,
    story: Story,
    random: Random,
    record: &'a Record,
    raw: Raw,
}

impl Client<'_> {
    fn work(mut self) {
        assert!(self.story.open.is_none(), "the check has settled everything");
        loop {
            let act = self.choose();
            self.record.add(&Line::Asks(self.number, act.clone()));
            let answer = ask(&mut self.raw, &act);
            assert!(answer["ok"] == true, "{act:?}: {answer}");
            self.record.add(&Line::Answered(self.number));
            act.apply(&mut self.story.files);
            self.read_one();
        }
    }

    fn choose(&mut self) -> Act {
        let paths: Vec<_> = self.story.files.keys().cloned().collect();
        let path = self.random.choose(&paths).cloned();
        match (self.random.below(100), path) {
            (0..18, Some(path)) => Act::Remove { path },
            (18..34, Some(from)) => match self.free_name() {
                Some(to) => Act::Move { from, to },
                None => self.put(from),
            },
            (34..40, Some(from)) if from.matches('/').count() == 2 => self.move_folder(&from),
            (40..60, Some(path)) => self.put(path),
            _ => {
                let path = self.name();
                self.put(path)
            }
        }
    }

    /// Names are few, so that they are used again and again.
    fn name(&mut self) -> String {
        let folder = ["", "", "album/", "letters and papers of 2026/"][self.random.below(4)];
        let name = ["a.txt", "b.jpg", "a rather long name of a picture.jpeg", "d", "Ölbild.png"][self.random.below(5)];
        format!("client-{}/{folder}{name}", self.number).replace(' ', "_")
    }

    fn free_name(&mut self) -> Option<String> {
        let name = self.name();
        (!self.story.files.contains_key(&name)).then_some(name)
    }

    fn move_folder(&mut self, path: &str) -> Act {
        let (from, _) = path.rsplit_once('/').expect("it is in a folder");
        let to = format!("client-{}/{}", self.number, if from.ends_with("album") { "shelf" } else { "album" });
        let taken = self.story.files.keys().any(|path| path.starts_with(&to));
        if taken { Act::Remove { path: path.to_owned() } } else { Act::Move { from: from.to_owned(), to } }
    }

    fn put(&mut self, path: String) -> Act {
        self.story.last += 1;
        let len = match self.random.below(10) {
            0 => Content::LEN_CHECKED_MIN,
            1..8 => self.random.magnitude(Content::LEN_CHECKED_MIN, 24 << 10),
            _ => self.random.magnitude(LOGGED_BYTES_MAX + 1, 400 << 10),
        };
        Act::Put { path, content: Content { seed: self.story.last, len } }
    }

    /// Reads are right at any moment.
    fn read_one(&mut self) {
        let paths: Vec<_> = self.story.files.keys().cloned().collect();
        let Some(path) = self.random.choose(&paths).filter(|_| self.random.clone().below(4) == 0) else { return };
        let bytes = get(&mut self.raw, path).unwrap_or_else(|answer| panic!("{path}: {answer}"));
        assert!(Content::of(&bytes) == self.story.files.get(path).copied(), "{path}: not what was put last");
    }
}

pub(crate) fn ask(raw: &mut Raw, act: &Act) -> serde_json::Value {
    match act {
        Act::Put { path, content } => {
            let bytes = content.bytes();
            raw.send(format!("{}\n", json!({"op": "put", "path": path, "len": bytes.len()})).as_bytes());
            raw.send(&bytes);
            raw.send(format!("{}\n", json!({"crc32": Crc32::of(&bytes).to_string()})).as_bytes());
        }
        Act::Remove { path } => raw.send(format!("{}\n", json!({"op": "rm", "path": path})).as_bytes()),
        Act::Move { from, to } => {
            raw.send(format!("{}\n", json!({"op": "mv", "path": from, "to": to})).as_bytes());
        }
    }
    raw.answer().expect("an answer")
}

pub(crate) fn get(raw: &mut Raw, path: &str) -> Result<Vec<u8>, serde_json::Value> {
    raw.send(format!("{}\n", json!({"op": "get", "path": path})).as_bytes());
    let head = raw.answer().expect("an answer");
    let Some(len) = head["len"].as_u64() else { return Err(head) };
    let bytes = raw.bytes(len as usize);
    let trailer = raw.answer().expect("a trailer");
    if trailer["ok"] == true { Ok(bytes) } else { Err(trailer) }
}

/// What the daemon serves below a folder, as soon as it says so.
fn served(raw: &mut Raw, client: usize) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![format!("client-{client}")];
    while let Some(folder) = folders.pop() {
        for (name, is_folder) in list(raw, &folder)? {
            let path = format!("{folder}/{name}");
            if is_folder {
                folders.push(path);
            } else {
                found.insert(path.clone(), patiently(|| get(raw, &path)).map_err(|error| format!("{path}: {error}"))?);
            }
        }
    }
    Ok(found)
}

pub(crate) fn list(raw: &mut Raw, folder: &str) -> Result<Vec<(String, bool)>, String> {
    let ls = |raw: &mut Raw| {
        raw.send(format!("{}\n", json!({"op": "ls", "path": folder})).as_bytes());
        let head = raw.answer().expect("an answer");
        let Some(len) = head["len"].as_u64() else { return Err(head) };
        let body = raw.bytes(len as usize);
        let trailer = raw.answer().expect("a trailer");
        if trailer["ok"] == true { Ok(body) } else { Err(trailer) }
    };
    let body = match patiently(|| ls(raw)) {
        Ok(body) => body,
        Err(answer) if answer["error"] == "not-found" => return Ok(Vec::new()),
        Err(answer) => return Err(format!("ls {folder}: {answer}")),
    };
    let entry = |line: &str| {
        let entry: serde_json::Value = serde_json::from_str(line).expect("an entry");
        (entry["name"].as_str().expect("a name").to_owned(), entry["kind"] != "file")
    };
    Ok(String::from_utf8(body).expect("UTF-8").lines().map(entry).collect())
}

/// A drive that is still verified comes soon.
pub(crate) fn patiently<T>(mut request: impl FnMut() -> Result<T, serde_json::Value>) -> Result<T, serde_json::Value> {
    let begin = Instant::now();
    loop {
        match request() {
            Err(answer)
                if ["unavailable", "superseded"].contains(&answer["error"].as_str().unwrap_or_default())
                    && begin.elapsed() < PATIENCE =>
            {
                std::thread::sleep(LOOK_AGAIN);
            }
            done => return done,
        }
    }
}

/// Checks what is served, and then, when both drives are in sync, what lies on them.
fn check(binaries: &Binaries, record: &Record, stories: &mut BTreeMap<usize, Story>) -> Verdict {
    let mut verdict = Verdict::default();
    let mut raw = Raw::greeted(ADDRESS);
    for (client, story) in &mut *stories {
        match served(&mut raw, *client) {
            Ok(found) => {
                if let Some(fate) = verdict.judge("served", story, &found) {
                    record.add(&Line::Found(*client, fate));
                    story.settle(fate);
                }
            }
            Err(error) => verdict.lost(&error),
        }
    }
    let wait = Command::new("timeout")
        .arg(PATIENCE.as_secs().to_string())
        .arg(&binaries.fget)
        .args(["--server", ADDRESS, "status", "--wait"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status();
    if !wait.expect("timeout(1)").success() {
        let status = Command::new(&binaries.fget).args(["--server", ADDRESS, "status"]).output().expect("fget");
        verdict.apart(&format!("the drives do not come in sync: {}", String::from_utf8_lossy(&status.stdout)));
        return verdict;
    }
    let mounts = fs::read_to_string("/proc/mounts").expect("/proc");
    for line in mounts.lines().filter(|line| line.contains(" ro,") && line.contains(" /run/")) {
        verdict.apart(&format!("the kernel made a drive read-only: {line}"));
    }
    // What the medium says, not what the kernel remembers.
    drop(fs::write("/proc/sys/vm/drop_caches", "3"));
    for drive in DRIVES {
        let mut trees = BTreeMap::new();
        walk(Path::new(drive), Path::new(drive), &mut trees, &mut verdict);
        for (client, story) in &*stories {
            let prefix = format!("client-{client}/");
            let mine = trees.iter().filter(|(path, _)| path.starts_with(&prefix));
            let mine = mine.map(|(path, bytes)| (path.clone(), bytes.clone())).collect();
            verdict.judge(drive, story, &mine);
        }
    }
    verdict
}

/// The files below a folder of a drive. A name that comes twice, or that cannot be read, is told.
fn walk(root: &Path, folder: &Path, found: &mut BTreeMap<String, Vec<u8>>, verdict: &mut Verdict) {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => return verdict.apart(&format!("{}: {error}", folder.display())),
    };
    let mut names = BTreeSet::new();
    for entry in entries {
        let path: PathBuf = match entry {
            Ok(entry) => entry.path(),
            Err(error) => return verdict.apart(&format!("{}: {error}", folder.display())),
        };
        if path == root.join(".twinstick") || path == root.join("lost+found") {
            continue;
        }
        if !names.insert(path.clone()) {
            verdict.apart(&format!("{}: two entries of this name", path.display()));
        }
        let name = path.strip_prefix(root).expect("it is below").to_string_lossy().into_owned();
        if path.is_dir() {
            walk(root, &path, found, verdict);
            continue;
        }
        match fs::read(&path) {
            Ok(bytes) => drop(found.insert(name, bytes)),
            Err(error) => verdict.apart(&format!("{}: {error}", path.display())),
        }
    }
}
