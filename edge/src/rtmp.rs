//! RTMP, sans-I/O: bytes in, messages out, and back.
//!
//! Nothing in here owns a socket, a clock or a task, so every byte the edge says can be tested without one. A connection is
//! read in this order:
//!
//! 1. [`handshake`] answers C0 and C1 and leaves what follows C2 in the buffer. For RTMPE it gives out the key exchange as work to be done
//!    elsewhere, and then the keys; encrypting is the transport's affair.
//! 2. [`chunk::ChunkReader`] assembles chunks into [`Message`]s, within explicit caps.
//! 3. [`command`] turns command messages into a name, a transaction and [`amf::Value`]s; [`control`] reads control messages.
//! 4. [`reply`] and [`control`] say what is answered; [`chunk::ChunkWriter`] lays messages out in a [`chunk::Batch`] of
//!    header bytes and shared payload slices, ready for vectored writes.
//!
//! Everything read comes from strangers. Parsers fail with an error or skip, never panic, never allocate by a claimed
//! length, and never recurse deeper than a limit.

pub mod aggregate;
pub mod amf;
mod amf3;
pub mod chunk;
pub mod command;
pub mod control;
pub mod handshake;
pub mod message;
pub mod reply;

pub use message::Message;
