//! Waiting for what a client asked for, as long as that client is there.

use tokio::io::{AsyncRead, AsyncWrite};

use crate::server::connection::{CUT_OFF, Close, Connection};
use crate::server::phase::{Phase, reached};
use crate::server::presence::{Left, Presence, left};
use crate::wire::{ErrorName, Fault, FrameError};

/// Why something is not waited for any longer. It is told when all is free that was held for the client.
#[derive(Debug)]
pub(crate) enum Parting {
    Refused(Fault),
    Broken(FrameError),
}

impl<S: Presence> Connection<S> {
    /// Waits for what may take long, as long as the client is there and the daemon can wait too. Of the request `missing`
    /// bytes at least were not yet read from the client.
    pub(crate) async fn while_there<T>(&mut self, missing: u64, work: impl Future<Output = T>) -> Result<T, Parting> {
        let missing = missing.saturating_sub(self.framed.buffered().len() as u64 + S::KEPT_BYTES_MAX);
        let socket = self.framed.stream().socket();
        tokio::select! {
            biased;
            done = work => Ok(done),
            () = reached(&mut self.terms.phase, Phase::Hurrying) => {
                Err(Parting::Refused(Fault::new(ErrorName::Unavailable, CUT_OFF)))
            }
            left = left(socket, missing) => Err(Parting::Broken(match left {
                Left::InTheMiddle => FrameError::Ended,
                Left::Altogether => FrameError::Io(std::io::ErrorKind::ConnectionReset.into()),
            })),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Says why something was not waited for any longer; `what` was being read.
    pub(crate) async fn part(&mut self, parting: Parting, what: &str) -> Close {
        match parting {
            Parting::Refused(fault) => self.end(fault).await,
            Parting::Broken(error) => self.broken(error, what).await,
        }
    }
}
