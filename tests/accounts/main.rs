//! Who may use the mirror: real users with real tokens, and what each can and cannot reach.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test makes files, says its figures, and stops at the first surprise"
)]

mod limits;
mod matrix;
mod passwords;
mod people;
mod quotas;
mod recovered;
mod removal;
mod uses;
mod waiting;
mod writing;

use std::fs;
use std::process::ExitCode;

use people::People;
use serde_json::json;
use twinstick_rig::{Binaries, Drives, End, Needs, Pull, Raw, Side, Trials, Twins, stages, wait_until};

/// Exit code of what is not allowed.
const DENIED: i32 = 6;
const UNAVAILABLE: i32 = 5;
const NOT_FOUND: i32 = 4;
/// The file of the mirror that has the accounts.
const ACCOUNTS_FILE: &str = ".twinstick-accounts";
const LARGE: usize = 24 << 20;

fn main() -> ExitCode {
    Trials::default()
        .with("each_user_reaches_what_is_hers_and_nothing_else", Needs::Nothing, matrix::matrix)
        .with("no_spelling_of_a_path_leads_into_another_home", Needs::Nothing, matrix::hostile)
        .with("a_user_sees_nothing_of_others", Needs::Nothing, seen)
        .with("a_share_opens_a_part_of_a_home_and_no_more", Needs::Nothing, shares)
        .with("folders_for_all_are_for_those_that_the_settings_name", Needs::Nothing, rules)
        .with("an_admin_changes_accounts_over_the_network", Needs::Nothing, admin)
        .with("a_token_comes_from_the_environment_or_a_login", Needs::Nothing, tokens)
        .with("a_revoked_token_ends_what_is_under_way", Needs::Nothing, revoked)
        .with("a_removal_ends_with_the_right_to_it", Needs::Nothing, removal::broken_off)
        .with("who_tries_many_tokens_waits", Needs::Nothing, guessing)
        .with("a_password_is_worth_a_token", Needs::Nothing, passwords::login)
        .with("a_password_is_changed_by_who_knows_it_or_an_admin", Needs::Nothing, passwords::own)
        .with("what_is_typed_as_a_password_is_not_shown", Needs::Nothing, passwords::typed)
        .with("who_tries_many_passwords_waits", Needs::Nothing, passwords::guessing)
        .with("the_last_use_of_each_token_is_told", Needs::Nothing, uses::told)
        .with("accounts_outlive_the_boot_disk", Needs::Nothing, boot_disk_lost)
        .with("accounts_that_a_stick_brings_are_nobodys", Needs::Nothing, planted)
        .with("an_old_boot_disk_brings_no_revoked_token_back", Needs::Nothing, recovered::old_boot_disk)
        .with("accounts_on_ones_own_stick_count_only_as_its_history_has_them", Needs::Nothing, recovered::forged)
        .with("what_adopt_finds_in_a_home_is_its_users", Needs::Nothing, recovered::found_by_adopt)
        .with("adopt_says_which_accounts_it_left", Needs::Nothing, recovered::newer_left)
        .with("copies_that_are_lost_are_made_again", Needs::Nothing, recovered::copies)
        .with("a_quota_holds_to_the_byte", Needs::Nothing, quotas::exact)
        .with("uploads_at_once_never_pass_a_quota_together", Needs::Nothing, quotas::races)
        .with("uploads_at_once_that_fit_a_quota_are_all_taken", Needs::Nothing, quotas::fitting)
        .with("a_quota_counts_while_an_upload_is_under_way", Needs::Nothing, quotas::under_way)
        .with("an_upload_that_is_cut_off_gives_its_quota_back", Needs::Nothing, quotas::cut_off)
        .with("what_is_sent_again_takes_the_first_ones_place", Needs::Nothing, quotas::sent_again)
        .with("a_text_is_written_by_those_who_may", Needs::Nothing, writing::rights)
        .with("a_right_that_ends_ends_an_edit", Needs::Nothing, writing::ended)
        .with("one_user_has_so_many_connections_and_no_more", Needs::Nothing, limits::connections)
        .with("who_asks_too_fast_is_told_when_to_come_back", Needs::Nothing, limits::rate)
        .with("slow_uploads_of_one_user_leave_places_for_others", Needs::Nothing, limits::places)
        .with("with_little_memory_all_who_read_get_on", Needs::Nothing, limits::little_memory)
        .with("uploads_that_wait_are_told_of_the_daemons_end_and_logged", Needs::Nothing, limits::cut_off)
        .with("an_upload_that_waits_makes_way_when_it_is_begun_again", Needs::Nothing, waiting::begun_again)
        .with("nobody_waits_for_a_client_that_left", Needs::Nothing, waiting::left)
        .with("who_sends_a_small_body_in_chunks_waits_for_no_place", Needs::Nothing, waiting::not_large)
        .with("what_waits_for_memory_and_left_gives_its_quota_back", Needs::Nothing, waiting::quota)
        .with("who_waits_to_append_keeps_nobody_from_the_text", Needs::Nothing, waiting::appended)
        .with("who_may_have_one_connection_does_with_one", Needs::Nothing, waiting::alone)
        .with("urgency_is_for_admins_and_bandwidth_for_all", Needs::Nothing, limits::urgency)
        .with("a_network_is_served_only_with_accounts", Needs::Nothing, network)
        .main()
}

