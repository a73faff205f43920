//! The command line of `twinstickd`. Each flag has an environment variable; both win over the file.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::accounts::UserName;
use crate::config::{LogFilter, LogFormat, Overrides};
use crate::daemon::adopt::AdoptRequest;
use crate::daemon::certificate::CertificateRequest;
use crate::daemon::check::Format;
use crate::daemon::init::{DriveKind, Files, InitRequest};
use crate::daemon::replace::ReplaceRequest;
use crate::ids::Side;
use crate::units::{QuotaSize, size};

/// Keeps two USB sticks identical, as plain files, and serves them over TCP.
#[derive(Debug, Parser)]
#[command(name = "twinstickd", version, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Play the whole story on this machine: two made-up drives, one of them pulled in mid-upload
    Demo(DemoArgs),
    /// Enrol two drives: write their labels and begin the journal
    Init(InitArgs),
    /// Serve the enrolled drives
    Serve(Box<ServeArgs>),
    /// Enrol a blank stick in place of a dead or lost one; also while twinstickd runs
    Replace(ReplaceArgs),
    /// Rebuild a lost or outdated journal from the sticks; the old one is kept
    Adopt(AdoptArgs),
    /// Take up a drive at once that was parked since it came and went too often
    Unpark(UnparkArgs),
    /// Say who may use the mirror: users and their tokens; also while twinstickd runs
    #[command(subcommand)]
    User(UserCommand),
    /// Make the key and certificate that clients know this server by, or show the one that there is
    Cert(CertArgs),
    /// Compare the journal, the catalog and both drives while no daemon runs; changes nothing
    #[command(after_help = CHECK_EXIT_CODES)]
    Check(CheckArgs),
    /// The client in the daemon's own binary: `cargo run` builds no other, and the demo needs one.
    #[command(hide = true, disable_help_flag = true)]
    Client {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
}

#[derive(Debug, Args)]
pub struct DemoArgs {
    /// The folder to work in [default: a new one among the temporary files]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Leave drives, journal and files behind to look at
    #[arg(long)]
    pub keep: bool,
    /// Use plain folders as drives, also where loop-mounted ones are possible
    #[arg(long)]
    pub plain_directory: bool,
}

#[derive(Debug, Args)]
pub struct InitArgs {
    /// A drive and where it is mounted, as a=PATH; given twice, for a and for b
    #[arg(long = "drive", value_name = "NAME=PATH", value_parser = parse_drive, required = true)]
    pub drives: Vec<DriveArg>,
    /// Take folders that are no mount points of their own: for trying things out
    #[arg(long)]
    pub plain_directory: bool,
    /// Take in files that are on the drives already; what differs is kept from both
    #[arg(long)]
    pub adopt: bool,
    #[command(flatten)]
    pub source: SourceArgs,
}

#[derive(Debug, Args)]
pub struct AdoptArgs {
    /// Where a drive of the mirror is mounted; given for each, its label says which it is
    #[arg(long = "drive", value_name = "PATH", required = true)]
    pub drives: Vec<PathBuf>,
    /// The drive that is not to be had: a or b. Its files are compared when it comes
    #[arg(long, value_name = "NAME", value_parser = parse_side)]
    pub without: Option<Side>,
    /// Take folders that are no mount points of their own: for trying things out
    #[arg(long)]
    pub plain_directory: bool,
    #[command(flatten)]
    pub source: SourceArgs,
}

#[derive(Debug, Args)]
pub struct ReplaceArgs {
    /// The drive to replace and where the new stick is mounted, as b=PATH
    #[arg(long, value_name = "NAME=PATH", value_parser = parse_drive)]
    pub drive: DriveArg,
    /// Give up versions of files that the old drive alone has
    #[arg(long)]
    pub accept_loss: bool,
    #[command(flatten)]
    pub source: SourceArgs,
}

#[derive(Debug, Args)]
pub struct UnparkArgs {
    /// The drive's name: a or b
    #[arg(value_name = "NAME", value_parser = parse_side)]
    pub side: Side,
    #[command(flatten)]
    pub source: SourceArgs,
}

#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Make a user, and print the first token
    Add(UserAddArgs),
    /// List the users: what they may, what their files come to (while twinstickd runs), when they were last here
    List(UserListArgs),
    /// Remove a user; the files stay
    Remove(UserArgs),
    /// Change how much a user's files may come to
    Quota(UserQuotaArgs),
    /// Set a password, which 'fget login --user' takes, or take it away; tokens go on until they are revoked
    Passwd(UserPasswdArgs),
    /// Make, list and revoke tokens: what a client shows to say who it is
    #[command(subcommand)]
    Token(TokenCommand),
}

