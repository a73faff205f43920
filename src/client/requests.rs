//! Requests with their repetitions.
//!
//! A mutation carries a random id: sent again after a lost connection it gets the answer that was lost.

mod repeat;

use std::ops::ControlFlow;

use serde::de::DeserializeOwned;

use crate::accounts::Change;
use crate::client::error::ClientError;
use crate::client::link::{Link, Manner, Patience};
use crate::client::source::Source;
use crate::client::target::{Restart, Target};
use crate::client::trust::Trust;
use crate::digest::Crc32;
use crate::ids::{Lsn, Ticket, random};
use crate::wire::{
    AccountAnswer, AccountLine, AsideLine, BodyLength, BodyReader, DownloadAnswer, DropAnswer, EjectAnswer,
    EmptiedAnswer, EntryLine, InfoAnswer, LogRequest, MutationAnswer, Op, PutCondition, RequestLine, ScrubAction,
    ScrubAnswer, Secret, ShareLine, Time, Trailer, TrashLine, UndoAnswer, UsageAnswer, VerifiedLine, VerifyAnswer,
    line_of,
};

/// A server and the connection to it, where there is one.
pub struct Client {
    address: String,
    token: Option<Secret>,
    trust: Trust,
    manner: Manner,
    link: Option<Link>,
    /// Whether it has ever answered: then it may be starting again.
    known: bool,
}

/// The head of an upload.
#[derive(Clone, Debug)]
pub struct PutHead {
    pub path: String,
    pub mtime: Option<Time>,
    pub executable: bool,
    pub condition: PutCondition,
}

/// A file that came whole.
#[derive(Clone, Copy, Debug)]
pub struct Downloaded {
    pub len: u64,
    pub lsn: Lsn,
    pub crc32: Crc32,
    pub mtime: Option<Time>,
    pub executable: bool,
}

impl Client {
    /// Connects with the first request.
    pub fn new(address: &str, token: Option<Secret>, trust: Trust) -> Self {
        Self { address: address.to_owned(), token, trust, manner: Manner::default(), link: None, known: false }
    }

    /// Has its requests taken in this way from the next connection on.
    #[must_use]
    pub fn in_manner(self, manner: Manner) -> Self {
        Self { manner, ..self }
    }

    /// Another connection to the same server, by the same user.
    #[must_use]
    pub fn another(&self) -> Self {
        Self::new(&self.address, self.token.clone(), self.trust.clone()).in_manner(self.manner.clone())
    }

    /// Connects, and says nothing.
    pub async fn connect(&mut self) -> Result<(), ClientError> {
        self.link().await.map(drop)
    }

    /// Says hello; whom the server knows this client as, where it has accounts.
    pub async fn greet(&mut self) -> Result<Option<String>, ClientError> {
        self.link().await?.greet().await
    }

    /// Has its connection from then on, however often that takes.
    pub async fn arrive(&mut self) -> Result<(), ClientError> {
        self.retry(Link::arrive).await
    }

