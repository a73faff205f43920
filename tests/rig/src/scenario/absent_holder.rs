//! The only copy of a version is on a drive that is away.

use crate::content::Content;
use crate::stick::{Pull, Side};
use crate::twins::Twins;
use crate::wait::wait_until;

/// Exit code for what cannot be had now.
const UNAVAILABLE: i32 = 5;

/// Never the old bytes, a clear answer instead; all else goes on; with the holder back it is there.
pub fn a_path_that_only_an_absent_drive_holds_waits_for_it(twins: &mut Twins, ways: [Pull; 2]) {
    let client = twins.client();
    let [old, new, other] = [1, 2, 3].map(|seed| Content { seed, len: 300_000 }.bytes());
    client.put("d/contested", &old).expect(0);
    client.put("d/other", &other).expect(0);
    twins.check_identical();

    twins.pull(Side::A, ways[0]);
    client.put("d/contested", &new).expect(0);
    twins.pull(Side::B, ways[1]);
    twins.bring_back(Side::A);

    let refused = client.get("d/contested").expect(UNAVAILABLE);
    assert!(refused.stdout.is_empty(), "{} bytes came with the refusal", refused.stdout.len());
    assert!(refused.stderr.contains("drive b"), "it names the holder: {}", refused.stderr);
    println!("with only drive a there: {}", refused.stderr.trim());

    // The lane goes on with the other paths, and so do clients.
    assert_eq!(client.get("d/other").expect(0).stdout, other);
    client.put("d/later", &other).expect(0);
    client.run(&["rm", "d/other"]).expect(0);
    wait_until("the later file is on drive a", || twins.root(Side::A).join("d/later").exists());
    assert!(client.drive(Side::A)["waiting"].to_string().contains("d/contested"), "{}", client.status());
    client.get("d/contested").expect(UNAVAILABLE);

    twins.bring_back(Side::B);
    wait_until("the new bytes are there", || client.get("d/contested").code == 0);
    assert_eq!(client.get("d/contested").expect(0).stdout, new);
    twins.check_identical();
}
