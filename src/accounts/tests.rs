#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::path::RelPath;

fn name(text: &str) -> UserName {
    text.parse().unwrap()
}

fn with(accounts: &Accounts, change: &Change) -> (Accounts, Option<Token>) {
    accounts.with(change, 7).unwrap()
}

fn add(accounts: &Accounts, user: &str, admin: bool, read_only: bool) -> (Accounts, Token) {
    let label = "laptop".to_owned();
    let (accounts, token) = with(accounts, &Change::AddUser { name: name(user), admin, read_only, quota: None, label });
    (accounts, token.unwrap())
}

#[test]
fn a_token_is_recognized_until_it_is_revoked_and_no_other_one_is() {
    let (accounts, annas) = add(&Accounts::default(), "anna", false, false);
    let (accounts, bens) = add(&accounts, "ben", false, false);
    let anna = accounts.recognize(&annas).unwrap();
    assert_eq!(anna.name, name("anna"));
    let text = annas.reveal();
    assert_eq!(text.parse::<Token>().unwrap(), annas);
    let last = if text.ends_with('0') { '1' } else { '0' };
    let wrong = format!("{}{last}", &text[..text.len() - 1]);
    assert_eq!(accounts.recognize(&wrong.parse().unwrap()), None, "a wrong secret");
    let unknown = text.replacen(&annas.id().to_string(), "0123456789abcdef", 1);
    assert_eq!(accounts.recognize(&unknown.parse().unwrap()), None, "no such id");
    let mixed = text.replacen(&annas.id().to_string(), &bens.id().to_string(), 1);
    assert_eq!(accounts.recognize(&mixed.parse().unwrap()), None, "one's secret with another's id");
    let (revoked, _) = with(&accounts, &Change::RevokeToken { name: name("anna"), token: "laptop".into() });
    assert_eq!(revoked.recognize(&annas), None);
    assert_eq!(revoked.access(&anna, &Arc::default()), None, "who was recognized before has no more rights either");
    assert!(revoked.recognize(&bens).is_some());
    let (removed, _) = with(&accounts, &Change::RemoveUser { name: name("anna") });
    assert_eq!(removed.access(&anna, &Arc::default()), None);
    // Another one of the same name is somebody else.
    let (again, _) = add(&removed, "anna", false, false);
    assert_eq!(again.access(&anna, &Arc::default()), None);
}

#[test]
fn what_is_kept_says_nothing_of_the_secret_and_reads_back() {
    let (accounts, token) = add(&Accounts::default(), "anna", true, false);
    let document = accounts.document();
    assert_eq!(Accounts::parse(&document).unwrap(), accounts);
    let text = String::from_utf8(document).unwrap();
    let revealed = token.reveal();
    let (_, secret) = revealed.rsplit_once('_').unwrap();
    assert!(!text.contains(secret) && text.contains(&token.id().to_string()));
    assert!(!format!("{token:?}").contains(secret));
    let newer = text.replacen("\"format\": 1", "\"format\": 3", 1);
    assert!(matches!(Accounts::parse(newer.as_bytes()), Err(BadAccounts::TooNew(3))));
    assert!(Accounts::parse(b"{}").is_err());
}

#[test]
fn tokens_are_named_without_doubt_and_changes_refused_with_the_reason() {
    let (accounts, first) = add(&Accounts::default(), "anna", true, false);
    let (accounts, second) =
        with(&accounts, &Change::NewToken { name: name("anna"), label: "laptop".into(), by: None });
    let revoke = |token: &str| accounts.with(&Change::RevokeToken { name: name("anna"), token: token.into() }, 0);
    assert_eq!(revoke("laptop").unwrap_err(), AccountError::Ambiguous(name("anna"), "laptop".into()));
    assert_eq!(revoke("phone").unwrap_err(), AccountError::NoToken(name("anna"), "phone".into()));
    let (left, _) = revoke(&first.id().to_string()).unwrap();
    assert!(left.recognize(&first).is_none() && left.recognize(&second.unwrap()).is_some());
    let again = Change::AddUser { name: name("anna"), admin: false, read_only: false, quota: None, label: "l".into() };
    assert_eq!(accounts.with(&again, 0).unwrap_err(), AccountError::UserExists(name("anna")));
    let (two, _) = add(&accounts, "ben", false, false);
    let removal = Change::RemoveUser { name: name("anna") };
    assert_eq!(two.with(&removal, 0).unwrap_err(), AccountError::LastAdmin(name("anna")));
    assert!(accounts.with(&removal, 0).unwrap().0.is_empty());
    for label in ["", "a\nb", &"x".repeat(65)] {
        let change = Change::NewToken { name: name("anna"), label: label.into(), by: None };
        assert_eq!(accounts.with(&change, 0).unwrap_err(), AccountError::BadLabel(label.into()));
    }
}

