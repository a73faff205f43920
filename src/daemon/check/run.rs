//! A check from its locks to its verdict.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use crate::config::{Config, Overrides};
use crate::ids::{PerSide, Side};
use crate::journal::audit::{Audit, AuditError, Scratch, ScratchError};
use crate::journal::sled_store;
use crate::journal::store::StoreError;
use crate::mirror::Mirror;

use crate::daemon::check::drive;
use crate::daemon::check::find;
use crate::daemon::check::kind::Kind;
use crate::daemon::check::lost;
use crate::daemon::check::report::{Format, Report, Verdict};
use crate::daemon::state_lock::{StateLock, StateLockError};
use crate::daemon::vigil::Vigil;

/// The copy of the journal that is looked into, in the state directory.
const SCRATCH_FOLDER: &str = "journal.check";

/// Checks a mirror whose daemon does not run; says what it finds on `out`.
pub fn check(overrides: &Overrides, format: Format, out: &mut dyn Write) -> std::io::Result<Verdict> {
    let mut report = Report::new(out, format);
    match Config::load(overrides) {
        Ok(config) => look(&config, &mut report),
        Err(error) => report.obstacle(None, Kind::Settings, &error.to_string()),
    }
    report.finish()
}

fn look(config: &Config, report: &mut Report<'_>) {
    let state = config.state.as_path();
    if !Mirror::exists(state) {
        let text =
            format!("{} has no journal: nothing is enrolled there; give the right one with --state", state.display());
        report.obstacle(None, Kind::NoJournal, &text);
        return;
    }
    let _lock = match StateLock::take(state, "check") {
        Ok(lock) => lock,
        Err(error) => {
            let kind = match error {
                StateLockError::Held { .. } => Kind::InUse,
                StateLockError::InitCutShort(_) => Kind::NoJournal,
                StateLockError::Io { .. } => Kind::Unreadable,
            };
            report.obstacle(None, kind, &error.to_string());
            return;
        }
    };
    let scratch = match Scratch::copy(&Mirror::journal_folder(state), &state.join(SCRATCH_FOLDER)) {
        Ok(scratch) => scratch,
        Err(error) => {
            let kind = match error {
                ScratchError::InUse(_) => Kind::InUse,
                ScratchError::NoRoom { .. } => Kind::NoRoom,
                ScratchError::Io { .. } => Kind::Unreadable,
            };
            report.obstacle(None, kind, &error.to_string());
            return;
        }
    };
    sled_store::mute_panics();
    let Some(audit) = audit(&scratch, state, report) else { return };
    for side in Side::BOTH {
        report.enrolled(side, audit.enrolment().drives.get(side).id);
    }
    let vigil = match Vigil::begin(config.stall_after, Verdict::Unknown.exit_code()) {
        Ok(vigil) => vigil,
        Err(error) => {
            report.obstacle(None, Kind::Unreadable, &format!("no thread can be started: {error}"));
            return;
        }
    };
    let drives = find::locate(audit.enrolment(), &config.places, &vigil, report);
    let mut seen = PerSide::default();
    for side in Side::BOTH {
        *seen.get_mut(side) = drive::check(&audit, &drives, side, report);
    }
    if let Err(error) = lost::check(&audit, &seen, report) {
        report.obstacle(None, Kind::Unreadable, &error.to_string());
    }
}

/// Opens and looks through the copy; nothing where too little of it can be read.
fn audit(scratch: &Scratch, state: &Path, report: &mut Report<'_>) -> Option<Audit> {
    if let Err(error) = scratch.check_file(&mut |flaw| report.flaw(&flaw)) {
        report.obstacle(None, Kind::Unreadable, &error.to_string());
        return None;
    }
    let opened = scratch.open().map_err(AuditError::from);
    let audited = opened.and_then(|store| Audit::open(Arc::new(store), &mut |flaw| report.flaw(&flaw)));
    match audited {
        Ok(Some(audit)) => return Some(audit),
        Ok(None) => {
            let text =
                "too little of the journal can be read to say what should be on the drives: they were not compared";
            report.note(None, None, Kind::NotCompared, text);
        }
        Err(AuditError::Store(StoreError::Corrupt(why))) => {
            let text = format!(
                "{} is damaged, its store says: {why}. The files on both drives are whole files; keep the directory, \
                 and put back a copy of it only if nothing was stored since",
                Mirror::journal_folder(state).display()
            );
            report.difference(None, None, Kind::JournalDamaged, &text);
        }
        Err(error @ AuditError::NewerFormat { .. }) => report.obstacle(None, Kind::NewerFormat, &error.to_string()),
        Err(error @ AuditError::Store(StoreError::NoSpace)) => report.obstacle(None, Kind::NoRoom, &error.to_string()),
        Err(error @ AuditError::Store(StoreError::Io(_) | StoreError::Unreadable(_) | StoreError::Dead)) => {
            report.obstacle(None, Kind::Unreadable, &error.to_string());
        }
    }
    None
}
