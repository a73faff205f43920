//! The wire's own limits: fixed parts of the protocol, equal for every server. PROTOCOL.md repeats them.
//!
//! What an operator may change is in `server::Limits`.

/// Longest header, trailer or answer line, in bytes, with its newline.
pub const HEADER_BYTES_MAX: usize = 16 * 1024;

/// Longest message in an error, in bytes, so that every answer fits its line.
pub const MESSAGE_BYTES_MAX: usize = 1024;

/// Longest id of a mutation, in bytes.
pub const ID_BYTES_MAX: usize = 64;

/// Longest line that gives a chunk's length, in bytes: the digits of a `u64` and some room.
pub const CHUNK_LINE_BYTES_MAX: usize = 32;

/// Largest chunk, in bytes.
pub const CHUNK_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Largest piece in which a body is handed on, in bytes.
pub const PIECE_BYTES_MAX: usize = 256 * 1024;

/// What one read of a body may bring: the kernel copies it in one go, and whoever wants the processor waits for that.
pub const BODY_READ_BYTES_MAX: usize = 64 * 1024;

/// What one read of lines may bring, in bytes: the longest line and a small body behind it.
pub const READ_BYTES: usize = 32 * 1024;
