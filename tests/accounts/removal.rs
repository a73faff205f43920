//! A removal of many files, whose user loses the right to it in the midst.

use serde_json::json;
use twinstick_rig::{Raw, wait_until};

use crate::people::People;
use crate::twins;

const WRITERS: usize = 8;
/// Files by each of them: many batches.
const FILES: usize = 250;
/// A removal may be faster than its end.
const ATTEMPTS: usize = 10;

pub(crate) fn broken_off() {
    let people = People::new(twins());
    let chief = people.client("chief");
    let greeted = |name: &str| {
        let mut raw = Raw::connect(people.twins.address());
        raw.send(format!("{}\n", json!({"hello": "twinstick/1", "token": people.token(name)})).as_bytes());
        assert_eq!(raw.answer().expect("an answer")["ok"], true);
        raw
    };
    let count = || {
        let listing = chief.run(&["ls", "-R", "/anna/many"]);
        String::from_utf8(listing.stdout).expect("UTF-8").lines().filter(|line| !line.ends_with('/')).count()
    };
    chief.run(&["mkdir", "/anna/many"]).expect(0);
    for attempt in 0..ATTEMPTS {
        std::thread::scope(|scope| {
            for writer in 0..WRITERS {
                let mut raw = greeted("chief");
                scope.spawn(move || {
                    for number in 0..FILES {
                        let put = json!({"op": "put", "path": format!("/anna/many/{writer}/{number}"), "len": 0});
                        raw.send(format!("{put}\n{{\"crc32\":\"00000000\"}}\n").as_bytes());
                    }
                    for _ in 0..FILES {
                        assert_eq!(raw.answer().expect("an answer")["ok"], true);
                    }
                });
            }
        });
        chief.run(&["share", "/anna/many", "ben", "--write"]).expect(0);
        let (mut ben, mut admin) = (greeted("ben"), greeted("chief"));
        ben.send(b"{\"op\":\"rm\",\"path\":\"/anna/many\",\"recursive\":true}\n");
        admin.send(b"{\"op\":\"info\",\"path\":\"/anna/many/7/0\"}\n");
        wait_until("the first are removed", || {
            let is_gone = admin.answer().expect("an answer")["error"] == "not-found";
            if !is_gone {
                admin.send(b"{\"op\":\"info\",\"path\":\"/anna/many/7/0\"}\n");
            }
            is_gone
        });
        admin.send(b"{\"op\":\"unshare\",\"path\":\"/anna/many\",\"user\":\"ben\"}\n");
        assert_eq!(admin.answer().expect("an answer")["ok"], true);
        let answer = ben.answer().expect("an answer");
        let left = count();
        if answer["ok"] == true {
            assert_eq!(left, 0, "attempt {attempt}: all of it was removed before");
            continue;
        }
        assert_eq!(answer["error"], "denied", "{answer}");
        assert!(answer["message"].as_str().is_some_and(|text| text.contains("broken off")), "{answer}");
        assert!(left > 0 && left < WRITERS * FILES, "attempt {attempt}: {left}");
        assert_eq!(count(), left, "it does not go on");
        chief.run(&["undo", "/anna/many/7/0"]).expect(0);
        return;
    }
    panic!("{ATTEMPTS} removals were all faster than the end of the right to them");
}