fn twins() -> Twins {
    Twins::new(Binaries::new(env!("CARGO_BIN_EXE_twinstickd"), env!("CARGO_BIN_EXE_fget")), Drives::Plain)
}

/// How many files uploads have on both drives, not yet under their names.
fn staged(twins: &Twins) -> usize {
    Side::BOTH.iter().map(|side| stages(twins.root(*side)).len()).sum()
}

fn seen() {
    let people = People::new(twins());
    let (anna, ben, chief) = (people.client("anna"), people.client("ben"), people.client("chief"));
    assert_eq!(anna.run(&["ls"]).expect(0).stdout, b"", "a home without files is empty, not missing");
    ben.put("secret-plan", b"ben's").expect(0);
    ben.run(&["mkdir", "deep/er"]).expect(0);
    anna.put("letter", b"anna's").expect(0);
    anna.put("/shared/for-all", b"both").expect(0);
    ben.run(&["rm", "secret-plan"]).expect(0);
    ben.put("secret-plan-2", b"ben's").expect(0);
    let listing = |words: &[&str]| String::from_utf8(anna.run(words).expect(0).stdout).expect("UTF-8");
    assert_eq!(listing(&["ls"]), "letter\n");
    assert_eq!(listing(&["ls", "/"]), "anna/\nshared/\n");
    assert_eq!(listing(&["ls", "-R", "/"]), "anna/\nanna/letter\nshared/\nshared/for-all\n");
    let all = String::from_utf8(chief.run(&["ls", "-R", "/"]).expect(0).stdout).expect("UTF-8");
    assert!(all.contains("ben/secret-plan-2") && all.contains("anna/letter") && !all.contains(ACCOUNTS_FILE), "{all}");
    for words in [&["trash"][..], &["trash", "/"], &["status", "--json"], &["info", "letter"]] {
        let said = listing(words);
        assert!(!said.contains("secret-plan"), "{words:?}: {said}");
    }
    let of_ben = String::from_utf8(ben.run(&["trash"]).expect(0).stdout).expect("UTF-8");
    assert!(of_ben.contains("secret-plan"), "{of_ben}");
    assert_eq!(anna.run(&["info", "letter", "--json"]).expect(0).json()["owner"], "anna");
    assert_eq!(ben.get("/shared/for-all").expect(0).stdout, b"both");
    ben.put("/shared/for-all", b"changed by ben").expect(0);
    assert_eq!(anna.run(&["info", "/shared/for-all", "--json"]).expect(0).json()["owner"], "ben");
    for admins in [&["eject", "a"][..], &["scrub", "start"], &["aside"], &["verify"], &["trash", "empty"]] {
        let denied = anna.run(admins).expect(DENIED);
        assert!(denied.stderr.contains("only an admin may"), "{}", denied.stderr);
    }
    chief.run(&["verify"]).expect(0);
    // A whole tree up and down, as a person would.
    let tree = people.twins.home().join("tree/in");
    fs::create_dir_all(&tree).expect("a new folder");
    fs::write(tree.join("f"), "1").expect("a new file");
    anna.run_in(&people.twins.home(), &["put", "-r", "tree", "up"]).expect(0);
    assert_eq!(chief.get("/anna/up/in/f").expect(0).stdout, b"1");
    people.twins.check_identical_by(&people.client("chief"));
}