#[derive(Debug, Args)]
pub struct UserAddArgs {
    /// 1 to 32 of a-z, 0-9, '-' and '_', a letter first
    pub name: UserName,
    /// May see and do everything
    #[arg(long, conflicts_with = "read_only")]
    pub admin: bool,
    /// May change nothing
    #[arg(long)]
    pub read_only: bool,
    /// The most that the user's files may come to, as 500MiB or 2GiB
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub quota: Option<u64>,
    /// What to call the first token
    #[arg(long, value_name = "LABEL", default_value = "first")]
    pub label: String,
    /// Give up all accounts there were, since no copy of them can be read; while twinstickd is stopped
    #[arg(long, requires = "admin")]
    pub anew: bool,
    #[command(flatten)]
    pub source: SourceArgs,
}

#[derive(Debug, Args)]
pub struct UserQuotaArgs {
    pub name: UserName,
    /// As 500MiB or 2GiB; 'none': as much as the drives take
    pub size: QuotaSize,
    #[command(flatten)]
    pub source: SourceArgs,
}

#[derive(Debug, Args)]
pub struct UserPasswdArgs {
    pub name: UserName,
    /// Have none any more
    #[arg(long)]
    pub remove: bool,
    #[command(flatten)]
    pub source: SourceArgs,
}

#[derive(Debug, Args)]
pub struct UserListArgs {
    /// One document instead of lines
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub source: SourceArgs,
}

#[derive(Debug, Args)]
pub struct UserArgs {
    pub name: UserName,
    #[command(flatten)]
    pub source: SourceArgs,
}

#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make one more token, and print it
    New(TokenNewArgs),
    /// List a user's tokens
    List(UserArgs),
    /// End a token at once
    Revoke(TokenRevokeArgs),
}

#[derive(Debug, Args)]
pub struct TokenNewArgs {
    pub name: UserName,
    /// Where it is used, so that it can be told from others
    #[arg(long)]
    pub label: String,
    #[command(flatten)]
    pub source: SourceArgs,
}

#[derive(Debug, Args)]
pub struct TokenRevokeArgs {
    pub name: UserName,
    /// Its id or its label
    pub token: String,
    #[command(flatten)]
    pub source: SourceArgs,
}

#[derive(Debug, Args)]
pub struct CertArgs {
    /// Make another key in place of the one there is; whoever has logged in must do so again
    #[arg(long)]
    pub anew: bool,
    /// A name or address of this server; may be given more than once [default: this machine's name]
    #[arg(long = "name", value_name = "HOST")]
    pub names: Vec<String>,
    #[command(flatten)]
    pub source: SourceArgs,
}

#[derive(Debug, Args)]
pub struct ServeArgs {
    /// The address for fget [default: 127.0.0.1:8946]
    #[arg(long, value_name = "ADDR", env = "TWINSTICKD_LISTEN", hide_env_values = true)]
    pub listen: Option<SocketAddr>,
    /// Globs of folders where sticks appear, with `:` between them
    #[arg(long, value_name = "GLOBS", env = "TWINSTICKD_PLACES", hide_env_values = true, value_delimiter = ':')]
    pub places: Option<Vec<String>>,
    /// How long a drive may complete nothing before it counts as gone [default: 5s]
    #[arg(long, value_name = "TIME", env = "TWINSTICKD_STALL_AFTER", hide_env_values = true, value_parser = humantime::parse_duration)]
    pub stall_after: Option<Duration>,
    /// How log lines look: text, json or journald [default: journald where stderr is the journal, else text]
    #[arg(
        long,
        value_name = "FORMAT",
        env = "TWINSTICKD_LOG_FORMAT",
        hide_env_values = true,
        hide_possible_values = true
    )]
    pub log_format: Option<LogFormat>,
    /// What is logged: a level, or levels by module, such as warn,twinstick::server=debug [default: info]
    #[arg(long, value_name = "LEVELS", env = "TWINSTICKD_LOG", hide_env_values = true)]
    pub log_level: Option<LogFilter>,
    #[command(flatten)]
    pub source: SourceArgs,
}

const CHECK_EXIT_CODES: &str = "Exit codes: 0 clean, 1 differences, 2 usage, 4 cannot tell, such as with a drive away \
                                or the daemon running";

#[derive(Debug, Args)]
pub struct CheckArgs {
    /// One document instead of lines
    #[arg(long)]
    pub json: bool,
    /// Globs of folders where sticks appear, with `:` between them
    #[arg(long, value_name = "GLOBS", env = "TWINSTICKD_PLACES", hide_env_values = true, value_delimiter = ':')]
    pub places: Option<Vec<String>>,
    #[command(flatten)]
    pub source: SourceArgs,
}

/// Where settings and state are.
#[derive(Debug, Args)]
pub struct SourceArgs {
    /// The settings [default: /etc/twinstick/twinstickd.toml, if it exists]
    #[arg(long, value_name = "FILE", env = "TWINSTICKD_CONFIG", hide_env_values = true)]
    pub config: Option<PathBuf>,
    /// The folder of the journal, on the boot disk [default: /var/lib/twinstick]
    #[arg(long, value_name = "DIR", env = "TWINSTICKD_STATE", hide_env_values = true)]
    pub state: Option<PathBuf>,
}

