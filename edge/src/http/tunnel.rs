//! RTMP through HTTP (RTMPT): for players behind proxies that let nothing else out.
//!
//! The player posts what it has to say and is answered with what there is to hear ([`path`] has the requests). HTTP's requests and RTMP's
//! bytes meet in one place:
//!
//! ```text
//! connection ─▶ path ─▶ request ─▶ registry ─▶ Line ◀─ Tunnel ◀─ session
//!  (http.rs)            (checks)   (by id)     conversation: order, replay, polling byte (sans-I/O)
//! ```
//!
//! [`Line`] and `Tunnel` are the two ends of one tunnelled viewer, in [`crate::transport::tunnel`]. RTMPTE comes through here as well: its
//! cipher is inside, around the transport ([`crate::transport::encrypted`]).
//!
//! * Players ignore the polling byte, so an idle request that finds nothing *waits* until there is something, up to `idle_ms`; a send is
//!   answered when the session has acted on it.
//! * A session is pulled: what it has to send is taken only when a request waits, so a tunnel holds no queue of its own, only the last
//!   answer, in case it is asked for again.
//! * Nothing ties a session to a connection or an address. Behind a balancer that spreads requests, another edge answers 404 to a session
//!   it doesn't know; `public_address` is told to players that ask by `ident2`, and keeps them here.
//!
//! What is refused gets a status, a sentence, and the end of its connection; the session it named, if any, goes on.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue};
use hyper::{Request, StatusCode};
use tokio::time::{Duration, Instant, timeout};

use super::answer::{self, Answer};
use crate::budget::Charge;
use crate::transport::tunnel::{Line, Told};

pub(crate) mod conversation;
pub(crate) mod flight;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod guesses;
mod ladder;
pub(crate) mod path;
pub(crate) mod registry;
pub(crate) mod reply;
mod request;

use path::{Call, Id, Kind};
pub use registry::Tunnels;
use reply::Refusal;

/// Most bytes of a body that says nothing and needs no session (`ident2`, `open`); players send one.
const FORM_BYTES: usize = 1 << 10;

impl Tunnels {
    /// Serves one request of a tunnel that `viewer` sent; `used` is given the session it is of.
    pub(super) async fn serve(
        self: &Arc<Self>,
        call: Call,
        request: Request<Incoming>,
        viewer: SocketAddr,
        used: impl Fn(&Arc<Line>),
    ) -> Answer {
        let counter = match call {
            Call::Ident => Some(&self.requests.ident),
            Call::Open => Some(&self.requests.open),
            Call::Exchange(Kind::Send, ..) => Some(&self.requests.send),
            Call::Exchange(Kind::Idle, ..) => Some(&self.requests.idle),
            Call::Close(_) => Some(&self.requests.close),
            Call::Malformed => None,
        };
        if let Some(counter) = counter {
            counter.inc();
        }
        match self.answer(call, request, viewer, used).await {
            Ok(answer) => answer,
            Err(refusal) => {
                self.shared.metrics.refused.with_label_values(&[refusal.parts().1]).inc();
                tracing::debug!(%viewer, ?refusal, "a request of a tunnel is refused");
                answer::refusal(refusal)
            }
        }
    }

    async fn answer(
        self: &Arc<Self>,
        call: Call,
        request: Request<Incoming>,
        viewer: SocketAddr,
        used: impl Fn(&Arc<Line>),
    ) -> Result<Answer, Refusal> {
        let most_bytes = match call {
            Call::Exchange(..) | Call::Close(_) => self.config().body_bytes,
            Call::Ident | Call::Open | Call::Malformed => FORM_BYTES.min(self.config().body_bytes),
        };
        let length = request::check(&request, most_bytes)?;
        // Whose session it is comes before the body: a stranger's is not read.
        let line = match call {
            Call::Malformed => return Err(Refusal::Request),
            Call::Ident | Call::Open => None,
            Call::Exchange(_, id, _) | Call::Close(id) => Some(self.known(id, viewer)?),
        };
        // A body that comes slowly must not look like a player that is gone.
        line.iter().for_each(|line| line.touch());
        let mut charge = Charge::new(&self.shared.budget().queues, 0);
        let patience = Duration::from_millis(self.shared.config.handshake_timeout_ms);
        let has_room = || self.shared.admit_connection().is_ok();
        let body = request::body(request.into_body(), length, &mut charge, has_room);
        let body = timeout(patience, body).await.map_err(|_| Refusal::Slow)??;
        match (call, line) {
            (Call::Open, _) => {
                let line = self.open(viewer)?;
                used(&line);
                let mut body = BytesMut::with_capacity(path::ID_LEN + 1);
                body.put_slice(line.id());
                body.put_u8(b'\n');
                Ok(answer::bytes(body))
            }
            (Call::Exchange(kind, _, number), Some(line)) => {
                used(&line);
                let told = line.exchange(number, kind, &body).await;
                if matches!(told, Told::Byte(0)) {
                    self.forget(&line);
                }
                match told {
                    Told::Byte(byte) => Ok(answer::polling_byte(byte)),
                    Told::Data(flight) => Ok(answer::data(flight)),
                    Told::Refused(refusal) => Err(refusal),
                }
            }
            (Call::Close(_), Some(line)) => {
                line.hang_up();
                self.forget(&line);
                Ok(answer::polling_byte(0))
            }
            _ => Ok(self.ident()),
        }
    }

    fn known(&self, id: Option<Id>, viewer: SocketAddr) -> Result<Arc<Line>, Refusal> {
        let found = id.and_then(|id| self.find(&id));
        found.ok_or_else(|| self.unknown(viewer.ip().to_canonical(), Instant::now()))
    }

    /// Where to send everything from now on. (Some players take nothing but a 404 for "to where you are".)
    fn ident(&self) -> Answer {
        let mut answer = match &self.config().public_address {
            Some(address) => answer::plain(StatusCode::OK, "text/plain", address.clone()),
            None => answer::plain(StatusCode::NOT_FOUND, "text/plain", "not found\n"),
        };
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("Keep-Alive"));
        answer
    }
}
