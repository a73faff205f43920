//! How many names a folder may have: exact, whoever comes at once, after restarts, and for whatever gives a folder a name.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::disallowed_methods, reason = "tests")]

use std::fs;
use std::sync::Barrier;

use rustix::process::Signal;
use serde_json::{Value, json};
use twinstick::digest::Crc32;
use twinstick_rig::{Binaries, Client, Drives, End, Raw, Side, Twins, wait_until};

const MOST: usize = 10;
const CLIENTS: usize = 16;
/// Ways to give a folder a name.
const KINDS: usize = 5;
/// Exit code for what may not be.
const REFUSED: i32 = 1;
/// Exit code for a condition that does not hold.
const PRECONDITION: i32 = 9;

fn twins(most: usize) -> Twins {
    let binaries = Binaries::new(env!("CARGO_BIN_EXE_twinstickd"), env!("CARGO_BIN_EXE_fget"));
    let mut twins = Twins::new(binaries, Drives::Plain);
    twins.end(End::Drain);
    twins.configure(&settings(most));
    twins.serve();
    twins
}

fn settings(most: usize) -> String {
    format!("[limits]\nfolder_entries_max = {most}\n")
}

fn names(client: &Client, folder: &str) -> Vec<String> {
    let listed = String::from_utf8(client.run(&["ls", "--json", folder]).expect(0).stdout).unwrap();
    let document: Value = serde_json::from_str(&listed).unwrap();
    let entries = document["entries"].as_array().unwrap_or_else(|| panic!("{listed}"));
    entries.iter().map(|entry| entry["name"].as_str().unwrap().to_owned()).collect()
}

#[track_caller]
fn is_full(client: &Client, words: &[&str], folder: &str) {
    let refused = client.run(words).expect(REFUSED);
    let says = format!(
        "{folder} has as many names as a folder may have, {MOST}: choose another folder, or remove something there"
    );
    assert!(refused.stderr.contains(&says), "{words:?}: {}", refused.stderr);
}

/// A request that gives `folder` a name, with all that is sent for it.
fn naming(folder: &str, number: usize) -> String {
    let put = |op: &str, body: &str| {
        let crc = json!({"crc32": Crc32::of(body.as_bytes()).to_string()});
        format!("{}\n{body}{crc}\n", json!({"op": op, "path": format!("{folder}/{number}"), "len": body.len()}))
    };
    match number % KINDS {
        0 => format!("{}\n", json!({"op": "mkdir", "path": format!("{folder}/{number}")})),
        1 => format!(
            "{}\n",
            json!({"op": "mv", "path": format!("from/{folder}/{number}"), "to": format!("{folder}/{number}")})
        ),
        2 => put("append", "one line\n"),
        // Too large for a drive's log.
        3 => put("put", &"x".repeat(100_000)),
        _ => put("put", "small"),
    }
}

#[test]
fn of_many_that_come_at_once_exactly_so_many_get_a_name_and_a_restart_changes_nothing() {
    let mut twins = twins(MOST);
    let client = twins.client();
    for round in 0..4 {
        let folder = format!("crowd{round}");
        client.run(&["mkdir", &folder]).expect(0);
        for number in (1..CLIENTS).step_by(KINDS) {
            client.put(&format!("from/{folder}/{number}"), b"to be moved").expect(0);
        }
        let start = Barrier::new(CLIENTS);
        let answers: Vec<Value> = std::thread::scope(|scope| {
            let asking: Vec<_> = (0..CLIENTS)
                .map(|number| {
                    let (twins, start, folder) = (&twins, &start, &folder);
                    scope.spawn(move || {
                        let mut raw = Raw::greeted(twins.address());
                        start.wait();
                        raw.send(naming(folder, number).as_bytes());
                        raw.answer().unwrap()
                    })
                })
                .collect();
            asking.into_iter().map(|asking| asking.join().unwrap()).collect()
        });
        let (named, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer["ok"] == true);
        assert_eq!((named.len(), names(&client, &folder).len()), (MOST, MOST), "{answers:?}");
        for answer in refused {
            assert_eq!((&answer["error"], &answer["close"]), (&json!("too-large"), &Value::Null), "{answer}");
        }
        is_full(&client, &["mkdir", &format!("{folder}/one")], &folder);
        twins.end(if round % 2 == 0 { End::Kill } else { End::Drain });
        twins.serve();
        is_full(&client, &["mkdir", &format!("{folder}/one")], &folder);
        assert_eq!(names(&client, &folder).len(), MOST);
    }
    twins.check_identical();
}

