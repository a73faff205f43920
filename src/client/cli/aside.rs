//! `fget aside`.

use serde::Serialize;

use crate::client::cli::args::{Aside, Shelf};
use crate::client::cli::exit::CommandError;
use crate::client::cli::health::print;
use crate::client::requests::Client;
use crate::units::{bytes, count};
use crate::wire::{AsideLine, OUTPUT_VERSION};

#[derive(Serialize)]
struct Document<'a> {
    output_version: u32,
    items: &'a [AsideLine],
}

pub(crate) async fn aside(client: &mut Client, args: &Aside) -> Result<(), CommandError> {
    if let Some(Shelf::Drop { items }) = &args.action {
        for item in items {
            let (drive, item) = item.split_once(':').unwrap_or(("", item));
            client.drop_aside(drive, item).await?;
        }
        return Ok(());
    }
    let items = client.aside().await?;
    if args.json {
        let document = Document { output_version: OUTPUT_VERSION, items: &items };
        return print(&(serde_json::to_string(&document)? + "\n"));
    }
    print(&items.iter().map(|item| shown(item) + "\n").collect::<String>())
}

fn shown(line: &AsideLine) -> String {
    let AsideLine { drive, item, path, cause, replaced, day, files, size, .. } = line;
    let whole = if *replaced { ", replaced" } else { "" };
    let day = day.as_deref().unwrap_or("-");
    let files = if *files == 1 { String::new() } else { format!("{}, ", count(*files, "file")) };
    format!("{drive}:{item}  {cause}{whole}  {day}  {path} ({files}{})", bytes(*size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_what_drop_takes_and_all_that_is_known() {
        let line = AsideLine {
            drive: "b".to_owned(),
            item: "12.3".to_owned(),
            path: "docs/notes.txt".to_owned(),
            cause: "damaged".to_owned(),
            replaced: true,
            day: Some("2026-11-21".to_owned()),
            lsn: None,
            files: 1,
            size: 2048,
        };
        assert_eq!(shown(&line), "b:12.3  damaged, replaced  2026-11-21  docs/notes.txt (2.0 KiB)");
        let line = AsideLine { day: None, cause: "unknown".to_owned(), replaced: false, files: 3, ..line };
        assert_eq!(shown(&line), "b:12.3  unknown  -  docs/notes.txt (3 files, 2.0 KiB)");
    }
}
