//! The commands of `fget`.

mod admin;
mod args;
mod aside;
mod config;
mod download;
mod edit;
mod exit;
mod health;
mod lines;
mod listing;
mod log;
mod login;
mod progress;
mod remote;
mod render;
mod run;
mod scrub;
mod trash;
mod tree;
mod upload;
mod verify;
mod write;

pub use admin::{accounts_text, tokens_text};
pub use args::Args;
pub use run::run;
