//! Made-up histories, and how far the estimate is from the time that was really left.

use super::*;

const MIB: u64 = 1 << 20;

/// A span of work, or of none.
#[derive(Clone, Copy)]
struct Step {
    seconds: f64,
    paths: u64,
    bytes: u64,
}

/// Small files, `number` of them in steps of 50.
fn small(number: u64, path_seconds: f64, bytes: u64, byte_seconds: f64) -> Vec<Step> {
    let step = Step { seconds: 50.0 * (path_seconds + bytes as f64 * byte_seconds), paths: 50, bytes: 50 * bytes };
    vec![step; usize::try_from(number / 50).unwrap()]
}

/// One file, looked at each second; its path counts at its end.
fn large(mebibytes: u64, speed: u64) -> Vec<Step> {
    let mut steps =
        vec![Step { seconds: 1.0, paths: 0, bytes: speed * MIB }; usize::try_from(mebibytes / speed).unwrap()];
    steps.last_mut().unwrap().paths = 1;
    steps
}

fn pause(seconds: u32) -> Vec<Step> {
    vec![Step { seconds: 2.0, paths: 0, bytes: 0 }; usize::try_from(seconds / 2).unwrap()]
}

/// At each look: the share of the time that has passed, and the outlook by the seconds really left.
fn looks(steps: &[Step]) -> Vec<(f64, f64, Outlook)> {
    let begin = crate::clock::now();
    let all: f64 = steps.iter().map(|step| step.seconds).sum();
    let mut left =
        Amount { paths: steps.iter().map(|step| step.paths).sum(), bytes: steps.iter().map(|step| step.bytes).sum() };
    let (mut pace, mut done, mut passed) = (Pace::default(), Amount::default(), 0.0);
    pace.observe(begin, done);
    let mut looks = Vec::new();
    for step in steps {
        passed += step.seconds;
        done = Amount { paths: done.paths + step.paths, bytes: done.bytes + step.bytes };
        left = Amount { paths: left.paths - step.paths, bytes: left.bytes - step.bytes };
        let now = begin + Duration::from_secs_f64(passed);
        pace.observe(now, done);
        looks.push((passed / all, all - passed, pace.outlook(now, left)));
    }
    looks
}

/// Checks that from each share of the time on the estimate is at most so many times too long or too short; what is
/// off by less than two seconds is right.
#[track_caller]
fn check(steps: &[Step], bounds: &[(f64, f64)]) {
    for (passed, truth, outlook) in looks(steps) {
        let estimate = match outlook {
            Outlook::Left(left) => left.as_secs_f64(),
            Outlook::Unknown if passed < 0.05 => continue,
            Outlook::Still(_) | Outlook::Unknown => panic!("{outlook:?} at {passed:.2}, {truth:.0} s are left"),
        };
        let bound = bounds.iter().filter(|(from, _)| passed >= *from).map(|(_, times)| *times).fold(f64::MAX, f64::min);
        let far = (estimate - truth).abs() > 2.0 && (estimate > truth * bound || estimate * bound < truth);
        assert!(!far, "{estimate:.0} s where {truth:.0} s are left, at {passed:.2}, bound {bound}");
    }
}

#[test]
fn a_constant_speed_is_known_at_once() {
    check(&large(2000, 20), &[(0.0, 1.3), (0.1, 1.05)]);
    check(&large(600, 2), &[(0.0, 2.0), (0.1, 1.1)]);
    check(&small(20_000, 0.01, 4096, 0.05 / MIB as f64), &[(0.0, 1.3), (0.1, 1.05)]);
    // A stick that syncs for a third of a second for each file.
    check(&small(2000, 0.33, 4096, 0.5 / MIB as f64), &[(0.0, 1.5), (0.1, 1.1)]);
}

