//! A PUT under way: one stream from the client, to all drives that are there.

mod leg;
mod means;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::clock;
use crate::digest::{Crc32, Digester, FileDigest};
use crate::ids::{PerSide, Side, Ticket};
use crate::journal::{
    Answered, Mutation, Precondition, Put, Receipt, Released, Request, Staged, Version, put_fingerprint,
};
use crate::mirror::attachment::Attachment;
use crate::mirror::drive_log::{Append, Record};
use crate::mirror::fair::Flow;
use crate::mirror::io::Gone;
use crate::mirror::log_thread::NoRoom;
use crate::mirror::mirror::Mirror;
use crate::mirror::mutate::refusal;
use crate::mirror::pool::Held;
use crate::mirror::quota::Claim;
use crate::mirror::refusal::Refusal;
use crate::mirror::release::{drop_stage, let_go};
use crate::mirror::request::PutRequest;
use crate::mirror::stage::StageFile;
use crate::mirror::upload::leg::{Leg, Memory};
use crate::mirror::upload::means::take_place;
use crate::mirror::volume::{Attributes, Disposition, Result as VolumeResult, VolumeError};
use crate::mirror::{layout, space};
use bytes::Bytes;

/// Bodies up to here travel through the drive log, larger ones through a stage file.
pub(crate) const LOGGED_BYTES_MAX: usize = 64 * 1024;

/// A PUT under way. Dropped without `commit` it leaves nothing behind.
pub struct Upload {
    mirror: Arc<Mirror>,
    request: PutRequest,
    ticket: Ticket,
    digester: Digester,
    body: Body,
    /// Memory for what is held, or for the piece that comes next.
    buffer: Option<Held>,
    /// Memory for the beginning of a body of unknown length, which waits for its place in it.
    beginning: Option<Held>,
    /// From when it is known to be large.
    transfer: Option<Held>,
    /// Drives that have a stage file of it, or will have one when what is under way has ended.
    files: PerSide<Option<Arc<Attachment>>>,
    /// What the drives durably have of it.
    stages: PerSide<Option<Staged>>,
    /// Nobody wants it any more: a stage file that is only now being made goes at once.
    abandoned: Arc<AtomicBool>,
    /// The answer that this request's id got before.
    answered: Option<Answered>,
    /// The journal has it now: its stages are not ours any more.
    handed_over: bool,
    space: space::Reservation,
    claim: Claim,
    /// Bytes of the body that took their room and are written.
    spent: u64,
    /// Bytes of the body that there is room for, where its length is unknown.
    room_end: u64,
    /// A drive that is there and did not take it, and why.
    turned_away: Option<(Side, String)>,
}

enum Body {
    /// Small so far.
    Held(Vec<Bytes>, usize),
    Staged(PerSide<Option<Leg>>),
}

impl Mirror {
    /// Checks name, space and drives; from here on the body streams to all present drives.
    /// A request id that was answered before gives an upload that swallows its body and answers the same again.
    pub async fn begin_put(self: &Arc<Self>, request: PutRequest) -> Result<Upload, Refusal> {
        self.core.check_journal()?;
        // An earlier try of the same upload gives up its place, or has its answer: what it stored is not in the way then.
        let mut claim = Claim::begin(&self.core, &request).await?;
        let answered = self.answer(request.id.as_ref())?;
        if answered.is_none() {
            self.check_place(&request.path, request.overwrite, request.limited)?;
            self.check_length(request.len.unwrap_or(0))?;
            if self.core.attachments().is_empty() {
                return Err(self.core.nobody_there());
            }
        }
        let bytes = if answered.is_some() { 0 } else { request.len.unwrap_or(0) };
        let displaced = claim.displaced();
        let preparing = async {
            let is_large = bytes > LOGGED_BYTES_MAX as u64;
            let transfer = if is_large { take_place(&self.core, &request).await? } else { None };
            claim.grow(bytes).await?;
            Ok((transfer, space::reserve(&self.core, bytes).await?))
        };
        let (transfer, reservation) = tokio::select! {
            biased;
            () = displaced => return Err(Refusal::Displaced),
            prepared = preparing => prepared?,
        };
        let count = self.tickets.fetch_add(1, Ordering::Relaxed);
        let upload = Upload {
            mirror: Arc::clone(self),
            ticket: Ticket::new(self.core.nonce, count),
            digester: Digester::default(),
            body: Body::Held(Vec::new(), 0),
            buffer: None,
            beginning: None,
            transfer,
            files: PerSide::default(),
            stages: PerSide::default(),
            abandoned: Arc::default(),
            answered,
            handed_over: false,
            space: reservation,
            claim,
            spent: 0,
            room_end: 0,
            turned_away: None,
            request,
        };
        Ok(upload)
    }
}

