//! How far the daemon is on its way to its end.

use tokio::sync::watch;

/// The daemon's last phases, in their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    #[default]
    Running,
    /// Requests under way are finished, others are refused by name.
    Draining,
    /// Requests under way are refused too.
    Hurrying,
}

/// Returns when `phase` is at least `at`; never where nobody can say any more.
pub(crate) async fn reached(phase: &mut watch::Receiver<Phase>, at: Phase) {
    if phase.wait_for(|phase| *phase >= at).await.is_err() {
        std::future::pending::<()>().await;
    }
}
