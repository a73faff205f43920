//! `fget status`.

use std::io::{IsTerminal, Write};

use crate::client::cli::args::Status;
use crate::client::cli::exit::{CommandError, Exit};
use crate::client::cli::render;
use crate::client::error::ClientError;
use crate::client::limits::WATCH_PAUSE;
use crate::client::requests::Client;
use crate::wire::StatusDocument;

pub(crate) async fn status(client: &mut Client, args: &Status) -> Result<Exit, CommandError> {
    if args.watch {
        return watch(client, args).await;
    }
    let asked = if args.wait { client.status_in_sync().await } else { client.status().await };
    let body = match asked {
        Err(error) if args.check => return Err(CommandError::CannotTell(error)),
        other => other?,
    };
    let document: StatusDocument = serde_json::from_slice(&body)?;
    print(&picture(client, args, &body, &document))?;
    Ok(if args.check { Exit::Check(Some(document.state)) } else { Exit::Done })
}

/// Shows it again and again; a daemon that restarts is waited for.
async fn watch(client: &mut Client, args: &Status) -> Result<Exit, CommandError> {
    let clear = if std::io::stdout().is_terminal() && !args.json { "\u{1b}[H\u{1b}[2J" } else { "" };
    let mut first = true;
    loop {
        let text = match client.status().await {
            Ok(body) => picture(client, args, &body, &serde_json::from_slice(&body)?),
            Err(error) if first => return Err(error.into()),
            Err(error @ (ClientError::Unreachable { .. } | ClientError::Lost { .. })) if !args.json => {
                format!("  mirror: {}\n   state: unknown\n  status: {error}\n", client.address())
            }
            Err(error) => return Err(error.into()),
        };
        let gap = if first || args.json || !clear.is_empty() { "" } else { "\n" };
        print(&format!("{clear}{gap}{text}"))?;
        first = false;
        tokio::time::sleep(WATCH_PAUSE).await;
    }
}

fn picture(client: &Client, args: &Status, body: &[u8], document: &StatusDocument) -> String {
    if args.json {
        // As the server wrote it, so that keys that this version does not know are there too.
        return format!("{}\n", String::from_utf8_lossy(body));
    }
    if args.problems {
        render::problems(document, client.address())
    } else if args.check {
        render::verdict(document)
    } else {
        render::status(document, client.address())
    }
}

pub(crate) fn print(text: &str) -> Result<(), CommandError> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    Ok(stdout.flush()?)
}