#[test]
fn one_large_file_behind_many_small_ones_is_not_measured_by_them() {
    // Until it begins nobody has seen what a byte costs: a stick may be three times as fast as was assumed, or slow.
    for speed in [5, 10, 30] {
        let mut steps = small(5000, 0.01, 4096, 1.0 / (speed * MIB) as f64);
        steps.extend(large(3000, speed));
        let begins = 50.0 / (50.0 + 3000.0 / speed as f64);
        check(&steps, &[(0.0, 4.0), (begins + 0.1, 1.15), (0.6, 1.1)]);
    }
}

#[test]
fn small_files_behind_a_large_one_cost_what_they_did_before_it() {
    let mut steps = small(2000, 0.02, 4096, 0.05 / MIB as f64);
    steps.extend(large(4000, 20));
    steps.extend(small(10_000, 0.02, 4096, 0.05 / MIB as f64));
    check(&steps, &[(0.0, 2.0), (0.1, 1.3), (0.6, 1.1)]);
}

#[test]
fn a_pause_in_the_middle_is_said_and_leaves_the_estimate_as_it_was() {
    let (mut steps, rest) = (large(1000, 10), large(1000, 10));
    let before = steps.len();
    steps.extend(pause(600));
    let waiting = steps.len();
    steps.extend(rest);
    let looks = looks(&steps);
    let left = |index: usize| match looks[index].2 {
        Outlook::Left(left) => left.as_secs(),
        Outlook::Still(_) | Outlook::Unknown => panic!("{:?}", looks[index]),
    };
    assert!((95..=115).contains(&left(before - 1)), "{}", left(before - 1));
    // A short one is borne in silence.
    assert!((95..=115).contains(&left(before + 5)), "{}", left(before + 5));
    for (_, _, outlook) in &looks[before + 8..waiting] {
        assert!(matches!(outlook, Outlook::Still(_)), "{outlook:?}");
    }
    assert_eq!(looks[waiting - 1].2, Outlook::Still(Duration::from_mins(10)));
    for (index, (_, truth, _)) in looks.iter().enumerate().skip(waiting) {
        assert!((left(index) as f64 - truth).abs() <= 2.0 + truth * 0.1, "{} at {truth}", left(index));
    }
}

#[test]
fn a_slow_start_is_outgrown() {
    let mut steps = large(20, 1);
    steps.extend(large(4000, 20));
    // As slow as it was, it would take an hour; that is said at first, and not for long.
    check(&steps, &[(0.0, 25.0), (0.2, 1.5), (0.4, 1.1)]);
}

#[test]
fn a_stick_that_slows_down_is_believed() {
    let mut steps = large(2000, 40);
    steps.extend(large(1000, 4));
    check(&steps, &[(0.0, 10.0), (0.4, 1.5), (0.6, 1.1)]);
}

#[test]
fn a_look_in_the_middle_of_a_step_counts_and_is_not_remembered() {
    let begin = crate::clock::now();
    let at = |seconds| begin + Duration::from_secs(seconds);
    let mut pace = Pace::default();
    pace.observe(begin, Amount::default());
    let looked = pace.as_of(at(10), Amount { paths: 0, bytes: 100 * MIB });
    assert_eq!(looked.bytes_per_second(), 10 * MIB);
    let left = Amount { paths: 1, bytes: 400 * MIB };
    assert!(matches!(looked.outlook(at(10), left), Outlook::Left(left) if (38..=42).contains(&left.as_secs())));
    assert_eq!(pace.outlook(at(10), left), Outlook::Unknown);
    assert_eq!(pace.outlook(at(30), left), Outlook::Still(Duration::from_secs(30)));
}

#[test]
fn nothing_is_ever_said_to_take_no_time() {
    let begin = crate::clock::now();
    let mut pace = Pace::default();
    pace.observe(begin, Amount::default());
    let now = begin + Duration::from_secs(2);
    pace.observe(now, Amount { paths: 100_000, bytes: 0 });
    assert_eq!(pace.outlook(now, Amount { paths: 1, bytes: 0 }), Outlook::Left(Duration::from_secs(1)));
    assert_eq!(pace.outlook(now + Duration::from_millis(10), Amount::default()), Outlook::Left(Duration::from_secs(1)));
}
