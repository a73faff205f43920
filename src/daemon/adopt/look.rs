//! Reading the drives, both at once, and saying how far that is.

use std::io::{IsTerminal, Write};
use std::sync::atomic::Ordering;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::clock;
use crate::daemon::adopt::error::AdoptError;
use crate::daemon::adopt::plan::Found;
use crate::ids::{PerSide, Side};
use crate::mirror::adopt::{Progress, Survey, survey};
use crate::mirror::volume::Volume as _;
use crate::units;

const TEMPLATE: &str = "{msg} {bytes} of about {total_bytes}, {binary_bytes_per_sec}, {eta} left";
/// Between two looks at how far it is.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Between two lines where nobody watches a bar.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Surveys the drives that are there.
pub(super) fn look_through(drives: &PerSide<Option<Found>>) -> Result<PerSide<Option<Survey>>, AdoptError> {
    let progress = Progress::default();
    for (_, found) in drives.iter() {
        // What is in use is what is to be read, or a little more.
        if let Some(space) = found.as_ref().and_then(|found| found.volume.space().ok()) {
            progress.total.fetch_add(space.size.saturating_sub(space.free), Ordering::Relaxed);
        }
    }
    let mut surveys = PerSide::default();
    std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for (side, found) in drives.iter() {
            let Some(found) = found else { continue };
            let progress = &progress;
            threads.push((side, scope.spawn(move || survey(&found.volume, found.label.clone(), progress))));
        }
        show(&progress, || threads.iter().all(|(_, thread)| thread.is_finished()));
        for (side, thread) in threads {
            *surveys.get_mut(side) = Some(done(side, thread.join())?);
        }
        Ok(surveys)
    })
}

fn done(side: Side, joined: std::thread::Result<crate::mirror::volume::Result<Survey>>) -> Result<Survey, AdoptError> {
    match joined {
        Ok(survey) => survey.map_err(|source| AdoptError::Drive { side, source }),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Shows how far it is until all is done: a bar where somebody watches, else a line now and then.
fn show(progress: &Progress, is_done: impl Fn() -> bool) {
    let watched = std::io::stderr().is_terminal();
    let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::hidden());
    if watched {
        bar.set_draw_target(ProgressDrawTarget::stderr());
    }
    if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
        bar.set_style(style);
    }
    let began = clock::now();
    let mut told = began;
    while !is_done() {
        std::thread::sleep(LOOK_EVERY);
        let (done, files) = (progress.done.load(Ordering::Relaxed), progress.files.load(Ordering::Relaxed));
        let total = progress.total.load(Ordering::Relaxed).max(done);
        bar.set_length(total);
        bar.set_position(done);
        bar.set_message(units::count(files, "file"));
        if !watched && told.elapsed() >= LINE_EVERY {
            told = clock::now();
            let left = left(done, total, began.elapsed());
            let line = format!("read {} of about {}{left}", units::bytes(done), units::bytes(total));
            // Without a stderr there is nobody to tell.
            let _ = writeln!(std::io::stderr(), "{line}");
        }
    }
    bar.finish_and_clear();
}

fn left(done: u64, total: u64, spent: Duration) -> String {
    if done == 0 {
        return String::new();
    }
    let seconds = spent.as_millis() * u128::from(total - done) / u128::from(done) / 1000;
    format!(", {} left", units::seconds(seconds as u64))
}
