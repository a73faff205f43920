//! User × path × command: what is allowed by the rules is done, and all else is refused and changes nothing.

use serde_json::{Value, json};
use twinstick_rig::Raw;

use crate::people::{NAMES, People};
use crate::twins;

/// A connection that is one user's.
pub(crate) struct Wire(Raw);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Right {
    Read,
    Write,
}

const COMMANDS: [(&str, Right); 14] = [
    ("get", Right::Read),
    ("info", Right::Read),
    ("ls", Right::Read),
    ("ls-all", Right::Read),
    ("trash", Right::Read),
    ("put", Right::Write),
    ("put-new", Right::Write),
    ("mkdir", Right::Write),
    ("mv-from", Right::Write),
    ("mv-to", Right::Write),
    ("undo", Right::Write),
    ("append", Right::Write),
    ("edit", Right::Write),
    ("rm", Right::Write),
];

impl Wire {
    pub(crate) fn new(people: &People, name: &str) -> Self {
        let mut raw = Raw::connect(people.twins.address());
        raw.send(format!("{}\n", json!({"hello": "twinstick/1", "token": people.token(name)})).as_bytes());
        assert_eq!(raw.answer().expect("an answer")["user"], name);
        Self(raw)
    }

    /// Sends a request; the answer, and the body where there is one.
    pub(crate) fn ask(&mut self, request: &Value) -> (Value, Vec<u8>) {
        self.0.send(format!("{request}\n").as_bytes());
        let answer = self.0.answer().expect("an answer");
        match answer["len"].as_u64() {
            Some(len) if answer["ok"] == true => {
                let body = self.0.bytes(len as usize);
                assert_eq!(self.0.answer().expect("a trailer")["ok"], true);
                (answer, body)
            }
            _ => (answer, Vec::new()),
        }
    }

    fn put(&mut self, path: &str, bytes: &[u8]) -> Value {
        self.store(&json!({"op": "put", "path": path, "len": bytes.len()}), bytes)
    }

    /// A request with a body.
    pub(crate) fn store(&mut self, request: &Value, bytes: &[u8]) -> Value {
        self.0.send(format!("{request}\n").as_bytes());
        self.0.send(bytes);
        self.0.send(format!("{{\"crc32\":\"{:08x}\"}}\n", crc32fast::hash(bytes)).as_bytes());
        self.0.answer().expect("an answer")
    }

    /// All that there is, with versions.
    fn all(&mut self) -> Vec<u8> {
        self.ask(&json!({"op": "ls", "path": "/", "recursive": true})).1
    }

    fn perform(&mut self, command: &str, file: &str, own: &str) -> (Value, Vec<u8>) {
        let folder = file.rsplit_once('/').map_or("/", |(folder, _)| folder);
        let folder = if folder.is_empty() { "/" } else { folder };
        let request = match command {
            "get" => json!({"op": "get", "path": file}),
            "info" => json!({"op": "info", "path": file}),
            "ls" => json!({"op": "ls", "path": file}),
            "ls-all" => json!({"op": "ls", "path": folder, "recursive": true}),
            "trash" => json!({"op": "trash", "path": file}),
            "put" => return (self.put(file, b"put"), Vec::new()),
            "put-new" => return (self.put(&format!("{file}-new"), b"put"), Vec::new()),
            "mkdir" => json!({"op": "mkdir", "path": format!("{file}-folder"), "recursive": true}),
            "mv-from" => json!({"op": "mv", "path": file, "to": own}),
            "mv-to" => json!({"op": "mv", "path": own, "to": format!("{file}-moved")}),
            "append" => return (self.store(&json!({"op": "append", "path": file, "len": 3}), b"app"), Vec::new()),
            "edit" => {
                let (answer, body) = self.ask(&json!({"op": "edit", "path": file, "sentence": 0}));
                if answer["ok"] == true {
                    self.ask(&json!({"op": "release", "path": file, "lease": answer["lease"]}));
                }
                return (answer, body);
            }
            "undo" => json!({"op": "undo", "path": file}),
            "rm" => json!({"op": "rm", "path": file}),
            other => panic!("{other}"),
        };
        self.ask(&request)
    }
}

/// The rules, as README tells them.
fn may(name: &str, right: Right, path: &str) -> bool {
    let mut names = path.trim_start_matches('/').split('/');
    let (first, is_below) = (names.next().unwrap_or_default(), names.next().is_some());
    match name {
        "chief" => true,
        _ if first != name && first != "shared" => false,
        "reader" => right == Right::Read,
        _ => right == Right::Read || is_below,
    }
}

