//! What a check says, as it finds it: lines, or one document.

use std::io::{IsTerminal, Write};

use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use crate::ids::{DriveId, PerSide, Side};
use crate::journal::audit::Flaw;
use crate::units::one_line;

use crate::daemon::check::kind::Kind;

const OUTPUT_VERSION: u32 = 1;
/// Notes that the document has; all are said on standard error.
const NOTES_MAX: usize = 1000;
const TEMPLATE: &str = "{msg} {wide_bar} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta}";

/// How the differences are said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Lines,
    Json,
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Clean,
    Differences,
    /// Nothing was found, and not everything could be looked at.
    Unknown,
}

impl Verdict {
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Clean => 0,
            Self::Differences => 1,
            Self::Unknown => 4,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Differences => "differences",
            Self::Unknown => "unknown",
        }
    }
}

/// One thing to say: of a drive or the journal, of a path or the whole.
#[derive(Debug, Serialize)]
pub(super) struct Finding {
    #[serde(skip_serializing_if = "Option::is_none")]
    drive: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    kind: &'static str,
    message: String,
}

/// A drive, as the document lists it.
#[derive(Debug, Serialize)]
struct DriveRow {
    name: &'static str,
    id: String,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    files: u64,
    bytes: u64,
    differences: u64,
}

/// How far a check came with a drive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Coverage {
    #[default]
    Absent,
    /// It is there, and was not compared with the catalog, or not in full.
    NotCompared,
    Checked,
}

/// What was done on a drive.
#[derive(Debug, Default)]
struct Tally {
    id: Option<DriveId>,
    place: Option<String>,
    coverage: Coverage,
    files: u64,
    bytes: u64,
    differences: u64,
}

/// Says what is found, and counts it. Differences go out at once, so that any number of them takes no memory.
pub(super) struct Report<'w> {
    out: &'w mut dyn Write,
    format: Format,
    bar: ProgressBar,
    differences: u64,
    tallies: PerSide<Tally>,
    notes: Vec<Finding>,
    /// Few: one a drive, or one for all.
    obstacles: Vec<Finding>,
    /// The first failure to write.
    broken: Option<std::io::Error>,
}

impl<'w> Report<'w> {
    pub(super) fn new(out: &'w mut dyn Write, format: Format) -> Self {
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::hidden());
        if std::io::stderr().is_terminal() {
            bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
            bar.set_style(style);
        }
        let mut report = Self {
            out,
            format,
            bar,
            differences: 0,
            tallies: PerSide::default(),
            notes: Vec::new(),
            obstacles: Vec::new(),
            broken: None,
        };
        if format == Format::Json {
            report.write(&format!("{{\"output_version\":{OUTPUT_VERSION},\"differences\":["));
        }
        report
    }

    /// Something of a drive, or of the journal where there is none, that is not as it should be.
    pub(super) fn difference(&mut self, drive: Option<Side>, path: Option<&str>, kind: Kind, message: &str) {
        self.differences += 1;
        if let Some(side) = drive {
            self.tallies.get_mut(side).differences += 1;
        }
        let finding = finding(drive, path, kind, message);
        match self.format {
            Format::Lines => self.write(&format!("{}\n", line(&finding))),
            Format::Json => {
                let comma = if self.differences > 1 { "," } else { "" };
                let text = json(&finding);
                self.write(&format!("{comma}\n{text}"));
            }
        }
    }

    pub(super) fn flaw(&mut self, flaw: &Flaw) {
        self.difference(None, flaw.path(), flaw.into(), &flaw.to_string());
    }

    /// Something worth knowing that is as it may be.
    pub(super) fn note(&mut self, drive: Option<Side>, path: Option<&str>, kind: Kind, message: &str) {
        let finding = finding(drive, path, kind, message);
        self.say(&line(&finding));
        if self.notes.len() < NOTES_MAX {
            self.notes.push(finding);
        }
    }

    /// Why something could not be looked at.
    pub(super) fn obstacle(&mut self, drive: Option<Side>, kind: Kind, message: &str) {
        let finding = finding(drive, None, kind, message);
        self.say(&text(&finding));
        self.obstacles.push(finding);
    }

    pub(super) fn enrolled(&mut self, side: Side, id: DriveId) {
        self.tallies.get_mut(side).id = Some(id);
    }

    pub(super) fn covered(&mut self, side: Side, coverage: Coverage, place: &std::path::Path) {
        let tally = self.tallies.get_mut(side);
        tally.coverage = coverage;
        tally.place = Some(place.display().to_string());
    }

    /// A file was looked at.
    pub(super) fn count_file(&mut self, side: Side) {
        self.tallies.get_mut(side).files += 1;
    }

    /// Bytes were read.
    pub(super) fn count_bytes(&mut self, side: Side, bytes: u64) {
        self.tallies.get_mut(side).bytes += bytes;
        self.bar.inc(bytes);
    }

    /// Bytes that will be read on a drive.
    pub(super) fn begin(&mut self, side: Side, bytes: u64) {
        self.bar.set_position(0);
        self.bar.set_length(bytes);
        self.bar.set_message(format!("drive {side}"));
    }

    /// Ends the output; how the check went.
    pub(super) fn finish(mut self) -> std::io::Result<Verdict> {
        let verdict = match (self.differences, self.obstacles.is_empty()) {
            (0, true) => Verdict::Clean,
            (0, false) => Verdict::Unknown,
            (_, _) => Verdict::Differences,
        };
        self.bar.finish_and_clear();
        if self.format == Format::Json {
            let drives: Vec<_> = self.tallies.iter().filter_map(|(side, tally)| row(side, tally)).collect();
            let (drives, notes, unknown) = (json(&drives), json(&self.notes), json(&self.obstacles));
            let state = verdict.name();
            self.write(&format!(
                "],\n\"drives\":{drives},\n\"notes\":{notes},\n\"unknown\":{unknown},\n\"state\":\"{state}\"}}\n"
            ));
        }
        eprintln!("{}", self.closing(verdict));
        match self.broken.take() {
            Some(error) => Err(error),
            None => self.out.flush().map(|()| verdict),
        }
    }

    fn closing(&self, verdict: Verdict) -> String {
        let seen = self.tallies.iter().filter(|(_, tally)| tally.coverage == Coverage::Checked);
        let seen: Vec<_> = seen.map(|(side, _)| side.name()).collect();
        let files: u64 = self.tallies.iter().map(|(_, tally)| tally.files).sum();
        let bytes: u64 = self.tallies.iter().map(|(_, tally)| tally.bytes).sum();
        let drives = if seen.is_empty() { "no drive".to_owned() } else { seen.join(" and ") };
        let found = match (verdict, self.differences) {
            (Verdict::Clean, _) => "clean".to_owned(),
            (Verdict::Unknown, _) if seen.is_empty() => "cannot tell".to_owned(),
            (Verdict::Unknown, _) => "no differences in what is there; cannot tell of the rest".to_owned(),
            (Verdict::Differences, 1) => "1 difference".to_owned(),
            (Verdict::Differences, count) => format!("{count} differences"),
        };
        format!("checked {drives}: {files} files, {} ({bytes} bytes) read: {found}", HumanBytes(bytes))
    }

    fn say(&self, text: &str) {
        self.bar.suspend(|| eprintln!("{text}"));
    }

    fn write(&mut self, text: &str) {
        if self.broken.is_none() {
            let out = &mut self.out;
            self.broken = self.bar.suspend(|| out.write_all(text.as_bytes())).err();
        }
    }
}