fn shares() {
    let people = People::new(twins());
    let (anna, ben, reader, chief) =
        (people.client("anna"), people.client("ben"), people.client("reader"), people.client("chief"));
    for path in ["d/f", "d/in/g", "private", "alone"] {
        anna.put(path, path.as_bytes()).expect(0);
    }
    ben.get("/anna/d/f").expect(DENIED);
    anna.run(&["share", "d", "ben"]).expect(0);
    anna.run(&["share", "d/in", "ben", "--write"]).expect(0);
    anna.run(&["share", "/anna/alone", "reader", "--write"]).expect(0);
    assert_eq!(ben.get("/anna/d/f").expect(0).stdout, b"d/f");
    ben.put("/anna/d/f", b"no").expect(DENIED);
    ben.run(&["rm", "/anna/d/f"]).expect(DENIED);
    ben.put("/anna/d/in/new", b"ben's").expect(0);
    ben.run(&["mv", "/anna/d/in/g", "/ben/taken"]).expect(0);
    ben.run(&["mv", "/anna/d/f", "/anna/d/in/f"]).expect(DENIED);
    for beside in ["/anna/private", "/anna", "/anna/d/../private", "/anna/dd"] {
        assert!([DENIED, 2].contains(&ben.get(beside).code), "{beside}");
    }
    ben.run(&["ls", "/anna"]).expect(DENIED);
    assert_eq!(ben.run(&["ls", "-R", "/anna/d"]).expect(0).stdout, b"f\nin/\nin/new\n");
    reader.get("/anna/alone").expect(0);
    reader.put("/anna/alone", b"no").expect(DENIED);
    let shown =
        |client: &twinstick_rig::Client| String::from_utf8(client.run(&["shares"]).expect(0).stdout).expect("UTF-8");
    assert_eq!(shown(&ben), "/anna/d  ben may read it\n/anna/d/in  ben may change it\n");
    assert_eq!(shown(&anna), shown(&chief));
    assert_eq!(shown(&anna).lines().count(), 3);
    let info = anna.run(&["info", "d/in/new", "--json"]).expect(0).json();
    assert_eq!(info["owner"], "ben");
    assert_eq!(info["shared"], json!([{"user": "ben", "write": false}, {"user": "ben", "write": true}]), "{info}");
    assert!(ben.run(&["info", "/anna/d/f", "--json"]).expect(0).json()["shared"].is_null(), "not his to know");
    // Only what is one's own can be shared, with somebody who is there, if it is there itself.
    ben.run(&["share", "/anna/d", "reader"]).expect(DENIED);
    ben.run(&["unshare", "/anna/d", "ben"]).expect(DENIED);
    anna.run(&["share", "/shared", "ben"]).expect(DENIED);
    anna.run(&["share", "nothing", "ben"]).expect(NOT_FOUND);
    anna.run(&["share", "d", "eve"]).expect(NOT_FOUND);
    anna.run(&["share", "d", "anna"]).expect(1);
    chief.run(&["share", "/shared", "ben"]).expect(1);
    // It ends at once, in the middle of an upload too.
    let mut upload = Raw::connect(people.twins.address());
    upload.send(format!("{}\n", json!({"hello": "twinstick/1", "token": people.token("ben")})).as_bytes());
    assert_eq!(upload.answer().expect("an answer")["ok"], true);
    let half = LARGE / 2;
    upload.send(format!("{{\"op\":\"put\",\"path\":\"/anna/d/in/late\",\"len\":{LARGE}}}\n").as_bytes());
    upload.send(&vec![1; half]);
    wait_until("the upload is under way", || staged(&people.twins) > 0);
    anna.run(&["unshare", "d/in", "ben"]).expect(0);
    upload.send(&vec![1; LARGE - half]);
    let crc32 = crc32fast::hash(&vec![1; LARGE]);
    upload.send(format!("{{\"crc32\":\"{crc32:08x}\"}}\n").as_bytes());
    assert_eq!(upload.answer().expect("a word of why")["error"], "denied");
    assert_eq!(anna.run(&["info", "d/in/late"]).code, NOT_FOUND);
    assert_eq!(ben.get("/anna/d/in/new").expect(0).stdout, b"ben's", "what is above is shared still");
    anna.run(&["unshare", "d", "ben"]).expect(0);
    ben.get("/anna/d/in/new").expect(DENIED);
    ben.get("taken").expect(0);
    people.twins.check_identical_by(&chief);
}

