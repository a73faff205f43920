//! The wire: lines of JSON and raw bodies over any byte stream, shared by server and client.
//!
//! PROTOCOL.md describes it for people. Nothing here knows the journal, the mirror or a drive:
//! it turns bytes into typed requests and answers, and back, within limits.

mod answer;
mod audit;
mod body;
mod document;
mod error;
mod framed;
pub mod limits;
mod line;
mod op;
mod patience;
mod request;
mod spare;
mod text;
mod time;

pub use answer::{
    AccountAnswer, AccountLine, AsideLine, BodyAnswer, CopyState, DownloadAnswer, DropAnswer, EditAnswer, EjectAnswer,
    EmptiedAnswer, EntryLine, HelloAnswer, InfoAnswer, InfoCopy, Kind, MutationAnswer, ScrubAnswer, ScrubOrdered,
    ShareLine, SharedWith, TokenLine, Trailer, TrashLine, UndoAnswer, UsageAnswer, UsageNote, VerifiedLine,
    VerifyAnswer, VerifyFinding, Why, line_of, lines_of, read_answer,
};
pub use audit::{AuditLine, Counts, LogLine, LogRequest, Missing, MissingLines, OK, Totals, TotalsDocument};
pub use body::{BodyLength, BodyReader};
pub use document::{
    Backlog, DiskDocument, DriveDocument, EditingDocument, ErrorCounts, EventDocument, ForeignDocument,
    ForeignItemDocument, HealthState, HostDocument, JournalDocument, NoticeDocument, OUTPUT_VERSION, ReplayDocument,
    ScanDocument, ScrubDocument, SearchDocument, StatusDocument, TrashDocument, UnavailableDocument, WaitingDocument,
};
pub use error::{AnswerError, ErrorName, Fault};
pub use framed::{FrameError, Framed};
pub use line::{Priority, RequestLine, Secret, VERSION};
pub use op::Op;
pub use patience::{Metered, Moved, Pace};
pub use request::{
    AppendRequest, CommitRequest, DropRequest, EditRequest, EjectRequest, GetRequest, HelloRequest, LeaseRequest,
    ListRequest, LoginRequest, MakeFolderRequest, MoveRequest, PasswdRequest, PutCondition, PutRequest, RemoveRequest,
    Request, RequestError, ScrubAction, ShareRequest, StatusRequest, UndoRequest, VerifyRequest,
};
pub use time::{BadTime, Time};
