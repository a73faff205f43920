//! Both drives are away.

use std::time::Instant;

use crate::content::Content;
use crate::stick::{Pull, Side};
use crate::twins::Twins;
use crate::wait::{seconds, wait_until};

/// Exit code for what cannot be had now.
const UNAVAILABLE: i32 = 5;

/// A clear refusal, and no more than one drive's return is needed for everything to work again.
pub fn with_both_drives_out_a_client_is_told_and_a_return_heals(twins: &mut Twins, ways: [Pull; 2]) {
    let client = twins.client();
    let [first, second] = [1, 2].map(|seed| Content { seed, len: 100_000 }.bytes());
    client.put("first", &first).expect(0);
    twins.check_identical();
    twins.pull(Side::B, ways[0]);
    twins.pull(Side::A, ways[1]);

    let begin = Instant::now();
    let put = client.put("second", &second).expect(UNAVAILABLE);
    let get = client.get("first").expect(UNAVAILABLE);
    let both = begin.elapsed();
    for outcome in [&put, &get] {
        assert!(outcome.stderr.contains("drive"), "it says what to do: {}", outcome.stderr);
    }
    assert!(get.stdout.is_empty());
    assert_eq!(client.status()["state"], "unusable");
    println!("put and get refused within {}: {}", seconds(both), put.stderr.trim());

    twins.bring_back(Side::A);
    wait_until("a get works again", || client.get("first").code == 0);
    assert_eq!(client.get("first").expect(0).stdout, first);
    client.put("second", &second).expect(0);
    twins.bring_back(Side::B);
    twins.check_identical();
    assert_eq!(client.get("second").expect(0).stdout, second);
}
