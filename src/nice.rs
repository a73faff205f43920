//! Threads that give way to others for the processor.

/// Steps of `nice(1)` for threads that do what nobody waits for at this moment: they get about a tenth of a processor
/// that others want too, and all of one that nobody wants.
const STEPS: i32 = 10;

/// Has the calling thread give way from now on.
pub(crate) fn give_way() {
    // To Linux each thread is a process in this.
    if let Err(error) = rustix::process::setpriority_process(Some(rustix::thread::gettid()), STEPS) {
        tracing::debug!(%error, "a thread keeps its priority");
    }
}