fn rules() {
    let mut people = People::new(twins());
    let (anna, ben, chief) = (people.client("anna"), people.client("ben"), people.client("chief"));
    for path in ["/shared/f", "/shared/photos/f", "/shared/photos/secret/f"] {
        chief.put(path, b"1").expect(0);
    }
    people.twins.end(End::Drain);
    people
        .twins
        .configure("[shared.photos]\nwrite = [\"anna\"]\n\n[shared.\"photos/secret\"]\nread = []\nwrite = []\n");
    people.twins.serve();
    let listing = |words: &[&str]| String::from_utf8(ben.run(words).expect(0).stdout).expect("UTF-8");
    anna.put("/shared/photos/new", b"2").expect(0);
    ben.put("/shared/photos/new", b"3").expect(DENIED);
    assert_eq!(ben.get("/shared/photos/new").expect(0).stdout, b"2");
    ben.put("/shared/own", b"4").expect(0);
    for client in [&anna, &ben] {
        client.get("/shared/photos/secret/f").expect(DENIED);
        client.run(&["ls", "/shared/photos/secret"]).expect(DENIED);
        // Nor can it be taken away with what it is in.
        client.run(&["rm", "-r", "/shared/photos"]).expect(DENIED);
        client.run(&["mv", "/shared/photos", "/shared/elsewhere"]).expect(DENIED);
    }
    assert_eq!(listing(&["ls", "-R", "/shared"]), "f\nown\nphotos/\nphotos/f\nphotos/new\n");
    chief.run(&["rm", "/shared/photos/secret/f"]).expect(0);
    assert!(!listing(&["trash", "/shared"]).contains("secret"));
    anna.run(&["undo", "/shared/photos/secret/f"]).expect(DENIED);
    chief.get("/shared/photos/new").expect(0);
    // Other settings are in force without a restart, and bad ones are not.
    people.twins.configure("[shared.photos]\nwrite = [\"anna\", \"ben\"]\n");
    people.twins.process().signal(rustix::process::Signal::HUP);
    wait_until("the new rule is in force", || ben.put("/shared/photos/new", b"3").code == 0);
    people.twins.end(End::Drain);
    people.twins.configure("[shared.\"../anna\"]\nread = []\n");
    let refused = people.twins.serve_in_vain();
    assert!(refused.stderr.contains("../anna"), "{}", refused.stderr);
}

fn admin() {
    let people = People::new(twins());
    let (anna, chief) = (people.client("anna"), people.client("chief"));
    let text = |words: &[&str]| String::from_utf8(chief.run(words).expect(0).stdout).expect("UTF-8");
    let token = text(&["admin", "add", "eve"]).trim().to_owned();
    let with = |token: &str, words: &[&str]| people.stranger().run_with(&[("FGET_TOKEN", token)], words);
    with(&token, &["put", people.twins.config().to_str().expect("UTF-8"), "f"]).expect(0);
    let phone = text(&["admin", "token", "new", "eve", "--label", "phone"]).trim().to_owned();
    let list = text(&["admin", "list"]);
    assert!(list.lines().last().is_some_and(|line| line.starts_with("reader  read-only  1 token  0 B  last used 2")));
    assert!(text(&["admin", "list"]).contains("eve  user  2 tokens  "));
    assert!(text(&["admin", "token", "list", "eve"]).contains("phone"));
    chief.run(&["admin", "token", "revoke", "eve", "phone"]).expect(0);
    with(&phone, &["ls"]).expect(DENIED);
    with(&token, &["ls"]).expect(0);
    chief.run(&["admin", "add", "eve"]).expect(9);
    chief.run(&["admin", "remove", "nobody"]).expect(NOT_FOUND);
    chief.run(&["admin", "add", "Eve"]).expect(2);
    for words in [
        &["admin", "list"][..],
        &["admin", "add", "mallory", "--admin"],
        &["admin", "token", "new", "chief", "--label", "x"],
    ] {
        anna.run(words).expect(DENIED);
    }
    chief.run(&["admin", "remove", "eve"]).expect(0);
    with(&token, &["ls"]).expect(DENIED);
    chief.run(&["admin", "remove", "chief"]).expect(1);
    // Without accounts nobody on the network makes himself the first.
    let open = twins();
    open.client().run(&["admin", "add", "mallory", "--admin"]).expect(DENIED);
}

