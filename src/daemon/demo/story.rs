//! The story, act by act. Each act does something and fails if what was promised did not happen.
#![allow(clippy::disallowed_methods, reason = "the demo tells how long things took")]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::daemon::demo::drives::{self, Drive, DrivesWanted, Making};
use crate::daemon::demo::error::DemoError;
use crate::daemon::demo::figures::{self, Replay, human};
use crate::daemon::demo::files;
use crate::daemon::demo::ground::{Ground, Leftovers, enter_namespace};
use crate::daemon::demo::process::{Daemon, Upload, client_command, daemon_command, finish, wait_for};
use crate::daemon::demo::teller::Teller;
use crate::ids::{PerSide, Side};

const FILM: &str = "holiday/film.mp4";
const FILM_BYTES: usize = 48 << 20;
const PHOTOS: u64 = 24;
const LETTER: &str = "letter.txt";
/// How often the letter is changed while drive b is away: it must be copied once.
const LETTER_CHANGES: u64 = 5;

/// What the command line asks for.
#[derive(Debug)]
pub struct DemoRequest {
    pub dir: Option<PathBuf>,
    pub leftovers: Leftovers,
    pub drives: DrivesWanted,
}

/// Plays the whole story; an error names what did not hold.
pub fn run(request: DemoRequest) -> Result<(), DemoError> {
    let mounts = enter_namespace()?;
    let begin = Instant::now();
    let ground = Ground::new(request.dir, request.leftovers)?;
    let mut tell = Teller::new();
    tell.line("twinstick keeps two USB sticks identical. This shows it, with real processes and real files.");

    tell.act("Two drives, enrolled");
    let (drives, making) = drives::make(&ground, request.drives, &mounts)?;
    let daemon = open(&mut tell, &ground, &drives, &making)?;
    let mut play = Play { tell, source: ground.folder("source")?, address: daemon.address.clone(), drives };
    play.store()?;
    play.pull_in_mid_upload()?;
    let expected = play.go_on_with_one()?;
    play.bring_back(expected)?;
    play.compare()?;

    let Play { mut tell, drives, .. } = play;
    tell.act("The end");
    daemon.stop()?;
    tell.say("SIGTERM: the daemon finished what it had begun, and ended with exit code 0.");
    say_leftovers(&mut tell, &ground, request.leftovers, &making);
    drop(drives);
    tell.line(&format!("\nAll of it held. It took {}.", seconds(begin.elapsed())));
    Ok(())
}

/// Enrols the drives and starts the daemon.
fn open(tell: &mut Teller, ground: &Ground, drives: &PerSide<Drive>, making: &Making) -> Result<Daemon, DemoError> {
    let (state, config) = (ground.path("state"), ground.path("twinstickd.toml"));
    files::write(&config, b"# What is removed is gone, so that the figures at the end are plain. See README.md for the keys.\ntrash_days = 0\n")?;
    let mut init = daemon_command(&["init"])?;
    for (side, drive) in drives.iter() {
        init.arg("--drive").arg(format!("{side}={}", drive.root.display()));
        tell.say(&format!("drive {side} is at {}", drive.root.display()));
    }
    match making {
        Making::LoopMounted => tell.say("Both are ext4 file systems in image files, loop-mounted as a stick would be."),
        Making::Plain(reason) => {
            init.arg("--plain-directory");
            tell.say(&format!("Both are plain folders, because {reason}."));
        }
    }
    finish(init.arg("--config").arg(&config).arg("--state").arg(&state))?;
    let daemon = Daemon::start(&config, &state, ground.path("twinstickd.log"))?;
    tell.say(&format!("twinstickd serves them at {}", daemon.address));
    Ok(daemon)
}

/// What the acts share.
struct Play {
    tell: Teller,
    /// Holds what the mirror should hold: every change is made here too.
    source: PathBuf,
    address: String,
    drives: PerSide<Drive>,
}

impl Play {
    fn store(&mut self) -> Result<(), DemoError> {
        self.tell.act("Files go in, and on both drives");
        for photo in 0..PHOTOS {
            let name = format!("holiday/day-{}/photo-{photo:02}.jpg", photo % 3);
            let len = 100_000 + 60_000 * usize::try_from(photo).unwrap_or(0);
            files::write(&self.source.join(name), &files::noise(photo, len))?;
        }
        files::write(&self.source.join(LETTER), b"Dear newcomer,\n")?;
        files::write(&self.source.join("old/list.txt"), b"milk, bread\n")?;
        let begin = Instant::now();
        for tree in ["holiday", "old"] {
            self.fget(&["put", "-r", tree])?;
        }
        self.fget(&["put", LETTER])?;
        self.tell.say(&format!("fget put -r: {PHOTOS} photos and two texts in {}.", seconds(begin.elapsed())));
        self.fget(&["status", "--wait"])?;
        let extent = files::compare(&self.source, &self.drives.b.root)?;
        self.tell.say(&format!("Both drives have {} files, {}.", extent.files, human(extent.bytes)));
        Ok(())
    }

