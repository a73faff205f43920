#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::*;
use crate::audit::{AuditLimits, AuditLog};
use crate::server::admission::{Admission, IDLE_MIN};
use crate::server::door::{Changer, Directory, Roll};
use crate::wire::{BodyLength, Totals};

const HELLO: &str = "{\"hello\":\"twinstick/1\"}\n";

/// What the daemon would hold.
struct Daemon {
    phase: watch::Sender<Phase>,
    limits: watch::Sender<Arc<Limits>>,
    admission: Arc<Admission>,
}

fn pair() -> (DuplexStream, Connection<Metered<DuplexStream>>, Daemon) {
    let (client, server) = tokio::io::duplex(64 * 1024);
    let daemon =
        Daemon { phase: watch::Sender::default(), limits: watch::Sender::default(), admission: Arc::default() };
    let pass = daemon.admission.admit(IpAddr::from([10, 0, 0, 1]).into(), 1, now()).unwrap();
    let changer: Changer = Arc::new(|_| Box::pin(async { Ok(None) }));
    let directory = Arc::new(Directory::new(watch::Sender::new(Roll::Open).subscribe(), changer, Arc::default()));
    let guest = Guest::new(&directory, IpAddr::from([10, 0, 0, 1]));
    let log = AuditLog::new(Totals::default(), AuditLimits::default(), PathBuf::new());
    let scribe = Scribe::new(Arc::new(log), SocketAddr::from(([10, 0, 0, 1], 1)));
    let terms = Terms { limits: daemon.limits.subscribe(), phase: daemon.phase.subscribe(), pass, guest, scribe };
    (client, Connection::new(server, terms), daemon)
}

async fn rest_of(mut client: DuplexStream, connection: Connection<Metered<DuplexStream>>) -> String {
    drop(connection);
    let mut all = String::new();
    client.read_to_string(&mut all).await.unwrap();
    all
}

/// Sends `text`, closes, and gives what came back, line by line, with the server's close.
async fn ask(text: impl AsRef<[u8]>) -> (Vec<serde_json::Value>, Close) {
    let (mut client, mut connection, _daemon) = pair();
    client.write_all(text.as_ref()).await.unwrap();
    client.shutdown().await.unwrap();
    let close = match connection.next_request().await {
        Ok(request) => panic!("no test asks for something that needs the mirror: {request:?}"),
        Err(close) => close,
    };
    drop(connection);
    let mut all = String::new();
    client.read_to_string(&mut all).await.unwrap();
    (all.lines().map(|line| serde_json::from_str(line).unwrap()).collect(), close)
}

async fn named(text: impl AsRef<[u8]>, error: &str) {
    let text = text.as_ref();
    let shown = String::from_utf8_lossy(text.get(..80).unwrap_or(text)).into_owned();
    let (lines, close) = ask(text).await;
    let last = lines.last().unwrap();
    assert_eq!(last["error"], error, "{shown}");
    assert_eq!(last["close"], true, "{shown}");
    assert!(matches!(close, Close::Refused(_)), "{shown}: {close}");
}

#[tokio::test]
async fn a_hello_is_answered_with_the_servers_version() {
    let (lines, close) = ask(HELLO).await;
    let version = format!("twinstick/{}", env!("CARGO_PKG_VERSION"));
    assert_eq!(lines, [serde_json::json!({"ok": true, "server": version})]);
    assert!(matches!(close, Close::ClientLeft));
}

#[tokio::test]
async fn what_comes_before_the_hello_is_refused() {
    named("{\"op\":\"status\"}\n", "bad-request").await;
    named("{\"op\":\"nonsense\"}\n", "bad-request").await;
    named("GET / HTTP/1.1\r\nHost: x\r\n\r\n", "bad-request").await;
}

#[tokio::test]
async fn another_version_is_refused_by_name() {
    named("{\"hello\":\"twinstick/2\"}\n", "unsupported-version").await;
}

