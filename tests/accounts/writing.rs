//! Who may edit a text, and until when.

use serde_json::json;

use crate::matrix::Wire;
use crate::people::People;
use crate::{DENIED, twins};

pub(crate) fn rights() {
    let people = People::new(twins());
    let (anna, ben, reader) = (people.client("anna"), people.client("ben"), people.client("reader"));
    anna.put("d/notes", b"One. Two.").expect(0);
    ben.put("/shared/notes", b"One.").expect(0);
    let one = b"0 Number\nend\n";
    for denied in [&ben, &reader] {
        denied.run_on(&["write", "/anna/d/notes", "0"], one).expect(DENIED);
        denied.run_on(&["write", "--append", "/anna/d/notes"], b"x").expect(DENIED);
    }
    reader.run_on(&["write", "/shared/notes", "0"], one).expect(DENIED);
    reader.run_on(&["write", "--append", "/shared/notes"], b"x").expect(DENIED);
    anna.run(&["share", "d", "ben"]).expect(0);
    ben.run_on(&["write", "/anna/d/notes", "0"], one).expect(DENIED);
    anna.run(&["share", "d", "ben", "--write"]).expect(0);
    let mut wire = Wire::new(&people, "anna");
    let lease = wire.ask(&json!({"op": "edit", "path": "d/notes", "sentence": 1})).0;
    assert_eq!(lease["ok"], true, "{lease}");
    let refused = ben.run_on(&["write", "/anna/d/notes", "1"], one).expect(9);
    assert!(refused.stderr.contains("anna is editing sentence 1"), "{}", refused.stderr);
    ben.run_on(&["write", "/anna/d/notes", "0"], one).expect(0);
    ben.run_on(&["write", "--append", "/anna/d/notes"], b"\nThree.").expect(0);
    let commit = json!({"op": "commit", "path": "d/notes", "lease": lease["lease"], "len": 2});
    assert_eq!(wire.store(&commit, b"2.")["ok"], true);
    assert_eq!(anna.get("d/notes").expect(0).stdout, b"Number One. 2.\nThree.");
    // Whose a file is, and what it may come to, goes by who wrote it last.
    assert_eq!(anna.run(&["info", "d/notes", "--json"]).expect(0).json()["owner"], "anna");
    people.twins.command(&["user", "quota", "ben", "1KiB"]).expect(0);
    ben.run_on(&["write", "--append", "/shared/notes"], b" Two.").expect(0);
    ben.run_on(&["write", "--append", "/shared/notes"], &[b'x'; 1024]).expect(7);
    ben.run_on(&["write", "/shared/notes", "0"], format!("0 {}\nend\n", "x".repeat(1024)).as_bytes()).expect(7);
    assert_eq!(ben.get("/shared/notes").expect(0).stdout, b"One. Two.");
    // Each request has its line in the log.
    let log = String::from_utf8(people.client("chief").run(&["log", "--path", "/anna/d", "--json"]).expect(0).stdout);
    let log = log.expect("UTF-8");
    for part in ["\"command\":\"edit\"", "\"command\":\"commit\"", "\"command\":\"append\"", "\"outcome\":\"leased\""] {
        assert!(log.contains(part), "{part}: {log}");
    }
    people.twins.check_identical_by(&people.client("chief"));
}

pub(crate) fn ended() {
    let people = People::new(twins());
    let (anna, chief) = (people.client("anna"), people.client("chief"));
    anna.put("notes", b"One. Two. Three.").expect(0);
    anna.run(&["share", "notes", "ben", "--write"]).expect(0);
    let mut wires = ["ben", "anna"].map(|name| Wire::new(&people, name));
    let leases = [0, 1].map(|at: usize| {
        let lease = wires[at].ask(&json!({"op": "edit", "path": "/anna/notes", "sentence": at})).0;
        assert_eq!(lease["ok"], true, "{lease}");
        lease["lease"].clone()
    });
    anna.run(&["unshare", "notes", "ben"]).expect(0);
    people.twins.command(&["user", "token", "revoke", "anna", "first"]).expect(0);
    for (wire, lease) in wires.iter_mut().zip(&leases) {
        let commit = json!({"op": "commit", "path": "/anna/notes", "lease": lease, "len": 5});
        let refused = wire.store(&commit, b"Mine.");
        assert_eq!(refused["error"], "denied", "{refused}");
    }
    assert_eq!(chief.get("/anna/notes").expect(0).stdout, b"One. Two. Three.");
}
