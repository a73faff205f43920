//! A mirror with users.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use twinstick_rig::{Client, Twins};

/// Two users, one that only reads, and an admin, each logged in from a home of its own.
pub(crate) struct People {
    pub(crate) twins: Twins,
    tokens: BTreeMap<String, String>,
}

pub(crate) const NAMES: [&str; 4] = ["anna", "ben", "reader", "chief"];

impl People {
    pub(crate) fn new(twins: Twins) -> Self {
        let mut people = Self { twins, tokens: BTreeMap::new() };
        for name in NAMES {
            let words = match name {
                "chief" => vec!["user", "add", name, "--admin"],
                "reader" => vec!["user", "add", name, "--read-only"],
                _ => vec!["user", "add", name],
            };
            let made = people.twins.command(&words).expect(0);
            let token = String::from_utf8(made.stdout).expect("UTF-8").trim().to_owned();
            let login = people.client(name).run_on(&["login"], format!("{token}\n").as_bytes()).expect(0);
            assert!(login.stderr.contains(&format!("knows you as {name}")), "{}", login.stderr);
            people.tokens.insert(name.to_owned(), token);
        }
        people
    }

    pub(crate) fn token(&self, name: &str) -> String {
        self.tokens[name].clone()
    }

    pub(crate) fn client(&self, name: &str) -> Client {
        Client { home: self.home_of(name), ..self.twins.client() }
    }

    /// Somebody with no token.
    pub(crate) fn stranger(&self) -> Client {
        Client { home: self.home_of("stranger"), ..self.twins.client() }
    }

    fn home_of(&self, name: &str) -> PathBuf {
        let home = self.twins.home().join(format!("home-of-{name}"));
        fs::create_dir_all(&home).expect("a new folder");
        home
    }
}
