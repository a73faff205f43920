//! How fast a drive is brought up to date, and how long the rest takes.
//!
//! Small files cost time by their number, large ones by their bytes. So two costs are estimated, of a path and of a
//! byte, by least squares over what each span of time got done: once over all of the work, which keeps what a path
//! costs in mind while one large file is copied, and once over the last of it, which follows a stick that slows down.
#![expect(
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "an estimate: sums of what is not below nothing, and 52 bits are more than it is worth"
)]

use std::time::{Duration, Instant};

/// Paths and bytes: done so far, or still to be done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Amount {
    pub(crate) paths: u64,
    pub(crate) bytes: u64,
}

/// What is known of the time that the rest takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outlook {
    /// Too little was done so far.
    Unknown,
    /// Nothing has moved for so long: whatever holds it up, nobody knows when it ends.
    Still(Duration),
    Left(Duration),
}

/// Shorter spans say little: what was done in them is counted with the next.
const SPAN_MIN: Duration = Duration::from_millis(50);
/// Without a change for longer than this, nothing moves. A step's sync on a slow stick is shorter.
const STILL_AFTER: Duration = Duration::from_secs(15);
/// Work of this length comes before an estimate.
const KNOWN_AFTER_SECONDS: f64 = 0.5;
/// Of an idle time this much belongs to the work around it, the rest is a pause.
const IDLE_CHARGED_MAX: Duration = Duration::from_secs(2);
/// The estimate over the last of the work forgets half of it in this time.
const COST_HALF_LIFE_SECONDS: f64 = 15.0;
/// The speed shown forgets half in this time.
const SPEED_HALF_LIFE_SECONDS: f64 = 5.0;
/// The unit of a path's cost. On the slow side, so that what is seen soon outweighs what was assumed.
const PATH_SECONDS: f64 = 0.05;
/// The unit of a byte's cost: 2 MiB in a second.
const BYTE_SECONDS: f64 = 0.5 / (1 << 20) as f64;
/// What is assumed before anything was seen: 10 ms a path, 10 MiB in a second.
const ASSUMED: Costs = Costs { path: 0.2, byte: 0.2 };
/// The weight of what is assumed, in units of work.
const ASSUMED_WEIGHT: f64 = 0.1;
/// The weight of the whole work's costs against those of the last of it.
const STEADY_SHARE: f64 = 0.02;

/// A moving estimate.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pace {
    last: Option<(Instant, Amount)>,
    moved: Option<Instant>,
    idle: Duration,
    worked_seconds: f64,
    whole: Sums,
    recent: Sums,
    speed_bytes: f64,
    speed_seconds: f64,
}

/// Costs in the units above.
#[derive(Clone, Copy, Debug)]
struct Costs {
    path: f64,
    byte: f64,
}

/// The sums of a least-squares fit of time by paths and bytes; a span weighs by what was done in it.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    path_path: f64,
    path_byte: f64,
    byte_byte: f64,
    path: f64,
    byte: f64,
}

impl Pace {
    /// Takes in what was done until `now`, counted from the start of the work.
    pub(crate) fn observe(&mut self, now: Instant, done: Amount) {
        let Some((at, before)) = self.last else {
            self.last = Some((now, done));
            return;
        };
        let span = now.saturating_duration_since(at);
        if span < SPAN_MIN {
            return;
        }
        self.last = Some((now, done));
        let paths = done.paths.saturating_sub(before.paths);
        let bytes = done.bytes.saturating_sub(before.bytes);
        let left = kept(span.as_secs_f64(), SPEED_HALF_LIFE_SECONDS);
        self.speed_bytes = self.speed_bytes * left + bytes as f64;
        self.speed_seconds = self.speed_seconds * left + span.as_secs_f64();
        if paths == 0 && bytes == 0 {
            self.idle += span;
            return;
        }
        let seconds = (span + std::mem::take(&mut self.idle).min(IDLE_CHARGED_MAX)).as_secs_f64();
        self.moved = Some(now);
        self.worked_seconds += seconds;
        let (path, byte) = (paths as f64 * PATH_SECONDS, bytes as f64 * BYTE_SECONDS);
        self.whole.add(seconds, path, byte);
        self.recent.fade(kept(seconds, COST_HALF_LIFE_SECONDS));
        self.recent.add(seconds, path, byte);
    }

    /// As [`Pace::observe`], for a look in the middle of a step: paths of it may count before all of their time has
    /// passed, so that this is not to be remembered.
    pub(crate) fn as_of(mut self, now: Instant, done: Amount) -> Self {
        self.observe(now, done);
        self
    }

    /// The time that `left` takes.
    pub(crate) fn outlook(&self, now: Instant, left: Amount) -> Outlook {
        let began = self.moved.or(self.last.map(|(at, _)| at));
        let still = self.idle.max(began.map_or(Duration::ZERO, |began| now.saturating_duration_since(began)));
        if still >= STILL_AFTER {
            return Outlook::Still(still);
        }
        if self.worked_seconds < KNOWN_AFTER_SECONDS {
            return Outlook::Unknown;
        }
        let costs = self.recent.costs(self.whole.costs(ASSUMED, ASSUMED_WEIGHT), self.recent.steadiness());
        let seconds = left.paths as f64 * costs.path * PATH_SECONDS + left.bytes as f64 * costs.byte * BYTE_SECONDS;
        Duration::try_from_secs_f64(seconds.ceil().max(1.0)).map_or(Outlook::Unknown, Outlook::Left)
    }

    /// The speed of the last seconds.
    pub(crate) fn bytes_per_second(&self) -> u64 {
        if self.speed_seconds > 0.0 { (self.speed_bytes / self.speed_seconds) as u64 } else { 0 }
    }
}

impl Sums {
    fn add(&mut self, seconds: f64, path: f64, byte: f64) {
        // Of paths alone, or bytes alone, the cost is then all of the time by all of the work.
        let work = path + byte;
        self.path_path += path * path / work;
        self.path_byte += path * byte / work;
        self.byte_byte += byte * byte / work;
        self.path += path * seconds / work;
        self.byte += byte * seconds / work;
    }

    fn fade(&mut self, kept: f64) {
        for sum in [&mut self.path_path, &mut self.path_byte, &mut self.byte_byte, &mut self.path, &mut self.byte] {
            *sum *= kept;
        }
    }

    fn steadiness(&self) -> f64 {
        (self.path_path + self.byte_byte) * STEADY_SHARE
    }

    /// The costs that fit best and are not below nothing, drawn towards `centre` with this weight. Where paths and
    /// bytes always came in one proportion, only their sum is known: the nearest to `centre` is taken.
    fn costs(&self, centre: Costs, weight: f64) -> Costs {
        let (path_path, byte_byte) = (self.path_path + weight, self.byte_byte + weight);
        let (path, byte) = (self.path + weight * centre.path, self.byte + weight * centre.byte);
        let determinant = path_path * byte_byte - self.path_byte * self.path_byte;
        if determinant <= 0.0 {
            return centre;
        }
        let by_path = (path * byte_byte - byte * self.path_byte) / determinant;
        let by_byte = (byte * path_path - path * self.path_byte) / determinant;
        if by_path < 0.0 {
            return Costs { path: 0.0, byte: byte / byte_byte };
        }
        if by_byte < 0.0 {
            return Costs { path: path / path_path, byte: 0.0 };
        }
        Costs { path: by_path, byte: by_byte }
    }
}

/// What is left of a sum after so long.
fn kept(seconds: f64, half_life_seconds: f64) -> f64 {
    (-seconds / half_life_seconds).exp2()
}

#[cfg(test)]
mod tests;