#[test]
fn names_of_users_are_names_of_folders_everywhere() {
    for good in ["anna", "a", "ben-2", "c_d", &"x".repeat(32)] {
        assert!(good.parse::<UserName>().is_ok(), "{good}");
    }
    let bad =
        ["", "Anna", "2anna", "-a", "a/b", "..", "a.b", "änna", "a b", "shared", "con", "com1", "nul", &"x".repeat(33)];
    for bad in bad {
        assert!(bad.parse::<UserName>().is_err(), "{bad}");
    }
}

#[test]
fn a_path_says_whose_it_is() {
    let user = Access::User { name: name("anna"), read_only: false, shares: vec![], rules: Arc::default() };
    let reader = Access::User { name: name("anna"), read_only: true, shares: vec![], rules: Arc::default() };
    let admin = Access::Admin { name: name("anna") };
    // Path, and whether a user, one that only reads, and an admin may: each to read and to write.
    let cases = [
        ("anna/f", [(true, true), (true, false), (true, true)]),
        ("anna", [(true, false), (true, false), (true, true)]),
        ("shared/f", [(true, true), (true, false), (true, true)]),
        ("shared", [(true, false), (true, false), (true, true)]),
        ("", [(false, false), (false, false), (true, true)]),
        ("ben/f", [(false, false), (false, false), (true, true)]),
        ("annab/f", [(false, false), (false, false), (true, true)]),
        ("Anna/f", [(false, false), (false, false), (true, true)]),
        ("f", [(false, false), (false, false), (true, true)]),
        (ACCOUNTS_FILE, [(false, false); 3]),
        (".TwinStick-Accounts", [(false, false); 3]),
    ];
    for (path, expected) in cases {
        let parsed = RelPath::parse(path).unwrap();
        for (access, expected) in [&user, &reader, &admin].into_iter().zip(expected) {
            let may = (access.may(Right::Read, &parsed), access.may(Right::Write, &parsed));
            assert_eq!(may, expected, "{access:?} {path:?}");
        }
    }
    assert!(!Access::Open.may(Right::Read, &RelPath::parse(ACCOUNTS_FILE).unwrap()));
}

#[test]
fn a_share_lets_one_into_a_part_of_a_home_and_ends_with_either_user() {
    let (accounts, annas) = add(&Accounts::default(), "anna", false, false);
    let (accounts, bens) = add(&accounts, "ben", false, false);
    let (accounts, readers) = add(&accounts, "reader", false, true);
    let path = |text: &str| RelPath::parse(text).unwrap();
    let share = |accounts: &Accounts, at: &str, with: &str, grant: Grant| {
        accounts.with(&Change::Share { path: path(at), with: name(with), grant }, 0).map(|(accounts, _)| accounts)
    };
    let rights = |accounts: &Accounts, token: &Token, at: &str| {
        let access = accounts.access(&accounts.recognize(token).unwrap(), &Arc::default()).unwrap();
        (access.may(Right::Read, &path(at)), access.may(Right::Write, &path(at)))
    };
    let shared = share(&accounts, "anna/d", "ben", Grant::Read).unwrap();
    let shared = share(&shared, "anna/d/w", "ben", Grant::Write).unwrap();
    let shared = share(&shared, "anna/d/w", "reader", Grant::Write).unwrap();
    assert_eq!(rights(&shared, &bens, "anna/d/f"), (true, false));
    assert_eq!(rights(&shared, &bens, "anna/d/w/f"), (true, true));
    assert_eq!(rights(&shared, &readers, "anna/d/w/f"), (true, false), "who only reads, only reads");
    for beside in ["anna", "anna/f", "anna/dd/f", "anna/D/f"] {
        assert_eq!(rights(&shared, &bens, beside), (false, false), "{beside}");
    }
    assert_eq!(shared.shares().count(), 3);
    assert_eq!(Accounts::parse(&shared.document()).unwrap(), shared);
    let ended = |change: &Change| shared.with(change, 0).unwrap().0;
    let less = ended(&Change::Unshare { path: path("anna/d/w"), with: name("ben") });
    assert_eq!(rights(&less, &bens, "anna/d/w/f"), (true, false));
    assert!(less.with(&Change::Unshare { path: path("anna/d/w"), with: name("ben") }, 0).is_err());
    assert_eq!(ended(&Change::RemoveUser { name: name("anna") }).shares().count(), 0);
    assert_eq!(ended(&Change::RemoveUser { name: name("ben") }).shares().count(), 1);
    assert_eq!(rights(&shared, &annas, "anna/d/w/f"), (true, true));
    let refused = |at: &str, with: &str| share(&accounts, at, with, Grant::Read).unwrap_err();
    assert_eq!(refused("anna/f", "anna"), AccountError::OwnAlready(path("anna/f"), name("anna")));
    assert_eq!(refused("shared/f", "ben"), AccountError::NotInAHome(path("shared/f")));
    assert_eq!(refused("", "ben"), AccountError::NotInAHome(path("")));
    assert_eq!(refused("anna/f", "eve"), AccountError::NoUser(name("eve")));
}

