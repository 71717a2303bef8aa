//! The load driver and the comparison with peers.
//!
//! `load` plays thousands of RTMP sessions from one thread, so that a server on one core meets a driver on one core that
//! isn't the slower of the two. [`driver`] is its loop: one epoll, one receive buffer for all, sessions in a table.
//! [`viewer`] is what a session knows: the commands it sent, what it waits for. [`chunk`] takes the byte stream apart
//! without keeping media: a message's payload is hashed as it goes by. [`hello`] is the handshake, RTMPE's keys included, and [`tunnel`] is RTMPT:
//! a viewer knows nothing of how its bytes travel. [`film`] knows the hashes a film's messages must have;
//! [`player`] is the playhead that makes a late message a stall. [`figures`] gathers what is reported.
//!
//! `compare` starts servers, pins them and the driver to a core each, and prints a table: see [`compare`].

pub mod amf;
pub mod chunk;
pub mod compare;
pub mod driver;
pub mod figures;
pub mod film;
pub mod flv;
pub mod hello;
pub mod options;
pub mod player;
pub mod proc;
pub mod tunnel;
pub mod viewer;
