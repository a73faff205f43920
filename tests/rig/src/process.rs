//! What the kernel knows of a running process.

use std::fs;
use std::path::PathBuf;

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};

/// A process of the test's own, by its id.
#[derive(Clone, Copy, Debug)]
pub struct Process(u32);

/// A line of `/proc/PID/status` in KiB.
#[derive(Clone, Copy, Debug)]
pub enum Memory {
    /// Resident now.
    Now,
    /// Resident at most, ever.
    Peak,
}

impl Process {
    pub fn new(pid: u32) -> Self {
        Self(pid)
    }

    pub fn memory_kib(self, which: Memory) -> u64 {
        let key = match which {
            Memory::Now => "VmRSS:",
            Memory::Peak => "VmHWM:",
        };
        self.status(key)
    }

    pub fn threads(self) -> u64 {
        self.status("Threads:")
    }

    pub fn descriptors(self) -> usize {
        fs::read_dir(self.path("fd")).expect("it runs").count()
    }

    /// What its descriptors are of, in order.
    pub fn open_files(self) -> Vec<String> {
        let files = fs::read_dir(self.path("fd")).expect("it runs").filter_map(Result::ok);
        // One that was closed meanwhile is none.
        let targets = files.filter_map(|file| fs::read_link(file.path()).ok());
        let mut targets: Vec<_> = targets.map(|target| target.to_string_lossy().into_owned()).collect();
        targets.sort_unstable();
        targets
    }

    /// Open files with this in their paths.
    pub fn open(self, part: &str) -> usize {
        self.open_files().iter().filter(|target| target.contains(part)).count()
    }

    /// Connections, and what else is a socket.
    pub fn sockets(self) -> usize {
        self.open_files().iter().filter(|target| target.starts_with("socket:")).count()
    }

    /// Ticks of 10 ms that it worked, for itself and in the kernel.
    pub fn ticks(self) -> u64 {
        let stat = fs::read_to_string(self.path("stat")).expect("it runs");
        // The name may have spaces in it; the fields behind it are counted from 3.
        let (_, fields) = stat.rsplit_once(')').expect("proc(5)");
        let field =
            |number: usize| fields.split_whitespace().nth(number - 3).and_then(|field| field.parse::<u64>().ok());
        field(14).zip(field(15)).map(|(user, system)| user + system).expect("proc(5)")
    }

    /// Lets it have this many descriptors at most; the limit of before.
    pub fn limit_descriptors(self, most: u64) -> u64 {
        let limits = fs::read_to_string(self.path("limits")).expect("it runs");
        let files = limits.lines().find(|line| line.starts_with("Max open files")).expect("proc(5)");
        // Only root may raise the second one again.
        let maximum = files.split_whitespace().nth(4).and_then(|hard| hard.parse().ok());
        let limit = Rlimit { current: Some(most), maximum };
        let before = prlimit(Pid::from_raw(self.0 as i32), Resource::Nofile, limit).expect("prlimit");
        before.current.unwrap_or(u64::MAX)
    }

    pub fn signal(self, signal: Signal) {
        kill_process(Pid::from_raw(self.0 as i32).expect("a pid"), signal).expect("it runs");
    }

    fn status(self, key: &str) -> u64 {
        let status = fs::read_to_string(self.path("status")).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix(key)).expect("proc(5)");
        line.split_whitespace().next().and_then(|value| value.parse().ok()).expect("proc(5)")
    }

    fn path(self, name: &str) -> PathBuf {
        format!("/proc/{}/{name}", self.0).into()
    }
}
