//! When nobody can tell.

use std::fs;

use twinstick::journal::buffered::BufferedStore;
use twinstick_rig::{End, Pull, Side};

use crate::{CLEAN, DIFFERENCES, UNKNOWN, plain, stocked};

pub(crate) fn running() {
    let mut twins = plain();
    twins.client().put("x", b"1").expect(0);
    let said = twins.check(&[]).expect(UNKNOWN);
    assert!(said.stdout.is_empty());
    assert!(said.stderr.starts_with("journal: twinstickd serve, process "), "{}", said.stderr);
    assert!(said.stderr.contains(" is using ") && said.stderr.contains("cannot tell"), "{}", said.stderr);
    let document = twins.check(&["--json"]).expect(UNKNOWN).json();
    assert_eq!(document["state"], "unknown");
    assert_eq!(document["unknown"][0]["kind"], "in-use");
    twins.client().put("x", b"2").expect(0);
    twins.check_identical();
    twins.end(End::Drain);
    // Whoever has the journal open without the lock of the directory is seen as well.
    let store = BufferedStore::open(&twins.state().join("journal")).unwrap();
    let said = twins.check(&[]).expect(UNKNOWN);
    assert!(said.stderr.contains("is in use by another process: stop it first"), "{}", said.stderr);
    drop(store);
}

pub(crate) fn absent() {
    let mut twins = stocked(plain());
    twins.take_out(Side::B, Pull::Rename);
    let document = twins.check(&["--json"]).expect(UNKNOWN).json();
    assert_eq!(document["state"], "unknown");
    assert_eq!((&document["unknown"][0]["drive"], &document["unknown"][0]["kind"]), (&"b".into(), &"absent".into()));
    assert_eq!(
        (&document["drives"][0]["state"], &document["drives"][1]["state"]),
        (&"checked".into(), &"absent".into())
    );
    fs::write(twins.root(Side::A).join("extra"), "").unwrap();
    let document = twins.check(&["--json"]).expect(DIFFERENCES).json();
    assert_eq!(document["state"], "differences");
    assert_eq!(document["unknown"][0]["kind"], "absent");
    fs::remove_file(twins.root(Side::A).join("extra")).unwrap();
    // Wherever it is, if only somebody says where to look.
    let pulled = twins.root(Side::B).with_extension("pulled");
    let pattern = format!("{}/*.pulled", pulled.parent().unwrap().display());
    let document = twins.check(&["--json", "--places", &pattern]).expect(CLEAN).json();
    assert_eq!(document["drives"][1]["path"], pulled.to_str().unwrap());
}

pub(crate) fn foreign() {
    let mut twins = stocked(plain());
    let other = stocked(plain());
    twins.take_out(Side::B, Pull::Rename);
    fs::rename(other.root(Side::B), twins.root(Side::B)).unwrap();
    let said = twins.check(&[]).expect(UNKNOWN);
    assert!(said.stderr.contains("not one of this mirror's"), "{}", said.stderr);
    assert!(said.stderr.contains("b: is not there"), "{}", said.stderr);
    fs::rename(twins.root(Side::B), other.root(Side::B)).unwrap();
}

pub(crate) fn no_journal() {
    let twins = stocked(plain());
    let said = twins.check(&["--places", "relative/*"]).expect(UNKNOWN);
    assert!(said.stderr.contains("relative/*"), "{}", said.stderr);
    fs::rename(twins.state().join("journal"), twins.state().join("elsewhere")).unwrap();
    let said = twins.check(&[]).expect(UNKNOWN);
    assert!(said.stderr.contains("has no journal"), "{}", said.stderr);
    assert!(!twins.state().join("journal").exists());
}