    /// Lets go of it, and of what is asked for on it.
    pub fn hang_up(&mut self) {
        self.link = None;
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    /// Uploads a file. `progress` is told the bytes sent so far.
    pub async fn put(
        &mut self,
        head: &PutHead,
        source: &mut Source,
        mut progress: impl FnMut(u64),
    ) -> Result<MutationAnswer, ClientError> {
        let line = RequestLine {
            path: Some(head.path.clone()),
            len: source.bytes(),
            chunked: source.bytes().is_none(),
            mtime: head.mtime,
            executable: head.executable,
            if_absent: head.condition == PutCondition::Nothing,
            if_version: match head.condition {
                PutCondition::Version(lsn) => Some(lsn),
                PutCondition::Whatever | PutCondition::Nothing => None,
            },
            ..mutation(Op::Put)
        };
        let address = self.address.clone();
        self.change(&line, async |link| {
            if !source.is_whole() {
                return Err(ClientError::CutOff { address: address.clone() });
            }
            let sent = send_body(link, &line, source, &mut progress).await;
            sent.map_err(|error| match error {
                ClientError::Lost { .. } if !source.is_whole() => ClientError::CutOff { address: address.clone() },
                other => other,
            })
        })
        .await
    }

    /// Downloads a file. `progress` is told the bytes received so far, and of how many.
    pub async fn get(
        &mut self,
        path: &str,
        mut target: Target,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<Downloaded, ClientError> {
        let line = RequestLine { path: Some(path.to_owned()), chunked: true, ..request(Op::Get) };
        let address = self.address.clone();
        let downloaded = self
            .retry(async |link| match target.restart()? {
                Restart::Done => receive_body(link, &line, &mut target, &mut progress).await,
                Restart::Impossible => Err(ClientError::CutOff { address: address.clone() }),
            })
            .await?;
        target.keep(&downloaded).await?;
        Ok(downloaded)
    }

    pub async fn remove(&mut self, path: &str, recursive: bool) -> Result<MutationAnswer, ClientError> {
        self.settle(&RequestLine { path: Some(path.to_owned()), recursive, ..mutation(Op::Rm) }).await
    }

    /// Makes a folder and those above it. One that exists is fine.
    pub async fn make_folder(&mut self, path: &str) -> Result<MutationAnswer, ClientError> {
        self.settle(&RequestLine { path: Some(path.to_owned()), recursive: true, ..mutation(Op::Mkdir) }).await
    }

    pub async fn move_to(&mut self, from: &str, to: &str) -> Result<MutationAnswer, ClientError> {
        let line = RequestLine { path: Some(from.to_owned()), to: Some(to.to_owned()), ..mutation(Op::Mv) };
        self.settle(&line).await
    }

    pub async fn info(&mut self, path: &str) -> Result<InfoAnswer, ClientError> {
        let line = RequestLine { path: Some(path.to_owned()), ..request(Op::Info) };
        self.simple(&line).await
    }

    /// What the files of a user come to; without a name, of this client's.
    pub async fn usage(&mut self, user: Option<String>) -> Result<UsageAnswer, ClientError> {
        self.simple(&RequestLine { user, ..request(Op::Usage) }).await
    }

    /// Lets somebody into a part of the user's home.
    pub async fn share(&mut self, path: &str, user: &str, write: bool) -> Result<(), ClientError> {
        let (path, user) = (Some(path.to_owned()), Some(user.to_owned()));
        self.settle::<DropAnswer>(&RequestLine { path, write, user, ..request(Op::Share) }).await.map(drop)
    }

    /// Ends that.
    pub async fn unshare(&mut self, path: &str, user: &str) -> Result<(), ClientError> {
        let (path, user) = (Some(path.to_owned()), Some(user.to_owned()));
        self.settle::<DropAnswer>(&RequestLine { path, user, ..request(Op::Unshare) }).await.map(drop)
    }

    /// As an admin; the token that was made.
    pub async fn change_account(&mut self, change: Change) -> Result<Option<Secret>, ClientError> {
        let asked = RequestLine { change: Some(change), ..request(Op::Account) };
        // Not asked again: what became of it, a listing tells.
        Ok(self.once::<AccountAnswer>(&asked).await?.token)
    }

    /// Gets a token for a password.
    pub async fn log_in(&mut self, user: &str, password: Secret, label: &str) -> Result<Secret, ClientError> {
        let (user, label) = (Some(user.to_owned()), Some(label.to_owned()));
        let asked = RequestLine { user, label, password: Some(password), ..request(Op::Login) };
        let address = self.address.clone();
        // Not asked again: a lost answer's token would be one more.
        self.link().await?.greet_to_log_in().await?;
        self.once::<AccountAnswer>(&asked).await?.token.ok_or(ClientError::NoToken { address })
    }

    /// Sets a password, or takes it away; without a name the client's own.
    pub async fn set_password(
        &mut self,
        user: Option<String>,
        password: Option<Secret>,
        old: Option<Secret>,
    ) -> Result<(), ClientError> {
        let asked = RequestLine { user, password, old, ..request(Op::Passwd) };
        self.once::<DropAnswer>(&asked).await.map(drop)
    }

    pub async fn accounts(&mut self) -> Result<Vec<AccountLine>, ClientError> {
        self.lines(&request(Op::Accounts), "the accounts").await
    }

    /// What the user shares, and what is shared with the user.
    pub async fn shares(&mut self) -> Result<Vec<ShareLine>, ClientError> {
        self.lines(&request(Op::Shares), "the shares").await
    }

    pub async fn list(&mut self, path: &str, recursive: bool) -> Result<Vec<EntryLine>, ClientError> {
        let line = RequestLine { path: Some(path.to_owned()), recursive, ..request(Op::Ls) };
        self.lines(&line, path).await
    }

    /// A body of lines of JSON.
    async fn lines<T: DeserializeOwned>(&mut self, line: &RequestLine, what: &str) -> Result<Vec<T>, ClientError> {
        let body = self.body(line, what, Patience::Limited).await?;
        let lines = body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let entries = lines.map(serde_json::from_slice).collect::<Result<_, _>>();
        entries.map_err(|source| ClientError::Foreign { address: self.address.clone(), source })
    }

    /// Brings back what was removed or overwritten: the last, or what `lsn` did so.
    pub async fn undo(&mut self, path: &str, lsn: Option<Lsn>) -> Result<UndoAnswer, ClientError> {
        let line = RequestLine { path: Some(path.to_owned()), lsn, ..mutation(Op::Undo) };
        self.settle(&line).await
    }

    /// What is in the trash of a path and of all below it, oldest first.
    pub async fn trash(&mut self, path: &str) -> Result<Vec<TrashLine>, ClientError> {
        let line = RequestLine { path: Some(path.to_owned()), ..request(Op::Trash) };
        self.lines(&line, "the trash").await
    }

    pub async fn empty_trash(&mut self) -> Result<EmptiedAnswer, ClientError> {
        self.settle(&request(Op::EmptyTrash)).await
    }

    /// The status document as the server wrote it.
    pub async fn status(&mut self) -> Result<Vec<u8>, ClientError> {
        self.body(&request(Op::Status), "the status", Patience::Limited).await
    }

    /// The same, when all that was acknowledged is installed on both drives.
    pub async fn status_in_sync(&mut self) -> Result<Vec<u8>, ClientError> {
        let line = RequestLine { wait: true, ..request(Op::Status) };
        self.body(&line, "the status", Patience::Endless).await
    }

    /// What lies aside on the drives that are there.
    pub async fn aside(&mut self) -> Result<Vec<AsideLine>, ClientError> {
        let body = self.body(&request(Op::Aside), "what lies aside", Patience::Limited).await?;
        let lines = body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let items = lines.map(serde_json::from_slice).collect::<Result<_, _>>();
        items.map_err(|source| ClientError::Foreign { address: self.address.clone(), source })
    }

    /// Removes something that lies aside, for good.
    pub async fn drop_aside(&mut self, drive: &str, item: &str) -> Result<DropAnswer, ClientError> {
        let (drive, item) = (Some(drive.to_owned()), Some(item.to_owned()));
        let line = RequestLine { drive, item, ..request(Op::Drop) };
        self.settle(&line).await
    }

    /// Begins a scrub of both drives, or holds it.
    pub async fn scrub(&mut self, action: ScrubAction) -> Result<ScrubAnswer, ClientError> {
        let line = RequestLine { action: Some(action), ..request(Op::Scrub) };
        self.settle(&line).await
    }

    /// Compares both drives with the catalog; `take` gets each line as it comes.
    pub async fn verify(&mut self, quick: bool, mut take: impl FnMut(VerifiedLine)) -> Result<(), ClientError> {
        let line = RequestLine { quick, ..request(Op::Verify) };
        self.each_line(&line, "the comparison", |found| {
            take(serde_json::from_slice(found)?);
            Ok(ControlFlow::Continue(()))
        })
        .await
    }

    /// Reads the audit log; `take` gets each line of JSON as it comes, and may break off.
    pub async fn log(
        &mut self,
        wanted: &LogRequest,
        mut take: impl FnMut(&[u8]) -> Result<ControlFlow<()>, serde_json::Error>,
    ) -> Result<(), ClientError> {
        let LogRequest { follow, user, path, since, count } = wanted.clone();
        let line = RequestLine { path, count, user, follow, since, ..request(Op::Log) };
        // An empty line says that the server is there.
        let take = |line: &[u8]| if line == b"\n" { Ok(ControlFlow::Continue(())) } else { take(line) };
        self.each_line(&line, "the log", take).await
    }

    /// A body of lines, each handed on as it comes. Not asked again where the connection is lost: lines would come
    /// twice.
    async fn each_line(
        &mut self,
        asked: &RequestLine,
        what: &str,
        mut take: impl FnMut(&[u8]) -> Result<ControlFlow<()>, serde_json::Error>,
    ) -> Result<(), ClientError> {
        let address = self.address.clone();
        let link = self.link().await?;
        link.ask(asked).await?;
        link.answer::<VerifyAnswer>(Patience::Limited).await?;
        let mut body = BodyReader::new(BodyLength::Chunked, u64::MAX);
        let (mut crc, mut rest) = (crc32fast::Hasher::new(), Vec::new());
        while let Some(piece) = link.piece(&mut body).await? {
            crc.update(&piece);
            rest.extend_from_slice(&piece);
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let text: Vec<u8> = rest.drain(..=end).collect();
                match take(&text) {
                    Ok(ControlFlow::Continue(())) => {}
                    Ok(ControlFlow::Break(())) => return Ok(()),
                    Err(source) => return Err(ClientError::Foreign { address, source }),
                }
            }
        }
        let Trailer { crc32: expected, .. } = link.last().await?;
        let actual = Crc32(crc.finalize());
        if actual == expected { Ok(()) } else { Err(ClientError::Damaged { path: what.to_owned(), expected, actual }) }
    }

    /// Lets go of a drive. Waits as long as that takes.
    pub async fn eject(&mut self, drive: &str, wait: bool, force: bool) -> Result<EjectAnswer, ClientError> {
        let line = RequestLine { drive: Some(drive.to_owned()), wait, force, ..request(Op::Eject) };
        self.change(&line, async |link| {
            link.ask(&line).await?;
            link.last_in_its_time().await
        })
        .await
    }

    async fn body(&mut self, line: &RequestLine, what: &str, patience: Patience) -> Result<Vec<u8>, ClientError> {
        self.retry(async |link| {
            link.ask(line).await?;
            link.small_body(what, patience).await
        })
        .await
    }

    pub(super) async fn link(&mut self) -> Result<&mut Link, ClientError> {
        let link = match self.link.take() {
            Some(link) => link,
            None => Link::connect(&self.address, self.token.as_ref(), &self.trust, &self.manner).await?,
        };
        // Somebody accepted: from here on a refused connection is a daemon that starts again.
        self.known = true;
        Ok(self.link.insert(link))
    }
}

pub(super) fn request(op: Op) -> RequestLine {
    RequestLine { op: Some(op.as_str().to_owned()), ..RequestLine::default() }
}

pub(super) fn mutation(op: Op) -> RequestLine {
    RequestLine { id: Some(Ticket(random()).to_string()), ..request(op) }
}

pub(super) async fn send_body(
    link: &mut Link,
    request: &RequestLine,
    source: &mut Source,
    progress: &mut impl FnMut(u64),
) -> Result<MutationAnswer, ClientError> {
    let mut lead = link.head(request);
    let mut crc = crc32fast::Hasher::new();
    let mut sent = 0;
    loop {
        let piece = source.piece(sent).await?;
        crc.update(&piece);
        sent += piece.len() as u64;
        let trailer = || line_of(&Trailer::of_client(Crc32(crc.clone().finalize())));
        let (ended, tail) = match request.len {
            Some(len) if sent == len => (true, trailer()),
            Some(_) => (false, Vec::new()),
            None if piece.is_empty() => (true, [b"0\n", trailer().as_slice()].concat()),
            None => {
                lead.extend_from_slice(format!("{}\n", piece.len()).as_bytes());
                (false, Vec::new())
            }
        };
        if let Err(lost) = link.send_piece(&lead, &piece, &tail).await {
            return Err(link.parting_word(lost).await);
        }
        lead.clear();
        progress(sent);
        if ended {
            link.sent();
            return link.last().await;
        }
        if link.spoke_early().await {
            return Err(link.early_refusal().await);
        }
    }
}

async fn receive_body(
    link: &mut Link,
    request: &RequestLine,
    target: &mut Target,
    progress: &mut impl FnMut(u64, u64),
) -> Result<Downloaded, ClientError> {
    link.ask(request).await?;
    let head: DownloadAnswer = link.answer(Patience::Limited).await?;
    let length = if head.chunked { BodyLength::Chunked } else { BodyLength::Known(head.len) };
    let mut body = BodyReader::new(length, head.len);
    let mut crc = crc32fast::Hasher::new();
    while let Some(piece) = link.piece(&mut body).await? {
        crc.update(&piece);
        target.write(&piece).await?;
        progress(body.read(), head.len);
    }
    let Trailer { crc32: expected, .. } = link.last().await?;
    let actual = Crc32(crc.finalize());
    if actual != expected || body.read() != head.len {
        let path = request.path.clone().unwrap_or_default();
        return Err(ClientError::Damaged { path, expected, actual });
    }
    Ok(Downloaded { len: head.len, lsn: head.lsn, crc32: actual, mtime: head.mtime, executable: head.executable })
}
