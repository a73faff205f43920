//! Trees: every file of a folder, several at one time.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use crate::client::cli::exit::{CommandError, is_of_server};
use crate::client::cli::progress::Progress;
use crate::client::cli::remote::join;
use crate::client::cli::{download, upload};
use crate::client::error::ClientError;
use crate::client::requests::Client;
use crate::client::source::Source;
use crate::client::target::{Target, make_folders};
use crate::path::Name;
use crate::wire::Kind;

/// One file or empty folder to be moved over the wire.
#[derive(Debug)]
struct Job {
    local: PathBuf,
    remote: String,
    kind: Kind,
}

/// What became of the jobs so far.
#[derive(Debug, Default)]
struct Tally {
    all: usize,
    failed: usize,
    /// What makes it pointless to go on.
    fatal: Option<ClientError>,
    fewer_copies: Option<CommandError>,
}

/// The jobs of one command, for all its workers.
struct Tree<'a> {
    jobs: RefCell<VecDeque<Job>>,
    tally: RefCell<Tally>,
    progress: &'a Progress,
}

/// Uploads a folder: `remote` becomes it.
pub(crate) async fn put(
    client: &mut Client,
    local: &Path,
    remote: &str,
    copies: Option<u8>,
    progress: &Progress,
) -> Result<(), CommandError> {
    let meta = local.metadata().map_err(|source| ClientError::Local { path: local.to_owned(), source })?;
    if !meta.is_dir() {
        return Err(CommandError::Usage(format!("{} is no folder: put it without -r", local.display())));
    }
    let tree = Tree::new(progress);
    tree.walk_local(local, remote);
    tree.run(client, async |client, job| {
        match job.kind {
            Kind::Folder => client.make_folder(&job.remote).await.map(|_| ())?,
            Kind::File => {
                let mut head = upload::head_of(&job.local)?;
                head.path.clone_from(&job.remote);
                let answer = upload::send(client, &head, &mut Source::open(&job.local)?, progress).await?;
                if let Err(fewer) = upload::enough(&answer, copies) {
                    tree.tally.borrow_mut().fewer_copies = Some(fewer);
                }
            }
        }
        Ok(())
    })
    .await
}

/// Downloads a folder: `local` becomes it.
pub(crate) async fn get(
    client: &mut Client,
    remote: &str,
    local: &Path,
    progress: &Progress,
) -> Result<(), CommandError> {
    let tree = Tree::new(progress);
    tree.walk_remote(client, remote, local).await?;
    tree.run(client, async |client, job| {
        download::receive(client, &job.remote, Target::file(&job.local)?, progress).await
    })
    .await
}

impl<'a> Tree<'a> {
    fn new(progress: &'a Progress) -> Self {
        Self { jobs: RefCell::default(), tally: RefCell::default(), progress }
    }

    fn push(&self, local: PathBuf, remote: String, kind: Kind) {
        self.jobs.borrow_mut().push_back(Job { local, remote, kind });
    }

    fn fail(&self, why: &str) {
        self.tally.borrow_mut().failed += 1;
        self.progress.say(&format!("fget: {why}"));
    }

    /// Finds the files, and the folders that no file's upload would make.
    fn walk_local(&self, local: &Path, remote: &str) {
        let mut folders = VecDeque::from([(local.to_owned(), remote.to_owned())]);
        while let Some((folder, remote)) = folders.pop_front() {
            let entries = match std::fs::read_dir(&folder) {
                Ok(entries) => entries.flatten().map(|entry| entry.path()).collect::<Vec<_>>(),
                Err(error) => {
                    self.fail(&format!("{}: {error}", folder.display()));
                    continue;
                }
            };
            if entries.is_empty() {
                self.push(folder, remote.clone(), Kind::Folder);
            }
            for local in entries {
                match self.look_at(&local) {
                    Ok((name, Kind::File)) => self.push(local, join(&remote, &name), Kind::File),
                    Ok((name, Kind::Folder)) => folders.push_back((local, join(&remote, &name))),
                    Err(why) => self.fail(&format!("{}: {why}", local.display())),
                }
            }
        }
    }

