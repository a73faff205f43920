//! The daemon's log: one line a state change, on stderr.
//!
//! Whatever becomes of stderr, a full disk or a pipe that nobody reads, the daemon goes on: a thread of its own
//! writes, from a queue with an end. Lines that find no room, and lines of one kind that come too often, are left
//! out and counted.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::Arc;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::{DefaultFields, FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::{FmtContext, Layer as FmtLayer};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, reload};

use crate::config::{LogFilter, LogFormat};
use crate::daemon::log_lines::{LeftOut, LogLines, Repeats};

/// The log while the daemon runs. What is queued is written before this is dropped, unless stderr takes nothing.
pub(crate) struct Logging {
    filter: reload::Handle<Targets, Registry>,
    lines: LogLines,
}

impl Logging {
    /// Begins the log of this process. Another one that began before stays.
    pub(crate) fn start(format: Option<LogFormat>, filter: &LogFilter) -> Self {
        let format = format.unwrap_or_else(fitting);
        let left_out = Arc::new(LeftOut::default());
        let notice = move |count| left_out_line(format, count);
        let lines = LogLines::start(io::stderr(), Arc::clone(&left_out), notice);
        let (filter, handle) = reload::Layer::new(filter.targets());
        let layer = layer(format, lines.clone());
        let began = tracing_subscriber::registry().with(filter).with(Repeats::new(left_out)).with(layer).try_init();
        if let Err(error) = began {
            lines.say(&format!("twinstickd: {error}"));
        }
        hush_libraries();
        Self { filter: handle, lines }
    }

    /// Says one line as it is, whatever the format: scripts wait for it.
    pub(crate) fn say(&self, line: &str) {
        self.lines.say(line);
    }

    pub(crate) fn set_filter(&self, filter: &LogFilter) {
        if let Err(error) = self.filter.reload(filter.targets()) {
            tracing::error!(%error, "the log's filter stays as it was");
        }
        // It sets this level too.
        hush_libraries();
    }
}

/// Of libraries that tell the `log` crate, warnings are enough. sled notes its every step, also in the destructors of a
/// thread that ends, where the subscriber's own buffer may be gone: that panic would end the process.
fn hush_libraries() {
    log::set_max_level(log::LevelFilter::Warn);
}

impl Drop for Logging {
    fn drop(&mut self) {
        self.lines.flush();
    }
}

/// The journal's own where stderr leads there, as systemd says in `JOURNAL_STREAM` (systemd.exec(5)).
fn fitting() -> LogFormat {
    let stream = std::env::var("JOURNAL_STREAM").unwrap_or_default();
    let stat = rustix::fs::fstat(io::stderr());
    let is_journal = stat.is_ok_and(|stat| stream == format!("{}:{}", stat.st_dev, stat.st_ino));
    if is_journal { LogFormat::Journald } else { LogFormat::Text }
}

fn layer(format: LogFormat, lines: LogLines) -> Box<dyn Layer<Filtered> + Send + Sync> {
    let layer = FmtLayer::default().with_writer(move || lines.clone());
    match format {
        LogFormat::Text => layer.with_target(false).with_ansi(wants_colours()).boxed(),
        LogFormat::Json => layer.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed(),
        LogFormat::Journald => layer.with_ansi(false).event_format(WithPriority).boxed(),
    }
}

type Filtered = tracing_subscriber::layer::Layered<
    Repeats,
    tracing_subscriber::layer::Layered<reload::Layer<Targets, Registry>, Registry>,
>;

/// See <https://no-color.org>.
fn wants_colours() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// `<4>message field=value`.
struct WithPriority;

impl<S> FormatEvent<S, DefaultFields> for WithPriority
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, DefaultFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        write!(writer, "<{}>", priority(*event.metadata().level()))?;
        context.field_format().format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}

/// As syslog(3) counts them.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

fn left_out_line(format: LogFormat, count: u64) -> String {
    let message = "lines left out: too many of one kind, or stderr took none";
    match format {
        LogFormat::Text => format!("WARN {message} count={count}"),
        LogFormat::Json => serde_json::json!({"level": "WARN", "message": message, "count": count}).to_string(),
        LogFormat::Journald => format!("<4>{message} count={count}"),
    }
}

impl Write for LogLines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.put(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::sync::mpsc;

    use super::*;
    use crate::daemon::log_lines::Pipe;

    fn logged(format: LogFormat, log: impl FnOnce()) -> Vec<String> {
        let (pipe, written) = mpsc::channel();
        let left_out = Arc::new(LeftOut::default());
        let lines = LogLines::start(Pipe(pipe), Arc::clone(&left_out), move |count| left_out_line(format, count));
        let (filter, _handle) = reload::Layer::new(LogFilter::default().targets());
        let subscriber =
            Registry::default().with(filter).with(Repeats::new(left_out)).with(layer(format, lines.clone()));
        tracing::subscriber::with_default(subscriber, log);
        lines.flush();
        drop(lines);
        written.into_iter().map(|line| String::from_utf8(line).unwrap()).collect()
    }

    #[test]
    fn a_line_for_the_journal_has_its_priority_and_no_time() {
        let lines = logged(LogFormat::Journald, || {
            tracing::warn!(drive = "a", "drive state");
            tracing::error!("two\nlines");
            tracing::debug!("nobody asked");
        });
        assert_eq!(lines, ["<4>drive state drive=\"a\"\n", "<3>two / lines\n"]);
    }

    #[test]
    fn a_line_of_json_is_one_object() {
        let lines = logged(LogFormat::Json, || tracing::info!(drive = "a", "drive state"));
        let line: serde_json::Value = serde_json::from_str(lines.first().unwrap()).unwrap();
        assert_eq!(line.get("message").unwrap(), "drive state");
        assert_eq!(line.get("drive").unwrap(), "a");
        assert_eq!(line.get("level").unwrap(), "INFO");
        assert!(line.get("timestamp").is_some());
    }

    #[test]
    fn a_kind_of_line_that_comes_too_often_is_held_back_and_counted() {
        let lines = logged(LogFormat::Journald, || {
            for _ in 0..1000 {
                tracing::warn!("again");
            }
            tracing::warn!("another");
        });
        assert_eq!(lines.iter().filter(|line| line.contains("again")).count(), 60);
        // Said whenever the thread gets to it, perhaps in parts.
        let counts = lines.iter().filter_map(|line| line.trim_end().split("count=").nth(1));
        let left_out: u64 = counts.map(|count| count.parse::<u64>().unwrap()).sum();
        assert_eq!(left_out, 940, "{lines:?}");
        assert!(lines.iter().any(|line| line == "<4>another\n"));
    }
}
