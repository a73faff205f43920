//! TLS: whom a client believes, and what is said to one that speaks otherwise. The real daemon, the real client.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    clippy::print_stdout,
    reason = "tests"
)]

mod ends;

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::process::ExitCode;

use ends::{Spoken, believing, impostor};
use rustix::process::Signal;
use rustls::HandshakeKind;
use twinstick::tls::{Fingerprint, IN_CLEAR};
use twinstick_rig::{Binaries, Client, Drives, End, Memory, Needs, Raw, Trials, Twins, own_address, wait_until};

const DENIED: i32 = 6;
const HELLO: &str = r#"{"hello":"twinstick/1"}"#;
/// Connections without a request, of each kind.
const IDLE: usize = 500;
/// What one of them may take.
const IDLE_KIB_MAX: f64 = 24.0;
const LARGE: usize = 32 << 20;

fn main() -> ExitCode {
    Trials::default()
        .with("a_pinned_server_is_spoken_to_by_tls", Needs::Nothing, pinned)
        .with("a_changed_key_is_refused_before_anything_is_sent", Needs::Nothing, changed)
        .with("an_impostor_learns_nothing", Needs::Nothing, impostors)
        .with("a_key_comes_from_the_environment_too", Needs::Nothing, environment)
        .with("who_speaks_otherwise_is_told_so", Needs::Nothing, otherwise)
        .with("silence_ends_before_and_within_a_handshake", Needs::Nothing, silence)
        .with("who_sends_crumbs_is_too_slow_here_too", Needs::Nothing, crumbs)
        .with("a_session_is_resumed_until_the_key_changes", Needs::Nothing, resumed)
        .with("a_connection_without_a_request_stays_small", Needs::Nothing, small)
        .with("cert_makes_one_and_shows_it", Needs::Nothing, made)
        .with("a_given_certificate_is_used", Needs::Nothing, given)
        .with("a_network_is_served_by_tls_unless_the_settings_say_otherwise_in_words", Needs::Network, network)
        .with("a_policy_that_changes_is_in_force_or_told_of", Needs::Network, policy)
        .with("an_address_may_have_a_zone", Needs::Nothing, zones)
        .main()
}

fn twins() -> Twins {
    Twins::new(Binaries::new(env!("CARGO_BIN_EXE_twinstickd"), env!("CARGO_BIN_EXE_fget")), Drives::Plain)
}

/// A mirror that takes nothing in clear, and its fingerprint.
fn secured() -> (Twins, String) {
    let mut twins = twins();
    twins.end(End::Drain);
    let fingerprint = make_certificate(&twins, &[]);
    twins.configure("tls = \"always\"\n");
    twins.serve();
    (twins, fingerprint)
}

/// Makes a certificate; its fingerprint as `cert` prints it.
fn make_certificate(twins: &Twins, words: &[&str]) -> String {
    let made = twins.command(&[&["cert"], words].concat()).expect(0);
    fingerprint_in(&String::from_utf8(made.stdout).expect("UTF-8"))
}

fn fingerprint_in(shown: &str) -> String {
    let line = shown.lines().find_map(|line| line.strip_prefix("fingerprint "));
    line.unwrap_or_else(|| panic!("no fingerprint in {shown}")).trim().to_owned()
}

/// Pins the key, as somebody does who has compared it.
fn pin(client: &Client, fingerprint: &str) {
    client.run(&["login", "--fingerprint", fingerprint]).expect(0);
}

