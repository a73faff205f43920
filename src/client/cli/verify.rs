//! `fget verify`: both drives against the catalog, in the symbols of `rclone check --combined`.

use std::io::Write;

use crate::client::cli::args::Verify;
use crate::client::cli::exit::{CommandError, Exit};
use crate::client::cli::progress::Progress;
use crate::client::requests::Client;
use crate::units::{bytes, count, one_line};
use crate::wire::{VerifiedLine, VerifyFinding};

/// What was counted.
#[derive(Default)]
struct Tally {
    same: u64,
    differences: u64,
    errors: u64,
    bytes: u64,
}

pub(crate) async fn verify(client: &mut Client, args: &Verify, progress: &Progress) -> Result<Exit, CommandError> {
    let mut tally = Tally::default();
    let mut out = std::io::stdout().lock();
    let mut written = Ok(());
    client
        .verify(args.quick, |line| {
            tally.count(&line);
            if let Some(text) = shown(&line, args.combined).filter(|_| written.is_ok()) {
                written = writeln!(out, "{text}");
            }
        })
        .await?;
    written?;
    out.flush()?;
    let read = if args.quick { String::new() } else { format!(", {} read", bytes(tally.bytes)) };
    let troubles = tally.differences + tally.errors;
    let errors = if tally.errors == 0 { String::new() } else { format!(", {}", count(tally.errors, "error")) };
    progress.say(&format!(
        "{}{errors}, {} alike{read}",
        count(tally.differences, "difference"),
        count(tally.same, "file")
    ));
    Ok(if troubles == 0 { Exit::Done } else { Exit::Other })
}

impl Tally {
    fn count(&mut self, line: &VerifiedLine) {
        match line.found {
            Some(VerifyFinding::Same) => self.same += 1,
            Some(VerifyFinding::Missing | VerifyFinding::Extra | VerifyFinding::Differs) => self.differences += 1,
            Some(VerifyFinding::Error) => self.errors += 1,
            None => {}
        }
        self.bytes = line.bytes.unwrap_or(self.bytes);
    }
}

/// A line as it is printed: the symbol, and where it is not about both drives the drive before the path.
fn shown(line: &VerifiedLine, combined: bool) -> Option<String> {
    let symbol = match line.found? {
        VerifyFinding::Same if !combined => return None,
        VerifyFinding::Same => '=',
        VerifyFinding::Missing => '+',
        VerifyFinding::Extra => '-',
        VerifyFinding::Differs => '*',
        VerifyFinding::Error => '!',
    };
    let drive = line.drive.as_ref().map(|drive| format!("{drive}:")).unwrap_or_default();
    let why = line.message.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
    Some(one_line(&format!("{symbol} {drive}{}{why}", line.path.as_deref().unwrap_or_default())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(found: VerifyFinding, drive: Option<&str>) -> VerifiedLine {
        let drive = drive.map(str::to_owned);
        VerifiedLine { path: Some("a/b".to_owned()), drive, found: Some(found), ..VerifiedLine::default() }
    }

    #[test]
    fn lines_are_those_of_rclone_with_the_drive_before_the_path() {
        let shown = |found, drive| shown(&line(found, drive), true);
        assert_eq!(shown(VerifyFinding::Same, None).as_deref(), Some("= a/b"));
        assert_eq!(shown(VerifyFinding::Missing, Some("b")).as_deref(), Some("+ b:a/b"));
        assert_eq!(shown(VerifyFinding::Extra, Some("b")).as_deref(), Some("- b:a/b"));
        assert_eq!(shown(VerifyFinding::Differs, Some("a")).as_deref(), Some("* a:a/b"));
        assert_eq!(shown(VerifyFinding::Error, Some("a")).as_deref(), Some("! a:a/b"));
    }

    #[test]
    fn any_name_takes_one_line() {
        let path = Some("a\nb\u{1b}[2J".to_owned());
        let line = VerifiedLine { path, ..line(VerifyFinding::Extra, Some("a")) };
        assert_eq!(shown(&line, false).as_deref(), Some("- a:a\\nb\\u{1b}[2J"));
    }

    #[test]
    fn without_being_asked_for_all_only_differences_are_shown() {
        assert_eq!(shown(&line(VerifyFinding::Same, None), false), None);
        assert!(shown(&line(VerifyFinding::Differs, Some("a")), false).is_some());
        assert_eq!(shown(&VerifiedLine { files: Some(3), ..VerifiedLine::default() }, true), None);
    }
}
