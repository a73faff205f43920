#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use super::*;
use crate::clock;

const PLACES: usize = 8;

fn origin(number: u8) -> Origin {
    IpAddr::from([10, 0, 0, number]).into()
}

/// Lets connections of one origin in until one is refused.
fn flood(admission: &Arc<Admission>, of: Origin, now: Instant) -> Vec<Pass> {
    std::iter::from_fn(|| admission.admit(of, PLACES, now).ok()).take(10 * PLACES).collect()
}

fn work(passes: &[Pass]) {
    for pass in passes {
        pass.work().unwrap();
    }
}

#[test]
fn one_that_floods_leaves_the_last_quarter_to_others() {
    let (admission, now) = (Arc::new(Admission::default()), clock::now());
    let flood = flood(&admission, origin(1), now);
    assert_eq!(flood.len(), PLACES - PLACES / RESERVE_PART);
    let refused = admission.admit(origin(1), PLACES, now).unwrap_err();
    assert_eq!(refused, Full::Share { open: 6, of_origin: 6, places: PLACES });
    let others = [2, 3].map(|number| admission.admit(origin(number), PLACES, now).unwrap());
    assert_eq!(admission.admit(origin(4), PLACES, now).unwrap_err(), Full::House { open: PLACES });
    drop(others);
    drop(flood);
    assert_eq!(admission.open(), 0);
}

#[test]
fn a_full_house_gives_a_newcomer_the_place_that_was_idle_longest() {
    let (admission, begin) = (Arc::new(Admission::default()), clock::now());
    let flood = flood(&admission, origin(1), begin);
    let others = [2, 3].map(|number| admission.admit(origin(number), PLACES, begin).unwrap());
    let [first, second, ..] = flood.as_slice() else { panic!("six") };
    // The first works, and rests again later than the others.
    first.work().unwrap();
    first.rest(begin + IDLE_MIN);
    second.work().unwrap();
    let later = begin + 2 * IDLE_MIN;
    let newcomer = admission.admit(origin(4), PLACES, later).unwrap();
    assert_eq!(admission.open(), PLACES);
    for pass in &others {
        assert_eq!(pass.work(), Ok(()), "those below their share keep their places");
    }
    assert_eq!((first.work(), second.work()), (Ok(()), Ok(())));
    assert_eq!(flood.iter().filter(|pass| pass.work() == Err(Displaced)).count(), 1);
    drop((newcomer, flood, others));
    assert_eq!(admission.open(), 0);
}

#[test]
fn those_who_have_just_come_and_those_at_work_keep_their_places() {
    let (admission, begin) = (Arc::new(Admission::default()), clock::now());
    let flood = flood(&admission, origin(1), begin);
    let others = [2, 3].map(|number| admission.admit(origin(number), PLACES, begin).unwrap());
    assert!(admission.admit(origin(4), PLACES, begin + IDLE_MIN / 2).is_err());
    work(&flood);
    work(&others);
    assert!(admission.admit(origin(4), PLACES, begin + 100 * IDLE_MIN).is_err());
    assert!(!admission.displace_any(begin + 100 * IDLE_MIN));
    for pass in &others {
        pass.rest(begin + 100 * IDLE_MIN);
    }
    // Those below their share are no prey.
    assert!(admission.admit(origin(4), PLACES, begin + 200 * IDLE_MIN).is_err());
    assert!(admission.displace_any(begin + 200 * IDLE_MIN), "but for a lack of descriptors");
    assert_eq!(admission.open(), PLACES - 1);
}

#[test]
fn one_over_its_share_takes_its_own_idle_place() {
    let (admission, begin) = (Arc::new(Admission::default()), clock::now());
    let flood = flood(&admission, origin(1), begin);
    let newcomer = admission.admit(origin(1), PLACES, begin + IDLE_MIN).unwrap();
    assert_eq!(admission.open(), flood.len());
    assert_eq!(newcomer.work(), Ok(()));
}

#[test]
fn a_network_of_ipv6_is_one_origin_and_a_mapped_address_is_that_of_ipv4() {
    let of = |text: &str| Origin::from(text.parse::<IpAddr>().unwrap());
    assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
    assert_ne!(of("2001:db8:0:1::1"), of("2001:db8:0:2::1"));
    assert_eq!(of("::ffff:10.0.0.1"), origin(1));
}

#[test]
fn a_house_of_one_place_takes_one() {
    let (admission, now) = (Arc::new(Admission::default()), clock::now());
    let only = admission.admit(origin(1), 1, now).unwrap();
    assert!(admission.admit(origin(2), 1, now).is_err());
    drop(only);
    assert!(admission.admit(origin(2), 1, now).is_ok());
}