fn tokens() {
    let mut people = People::new(twins());
    people.client("anna").put("f", b"1").expect(0);
    let stranger = people.stranger();
    let refused = stranger.run(&["ls"]).expect(DENIED);
    assert!(refused.stderr.contains("fget login"), "{}", refused.stderr);
    let token = people.token("anna");
    let with = |name: &str, value: &str| stranger.run_with(&[(name, value)], &["get", "/anna/f", "-"]);
    assert_eq!(with("FGET_TOKEN", &token).expect(0).stdout, b"1");
    let file = people.twins.home().join("token");
    fs::write(&file, format!("{token}\n")).expect("a new file");
    assert_eq!(with("FGET_TOKEN_FILE", file.to_str().expect("UTF-8")).expect(0).stdout, b"1");
    with("FGET_TOKEN_FILE", "/nonexistent").expect(DENIED);
    // Whatever is wrong with a token, the answer is the same.
    let last = if token.ends_with('0') { '1' } else { '0' };
    let wrong = format!("{}{last}", &token[..token.len() - 1]);
    let unknown = token.replacen("tws1_", "tws1_0123", 1).replacen(&token[5..9], "", 1);
    let answers = [wrong.as_str(), &unknown, "nonsense"].map(|token| with("FGET_TOKEN", token).expect(DENIED).stderr);
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    let login = stranger.run_on(&["login"], format!("{wrong}\n").as_bytes());
    login.expect(DENIED);
    assert!(!stranger.home.join(".config/fget/tokens.toml").exists(), "a wrong one is not kept");
    stranger.run_on(&["login"], format!("{token}\n").as_bytes()).expect(0);
    assert_eq!(stranger.get("f").expect(0).stdout, b"1");
    stranger.run(&["logout"]).expect(0);
    stranger.run(&["ls"]).expect(DENIED);
    // They hold after a restart too; the log has none of them.
    let kept = people.client("anna");
    people.twins.end(End::Drain);
    people.twins.serve();
    assert_eq!(kept.get("f").expect(0).stdout, b"1");
    let secret = token.rsplit('_').next().expect("a secret").to_owned();
    for file in ["twinstickd.log", "state/accounts.json"] {
        let text = fs::read_to_string(people.twins.dir().join(file)).expect("it is there");
        assert!(!text.contains(&secret), "{file} has a secret in it");
    }
    for side in Side::BOTH {
        let text = fs::read_to_string(people.twins.root(side).join(ACCOUNTS_FILE)).expect("it is there");
        assert!(text.contains("anna") && !text.contains(&secret), "{text}");
    }
}

