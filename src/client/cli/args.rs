//! The command line.

mod values;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as ClapArgs, Parser, Subcommand};

use crate::accounts::UserName;
pub(crate) use crate::client::cli::args::values::{Urgency, When};
use crate::client::cli::args::values::{bandwidth, since};
use crate::tls::Fingerprint;
use crate::units::{QuotaSize, size};
use crate::wire::Time;

const AFTER_HELP: &str = "\
Server: --server, else FGET_SERVER, else `server = \"HOST:PORT\"` in ~/.config/fget/config.toml, else 127.0.0.1:8946.
Token, where the server has accounts: FGET_TOKEN_FILE or FGET_TOKEN, else the one that `fget login` keeps.
Its key, where TLS is spoken: FGET_FINGERPRINT, else the one that `fget login` pinned.
Exit: 0 done, 1 other, 2 usage, 3 some of -r failed, 4 not found, 5 unavailable, 6 not allowed, 7 no space,
8 bytes did not match, 9 exists, is a folder or needs --force, 10 stored on fewer drives than --copies, 130 interrupted.";

/// Puts, gets, removes and inspects files on a twinstick mirror.
#[derive(Debug, Parser)]
#[command(name = "fget", version, after_help = AFTER_HELP, max_term_width = 100)]
pub struct Args {
    /// Where twinstickd listens.
    #[arg(long, global = true, value_name = "HOST:PORT", env = "FGET_SERVER", hide_env_values = true)]
    pub server: Option<String>,
    /// Speak TLS: auto (with other machines), always, or "never, the network is trusted".
    #[arg(long, global = true, value_name = "WHEN", env = "FGET_TLS", hide_env_values = true)]
    pub tls: Option<When>,
    /// When others want the drives too: low gives way to all, high goes before all (admins).
    #[arg(long, global = true, value_name = "CLASS")]
    pub priority: Option<Urgency>,
    /// Bytes of files a second, such as 2MiB, all connections of this command together.
    #[arg(long, global = true, value_name = "SIZE", value_parser = bandwidth)]
    pub bwlimit: Option<u64>,
    /// No progress bar and no remarks.
    #[arg(short, long, global = true)]
    pub quiet: bool,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Download a file, or a tree with -r.
    #[command(alias = "GET")]
    Get(Get),
    /// Upload a file, or a tree with -r; parent folders are made.
    #[command(alias = "PUT")]
    Put(Put),
    /// Remove a file or an empty folder; with -r a folder with all in it.
    #[command(alias = "RM")]
    Rm(Rm),
    /// Show size, times, version and where the copies are; without a path how much of your quota is used.
    #[command(alias = "INFO")]
    Info(Info),
    /// List a folder.
    #[command(visible_alias = "view", aliases = ["LS", "VIEW"])]
    Ls(Ls),
    /// Make a folder, and those above it.
    #[command(visible_alias = "md", aliases = ["MKDIR", "MD"])]
    Mkdir(Mkdir),
    /// Move a file or folder; into TO where that is a folder or ends in '/'.
    #[command(alias = "MV")]
    Mv(Mv),
    /// Finish, sync and unmount a drive, so that it may be pulled; the other one goes on.
    #[command(alias = "EJECT")]
    Eject(Eject),
    /// Open a file in your editor (VISUAL, EDITOR), and store it if nobody stored another version meanwhile.
    #[command(alias = "EDIT")]
    Edit(Edit),
    /// Edit one sentence of a text while others edit other ones; or --append to its end.
    ///
    /// Each line `INDEX TEXT` inserts words before the word of that number, counted from 0, or behind the last one;
    /// `end` stores the sentence, Ctrl-C drops all. Nobody else can edit the sentence meanwhile; whoever reads the file
    /// sees what was stored last. A sentence ends at '.', '!' or '?'.
    #[command(alias = "WRITE")]
    Write(Write),
    /// Bring back what was last removed or overwritten there; a folder with all that was removed with it.
    #[command(alias = "UNDO")]
    Undo(Undo),
    /// List what was removed or overwritten and is kept; `fget trash empty` lets go of all of it.
    #[command(alias = "TRASH")]
    Trash(Trash),
    /// Let another user see a file or folder of your home; with --write change it too.
    #[command(alias = "SHARE")]
    Share(Share),
    /// End that.
    #[command(alias = "UNSHARE")]
    Unshare(Unshare),
    /// List what you share, and what is shared with you.
    #[command(alias = "SHARES")]
    Shares,
    /// Users and their tokens, for admins.
    #[command(subcommand)]
    Admin(Admin),
    /// Keep a token for the server: it is asked for, or read from standard input.
    ///
    /// With --user a password is asked for instead, and the server gives a token for it.
    ///
    /// Where the server speaks TLS its key is pinned too: its fingerprint is shown first, to be compared with what
    /// `twinstickd cert` shows there.
    #[command(alias = "LOGIN")]
    Login(Login),
    /// Change your password, which `fget login --user` takes. Tokens go on until they are revoked.
    #[command(alias = "PASSWD")]
    Passwd(Passwd),
    /// Forget the server's token and key.
    #[command(alias = "LOGOUT")]
    Logout,
    /// Show the mirror and its drives.
    #[command(alias = "STATUS")]
    Status(Status),
    /// Show who did what, when, from where and with what outcome; for admins.
    #[command(alias = "LOG")]
    Log(Log),
    /// Read both drives' copies from the medium, check them, repair what is damaged.
    #[command(alias = "SCRUB")]
    Scrub(Scrub),
    /// List what was set aside on the drives and is not in the mirror: damaged copies, what was in the way.
    #[command(alias = "ASIDE")]
    Aside(Aside),
    /// Compare both drives with the catalog: exit 0 alike, 1 not. Changes nothing.
    #[command(
        alias = "VERIFY",
        after_help = "Each line is a symbol and a path, as in rclone check --combined; '=' alike on all drives that \
                      are there, and of one drive '+' missing on it, '-' only on it, '*' differs, '!' could not be read."
    )]
    Verify(Verify),
}

