//! How many connections the process has descriptors for.

use rustix::process::{Resource, getrlimit};

use crate::server::limits::BUSY_ANSWERS_MAX;

/// Descriptors of the daemon's own: journal, drives, watches, log.
const OWN: usize = 64;

/// What a large file under way may hold beside its socket: a stage on each drive.
const PER_TRANSFER: usize = 2;

/// What there is room for at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) connections: usize,
    pub(crate) busy_answers: usize,
}

/// The room that the process has now. Clients must not take the descriptors that the drives need.
pub(crate) fn room(connections_max: usize, transfers_max: usize) -> Room {
    let limit = getrlimit(Resource::Nofile).current.map_or(usize::MAX, |limit| limit as usize);
    room_in(limit, connections_max, transfers_max)
}

fn room_in(limit: usize, connections_max: usize, transfers_max: usize) -> Room {
    let busy_answers = (limit / 8).min(BUSY_ANSWERS_MAX);
    let left = limit.saturating_sub(OWN + busy_answers);
    // Each of few connections may have a large file under way, of many no more than there may be.
    let connections = (left / (1 + PER_TRANSFER)).max(left.saturating_sub(PER_TRANSFER * transfers_max));
    Room { connections: connections.clamp(1, connections_max), busy_answers }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_descriptors_make_few_places_and_many_all_of_them() {
        assert_eq!(room_in(65536, 4096, 1024), Room { connections: 4096, busy_answers: 256 });
        assert_eq!(room_in(20000, 16000, 1024), Room { connections: 16000, busy_answers: 256 });
        assert_eq!(room_in(1024, 4096, 1024), Room { connections: 277, busy_answers: 128 });
        assert_eq!(room_in(1024, 4096, 100), Room { connections: 632, busy_answers: 128 });
        assert_eq!(room_in(64, 4096, 1024).connections, 1);
        assert_eq!(room_in(65536, 7, 1024).connections, 7);
    }
}