#[test]
fn what_gives_a_full_folder_a_name_is_refused_and_what_leaves_it_gives_a_place_back() {
    let twins = twins(MOST);
    let client = twins.client();
    for number in 0..MOST {
        client.put(&format!("full/{number}"), b"one").expect(0);
    }
    client.put("beside/file", b"two").expect(0);
    let local = twins.home().join("large");
    fs::write(&local, vec![7; 1 << 20]).unwrap();
    let local = local.to_string_lossy();
    is_full(&client, &["put", &local, "full/large"], "full");
    is_full(&client, &["put", &local, "full/new/large"], "full");
    is_full(&client, &["mkdir", "full/new"], "full");
    is_full(&client, &["mv", "beside/file", "full/file"], "full");
    is_full(&client, &["mv", "beside", "full/beside"], "full");
    let mut raw = Raw::greeted(twins.address());
    raw.send(b"{\"op\":\"edit\",\"path\":\"full/text\",\"sentence\":0}\n");
    // Where nothing can be made nobody need write.
    let edited = raw.answer().unwrap();
    assert_eq!(edited["error"], "too-large", "{edited}");
    raw.send(b"{\"op\":\"append\",\"path\":\"full/text\",\"len\":4}\none\n{\"crc32\":\"f817a89f\"}\n");
    assert_eq!(raw.answer().unwrap()["error"], "too-large");
    raw.send(b"{\"op\":\"put\",\"path\":\"full/chunks\",\"chunked\":true}\n5\nhello0\n{\"crc32\":\"3610a686\"}\n");
    assert_eq!(raw.answer().unwrap()["error"], "too-large");

    // What was meant for another version is told that, wherever the name would be.
    for path in ["full/large", "full/new/large"] {
        let refused = client.run(&["put", &local, path, "--if-version", "1"]).expect(PRECONDITION);
        assert!(refused.stderr.contains("not there by now"), "{}", refused.stderr);
    }

    // What is there is replaced, moved within, and edited as ever.
    client.put("full/0", b"three").expect(0);
    client.run(&["mv", "full/0", "full/zero"]).expect(0);
    is_full(&client, &["undo", "full/0"], "full");
    client.run(&["rm", "full/1"]).expect(0);
    client.run(&["mv", "beside/file", "full/file"]).expect(0);
    is_full(&client, &["undo", "full/1"], "full");
    client.run(&["mv", "full/file", "beside/file"]).expect(0);
    client.run(&["undo", "full/1"]).expect(0);
    is_full(&client, &["mkdir", "full/new"], "full");
    // A folder that moves is one name, and full where it is then.
    client.run(&["mkdir", "above"]).expect(0);
    client.run(&["mv", "full", "above/full"]).expect(0);
    is_full(&client, &["mkdir", "above/full/new"], "above/full");
    client.run(&["rm", "-r", "above/full"]).expect(0);
    client.run(&["undo", "above/full"]).expect(0);
    assert_eq!(names(&client, "above/full").len(), MOST);
    is_full(&client, &["mkdir", "above/full/new"], "above/full");

    // Another limit counts from then on, and takes nothing away.
    for (most, code) in [(MOST / 2, REFUSED), (0, 0)] {
        twins.configure(&settings(most));
        let before = twins.log().matches("configuration in force").count();
        twins.process().signal(Signal::HUP);
        wait_until("the new limit counts", || twins.log().matches("configuration in force").count() > before);
        wait_until("it is passed on", || client.run(&["mkdir", &format!("above/full/new{most}")]).code == code);
    }
    assert_eq!(names(&client, "above/full").len(), MOST + 1);
    twins.check_identical();
}

#[test]
fn what_others_put_on_a_stick_is_taken_in_beyond_the_limit() {
    let mut twins = twins(MOST);
    let client = twins.client();
    client.put("full/0", b"one").expect(0);
    twins.check_identical();
    twins.end(End::Drain);
    for number in 1..3 * MOST {
        fs::write(twins.root(Side::A).join(format!("full/{number}")), number.to_string()).unwrap();
    }
    twins.serve();
    wait_until("all is taken in", || names(&client, "full").len() == 3 * MOST);
    is_full(&client, &["mkdir", "full/new"], "full");
    for number in 0..3 * MOST {
        let bytes = client.get(&format!("full/{number}")).expect(0).stdout;
        assert_eq!(bytes, if number == 0 { b"one".to_vec() } else { number.to_string().into_bytes() });
    }
    let found = twins.root(Side::A).join("full/found");
    fs::create_dir(&found).unwrap();
    fs::write(found.join("in"), "found").unwrap();
    wait_until("the folder is taken in", || client.get("full/found/in").code == 0);
    client.run(&["rm", "-r", "full/found"]).expect(0);
    for number in 0..2 * MOST {
        client.run(&["rm", &format!("full/{number}")]).expect(0);
        is_full(&client, &["mkdir", "full/new"], "full");
    }
    client.run(&["rm", "full/20"]).expect(0);
    client.run(&["mkdir", "full/new"]).expect(0);
    is_full(&client, &["mkdir", "full/newer"], "full");
    twins.check_identical();
}