    /// A local file's name and kind. Links to files are followed; to folders not, as they can go in circles.
    fn look_at(&self, local: &Path) -> Result<(String, Kind), String> {
        let name = local.file_name().and_then(|name| name.to_str()).ok_or("the name is not UTF-8")?.to_owned();
        let meta = local.metadata().map_err(|error| error.to_string())?;
        if meta.is_file() {
            self.progress.expect(meta.len());
            return Ok((name, Kind::File));
        }
        if !meta.is_dir() {
            return Err("neither a file nor a folder: not taken".to_owned());
        }
        if local.is_symlink() { Err("a link to a folder: not taken".to_owned()) } else { Ok((name, Kind::Folder)) }
    }

    /// Finds the files and makes the folders. A remote file is a tree of its own.
    async fn walk_remote(&self, client: &mut Client, remote: &str, local: &Path) -> Result<(), CommandError> {
        if client.info(remote).await?.kind == Kind::File {
            self.push(local.to_owned(), remote.to_owned(), Kind::File);
            return Ok(());
        }
        let mut folders = VecDeque::from([(remote.to_owned(), local.to_owned())]);
        while let Some((remote, local)) = folders.pop_front() {
            make_folders(&local)?;
            let entries = match client.list(&remote, false).await {
                Ok(entries) => entries,
                Err(error) if is_of_server(&error) => return Err(error.into()),
                Err(error) => {
                    self.fail(&format!("{remote}: {error}"));
                    continue;
                }
            };
            for entry in entries {
                // A name with a slash or dots would lead out of the folder that was meant.
                let Ok(name) = Name::parse(&entry.name) else {
                    self.fail(&format!("{}: the server gave {:?} for a name", remote, entry.name));
                    continue;
                };
                let (remote, local) = (join(&remote, &entry.name), local.join(name.as_str()));
                match entry.kind {
                    Kind::File => self.push(local, remote, Kind::File),
                    Kind::Folder => folders.push_back((remote, local)),
                }
            }
        }
        Ok(())
    }

    /// Does all jobs, a few at one time: they share the daemon's syncs.
    async fn run(
        &self,
        client: &mut Client,
        transfer: impl AsyncFn(&mut Client, &Job) -> Result<(), ClientError>,
    ) -> Result<(), CommandError> {
        {
            let mut tally = self.tally.borrow_mut();
            tally.all = self.jobs.borrow().len() + tally.failed;
        }
        if self.jobs.borrow().is_empty() {
            return self.outcome();
        }
        let mut beside = [client.another(), client.another(), client.another()];
        // Before the others ask for theirs: there may be one connection for this user and no more.
        client.arrive().await?;
        let work = async |client: &mut Client| {
            while let Some(job) = self.next() {
                if let Err(error) = transfer(client, &job).await {
                    self.failed(&job, error);
                }
            }
        };
        let help = async |client: &mut Client| {
            // Who is not let in leaves the work to those who are.
            if self.jobs.borrow().len() > 1 && client.greet().await.is_ok() {
                work(client).await;
            }
        };
        let [second, third, fourth] = &mut beside;
        tokio::join!(work(client), help(second), help(third), help(fourth));
        self.outcome()
    }

    fn next(&self) -> Option<Job> {
        if self.tally.borrow().fatal.is_some() { None } else { self.jobs.borrow_mut().pop_front() }
    }

    fn failed(&self, job: &Job, error: ClientError) {
        if is_of_server(&error) {
            self.tally.borrow_mut().fatal = Some(error);
        } else {
            self.fail(&format!("{}: {error}", job.remote));
        }
    }

    fn outcome(&self) -> Result<(), CommandError> {
        let tally = self.tally.take();
        match (tally.fatal, tally.failed, tally.fewer_copies) {
            (Some(fatal), _, _) => Err(fatal.into()),
            (None, 0, None) => Ok(()),
            (None, 0, Some(fewer)) => Err(fewer),
            (None, failed, _) => Err(CommandError::Partial { failed, all: tally.all }),
        }
    }
}
