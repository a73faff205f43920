//! Allocations of small requests, counted in the whole process of a daemon: the real one, run by this binary for its allocator.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};

use clap::Parser;
use twinstick::daemon::cli::{Cli, Command as Asked};
use twinstick::daemon::serve;
use twinstick_rig::{Allocated, Client, Counting, Drives, End, Link, Reply, Twins};

use crate::limits::{Allocations, GET_ALLOCATIONS, PUT_ALLOCATIONS, SMALL};
use crate::{binaries, put, ready};

#[global_allocator]
static ALLOCATOR: Counting = Counting::new();

/// Set where this binary is to be the daemon.
const SERVE: &str = "TWINSTICK_BUDGET_SERVE";
const REQUESTS: usize = 500;

/// Serves, where that is what this process was started for. Each line on standard input is answered with what was allocated so far.
pub(crate) fn serve_if_asked() -> Option<ExitCode> {
    std::env::var_os(SERVE)?;
    let Asked::Serve(args) = Cli::parse().command else { return Some(ExitCode::FAILURE) };
    std::thread::spawn(|| {
        for line in std::io::stdin().lines() {
            let Allocated { times, bytes } = ALLOCATOR.allocated();
            assert!(line.is_ok());
            println!("{times} {bytes}");
        }
    });
    serve::serve(&args.overrides()).unwrap();
    Some(ExitCode::SUCCESS)
}

/// A daemon that counts; killed when dropped.
struct Counted {
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
    client: Client,
}

impl Counted {
    fn serve(twins: &Twins) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(twins.serve_command().get_args()).env(SERVE, "1");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (questions, answers) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let listening = |line: std::io::Result<String>| line.ok()?.strip_prefix("listening on ").map(str::to_owned);
        let address = log.by_ref().find_map(listening).expect("it says where it listens");
        // Else it would be told that nobody listens.
        std::thread::spawn(move || log.for_each(drop));
        Self { child, questions, answers, client: Client { address, ..twins.client() } }
    }

    fn allocated(&mut self) -> Allocated {
        self.questions.write_all(b"\n").unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        let (times, bytes) = line.trim().split_once(' ').unwrap();
        Allocated { times: times.parse().unwrap(), bytes: bytes.parse().unwrap() }
    }

    /// What so many requests allocate, with all that is done for them behind their answers.
    fn of(&mut self, count: usize, mut request: impl FnMut(usize)) -> Allocated {
        let before = self.allocated();
        (0..count).for_each(&mut request);
        self.client.run(&["status", "--wait"]).expect(0);
        self.allocated() - before
    }

    /// Checks what a request allocates: the difference between many and twice as many, so that what is done once drops out.
    fn check(&mut self, what: &str, budget: &Allocations, mut request: impl FnMut(usize)) {
        let once = self.of(REQUESTS, &mut request);
        let twice = self.of(2 * REQUESTS, |number| request(REQUESTS + number));
        let each = |once: usize, twice: usize| (twice as f64 - once as f64) / REQUESTS as f64;
        let (times, bytes) = (each(once.times, twice.times), each(once.bytes, twice.bytes));
        println!("a {what} allocates {times:.1} times, {bytes:.0} bytes");
        assert!(times <= budget.times_max, "a {what} allocates {times} times, more than {}", budget.times_max);
        assert!(bytes <= budget.bytes_max, "a {what} allocates {bytes} bytes, more than {}", budget.bytes_max);
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        // Both fail where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn small_requests() {
    let mut twins = ready(Twins::new(binaries(), Drives::Plain));
    twins.end(End::Drain);
    let mut daemon = Counted::serve(&twins);
    let mut link = Link::connect(&daemon.client.address).unwrap();
    put(&mut link, "read");
    daemon.check("GET", &GET_ALLOCATIONS, |_| {
        assert_eq!(link.get("read").unwrap(), Reply::Done(vec![7; SMALL]));
    });
    daemon.check("PUT", &PUT_ALLOCATIONS, |number| put(&mut link, &format!("put-{number}")));
}
