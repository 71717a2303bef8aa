//! The proof that access logs lose nothing and double nothing, whatever dies meanwhile.
//!
//! A [`boxes::LogCluster`] is etcd, controls, an S3 server, a shield and edges, each a process that can be killed and started again as it
//! was, with a [`valve::Valve`] in every way between them that logs take. A [`troupe`] of scripted [`viewer`]s writes down what it saw
//! ([`witness`]); a [`storm`] kills boxes and cuts links by a seed; in the end [`pickup`] waits until nothing is on its way any more and reads
//! every file of every bucket, and [`check`] says what is missing, doubled or out of order.
//!
//! What must be in the files: an event whose effect a viewer saw (the answer to `connect`, `Play.Start`, `Pause.Notify`, ...), once. One whose
//! answer was cut off may be there, once at most. One that was refused must not. Whatever began must end: as many `stop` as `play`, as many
//! `disconnect` as `connect`, for each id; whatever died.
//!
//! So an event counts once its answer came, with edges as they are by default: an answer waits for its event half a second (`logs.spool.wait_ms`)
//! and then goes without it, which the edge counts, and says in its log before it does ([`late`]). An edge that never said so has every event it
//! answered, however it was killed. From such a line until that process is killed, and in no other case, an event that was answered is let off
//! ([`witness::Connection::excuse`]): it may be there, once at most. How many were, a run says.

pub mod boxes;
pub mod check;
pub mod gate;
pub mod late;
pub mod moto;
pub mod pickup;
pub mod storm;
pub mod troupe;
pub mod valve;
pub mod viewer;
pub mod witness;

/// Milliseconds since 1970 by this machine's clock.
pub fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}
