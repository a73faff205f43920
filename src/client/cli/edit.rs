//! `fget edit`: a file in the user's own editor, stored only if nobody stored another version meanwhile.

use std::env;
use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::client::cli::args::Edit;
use crate::client::cli::exit::CommandError;
use crate::client::cli::progress::{Progress, Remarks};
use crate::client::cli::remote::last_name;
use crate::client::cli::upload;
use crate::client::error::ClientError;
use crate::client::requests::Client;
use crate::client::source::Source;
use crate::client::target::Target;
use crate::digest::Crc32;
use crate::ids::Lsn;
use crate::wire::{ErrorName, PutCondition};

/// Where nobody says which editor to use.
const EDITOR: &str = "vi";

/// What becomes of two versions that were made at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Choice {
    EditAgain,
    Overwrite,
    KeepBoth,
}

pub(crate) async fn edit(client: &mut Client, args: &Edit, progress: &Progress) -> Result<(), CommandError> {
    let name = last_name(&args.remote)?;
    let desk = tempfile::Builder::new().prefix("fget-").tempdir();
    let desk = desk.map_err(|source| ClientError::Local { path: env::temp_dir(), source })?;
    let (mine, newer) = (desk.path().join(&name), desk.path().join(format!("{name}.newer")));
    let mut seen = fetch(client, &args.remote, &mine).await?;
    let before = crc32_of(&mine)?;
    let opened = open_editor(&[&mine]);
    let after = crc32_of(&mine)?;
    match (opened, after == before) {
        (Err(why), true) => return Err(why.keeping(None)),
        (Err(why), false) => return Err(why.keeping(Some(keep(desk, &mine)))),
        (Ok(()), false) if after.is_some() => {}
        // Without a change, or without a file.
        (Ok(()), _) => {
            if progress.remarks() == Remarks::Shown {
                progress.say("nothing was changed, and nothing is stored");
            }
            return Ok(());
        }
    }
    loop {
        let Err(error) = store(client, &args.remote, &mine, seen, progress).await else { return Ok(()) };
        if !is_by_others(&error) {
            return Err(CommandError::NotStored { error, kept: keep(desk, &mine) });
        }
        // It may have gone, too.
        seen = match fetch(client, &args.remote, &newer).await {
            Ok(seen) => seen,
            Err(error) => return Err(CommandError::NotStored { error, kept: keep(desk, &mine) }),
        };
        let theirs = seen.map(|_| newer.as_path());
        match ask(&args.remote, theirs)? {
            Choice::Overwrite => {}
            Choice::EditAgain => {
                let files: Vec<_> = [Some(mine.as_path()), theirs].into_iter().flatten().collect();
                if let Err(why) = open_editor(&files) {
                    return Err(why.keeping(Some(keep(desk, &mine))));
                }
            }
            Choice::KeepBoth => {
                let theirs = theirs.map(Path::to_owned);
                return Err(CommandError::Changed { path: args.remote.clone(), mine: keep(desk, &mine), theirs });
            }
        }
    }
}

/// Brings the file here; the version that came, `None` where there is none.
async fn fetch(client: &mut Client, remote: &str, to: &Path) -> Result<Option<Lsn>, ClientError> {
    match client.get(remote, Target::file(to)?, |_, _| ()).await {
        Ok(downloaded) => Ok(Some(downloaded.lsn)),
        Err(ClientError::Refused(fault)) if fault.error == ErrorName::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Stores what was written in place of the version that was seen, and of no other.
async fn store(
    client: &mut Client,
    remote: &str,
    mine: &Path,
    seen: Option<Lsn>,
    progress: &Progress,
) -> Result<(), ClientError> {
    let mut head = upload::head_of(mine)?;
    remote.clone_into(&mut head.path);
    head.condition = seen.map_or(PutCondition::Nothing, PutCondition::Version);
    upload::send(client, &head, &mut Source::open(mine)?, progress).await.map(drop)
}

/// Whether somebody else stored, removed or made it meanwhile.
fn is_by_others(error: &ClientError) -> bool {
    matches!(error, ClientError::Refused(fault) if matches!(fault.error, ErrorName::OtherVersion | ErrorName::Exists))
}

/// The bytes of a local file in short; `None` where there is none.
fn crc32_of(path: &Path) -> Result<Option<Crc32>, ClientError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(Crc32::of(&bytes))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ClientError::Local { path: path.to_owned(), source }),
    }
}

/// Why an editor did not do its work.
struct NoEditor(String);

impl NoEditor {
    fn keeping(self, kept: Option<PathBuf>) -> CommandError {
        CommandError::Editor { why: self.0, kept }
    }
}

/// Opens files in `VISUAL` or `EDITOR`, which may have arguments of their own, and waits for its end.
fn open_editor(files: &[&Path]) -> Result<(), NoEditor> {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
    let editor = set("VISUAL").or_else(|| set("EDITOR")).unwrap_or_else(|| EDITOR.into());
    let shown = String::from_utf8_lossy(editor.as_bytes()).into_owned();
    let mut script = editor.clone();
    script.push(" \"$@\"");
    let status = Command::new("sh").arg("-c").arg(script).arg(&editor).args(files).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(NoEditor(format!("{shown} ended with {status}"))),
        Err(error) => Err(NoEditor(format!("{shown}: {error}"))),
    }
}

/// Asks whoever sits there; where nobody does, both are kept.
fn ask(remote: &str, theirs: Option<&Path>) -> Result<Choice, CommandError> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Ok(Choice::KeepBoth);
    }
    let what = if theirs.is_some() { "somebody stored another version of" } else { "somebody removed" };
    loop {
        eprint!(
            "{what} {remote} meanwhile, and yours is not stored.\n\
             e: edit yours again, beside theirs   o: store yours in its place   k: keep both here and stop\n? "
        );
        std::io::stderr().flush()?;
        let mut line = String::new();
        if stdin.lock().read_line(&mut line)? == 0 {
            return Ok(Choice::KeepBoth);
        }
        match line.trim() {
            "e" => return Ok(Choice::EditAgain),
            "o" => return Ok(Choice::Overwrite),
            "k" => return Ok(Choice::KeepBoth),
            _ => {}
        }
    }
}

/// Leaves the folder with the files where it is; where the user's version is then.
fn keep(desk: TempDir, mine: &Path) -> PathBuf {
    let _ = desk.keep();
    mine.to_owned()
}
