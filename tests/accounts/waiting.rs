//! Who waits for a place or for memory, and what ends that early.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use twinstick::digest::Crc32;
use twinstick_rig::{Raw, wait_until};

use crate::limits::{hello, people_with};
use crate::people::People;
use crate::staged;

const LARGE: usize = 1 << 20;
/// More than is held in memory, and little enough for the kernel to take all of it at once.
const JUST_LARGE: usize = 80 << 10;

/// Sooner than whoever waits for a place is told to come again, and later than a busy machine needs.
const SOON: Duration = Duration::from_secs(45);

fn trailer(body: &[u8]) -> Vec<u8> {
    format!("{}\n", json!({"crc32": Crc32::of(body).to_string()})).into_bytes()
}

/// Waits for what comes long before somebody who waits is sent away for that.
fn soon(what: &str, condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    wait_until(what, condition);
    assert!(begun.elapsed() < SOON, "{what}: only when the wait was over");
}

/// Begins a put, and sends the first `sent` bytes of its body.
fn begin(people: &People, name: &str, head: &Value, sent: usize) -> Raw {
    let (mut raw, _) = hello(people, name);
    raw.send(format!("{head}\n").as_bytes());
    raw.send(&vec![7; sent]);
    raw
}

fn put(path: &str, len: usize) -> Value {
    json!({"op": "put", "path": path, "len": len})
}

/// Somebody has the only place, until the rest of the body comes.
fn in_the_only_place(people: &People) -> Raw {
    let anna = begin(people, "anna", &put("first", LARGE), LARGE / 2);
    wait_until("the only place is taken", || staged(&people.twins) == 2);
    anna
}

fn leave_it(mut anna: Raw) {
    anna.send(&vec![7; LARGE - LARGE / 2]);
    anna.send(&trailer(&vec![7; LARGE]));
    assert_eq!(anna.answer().expect("an answer")["ok"], true);
}

/// The outcomes of one user's puts to a path, as the log has them.
fn outcomes(people: &People, path: &str) -> Vec<String> {
    let log = people.client("chief").run(&["log", "--json", "--path", path]).expect(0).stdout;
    let lines = String::from_utf8(log).expect("UTF-8");
    let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).expect("a line of JSON"));
    let puts = lines.filter(|line| line["command"] == "put");
    puts.map(|line| line["outcome"].as_str().expect("an outcome").to_owned()).collect()
}

/// An upload that waits and is begun again makes way for itself.
pub(crate) fn begun_again() {
    let people = people_with("transfers_max = 1\n");
    let anna = in_the_only_place(&people);
    let (body, head) = (vec![7; JUST_LARGE], json!({"op": "put", "path": "next", "len": JUST_LARGE, "id": "again"}));
    let (told, answers) = mpsc::channel();
    for _ in 0..4 {
        let mut ben = begin(&people, "ben", &head, JUST_LARGE);
        ben.send(&trailer(&body));
        let told = told.clone();
        std::thread::spawn(move || told.send(ben.answer().expect("a word")));
    }
    for _ in 0..3 {
        let word = answers.recv_timeout(SOON).expect("all but the last make way");
        assert_eq!((&word["error"], &word["close"]), (&json!("unavailable"), &json!(true)), "{word}");
        assert!(word["message"].as_str().is_some_and(|text| text.contains("begun again")), "{word}");
    }
    wait_until("all that made way are in the log", || outcomes(&people, "/ben/next") == ["unavailable"; 3]);
    leave_it(anna);
    let word = answers.recv_timeout(SOON).expect("the last one's");
    assert_eq!(word["ok"], true, "{word}");
    assert_eq!(people.client("ben").get("next").expect(0).stdout, body);
    people.twins.check_identical_by(&people.client("chief"));
}

/// Nobody waits for a client that has left, and one that has sent all has not.
pub(crate) fn left() {
    let people = people_with("transfers_max = 1\n");
    let anna = in_the_only_place(&people);
    let mut done = begin(&people, "ben", &put("done", JUST_LARGE), JUST_LARGE);
    done.send(&trailer(&vec![7; JUST_LARGE]));
    done.finish();
    drop(begin(&people, "ben", &put("left", LARGE), JUST_LARGE));
    soon("who left is in the log", || outcomes(&people, "/ben/left").len() == 1);
    let mut half = begin(&people, "ben", &put("half", LARGE), JUST_LARGE);
    half.finish();
    let word = half.answer().expect("a word of why");
    assert_eq!((&word["error"], &word["close"]), (&json!("bad-request"), &json!(true)), "{word}");
    assert!(word["message"].as_str().is_some_and(|text| text.contains("ended in the middle")), "{word}");
    assert!(outcomes(&people, "/ben/done").is_empty(), "it waits");
    leave_it(anna);
    assert_eq!(done.answer().expect("an answer")["ok"], true);
    assert_eq!(people.client("ben").get("done").expect(0).stdout, vec![7; JUST_LARGE]);
    people.twins.check_identical_by(&people.client("chief"));
}

