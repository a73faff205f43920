//! Lines on their way to stderr: a queue, the thread that writes, and what is left out.

use std::collections::HashMap;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tracing::callsite::Identifier;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use crate::clock;

/// Lines that wait for stderr at most.
const QUEUED_MAX: usize = 512;
/// How long the end of the daemon waits for a stderr that takes nothing.
const FLUSH_AT_MOST: Duration = Duration::from_millis(500);
/// Lines of one kind, which is one place in the code, in [`REPEATS_WITHIN`].
const REPEATS_MAX: u32 = 60;
const REPEATS_WITHIN: Duration = Duration::from_mins(1);

/// How many lines were left out since that was last said.
#[derive(Debug, Default)]
pub(crate) struct LeftOut(AtomicU64);

enum Message {
    Line(Vec<u8>),
    Flush(SyncSender<()>),
}

/// Where lines go. Never waits.
#[derive(Clone)]
pub(crate) struct LogLines {
    queue: SyncSender<Message>,
    left_out: Arc<LeftOut>,
}

impl LogLines {
    /// Starts the thread; `notice` is the line about those left out.
    pub(crate) fn start(
        out: impl Write + Send + 'static,
        left_out: Arc<LeftOut>,
        notice: impl Fn(u64) -> String + Send + 'static,
    ) -> Self {
        let (queue, messages) = mpsc::sync_channel(QUEUED_MAX);
        let count = Arc::clone(&left_out);
        let write = move || write_out(&messages, out, &count, notice);
        // Without a thread the queue is closed, and all lines are left out.
        drop(std::thread::Builder::new().name("log".to_owned()).spawn(write));
        Self { queue, left_out }
    }

    pub(crate) fn say(&self, line: &str) {
        self.put(format!("{line}\n").as_bytes());
    }

    /// Takes a line with its newline. Those within it would begin lines of nobody's.
    pub(crate) fn put(&self, line: &[u8]) {
        let (last, text) = (line.len().saturating_sub(1), String::from_utf8_lossy(line));
        let one = if text.find('\n') < Some(last) { text.trim_end().replace('\n', " / ") + "\n" } else { text.into() };
        if self.queue.try_send(Message::Line(one.into_bytes())).is_err() {
            self.left_out.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until all lines so far are written, where stderr takes them.
    pub(crate) fn flush(&self) {
        let (reply, done) = mpsc::sync_channel(1);
        // A queue that is full has a stderr that takes nothing.
        if self.queue.try_send(Message::Flush(reply)).is_ok() {
            let _ = done.recv_timeout(FLUSH_AT_MOST);
        }
    }
}

fn write_out(messages: &Receiver<Message>, mut out: impl Write, left_out: &LeftOut, notice: impl Fn(u64) -> String) {
    for message in messages {
        match message {
            Message::Line(line) => {
                let count = left_out.0.swap(0, Ordering::Relaxed);
                // A line that cannot be written is lost with a word about it as soon as one can.
                let told = if count == 0 { Ok(()) } else { out.write_all(format!("{}\n", notice(count)).as_bytes()) };
                if told.and_then(|()| out.write_all(&line)).is_err() {
                    left_out.0.fetch_add(count + 1, Ordering::Relaxed);
                }
            }
            Message::Flush(reply) => drop(reply.try_send(())),
        }
    }
}

/// Holds back lines that come too often. What is asked for by name, below `info`, comes always.
pub(crate) struct Repeats {
    left_out: Arc<LeftOut>,
    kinds: Mutex<HashMap<Identifier, Window>>,
}

struct Window {
    since: Instant,
    lines: u32,
}

impl Repeats {
    pub(crate) fn new(left_out: Arc<LeftOut>) -> Self {
        Self { left_out, kinds: Mutex::new(HashMap::new()) }
    }

    fn lets_pass(&self, kind: Identifier, now: Instant) -> bool {
        let mut kinds = self.kinds.lock();
        let window = kinds.entry(kind).or_insert(Window { since: now, lines: 0 });
        if now.saturating_duration_since(window.since) >= REPEATS_WITHIN {
            *window = Window { since: now, lines: 0 };
        }
        window.lines = window.lines.saturating_add(1);
        window.lines <= REPEATS_MAX
    }
}

impl<S: Subscriber> Layer<S> for Repeats {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let passes =
            *event.metadata().level() > Level::INFO || self.lets_pass(event.metadata().callsite(), clock::now());
        if !passes {
            self.left_out.0.fetch_add(1, Ordering::Relaxed);
        }
        passes
    }
}

/// A stderr for tests.
#[cfg(test)]
pub(crate) struct Pipe(pub(crate) mpsc::Sender<Vec<u8>>);

#[cfg(test)]
impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.send(bytes.to_vec()).map_err(std::io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_stderr_that_takes_nothing_holds_nobody_up_and_is_told_what_it_missed() {
        /// Takes a line for each permit.
        struct Stuck(Receiver<()>, Pipe);
        impl Write for Stuck {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                self.0.recv().map_err(std::io::Error::other)?;
                self.1.write(bytes)
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let (permits, permit) = mpsc::channel();
        let (pipe, written) = mpsc::channel();
        let lines = LogLines::start(Stuck(permit, Pipe(pipe)), Arc::default(), |count| format!("missed {count}"));
        for number in 0..QUEUED_MAX * 2 {
            lines.say(&number.to_string());
        }
        for _ in 0..QUEUED_MAX * 3 {
            permits.send(()).unwrap();
        }
        let mut all: Vec<_> = written.iter().take(QUEUED_MAX).collect();
        // There is room again.
        lines.say("end");
        drop(lines);
        all.extend(written);
        let all: Vec<_> = all.into_iter().map(|line| String::from_utf8(line).unwrap()).collect();
        let missed = all.iter().filter_map(|line| line.trim().strip_prefix("missed "));
        let missed = missed.map(|count| count.parse::<usize>().unwrap()).collect::<Vec<_>>();
        let came = all.len() - missed.len() - 1;
        assert_eq!(came + missed.iter().sum::<usize>(), QUEUED_MAX * 2);
        assert!(came <= QUEUED_MAX + 1, "{came}");
    }

    #[test]
    fn a_stderr_that_fails_loses_its_lines_alone() {
        /// A disk that is full for a while.
        struct Full(u32, Pipe);
        impl Write for Full {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                self.0 = self.0.saturating_sub(1);
                if self.0 > 0 { Err(std::io::ErrorKind::StorageFull.into()) } else { self.1.write(bytes) }
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let (pipe, written) = mpsc::channel();
        let lines = LogLines::start(Full(4, Pipe(pipe)), Arc::default(), |count| format!("missed {count}"));
        for number in 0..5 {
            lines.say(&number.to_string());
        }
        lines.flush();
        drop(lines);
        let all: Vec<_> = written.into_iter().map(|line| String::from_utf8(line).unwrap()).collect();
        assert_eq!(all, ["missed 3\n", "3\n", "4\n"]);
    }
}