#[test]
fn folders_for_all_may_be_for_some() {
    let text = "[photos]\nwrite = ['anna']\n[photos.'x']\n";
    assert!(toml::from_str::<BTreeMap<String, FolderRule>>(text).is_err(), "a folder in it is written with a slash");
    let text =
        "['photos']\nwrite = ['anna']\n['photos/secret']\nread = ['ben']\nwrite = []\n[locked]\nread = []\nwrite = []";
    let rules = Arc::new(SharedRules::new(&toml::from_str(text).unwrap()).unwrap());
    let access =
        |user: &str| Access::User { name: name(user), read_only: false, shares: vec![], rules: Arc::clone(&rules) };
    // Path, and what anna and ben may: read, write, and write all below.
    let cases = [
        ("shared/f", [(true, true, true), (true, true, true)]),
        ("shared/photos/f", [(true, true, true), (true, false, false)]),
        ("shared/photos", [(true, true, false), (true, false, false)]),
        ("shared/photos/secret/f", [(false, false, false), (true, false, false)]),
        ("shared/locked/f", [(false, false, false), (false, false, false)]),
        ("shared/photosx/f", [(true, true, true), (true, true, true)]),
        ("shared", [(true, false, false), (true, false, false)]),
    ];
    for (at, expected) in cases {
        let path = RelPath::parse(at).unwrap();
        for (user, expected) in ["anna", "ben"].into_iter().zip(expected) {
            let access = access(user);
            let may =
                (access.may(Right::Read, &path), access.may(Right::Write, &path), access.may_all(Right::Write, &path));
            assert_eq!(may, expected, "{user} {at}");
        }
    }
    for bad in ["", "..", "a//b"] {
        assert!(SharedRules::new(&BTreeMap::from([(bad.to_owned(), FolderRule::default())])).is_err(), "{bad:?}");
    }
}

#[test]
fn a_password_that_was_changed_meanwhile_makes_no_token() {
    let (accounts, _) = add(&Accounts::default(), "anna", false, false);
    let hash = |text: &str| Some(Password::new(text).unwrap().hash().unwrap());
    let (old, new) = (hash("green pears"), hash("red apples"));
    let set = |password, by| Change::SetPassword { name: name("anna"), password, by };
    let login = |by| Change::NewToken { name: name("anna"), label: "laptop-2".into(), by };
    let (accounts, _) = with(&accounts, &set(old.clone(), None));
    assert!(with(&accounts, &login(old.clone())).1.is_some());
    let (accounts, _) = with(&accounts, &set(new.clone(), old.clone()));
    assert!(matches!(accounts.with(&login(old.clone()), 7), Err(AccountError::OtherPassword(_))));
    assert!(matches!(accounts.with(&set(None, old), 7), Err(AccountError::OtherPassword(_))));
    assert_eq!(accounts.user(&name("anna")).unwrap().tokens().count(), 1, "tokens stay");
    // Versions that know of no passwords are told so, and read what has none.
    let text = |accounts: &Accounts| String::from_utf8(accounts.document()).unwrap();
    assert!(text(&accounts).contains("\"format\": 2") && text(&accounts).contains("$argon2id$"));
    assert_eq!(Accounts::parse(&accounts.document()).unwrap(), accounts);
    let (without, _) = with(&accounts, &set(None, new));
    assert!(text(&without).contains("\"format\": 1") && !text(&without).contains("password"));
}
