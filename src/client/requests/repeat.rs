//! How often a request is asked, and what is known when no answer comes.

use serde::de::DeserializeOwned;

use crate::client::error::{ClientError, Remedy};
use crate::client::limits::{RETRIES_MAX, RETRY_PAUSE};
use crate::client::link::Link;
use crate::client::requests::Client;
use crate::wire::RequestLine;

impl Client {
    pub(in crate::client) async fn simple<T: DeserializeOwned>(
        &mut self,
        line: &RequestLine,
    ) -> Result<T, ClientError> {
        self.retry(async |link| {
            link.ask(line).await?;
            link.last().await
        })
        .await
    }

    /// The same for what changes something.
    pub(super) async fn settle<T: DeserializeOwned>(&mut self, line: &RequestLine) -> Result<T, ClientError> {
        self.change(line, async |link| {
            link.ask(line).await?;
            link.last().await
        })
        .await
    }

    /// Asks for a change that is not asked for again.
    pub(super) async fn once<T: DeserializeOwned>(&mut self, asked: &RequestLine) -> Result<T, ClientError> {
        let link = self.link().await?;
        link.ask(asked).await?;
        let answer = link.last().await;
        answer.map_err(|error| if leaves_open(link, &error) { ClientError::InDoubt(Box::new(error)) } else { error })
    }

    /// As [`Client::retry`], for what changes something: no answer in the end, or one that leaves it open, does not
    /// mean that nothing was done.
    pub(in crate::client) async fn change<T>(
        &mut self,
        line: &RequestLine,
        mut attempt: impl AsyncFnMut(&mut Link) -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        let mut is_open = false;
        let outcome = self
            .retry(async |link| {
                let outcome = attempt(link).await;
                is_open |= outcome.as_ref().is_err_and(|error| leaves_open(link, error));
                outcome
            })
            .await;
        outcome.map_err(|error| {
            // Without an id a refusal is about this try alone: what it misses may be gone by the one before.
            let is_known = line.id.is_some() && error.is_verdict();
            if is_open && !is_known { ClientError::InDoubt(Box::new(error)) } else { error }
        })
    }

    pub(in crate::client) async fn retry<T>(
        &mut self,
        mut attempt: impl AsyncFnMut(&mut Link) -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        let mut retries = 0;
        loop {
            let outcome = match self.link().await {
                Ok(link) => attempt(link).await,
                Err(error) => Err(error),
            };
            self.link = self.link.take().filter(Link::is_usable);
            let error = match outcome {
                Ok(done) => {
                    self.known = true;
                    return Ok(done);
                }
                Err(error) => error,
            };
            let pause = error.retry_after().unwrap_or(RETRY_PAUSE * 2_u32.pow(retries));
            retries += 1;
            match error.remedy() {
                _ if retries > RETRIES_MAX => return Err(error),
                Remedy::Restart => {}
                Remedy::Reconnect => tokio::time::sleep(pause).await,
                Remedy::ReconnectIfKnown if self.known => tokio::time::sleep(pause).await,
                Remedy::ReconnectIfKnown | Remedy::None => return Err(error),
            }
        }
    }
}

/// Whether what a try asked for may have been done all the same: all of it was sent, and what came back, if anything did,
/// does not tell.
fn leaves_open(link: &Link, error: &ClientError) -> bool {
    link.is_unanswered() || (link.is_usable() && error.is_open())
}
