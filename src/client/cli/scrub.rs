//! `fget scrub`.

use serde::Serialize;

use crate::client::cli::args::{Scrub, Scrubbing};
use crate::client::cli::exit::CommandError;
use crate::client::cli::health::print;
use crate::client::cli::progress::Progress;
use crate::client::cli::render;
use crate::client::requests::Client;
use crate::wire::{DriveDocument, OUTPUT_VERSION, ScrubAction, ScrubDocument, ScrubOrdered, StatusDocument};

#[derive(Serialize)]
struct Document {
    output_version: u32,
    drives: Vec<Drive>,
}

#[derive(Serialize)]
struct Drive {
    name: String,
    /// `null` where there was none.
    scrub: Option<ScrubDocument>,
}

pub(crate) async fn scrub(client: &mut Client, args: &Scrub, progress: &Progress) -> Result<(), CommandError> {
    let action = match args.action {
        Scrubbing::Start => ScrubAction::Start,
        Scrubbing::Pause => ScrubAction::Pause,
        Scrubbing::Status { json } => return status(client, json).await,
    };
    progress.say(match client.scrub(action).await?.state {
        ScrubOrdered::Started => "the scrub has begun; 'fget scrub status' shows how far it is",
        ScrubOrdered::Resumed => "the scrub goes on where it was paused",
        ScrubOrdered::Paused => "the scrub is paused; 'fget scrub start' resumes it",
        ScrubOrdered::AlreadyRunning => "a scrub is running already; 'fget scrub status' shows how far it is",
        ScrubOrdered::AlreadyPaused => "the scrub is paused already; 'fget scrub start' resumes it",
        ScrubOrdered::NothingToPause => "no scrub is running",
    });
    Ok(())
}

async fn status(client: &mut Client, json: bool) -> Result<(), CommandError> {
    let document: StatusDocument = serde_json::from_slice(&client.status().await?)?;
    let text = if json {
        let drive = |drive: &DriveDocument| Drive { name: drive.name.clone(), scrub: drive.scrub.clone() };
        let drives = document.drives.iter().map(drive).collect();
        serde_json::to_string(&Document { output_version: OUTPUT_VERSION, drives })? + "\n"
    } else {
        render::scrubs(&document.drives)
    };
    print(&text)
}
