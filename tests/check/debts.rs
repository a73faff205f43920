//! What debts and crashes explain is no difference.

use std::fs;

use twinstick_rig::{End, Pull, Side, Sizes, Twins, Worker, run_while};

use crate::damage::alter;
use crate::{
    CLEAN, LARGE_BYTES, SMALL_BYTES, UNKNOWN, bytes, expect_clean, expect_differences, lines_of, plain, stocked,
};

/// All kinds of changes while drive b is away.
fn change_much(twins: &Twins) {
    let client = twins.client();
    client.put("new/deep/file", &bytes(11, LARGE_BYTES)).expect(0);
    client.put("photos/x.jpg", &bytes(12, SMALL_BYTES)).expect(0);
    client.run(&["mv", "photos/2026", "moved"]).expect(0);
    client.run(&["mv", "photos", "new/photos"]).expect(0);
    client.run(&["rm", "empty"]).expect(0);
    client.run(&["rm", "bare"]).expect(0);
    client.put("bare", &bytes(13, SMALL_BYTES)).expect(0);
    client.run(&["mv", "large", "empty"]).expect(0);
    client.put("large/not a file any more", b"1").expect(0);
}

pub(crate) fn behind(twins: Twins, how: Pull) {
    let mut twins = stocked(twins);
    for end in [End::Drain, End::Kill] {
        twins.serve();
        twins.check_identical();
        twins.pull(Side::B, how);
        match end {
            End::Drain => change_much(&twins),
            End::Kill => drop(twins.client().run(&["mv", "new", "old"]).expect(0)),
        }
        twins.end(end);
        let said = twins.check(&[]).expect(UNKNOWN);
        assert!(said.stderr.contains("b: is not there (enrolled at "), "{}", said.stderr);
        twins.put_in(Side::B);
        expect_clean(&twins);
    }
    twins.serve();
    twins.check_identical();
    twins.end(End::Drain);
    expect_clean(&twins);
}

pub(crate) fn lost_while_behind() {
    let mut twins = stocked(plain());
    twins.serve();
    twins.pull(Side::B, Pull::Rename);
    twins.client().run(&["mv", "photos/x.jpg", "moved.jpg"]).expect(0);
    twins.client().put("photos/2026/y.jpg", &bytes(21, SMALL_BYTES)).expect(0);
    twins.end(End::Drain);
    twins.put_in(Side::B);
    expect_clean(&twins);
    let old = twins.root(Side::B).join("photos/x.jpg");
    alter(&old, 300_000);
    expect_differences(&twins, &[("b", "photos/x.jpg", "wrong-bytes")]);
    fs::remove_file(&old).unwrap();
    let lines = expect_differences(&twins, &[("b", "photos/x.jpg", "missing")]);
    assert!(lines[0].ends_with("the daemon repairs it from a when it is read"), "{lines:?}");
    // An older version that is to be replaced need not be there, but nothing else may.
    fs::write(twins.root(Side::B).join("photos/2026/y.jpg"), "neither old nor new").unwrap();
    expect_differences(&twins, &[("b", "photos/x.jpg", "missing"), ("b", "photos/2026/y.jpg", "wrong-bytes")]);
}

pub(crate) fn killed(mut twins: Twins, kills: usize) {
    let sizes = Sizes { least: 16, most: 1 << 20 };
    for number in 0..kills {
        let mut workers = Worker::team(&twins.client(), 4, 77 + number as u64, sizes);
        run_while(&mut workers, || {
            std::thread::sleep(std::time::Duration::from_millis(400 + 130 * number as u64));
            twins.end(End::Kill);
        });
        let said = twins.check(&[]);
        assert_eq!(said.code, CLEAN, "kill {number}: {}\n{}", lines_of(&said), said.stderr);
        twins.serve();
        twins.check_identical();
        let done: usize = workers.iter().map(Worker::done).sum();
        eprintln!("kill {number}: {done} commands, then {}", said.stderr.lines().last().unwrap());
        // The next team begins with nothing: what a command that was cut short did is not known here.
        for worker in &workers {
            twins.client().run(&["rm", "-r", &worker.name]);
        }
    }
}
