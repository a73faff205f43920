//! Quotas: to the byte, whoever comes at the same time, and whatever is cut off.

use std::sync::{Barrier, Mutex};

use serde_json::{Value, json};
use twinstick_rig::{Client, End, Random, Raw, Side, stages, wait_until};

use crate::people::People;
use crate::{DENIED, NOT_FOUND, twins};

/// Exit code where there is no room.
const NO_SPACE: i32 = 7;
const KIB: usize = 1 << 10;
const ROUNDS: usize = 200;
const UPLOADS: usize = 16;
/// Bytes that one user may have in the races, and that one upload has at most.
const RACED: usize = 96 * KIB;
const RACED_MAX: usize = 30_000;

fn usage(client: &Client) -> Value {
    client.run(&["info", "--json"]).expect(0).json()
}

fn greeted(people: &People, name: &str) -> Raw {
    let mut raw = Raw::connect(people.twins.address());
    raw.send(format!("{}\n", json!({"hello": "twinstick/1", "token": people.token(name)})).as_bytes());
    assert_eq!(raw.answer().expect("an answer")["ok"], true);
    raw
}

fn send(raw: &mut Raw, path: &str, bytes: &[u8], length: Length) -> Value {
    let head = match length {
        Length::Known => json!({"op": "put", "path": path, "len": bytes.len()}),
        Length::Unknown => json!({"op": "put", "path": path, "chunked": true}),
    };
    raw.send(format!("{head}\n").as_bytes());
    if length == Length::Unknown {
        for piece in bytes.chunks(9 * KIB) {
            raw.send(format!("{}\n", piece.len()).as_bytes());
            raw.send(piece);
        }
        raw.send(b"0\n");
    } else {
        raw.send(bytes);
    }
    raw.send(format!("{{\"crc32\":\"{:08x}\"}}\n", crc32fast::hash(bytes)).as_bytes());
    raw.answer().expect("an answer")
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Length {
    Known,
    Unknown,
}

pub(crate) fn exact() {
    let mut people = People::new(twins());
    let (anna, ben, chief) = (people.client("anna"), people.client("ben"), people.client("chief"));
    anna.put("first", &vec![1; 40 * KIB]).expect(0);
    assert_eq!(usage(&anna)["limit"], Value::Null);
    chief.run(&["admin", "quota", "anna", "100KiB"]).expect(0);
    let now = usage(&anna);
    assert_eq!(
        [&now["user"], &now["files"], &now["bytes"], &now["limit"], &now["free"]],
        [&json!("anna"), &json!(1), &json!(40 * KIB), &json!(100 * KIB), &json!(60 * KIB)]
    );
    assert_eq!(anna.put("second", &vec![2; 49 * KIB]).expect(0).stderr, "");
    let close = anna.put("small", &vec![3; 2 * KIB]).expect(0);
    assert!(close.stderr.contains("91.0 KiB of your 100 KiB are used, 9.0 KiB are left"), "{}", close.stderr);
    // Known or not, in one piece or through a file: what does not fit is refused, and nothing of it is left.
    for len in [9 * KIB + 1, 70 * KIB, 9 << 20] {
        let refused = anna.put("too-much", &vec![4; len]).expect(NO_SPACE);
        assert!(refused.stderr.contains("anna may use 100 KiB, and 91.0 KiB are used"), "{}", refused.stderr);
        anna.put_piped("too-much", &vec![4; len]).expect(NO_SPACE);
    }
    assert_eq!(anna.run(&["info", "too-much"]).code, NOT_FOUND);
    assert_eq!(usage(&anna)["bytes"], 91 * KIB);
    anna.put("exactly", &vec![5; 9 * KIB]).expect(0);
    assert_eq!(usage(&anna)["free"], 0);
    anna.put("one-byte", &[6]).expect(NO_SPACE);
    anna.put("no-byte", &[]).expect(0);
    // An overwritten version gives its bytes back at once, a removed one too; one that comes back must fit.
    anna.put("second", &vec![7; 49 * KIB]).expect(0);
    anna.put("second", &vec![7; 49 * KIB + 1]).expect(NO_SPACE);
    anna.run(&["rm", "exactly"]).expect(0);
    anna.put("instead", &vec![8; 9 * KIB]).expect(0);
    let refused = anna.run(&["undo", "exactly"]).expect(NO_SPACE);
    assert!(refused.stderr.contains("anna may use 100 KiB"), "{}", refused.stderr);
    anna.run(&["rm", "instead"]).expect(0);
    anna.run(&["undo", "exactly"]).expect(0);
    // Whoever brings it back: it is hers, and counts for her.
    anna.run(&["rm", "small"]).expect(0);
    anna.put("instead", &vec![8; 2 * KIB]).expect(0);
    let refused = chief.run(&["undo", "/anna/small"]).expect(NO_SPACE);
    assert!(refused.stderr.contains("anna may use 100 KiB"), "{}", refused.stderr);
    anna.run(&["rm", "instead"]).expect(0);
    chief.run(&["undo", "/anna/small"]).expect(0);
    assert_eq!(usage(&anna)["free"], 0);
    // A file counts for who put it last, wherever it lies, and where it is moved to makes no difference.
    anna.run(&["mv", "exactly", "/shared/exactly"]).expect(0);
    assert_eq!(usage(&anna)["free"], 0);
    ben.put("/shared/exactly", &[9; 3]).expect(0);
    assert_eq!(usage(&anna)["free"], 9 * KIB);
    assert_eq!(usage(&ben)["bytes"], 3);
    // Whoever is past it may still put what is smaller.
    chief.run(&["admin", "quota", "anna", "10KiB"]).expect(0);
    anna.put("new", &[1]).expect(NO_SPACE);
    anna.put("second", &vec![1; 48 * KIB]).expect(0);
    // Others' are not to be seen, nor changed.
    anna.run(&["info", "--user", "ben"]).expect(DENIED);
    anna.run(&["admin", "quota", "anna", "none"]).expect(DENIED);
    assert_eq!(chief.run(&["info", "--user", "anna", "--json"]).expect(0).json()["bytes"], 90 * KIB);
    let all = String::from_utf8(chief.run(&["admin", "list"]).expect(0).stdout).expect("UTF-8");
    assert!(all.contains("anna  user  1 token  90.0 KiB of 10.0 KiB  last used 2"), "{all}");
    assert!(
        people.twins.command(&["user", "quota", "anna", "much"]).expect(2).stderr.contains("500MiB"),
        "how to say it"
    );
    let before = usage(&anna);
    people.twins.end(End::Kill);
    people.twins.command(&["check"]).expect(0);
    people.twins.command(&["user", "quota", "anna", "none"]).expect(0);
    people.twins.serve();
    let now = usage(&anna);
    assert_eq!((&now["bytes"], &now["files"], &now["limit"]), (&before["bytes"], &before["files"], &Value::Null));
    // The owners are on the sticks too.
    people.twins.end(End::Kill);
    std::fs::remove_dir_all(people.twins.state()).expect("the state");
    people.twins.adopt().expect(0);
    people.twins.serve();
    let anna = people.client("anna");
    wait_until("the accounts are read from the sticks", || anna.run(&["info"]).code == 0);
    assert_eq!([&usage(&anna)["bytes"], &usage(&anna)["files"]], [&before["bytes"], &before["files"]]);
    people.twins.check_identical_by(&people.client("chief"));
}

/// Uploads at once that fit only in part.
pub(crate) fn races() {
    let people = People::new(twins());
    let chief = people.client("chief");
    chief.run(&["admin", "quota", "anna", "96KiB"]).expect(0);
    let mut random = Random::new(7);
    let mut raws: Vec<_> = (0..UPLOADS).map(|_| greeted(&people, "anna")).collect();
    let (mut stored, mut refused) = (0, 0);
    for round in 0..ROUNDS {
        let sizes: Vec<_> = (0..UPLOADS).map(|_| 1 + random.below(RACED_MAX)).collect();
        let (barrier, losers) = (Barrier::new(UPLOADS), Mutex::new(Vec::new()));
        std::thread::scope(|scope| {
            for (number, (raw, size)) in raws.iter_mut().zip(&sizes).enumerate() {
                let (barrier, losers) = (&barrier, &losers);
                scope.spawn(move || {
                    let length = if (number + round) % 2 == 0 { Length::Known } else { Length::Unknown };
                    barrier.wait();
                    let answer = send(raw, &format!("{number}"), &vec![1; *size], length);
                    if answer["ok"] != true {
                        assert_eq!(answer["error"], "quota", "{answer}");
                        losers.lock().expect("no panic").push((number, *size));
                    }
                });
            }
        });
        let losers = losers.into_inner().expect("no panic");
        let sum = sizes.iter().sum::<usize>() - losers.iter().map(|(_, size)| size).sum::<usize>();
        raws[0].send(b"{\"op\":\"usage\"}\n");
        let now = raws[0].answer().expect("an answer");
        assert_eq!(now["bytes"], sum, "round {round}: {now}");
        assert!(sum <= RACED, "round {round}: {sum} bytes");
        let free = RACED - sum;
        // Nothing of the losers is left in anybody's way.
        if let Some((number, size)) = losers.iter().find(|(_, size)| *size <= free) {
            let again = send(&mut raws[0], &format!("{number}"), &vec![1; *size], Length::Known);
            assert_eq!(again["ok"], true, "round {round}: {again}");
        }
        stored += UPLOADS - losers.len();
        refused += losers.len();
        for number in 0..UPLOADS {
            raws[0].send(format!("{{\"op\":\"rm\",\"path\":\"{number}\"}}\n").as_bytes());
            raws[0].answer().expect("an answer");
        }
        raws[0].send(b"{\"op\":\"usage\"}\n");
        assert_eq!(raws[0].answer().expect("an answer")["bytes"], 0);
    }
    assert!(stored > 0 && refused > 0);
    println!("{ROUNDS} rounds of {UPLOADS} uploads: {stored} stored, {refused} refused, never a byte over");
}

/// Uploads at once that fit together are all taken, in whatever moment one of them is stored.
pub(crate) fn fitting() {
    let people = People::new(twins());
    people.client("chief").run(&["admin", "quota", "anna", "1MiB"]).expect(0);
    let mut raws: Vec<_> = (0..2 * UPLOADS).map(|_| greeted(&people, "anna")).collect();
    for round in 0..ROUNDS / 10 {
        let barrier = Barrier::new(raws.len());
        let bytes = vec![1; (1 << 20) / raws.len()];
        std::thread::scope(|scope| {
            for (number, raw) in raws.iter_mut().enumerate() {
                let (barrier, bytes) = (&barrier, &bytes);
                scope.spawn(move || {
                    barrier.wait();
                    let answer = send(raw, &format!("{number}"), bytes, Length::Known);
                    assert_eq!(answer["ok"], true, "round {round}: {answer}");
                });
            }
        });
        assert_eq!(usage(&people.client("anna"))["free"], 0);
        for number in 0..raws.len() {
            raws[0].send(format!("{{\"op\":\"rm\",\"path\":\"{number}\"}}\n").as_bytes());
            assert_eq!(raws[0].answer().expect("an answer")["ok"], true);
        }
    }
}

/// The limit that counts is the one there is when the upload ends, and of an unknown length each step is reserved.
pub(crate) fn under_way() {
    let people = People::new(twins());
    let (anna, chief) = (people.client("anna"), people.client("chief"));
    chief.run(&["admin", "quota", "anna", "1MiB"]).expect(0);
    let bytes = vec![1; 900 * KIB];
    let mut raw = greeted(&people, "anna");
    raw.send(format!("{{\"op\":\"put\",\"path\":\"f\",\"len\":{}}}\n", bytes.len()).as_bytes());
    raw.send(&bytes[..500 * KIB]);
    wait_until("the upload is under way", || !stages(people.twins.root(Side::A)).is_empty());
    chief.run(&["admin", "quota", "anna", "10KiB"]).expect(0);
    raw.send(&bytes[500 * KIB..]);
    raw.send(format!("{{\"crc32\":\"{:08x}\"}}\n", crc32fast::hash(&bytes)).as_bytes());
    assert_eq!(raw.answer().expect("an answer")["error"], "quota");
    assert_eq!(usage(&anna)["bytes"], 0);
    chief.run(&["admin", "quota", "anna", "1MiB"]).expect(0);
    raw.send(b"{\"op\":\"put\",\"path\":\"f\",\"chunked\":true}\n");
    raw.send(format!("{}\n", 800 * KIB).as_bytes());
    raw.send(&bytes[..800 * KIB]);
    wait_until("all that was sent has come", || has_come(&people, 800 * KIB));
    anna.put("g", &bytes[..400 * KIB]).expect(NO_SPACE);
    // What passes the limit is refused where it passes it.
    raw.send(format!("{}\n", 300 * KIB).as_bytes());
    raw.send(&bytes[..300 * KIB]);
    assert_eq!(raw.answer().expect("an answer in the midst of the body")["error"], "quota");
}

/// Whether so much of an upload is on a drive.
fn has_come(people: &People, bytes: usize) -> bool {
    let lens = stages(people.twins.root(Side::A)).into_iter().filter_map(|stage| stage.metadata().ok());
    lens.into_iter().any(|meta| meta.len() >= bytes as u64)
}

/// What is on its way counts, and is given back where it ends.
pub(crate) fn cut_off() {
    let people = People::new(twins());
    let (anna, chief) = (people.client("anna"), people.client("chief"));
    chief.run(&["admin", "quota", "anna", "20MiB"]).expect(0);
    for length in [Length::Known, Length::Unknown] {
        let mut raw = greeted(&people, "anna");
        let half = vec![1; 9 << 20];
        if length == Length::Known {
            raw.send(format!("{{\"op\":\"put\",\"path\":\"large\",\"len\":{}}}\n", 18 << 20).as_bytes());
        } else {
            raw.send(b"{\"op\":\"put\",\"path\":\"large\",\"chunked\":true}\n");
            raw.send(format!("{}\n", half.len()).as_bytes());
        }
        raw.send(&half);
        wait_until("all that was sent has come", || has_come(&people, half.len()));
        // 18 MiB are announced; of an unknown length the steps of 8 MiB that it came into.
        anna.put("small", &vec![2; 12 << 20]).expect(NO_SPACE);
        assert_eq!(usage(&anna)["bytes"], 0, "it is not stored yet");
        drop(raw);
        wait_until("it is given back", || anna.put("small", &vec![2; 12 << 20]).code == 0);
        anna.run(&["rm", "small"]).expect(0);
        assert_eq!(usage(&anna)["bytes"], 0);
        wait_until("no stage is left", || stages(people.twins.root(Side::A)).is_empty());
    }
}

/// Whoever sends a file again after the network was lost does not compete with what is left of the first attempt.
pub(crate) fn sent_again() {
    let people = People::new(twins());
    let (anna, chief) = (people.client("anna"), people.client("chief"));
    chief.run(&["admin", "quota", "anna", "1MiB"]).expect(0);
    let bytes = vec![1; 900 * KIB];
    let begin = |name: &str, id: &str| {
        let mut raw = greeted(&people, name);
        let head = json!({"op": "put", "path": "f", "len": bytes.len(), "id": id});
        raw.send(format!("{head}\n").as_bytes());
        raw.send(&bytes[..500 * KIB]);
        raw
    };
    let end = |raw: &mut Raw| {
        raw.send(&bytes[500 * KIB..]);
        raw.send(format!("{{\"crc32\":\"{:08x}\"}}\n", crc32fast::hash(&bytes)).as_bytes());
        raw.answer().expect("an answer")
    };
    let mut first = begin("anna", "the same");
    let mut bens = begin("ben", "the same");
    wait_until("both are under way", || stages(people.twins.root(Side::A)).len() == 2);
    let other = begin("anna", "another").answer().expect("another one competes");
    assert_eq!(other["error"], "quota");
    let mut second = begin("anna", "the same");
    let ended = first.answer().expect("a word of why");
    assert_eq!((&ended["error"], &ended["close"]), (&json!("unavailable"), &json!(true)), "{ended}");
    let stored = end(&mut second);
    assert_eq!(stored["ok"], true, "{stored}");
    assert_eq!(end(&mut bens)["ok"], true, "another one's with the same id is another one");
    assert_eq!(usage(&anna)["bytes"], bytes.len());
    // And once more, when it is stored: the same answer.
    let mut third = begin("anna", "the same");
    assert_eq!(end(&mut third)["lsn"], stored["lsn"]);
    assert_eq!(usage(&anna)["bytes"], bytes.len());
    wait_until("no stage is left", || stages(people.twins.root(Side::A)).is_empty());
    anna.put("rest", &vec![2; 124 * KIB]).expect(0);
    anna.put("more", &[3]).expect(NO_SPACE);
}
