//! What a request to a tunnel must be before anything is done with it.
//!
//! A tunnel's requests cross proxies and balancers, which may see other boundaries between requests than we do if lengths are given twice,
//! in two ways, or not at all. The connection's parser refuses what contradicts itself; what it would still accept and a player never
//! sends is refused here, before the body is read. Equal headers given twice are what Flash Player does, and taken.

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use hyper::{Method, Request, Version};

use super::reply::Refusal;
use crate::budget::Charge;

/// Bodies from this size on are refused while memory is short; players' own are smaller.
const LARGE_BYTES: usize = 4 << 10;

/// The length of the body of a request that may be served.
pub(super) fn check<B>(request: &Request<B>, most_bytes: usize) -> Result<usize, Refusal> {
    if request.version() != Version::HTTP_11 || request.headers().contains_key(TRANSFER_ENCODING) {
        return Err(Refusal::Request);
    }
    if *request.method() != Method::POST {
        return Err(Refusal::Method);
    }
    let mut lengths = request.headers().get_all(CONTENT_LENGTH).iter();
    let length = lengths.next().ok_or(Refusal::Length)?;
    if lengths.any(|other| other != length) {
        return Err(Refusal::Request);
    }
    let length: u64 = length.to_str().ok().and_then(|text| text.parse().ok()).ok_or(Refusal::Request)?;
    if length > most_bytes as u64 { Err(Refusal::Body) } else { Ok(length as usize) }
}

/// The body, which is `length` bytes long: without a copy if it has come in one piece. What is gathered of it is charged to `charge` as it
/// comes, and room for a large one is asked for while it does (`has_room`).
pub(super) async fn body(
    mut body: Incoming,
    length: usize,
    charge: &mut Charge,
    has_room: impl Fn() -> bool,
) -> Result<Bytes, Refusal> {
    let mut gathered = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Refusal::Request)?.into_data() else { continue };
        if gathered.is_empty() && (data.len() == length || body.is_end_stream()) {
            return Ok(data);
        }
        if gathered.len() + data.len() > LARGE_BYTES && !has_room() {
            return Err(Refusal::Memory);
        }
        // Room for what has come and as much again, not for what was promised: promises cost nothing.
        if gathered.capacity() - gathered.len() < data.len() {
            gathered.reserve(data.len().max(gathered.len()).min(length.saturating_sub(gathered.len())));
        }
        gathered.extend_from_slice(&data);
        charge.set_in_steps(gathered.capacity() as u64);
    }
    Ok(gathered.freeze())
}
