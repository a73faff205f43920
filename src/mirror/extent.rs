//! How deep and how long the paths below a folder are: neither a move nor what is found on a drive may make paths that
//! nobody can name.

use crate::ids::NodeId;
use crate::journal::store::StoreError;
use crate::journal::{Journal, Node};
use crate::mirror::refusal::Refusal;
use crate::path::{Name, PATH_BYTES_MAX, PATH_DEPTH_MAX, RelPath};

/// Children read at once.
const PAGE: usize = 1024;

/// A folder on the way through the tree.
struct Visit {
    folder: NodeId,
    after: Option<Name>,
    depth: usize,
    bytes: usize,
}

/// What in a folder nobody could name, all together, and why.
pub(crate) fn beyond(folder: &str) -> (String, String) {
    let why = if folder.split('/').count() >= PATH_DEPTH_MAX {
        format!("it lies deeper than {PATH_DEPTH_MAX} names: move it up to have it taken in")
    } else {
        format!(
            "some of it has a path of more than {PATH_BYTES_MAX} bytes: give shorter names or move it up to have it \
             taken in"
        )
    };
    (format!("{folder}/*"), why)
}

/// Refuses a move of `folder` to `to` if something in it would lie too deep, or under too long a path.
///
/// Reads all of the folder's tree. What is put into it meanwhile is not seen: paths may then pass the limits by
/// what one PUT can add, which the drives' walks allow for.
pub(crate) fn check_move(journal: &Journal, folder: NodeId, to: &RelPath) -> Result<(), Refusal> {
    let unreadable = |error: StoreError| Refusal::JournalUnavailable(error.to_string());
    let first = Visit { folder, after: None, depth: to.names().len(), bytes: to.to_string().len() };
    let mut visits = vec![first];
    while let Some(visit) = visits.pop() {
        let page = journal.snapshot().children(visit.folder, visit.after.as_ref(), PAGE).map_err(unreadable)?;
        for (name, node) in &page {
            let (depth, bytes) = (visit.depth + 1, visit.bytes + 1 + name.as_str().len());
            if depth > PATH_DEPTH_MAX || bytes > PATH_BYTES_MAX {
                return Err(Refusal::BadRequest(format!(
                    "in {to} {name} would lie {depth} deep under a path of {bytes} bytes: at most {PATH_DEPTH_MAX} and \
                     {PATH_BYTES_MAX} are possible"
                )));
            }
            if let Node::Folder(below) = node {
                visits.push(Visit { folder: below.id, after: None, depth, bytes });
            }
        }
        if let Some((last, _)) = page.last().filter(|_| page.len() == PAGE) {
            visits.push(Visit { after: Some(last.clone()), ..visit });
        }
    }
    Ok(())
}
