//! How many connections the process has descriptors for.

use rustix::process::{Resource, getrlimit};

use crate::server::limits::BUSY_ANSWERS_MAX;

/// Descriptors of the daemon's own: journal, drives, watches, log.
const OWN: usize = 64;

/// What one connection may hold: its socket, and a stage on each drive.
const PER_CONNECTION: usize = 3;

/// What there is room for at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) connections: usize,
    pub(crate) busy_answers: usize,
}

/// The room that the process has now. Clients must not take the descriptors that the drives need.
pub(crate) fn room(connections_max: usize) -> Room {
    let limit = getrlimit(Resource::Nofile).current.map_or(usize::MAX, |limit| limit as usize);
    room_in(limit, connections_max)
}

fn room_in(limit: usize, connections_max: usize) -> Room {
    let busy_answers = (limit / 8).min(BUSY_ANSWERS_MAX);
    let connections = limit.saturating_sub(OWN + busy_answers) / PER_CONNECTION;
    Room { connections: connections.clamp(1, connections_max), busy_answers }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_descriptors_make_few_places_and_many_all_of_them() {
        assert_eq!(room_in(65536, 4096), Room { connections: 4096, busy_answers: 256 });
        assert_eq!(room_in(1024, 4096), Room { connections: 277, busy_answers: 128 });
        assert_eq!(room_in(64, 4096).connections, 1);
        assert_eq!(room_in(65536, 7).connections, 7);
    }
}