#[tokio::test]
async fn rubbish_is_refused_by_name() {
    for rubbish in ["\n", "hello\n", "[]\n", "{\"op\":\n", "{\"op\":1}\n", "{\"path\":\"a\"}\n", "\u{0}\u{1}\n"] {
        named(format!("{HELLO}{rubbish}"), "bad-request").await;
    }
    named([HELLO.as_bytes(), b"\xff\xfe\n"].concat(), "bad-request").await;
}

#[tokio::test]
async fn an_unknown_operation_leaves_the_session_open() {
    let (lines, close) = ask(format!("{HELLO}{{\"op\":\"chmod\"}}\n{{\"op\":\"chown\"}}\n")).await;
    let errors: Vec<_> = lines.iter().skip(1).map(|line| line["error"].as_str().unwrap()).collect();
    assert_eq!(errors, ["unknown-op", "unknown-op"]);
    assert!(matches!(close, Close::ClientLeft));
}

#[tokio::test]
async fn a_header_without_an_end_is_refused_at_its_limit() {
    named(format!("{HELLO}{}", "x".repeat(HEADER_BYTES_MAX)), "too-large").await;
    named("y".repeat(HEADER_BYTES_MAX), "too-large").await;
}

#[tokio::test]
async fn a_header_cut_off_is_named() {
    named(format!("{HELLO}{{\"op\":\"sta"), "bad-request").await;
}