#[derive(Debug, ClapArgs)]
pub struct Login {
    /// Pin this key without asking, as `twinstickd cert` shows it on the server.
    #[arg(long, value_name = "SHA256")]
    pub fingerprint: Option<Fingerprint>,
    /// Get a token for this user's password.
    #[arg(long, value_name = "NAME")]
    pub user: Option<UserName>,
}

#[derive(Debug, ClapArgs)]
pub struct Passwd {
    /// Have none any more.
    #[arg(long)]
    pub remove: bool,
}

#[derive(Debug, ClapArgs)]
pub struct Get {
    /// The file on the mirror; with -r a folder.
    pub remote: String,
    /// Where to: a file, an existing folder, or '-' for standard output [default: the same name here].
    pub local: Option<PathBuf>,
    /// A folder with all in it.
    #[arg(short, long)]
    pub recursive: bool,
}

#[derive(Debug, ClapArgs)]
pub struct Put {
    /// The file, with -r the folder; '-' is standard input.
    pub local: PathBuf,
    /// Where to; into it where it ends in '/' [default: the local name].
    pub remote: Option<String>,
    /// A folder with all in it.
    #[arg(short, long)]
    pub recursive: bool,
    /// Exit 10 where it was stored on fewer drives.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..))]
    pub copies: Option<u8>,
    /// Only where nothing is there yet; else exit 9.
    #[arg(long, conflicts_with_all = ["recursive", "if_version"])]
    pub if_absent: bool,
    /// Only in place of this version, which `fget info` tells; else exit 9.
    #[arg(long, value_name = "VERSION", conflicts_with = "recursive")]
    pub if_version: Option<u64>,
}

#[derive(Debug, ClapArgs)]
pub struct Rm {
    pub remote: String,
    /// A folder with all in it.
    #[arg(short, long)]
    pub recursive: bool,
}