pub(crate) fn matrix() {
    let people = People::new(twins());
    let mut chief = Wire::new(&people, "chief");
    let files =
        ["/anna/f", "/anna/d/f", "/ben/f", "/reader/f", "/chief/f", "/shared/f", "/shared/d/f", "/f", "/annab/f"];
    let (mut allowed, mut refused) = (0, 0);
    for name in NAMES {
        let mut wire = Wire::new(&people, name);
        for file in files {
            for (command, right) in COMMANDS {
                // Each begins with the file there, once overwritten, and with one of the user's own to move.
                let own = format!("/{name}/own-{allowed}-{refused}");
                assert_eq!(chief.put(file, b"one")["ok"], true);
                assert_eq!(chief.put(file, b"two")["ok"], true);
                if command == "mv-to" {
                    assert_eq!(chief.put(&own, b"own")["ok"], true);
                }
                let expected =
                    may(name, right, file) && (command != "mv-from" && command != "mv-to" || name != "reader");
                // The root of all is everybody's to list: each sees what is for him.
                let expected = expected || (command == "ls-all" && file == "/f");
                let before = chief.all();
                let (answer, _) = wire.perform(command, file, &own);
                let case = format!("{name} {command} {file}: {answer}");
                if expected {
                    assert_eq!(answer["ok"], true, "{case}");
                    allowed += 1;
                } else {
                    assert_eq!(answer["error"], "denied", "{case}");
                    assert_eq!(chief.all(), before, "{case}");
                    refused += 1;
                }
                for left in [format!("{file}-new"), format!("{file}-moved"), format!("{file}-folder"), own] {
                    chief.ask(&json!({"op": "rm", "path": left}));
                }
            }
        }
    }
    println!("{allowed} allowed, {refused} refused");
    assert!(allowed > 100 && refused > 100);
    people.twins.check_identical_by(&people.client("chief"));
}

pub(crate) fn hostile() {
    let people = People::new(twins());
    let mut chief = Wire::new(&people, "chief");
    assert_eq!(chief.put("/ben/f", b"ben's")["ok"], true);
    assert_eq!(chief.put("/ben/\u{fc}", b"ben's")["ok"], true);
    assert_eq!(chief.put("/ben/unheard-of", b"ben's")["ok"], true);
    for base in ["/anna", "/shared"] {
        assert_eq!(chief.put(&format!("{base}/f"), b"anna's")["ok"], true);
    }
    let mut anna = Wire::new(&people, "anna");
    let paths = [
        "/ben/f",
        "//ben/f",
        "///ben/f",
        "/anna/../ben/f",
        "../ben/f",
        "./../ben/f",
        "/anna/./../ben/f",
        "/./ben/f",
        "/ben/./f",
        "/ben//f",
        "/ben/f/",
        "/ben/f\u{0}",
        "/anna\u{0}/../ben/f",
        "/ben\u{0}",
        "/anna/\u{2215}ben/f",
        "\u{2f}ben/f",
        "/BEN/f",
        "/Ben/f",
        "/ben /f",
        "/ben./f",
        "/ANNA/f",
        "/ben/u\u{308}",
        "/ben/\u{fc}",
        "ben/f",
        "/annab",
        "/ann",
        "/",
        "",
        ".",
        "..",
        "/shared/../ben/f",
        "/shared",
        "/anna",
        "/.twinstick/label.0",
        "/.TWINSTICK/label.0",
        "/.twinstick-accounts",
        ".twinstick-accounts",
        "/.TWINSTICK-ACCOUNTS",
        "/.twinstick-accounts.",
        "/.twinstick-accounts ",
        "/.twinstick-accounts/x",
        "/lost+found/x",
    ];
    let long = format!("/{}ben/f", "anna/../".repeat(400));
    let of_ben = |chief: &mut Wire| chief.ask(&json!({"op": "ls", "path": "/ben", "recursive": true})).1;
    let in_root = |chief: &mut Wire| {
        let body = chief.ask(&json!({"op": "ls", "path": "/"})).1;
        let lines = body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let entries = lines.map(|line| serde_json::from_slice::<Value>(line).expect("an entry"));
        entries.map(|entry| entry["name"].as_str().expect("a name").to_owned()).collect::<Vec<_>>()
    };
    let before = (of_ben(&mut chief), in_root(&mut chief));
    let mut asked = 0;
    for path in paths.into_iter().chain([long.as_str()]) {
        for (command, _) in COMMANDS {
            let (answer, body) = anna.perform(command, path, "/anna/f");
            let text = String::from_utf8_lossy(&body).into_owned();
            assert!(!text.contains("ben's") && !text.contains("unheard-of"), "{command} {path:?}: {answer} {text}");
            assert_eq!((of_ben(&mut chief), in_root(&mut chief)), before, "{command} {path:?}: {answer}");
            asked += 1;
        }
        // What she did in her own home and with what is for all is of no matter.
        for base in ["/anna", "/shared"] {
            chief.ask(&json!({"op": "rm", "path": base, "recursive": true}));
            assert_eq!(chief.put(&format!("{base}/f"), b"anna's")["ok"], true);
        }
    }
    // Not even an admin reaches the accounts.
    for path in ["/.twinstick-accounts", "/.TWINSTICK-Accounts", "/.twinstick-accounts.", "/.twinstick-accounts "] {
        for command in ["get", "info", "ls", "trash", "put", "mv-from", "undo", "rm"] {
            let (answer, _) = chief.perform(command, path, "/chief/f");
            assert_eq!(answer["error"], "denied", "{command} {path:?}: {answer}");
            asked += 1;
        }
        let onto = chief.ask(&json!({"op": "mv", "path": "/anna/f", "to": path})).0;
        assert_eq!(onto["error"], "denied", "{path:?}");
    }
    println!("{asked} requests");
    people.twins.check_identical_by(&people.client("chief"));
}
