//! Taking a drive out in good order: it is finished, synced, let go of and unmounted.

use std::path::PathBuf;
use std::sync::Arc;

use crate::ids::{NodeId, Side};
use crate::mirror::attachment::Attachment;
use crate::mirror::mirror::{Loss, Mirror};
use crate::mirror::mutate::unreadable;
use crate::mirror::os_volume::Unmounted;
use crate::mirror::refusal::Refusal;
use crate::mirror::seat::Ejection;
use crate::mirror::state::DriveState;
use crate::units::count;

/// Files that a drive has alone, counted before it is ejected.
const ONLY_MAX: usize = 10_000;

/// Whether to wait first until both drives have everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    None,
    UntilInSync,
}

/// A drive that nothing is open on any more, and all is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ejected {
    pub side: Side,
    pub path: PathBuf,
    pub unmounted: Unmounted,
    /// Paths that it could not be given.
    pub lacking: u64,
    /// Whether no drive is there any more.
    pub last: bool,
}

impl Ejected {
    /// What is left to be done by hand, as a command.
    pub fn command(&self) -> Option<String> {
        match self.unmounted {
            Unmounted::Done | Unmounted::Nothing => None,
            Unmounted::Refused(_) => Some(format!("sudo umount '{}'", self.path.display())),
        }
    }

    /// What to tell who asked.
    pub fn message(&self) -> String {
        let (side, path) = (self.side, self.path.display());
        let but = match self.lacking {
            0 => String::new(),
            lacking => {
                format!(" but {} that it could not be given ('fget status' says why)", count(lacking, "path"))
            }
        };
        let mut message = match &self.unmounted {
            Unmounted::Done => format!("drive {side} may be pulled: all is on it{but}, and it is unmounted"),
            Unmounted::Nothing => {
                format!("drive {side} is let go of: all is on it{but}; {path} is no mount of its own")
            }
            Unmounted::Refused(why) => format!(
                "drive {side} is let go of, and all is on it{but}; twinstickd could not unmount it ({why}): it may be pulled \
                 after '{}'",
                self.command().unwrap_or_default()
            ),
        };
        if self.last {
            message.push_str("; it was the last drive: nothing can be read or stored until one is plugged in");
        }
        message
    }
}

impl Mirror {
    /// Finishes what a drive lacks, syncs it, lets go of it and unmounts it. It stays parked until it was plugged in or
    /// mounted anew.
    ///
    /// Refused where it alone has something, or where something cannot be finished now, unless `loss` accepts that
    /// this is so while it is away: nothing is ever lost by it. Once it is being let go of, that goes on without
    /// whoever asked.
    pub async fn eject(&self, side: Side, patience: Patience, loss: Loss) -> Result<Ejected, Refusal> {
        self.core.check_journal()?;
        if patience == Patience::UntilInSync {
            self.wait_in_sync().await;
        }
        let attachment = self.present(side).await?;
        let lacking = self.finish(&attachment, loss).await?;
        self.check_alone(side, loss)?;
        attachment.wake.ring_for_eject();
        let seat = self.core.seat(side);
        let mut changed = self.core.changed.subscribe();
        loop {
            changed.mark_unchanged();
            match seat.ejection() {
                Some(Ejection::Over { visit, unmounted }) if visit == attachment.visit => {
                    let last = self.core.attachments().is_empty();
                    return Ok(Ejected { side, path: self.last_place(side), unmounted, lacking, last });
                }
                Some(Ejection::UnderWay { visit }) if visit == attachment.visit => {}
                Some(_) | None if attachment.is_gone() => return Err(self.not_there(side)),
                Some(_) | None => {}
            }
            if changed.changed().await.is_err() {
                return Err(self.not_there(side));
            }
        }
    }

    /// A drive that is there, once it is known what it has.
    async fn present(&self, side: Side) -> Result<Arc<Attachment>, Refusal> {
        let mut changed = self.core.changed.subscribe();
        loop {
            changed.mark_unchanged();
            let seat = self.core.seat(side);
            match (seat.attachment(), seat.state()) {
                (Some(attachment), _) => return Ok(attachment),
                (None, DriveState::Verifying) if changed.changed().await.is_ok() => {}
                (None, _) => return Err(self.not_there(side)),
            }
        }
    }

    fn not_there(&self, side: Side) -> Refusal {
        let seat = self.core.seat(side);
        seat.note_unmounted();
        let condition = seat.condition();
        let because = condition.reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
        let message = format!("drive {side} is not in use, it is {}{because}: nothing to eject", condition.state);
        Refusal::Unavailable { drive: Some(side), message }
    }

    /// Waits until a drive has all that was acknowledged before the call and that a drive has, or can have no more of it
    /// now; how many paths that is.
    async fn finish(&self, attachment: &Attachment, loss: Loss) -> Result<u64, Refusal> {
        let (side, head) = (attachment.side, self.core.journal.head());
        let (mut changed, mut seen) = (self.core.changed.subscribe(), NodeId::ROOT);
        loop {
            changed.mark_unchanged();
            if attachment.is_gone() {
                return Err(self.not_there(side));
            }
            let (behind, stays) = (self.behind(side).paths, self.core.seat(side).stays().len() as u64);
            if !self.core.still_lacks(side, head, &mut seen) {
                return Ok(stays.min(behind));
            }
            if stays > 0 && behind <= stays {
                return match loss {
                    Loss::Accepted => Ok(behind),
                    Loss::Refused => Err(Refusal::NeedsForce {
                        drive: side,
                        message: format!(
                            "drive {side} lacks {} that it cannot be given now ('fget status' says why): --force ejects \
                             it as it is, and it catches up when it comes back",
                            count(behind, "path")
                        ),
                    }),
                };
            }
            if changed.changed().await.is_err() {
                return Err(self.not_there(side));
            }
        }
    }

    /// Refuses where a drive has something that nobody could have without it.
    fn check_alone(&self, side: Side, loss: Loss) -> Result<(), Refusal> {
        if loss == Loss::Accepted {
            return Ok(());
        }
        let only = self.core.journal.only_on(side, ONLY_MAX).map_err(unreadable)?;
        let Some(first) = only.first() else { return Ok(()) };
        let path =
            self.core.journal.path_of(first).map_err(unreadable)?.map_or_else(String::new, |path| path.to_string());
        let more = if only.len() == ONLY_MAX { " or more" } else { "" };
        let other = side.other();
        let advice = match self.core.seat(other).attachment() {
            Some(_) => "--wait ejects it as soon as both have everything".to_owned(),
            None => format!("plug in drive {other} first, and use --wait"),
        };
        Err(Refusal::NeedsForce {
            drive: side,
            message: format!(
                "drive {side} alone has {}{more}, such as {path}: {advice}; --force ejects it now, and they cannot be had \
                 until it is back",
                count(only.len() as u64, "file")
            ),
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests;