#[derive(Debug, Subcommand)]
pub enum Admin {
    /// Make a user, and print the first token
    Add {
        name: UserName,
        /// May see and do everything.
        #[arg(long, conflicts_with = "read_only")]
        admin: bool,
        /// May change nothing.
        #[arg(long)]
        read_only: bool,
        /// The most that the user's files may come to, as 500MiB or 2GiB.
        #[arg(long, value_name = "SIZE", value_parser = size)]
        quota: Option<u64>,
        /// What to call the first token.
        #[arg(long, default_value = "first")]
        label: String,
    },
    /// List the users: what they may, what their files come to, when they were last here.
    List {
        /// One JSON document.
        #[arg(long)]
        json: bool,
    },
    /// Remove a user; the files stay.
    Remove { name: UserName },
    /// Change how much a user's files may come to, as 500MiB or 2GiB; 'none': as much as the drives take.
    Quota { name: UserName, size: QuotaSize },
    /// Set a user's password, which `fget login --user` takes, or take it away. Tokens go on until they are revoked.
    Passwd {
        name: UserName,
        /// Have none any more.
        #[arg(long)]
        remove: bool,
    },
    /// Make, list and revoke tokens.
    #[command(subcommand)]
    Token(AdminToken),
}

#[derive(Debug, Subcommand)]
pub enum AdminToken {
    /// Make one more token, and print it.
    New {
        name: UserName,
        /// Where it is used, so that it can be told from others.
        #[arg(long)]
        label: String,
    },
    /// List a user's tokens.
    List { name: UserName },
    /// End a token at once; by its id or its label.
    Revoke { name: UserName, token: String },
}

#[derive(Debug, ClapArgs)]
pub struct Share {
    pub remote: String,
    /// With whom.
    pub user: String,
    /// To change it too, and all in it.
    #[arg(long)]
    pub write: bool,
}

#[derive(Debug, ClapArgs)]
pub struct Unshare {
    pub remote: String,
    pub user: String,
}

