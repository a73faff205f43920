//! One client's session: its requests, one after the other, answers in order.

use std::pin::Pin;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::mirror::Mirror;
use crate::mirror::refusal::Refusal;
use crate::mirror::request::{Contents, Receipt, Recurse, RequestId};
use crate::server::connection::{Close, Connection};
use crate::server::door::Guest;
use crate::server::edit::Edits;
use crate::server::presence::Presence;
use crate::server::status::HostReporter;
use crate::server::transfers::{Transfers, is_large};
use crate::server::{
    account, aside, edit, eject, get, info, log, login, ls, mkdir, mv, passwd, put, refusal, rm, scrub, share, status,
    trash, undo, usage, verify,
};
use crate::wire::{BodyReader, Fault, MutationAnswer, Request, UsageNote, VerifyRequest};

/// A connection and the mirror that it asks.
pub(crate) struct Session<S> {
    pub(crate) connection: Connection<S>,
    pub(crate) mirror: Arc<Mirror>,
    pub(crate) host: HostReporter,
    pub(crate) edits: Edits,
    pub(crate) transfers: Transfers,
}

impl<S: Presence + Send + 'static> Session<S> {
    /// Serves the client until one of both ends it.
    pub(crate) async fn run(mut self: Box<Self>) -> Close {
        loop {
            self.connection.set_stay(self.edits.stay());
            let request = match self.connection.next_request().await {
                Ok(request) => request,
                Err(close) => return close,
            };
            self.connection.begin_entry(&request);
            let outcome;
            // Boxed, so that an idle session is as small as its connection.
            (self, outcome) = match Box::pin(self.serve(request)).await {
                Ok(served) => served,
                Err(close) => return close,
            };
            self.connection.end_entry(&outcome);
            if let Err(close) = outcome {
                return close;
            }
        }
    }

    /// Performs a request, a large transfer where those are.
    async fn serve(mut self: Box<Self>, request: Request) -> Result<(Box<Self>, Result<(), Close>), Close> {
        if let Err(fault) = self.check(&request) {
            let outcome = self.turn_back(request, &fault).await;
            return Ok((self, outcome));
        }
        let (transfers, large);
        let work: Pin<Box<dyn Future<Output = _> + Send>> = match request {
            Request::Get(request) => {
                let sending = match get::open(&mut self, request).await {
                    Ok(Some(sending)) => sending,
                    Ok(None) => return Ok((self, Ok(()))),
                    Err(close) => return Ok((self, Err(close))),
                };
                (transfers, large) = (self.transfers.clone(), sending.is_large());
                Box::pin(async move {
                    let outcome = sending.send(&mut self.connection).await;
                    (self, outcome)
                })
            }
            request => {
                (transfers, large) = (self.transfers.clone(), request.body().is_some_and(is_large));
                Box::pin(async move {
                    let outcome = self.perform(request).await;
                    (self, outcome)
                })
            }
        };
        if large { transfers.run(work).await.ok_or(Close::CutOff) } else { Ok(work.await) }
    }

    /// What can be said against a request before it is looked at.
    fn check(&mut self, request: &Request) -> Result<(), Fault> {
        self.connection.ask()?;
        only_for_admins(request).map_or(Ok(()), |what| self.connection.guest().check_unlimited(what))
    }

    async fn perform(&mut self, request: Request) -> Result<(), Close> {
        match request {
            // These are answered where they are read, or opened.
            Request::Hello(_) | Request::Get(_) => Ok(()),
            Request::Put(request) => put::perform(self, request).await,
            Request::Rm(request) => rm::perform(self, request).await,
            Request::Usage { user } => usage::perform(self, user).await,
            Request::Info { path } => info::perform(self, &path).await,
            Request::Ls(request) => ls::perform(self, request).await,
            Request::Mkdir(request) => mkdir::perform(self, request).await,
            Request::Mv(request) => mv::perform(self, request).await,
            Request::Undo(request) => undo::perform(self, request).await,
            Request::Trash { path } => trash::list(self, path).await,
            Request::EmptyTrash => trash::empty(self).await,
            Request::Status(request) => status::perform(self, request).await,
            Request::Eject(request) => eject::perform(self, request).await,
            Request::Aside => aside::list(self).await,
            Request::Drop(request) => aside::let_go(self, request).await,
            Request::Share(request) => share::share(self, request).await,
            Request::Unshare(request) => share::unshare(self, request).await,
            Request::Shares => share::list(self).await,
            Request::Account(change) => account::change(self, change).await,
            Request::Accounts => account::list(self).await,
            Request::Log(request) => log::perform(self, request).await,
            Request::Login(request) => login::perform(self, request).await,
            Request::Passwd(request) => passwd::perform(self, request).await,
            Request::Edit(request) => edit::open(self, request).await,
            Request::Renew(request) => edit::renew(self, request).await,
            Request::Commit(request) => edit::commit(self, request).await,
            Request::Release(request) => edit::release(self, request).await,
            Request::Append(request) => edit::append(self, request).await,
            Request::Scrub(action) => scrub::perform(self, action).await,
            Request::Verify(VerifyRequest { quick }) => {
                let contents = if quick { Contents::NotRead } else { Contents::Compared };
                verify::perform(self, contents).await
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Refuses a request as it stands, with what comes behind its line.
    async fn turn_back(&mut self, request: Request, fault: &Fault) -> Result<(), Close> {
        match request.body() {
            Some(length) => self.connection.refuse_body(fault.clone(), BodyReader::new(length, u64::MAX)).await,
            None => self.connection.refuse(fault).await,
        }
    }

    /// Answers a mutation.
    pub(crate) async fn settle(&mut self, outcome: Result<Receipt, Fault>) -> Result<(), Close> {
        self.settle_with(None, outcome).await
    }

    /// The same, with a word on how much of a limit is in use.
    pub(crate) async fn settle_with(
        &mut self,
        usage: Option<UsageNote>,
        outcome: Result<Receipt, Fault>,
    ) -> Result<(), Close> {
        match outcome {
            Ok(receipt) => {
                let answer = MutationAnswer { usage, ..refusal::receipt(&receipt) };
                self.connection.scribe().note_version(answer.lsn);
                self.connection.scribe().note_drives(&answer.drives);
                self.connection.answer(&answer).await
            }
            Err(fault) => self.connection.refuse(&fault).await,
        }
    }
}

/// What a request does, if it is about all files together or about the drives.
fn only_for_admins(request: &Request) -> Option<&'static str> {
    match request {
        Request::EmptyTrash => Some("empty the trash of all"),
        Request::Eject(_) => Some("eject a drive"),
        Request::Aside | Request::Drop(_) => Some("see what lies aside on the drives"),
        Request::Scrub(_) => Some("start or pause a scrub"),
        Request::Log(_) => Some("read the log"),
        Request::Verify(_) => Some("compare the drives with the catalog"),
        // Each of these is checked by its paths, and a status shows to each what is for him.
        Request::Get(_)
        | Request::Put(_)
        | Request::Rm(_)
        | Request::Info { .. }
        | Request::Ls(_)
        | Request::Mkdir(_)
        | Request::Mv(_)
        | Request::Undo(_)
        | Request::Trash { .. }
        | Request::Edit(_)
        | Request::Renew(_)
        | Request::Commit(_)
        | Request::Release(_)
        | Request::Append(_)
        | Request::Share(_)
        | Request::Unshare(_)
        | Request::Shares
        // Asks for more than that.
        | Request::Account(_)
        | Request::Accounts
        | Request::Usage { .. }
        | Request::Login(_)
        | Request::Passwd(_)
        | Request::Hello(_)
        | Request::Status(_) => None,
    }
}

/// The mirror's outcome in the wire's words.
pub(crate) fn said<T>(outcome: Result<T, Refusal>) -> Result<T, Fault> {
    outcome.map_err(|refusal| refusal::fault(&refusal))
}

/// An id whose length the wire has checked.
pub(crate) fn request_id(guest: &mut Guest, id: Option<String>) -> Result<Option<RequestId>, Fault> {
    let user = guest.access()?.owner().to_owned();
    Ok(id.and_then(|id| RequestId::parse(&id)).map(|id| id.of_user(&user)))
}

pub(crate) fn recurse(recursive: bool) -> Recurse {
    if recursive { Recurse::Yes } else { Recurse::No }
}
