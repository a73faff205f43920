//! When tokens were last used: told, saved without a write for each request, and no reason for anything.

use std::fs;

use serde_json::Value;
use twinstick_rig::End;

use crate::people::People;
use crate::{DENIED, twins};

pub(crate) fn told() {
    let mut people = People::new(twins());
    let (anna, chief) = (people.client("anna"), people.client("chief"));
    let token = people.twins.command(&["user", "add", "eve", "--quota", "1MiB"]).expect(0).stdout;
    let file = people.twins.state().join("token-uses.json");
    let of = |document: &Value, name: &str| -> Value {
        let users = document["users"].as_array().expect("users");
        users.iter().find(|user| user["user"] == name).expect("the user").clone()
    };
    let listed = |people: &People, words: &[&str]| {
        String::from_utf8(people.twins.command(&[&["user"], words].concat()).expect(0).stdout).expect("UTF-8")
    };
    let json = |people: &People| people.twins.command(&["user", "list", "--json"]).expect(0).json();
    anna.put("letter", &[1; 2048]).expect(0);
    let first = of(&json(&people), "anna")["tokens"][0]["last_used"].clone();
    assert!(first.is_string(), "{first}");
    anna.run(&["ls"]).expect(0);
    let now = chief.run(&["admin", "list", "--json"]).expect(0).json();
    let second = of(&now, "anna")["tokens"][0]["last_used"].clone();
    assert!(second.as_str() > first.as_str(), "{first} {second}");
    assert_eq!(of(&now, "eve")["tokens"][0]["last_used"], Value::Null);
    assert_eq!(of(&json(&people), "anna"), of(&now, "anna"), "alike, whoever is asked");
    let text = listed(&people, &["list"]);
    assert!(text.contains("anna  user  1 token  2.0 KiB  last used 2"), "{text}");
    assert!(text.contains("eve  user  1 token  0 B of 1.0 MiB  never used\n"), "{text}");
    assert!(listed(&people, &["token", "list", "eve"]).contains("first  never used"));
    // A hello alone is a use; a wrong token is none.
    let token = String::from_utf8(token).expect("UTF-8");
    let wrong = format!("{}{}\n", &token.trim()[..token.trim().len() - 2], "zz");
    people.stranger().run_on(&["login"], wrong.as_bytes()).expect(DENIED);
    assert!(of(&json(&people), "eve")["tokens"][0]["last_used"].is_null());
    people.stranger().run_on(&["login"], token.as_bytes()).expect(0);
    assert!(of(&json(&people), "eve")["tokens"][0]["last_used"].is_string());
    assert!(!file.exists(), "not written for each");
    // At its end it is, and known while no daemon runs and when it runs again.
    let known = json(&people);
    let last = of(&known, "anna")["tokens"][0].clone();
    people.twins.end(End::Drain);
    let offline = json(&people);
    assert_eq!(of(&offline, "anna")["tokens"][0], last);
    assert_eq!((&of(&offline, "eve")["limit"], &of(&offline, "eve")["bytes"]), (&(1 << 20).into(), &Value::Null));
    let text = listed(&people, &["list"]);
    assert!(text.contains("eve  user  1 token  at most 1.0 MiB  last used 2"), "{text}");
    people.twins.serve();
    assert_eq!(of(&json(&people), "anna")["tokens"][0], last);
    chief.run(&["admin", "token", "revoke", "eve", "first"]).expect(0);
    people.twins.end(End::Drain);
    let saved: Value = serde_json::from_slice(&fs::read(&file).expect("it is there")).expect("JSON");
    assert_eq!(saved["last_used_ns"].as_object().expect("tokens").len(), 4, "of a token that is gone nothing is kept");
    // What cannot be read is told of, and shuts nobody out.
    fs::write(&file, "{\"format\":1,\"last").expect("room");
    people.twins.serve();
    assert!(people.twins.log().contains("when tokens were last used is not known"), "{}", people.twins.log());
    assert_eq!(of(&json(&people), "anna")["tokens"][0]["last_used"], Value::Null);
    anna.run(&["ls"]).expect(0);
    people.twins.end(End::Drain);
    assert!(of(&json(&people), "anna")["tokens"][0]["last_used"].is_string());
}
