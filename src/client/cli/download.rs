//! `fget get`: one file.

use std::path::{Path, PathBuf};

use crate::client::cli::args::Get;
use crate::client::cli::exit::CommandError;
use crate::client::cli::progress::Progress;
use crate::client::cli::remote::last_name;
use crate::client::cli::tree;
use crate::client::error::ClientError;
use crate::client::requests::Client;
use crate::client::target::Target;

pub(crate) async fn get(client: &mut Client, args: &Get, progress: &Progress) -> Result<(), CommandError> {
    let stdout = args.local.as_deref().is_some_and(|local| local.as_os_str() == "-");
    if args.recursive {
        if stdout {
            return Err(CommandError::Usage("a tree cannot go to standard output".to_owned()));
        }
        return tree::get(client, &args.remote, &tree_target(args)?, progress).await;
    }
    let target = if stdout { Target::stdout() } else { Target::file(&file_target(args)?)? };
    receive(client, &args.remote, target, progress).await?;
    Ok(())
}

/// Receives one file, however often it takes.
pub(crate) async fn receive(
    client: &mut Client,
    remote: &str,
    target: Target,
    progress: &Progress,
) -> Result<(), ClientError> {
    let mut share = progress.share(remote);
    let mut expected = 0;
    let received = client.get(remote, target, |read, len| {
        if len > expected {
            progress.expect(len - expected);
            expected = len;
        }
        share.set(read);
    });
    received.await.map(|_| ())
}

fn file_target(args: &Get) -> Result<PathBuf, CommandError> {
    let Some(local) = &args.local else { return Ok(PathBuf::from(last_name(&args.remote)?)) };
    if local.is_dir() || ends_in_slash(local) { Ok(local.join(last_name(&args.remote)?)) } else { Ok(local.clone()) }
}

/// The folder that becomes the remote one; into LOCAL only where that ends in `/`, so that the same
/// command can be run again.
fn tree_target(args: &Get) -> Result<PathBuf, CommandError> {
    match &args.local {
        Some(local) if ends_in_slash(local) => Ok(local.join(last_name(&args.remote)?)),
        Some(local) => Ok(local.clone()),
        None => Ok(PathBuf::from(last_name(&args.remote)?)),
    }
}

fn ends_in_slash(path: &Path) -> bool {
    path.as_os_str().as_encoded_bytes().ends_with(b"/")
}
