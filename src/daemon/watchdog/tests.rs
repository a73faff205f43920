use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use tokio::time::{Instant, sleep};

use super::*;

const PACE: Pace = Pace { ask_every: Duration::from_secs(30), answer_within: Duration::from_secs(20) };

/// A part that answers after `delay`, until `hangs` is set.
fn part(name: &'static str, delay: Duration, hangs: &Arc<AtomicBool>, asked: &Arc<AtomicU32>) -> Vital {
    let (hangs, asked) = (Arc::clone(hangs), Arc::clone(asked));
    Vital::new(name, move || {
        asked.fetch_add(1, Ordering::Relaxed);
        let hangs = Arc::clone(&hangs);
        async move {
            sleep(delay).await;
            while hangs.load(Ordering::Relaxed) {
                sleep(Duration::from_secs(1)).await;
            }
            Ok::<_, String>(())
        }
    })
}

fn ended() -> Vital {
    Vital::new("loop", || std::future::ready(Err("the loop has ended")))
}

/// A watchdog over a quick part, and one that can hang and takes `delay` to answer.
struct Stand {
    hangs: Arc<AtomicBool>,
    asked: Arc<AtomicU32>,
    sent: Arc<AtomicU32>,
}

impl Stand {
    fn with(delay: Duration) -> Self {
        let (hangs, asked, sent) = (Arc::default(), Arc::default(), Arc::new(AtomicU32::new(0)));
        let vitals =
            vec![part("quick", Duration::ZERO, &Arc::default(), &Arc::default()), part("slow", delay, &hangs, &asked)];
        let count = Arc::clone(&sent);
        tokio::spawn(keep_alive(vitals, PACE, move || {
            count.fetch_add(1, Ordering::Relaxed);
        }));
        Self { hangs, asked, sent }
    }

    /// Keep-alives sent in the next `time`.
    async fn sent_in(&self, time: Duration) -> u32 {
        let before = self.sent.load(Ordering::Relaxed);
        sleep(time).await;
        self.sent.load(Ordering::Relaxed) - before
    }
}

#[tokio::test(start_paused = true)]
async fn keep_alives_are_sent_twice_in_an_interval_and_no_oftener() {
    let stand = Stand::with(Duration::ZERO);
    assert_eq!(stand.sent_in(Duration::from_secs(1)).await, 1, "the first at once");
    assert_eq!(stand.sent_in(Duration::from_mins(10)).await, 20);
}

#[tokio::test(start_paused = true)]
async fn a_part_that_answers_late_but_in_time_counts_as_moving() {
    let stand = Stand::with(Duration::from_secs(19));
    assert_eq!(stand.sent_in(Duration::from_mins(10)).await, 20);
}

#[tokio::test(start_paused = true)]
async fn one_part_that_hangs_stops_all_keep_alives_and_is_asked_once() {
    let stand = Stand::with(Duration::ZERO);
    stand.sent_in(Duration::from_secs(45)).await;
    stand.hangs.store(true, Ordering::Relaxed);
    let asked = stand.asked.load(Ordering::Relaxed);
    assert_eq!(stand.sent_in(Duration::from_mins(10)).await, 0);
    assert_eq!(stand.asked.load(Ordering::Relaxed), asked + 1);
    stand.hangs.store(false, Ordering::Relaxed);
    assert!(stand.sent_in(Duration::from_mins(2)).await >= 2, "it moves again");
}

#[tokio::test(start_paused = true)]
async fn only_the_part_that_hangs_is_blamed() {
    let hangs = Arc::new(AtomicBool::new(true));
    let (idle, asked) = (Arc::default(), Arc::default());
    let mut vitals = [
        part("hung", Duration::ZERO, &hangs, &asked),
        part("slow", Duration::from_secs(19), &idle, &asked),
        part("quick", Duration::ZERO, &idle, &asked),
    ];
    let faults = faults(&mut vitals, Instant::now() + PACE.answer_within).await;
    assert_eq!(faults.iter().map(|fault| fault.part).collect::<Vec<_>>(), ["hung"]);
}

#[tokio::test(start_paused = true)]
async fn a_loop_that_has_ended_does_not_move() {
    let deadline = Instant::now() + Duration::from_secs(20);
    let faults = faults(&mut [ended()], deadline).await;
    assert_eq!(faults, [Fault { part: "loop", why: "the loop has ended".to_owned() }]);
}

#[tokio::test(start_paused = true)]
async fn a_round_takes_no_longer_than_one_answer_may() {
    let begin = Instant::now();
    let hangs = Arc::new(AtomicBool::new(true));
    let hung = |name| part(name, Duration::ZERO, &hangs, &Arc::default());
    let faults = faults(&mut [hung("one"), hung("two")], begin + PACE.answer_within).await;
    assert_eq!(faults.iter().map(|fault| fault.part).collect::<Vec<_>>(), ["one", "two"]);
    assert_eq!(begin.elapsed(), PACE.answer_within);
}

#[test]
fn the_pace_leaves_the_service_manager_no_reason_to_kill() {
    for interval in [Duration::from_millis(10), Duration::from_mins(1)] {
        let pace = Pace::of(interval);
        assert!(pace.ask_every + pace.answer_within < interval);
    }
}
