//! Passwords: for a token, at a terminal and from a pipe, and who tries others'.

use std::fs;

use serde_json::{Value, json};
use twinstick_rig::{End, Memory, Raw, Side, Terminal, wait_until};

use crate::people::People;
use crate::{ACCOUNTS_FILE, DENIED, NOT_FOUND, twins};

const OLD: &str = "green pears in may";
const NEW: &str = "red äpples in june";
/// Logins one after the other, each of which takes 19 MiB.
const LOGINS: usize = 24;
/// More than what a daemon has without them differs by.
const MEMORY_KIB: u64 = 12 << 10;

pub(crate) fn login() {
    let mut people = People::new(twins());
    people.client("anna").put("letter", b"dear").expect(0);
    let stranger = people.stranger();
    let log_in = |password: &str| stranger.run_on(&["login", "--user", "anna"], format!("{password}\n").as_bytes());
    // Without a password there is nothing to log in with.
    let none = log_in(OLD).expect(DENIED).stderr;
    let short = people.twins.command_on(&["user", "passwd", "anna"], b"pears\n").expect(1);
    assert!(short.stderr.contains("at least 10 characters, this one has 5"), "{}", short.stderr);
    let set = people.twins.command_on(&["user", "passwd", "anna"], format!("{OLD}\n").as_bytes()).expect(0);
    assert!(set.stderr.contains("tokens go on"), "{}", set.stderr);
    let wrong = log_in(NEW).expect(DENIED).stderr;
    let unknown = stranger.run_on(&["login", "--user", "eve"], format!("{OLD}\n").as_bytes()).expect(DENIED).stderr;
    assert!(none == wrong && wrong == unknown, "{none}{wrong}{unknown}");
    assert!(!stranger.home.join(".config/fget/tokens.toml").exists(), "nothing is kept");
    let known = log_in(OLD).expect(0);
    assert!(known.stderr.contains("knows you as anna"), "{}", known.stderr);
    assert_eq!(stranger.get("letter").expect(0).stdout, b"dear");
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let tokens = |people: &People| {
        String::from_utf8(people.twins.command(&["user", "token", "list", "anna"]).expect(0).stdout).expect("UTF-8")
    };
    assert!(tokens(&people).lines().count() == 2 && tokens(&people).contains(&host), "{}", tokens(&people));
    // Neither changing nor removing it ends what came of it; removing the user does.
    people.twins.end(End::Drain);
    people.twins.command_on(&["user", "passwd", "anna"], format!("{NEW}\n").as_bytes()).expect(0);
    people.twins.serve();
    assert_eq!(stranger.get("letter").expect(0).stdout, b"dear");
    log_in(OLD).expect(DENIED);
    log_in(NEW).expect(0);
    people.twins.command(&["user", "passwd", "anna", "--remove"]).expect(0);
    log_in(NEW).expect(DENIED);
    assert_eq!(stranger.get("letter").expect(0).stdout, b"dear");
    people.client("chief").run_on(&["admin", "passwd", "anna"], format!("{OLD}\n").as_bytes()).expect(0);
    log_in(OLD).expect(0);
    people.client("chief").run(&["admin", "remove", "anna"]).expect(0);
    stranger.get("/anna/letter").expect(DENIED);
    assert_eq!(log_in(OLD).expect(DENIED).stderr, wrong);
    assert_eq!(people.client("chief").run_on(&["admin", "passwd", "anna"], b"red apples\n").code, NOT_FOUND);
    // Hashes alone are kept, and nothing is logged.
    people.client("chief").run_on(&["admin", "passwd", "ben"], format!("{NEW}\n").as_bytes()).expect(0);
    // The sticks have them a moment later.
    let of_stick = |side: Side| fs::read_to_string(people.twins.root(side).join(ACCOUNTS_FILE)).unwrap_or_default();
    wait_until("the hash is on both sticks", || Side::BOTH.iter().all(|side| of_stick(*side).contains("$argon2id$")));
    let mut texts = vec![people.twins.log()];
    texts.push(fs::read_to_string(people.twins.state().join("accounts.json")).expect("it is there"));
    for side in Side::BOTH {
        texts.push(of_stick(side));
    }
    let log = String::from_utf8(people.client("chief").run(&["log", "--json"]).expect(0).stdout).expect("UTF-8");
    assert!(log.contains("\"command\":\"login\"") && log.contains("\"command\":\"passwd\""), "{log}");
    texts.push(log);
    for text in &texts {
        assert!(!text.contains(OLD) && !text.contains(NEW), "{text}");
    }
    assert!(texts[1].contains("$argon2id$v=19$m=19456,t=2,p=1$") && texts[2].contains("$argon2id$"), "{}", texts[1]);
}

