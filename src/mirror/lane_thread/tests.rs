#![allow(clippy::unwrap_used, reason = "tests")]

use bytes::Bytes;
use futures_util::future::join_all;

use super::UNSETTLED_MAX;
use crate::ids::Side;
use crate::mirror::MirrorLimits;
use crate::mirror::request::{Asker, BodySource, Overwrite, Priority, PutRequest};
use crate::mirror::stand::Stand;
use crate::path::RelPath;

/// As many as a lane installs in a step.
const STEP: usize = 256;

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_drive_has_no_more_to_read_back_than_some_files() {
    let stand = Stand::new(MirrorLimits::default()).await;
    let mirror = &stand.mirror;
    let put = |number: usize| async move {
        let path = RelPath::parse(&format!("f{number}")).unwrap();
        let (overwrite, len) = (Overwrite::No, Some(1));
        let request = PutRequest {
            path,
            overwrite,
            len,
            mtime_ns: Some(5),
            executable: false,
            owner: String::new(),
            asker: Asker::own(Priority::Normal),
            source: BodySource::Client,
            limited: crate::mirror::request::Limited::Yes,
            id: None,
        };
        let mut upload = mirror.begin_put(request).await.unwrap();
        upload.write(Bytes::from_static(b"1")).await.unwrap();
        let crc = upload.crc32();
        upload.commit(crc).await.unwrap();
    };
    let (files_max, files) = (UNSETTLED_MAX.files as usize + STEP, 4 * UNSETTLED_MAX.files as usize);
    let mut most = 0;
    for first in (0..files).step_by(64) {
        join_all((first..first + 64).map(put)).await;
        for side in Side::BOTH {
            most = most.max(mirror.core.journal.snapshot().unsettled(side).unwrap().len());
        }
    }
    assert!(most <= files_max, "{most} files to be read back");
}
