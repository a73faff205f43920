//! How much a step takes: little at first, so that a drive that comes has its first files at once, however slow it is.

/// Debts of a lane's first step.
const FIRST_DEBTS: usize = 16;
/// Bytes that the first step makes ready at most, but for one file.
const FIRST_BYTES: u64 = 1 << 20;
/// Debts that a step takes at most.
const DEBTS_MAX: usize = 1024;
/// Bytes that a step makes ready at most, but for one file: about a second of a slow stick.
const BYTES_MAX: u64 = 16 << 20;

/// What the next step takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reach {
    pub(super) debts: usize,
    /// A step that has made so many ready takes no more.
    pub(super) bytes: u64,
}

impl Reach {
    pub(super) fn first() -> Self {
        Self { debts: FIRST_DEBTS, bytes: FIRST_BYTES }
    }

    /// After a step that had something to do: the syncs at its end are shared by more.
    pub(super) fn grown(self) -> Self {
        Self { debts: (self.debts * 4).min(DEBTS_MAX), bytes: (self.bytes * 4).min(BYTES_MAX) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_grow_to_their_full_size_within_a_few_and_no_further() {
        let mut reach = Reach::first();
        let mut steps = 0;
        while reach != reach.grown() {
            reach = reach.grown();
            steps += 1;
        }
        assert_eq!((reach, steps), (Reach { debts: 1024, bytes: 16 << 20 }, 3));
    }
}
