//! `fget status`.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::timeout;

use crate::client::cli::args::{Eject, Status};
use crate::client::cli::exit::{CommandError, Exit};
use crate::client::cli::progress::Remarks;
use crate::client::cli::render;
use crate::client::error::ClientError;
use crate::client::limits::{CHECK_TIMEOUT, WATCH_PAUSE};
use crate::client::requests::Client;
use crate::wire::{HealthState, StatusDocument};

/// The mirror as the server wrote it down, so that keys that this version does not know are there too.
struct Picture {
    body: Vec<u8>,
    document: StatusDocument,
}

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waited {
    InSync,
    GaveUp(Duration),
}

pub(crate) async fn status(client: &mut Client, args: &Status, remarks: Remarks) -> Result<Exit, CommandError> {
    match (args.watch, args.check) {
        (true, _) => watch(client, args, remarks).await,
        (false, true) => check(client, args, remarks).await,
        (false, false) => show(client, args, remarks).await,
    }
}

async fn show(client: &mut Client, args: &Status, remarks: Remarks) -> Result<Exit, CommandError> {
    let (picture, waited) = ask(client, args, args.timeout, remarks).await?;
    if let Waited::GaveUp(after) = waited {
        return Err(CommandError::NotInSync { after, state: render::waiting_for(&picture.document) });
    }
    if args.wait
        && let Some(lost) = render::lost(&picture.document)
    {
        return Err(CommandError::NotWhole(lost));
    }
    if !args.wait || args.json || args.problems {
        print(&text(client, args, &picture, remarks))?;
    }
    Ok(Exit::Done)
}

/// For a monitor: one line and an exit code, also where nobody answers.
async fn check(client: &mut Client, args: &Status, remarks: Remarks) -> Result<Exit, CommandError> {
    let limit = args.timeout.or((!args.wait).then_some(CHECK_TIMEOUT));
    let (picture, waited) = match ask(client, args, limit, remarks).await {
        Ok(asked) => asked,
        Err(CommandError::Output(error)) => return Err(error.into()),
        Err(error) => {
            let error = CommandError::CannotTell(error.to_string().replace('\n', " "));
            if args.json {
                return Err(error);
            }
            print(&format!("{error}\n"))?;
            return Ok(error.exit());
        }
    };
    print(&text(client, args, &picture, remarks))?;
    let state = match (waited, picture.document.state) {
        // All drives are there, and yet something is not on both.
        (Waited::GaveUp(_), HealthState::Healthy) => HealthState::Degraded,
        (Waited::InSync | Waited::GaveUp(_), state) => state,
    };
    Ok(Exit::Check(Some(state)))
}

/// Asks once, or waits as it was told to. What did not come to an end within the limit is asked for as it is.
async fn ask(
    client: &mut Client,
    args: &Status,
    limit: Option<Duration>,
    remarks: Remarks,
) -> Result<(Picture, Waited), CommandError> {
    if !args.wait {
        return Ok((now(client, limit).await?, Waited::InSync));
    }
    let beside = client.another();
    let waited = {
        let wait = within(limit, client.status_in_sync());
        tokio::select! {
            waited = wait => waited,
            () = tell_progress(beside, remarks) => None,
        }
    };
    match (waited, limit) {
        (Some(body), _) => Ok((picture(body?)?, Waited::InSync)),
        // The connection that waits still does.
        (None, after) => {
            client.hang_up();
            let picture = now(client, Some(CHECK_TIMEOUT)).await?;
            Ok((picture, Waited::GaveUp(after.unwrap_or_default())))
        }
    }
}

async fn now(client: &mut Client, limit: Option<Duration>) -> Result<Picture, CommandError> {
    let Some(body) = within(limit, client.status()).await else {
        let address = client.address().to_owned();
        return Err(CommandError::NoAnswer { address, after: limit.unwrap_or_default() });
    };
    picture(body?)
}

async fn within<T>(limit: Option<Duration>, work: impl Future<Output = T>) -> Option<T> {
    match limit {
        Some(limit) => timeout(limit, work).await.ok(),
        None => Some(work.await),
    }
}

fn picture(body: Vec<u8>) -> Result<Picture, CommandError> {
    let document = serde_json::from_slice(&body)?;
    Ok(Picture { body, document })
}

/// Lets go of a drive, with a word on a terminal of what is waited for.
pub(crate) async fn eject(client: &mut Client, args: &Eject, remarks: Remarks) -> Result<(), CommandError> {
    let beside = client.another();
    let ejected = tokio::select! {
        ejected = client.eject(&args.drive, args.wait, args.force) => ejected?,
        () = tell_progress(beside, remarks) => return Ok(()),
    };
    print(&format!("{}\n", ejected.message))
}

/// Says on a terminal what is waited for. Never ends.
async fn tell_progress(mut client: Client, remarks: Remarks) {
    if remarks == Remarks::Quiet || !std::io::stderr().is_terminal() {
        return std::future::pending().await;
    }
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
        bar.set_style(style);
    }
    let _clear = Clear(bar.clone());
    loop {
        // Whoever waits has a connection by then: there may be one for this user and no more.
        tokio::time::sleep(WATCH_PAUSE).await;
        // A daemon that is gone for the moment is for those to judge who wait.
        if let Ok(picture) = now(&mut client, Some(CHECK_TIMEOUT)).await {
            bar.set_message(render::waiting_for(&picture.document));
            bar.tick();
        }
    }
}

/// Clears the line when the wait ends, however it does.
struct Clear(ProgressBar);

impl Drop for Clear {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// Shows it again and again; a daemon that restarts is waited for.
async fn watch(client: &mut Client, args: &Status, remarks: Remarks) -> Result<Exit, CommandError> {
    let in_place = std::io::stdout().is_terminal() && !args.json;
    let mut first = true;
    loop {
        let block = match client.status().await {
            Ok(body) => text(client, args, &picture(body)?, remarks),
            Err(error) if first => return Err(error.into()),
            Err(error @ (ClientError::Unreachable { .. } | ClientError::Lost { .. })) if !args.json => {
                format!("  mirror: {}\n   state: unknown\n  status: {error}\n", client.address())
            }
            Err(error) => return Err(error.into()),
        };
        print(&match (in_place, first) {
            (true, true) => format!("\u{1b}[2J{}", over(&block)),
            (true, false) => over(&block),
            (false, false) if !args.json => format!("\n{block}"),
            (false, _) => block,
        })?;
        first = false;
        tokio::time::sleep(WATCH_PAUSE).await;
    }
}

/// A block over the last one, without a moment of nothing between the two.
fn over(block: &str) -> String {
    format!("\u{1b}[H{}\u{1b}[J", block.replace('\n', "\u{1b}[K\n"))
}

fn text(client: &Client, args: &Status, picture: &Picture, remarks: Remarks) -> String {
    let Picture { body, document } = picture;
    if args.json {
        return format!("{}\n", String::from_utf8_lossy(body));
    }
    if args.check {
        render::verdict(document)
    } else if args.problems {
        render::problems(document, client.address(), remarks)
    } else {
        render::status(document, client.address(), remarks)
    }
}

pub(crate) fn print(text: &str) -> Result<(), CommandError> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    Ok(stdout.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_drawn_over_the_last_one() {
        assert_eq!(over("a\nb\n"), "\u{1b}[Ha\u{1b}[K\nb\u{1b}[K\n\u{1b}[J");
    }
}