/// What waits for memory and has left has no part of its owner's quota any more.
pub(crate) fn quota() {
    let people = people_with("buffer_bytes_max = \"4MiB\"\n");
    // As many as there is memory for, and one that waits.
    let mut dawdlers: Vec<_> =
        (0..8).map(|number| begin(&people, "ben", &put(&format!("slow/{number}"), LARGE), 0)).collect();
    let waiting = begin(&people, "ben", &put("waits", LARGE), JUST_LARGE);
    people.client("chief").run(&["admin", "quota", "ben", "9MiB"]).expect(0);
    let small = || people.client("ben").put("small", b"no memory to speak of").code;
    wait_until("what waits counts", || small() == 7);
    drop(waiting);
    soon("what left does not", || small() == 0);
    for ben in &mut dawdlers {
        ben.send(&vec![7; LARGE]);
        ben.send(&trailer(&vec![7; LARGE]));
    }
    for ben in &mut dawdlers {
        assert_eq!(ben.answer().expect("an answer")["ok"], true);
    }
    people.twins.check_identical_by(&people.client("chief"));
}

/// Who would add to a large text waits for the means to it without keeping others from the text.
pub(crate) fn appended() {
    let people = people_with("transfers_max = 1\n");
    let chief = people.client("chief");
    let text = "One sentence of many. ".repeat(20_000);
    chief.put("/shared/text", text.as_bytes()).expect(0);
    let anna = in_the_only_place(&people);
    let (mut ben, _) = hello(&people, "ben");
    ben.send(format!("{}\n", json!({"op": "append", "path": "/shared/text", "len": 4})).as_bytes());
    ben.send(b"End.");
    ben.send(&trailer(b"End."));
    wait_until("it is under way", || chief.run(&["ls"]).code == 0);
    for number in 0..5 {
        let written = chief.run_on(&["write", "/shared/text", &number.to_string()], b"0 Truly\nend\n");
        written.expect(0);
    }
    leave_it(anna);
    assert_eq!(ben.answer().expect("an answer")["ok"], true);
    let stored = String::from_utf8(chief.get("/shared/text").expect(0).stdout).expect("UTF-8");
    assert_eq!((stored.matches("Truly One").count(), stored.ends_with("End.")), (5, true));
    people.twins.check_identical_by(&chief);
}

/// Whoever may have one connection does with one.
pub(crate) fn alone() {
    let people = people_with("user_connections_max = 1\n");
    let anna = people.client("anna");
    let (up, down) = (people.twins.home().join("up"), people.twins.home().join("down"));
    std::fs::create_dir_all(up.join("deep")).expect("a new folder");
    for number in 0..12 {
        let folder = if number % 2 == 0 { up.clone() } else { up.join("deep") };
        std::fs::write(folder.join(number.to_string()), vec![number; 1000]).expect("a new file");
    }
    anna.run(&["put", "-r", &up.to_string_lossy(), "tree"]).expect(0);
    anna.run(&["get", "-r", "tree", &down.to_string_lossy()]).expect(0);
    for number in 0..12 {
        let folder = if number % 2 == 0 { down.clone() } else { down.join("deep") };
        assert_eq!(std::fs::read(folder.join(number.to_string())).expect("it came"), vec![number; 1000]);
    }
    anna.run(&["mv", "tree", "moved"]).expect(0);
    anna.run(&["status", "--wait"]).expect(0);
    anna.run(&["rm", "-r", "moved"]).expect(0);
}

/// A body of unknown length is large from the first byte on that is too much, and no sooner.
pub(crate) fn not_large() {
    const SMALL: usize = 64 << 10;
    let people = people_with("transfers_max = 1\n");
    let anna = in_the_only_place(&people);
    let body = vec![7; SMALL];
    for pieces in [1, 2, 64] {
        let path = format!("in-{pieces}");
        let mut ben = begin(&people, "ben", &json!({"op": "put", "path": path, "chunked": true}), 0);
        for piece in body.chunks(SMALL / pieces) {
            ben.send(&[format!("{}\n", piece.len()).as_bytes(), piece].concat());
        }
        ben.send(&[b"0\n".as_slice(), &trailer(&body)].concat());
        let answer = ben.answer().expect("an answer");
        assert_eq!(answer["ok"], true, "{answer}");
    }
    leave_it(anna);
}
