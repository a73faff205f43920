//! From the command line to the exit code.

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use crate::client::bandwidth::Bandwidth;
use crate::client::cli::args::{Args, Command, Ls, Mv, Urgency};
use crate::client::cli::exit::{CommandError, Exit};
use crate::client::cli::health::print;
use crate::client::cli::progress::{Progress, Remarks};
use crate::client::cli::remote::{join, last_name};
use crate::client::cli::{
    admin, aside, config, download, edit, health, listing, log, login, scrub, trash, upload, verify, write,
};
use crate::client::error::ClientError;
use crate::client::link::Manner;
use crate::client::requests::Client;
use crate::client::trust::Trust;
use crate::wire::{ErrorName, Kind, Priority};

/// Runs `fget` with the words of its command line.
pub fn run(words: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args = match Args::try_parse_from(words) {
        Ok(args) => args,
        Err(error) => {
            // Help and version go to standard output and are no error. Nothing to say where nobody listens.
            drop(error.print());
            return ExitCode::from(if error.use_stderr() { Exit::Usage.code() } else { Exit::Done.code() });
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("fget: no runtime: {error}");
            return ExitCode::from(Exit::Other.code());
        }
    };
    let exit = runtime.block_on(async {
        // A command that is dropped removes what it had under way.
        tokio::select! {
            exit = command(args) => exit,
            exit = interrupted() => exit,
        }
    });
    // A read of standard input may never return.
    runtime.shutdown_background();
    ExitCode::from(exit.code())
}

async fn interrupted() -> Exit {
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => Exit::Interrupted,
        _ = terminate.recv() => Exit::Terminated,
    }
}

async fn command(args: Args) -> Exit {
    let progress = Progress::new(if args.quiet { Remarks::Quiet } else { Remarks::Shown });
    let outcome = Box::pin(perform(args, &progress)).await;
    progress.finish();
    let error = match outcome {
        Ok(exit) => return exit,
        Err(error) => error,
    };
    let exit = error.exit();
    if exit != Exit::BrokenPipe {
        eprintln!("fget: {error}");
        if let Some(advice) = error.advice() {
            eprintln!("      {advice}");
        }
    }
    exit
}

async fn perform(args: Args, progress: &Progress) -> Result<Exit, CommandError> {
    let address = config::server(args.server)?;
    let policy = args.tls.unwrap_or_default().0;
    match args.command {
        Command::Login(args) => {
            let (given, user) = (args.fingerprint, args.user.as_ref());
            return login::login(&address, policy, given, user, progress.remarks()).await.map(|()| Exit::Done);
        }
        Command::Logout => return login::logout(&address).map(|()| Exit::Done),
        _ => {}
    }
    let manner = Manner {
        priority: match args.priority {
            Some(Urgency::Low) => Priority::Low,
            Some(Urgency::Normal) | None => Priority::Normal,
            Some(Urgency::High) => Priority::High,
        },
        bandwidth: args.bwlimit.map(|bytes| Arc::new(Bandwidth::new(bytes))),
    };
    let trust = Trust::new(policy, config::pin(&address)?);
    let mut client = Client::new(&address, config::token(&address)?, trust).in_manner(manner);
    match args.command {
        Command::Get(args) => download::get(&mut client, &args, progress).await?,
        Command::Put(args) => upload::put(&mut client, &args, progress).await?,
        Command::Rm(args) => client.remove(&args.remote, args.recursive).await.map(|_| ())?,
        Command::Info(args) => {
            let text = if let Some(remote) = args.remote {
                let info = client.info(&remote).await?;
                if args.json { listing::info_json(&info)? } else { listing::info_text(&info) }
            } else {
                let usage = client.usage(args.user).await?;
                if args.json { listing::usage_json(&usage)? } else { listing::usage_text(&usage) }
            };
            print(&text)?;
        }
        Command::Ls(args) => list(&mut client, &args).await?,
        Command::Mkdir(args) => client.make_folder(&args.remote).await.map(|_| ())?,
        Command::Mv(args) => move_to(&mut client, &args).await?,
        Command::Admin(args) => admin::admin(&mut client, args, progress.remarks()).await?,
        Command::Passwd(args) => login::passwd(&mut client, None, args.remove, progress.remarks()).await?,
        Command::Share(args) => client.share(&args.remote, &args.user, args.write).await?,
        Command::Unshare(args) => client.unshare(&args.remote, &args.user).await?,
        Command::Shares => print(&listing::shares(&client.shares().await?))?,
        Command::Verify(args) => return verify::verify(&mut client, &args, progress).await,
        Command::Log(args) => log::log(&mut client, args).await?,
        Command::Aside(args) => aside::aside(&mut client, &args).await?,
        Command::Scrub(args) => scrub::scrub(&mut client, &args, progress).await?,
        Command::Eject(args) => health::eject(&mut client, &args, progress.remarks()).await?,
        Command::Edit(args) => edit::edit(&mut client, &args, progress).await?,
        Command::Write(args) => write::write(&mut client, &args, progress).await?,
        Command::Undo(args) => trash::undo(&mut client, &args, progress.remarks()).await?,
        Command::Trash(args) => trash::trash(&mut client, &args, progress.remarks()).await?,
        Command::Status(args) => return health::status(&mut client, &args, progress.remarks()).await,
        // Done without a client.
        Command::Login(_) | Command::Logout => {}
    }
    Ok(Exit::Done)
}

async fn list(client: &mut Client, args: &Ls) -> Result<(), CommandError> {
    let entries = client.list(&args.remote, args.recursive).await?;
    let text = if args.json {
        listing::list_json(&args.remote, &entries)?
    } else if args.long {
        listing::long(&entries)
    } else {
        listing::names(&entries)
    };
    print(&text)
}

/// Like mv: an existing folder takes it in, under its own name.
async fn move_to(client: &mut Client, args: &Mv) -> Result<(), CommandError> {
    if args.to.ends_with('/') {
        let to = join(&args.to, &last_name(&args.from)?);
        client.move_to(&args.from, &to).await?;
        return Ok(());
    }
    match client.move_to(&args.from, &args.to).await {
        Err(ClientError::Refused(fault)) if is_taken(&fault.error) => {
            if client.info(&args.to).await?.kind != Kind::Folder {
                return Err(ClientError::Refused(fault).into());
            }
            let to = join(&args.to, &last_name(&args.from)?);
            client.move_to(&args.from, &to).await?;
        }
        other => {
            other?;
        }
    }
    Ok(())
}

fn is_taken(name: &ErrorName) -> bool {
    matches!(name, ErrorName::Exists | ErrorName::IsADirectory | ErrorName::NotEmpty)
}