fn revoked() {
    let people = People::new(twins());
    let (anna, chief) = (people.client("anna"), people.client("chief"));
    anna.put("large", &vec![7; LARGE]).expect(0);
    let token = people.token("anna");
    let hello = json!({"hello": "twinstick/1", "token": token}).to_string();
    let greeted = || {
        let mut raw = Raw::connect(people.twins.address());
        raw.send(format!("{hello}\n").as_bytes());
        assert_eq!(raw.answer().expect("an answer")["user"], "anna");
        raw
    };
    let (mut idle, mut upload, mut download) = (greeted(), greeted(), greeted());
    let half = LARGE / 2;
    upload.send(format!("{{\"op\":\"put\",\"path\":\"new\",\"len\":{LARGE}}}\n").as_bytes());
    upload.send(&vec![1; half]);
    download.send(b"{\"op\":\"get\",\"path\":\"large\",\"chunked\":true}\n");
    assert_eq!(download.answer().expect("the head")["len"], LARGE);
    wait_until("the upload is under way", || staged(&people.twins) > 0);
    people.twins.command(&["user", "token", "revoke", "anna", "first"]).expect(0);
    let denied = |answer: Option<serde_json::Value>| {
        let answer = answer.expect("a word of why");
        assert_eq!(answer["error"], "denied", "{answer}");
    };
    idle.send(b"{\"op\":\"ls\"}\n");
    denied(idle.answer());
    assert_eq!(idle.answer(), None, "it is closed");
    upload.send(&vec![1; LARGE - half]);
    upload.send(b"{\"crc32\":\"00000000\"}\n");
    denied(upload.answer());
    // Not much more of it comes than was on its way, and then a word.
    let mut got = 0;
    let word = loop {
        let head = download.line();
        match head.trim().parse::<usize>() {
            Ok(0) | Err(_) => break download.answer(),
            Ok(count) => got += download.bytes(count).len(),
        }
    };
    denied(word);
    assert!(got < LARGE, "all of it came");
    assert_eq!(chief.run(&["info", "/anna/new"]).code, NOT_FOUND);
    anna.run(&["ls"]).expect(DENIED);
    wait_until("nothing is left of the upload", || staged(&people.twins) == 0);
    // Another token of hers is as good as ever, until she is no user any more.
    let second = people.twins.command(&["user", "token", "new", "anna", "--label", "phone"]).expect(0).stdout;
    let second = String::from_utf8(second).expect("UTF-8");
    let with = |words: &[&str]| anna.run_with(&[("FGET_TOKEN", second.trim())], words);
    with(&["ls"]).expect(0);
    people.twins.command(&["user", "remove", "anna"]).expect(0);
    with(&["ls"]).expect(DENIED);
    assert_eq!(chief.run(&["ls", "/anna"]).expect(0).stdout, b"large\n", "files stay");
    let refused = people.twins.command(&["user", "remove", "chief"]).expect(1);
    assert!(refused.stderr.contains("last admin"), "{}", refused.stderr);
}

fn guessing() {
    let people = People::new(twins());
    let mut answers = Vec::new();
    for number in 0..40 {
        let mut raw = Raw::connect(people.twins.address());
        let token = format!("tws1_{number:016x}_{number:064x}");
        raw.send(format!("{}\n", json!({"hello": "twinstick/1", "token": token})).as_bytes());
        let answer = raw.answer().expect("a word of why");
        answers.push(answer["error"].as_str().expect("an error").to_owned());
        if answers[number] == "busy" {
            assert!(answer["message"].as_str().is_some_and(|text| text.contains("try again in")), "{answer}");
        }
    }
    assert_eq!(answers[0], "denied");
    assert_eq!(answers[39], "busy");
    let first_busy = answers.iter().position(|answer| answer == "busy").expect("one of them");
    assert!((20..40).contains(&first_busy), "{answers:?}");
    // Who has a right one does not wait for that.
    people.client("anna").run(&["ls"]).expect(0);
}

fn boot_disk_lost() {
    let mut people = People::new(twins());
    let anna = people.client("anna");
    anna.put("f", b"1").expect(0);
    let dropped = people.token("ben");
    people.twins.command(&["user", "token", "revoke", "ben", "first"]).expect(0);
    anna.run(&["status", "--wait"]).expect(0);
    people.twins.end(End::Kill);
    fs::remove_dir_all(people.twins.state()).expect("our own folder");
    people.twins.adopt();
    // Without a drive nobody can tell who may come in.
    for side in Side::BOTH {
        people.twins.take_out(side, Pull::Rename);
    }
    let offline = people.twins.command(&["user", "add", "eve", "--admin"]).expect(1);
    assert!(offline.stderr.contains("plug in one of them"), "{}", offline.stderr);
    people.twins.serve();
    let refused = anna.run(&["status"]);
    assert_eq!(refused.code, UNAVAILABLE, "{}", refused.stderr);
    people.twins.end(End::Drain);
    people.twins.put_in(Side::B);
    people.twins.serve();
    wait_until("the accounts are read from the drive", || anna.run(&["ls"]).code == 0);
    assert_eq!(anna.get("f").expect(0).stdout, b"1");
    assert_eq!(anna.run(&["info", "f", "--json"]).expect(0).json()["owner"], "anna");
    let stranger = people.stranger();
    stranger.run_with(&[("FGET_TOKEN", &dropped)], &["ls"]).expect(DENIED);
    stranger.run(&["ls"]).expect(DENIED);
    people.twins.bring_back_with(&people.client("chief"), Side::A);
    people.client("chief").run(&["status", "--wait"]).expect(0);
    people.twins.check_identical_by(&people.client("chief"));
    people.twins.end(End::Drain);
    people.twins.check(&[]).expect(0);
    // On a new boot disk they can be changed as on the old one.
    people.twins.command(&["user", "token", "new", "ben", "--label", "again"]).expect(0);
}