/// One `--drive a=PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriveArg {
    pub side: Side,
    pub path: PathBuf,
}

fn parse_drive(text: &str) -> Result<DriveArg, String> {
    let (name, path) = text.split_once('=').ok_or("give it as a=PATH or b=PATH")?;
    let side = parse_side(name)?;
    if path.is_empty() {
        return Err(format!("drive {name} has no path: give it as {name}=PATH"));
    }
    Ok(DriveArg { side, path: path.into() })
}

fn parse_side(name: &str) -> Result<Side, String> {
    let side = Side::BOTH.into_iter().find(|side| side.name() == name);
    side.ok_or_else(|| format!("there is no drive {name:?}: the two are a and b"))
}

impl UnparkArgs {
    /// Which drive, and where the settings that are needed come from.
    pub fn split(self) -> (Side, Overrides) {
        (self.side, self.source.overrides())
    }
}

impl SourceArgs {
    pub fn overrides(self) -> Overrides {
        Overrides { file: self.config, state: self.state, ..Overrides::default() }
    }
}

impl ServeArgs {
    /// What this command line and its environment say; SIGHUP puts them above the file again.
    pub fn overrides(self) -> Overrides {
        let Self { listen, places, stall_after, log_format, log_level, source } = self;
        Overrides { listen, places, stall_after, log_format, log_level, ..source.overrides() }
    }
}

impl CertArgs {
    /// What to make, and where the settings that it needs come from.
    pub fn split(self) -> (CertificateRequest, Overrides) {
        (CertificateRequest { names: self.names, anew: self.anew }, self.source.overrides())
    }
}

impl ReplaceArgs {
    /// What to replace, and where the settings that it needs come from.
    pub fn split(self) -> std::io::Result<(ReplaceRequest, Overrides)> {
        let Self { drive: DriveArg { side, path }, accept_loss, source } = self;
        // The daemon that may do it has another working directory.
        let path = std::path::absolute(path)?;
        Ok((ReplaceRequest { side, path, accept_loss }, source.overrides()))
    }
}

impl CheckArgs {
    /// How to say what is found, and where the settings that are needed come from.
    pub fn split(self) -> (Format, Overrides) {
        let format = if self.json { Format::Json } else { Format::Lines };
        (format, Overrides { places: self.places, ..self.source.overrides() })
    }
}

impl InitArgs {
    /// What to enrol, and where the settings that it needs come from.
    pub fn split(self) -> (InitRequest, Overrides) {
        let kind = kind(self.plain_directory);
        let files = if self.adopt { Files::TakenIn } else { Files::Refused };
        let drives = self.drives.into_iter().map(|drive| (drive.side, drive.path)).collect();
        (InitRequest { drives, kind, files }, self.source.overrides())
    }
}

impl AdoptArgs {
    /// What to adopt, and where the settings that it needs come from.
    pub fn split(self) -> (AdoptRequest, Overrides) {
        let kind = kind(self.plain_directory);
        (AdoptRequest { drives: self.drives, without: self.without, kind }, self.source.overrides())
    }
}

fn kind(plain_directory: bool) -> DriveKind {
    if plain_directory { DriveKind::PlainDirectory } else { DriveKind::MountPoint }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn a_drive_is_a_name_and_a_path() {
        assert_eq!(parse_drive("a=/mnt/x=y"), Ok(DriveArg { side: Side::A, path: "/mnt/x=y".into() }));
        for bad in ["/mnt", "c=/mnt", "b=", "=/mnt"] {
            assert!(parse_drive(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn flags_become_overrides() {
        let cli = Cli::try_parse_from([
            "twinstickd",
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--state",
            "/s",
            "--places",
            "/media/*/*:/mnt/*",
            "--stall-after",
            "2s",
        ])
        .unwrap();
        let Command::Serve(args) = cli.command else { panic!("serve") };
        let overrides = args.overrides();
        assert_eq!(overrides.listen.unwrap().port(), 0);
        assert_eq!(overrides.state.unwrap(), std::path::Path::new("/s"));
        assert_eq!(overrides.places.unwrap(), ["/media/*/*", "/mnt/*"]);
        assert_eq!(overrides.stall_after, Some(Duration::from_secs(2)));
    }

    #[test]
    fn the_clients_arguments_pass_untouched() {
        let cli = Cli::try_parse_from(["twinstickd", "client", "--server", "x:1", "ls", "-l", "--help"]).unwrap();
        let Command::Client { args } = cli.command else { panic!("client") };
        assert_eq!(args, ["--server", "x:1", "ls", "-l", "--help"]);
    }
}
