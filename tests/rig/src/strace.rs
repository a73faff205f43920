//! The system calls of a running process, one by one, by strace.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::NamedTempFile;

use crate::wait::wait_until;

/// What strace says when it has hold of the threads that there are.
const ATTACHED: &str = " attached";

/// One system call, as it began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SystemCall {
    /// The thread's name.
    pub thread: String,
    pub name: String,
    /// What strace shows behind the name: arguments, paths of descriptors, what came of it unless another thread came between.
    pub rest: String,
    /// What it returned, where that stands in the same line or in the one in which it is said to go on.
    pub result: Option<i64>,
}

/// Whether this machine lets one process look at another's calls. `Err` says why not.
pub(crate) fn try_strace() -> Result<(), String> {
    // As the daemon will be, it is none of strace's children: some kernels allow only those.
    let mut other = Command::new("sleep").arg("60").spawn().map_err(|error| format!("needs sleep: {error}"))?;
    let attached = attach(other.id(), "none", Duration::ZERO, None);
    let tried = match attached {
        Ok(strace) => {
            detach(strace);
            Ok(())
        }
        Err(reason) => Err(reason),
    };
    // Both fail where it has ended already.
    let _ = other.kill();
    let _ = other.wait();
    tried
}

/// What a process calls while `work` goes on, of the calls that `filter` names (`strace -e trace=`), in their order. It may end
/// meanwhile.
pub fn calls_during(pid: u32, filter: &str, work: impl FnOnce()) -> Vec<SystemCall> {
    calls_delayed(pid, filter, Duration::ZERO, work)
}

/// The same, with each of these calls taking so much longer: as long as on a slow medium, whatever this machine has.
pub fn calls_delayed(pid: u32, filter: &str, delay: Duration, work: impl FnOnce()) -> Vec<SystemCall> {
    let log = NamedTempFile::new().expect("a temporary file");
    let threads_before = thread_names(pid);
    let strace = attach(pid, filter, delay, Some(&log)).unwrap_or_else(|reason| panic!("{reason}"));
    work();
    let mut threads = thread_names(pid);
    detach(strace);
    // One that has ended meanwhile had its name before.
    threads.extend(threads_before.into_iter().filter(|(thread, _)| !threads.contains_key(thread)).collect::<Vec<_>>());
    parse(&fs::read_to_string(log.path()).expect("strace's log"), &threads)
}

/// How often each call was made.
pub fn count_by_name<'a>(calls: impl IntoIterator<Item = &'a SystemCall>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for call in calls {
        *counts.entry(call.name.clone()).or_default() += 1;
    }
    counts
}

fn attach(pid: u32, filter: &str, delay: Duration, log: Option<&NamedTempFile>) -> Result<Child, String> {
    let mut command = Command::new("strace");
    command.args(["-f", "-y", "-s", "64", "-e", &format!("trace={filter}"), "-p", &pid.to_string()]);
    if !delay.is_zero() {
        command.arg("-e").arg(format!("inject={filter}:delay_enter={}", delay.as_micros()));
    }
    if let Some(log) = log {
        command.arg("-o").arg(log.path());
    }
    let spawned = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let mut strace = spawned.map_err(|error| format!("needs strace: {error}"))?;
    let mut said = String::new();
    let mut lines = BufReader::new(strace.stderr.take().expect("a pipe"));
    // It takes hold of all threads before it says so of the first.
    let read = lines.read_line(&mut said);
    if read.is_ok() && said.trim_end().contains(ATTACHED) {
        // Else it would stop at a full pipe, and what it traces with it.
        std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
        return Ok(strace);
    }
    let _ = strace.kill();
    let _ = strace.wait();
    Err(format!("strace may not look at other processes here: {}", said.trim()))
}

fn detach(mut strace: Child) {
    kill_process(Pid::from_raw(strace.id() as i32).expect("a pid"), Signal::INT).expect("strace runs");
    wait_until("strace lets go", || strace.try_wait().expect("a child").is_some());
}

fn thread_names(pid: u32) -> HashMap<String, String> {
    // Who has ended meanwhile has no name any more, be it one thread or all.
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().filter_map(Result::ok);
    let named = |thread: fs::DirEntry| {
        let name = fs::read_to_string(thread.path().join("comm")).ok()?;
        Some((thread.file_name().to_string_lossy().into_owned(), name.trim().to_owned()))
    };
    threads.filter_map(named).collect()
}

fn parse(log: &str, threads: &HashMap<String, String>) -> Vec<SystemCall> {
    let mut calls: Vec<SystemCall> = Vec::new();
    // The call that a thread is in, where the line of its beginning has not its end.
    let mut open: HashMap<&str, usize> = HashMap::new();
    for line in log.lines() {
        let Some((thread, text)) = line.split_once(' ') else { continue };
        let text = text.trim_start();
        if text.starts_with("<... ") {
            if let Some(call) = open.remove(thread) {
                calls[call].result = result_of(text);
            }
            continue;
        }
        // The rest tells of signals and ends.
        let Some((name, rest)) = text.split_once('(') else { continue };
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            continue;
        }
        let result = result_of(rest);
        if rest.ends_with("<unfinished ...>") {
            open.insert(thread, calls.len());
        }
        let thread = threads.get(thread).cloned().unwrap_or_default();
        calls.push(SystemCall { thread, name: name.to_owned(), rest: rest.to_owned(), result });
    }
    calls
}

/// The number behind the last `= `.
fn result_of(text: &str) -> Option<i64> {
    let (_, result) = text.rsplit_once(" = ")?;
    result.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_another_thread_came_into_is_one() {
        let log = "7 pwrite64(3</x>, \"a = b\", 5, 0) = 5\n\
                   8  pwrite64(3</x>, \"\"..., 70, 0 <unfinished ...>\n\
                   7 --- SIGINT {si_signo=SIGINT} ---\n\
                   7 restart_syscall(<... resuming interrupted futex ...> <unfinished ...>\n\
                   8 <... pwrite64 resumed>) = 70\n\
                   7 +++ exited with 0 +++\n";
        let threads = [("7".to_owned(), "lane-a".to_owned())].into();
        let calls = parse(log, &threads);
        let seen: Vec<_> = calls.iter().map(|call| (call.thread.as_str(), call.name.as_str(), call.result)).collect();
        let expected =
            [("lane-a", "pwrite64", Some(5)), ("", "pwrite64", Some(70)), ("lane-a", "restart_syscall", None)];
        assert_eq!(seen, expected);
        assert_eq!(count_by_name(&calls)["pwrite64"], 2);
    }
}
