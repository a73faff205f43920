//! `rm`: removes a file or a folder.

use tokio::io::{AsyncRead, AsyncWrite};

use crate::accounts::Right;
use crate::mirror::refusal::Refusal;
use crate::server::connection::Close;
use crate::server::place;
use crate::server::session::{Session, recurse, request_id, said};
use crate::wire::RemoveRequest;

pub(crate) async fn perform<S>(session: &mut Session<S>, request: RemoveRequest) -> Result<(), Close>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Session { connection, mirror, .. } = session;
    let guest = connection.guest();
    let begun =
        place::tree(guest, mirror, &request.path).and_then(|path| request_id(guest, request.id).map(|id| (path, id)));
    let outcome = match begun {
        Ok((path, id)) => {
            let mut lost = None;
            // A large folder takes long: who loses his rights meanwhile removes no more of it.
            let may_go_on = || {
                lost = guest.check_all(Right::Write, &path).err();
                lost.is_none()
            };
            let removed = mirror.remove_while(&path, recurse(request.recursive), id, may_go_on).await;
            match (removed, lost) {
                (Err(refusal @ Refusal::BrokenOff(_)), Some(mut fault)) => {
                    fault.message = format!("{}; {refusal}", fault.message);
                    Err(fault)
                }
                (removed, _) => said(removed),
            }
        }
        Err(fault) => Err(fault),
    };
    session.settle(outcome).await
}
