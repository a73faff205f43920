//! A terminal with nobody before it but the test.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};

use crate::client::Client;
use crate::wait::wait_until;

pub struct Terminal {
    keyboard: File,
    path: PathBuf,
    screen: Arc<Mutex<Vec<u8>>>,
    /// As long as somebody has it open, what is written there can be read.
    open: File,
}

impl Terminal {
    pub fn new() -> Self {
        let keyboard = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&keyboard).expect("it is ours");
        unlockpt(&keyboard).expect("it is ours");
        let name = ptsname(&keyboard, Vec::new()).expect("a name");
        let path = Path::new(name.to_str().expect("UTF-8")).to_owned();
        let keyboard = File::from(keyboard);
        let open = open(&path);
        let (mut written, screen) = (keyboard.try_clone().expect("a terminal"), Arc::default());
        let shown: Arc<Mutex<Vec<u8>>> = Arc::clone(&screen);
        thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(count @ 1..) = written.read(&mut piece) {
                shown.lock().expect("a screen").extend_from_slice(&piece[..count]);
            }
        });
        Self { keyboard, path, screen, open }
    }

    pub fn typed(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).expect("a terminal");
    }

    pub fn open(&self) -> Stdio {
        open(&self.path).into()
    }

    /// All that was ever shown.
    pub fn shown(&self) -> String {
        String::from_utf8_lossy(&self.screen.lock().expect("a screen")).into_owned()
    }

    /// Waits until something was shown.
    #[track_caller]
    pub fn wait_for(&self, text: &str) {
        wait_until(&format!("{text:?} on the screen"), || self.shown().contains(text));
    }

    fn shows_keys(&self) -> bool {
        tcgetattr(&self.open).expect("a terminal").local_modes.contains(LocalModes::ECHO)
    }

    /// Runs a program that has it for input and messages, and types each answer when its question has appeared; the exit
    /// code.
    #[track_caller]
    pub fn answer(&mut self, command: &mut Command, answers: &[(&str, &str)]) -> i32 {
        let mut child =
            command.stdin(self.open()).stderr(self.open()).stdout(Stdio::null()).spawn().expect("a program");
        let mut seen = self.shown().len();
        for (question, keys) in answers {
            wait_until(question, || self.shown()[seen..].contains(question));
            assert!(!self.shows_keys(), "asked before the terminal hides what is typed: {question}");
            seen = self.shown().len();
            self.typed(&format!("{keys}\n"));
        }
        child.wait().expect("an end").code().unwrap_or(-1)
    }

    /// Runs `fget` there, as a shell would: Ctrl-C reaches it.
    pub fn run(&self, client: &Client, words: &[&str]) -> Child {
        let mut command = Command::new("setsid");
        command.arg("--ctty").arg(&client.fget).args(["--server", &client.address]).args(words);
        command.env("HOME", &client.home).env_remove("XDG_CONFIG_HOME").current_dir(&client.home);
        command.stdin(self.open()).stdout(self.open()).stderr(self.open()).spawn().expect("setsid and fget")
    }
}

impl Default for Terminal {
    fn default() -> Self {
        Self::new()
    }
}

fn open(path: &Path) -> File {
    OpenOptions::new().read(true).write(true).open(path).expect("a terminal")
}