/// Somebody writes accounts on a stick at home, to be let in.
fn planted() {
    let people = People::new(twins());
    let document = fs::read(people.twins.root(Side::A).join(ACCOUNTS_FILE)).expect("it is there");
    let planted = people.token("chief");
    drop(people);
    let mut twins = twins();
    let open = twins.client();
    open.put("f", b"1").expect(0);
    open.run(&["status", "--wait"]).expect(0);
    twins.pull(Side::B, Pull::Rename);
    twins.end(End::Drain);
    twins.put_in(Side::B);
    fs::write(twins.root(Side::B).join(ACCOUNTS_FILE), &document).expect("a new file");
    fs::write(twins.root(Side::B).join("by-hand"), "2").expect("a new file");
    twins.serve();
    wait_until("what was written by hand is taken in", || open.get("by-hand").code == 0);
    assert!(!twins.root(Side::A).join(ACCOUNTS_FILE).exists());
    // Nobody became a user by it: everybody on this machine is served as before.
    assert_eq!(open.get("f").expect(0).stdout, b"1");
    let known = twins.command(&["user", "list"]).expect(0);
    assert!(known.stdout.is_empty(), "{:?}", known.stdout);
    // Once there are accounts, the mirror's own take the name.
    let made = twins.command(&["user", "add", "owner", "--admin"]).expect(0);
    let owner = String::from_utf8(made.stdout).expect("UTF-8");
    let with = |words: &[&str]| open.run_with(&[("FGET_TOKEN", owner.trim())], words);
    with(&["status", "--wait"]).expect(0);
    open.run_with(&[("FGET_TOKEN", &planted)], &["ls"]).expect(DENIED);
    for side in Side::BOTH {
        let text = fs::read_to_string(twins.root(side).join(ACCOUNTS_FILE)).expect("it is there");
        assert!(text.contains("owner") && !text.contains("chief"), "{text}");
    }
    twins.end(End::Drain);
    // Neither do sticks that begin a mirror with files on them.
    fs::remove_dir_all(twins.state()).expect("our own folder");
    for side in Side::BOTH {
        fs::remove_dir_all(twins.root(side).join(".twinstick")).expect("our own folder");
    }
    let drives = Side::BOTH.map(|side| format!("--drive={}={}", side.name(), twins.root(side).display()));
    twins.command(&["init", "--adopt", "--plain-directory", &drives[0], &drives[1]]).expect(0);
    twins.serve();
    assert_eq!(open.get("f").expect(0).stdout, b"1");
    assert!(twins.command(&["user", "list"]).expect(0).stdout.is_empty());
}

fn network() {
    let mut twins = twins();
    twins.end(End::Drain);
    let everywhere = ["serve", "--listen", "0.0.0.0:0"];
    let refused = twins.command(&everywhere).expect(1);
    assert!(refused.stderr.contains("twinstickd user add"), "{}", refused.stderr);
    let made = twins.command(&["user", "add", "anna", "--admin"]).expect(0);
    let token = String::from_utf8(made.stdout).expect("UTF-8");
    twins.command(&["cert"]).expect(0);
    twins.serve_on("0.0.0.0:0");
    let anna = twins.client();
    anna.run(&["ls"]).expect(DENIED);
    anna.run_with(&[("FGET_TOKEN", token.trim())], &["ls"]).expect(0);
    let refused = twins.command(&["user", "remove", "anna"]).expect(1);
    assert!(refused.stderr.contains("open to everybody"), "{}", refused.stderr);
}
