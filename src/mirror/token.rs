//! The right to install on FAT, for one drive at a time: a power cut there can hurt neighbouring files too, and the
//! other drive is to be whole then. Staging needs no token.

use parking_lot::Mutex;

use crate::ids::{Arrival, Side};

/// Held by one drive's lane for one step, or by nobody.
#[derive(Debug, Default)]
pub(crate) struct InstallToken {
    holder: Mutex<Option<(Side, Arrival)>>,
}

impl InstallToken {
    /// Takes it, if nobody else has it; whether this lane has it now.
    pub(crate) fn take(&self, side: Side, arrival: Arrival) -> bool {
        let mut holder = self.holder.lock();
        *holder.get_or_insert((side, arrival)) == (side, arrival)
    }

    /// Gives it back, at the end of a step or because the drive was lost; whether this lane had it.
    pub(crate) fn give_back(&self, side: Side, arrival: Arrival) -> bool {
        let mut holder = self.holder.lock();
        let had = *holder == Some((side, arrival));
        if had {
            *holder = None;
        }
        had
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_drive_has_it_until_it_gives_it_back_or_is_lost() {
        let token = InstallToken::default();
        assert!(token.take(Side::A, Arrival(1)));
        assert!(token.take(Side::A, Arrival(1)), "its own step goes on");
        assert!(!token.take(Side::B, Arrival(4)));
        assert!(!token.give_back(Side::B, Arrival(4)), "not its to give");
        assert!(token.give_back(Side::A, Arrival(1)));
        assert!(token.take(Side::B, Arrival(4)));
        assert!(!token.give_back(Side::B, Arrival(3)), "an earlier stay's late word");
        assert!(!token.take(Side::A, Arrival(1)));
    }
}
