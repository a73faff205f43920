//! `fget put`: one file.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::client::cli::args::Put;
use crate::client::cli::exit::CommandError;
use crate::client::cli::progress::Progress;
use crate::client::cli::remote::join;
use crate::client::cli::tree;
use crate::client::error::ClientError;
use crate::client::requests::{Client, PutHead};
use crate::client::source::Source;
use crate::ids::Lsn;
use crate::wire::{ErrorName, MutationAnswer, PutCondition, Time};

pub(crate) async fn put(client: &mut Client, args: &Put, progress: &Progress) -> Result<(), CommandError> {
    let stdin = args.local.as_os_str() == "-";
    if args.recursive {
        let target = target(args, &local_name(&args.local)?);
        return tree::put(client, &args.local, &target, args.copies, progress).await;
    }
    let (name, mut source, mut head) = if stdin {
        let name = args.remote.clone().filter(|remote| !remote.ends_with('/'));
        let name = name.ok_or_else(|| CommandError::Usage("put - needs the remote file's path".to_owned()))?;
        let head = PutHead { path: String::new(), mtime: None, executable: false, condition: PutCondition::Whatever };
        (name, Source::stdin().await?, head)
    } else {
        let name = local_name(&args.local)?;
        (name, Source::open(&args.local)?, head_of(&args.local)?)
    };
    head.path = target(args, &name);
    head.condition = match (args.if_absent, args.if_version) {
        (true, _) => PutCondition::Nothing,
        (false, Some(lsn)) => PutCondition::Version(Lsn(lsn)),
        (false, None) => PutCondition::Whatever,
    };
    progress.expect(source.bytes().unwrap_or(0));
    let answer = match send(client, &head, &mut source, progress).await {
        // Like cp: a folder takes the file in, under its own name.
        Err(ClientError::Refused(fault))
            if fault.error == ErrorName::IsADirectory && !stdin && args.remote.is_some() =>
        {
            head.path = join(&head.path, &name);
            send(client, &head, &mut source, progress).await?
        }
        other => other?,
    };
    enough(&answer, args.copies)
}

/// Sends one file, however often it takes.
pub(crate) async fn send(
    client: &mut Client,
    head: &PutHead,
    source: &mut Source,
    progress: &Progress,
) -> Result<MutationAnswer, ClientError> {
    let mut share = progress.share(&head.path);
    let answer = client.put(head, source, |sent| share.set(sent)).await?;
    progress.note_usage(answer.usage);
    Ok(answer)
}

/// The head of a local file's upload, without its path.
pub(crate) fn head_of(local: &Path) -> Result<PutHead, ClientError> {
    let meta = local.metadata().map_err(|source| ClientError::Local { path: local.to_owned(), source })?;
    let ns = meta.mtime().checked_mul(1_000_000_000).and_then(|ns| ns.checked_add(meta.mtime_nsec()));
    Ok(PutHead {
        path: String::new(),
        mtime: ns.map(Time),
        executable: meta.mode() & 0o100 != 0,
        condition: PutCondition::Whatever,
    })
}

/// Whether as many drives have it as were asked for.
pub(crate) fn enough(answer: &MutationAnswer, copies: Option<u8>) -> Result<(), CommandError> {
    match copies {
        Some(wanted) if answer.drives.len() < usize::from(wanted) => {
            Err(CommandError::FewerCopies { stored: format!("drive {}", answer.drives.join(", ")), wanted })
        }
        Some(_) | None => Ok(()),
    }
}

fn target(args: &Put, name: &str) -> String {
    match &args.remote {
        Some(remote) if remote.ends_with('/') => join(remote, name),
        Some(remote) => remote.clone(),
        None => name.to_owned(),
    }
}

fn local_name(local: &Path) -> Result<String, CommandError> {
    let absolute = || local.canonicalize().ok();
    let name = match local.file_name() {
        Some(name) => Some(name.to_owned()),
        // `.` and `..` have a name too.
        None => absolute().and_then(|path| path.file_name().map(ToOwned::to_owned)),
    };
    let name = name.and_then(|name| name.into_string().ok());
    name.ok_or_else(|| CommandError::Usage(format!("{} has no name in UTF-8: give the remote one", local.display())))
}
