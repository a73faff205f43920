//! `fget ls` and `fget info` for people and for scripts.

use std::fmt::Write as _;

use serde::Serialize;

use crate::digest::Crc32;
use crate::ids::Lsn;
use crate::units;
use crate::wire::{
    CopyState, EntryLine, InfoAnswer, InfoCopy, Kind, OUTPUT_VERSION, ShareLine, SharedWith, Time, UsageAnswer,
};

#[derive(Serialize)]
struct ListDocument<'a> {
    output_version: u32,
    path: &'a str,
    entries: &'a [EntryLine],
}

#[derive(Serialize)]
struct UsageDocument<'a> {
    output_version: u32,
    user: &'a str,
    files: u64,
    bytes: u64,
    /// Bytes; null where there is none.
    limit: Option<u64>,
    free: Option<u64>,
}

#[derive(Serialize)]
struct InfoDocument<'a> {
    output_version: u32,
    path: &'a str,
    kind: Kind,
    size: u64,
    modified: Time,
    crc32: Option<String>,
    owner: &'a str,
    version: Lsn,
    executable: bool,
    drives: &'a [InfoCopy],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    shared: &'a [SharedWith],
}

pub(crate) fn list_json(path: &str, entries: &[EntryLine]) -> serde_json::Result<String> {
    let document = ListDocument { output_version: OUTPUT_VERSION, path, entries };
    Ok(serde_json::to_string(&document)? + "\n")
}

/// Names alone, one a line; folders end in `/`.
pub(crate) fn names(entries: &[EntryLine]) -> String {
    entries.iter().flat_map(|entry| [shown(entry), "\n".to_owned()]).collect()
}

/// Size, time, CRC-32 and name in columns.
pub(crate) fn long(entries: &[EntryLine]) -> String {
    let size = |entry: &EntryLine| match entry.kind {
        Kind::File => entry.size.to_string(),
        Kind::Folder => "-".to_owned(),
    };
    let width = entries.iter().map(|entry| size(entry).len()).max().unwrap_or(0);
    let mut text = String::new();
    for entry in entries {
        let modified = entry.modified.map_or_else(|| "-".to_owned(), |time| to_the_second(time).to_string());
        let crc = entry.crc32.map_or_else(|| "-".to_owned(), |crc: Crc32| crc.to_string());
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{:>width$}  {modified:<20}  {crc:<8}  {}", size(entry), shown(entry));
    }
    text
}

fn shown(entry: &EntryLine) -> String {
    match entry.kind {
        Kind::File => entry.name.clone(),
        Kind::Folder => format!("{}/", entry.name),
    }
}

pub(crate) fn to_the_second(time: Time) -> Time {
    Time(time.0 - time.0.rem_euclid(1_000_000_000))
}

pub(crate) fn info_json(info: &InfoAnswer) -> serde_json::Result<String> {
    let document = InfoDocument {
        output_version: OUTPUT_VERSION,
        path: &info.path,
        kind: info.kind,
        size: info.size,
        modified: info.modified,
        crc32: info.crc32.map(|crc| crc.to_string()),
        owner: &info.owner,
        version: info.lsn,
        executable: info.executable,
        drives: &info.drives,
        shared: &info.shared,
    };
    Ok(serde_json::to_string(&document)? + "\n")
}

pub(crate) fn info_text(info: &InfoAnswer) -> String {
    let kind = match (info.kind, info.executable) {
        (Kind::File, false) => "file",
        (Kind::File, true) => "file, executable",
        (Kind::Folder, _) => "folder",
    };
    let path = if info.path.is_empty() { "/" } else { &info.path };
    let mut text = format!("     path: {path}\n     kind: {kind}\n");
    if info.kind == Kind::File {
        let exact = if info.size < 1024 { String::new() } else { format!(" ({} bytes)", info.size) };
        let _ = writeln!(text, "     size: {}{exact}", units::bytes(info.size));
    }
    let _ = writeln!(text, " modified: {}", info.modified);
    if let Some(crc) = info.crc32 {
        let _ = writeln!(text, "   crc-32: {crc}");
    }
    if !info.owner.is_empty() {
        let _ = writeln!(text, "    owner: {}", info.owner);
    }
    for SharedWith { user, write } in &info.shared {
        let _ = writeln!(text, "   shared: {}", grant(user, *write));
    }
    let _ = writeln!(text, "  version: {}", info.lsn);
    for drive in &info.drives {
        let _ = writeln!(text, "  drive {}: {}", drive.name, copy_text(drive));
    }
    text
}

pub(crate) fn usage_json(usage: &UsageAnswer) -> serde_json::Result<String> {
    let UsageAnswer { ok: _, user, files, bytes, limit, free } = usage;
    let document = UsageDocument {
        output_version: OUTPUT_VERSION,
        user,
        files: *files,
        bytes: *bytes,
        limit: *limit,
        free: *free,
    };
    Ok(serde_json::to_string(&document)? + "\n")
}

pub(crate) fn usage_text(usage: &UsageAnswer) -> String {
    let used = units::bytes(usage.bytes);
    let mut text = format!("     user: {}\n    files: {}\n     used: {used}\n", usage.user, usage.files);
    let figure = |figure: Option<u64>| figure.map_or_else(|| "none".to_owned(), units::bytes);
    let _ = writeln!(text, "    limit: {}", figure(usage.limit));
    if usage.free.is_some() {
        let _ = writeln!(text, "     free: {}", figure(usage.free));
    }
    text
}

/// A line for each share.
pub(crate) fn shares(shares: &[ShareLine]) -> String {
    let line = |share: &ShareLine| format!("/{}  {}\n", share.path, grant(&share.user, share.write));
    shares.iter().map(line).collect()
}

fn grant(user: &str, write: bool) -> String {
    format!("{user} may {}", if write { "change it" } else { "read it" })
}

fn copy_text(drive: &InfoCopy) -> String {
    let copy = match drive.copy {
        CopyState::Installed => "has it",
        CopyState::Staged => "has it, not yet under its name",
        CopyState::Missing => "lacks this version",
    };
    let presence = if drive.present { "" } else { ", absent" };
    let durable = if drive.durable { ", durable" } else { "" };
    let verified = drive.last_verified.map(|time| format!(", verified {}", to_the_second(time))).unwrap_or_default();
    let repaired = match drive.repaired {
        0 => String::new(),
        times => format!(", repaired {}", units::count(times, "time")),
    };
    format!("{copy}{durable}{verified}{repaired}{presence}")
}