pub(crate) fn own() {
    let people = People::new(twins());
    let (anna, ben, chief) = (people.client("anna"), people.client("ben"), people.client("chief"));
    let change = |client: &twinstick_rig::Client, old: &str, new: &str| {
        client.run_on(&["passwd"], format!("{old}\n{new}\n").as_bytes())
    };
    // A token alone gives nobody a password that would outlive it.
    let refused = change(&anna, "", OLD).expect(DENIED);
    assert!(refused.stderr.contains("fget admin passwd"), "{}", refused.stderr);
    chief.run_on(&["admin", "passwd", "anna"], format!("{OLD}\n").as_bytes()).expect(0);
    change(&anna, NEW, NEW).expect(DENIED);
    change(&anna, OLD, "short").expect(1);
    change(&anna, OLD, NEW).expect(0);
    change(&anna, OLD, NEW).expect(DENIED);
    ben.run_on(&["admin", "passwd", "anna"], format!("{OLD}\n").as_bytes()).expect(DENIED);
    ben.run_on(&["admin", "passwd", "ben"], format!("{OLD}\n").as_bytes()).expect(DENIED);
    change(&chief, "", OLD).expect(0);
    let log_in = |user: &str, password: &str| {
        people.stranger().run_on(&["login", "--user", user], format!("{password}\n").as_bytes()).code
    };
    assert_eq!([log_in("anna", NEW), log_in("anna", OLD), log_in("chief", OLD)], [0, DENIED, 0]);
    anna.run_on(&["passwd", "--remove"], format!("{OLD}\n").as_bytes()).expect(DENIED);
    anna.run_on(&["passwd", "--remove"], format!("{NEW}\n").as_bytes()).expect(0);
    assert_eq!(log_in("anna", NEW), DENIED);
    // An admin's hash is not taken: it is made here.
    let mut raw = Raw::connect(people.twins.address());
    raw.send(format!("{}\n", json!({"hello": "twinstick/1", "token": people.token("chief")})).as_bytes());
    assert_eq!(raw.answer().expect("an answer")["ok"], true);
    let change = json!({"do": "set-password", "name": "ben", "password": null});
    raw.send(format!("{}\n", json!({"op": "account", "change": change})).as_bytes());
    assert_eq!(raw.answer().expect("an answer")["error"], "bad-request");
}

pub(crate) fn typed() {
    let people = People::new(twins());
    let mut terminal = Terminal::new();
    let mut passwd = people.twins.command_line(&["user", "passwd", "anna"]);
    let twice = [("New password of anna", OLD), ("The same again", "another"), ("New password of anna", OLD)];
    assert_eq!(terminal.answer(&mut passwd, &[&twice[..], &[("The same again", OLD)]].concat()), 0);
    let stranger = people.stranger();
    let at = format!("Password of anna at {}", people.twins.address());
    assert_eq!(stranger.run_at(&mut terminal, &["login", "--user", "anna"], &[(&at, NEW)]), DENIED);
    assert_eq!(stranger.run_at(&mut terminal, &["login", "--user", "anna"], &[(&at, OLD)]), 0);
    let change = [("Old password", OLD), ("New password", NEW), ("The same again", NEW)];
    assert_eq!(stranger.run_at(&mut terminal, &["passwd"], &change), 0);
    assert_eq!(stranger.run_at(&mut terminal, &["login", "--user", "anna"], &[(&at, NEW)]), 0);
    let never = [("New password of anna", OLD), ("The same again", NEW)];
    let mut passwd = people.twins.command_line(&["user", "passwd", "anna"]);
    assert_eq!(terminal.answer(&mut passwd, &[never, never, never].concat()), 1);
    let shown = terminal.shown();
    assert!(shown.contains("two different ones") && shown.contains("knows you as anna"), "{shown}");
    assert!(!shown.contains("pears") && !shown.contains("june"), "it was shown: {shown}");
}

pub(crate) fn guessing() {
    let people = People::new(twins());
    let set = |name: &str| people.twins.command_on(&["user", "passwd", name], format!("{OLD}\n").as_bytes()).expect(0);
    set("anna");
    let attempt = |user: &str, password: &str| -> Value {
        let mut raw = Raw::connect(people.twins.address());
        raw.send(b"{\"hello\":\"twinstick/1\",\"login\":true}\n");
        let hello = raw.answer().expect("an answer");
        assert!(hello["ok"] == true && hello["user"].is_null(), "{hello}");
        let login = json!({"op": "login", "user": user, "password": password, "label": "x"});
        raw.send(format!("{login}\n").as_bytes());
        raw.answer().expect("an answer")
    };
    let before = people.twins.process().memory_kib(Memory::Now);
    for _ in 0..LOGINS {
        assert_eq!(attempt("anna", OLD)["ok"], true, "right ones do not count");
    }
    wait_until("its memory is given back", || people.twins.process().memory_kib(Memory::Now) < before + MEMORY_KIB);
    // Who has said that much may do nothing else.
    for line in [json!({"op": "ls"}), json!({"op": "shares"}), json!({"op": "status"}), json!({"op": "passwd"})] {
        let mut raw = Raw::connect(people.twins.address());
        raw.send(format!("{{\"hello\":\"twinstick/1\",\"login\":true}}\n{line}\n").as_bytes());
        assert_eq!(raw.answer().expect("an answer")["ok"], true);
        let refused = raw.answer().expect("a word of why");
        assert_eq!((&refused["error"], &refused["close"]), (&json!("denied"), &json!(true)), "{line}: {refused}");
    }
    // Many at once are no way around the limit, whoever they are tried for.
    let answers: Vec<_> = std::thread::scope(|scope| {
        let attempts: Vec<_> = (0..40)
            .map(|number| {
                let user = ["anna", "ben", "eve", "not a name"][number % 4];
                scope.spawn(move || attempt(user, &format!("wrong {number}")))
            })
            .collect();
        attempts.into_iter().map(|attempt| attempt.join().expect("it ends")).collect()
    });
    let count = |name: &str| answers.iter().filter(|answer| answer["error"] == name).count();
    assert!(count("denied") >= 1 && count("busy") >= 1 && count("denied") + count("busy") == 40, "{answers:?}");
    assert!(count("denied") < 40 - 8, "{answers:?}");
    let denied: Vec<_> = answers.iter().filter(|answer| answer["error"] == "denied").collect();
    assert!(denied.iter().all(|answer| answer["message"] == denied[0]["message"]), "{denied:?}");
    while attempt("anna", "wrong")["error"] == "denied" {}
    assert_eq!(attempt("anna", OLD)["error"], "busy", "a right one cannot be told from them without the work");
    // Tokens go on.
    people.client("anna").run(&["ls"]).expect(0);
}