fn crumbs() {
    let (mut twins, _) = secured();
    twins.end(End::Drain);
    twins.configure("tls = \"always\"\n[limits]\nstall_timeout = \"1s\"\nrate_min = \"64KiB\"\n");
    twins.serve();
    let mut slow = Spoken::connect(twins.address(), &believing());
    assert_eq!(slow.ask(HELLO)["ok"], true);
    let answer = slow.ask_in_crumbs(r#"{"op":"put","path":"f","len":1000000}"#);
    assert_eq!((&answer["error"], &answer["close"]), (&"timeout".into(), &true.into()), "{answer}");
    assert!(answer["message"].as_str().is_some_and(|text| text.contains("64.0 KiB a second")), "{answer}");
}

fn pinned() {
    let (twins, fingerprint) = secured();
    let client = twins.client();
    pin(&client, &fingerprint);
    let pins = client.home.join(".config/fget/pins.toml");
    assert_eq!(fs::metadata(&pins).expect("it is kept").permissions().mode() & 0o777, 0o600);
    client.put("letter", b"dear").expect(0);
    assert_eq!(client.get("letter").expect(0).stdout, b"dear");
    assert_eq!(client.run(&["ls"]).expect(0).stdout, b"letter\n");
    let large: Vec<u8> = (0..LARGE as u32 / 4).flat_map(|word| word.wrapping_mul(0x9e37_79b9).to_le_bytes()).collect();
    client.put("large", &large).expect(0);
    assert!(client.get("large").expect(0).stdout == large, "another file came back");
    client.put_piped("piped", &large).expect(0);
    assert!(client.get("piped").expect(0).stdout == large, "another file came back");
    // Several connections at once.
    let tree = twins.home().join("tree/in");
    fs::create_dir_all(&tree).expect("a new folder");
    for name in ["f", "g", "h"] {
        fs::write(tree.join(name), name).expect("a new file");
    }
    client.run_in(&twins.home(), &["put", "-r", "tree", "up"]).expect(0);
    assert_eq!(client.get("up/in/h").expect(0).stdout, b"h");
    twins.check_identical();
}

fn changed() {
    let (twins, fingerprint) = secured();
    let client = twins.client();
    pin(&client, &fingerprint);
    client.put("letter", b"dear").expect(0);
    let another = make_certificate(&twins, &["--anew"]);
    assert_ne!(another, fingerprint);
    twins.process().signal(Signal::HUP);
    wait_until("the new key is in force", || client.run(&["ls"]).code != 0);
    let refused = client.run(&["ls"]).expect(DENIED);
    for part in [&another, &fingerprint, "another key", "fget login"] {
        assert!(refused.stderr.contains(part), "{part}: {}", refused.stderr);
    }
    client.put("letter", b"changed").expect(DENIED);
    // A script does not take it either; only who has compared it.
    let login = client.run_on(&["login"], b"yes\n").expect(DENIED);
    assert!(login.stderr.contains(&another) && login.stderr.contains("ANOTHER KEY"), "{}", login.stderr);
    client.run(&["login", "--fingerprint", &fingerprint]).expect(DENIED);
    client.run(&["ls"]).expect(DENIED);
    pin(&client, &another);
    assert_eq!(client.get("letter").expect(0).stdout, b"dear");
}

fn impostors() {
    let (twins, fingerprint) = secured();
    let token = [("FGET_TOKEN", "tws1_secret"), ("FGET_FINGERPRINT", fingerprint.as_str())];
    let (address, serving) = impostor();
    let client = Client { address, ..twins.client() };
    let refused = client.run_with(&token, &["ls"]).expect(DENIED);
    assert!(refused.stderr.contains("another key"), "{}", refused.stderr);
    assert_eq!(serving.join().expect("an impostor"), b"");
    let (address, serving) = impostor();
    let client = Client { address, ..twins.client() };
    let refused = client.run_with(&token[..1], &["--tls", "always", "ls"]).expect(DENIED);
    assert!(refused.stderr.contains("not known here") && refused.stderr.contains("login"), "{}", refused.stderr);
    assert_eq!(serving.join().expect("an impostor"), b"");
}

fn environment() {
    let (twins, fingerprint) = secured();
    let client = twins.client();
    let with = |pin: &str| client.run_with(&[("FGET_FINGERPRINT", pin)], &["ls"]);
    with(&fingerprint).expect(0);
    with(&fingerprint.replace("sha256:", "").to_uppercase()).expect(0);
    let bad = with("sha256:12").expect(2);
    assert!(bad.stderr.contains("twinstickd cert"), "{}", bad.stderr);
    client.run(&["ls"]).expect(DENIED);
    pin(&client, &fingerprint);
    client.run(&["ls"]).expect(0);
    client.run(&["logout"]).expect(0);
    client.run(&["ls"]).expect(DENIED);
}

fn otherwise() {
    let (mut twins, fingerprint) = secured();
    let client = twins.client();
    let mut raw = Raw::connect(twins.address());
    raw.send(format!("{HELLO}\n").as_bytes());
    let answer = raw.answer().expect("a word of why");
    assert_eq!((&answer["error"], &answer["close"]), (&"tls-required".into(), &true.into()), "{answer}");
    let refused = client.run(&["ls"]).expect(DENIED);
    assert!(refused.stderr.contains("--tls always login"), "{}", refused.stderr);
    // Neither does rubbish behind the first byte of a handshake take anything but its own connection.
    let mut raw = Raw::connect(twins.address());
    raw.send(&[0x16; 600]);
    raw.finish();
    // And the other way round.
    twins.end(End::Drain);
    twins.configure(&format!("tls = \"{IN_CLEAR}\"\n"));
    twins.serve();
    client.run(&["ls"]).expect(0);
    let refused = client.run_with(&[("FGET_FINGERPRINT", &fingerprint)], &["ls"]).expect(DENIED);
    assert!(refused.stderr.contains("does not speak TLS"), "{}", refused.stderr);
    // A key that is known is stronger than that word: it may be meant for another server.
    client.run_with(&[("FGET_FINGERPRINT", &fingerprint), ("FGET_TLS", IN_CLEAR)], &["ls"]).expect(DENIED);
    client.run_with(&[("FGET_TLS", IN_CLEAR)], &["ls"]).expect(0);
    client.run(&["--tls", "never", "ls"]).expect(2);
    client.run_with(&[("FGET_TLS", "off")], &["ls"]).expect(2);
    client.run_with(&[("FGET_TLS", ""), ("FGET_FINGERPRINT", ""), ("FGET_TOKEN", "")], &["ls"]).expect(0);
    // What answers in no language at all.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = silent.local_addr().expect("a port").to_string();
    let answering = std::thread::spawn(move || {
        use std::io::Write as _;
        let (mut stream, _) = silent.accept().expect("a client");
        stream.write_all(b"SSH-2.0-OpenSSH\r\n").expect("a client");
        stream.set_read_timeout(Some(twinstick_rig::PATIENCE)).expect("a socket");
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    let other = Client { address, ..client.clone() };
    let refused = other.run_with(&[("FGET_FINGERPRINT", &fingerprint)], &["ls"]).expect(1);
    assert!(refused.stderr.contains("does not speak TLS, so nothing was sent"), "{}", refused.stderr);
    answering.join().expect("an end");
}

fn silence() {
    let (mut twins, _) = secured();
    twins.end(End::Drain);
    twins.configure("tls = \"always\"\n[limits]\nhello_timeout = \"300ms\"\n");
    twins.serve();
    let sockets = || twins.process().sockets();
    let before = sockets();
    let mut silent = Raw::connect(twins.address());
    assert_eq!(silent.answer().expect("a word of why")["error"], "timeout");
    let mut halting = Raw::connect(twins.address());
    // The head of a handshake's record, whose body never comes.
    halting.send(&[0x16, 3, 1, 2, 0, 1]);
    assert_eq!(halting.answer(), None, "TLS has begun: no line can be said any more");
    drop(silent);
    wait_until("both are gone", || sockets() <= before);
}

fn resumed() {
    let (twins, fingerprint) = secured();
    let config = believing();
    let mut first = Spoken::connect(twins.address(), &config);
    assert_eq!(first.ask(HELLO)["ok"], true);
    assert_eq!(first.handshake(), HandshakeKind::Full);
    let shown = Fingerprint::of(&first.certificate()).expect("a certificate").to_string();
    assert_eq!(shown, fingerprint);
    let mut second = Spoken::connect(twins.address(), &config);
    assert_eq!(second.ask(HELLO)["ok"], true);
    assert_eq!(second.handshake(), HandshakeKind::Resumed);
    let another = make_certificate(&twins, &["--anew"]);
    twins.process().signal(Signal::HUP);
    let now = || {
        let mut spoken = Spoken::connect(twins.address(), &believing());
        assert_eq!(spoken.ask(HELLO)["ok"], true);
        Fingerprint::of(&spoken.certificate()).expect("a certificate").to_string()
    };
    wait_until("the new key is shown", || now() == another);
    let mut third = Spoken::connect(twins.address(), &config);
    assert_eq!(third.ask(HELLO)["ok"], true);
    assert_eq!(third.handshake(), HandshakeKind::Full, "a ticket of the old key's is worth nothing");
    // Who was there before goes on.
    for spoken in [&mut first, &mut second] {
        assert_eq!(spoken.ask(r#"{"op":"info","path":"none"}"#)["error"], "not-found");
    }
}

fn small() {
    let mut twins = twins();
    twins.end(End::Drain);
    make_certificate(&twins, &[]);
    twins.serve();
    let resident = || twins.process().memory_kib(Memory::Now);
    // On loopback one server speaks both. What the first ones make is there for all.
    let config = believing();
    let greeted = |_| {
        let mut spoken = Spoken::connect(twins.address(), &config);
        assert_eq!(spoken.ask(HELLO)["ok"], true);
        spoken
    };
    let first: Vec<_> = (0..16).map(greeted).collect();
    let before = resident();
    let clear: Vec<_> = (0..IDLE).map(|_| Raw::greeted(twins.address())).collect();
    let with_clear = resident();
    let secured: Vec<_> = (0..IDLE).map(greeted).collect();
    let with_both = resident();
    let each = |kib: u64| kib as f64 / IDLE as f64;
    let (of_clear, of_secured) = (each(with_clear.saturating_sub(before)), each(with_both.saturating_sub(with_clear)));
    println!("resident for each idle connection: {of_clear:.1} KiB in clear, {of_secured:.1} KiB by TLS");
    assert!(of_secured < IDLE_KIB_MAX, "{of_secured:.1} KiB");
    drop((first, clear, secured));
}

fn made() {
    let twins = twins();
    let made = twins.command(&["cert", "--name", "pi.local", "--name", "192.168.1.5"]).expect(0);
    let shown = String::from_utf8(made.stdout).expect("UTF-8");
    assert!(shown.contains("names        pi.local, 192.168.1.5\n") && shown.contains("to 9999-12-31"), "{shown}");
    assert_eq!(fs::metadata(twins.state().join("tls.pem")).expect("made").permissions().mode() & 0o777, 0o600);
    assert_eq!(String::from_utf8(twins.command(&["cert"]).expect(0).stdout).expect("UTF-8"), shown);
    let refused = twins.command(&["cert", "--name", "other"]).expect(1);
    assert!(refused.stderr.contains("--anew"), "{}", refused.stderr);
    twins.command(&["cert", "--anew", "--name", "not a name"]).expect(1);
    let another = make_certificate(&twins, &["--anew"]);
    assert_ne!(another, fingerprint_in(&shown));
}

fn given() {
    let (mut twins, fingerprint) = secured();
    let pem = fs::read_to_string(twins.state().join("tls.pem")).expect("it is there");
    let (key, certificate) = pem.split_at(pem.find("-----BEGIN CERTIFICATE").expect("both are in it"));
    let folder = twins.dir().join("given");
    fs::create_dir(&folder).expect("a new folder");
    let path = |name: &str| folder.join(name).to_str().expect("UTF-8").to_owned();
    fs::write(path("key"), key).expect("a new file");
    fs::write(path("certificate"), certificate).expect("a new file");
    fs::set_permissions(path("key"), fs::Permissions::from_mode(0o644)).expect("our own");
    let settings = |key: &str| {
        format!("tls = \"always\"\ntls_certificate = \"{}\"\ntls_key = \"{}\"\n", path("certificate"), path(key))
    };
    make_certificate(&twins, &["--anew"]);
    twins.end(End::Drain);
    twins.configure(&settings("key"));
    let refused = twins.serve_in_vain();
    assert!(refused.stderr.contains("chmod 600"), "{}", refused.stderr);
    fs::set_permissions(path("key"), fs::Permissions::from_mode(0o600)).expect("our own");
    twins.serve();
    let client = twins.client();
    pin(&client, &fingerprint);
    client.run(&["ls"]).expect(0);
    assert_eq!(make_certificate(&twins, &[]), fingerprint, "the one that is used is shown");
    let refused = twins.command(&["cert", "--anew"]).expect(1);
    assert!(refused.stderr.contains("settings"), "{}", refused.stderr);
    // One that does not fit is not taken while it runs, and not at the start.
    fs::write(path("other"), rcgen::KeyPair::generate().expect("a key").serialize_pem()).expect("a new file");
    fs::set_permissions(path("other"), fs::Permissions::from_mode(0o600)).expect("our own");
    twins.configure(&settings("other"));
    twins.process().signal(Signal::HUP);
    wait_until("the log says why", || twins.log().contains("in force but for TLS, which is kept as it was"));
    assert!(!twins.log().lines().any(|line| line.ends_with("configuration in force")), "{}", twins.log());
    client.run(&["ls"]).expect(0);
    twins.end(End::Drain);
    let refused = twins.serve_in_vain();
    assert!(refused.stderr.contains(&path("other")), "{}", refused.stderr);
}

fn network() {
    let own = own_address().expect("a network");
    let mut twins = twins();
    twins.end(End::Drain);
    let made = twins.command(&["user", "add", "anna", "--admin"]).expect(0);
    let token = String::from_utf8(made.stdout).expect("UTF-8");
    let refused = twins.command(&["serve", "--listen", "0.0.0.0:0"]).expect(1);
    assert!(refused.stderr.contains("twinstickd cert") && refused.stderr.contains(IN_CLEAR), "{}", refused.stderr);
    let fingerprint = make_certificate(&twins, &[]);
    twins.serve_on("0.0.0.0:0");
    let port = twins.address().rsplit(':').next().expect("a port").to_owned();
    let from_outside = Client { address: format!("{own}:{port}"), ..twins.client() };
    let from_here = Client { address: format!("127.0.0.1:{port}"), ..twins.client() };
    let with = |client: &Client, words: &[&str]| client.run_with(&[("FGET_TOKEN", token.trim())], words);
    with(&from_here, &["ls"]).expect(0);
    with(&from_outside, &["ls"]).expect(DENIED);
    let refused = with(&from_outside, &["--tls", IN_CLEAR, "ls"]).expect(DENIED);
    assert!(refused.stderr.contains("takes nothing in clear"), "{}", refused.stderr);
    from_outside.run_on(&["login", "--fingerprint", &fingerprint], token.as_bytes()).expect(0);
    from_outside.put("letter", b"dear").expect(0);
    assert_eq!(with(&from_here, &["get", "letter", "-"]).expect(0).stdout, b"dear");
    twins.end(End::Drain);
    twins.configure(&format!("tls = \"{IN_CLEAR}\"\n"));
    twins.serve();
    let refused = from_outside.run(&["ls"]).expect(DENIED);
    assert!(refused.stderr.contains("does not speak TLS"), "{}", refused.stderr);
    from_outside.run(&["--tls", IN_CLEAR, "ls"]).expect(DENIED);
    from_outside.run(&["logout"]).expect(0);
    with(&from_outside, &["--tls", IN_CLEAR, "ls"]).expect(0);
    wait_until("it is told", || twins.log().contains("in clear, as the settings say"));
}

/// The policy changes while it runs, and the log says all of it, and nothing else.
fn policy() {
    let own = own_address().expect("a network");
    let mut twins = twins();
    twins.end(End::Drain);
    let token = String::from_utf8(twins.command(&["user", "add", "anna", "--admin"]).expect(0).stdout).expect("UTF-8");
    make_certificate(&twins, &[]);
    twins.serve_on("0.0.0.0:0");
    let port = twins.address().rsplit(':').next().expect("a port").to_owned();
    let outside = Client { address: format!("{own}:{port}"), ..twins.client() };
    let here = Client { address: format!("127.0.0.1:{port}"), ..twins.client() };
    let in_clear =
        |client: &Client| client.run_with(&[("FGET_TOKEN", token.trim()), ("FGET_TLS", IN_CLEAR)], &["ls"]).code;
    let times = |twins: &Twins, what: &str| twins.log().lines().filter(|line| line.contains(what)).count();
    let reload = |twins: &Twins, text: &str, line: &str, count: usize| {
        twins.configure(text);
        twins.process().signal(Signal::HUP);
        wait_until(line, || times(twins, line) >= count);
    };
    let told = "in clear, as the settings say";
    assert_eq!(([in_clear(&outside), in_clear(&here)], times(&twins, told)), ([DENIED, 0], 0));
    reload(&twins, &format!("tls = \"{IN_CLEAR}\"\n"), "configuration in force", 1);
    assert_eq!([in_clear(&outside), in_clear(&here)], [0, 0]);
    wait_until("it is told", || times(&twins, told) == 1);
    reload(&twins, &format!("tls = \"{IN_CLEAR}\"\nprobe_every = \"2s\"\n"), "configuration in force", 2);
    assert_eq!(times(&twins, told), 1, "nothing new");
    reload(&twins, "tls = \"always\"\n", "configuration in force", 3);
    assert_eq!([in_clear(&outside), in_clear(&here)], [DENIED, DENIED]);
    // Without its key it is not taken, and what needs a restart is named with it.
    let kept = "in force but for TLS, which is kept as it was, and for what needs a restart";
    fs::rename(twins.state().join("tls.pem"), twins.state().join("elsewhere")).expect("our own");
    reload(&twins, "tls = \"auto\"\ntrash_days = 3\n", kept, 1);
    assert_eq!([in_clear(&outside), in_clear(&here)], [DENIED, DENIED], "as it was");
    fs::rename(twins.state().join("elsewhere"), twins.state().join("tls.pem")).expect("our own");
    reload(&twins, "tls = \"auto\"\n", "configuration in force", 5);
    assert_eq!([in_clear(&outside), in_clear(&here)], [DENIED, 0]);
    reload(&twins, &format!("tls = \"{IN_CLEAR}\"\n"), "configuration in force", 6);
    wait_until("it is told again", || times(&twins, told) == 2);
}

/// An address that means something on one network alone: with the zone that says which.
fn zones() {
    let mut twins = twins();
    let refused = |server: &str| {
        let client = Client { address: server.to_owned(), ..twins.client() };
        client.run(&["ls"]).expect(2).stderr
    };
    for server in ["[fe80::1%]:1", "fe80::1%eth0:1", "[fe80::1%eth0]x", "[pi]:1"] {
        assert!(refused(server).contains("[ADDRESS%ZONE]:PORT"), "{server}: {}", refused(server));
    }
    twins.end(End::Drain);
    let token = String::from_utf8(twins.command(&["user", "add", "anna", "--admin"]).expect(0).stdout).expect("UTF-8");
    let fingerprint = make_certificate(&twins, &[]);
    twins.serve_on("[::]:0");
    let port = twins.address().rsplit(':').next().expect("a port").to_owned();
    // By the interface's number, since not every machine has an address that needs one.
    let client = Client { address: format!("[::1%1]:{port}"), ..twins.client() };
    let local = twins.home().join("f");
    fs::write(&local, "dear").expect("room");
    client.run_with(&[("FGET_TOKEN", token.trim())], &["put", local.to_str().expect("UTF-8"), "f"]).expect(0);
    client.run_on(&["--tls", "always", "login", "--fingerprint", &fingerprint], token.as_bytes()).expect(0);
    client.run(&["ls"]).expect(0);
    let pins = fs::read_to_string(client.home.join(".config/fget/pins.toml")).expect("it is kept");
    assert!(pins.contains(&format!("\"[::1%1]:{port}\" = ")), "{pins}");
    if let Some(link_local) = link_local() {
        let client = Client { address: format!("[{link_local}]:{port}"), ..twins.client() };
        client.run_on(&["login", "--fingerprint", &fingerprint], token.as_bytes()).expect(0);
        client.get("f").expect(0);
    }
}

/// An address of this machine's that needs a zone, with it.
fn link_local() -> Option<String> {
    let all = fs::read_to_string("/proc/net/if_inet6").ok()?;
    all.lines().find_map(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        let (digits, name) = (words.first()?, words.last()?);
        let address = std::net::Ipv6Addr::from(u128::from_str_radix(digits, 16).ok()?);
        digits.starts_with("fe8").then(|| format!("{address}%{name}"))
    })
}