fn finding(drive: Option<Side>, path: Option<&str>, kind: Kind, message: &str) -> Finding {
    let path = path.map(str::to_owned);
    Finding { drive: drive.map(Side::name), path, kind: kind.name(), message: message.to_owned() }
}

/// `b: photos/x.jpg: what is the matter`.
fn line(finding: &Finding) -> String {
    one_line(&text(finding))
}

fn text(finding: &Finding) -> String {
    let about = match finding.kind {
        kind if kind == Kind::Settings.name() => "settings",
        kind if kind == Kind::NoCopy.name() => "both drives",
        _ => "journal",
    };
    let path = finding.path.as_deref().map(|path| format!("{path}: ")).unwrap_or_default();
    format!("{}: {path}{}", finding.drive.unwrap_or(about), finding.message.trim_end())
}

fn row(side: Side, tally: &Tally) -> Option<DriveRow> {
    let state = match tally.coverage {
        Coverage::Absent => "absent",
        Coverage::NotCompared => "not-compared",
        Coverage::Checked => "checked",
    };
    let Tally { place, files, bytes, differences, .. } = tally;
    let (path, files, bytes, differences) = (place.clone(), *files, *bytes, *differences);
    let id = tally.id?.to_string();
    Some(DriveRow { name: side.name(), id, state, path, files, bytes, differences })
}

fn json<T: Serialize>(value: &T) -> String {
    #[expect(clippy::expect_used, reason = "plain structs of texts and numbers always serialize")]
    let text = serde_json::to_string(value).expect("a plain document");
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

    use super::*;

    fn said(format: Format, say: impl FnOnce(&mut Report<'_>)) -> (String, Verdict) {
        let mut out = Vec::new();
        let mut report = Report::new(&mut out, format);
        say(&mut report);
        let verdict = report.finish().unwrap();
        (String::from_utf8(out).unwrap(), verdict)
    }

    #[test]
    fn a_difference_outweighs_what_could_not_be_looked_at() {
        let (text, verdict) = said(Format::Lines, |report| {
            report.obstacle(Some(Side::B), Kind::Absent, "it is not there");
            report.difference(Some(Side::A), Some("x\ny"), Kind::Extra, "nobody knows it");
        });
        assert_eq!((text.as_str(), verdict), ("a: x\\ny: nobody knows it\n", Verdict::Differences));
        let (_, verdict) = said(Format::Lines, |report| report.obstacle(None, Kind::InUse, "it runs"));
        assert_eq!(verdict, Verdict::Unknown);
        let (_, verdict) = said(Format::Lines, |report| report.note(None, None, Kind::Aside, "3 things"));
        assert_eq!(verdict, Verdict::Clean);
    }

    #[test]
    fn the_document_is_whole_whatever_was_found() {
        for count in 0..3 {
            let (text, verdict) = said(Format::Json, |report| {
                report.enrolled(Side::A, DriveId([1; 16]));
                for _ in 0..count {
                    report.difference(Some(Side::A), None, Kind::LabelTorn, "\"quoted\"");
                }
            });
            let document: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert!(text.starts_with("{\"output_version\":1,"));
            assert_eq!(document["state"], verdict.name());
            assert_eq!(document["differences"].as_array().unwrap().len(), count);
            assert_eq!(document["drives"][0]["differences"], count);
        }
    }
}