    fn pull_in_mid_upload(&mut self) -> Result<(), DemoError> {
        self.tell.act("Drive b is pulled in the middle of an upload");
        let film = files::noise(99, FILM_BYTES);
        let (first, rest) = film.split_at(FILM_BYTES / 2);
        let mut upload = Upload::begin(&self.address, FILM)?;
        upload.write(first)?;
        self.tell.say(&format!("{} of {} are on their way …", human(first.len() as u64), human(film.len() as u64)));
        self.drives.b.take_away()?;
        let begin = Instant::now();
        wait_for("status: drive b absent", || {
            Ok((figures::state(&figures::status(&self.address)?, Side::B)? == "absent").then_some(()))
        })?;
        self.tell.say(&format!("… b is gone. The daemon noticed within {}.", seconds(begin.elapsed())));
        upload.write(rest)?;
        upload.end()?;
        files::write(&self.source.join(FILM), &film)?;
        self.tell.say("The upload ended well: the client saw nothing of it.");
        self.check_get(FILM)
    }

    /// What the replay will have to do.
    fn go_on_with_one(&mut self) -> Result<Replay, DemoError> {
        self.tell.act("Life goes on with drive a alone");
        for change in 0..LETTER_CHANGES {
            let text = format!("Dear newcomer,\nversion {change} of this letter.\n");
            files::write(&self.source.join(LETTER), text.as_bytes())?;
            self.fget(&["put", LETTER])?;
        }
        files::write(&self.source.join("notes.txt"), b"written while b was away\n")?;
        self.fget(&["put", "notes.txt"])?;
        self.fget(&["rm", "old/list.txt"])?;
        files::remove(&self.source.join("old/list.txt"))?;
        self.fget(&["mv", "holiday/day-2", "best-day"])?;
        files::rename(&self.source.join("holiday/day-2"), &self.source.join("best-day"))?;
        self.fget(&["mkdir", "plans"])?;
        files::make_folder(&self.source.join("plans"))?;
        self.tell.say(&format!(
            "Changed the letter {LETTER_CHANGES} times, added a note, removed a list, moved a folder of {} photos, \
             made a folder.",
            PHOTOS / 3
        ));
        for path in [LETTER, "notes.txt", "best-day/photo-02.jpg"] {
            self.check_get(path)?;
        }
        self.tell.say("Everything reads back as it was written. fget status says:");
        let status = finish(client_command(&self.address)?.arg("status"))?;
        self.tell.show(&String::from_utf8_lossy(&status.stdout));
        self.drives.b.check_untouched()?;
        self.tell.say("Where drive b was, the boot disk was not touched.");

        let copied = [FILM, LETTER, "notes.txt"];
        let sizes = copied.iter().map(|name| files::read(&self.source.join(name)).map(|bytes| bytes.len() as u64));
        Ok(Replay {
            copied_files: copied.len() as u64,
            copied_bytes: sizes.sum::<Result<u64, _>>()?,
            moved: 1,
            removed: 1,
            made_folders: 1,
        })
    }

    fn bring_back(&mut self, expected: Replay) -> Result<(), DemoError> {
        self.tell.act("Drive b comes back");
        self.drives.b.bring_back()?;
        let begin = Instant::now();
        self.fget(&["status", "--wait"])?;
        let took = begin.elapsed();
        let actual = figures::replay(&figures::status(&self.address)?, Side::B)?;
        self.tell.say(&format!(
            "By itself, in {}: {} files copied ({}), {} moved, {} removed, {} folder made. Nothing else.",
            seconds(took),
            actual.copied_files,
            human(actual.copied_bytes),
            actual.moved,
            actual.removed,
            actual.made_folders
        ));
        for (what, expected, actual) in [
            ("the number of files copied", expected.copied_files, actual.copied_files),
            ("the number of bytes copied", expected.copied_bytes, actual.copied_bytes),
            ("the number of moves", expected.moved, actual.moved),
            ("the number of removals", expected.removed, actual.removed),
            ("the number of folders made", expected.made_folders, actual.made_folders),
        ] {
            if expected != actual {
                return Err(DemoError::Figure { what, expected, actual });
            }
        }
        self.tell.say("The letter was changed often and copied once; the photos were moved, not copied.");
        Ok(())
    }

    fn compare(&mut self) -> Result<(), DemoError> {
        self.tell.act("Compare, byte for byte");
        let extent = files::compare(&self.source, &self.drives.a.root)?;
        files::compare(&self.source, &self.drives.b.root)?;
        files::compare(&self.drives.a.root, &self.drives.b.root)?;
        self.tell.say(&format!(
            "What was stored, drive a and drive b are the same: {} files, {}. Any laptop reads them.",
            extent.files,
            human(extent.bytes)
        ));
        Ok(())
    }

    /// The client, in the source folder.
    fn fget(&self, words: &[&str]) -> Result<(), DemoError> {
        finish(client_command(&self.address)?.args(words).current_dir(&self.source)).map(drop)
    }

    fn check_get(&self, path: &str) -> Result<(), DemoError> {
        let output = finish(client_command(&self.address)?.args(["get", path, "-"]))?;
        if output.stdout == files::read(&self.source.join(path))? {
            return Ok(());
        }
        Err(DemoError::WrongBytes { path: path.to_owned() })
    }
}

fn say_leftovers(tell: &mut Teller, ground: &Ground, leftovers: Leftovers, making: &Making) {
    let dir: &Path = &ground.dir;
    match (leftovers, making) {
        (Leftovers::Remove, _) => {}
        (Leftovers::Keep, Making::Plain(_)) => tell.say(&format!("Look around in {}", dir.display())),
        (Leftovers::Keep, Making::LoopMounted) => tell.say(&format!(
            "Look around in {}; mount -o loop,ro {}/stick-b.img /mnt shows drive b.",
            dir.display(),
            dir.display()
        )),
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}
