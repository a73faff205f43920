//! A terminal with nobody before it but the test.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::wait::wait_until;

pub struct Terminal {
    keyboard: File,
    name: PathBuf,
    screen: Arc<Mutex<Vec<u8>>>,
    /// One end that stays open: else it is gone between two programs.
    _open: File,
}

impl Terminal {
    #[expect(clippy::new_without_default, reason = "it is a device, and not a value")]
    pub fn new() -> Self {
        let keyboard = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&keyboard).expect("it is ours");
        unlockpt(&keyboard).expect("it is ours");
        let name = PathBuf::from(ptsname(&keyboard, Vec::new()).expect("a name").to_str().expect("UTF-8"));
        let keyboard = File::from(keyboard);
        let open = OpenOptions::new().read(true).write(true).open(&name).expect("a terminal");
        let (mut output, screen) = (keyboard.try_clone().expect("a descriptor"), Arc::default());
        let shown = Arc::clone(&screen);
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(read @ 1..) = output.read(&mut bytes) {
                let shown: &Mutex<Vec<u8>> = &shown;
                shown.lock().expect("no panic").extend_from_slice(&bytes[..read]);
            }
        });
        Self { keyboard, name, screen, _open: open }
    }

    pub fn typed(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).expect("a terminal");
    }

    /// For a program's input or output.
    pub fn open(&self) -> Stdio {
        OpenOptions::new().read(true).write(true).open(&self.name).expect("a terminal").into()
    }

    /// Runs a program that has it for input and messages, and types each answer when its question has appeared; the exit code.
    #[track_caller]
    pub fn run(&mut self, command: &mut Command, answers: &[(&str, &str)]) -> i32 {
        let mut child =
            command.stdin(self.open()).stderr(self.open()).stdout(Stdio::null()).spawn().expect("a program");
        let mut seen = self.shown().len();
        for (question, keys) in answers {
            wait_until(question, || self.shown()[seen..].contains(question));
            seen = self.shown().len();
            self.typed(&format!("{keys}\n"));
        }
        child.wait().expect("an end").code().unwrap_or(-1)
    }

    /// All that was ever on the screen.
    pub fn shown(&self) -> String {
        String::from_utf8_lossy(&self.screen.lock().expect("no panic")).into_owned()
    }
}
