//! A stick that hangs under a command that works on it itself (`init`, `adopt`, `check`): it ends with a word instead of
//! never.
//!
//! What hangs in the kernel cannot be called back, so that the process ends from beside it, and is gone as soon as the
//! kernel lets go of that: when the stick is pulled or goes on. All these commands may be cut short anywhere.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::clock;
use crate::mirror::os_volume::{Identity, Standing};

/// Between two looks at the drives.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// However small `stall_after` is: no client waits meanwhile.
const PATIENCE_MIN: Duration = Duration::from_secs(3);

/// Watches over drives until it is dropped.
#[derive(Debug)]
pub struct Vigil {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    places: Mutex<Vec<Arc<Place>>>,
    over: AtomicBool,
}

/// A place that is asked again and again.
#[derive(Debug)]
struct Place {
    path: PathBuf,
    asked: Mutex<Asked>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Asked {
    /// When it was asked, while it has not answered.
    since: Option<Instant>,
    /// Of the file system there, once it has answered.
    dev: Option<u64>,
}

impl Vigil {
    /// From now on, a drive that does nothing for `stall_after` although something is asked of it ends the process with
    /// `code`, and says so on standard error.
    pub fn begin(stall_after: Duration, code: u8) -> std::io::Result<Self> {
        let stall_after = stall_after.max(PATIENCE_MIN);
        let shared = Arc::new(Shared::default());
        let watched = Arc::clone(&shared);
        std::thread::Builder::new().name("vigil".to_owned()).spawn(move || watch(&watched, stall_after, code))?;
        Ok(Self { shared })
    }

    /// Watches over the drive at this place too.
    pub fn attend(&self, path: &Path) -> std::io::Result<()> {
        let place = Arc::new(Place { path: path.to_owned(), asked: Mutex::default() });
        let (asked, shared) = (Arc::clone(&place), Arc::clone(&self.shared));
        std::thread::Builder::new().name("vigil-ask".to_owned()).spawn(move || ask(&asked, &shared))?;
        self.shared.places.lock().push(place);
        Ok(())
    }
}

impl Drop for Vigil {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Release);
    }
}

/// Asks a place for as long as the vigil lasts.
fn ask(place: &Place, shared: &Shared) {
    while !shared.over.load(Ordering::Acquire) {
        place.asked.lock().since = Some(clock::now());
        let found = Identity::of_place_now(&place.path);
        let mut asked = place.asked.lock();
        asked.since = None;
        asked.dev = found.ok().map(|identity| identity.dev).or(asked.dev);
        drop(asked);
        std::thread::sleep(LOOK_EVERY);
    }
}

fn watch(shared: &Shared, stall_after: Duration, code: u8) {
    let mut judges: Vec<Judge> = Vec::new();
    loop {
        std::thread::sleep(LOOK_EVERY);
        if shared.over.load(Ordering::Acquire) {
            return;
        }
        let places = shared.places.lock().clone();
        judges.resize_with(places.len(), Judge::default);
        for (place, judge) in places.iter().zip(&mut judges) {
            let Asked { since, dev } = *place.asked.lock();
            let now = clock::now();
            let unanswered = since.map(|since| now.saturating_duration_since(since));
            if judge.is_hung(now, unanswered, dev.and_then(Standing::of), stall_after) {
                end(&place.path, stall_after, code);
            }
        }
    }
}

fn end(path: &Path, stall_after: Duration, code: u8) {
    let told = format!(
        "twinstickd: the drive at {} does not answer: nothing on it has moved for {} s. Pull it and plug it in again, into \
         another port or on its own supply if that happens again, and run the command again\n",
        path.display(),
        stall_after.as_secs_f32()
    );
    // Without a stderr there is nobody to tell.
    let _ = std::io::stderr().write_all(told.as_bytes());
    #[expect(clippy::exit, reason = "the thread that works on the drive hangs in the kernel")]
    std::process::exit(code.into());
}

/// Tells a place that hangs from one that is slow.
#[derive(Debug, Default)]
struct Judge {
    /// What its device had done when that last changed, and when.
    before: Option<(Standing, Instant)>,
}

impl Judge {
    /// Whether it has hung for `stall_after`. Where there is a block device, its counters alone say that something
    /// moves; that something is asked of it, its queue or the unanswered question.
    fn is_hung(
        &mut self,
        now: Instant,
        unanswered: Option<Duration>,
        device: Option<Standing>,
        stall_after: Duration,
    ) -> bool {
        let Some(device) = device else { return unanswered.is_some_and(|for_so_long| for_so_long >= stall_after) };
        match &self.before {
            Some((before, since)) if before.done == device.done && (device.is_asked() || unanswered.is_some()) => {
                now.saturating_duration_since(*since) >= stall_after
            }
            Some(_) | None => {
                self.before = Some((device, now));
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STALL_AFTER: Duration = Duration::from_secs(5);

    fn device(done: u64, under_way: u64) -> Standing {
        Standing::parse(&format!("{done} 0 0 0 0 0 0 0 {under_way} 0 0"))
    }

    /// Whether it hangs after these looks, one second after the other.
    fn hangs(looks: &[(Option<u64>, Option<Standing>)]) -> bool {
        let (mut judge, begin) = (Judge::default(), clock::now());
        let mut verdicts = looks.iter().zip(0..).map(|((unanswered, device), second)| {
            let now = begin + Duration::from_secs(second);
            judge.is_hung(now, unanswered.map(Duration::from_secs), device.clone(), STALL_AFTER)
        });
        verdicts.any(|hangs| hangs)
    }

    #[test]
    fn a_device_with_something_to_do_that_does_nothing_hangs() {
        assert!(hangs(&vec![(None, Some(device(7, 1))); 6]));
        assert!(!hangs(&vec![(None, Some(device(7, 1))); 5]));
    }

    #[test]
    fn a_device_that_has_nothing_to_do_or_does_something_is_well() {
        assert!(!hangs(&vec![(None, Some(device(7, 0))); 60]));
        let slow: Vec<_> = (0..60).map(|second| (Some(second), Some(device(second / 4, 1)))).collect();
        assert!(!hangs(&slow));
        // Asked the file system alone: the device knows of nothing.
        let asked: Vec<_> = (0..7).map(|second| (Some(second), Some(device(7, 0)))).collect();
        assert!(hangs(&asked) && !hangs(&asked[..5]));
    }

    #[test]
    fn without_a_device_the_unanswered_question_decides() {
        assert!(hangs(&[(Some(4), None), (Some(5), None)]));
        assert!(!hangs(&[(Some(4), None), (None, None), (Some(1), None)]));
    }
}
