//! Names that the kernel told of: each is compared with what the catalog has there.

use std::collections::BTreeSet;
use std::time::Instant;

use crate::ids::NodeId;
use crate::journal::{Catalog, Node, Place};
use crate::mirror::lane::Lane;
use crate::mirror::lane::look::{Look, Result, exact_name, is_as_known};
use crate::mirror::reconcile::hints::{Hint, Watch};
use crate::mirror::reconcile::survey::Depth;
use crate::mirror::{layout, places};

impl Lane {
    /// Looks at such names at once, and at nothing else.
    pub(crate) fn look_at_names(
        &mut self,
        hints: &[Hint],
        now: Instant,
        watch: &mut dyn FnMut(&str) -> Watch,
    ) -> Result<Look> {
        let mut look = Look::new();
        let looked = hints.iter().try_for_each(|hint| self.look_at_hint(&mut look, hint, now, watch));
        self.or_passed_over(&mut look, looked)?;
        Ok(look)
    }

    /// Looks at a name that something was done to, perhaps by the mirror itself.
    pub(super) fn look_at_hint(
        &mut self,
        look: &mut Look,
        hint: &Hint,
        now: Instant,
        watch: &mut dyn FnMut(&str) -> Watch,
    ) -> Result<()> {
        let (folder, name, told) = match hint {
            Hint::Name { folder, name } => (folder, name, layout::join(folder, name)),
            Hint::NotUtf8 { folder } => {
                look.tell_not_utf8(folder, &self.list(folder)?.not_utf8);
                return Ok(());
            }
        };
        let Some(Near { folder, path, name, known }) = self.nearest(folder, name)? else { return Ok(()) };
        let at = layout::join(&path, &name);
        match known {
            Some((place, node)) => {
                self.look_at(look, &place, node.clone(), &path, Depth::Alone, now)?;
                if let Node::Folder(found) = node
                    && is_as_known(&node, self.side, self.stat(&at)?)
                    && watch(&at) == Watch::Begun
                {
                    self.survey.add(found.id, Depth::WithAllBelow);
                }
            }
            // It may be another name's other case.
            None if self.volume.namespace().folds_case() => {
                if self.stat(&at)?.is_some() {
                    self.survey.add(folder, Depth::Alone);
                }
            }
            None => self.look_at_name(look, folder, &BTreeSet::new(), &path, &name, now)?,
        }
        let is_below_new = || exact_name(&name).is_some_and(|name| self.survey.is_suspect(&Place::new(folder, name)));
        if told != at && is_below_new() {
            self.sight(told, now, watch)?;
        }
        Ok(())
    }

    /// The first name on the way to one in a folder that is no folder of the catalog's, or that one.
    fn nearest(&self, folder: &str, name: &str) -> Result<Option<Near>> {
        let snapshot = self.journal.snapshot();
        let above = folder.split('/').filter(|name| !name.is_empty());
        let mut names = above.chain([name]).peekable();
        let (mut folder, mut path) = (NodeId::ROOT, String::new());
        while let Some(name) = names.next() {
            let known = match exact_name(name).map(|name| Place::new(folder, name)) {
                Some(place) => snapshot.node(&place)?.map(|node| (place, node)),
                None => None,
            };
            if let Some((_, Node::Folder(below))) = &known
                && names.peek().is_some()
            {
                folder = below.id;
                path = layout::join(&path, name);
                continue;
            }
            // Where the folder itself is on its way, the lane's other work is about it.
            let is_there = places::folder_path(&snapshot, self.side, folder)?.is_some_and(|there| there == path);
            return Ok(is_there.then(|| Near { folder, path, name: name.to_owned(), known }));
        }
        Ok(None)
    }
}

/// A name in a folder of the catalog, and what the catalog has there.
struct Near {
    folder: NodeId,
    /// That of the folder.
    path: String,
    name: String,
    known: Option<(Place, Node)>,
}
