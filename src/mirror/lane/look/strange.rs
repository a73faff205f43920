//! Folders that the catalog does not have yet. What is in them is noted as soon as they are seen, so that it settles while
//! they do, whole trees at once.

use std::time::Instant;

use crate::mirror::lane::Lane;
use crate::mirror::lane::look::{Result, exact_name};
use crate::mirror::layout;
use crate::mirror::reconcile::hints::Watch;
use crate::mirror::reconcile::survey::{News, Strange, TURN_NAMES_MAX};
use crate::mirror::volume::FileKind;
use crate::path::check_text_extent;

impl Lane {
    /// Notes some of what is in a new folder. What the mirror cannot have there is told of when its folder is the mirror's.
    pub(super) fn look_ahead(
        &mut self,
        strange: Strange,
        now: Instant,
        watch: &mut dyn FnMut(&str) -> Watch,
    ) -> Result<()> {
        let Strange { path, names } = strange;
        let mut names = if let Some(names) = names {
            names
        } else {
            watch(&path);
            self.list(&path)?.names
        };
        for name in names.split_off(names.len().saturating_sub(TURN_NAMES_MAX)) {
            if exact_name(&name).is_none() {
                continue;
            }
            let at = layout::join(&path, &name);
            // Nor what nobody could name there.
            if check_text_extent(&at).is_err() {
                continue;
            }
            if let Some(meta) = self.stat(&at)?
                && self.survey.sight(&at, meta, now) == News::Yes
                && meta.kind == FileKind::Folder
            {
                self.survey.look_into(Strange { path: at, names: None });
            }
        }
        if !names.is_empty() {
            self.survey.look_into(Strange { path, names: Some(names) });
        }
        Ok(())
    }

    /// Notes a name in a new folder that the kernel told of.
    pub(super) fn sight(&mut self, at: String, now: Instant, watch: &mut dyn FnMut(&str) -> Watch) -> Result<()> {
        if check_text_extent(&at).is_err() {
            return Ok(());
        }
        let Some(meta) = self.stat(&at)? else { return Ok(()) };
        let news = self.survey.sight(&at, meta, now);
        // One of the same name that has gone was seen, and this one was not.
        if meta.kind == FileKind::Folder && (news == News::Yes || watch(&at) == Watch::Begun) {
            self.survey.look_into(Strange { path: at, names: None });
        }
        Ok(())
    }
}
