//! Bodies of requests: read whole, within bounds, before anything is done with them.
//!
//! A signature is over the whole body, so a body is held until it is verified; all that are held at a time share one budget, of which one address
//! gets a quarter at most: who sends slowly keeps others from nothing. A body whose length
//! says that it is too long is refused before a byte of it is read: a client that waits for `100 Continue` never sends it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http_body_util::BodyExt;
use hyper::body::Body;
use prometheus::IntGauge;
use tokio::time::timeout;

use super::ApiError;
use super::render::{too_large, unavailable};

/// Of this many shares of the budget one address gets one.
const SHARES: i64 = 4;

/// Bytes held of all bodies.
#[derive(Debug)]
pub(crate) struct Bodies {
    held: IntGauge,
    /// The same by address; only those that have a body on its way.
    by_address: Arc<Mutex<HashMap<IpAddr, i64>>>,
}

/// A body, and its share of what is held.
#[derive(Debug)]
pub(crate) struct Held {
    /// The whole of it.
    pub(crate) bytes: Bytes,
    _charge: Charge,
}

#[derive(Debug)]
struct Charge {
    bytes: i64,
    held: IntGauge,
    address: IpAddr,
    by_address: Arc<Mutex<HashMap<IpAddr, i64>>>,
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.held.sub(self.bytes);
        let mut by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut share) = by_address.entry(self.address) {
            *share.get_mut() -= self.bytes;
            if *share.get() <= 0 {
                share.remove();
            }
        }
    }
}

impl Charge {
    fn add(&mut self, bytes: usize, most: usize) -> Result<(), ApiError> {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let mut by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let share = by_address.entry(self.address).or_default();
        if *share + bytes > most / SHARES || self.held.get().saturating_add(bytes) > most {
            return Err(unavailable("too many requests are being read; try again"));
        }
        *share += bytes;
        self.held.add(bytes);
        self.bytes += bytes;
        Ok(())
    }
}

impl Bodies {
    /// None yet; `held` tells how many bytes are.
    pub(crate) fn new(held: IntGauge) -> Self {
        Self { held, by_address: Arc::default() }
    }

    /// Reads `body`, which may have `limit` bytes while all together have `most` (those from `address` a quarter of it), within `patience`.
    ///
    /// # Errors
    /// 413, 503, 408, or 400 when the client breaks off.
    pub(crate) async fn read<B>(
        &self,
        body: B,
        limit: usize,
        most: usize,
        patience: Duration,
        address: IpAddr,
    ) -> Result<Held, ApiError>
    where
        B: Body<Data = Bytes>,
        B::Error: std::fmt::Display,
    {
        let told = body.size_hint();
        let limit_bytes = u64::try_from(limit).unwrap_or(u64::MAX);
        if told.lower() > limit_bytes || told.upper().is_some_and(|upper| upper > limit_bytes) {
            return Err(too_large(limit));
        }
        let by_address = self.by_address.clone();
        let mut charge = Charge { bytes: 0, held: self.held.clone(), address, by_address };
        let reading = async {
            let mut body = pin!(body);
            let mut whole = BytesMut::new();
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|error| {
                    ApiError::bad_request("IncompleteBody", format!("the body broke off: {error}"))
                })?;
                // Trailers say nothing here.
                let Ok(data) = frame.into_data() else { continue };
                if whole.len() + data.len() > limit {
                    return Err(too_large(limit));
                }
                charge.add(data.len(), most)?;
                whole.extend_from_slice(&data);
            }
            Ok(whole.freeze())
        };
        match timeout(patience, reading).await {
            Ok(bytes) => Ok(Held { bytes: bytes?, _charge: charge }),
            Err(_) => Err(ApiError::new(
                StatusCode::REQUEST_TIMEOUT,
                "RequestTimeout",
                format!("the body did not come within {} seconds", patience.as_secs()),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use http_body_util::{Full, StreamBody};
    use hyper::body::Frame;

    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const PATIENCE: Duration = Duration::from_secs(60);

    fn bodies() -> Bodies {
        Bodies::new(IntGauge::new("held", "held").unwrap())
    }

    fn chunks(count: usize) -> impl Body<Data = Bytes, Error = std::io::Error> {
        StreamBody::new(stream::iter((0..count).map(|_| Ok(Frame::data(Bytes::from_static(&[b'x'; 10]))))))
    }

    #[tokio::test]
    async fn a_body_is_read_up_to_its_limit_however_it_is_framed() {
        let bodies = bodies();
        let whole = bodies.read(Full::new(Bytes::from(vec![1; 20])), 20, 100, PATIENCE, HERE).await.unwrap();
        assert_eq!((whole.bytes.len(), bodies.held.get()), (20, 20));
        drop(whole);
        let whole = bodies.read(chunks(2), 20, 100, PATIENCE, HERE).await.unwrap();
        assert_eq!(whole.bytes.len(), 20);
        drop(whole);
        let refused =
            bodies.read(Full::new(Bytes::from(vec![1; 21])), 20, 100, PATIENCE, HERE).await.unwrap_err();
        assert_eq!((refused.status.as_u16(), bodies.held.get()), (413, 0));
        let refused = bodies.read(chunks(1_000_000), 20, 100, PATIENCE, HERE).await.unwrap_err();
        assert_eq!((refused.status.as_u16(), bodies.held.get()), (413, 0));
    }

    #[tokio::test]
    async fn all_bodies_share_a_budget_of_which_an_address_gets_a_quarter() {
        let bodies = bodies();
        let from = |n: u8| IpAddr::from([192, 0, 2, n]);
        let mut held = Vec::new();
        for n in 1..=4 {
            held.push(bodies.read(chunks(5), 100, 200, PATIENCE, from(n)).await.unwrap());
            // The address has its share, whoever else has none yet.
            let refused = bodies.read(chunks(1), 100, 200, PATIENCE, from(n)).await.unwrap_err();
            assert_eq!((refused.status.as_u16(), refused.code), (503, "ServiceUnavailable"));
        }
        assert_eq!(bodies.held.get(), 200);
        assert!(bodies.read(chunks(1), 100, 200, PATIENCE, from(5)).await.is_err(), "all of it is held");
        drop(held);
        assert_eq!((bodies.held.get(), bodies.by_address.lock().unwrap().len()), (0, 0));
        assert!(bodies.read(chunks(5), 100, 200, PATIENCE, from(1)).await.is_ok());
    }

    #[tokio::test]
    async fn a_body_that_does_not_come_is_not_waited_for() {
        let silent = StreamBody::new(stream::pending::<Result<Frame<Bytes>, std::io::Error>>());
        let refused = bodies().read(silent, 100, 100, Duration::from_millis(20), HERE).await.unwrap_err();
        assert_eq!((refused.status.as_u16(), refused.code), (408, "RequestTimeout"));
        let broken = StreamBody::new(stream::iter([Err(std::io::Error::other("gone"))]));
        let refused = bodies().read(broken, 100, 100, PATIENCE, HERE).await.unwrap_err();
        assert_eq!((refused.status.as_u16(), refused.code), (400, "IncompleteBody"));
    }
}
