//! `fget log`: the audit log, a line a request.

use std::io::Write as _;
use std::ops::ControlFlow;

use crate::client::cli::args::Log;
use crate::client::cli::exit::CommandError;
use crate::client::cli::lines::clock_time;
use crate::client::requests::Client;
use crate::units::{bytes, one_line};
use crate::wire::{AuditLine, LogLine, LogRequest, MissingLines};

/// What is shown of the past where the future is asked for, as in `journalctl`.
const BEFORE_FOLLOWING: u64 = 10;

pub(crate) async fn log(client: &mut Client, args: Log) -> Result<(), CommandError> {
    let Log { follow, user, path, since, count, json } = args;
    let count = count.or(follow.then_some(BEFORE_FOLLOWING));
    let wanted = LogRequest { follow, user, path, since, count };
    // Whole lines, each at once: it may be followed.
    let mut out = std::io::stdout();
    let mut written = Ok(());
    client
        .log(&wanted, |line| {
            let text = if json { line.to_vec() } else { shown(&serde_json::from_slice(line)?).into_bytes() };
            written = out.write_all(&text);
            Ok(if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        })
        .await?;
    written?;
    Ok(out.flush()?)
}

fn shown(line: &LogLine) -> String {
    let text = match line {
        LogLine::Request(line) => request(line),
        LogLine::Missing(missing) => gap(missing),
    };
    one_line(&text) + "\n"
}

fn request(line: &AuditLine) -> String {
    let AuditLine { time, user, address, command, path, to, detail, lsn, drives, outcome, message, .. } = line;
    let mut what = command.clone();
    what += &path.as_ref().map(|path| format!(" /{}", path.trim_start_matches('/'))).unwrap_or_default();
    what += &to.as_ref().map(|to| format!(" -> /{}", to.trim_start_matches('/'))).unwrap_or_default();
    what += &detail.as_ref().map(|detail| format!(" ({detail})")).unwrap_or_default();
    let mut parts = vec![clock_time(*time), user.clone().unwrap_or_else(|| "-".to_owned()), address.clone(), what];
    parts.extend((line.bytes > 0).then(|| bytes(line.bytes)));
    parts.extend(lsn.map(|lsn| format!("version {lsn}")));
    parts.extend((!drives.is_empty()).then(|| format!("on {}", drives.join(", "))));
    parts.push(format!("{}.{:03} ms", line.microseconds / 1000, line.microseconds % 1000));
    parts.push(message.as_ref().map_or_else(|| outcome.clone(), |message| format!("{outcome}: {message}")));
    parts.join("  ")
}

fn gap(missing: &MissingLines) -> String {
    let MissingLines { time, lines, from, until, message, .. } = missing;
    let count = lines.map_or_else(|| "lines".to_owned(), |lines| crate::units::count(lines, "line"));
    let span = from.zip(*until).map(|(from, until)| format!(" of {} to {}", clock_time(from), clock_time(until)));
    format!("{}  -  {count}{} missing: {message}", clock_time(*time), span.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Lsn;
    use crate::wire::{Missing, Time};

    #[test]
    fn a_request_takes_one_line_whatever_its_names_are() {
        let line = AuditLine {
            time: Time(1_500_000_000),
            user: Some("anna".to_owned()),
            address: "10.0.0.7:4711".to_owned(),
            command: "mv".to_owned(),
            path: Some("anna/a\nb".to_owned()),
            to: Some("anna/c".to_owned()),
            bytes: 2048,
            lsn: Some(Lsn(17)),
            drives: vec!["a".to_owned(), "b".to_owned()],
            microseconds: 1_234,
            outcome: "ok".to_owned(),
            ..AuditLine::default()
        };
        assert_eq!(
            shown(&LogLine::Request(Box::new(line))),
            "1970-01-01 00:00:01.5Z  anna  10.0.0.7:4711  mv /anna/a\\nb -> /anna/c  2.0 KiB  version 17  on a, b  \
             1.234 ms  ok\n"
        );
    }

    #[test]
    fn what_is_missing_is_said() {
        let line = MissingLines {
            time: Time(2_000_000_000),
            missing: Missing::Dropped,
            lines: Some(3),
            from: Some(Time(0)),
            until: Some(Time(1_000_000_000)),
            message: "no room".to_owned(),
        };
        assert_eq!(
            shown(&LogLine::Missing(line)),
            "1970-01-01 00:00:02Z  -  3 lines of 1970-01-01 00:00:00Z to 1970-01-01 00:00:01Z missing: no room\n"
        );
    }
}