#[derive(Debug, ClapArgs)]
pub struct Info {
    /// The file or folder [default: what your files come to, and may]
    #[arg(hide_default_value = true)]
    pub remote: Option<String>,
    /// What another user's files come to, for admins.
    #[arg(long, value_name = "NAME", conflicts_with = "remote")]
    pub user: Option<String>,
    /// One JSON document.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, ClapArgs)]
pub struct Ls {
    /// [default: the mirror's root]
    #[arg(default_value = "", hide_default_value = true)]
    pub remote: String,
    /// Kind, size, time and CRC-32 too.
    #[arg(short)]
    pub long: bool,
    /// All that is below.
    #[arg(short = 'R', long)]
    pub recursive: bool,
    /// One JSON document.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, ClapArgs)]
pub struct Edit {
    /// The file; a new one where there is none.
    pub remote: String,
}

#[derive(Debug, ClapArgs)]
pub struct Write {
    /// The text; a new one where there is none.
    pub remote: String,
    /// The sentence's number, from 0; one more than the last begins a new one.
    #[arg(required_unless_present = "append")]
    pub sentence: Option<u64>,
    /// Add what comes from standard input, or is typed until Ctrl-D, behind all that is there.
    #[arg(short, long, conflicts_with = "sentence")]
    pub append: bool,
}

#[derive(Debug, ClapArgs)]
pub struct Undo {
    /// Where it was. What is there now goes to the trash: undo again takes it back. Of versions that are written and
    /// overwritten within a minute of each other, the first is kept.
    pub remote: String,
    /// The one of this number in `fget trash -l`, not the last.
    #[arg(long, value_name = "N")]
    pub lsn: Option<u64>,
}

#[derive(Debug, ClapArgs)]
pub struct Trash {
    /// Only what was there or below; `empty` lets go of all (a file of that name is /empty).
    #[arg(value_name = "REMOTE|empty", default_value = "", hide_default_value = true)]
    pub what: String,
    /// Size, time, reason and number too.
    #[arg(short)]
    pub long: bool,
    /// One JSON document.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, ClapArgs)]
pub struct Mkdir {
    pub remote: String,
}

#[derive(Debug, ClapArgs)]
pub struct Mv {
    pub from: String,
    pub to: String,
}

#[derive(Debug, ClapArgs)]
pub struct Eject {
    /// The drive, a or b.
    pub drive: String,
    /// Wait first until both drives have everything.
    #[arg(long)]
    pub wait: bool,
    /// Also where it alone has something, which then cannot be had until it is back.
    #[arg(long)]
    pub force: bool,
}

#[derive(Debug, ClapArgs)]
#[expect(clippy::struct_excessive_bools, reason = "one for each flag of the command line")]
pub struct Status {
    /// Only what is not as it should be.
    #[arg(short = 'x')]
    pub problems: bool,
    /// One line; exit 0 healthy, 1 degraded, 2 unusable, 4 cannot tell.
    #[arg(long)]
    pub check: bool,
    /// Return when all that was acknowledged is on both drives, and say nothing; parked drives don't count.
    #[arg(long, conflicts_with = "watch")]
    pub wait: bool,
    /// Give up after this long, such as 30s or 5min [default: 10s with --check, else never].
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, conflicts_with = "watch")]
    pub timeout: Option<Duration>,
    /// Show it again every second, until interrupted.
    #[arg(long, conflicts_with = "check")]
    pub watch: bool,
    /// One JSON document; with --watch one a line.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, ClapArgs)]
pub struct Log {
    /// Go on with what comes, until interrupted.
    #[arg(short, long)]
    pub follow: bool,
    /// Only this user's requests.
    #[arg(long)]
    pub user: Option<String>,
    /// Only what is about this path, or anything below it.
    #[arg(long, value_name = "REMOTE")]
    pub path: Option<String>,
    /// Only from then on: a time such as 2026-02-03T04:05:06Z, or so long ago, such as 2h or 3days.
    #[arg(long, value_name = "TIME", value_parser = since)]
    pub since: Option<Time>,
    /// Only the last N of them [default: all, with --follow 10]
    #[arg(short = 'n', long, value_name = "N")]
    pub count: Option<u64>,
    /// One JSON document a line, as the server keeps them.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, ClapArgs)]
pub struct Verify {
    /// A line for every file, alike ones too.
    #[arg(long)]
    pub combined: bool,
    /// Names and sizes alone; no file is read.
    #[arg(long)]
    pub quick: bool,
}

#[derive(Debug, ClapArgs)]
pub struct Aside {
    /// One JSON document.
    #[arg(long)]
    pub json: bool,
    #[command(subcommand)]
    pub action: Option<Shelf>,
}

#[derive(Debug, Subcommand)]
pub enum Shelf {
    /// Remove items for good.
    Drop {
        /// As listed, such as b:12.3.
        #[arg(required = true, value_name = "DRIVE:ITEM")]
        items: Vec<String>,
    },
}

#[derive(Debug, ClapArgs)]
pub struct Scrub {
    #[command(subcommand)]
    pub action: Scrubbing,
}

#[derive(Debug, Subcommand)]
pub enum Scrubbing {
    /// Begin one in the background, or resume the one that is paused.
    Start,
    /// Hold it where it is, until it is started again.
    Pause,
    /// Show how far it is, and what the last one found.
    Status {
        /// One JSON document.
        #[arg(long)]
        json: bool,
    },
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn every_command_is_known_in_capitals() {
        for (line, lower) in [
            ("GET a", "get a"),
            ("PUT a", "put a"),
            ("RM -r a", "rm -r a"),
            ("INFO a", "info a"),
            ("LS", "ls"),
            ("VIEW", "view"),
            ("MD a", "md a"),
            ("MKDIR a", "mkdir a"),
            ("MV a b", "mv a b"),
            ("WRITE a 0", "write a 0"),
            ("UNDO --lsn 7 a", "undo --lsn 7 a"),
            ("TRASH -l a", "trash -l a"),
            ("STATUS -x", "status -x"),
            ("EJECT a", "eject a"),
            ("SCRUB start", "scrub start"),
            ("ASIDE drop b:1.2", "aside drop b:1.2"),
            ("LOG -f --user anna", "log -f --user anna"),
            ("VERIFY --combined", "verify --combined"),
        ] {
            let parse = |line: &str| {
                let words = ["fget"].into_iter().chain(line.split(' '));
                format!("{:?}", Args::try_parse_from(words).unwrap().command)
            };
            assert_eq!(parse(line), parse(lower));
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        <Args as clap::CommandFactory>::command().debug_assert();
    }
}