impl Upload {
    /// Takes the next bytes of the body, in pieces of any length (best 256 KiB). Waits while the drives are busy.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), Refusal> {
        let offset = self.digester.size();
        self.digester.update(&bytes);
        if self.answered.is_some() || bytes.is_empty() {
            return Ok(());
        }
        self.make_ready().await?;
        self.claim(self.digester.size()).await?;
        self.make_room(self.digester.size()).await?;
        if let Body::Held(pieces, size) = &mut self.body {
            *size += bytes.len();
            pieces.push(bytes);
            if *size <= LOGGED_BYTES_MAX {
                return Ok(());
            }
            let pieces = std::mem::take(pieces);
            return self.spill(pieces).await;
        }
        let buffer = Arc::new([None, self.buffer.take()]);
        self.write_legs(bytes, offset, &buffer).await
    }

    /// What the drives do for it once it is large.
    fn flow(&self) -> Flow {
        self.request.asker.flow(self.request.len)
    }

    /// Returns when it is of no use any more: its client has begun it again, and that one has its place.
    pub fn displaced(&self) -> impl Future<Output = Refusal> + Send + use<> {
        let displaced = self.claim.displaced();
        async move {
            displaced.await;
            Refusal::Displaced
        }
    }

    /// The CRC-32 of all that was written so far.
    pub fn crc32(&self) -> Crc32 {
        self.digester.whole()
    }

    /// The body turned out to be large: what was held goes to stage files.
    async fn spill(&mut self, pieces: Vec<Bytes>) -> Result<(), Refusal> {
        // A piece that nobody made room for comes from the daemon itself.
        if self.transfer.is_none() {
            self.transfer = take_place(&self.mirror.core, &self.request).await?;
        }
        let mut legs = PerSide::default();
        let mut result = Ok(());
        for side in Side::BOTH {
            let Some(attachment) = self.mirror.core.seat(side).attachment() else { continue };
            *self.files.get_mut(side) = Some(Arc::clone(&attachment));
            match attachment.io.run(self.flow().call(), self.creation(&attachment)).await {
                Ok(Ok(stage)) => {
                    let stage = Arc::new(stage);
                    *legs.get_mut(side) = Some(Leg::new(attachment, stage, self.flow()));
                }
                Ok(Err(error)) => {
                    result = result.and(self.judge(&attachment, &error));
                    // It may have been made all the same.
                    drop_stage(&attachment, &layout::stage(self.ticket));
                }
                Err(_) => {}
            }
        }
        self.body = Body::Staged(legs);
        result?;
        let (mut offset, buffer) = (0, Arc::new([self.beginning.take(), self.buffer.take()]));
        for piece in pieces {
            let len = piece.len() as u64;
            self.write_legs(piece, offset, &buffer).await?;
            offset += len;
        }
        Ok(())
    }

    /// Makes the stage file on a drive. Its removal may be asked for while it is still being made.
    fn creation(&self, attachment: &Attachment) -> impl FnOnce() -> VolumeResult<StageFile> + Send + 'static {
        let (volume, ticket) = (Arc::clone(&attachment.volume), self.ticket);
        let abandoned = Arc::clone(&self.abandoned);
        move || {
            let stage = StageFile::create(Arc::clone(&volume), ticket)?;
            if abandoned.load(Ordering::Acquire) {
                volume.remove_file(&layout::stage(ticket))?;
            }
            Ok(stage)
        }
    }

    async fn write_legs(&mut self, bytes: Bytes, offset: u64, buffer: &Memory) -> Result<(), Refusal> {
        let Body::Staged(mut legs) = std::mem::replace(&mut self.body, Body::Held(Vec::new(), 0)) else {
            return Ok(());
        };
        let (mut result, mut in_flight) = (Ok(()), 0);
        for side in Side::BOTH {
            let Some(mut leg) = legs.get_mut(side).take() else { continue };
            match leg.write(&bytes, offset, buffer).await {
                Ok(true) => {
                    in_flight = in_flight.max(leg.in_flight());
                    *legs.get_mut(side) = Some(leg);
                }
                Ok(false) => {}
                Err(error) => {
                    let judged = self.judge(&leg.attachment, &error);
                    drop_stage(&leg.attachment, &layout::stage(self.ticket));
                    result = result.and(judged);
                }
            }
        }
        let empty = legs.iter().all(|(_, leg)| leg.is_none());
        self.body = Body::Staged(legs);
        result?;
        self.spend(offset + bytes.len() as u64 - in_flight);
        if empty { Err(self.nobody_left()) } else { Ok(()) }
    }

    /// The drives have the first `end` bytes of the body: the room they have is less by that.
    fn spend(&mut self, end: u64) {
        self.space.spend(end.saturating_sub(self.spent));
        self.spent = self.spent.max(end);
    }

    /// What a failed write means for the PUT: a drive that is lost shrinks its set, so does one that is there and
    /// does not take this stage; a full one refuses the PUT, and so does the daemon's own shortage.
    fn judge(&mut self, attachment: &Attachment, error: &VolumeError) -> Result<(), Refusal> {
        match error.disposition {
            Disposition::NoSpace => {
                // What the drive last said: nothing that could block is asked here.
                let free = self.mirror.core.seat(attachment.side).space().map_or(0, |space| space.free);
                Err(self.no_space(attachment.side, free))
            }
            Disposition::DriveLost | Disposition::BadRead => {
                self.mirror.core.lose(attachment, &error.to_string());
                Ok(())
            }
            Disposition::NotFound | Disposition::InTheWay | Disposition::Refused => {
                tracing::warn!(drive = %attachment.side, %error, "a drive does not take a stage");
                self.turned_away = Some((attachment.side, error.to_string()));
                Ok(())
            }
            // It says nothing of the drive, whose copy is not to be given up for it.
            Disposition::Shortage => Err(Refusal::busy(error)),
        }
    }

    fn no_space(&self, drive: Side, free: u64) -> Refusal {
        let needed = self.request.len.unwrap_or(0).max(self.digester.size());
        Refusal::NoSpace { drive, free, needed }
    }

    /// Why no drive has it.
    fn nobody_left(&self) -> Refusal {
        match &self.turned_away {
            Some((side, why)) => {
                Refusal::Unavailable { drive: Some(*side), message: format!("drive {side} did not take it: {why}") }
            }
            None => self.mirror.core.nobody_there(),
        }
    }

    /// Makes it durable and visible, if the bytes match.
    pub async fn commit(mut self, expected: Crc32) -> Result<Receipt, Refusal> {
        let digest = std::mem::take(&mut self.digester).finish();
        if digest.whole != expected {
            return Err(Refusal::BadChecksum { expected, actual: digest.whole });
        }
        if let Some(len) = self.request.len.filter(|len| *len != digest.size) {
            return Err(Refusal::BadRequest(format!("{len} bytes were announced, {} came", digest.size)));
        }
        if let Some(Answered { receipt, fingerprint }) = self.answered.take() {
            let same = fingerprint == put_fingerprint(&self.request.path, digest.whole);
            return if same { Ok(receipt) } else { Err(refusal(Precondition::IdInUse.into())) };
        }
        let mtime_ns = self.request.mtime_ns.unwrap_or_else(clock::wall_ns);
        match std::mem::replace(&mut self.body, Body::Held(Vec::new(), 0)) {
            Body::Held(pieces, size) => self.log(&pieces, size, &digest, mtime_ns).await?,
            Body::Staged(legs) => self.finish(legs, &digest, mtime_ns).await?,
        }
        self.hand_over(digest, mtime_ns).await
    }

    /// Small: the bytes go through the drive logs, both at once.
    async fn log(&mut self, pieces: &[Bytes], size: usize, digest: &FileDigest, mtime_ns: i64) -> Result<(), Refusal> {
        let payload = match pieces {
            [piece] => piece.clone(),
            pieces => pieces
                .iter()
                .fold(Vec::with_capacity(size), |mut body, piece| {
                    body.extend_from_slice(piece);
                    body
                })
                .into(),
        };
        let record = Record::Payload {
            path: self.request.path.to_string(),
            owner: self.request.owner.clone(),
            version: self.version(digest),
            mtime_ns,
            executable: self.request.executable,
        };
        let append = Append { record, payload };
        let flow = self.request.asker.flow(Some(size as u64));
        let appends = PerSide::new(|side| {
            let attachment = self.mirror.core.seat(side).attachment()?;
            let answer = attachment.log.append(&flow, append.clone());
            Some((attachment, answer))
        });
        let mut result = Ok(());
        for (side, append) in [(Side::A, appends.a), (Side::B, appends.b)] {
            let Some((attachment, answer)) = append else { continue };
            match attachment.io.wait(answer).await {
                Ok(Ok(stage)) => *self.stages.get_mut(side) = Some(Staged { arrival: attachment.arrival, stage }),
                Ok(Err(NoRoom { free })) => {
                    result = Err(Refusal::NoSpace { drive: side, free, needed: digest.size });
                }
                // A drive that leaves meanwhile shrinks the set.
                Err(Gone) => {}
            }
        }
        result
    }

    /// Large: what is written is synced, both drives at once. The logs say whose bytes they are, in case that the
    /// journal is lost before they say more; one without room does without.
    async fn finish(&mut self, legs: PerSide<Option<Leg>>, digest: &FileDigest, mtime_ns: i64) -> Result<(), Refusal> {
        let executable = self.request.executable;
        let attributes = Attributes { mtime_ns, executable };
        let record = Record::Staged {
            path: self.request.path.to_string(),
            owner: self.request.owner.clone(),
            version: self.version(digest),
            mtime_ns,
            executable,
        };
        let (append, flow) = (&Append { record, payload: Bytes::new() }, &self.flow());
        let finish = |leg: Option<Leg>| async move {
            let leg = leg?;
            let attachment = Arc::clone(&leg.attachment);
            let noted = attachment.log.append(flow, append.clone());
            let (finished, _) = tokio::join!(leg.finish(attributes), attachment.io.wait(noted));
            Some((attachment, finished))
        };
        let (a, b) = tokio::join!(finish(legs.a), finish(legs.b));
        let mut result = Ok(());
        for (side, finished) in [(Side::A, a), (Side::B, b)] {
            match finished {
                Some((attachment, Ok(Some(stage)))) => {
                    *self.stages.get_mut(side) = Some(Staged { arrival: attachment.arrival, stage });
                }
                Some((attachment, Err(error))) => {
                    result = result.and(self.judge(&attachment, &error));
                    drop_stage(&attachment, &layout::stage(self.ticket));
                }
                Some((_, Ok(None))) | None => {}
            }
        }
        result
    }

    async fn hand_over(mut self, digest: FileDigest, mtime_ns: i64) -> Result<Receipt, Refusal> {
        if self.stages == PerSide::default() {
            return Err(self.nobody_left());
        }
        self.claim.settle()?;
        self.handed_over = true;
        let put = Put {
            path: self.request.path.clone(),
            overwrite: self.request.overwrite,
            version: self.version(&digest),
            blocks: digest.blocks,
            mtime_ns,
            executable: self.request.executable,
            owner: self.request.owner.clone(),
            stages: self.stages,
        };
        let core = &self.mirror.core;
        let request = Request {
            mutation: Mutation::Put(put),
            id: self.request.id.take(),
            present: core.present(),
            keeping: core.keeping(None),
            quotas: self.claim.quotas(),
            names_max: core.names_max(self.request.limited),
        };
        core.committer.commit(request).await.map_err(refusal)
    }

    fn version(&self, digest: &FileDigest) -> Version {
        Version { ticket: self.ticket, size: digest.size, crc32: digest.whole }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if self.handed_over {
            return;
        }
        self.abandoned.store(true, Ordering::Release);
        for side in Side::BOTH {
            if let Some(attachment) = self.files.get(side) {
                drop_stage(attachment, &layout::stage(self.ticket));
            }
            if let (Some(Staged { stage, .. }), Some(attachment)) =
                (self.stages.get(side), self.mirror.core.seat(side).attachment())
            {
                let_go(&attachment, &Released { side, ticket: self.ticket, stage: *stage }, None);
            }
        }
    }
}

#[cfg(test)]
mod tests;
