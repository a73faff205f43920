//! `fget undo` and `fget trash`.

use std::fmt::Write as _;

use serde::Serialize;

use crate::client::cli::args::{Trash, Undo};
use crate::client::cli::exit::CommandError;
use crate::client::cli::health::print;
use crate::client::cli::progress::Remarks;
use crate::client::requests::Client;
use crate::ids::Lsn;
use crate::units;
use crate::wire::{Kind, OUTPUT_VERSION, Time, TrashLine, Why};

/// What empties the trash.
const EMPTY: &str = "empty";

#[derive(Serialize)]
struct TrashListing<'a> {
    output_version: u32,
    path: &'a str,
    entries: &'a [TrashLine],
}

pub(crate) async fn undo(client: &mut Client, args: &Undo, remarks: Remarks) -> Result<(), CommandError> {
    let restored = client.undo(&args.remote, args.lsn.map(Lsn)).await?.restored;
    if restored > 1 {
        remark(remarks, &format!("{} brought back", units::count(restored, "thing")));
    }
    Ok(())
}

pub(crate) async fn trash(client: &mut Client, args: &Trash, remarks: Remarks) -> Result<(), CommandError> {
    if args.what == EMPTY {
        let emptied = client.empty_trash().await?;
        let (things, bytes) = (units::count(emptied.items, "thing"), units::bytes(emptied.bytes));
        remark(remarks, &format!("{things} let go of, {bytes} on each drive"));
        return Ok(());
    }
    let entries = client.trash(&args.what).await?;
    print(&if args.json {
        let listing = TrashListing { output_version: OUTPUT_VERSION, path: &args.what, entries: &entries };
        serde_json::to_string(&listing)? + "\n"
    } else if args.long {
        long(&entries)
    } else {
        entries.iter().map(|entry| shown(entry) + "\n").collect()
    })
}

fn remark(remarks: Remarks, text: &str) {
    match remarks {
        Remarks::Shown => eprintln!("fget: {text}"),
        Remarks::Quiet => {}
    }
}

/// Size, when, why, number and path in columns.
fn long(entries: &[TrashLine]) -> String {
    let size = |entry: &TrashLine| match entry.kind {
        Kind::File => entry.size.to_string(),
        Kind::Folder => "-".to_owned(),
    };
    let width = entries.iter().map(|entry| size(entry).len()).max().unwrap_or(0);
    let digits = entries.iter().map(|entry| entry.lsn.to_string().len()).max().unwrap_or(0);
    let mut text = String::new();
    for entry in entries {
        let when = Time(entry.when.0 - entry.when.0.rem_euclid(1_000_000_000)).to_string();
        let why = match entry.why {
            Why::Removed => "removed",
            Why::Overwritten => "overwritten",
        };
        let (size, lsn) = (size(entry), entry.lsn.to_string());
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{size:>width$}  {when:<20}  {why:<11}  {lsn:>digits$}  {}", shown(entry));
    }
    text
}

fn shown(entry: &TrashLine) -> String {
    match entry.kind {
        Kind::File => entry.path.clone(),
        Kind::Folder => format!("{}/", entry.path),
    }
}