#[tokio::test(start_paused = true)]
async fn silence_is_named_wherever_it_begins() {
    for text in ["", "{\"hel", HELLO, "{\"hello\":\"twinstick/1\"}\n{\"op\":"] {
        let (mut client, mut connection, _daemon) = pair();
        client.write_all(text.as_bytes()).await.unwrap();
        assert!(matches!(connection.next_request().await, Err(Close::Refused(_))), "{text}");
        drop(connection);
        let mut all = String::new();
        client.read_to_string(&mut all).await.unwrap();
        assert!(all.lines().last().unwrap().contains("\"timeout\""), "{text}: {all}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_a_whole_request_is_sent_away_by_name_when_the_daemon_stops() {
    for text in ["", HELLO, "{\"hello\":\"twinstick/1\"}\n{\"op\":\"put\",\"pa"] {
        let (mut client, mut connection, daemon) = pair();
        client.write_all(text.as_bytes()).await.unwrap();
        let stop = async {
            tokio::task::yield_now().await;
            daemon.phase.send_replace(Phase::Draining);
        };
        let (next, ()) = tokio::join!(connection.next_request(), stop);
        assert!(matches!(next, Err(Close::Refused(fault)) if fault.error == ErrorName::Unavailable), "{text}");
        let all = rest_of(client, connection).await;
        let last = all.lines().last().unwrap();
        assert!(last.contains("\"unavailable\"") && last.contains("\"close\":true"), "{all}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_takes_too_long_for_a_stopping_daemon_is_cut_off_by_name() {
    let (mut client, mut connection, daemon) = pair();
    client.write_all(b"hello").await.unwrap();
    daemon.phase.send_replace(Phase::Draining);
    let mut body = BodyReader::new(BodyLength::Known(11), 100);
    let hurry = async {
        tokio::task::yield_now().await;
        daemon.phase.send_replace(Phase::Hurrying);
    };
    let read = async {
        assert!(connection.piece(&mut body).await.is_err(), "it does not come to its end");
    };
    tokio::join!(read, hurry);
    assert!(rest_of(client, connection).await.contains(CUT_OFF));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_idle_longest_gives_its_place_away_and_is_told_so() {
    let (mut client, mut connection, daemon) = pair();
    client.write_all(HELLO.as_bytes()).await.unwrap();
    let newcomer = async {
        tokio::time::sleep(2 * IDLE_MIN).await;
        daemon.admission.admit(IpAddr::from([10, 0, 0, 1]).into(), 1, now())
    };
    let (next, pass) = tokio::join!(connection.next_request(), newcomer);
    assert!(pass.is_ok());
    assert!(matches!(next, Err(Close::Refused(fault)) if fault.error == ErrorName::Busy));
    assert!(rest_of(client, connection).await.contains("idle longest"));
}

#[tokio::test(start_paused = true)]
async fn new_time_outs_hold_from_the_next_wait_on() {
    let (mut client, mut connection, daemon) = pair();
    client.write_all(HELLO.as_bytes()).await.unwrap();
    let short = Limits { idle_timeout: Duration::from_secs(3), ..Limits::default() };
    daemon.limits.send_replace(Arc::new(short));
    let before = now();
    assert!(matches!(connection.next_request().await, Err(Close::Refused(fault)) if fault.error == ErrorName::Timeout));
    assert!(now() - before < Duration::from_secs(10));
    assert!(rest_of(client, connection).await.contains("within 3 s"));
}

#[tokio::test]
async fn the_body_of_a_refused_put_is_dropped_and_the_next_request_is_read() {
    for (length, body) in [(BodyLength::Known(11), "hello world"), (BodyLength::Chunked, "5\nhello6\n world0\n")] {
        let (mut client, mut connection, _daemon) = pair();
        let text = format!("{HELLO}{body}{{\"crc32\":\"0d4a1185\"}}\n{{\"op\":\"info\",\"path\":\"a\"}}\n");
        client.write_all(text.as_bytes()).await.unwrap();
        // As after a hello and a put's header.
        assert_eq!(connection.framed.line(100).await.unwrap().unwrap().len(), HELLO.len() - 1);
        connection.greeting = Greeting::Done;
        let fault = Fault::new(ErrorName::NoSpace, "drive b has 0 bytes free");
        connection.refuse_body(fault, BodyReader::new(length, 100)).await.unwrap();
        let next = connection.next_request().await.unwrap();
        assert_eq!(next, Request::Info { path: "a".to_owned() });
    }
}

#[tokio::test]
async fn a_refused_body_over_its_bound_closes_the_connection_after_the_error() {
    let (mut client, mut connection, _daemon) = pair();
    let len = connection.limits().discard_bytes_max + 1;
    client.shutdown().await.unwrap();
    let fault = Fault::new(ErrorName::NoSpace, "drive b has 0 bytes free");
    let body = BodyReader::new(BodyLength::Known(len), u64::MAX);
    assert!(matches!(connection.refuse_body(fault, body).await, Err(Close::Refused(_))));
    drop(connection);
    let mut all = String::new();
    client.read_to_string(&mut all).await.unwrap();
    assert!(all.contains("\"no-space\"") && all.contains("\"close\":true"), "{all}");
}

#[tokio::test]
async fn a_body_longer_than_declared_is_named_and_closes() {
    let (mut client, mut connection, _daemon) = pair();
    client.write_all(b"hello world and more{\"crc32\":\"0d4a1185\"}\n").await.unwrap();
    client.shutdown().await.unwrap();
    let mut body = BodyReader::new(BodyLength::Known(11), 100);
    while connection.piece(&mut body).await.unwrap().is_some() {}
    let Err(Close::Refused(fault)) = connection.trailer(&body).await else { panic!("no refusal") };
    assert_eq!(fault.error, ErrorName::BadRequest);
}

#[tokio::test]
async fn waiting_for_the_mirror_ends_with_the_client_or_the_daemon() {
    let (client, mut connection, _daemon) = pair();
    drop(client);
    let waited = connection.while_connected(std::future::pending::<()>()).await;
    assert!(matches!(waited, Err(Close::ClientLeft)));
    let (mut client, mut connection, daemon) = pair();
    client.write_all(b"{\"op\":\"status\"}\n").await.unwrap();
    client.shutdown().await.unwrap();
    daemon.phase.send_replace(Phase::Draining);
    let waited = connection.while_connected(std::future::pending::<()>()).await;
    assert!(matches!(waited, Err(Close::Refused(fault)) if fault.error == ErrorName::Unavailable));
}

#[tokio::test(start_paused = true)]
async fn a_wait_outlasts_the_idle_time() {
    let (_client, mut connection, _daemon) = pair();
    let long = connection.limits().idle_timeout * 3;
    assert_eq!(
        connection
            .while_connected(async {
                tokio::time::sleep(long).await;
                7
            })
            .await
            .unwrap(),
        7
    );
}
