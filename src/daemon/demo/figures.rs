//! What `status --json` says, as far as the story needs it.

use serde_json::Value;

use crate::daemon::demo::error::DemoError;
use crate::daemon::demo::process::{client_command, finish};
use crate::ids::Side;

/// What a returned drive's lane had to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Replay {
    pub(super) copied_files: u64,
    pub(super) copied_bytes: u64,
    pub(super) moved: u64,
    pub(super) removed: u64,
    pub(super) made_folders: u64,
}

pub(super) fn status(address: &str) -> Result<Value, DemoError> {
    let output = finish(client_command(address)?.args(["status", "--json"]))?;
    serde_json::from_slice(&output.stdout).map_err(|_| DemoError::NoFigure("JSON in it"))
}

/// The drive's state by its stable name, such as `in-sync`.
pub(super) fn state(status: &Value, side: Side) -> Result<String, DemoError> {
    drive(status, side)?.get("state").and_then(Value::as_str).map(str::to_owned).ok_or(DemoError::NoFigure("state"))
}

pub(super) fn replay(status: &Value, side: Side) -> Result<Replay, DemoError> {
    let replay = drive(status, side)?.get("replay").ok_or(DemoError::NoFigure("replay"))?;
    let figure = |name: &'static str| replay.get(name).and_then(Value::as_u64).ok_or(DemoError::NoFigure(name));
    Ok(Replay {
        copied_files: figure("copied_files")?,
        copied_bytes: figure("copied_bytes")?,
        moved: figure("moved")?,
        removed: figure("removed")?,
        made_folders: figure("made_folders")?,
    })
}

fn drive(status: &Value, side: Side) -> Result<&Value, DemoError> {
    let drives = status.get("drives").and_then(Value::as_array).ok_or(DemoError::NoFigure("drives"))?;
    drives
        .iter()
        .find(|drive| drive.get("name").and_then(Value::as_str) == Some(side.name()))
        .ok_or(DemoError::NoFigure("drive of that name"))
}

/// Bytes for people, in the units of `ls -h`.
pub(super) fn human(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{} KiB", bytes >> 10),
        _ => format!("{} MiB", bytes >> 20),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_drive_is_found_by_its_name() {
        let status = serde_json::json!({"drives": [
            {"name": "a", "state": "in-sync"},
            {"name": "b", "state": "absent", "replay": {
                "copied_files": 1, "copied_bytes": 2, "moved": 3, "removed": 4, "made_folders": 5, "later": true}},
        ]});
        assert_eq!(state(&status, Side::B).unwrap(), "absent");
        let expected = Replay { copied_files: 1, copied_bytes: 2, moved: 3, removed: 4, made_folders: 5 };
        assert_eq!(replay(&status, Side::B).unwrap(), expected);
        assert!(matches!(replay(&status, Side::A), Err(DemoError::NoFigure("replay"))));
    }

    #[test]
    fn bytes_are_told_in_the_unit_that_fits() {
        assert_eq!([human(0), human(1024), human(5 << 20)], ["0 B", "1 KiB", "5 MiB"]);
    }
}
