//! How a loop shows that it still turns: it answers, between two of its turns, whoever asks.

use tokio::sync::{mpsc, oneshot};

/// Askers that a loop keeps waiting at most; there is one, the watchdog.
const ASKERS_MAX: usize = 4;

/// The asker's end.
#[derive(Clone, Debug)]
pub struct Pulse(mpsc::Sender<oneshot::Sender<()>>);

/// The loop's end.
#[derive(Debug)]
pub struct Heart(mpsc::Receiver<oneshot::Sender<()>>);

pub fn pulse() -> (Pulse, Heart) {
    let (asker, answerer) = mpsc::channel(ASKERS_MAX);
    (Pulse(asker), Heart(answerer))
}

/// The loop has ended.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the loop has ended")]
pub struct Stopped;

impl Pulse {
    /// Returns once the loop has turned.
    pub async fn feel(&self) -> Result<(), Stopped> {
        let (reply, answer) = oneshot::channel();
        self.0.send(reply).await.map_err(|_| Stopped)?;
        answer.await.map_err(|_| Stopped)
    }
}

impl Heart {
    /// Answers the next asker; a branch of the loop's `select!`. Waits for ever once nobody can ask.
    pub async fn beat(&mut self) {
        match self.0.recv().await {
            // Who asked may have given up.
            Some(asker) => drop(asker.send(())),
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_loop_that_turns_answers_and_one_that_ended_is_told_of() {
        let (pulse, mut heart) = pulse();
        let (felt, ()) = tokio::join!(pulse.feel(), heart.beat());
        assert_eq!(felt, Ok(()));
        drop(heart);
        assert_eq!(pulse.feel().await, Err(Stopped));
    }
}
