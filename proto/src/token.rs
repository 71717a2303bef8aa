//! The node token: one shared secret that guards every gRPC port.
//!
//! It travels as `authorization: Bearer TOKEN`. A port without a token does not exist: servers are built with a
//! [`Guard`], clients with a [`Bearer`], and both refuse an empty secret.

use sha2::{Digest, Sha256};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::{Request, Status};

use crate::status::{Reason, RemoteError};

/// Why a token can't be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the node token must be 16 to 512 visible ASCII characters")]
pub struct BadToken;

fn check(token: &str) -> Result<(), BadToken> {
    let fits = (16..=512).contains(&token.len()) && token.bytes().all(|b| b.is_ascii_graphic());
    if fits { Ok(()) } else { Err(BadToken) }
}

/// Client side: adds the token to every call.
#[derive(Clone)]
pub struct Bearer(MetadataValue<Ascii>);

impl Bearer {
    /// Calls will carry `token`.
    pub fn new(token: &str) -> Result<Self, BadToken> {
        check(token)?;
        let mut value: MetadataValue<Ascii> = format!("Bearer {token}").parse().map_err(|_| BadToken)?;
        value.set_sensitive(true);
        Ok(Self(value))
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

/// Server side: refuses calls without the token.
#[derive(Clone)]
pub struct Guard([u8; 32]);

impl Guard {
    /// Lets calls with `token` through.
    pub fn new(token: &str) -> Result<Self, BadToken> {
        check(token)?;
        Ok(Self(Sha256::digest(format!("Bearer {token}")).into()))
    }
}

impl Interceptor for Guard {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let given = request.metadata().get("authorization").map_or(&b""[..], |v| v.as_bytes());
        let given: [u8; 32] = Sha256::digest(given).into();
        // Both sides are hashes of equal length, and every byte is compared: the time tells nothing of the secret.
        let differing = given.iter().zip(&self.0).fold(0u8, |acc, (a, b)| acc | (a ^ b));
        if std::hint::black_box(differing) == 0 {
            Ok(request)
        } else {
            Err(RemoteError::new(Reason::Unauthenticated, "the node token is missing or wrong").into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_token_passes() {
        let mut guard = Guard::new("0123456789abcdef").unwrap();
        let mut right = Bearer::new("0123456789abcdef").unwrap();
        let mut wrong = Bearer::new("0123456789abcdeF").unwrap();
        assert!(guard.call(right.call(Request::new(())).unwrap()).is_ok());
        assert!(guard.call(wrong.call(Request::new(())).unwrap()).is_err());
        assert!(guard.call(Request::new(())).is_err());
    }

    #[test]
    fn an_empty_or_short_token_is_refused_at_start() {
        assert!(Guard::new("").is_err());
        assert!(Bearer::new("short").is_err());
    }
}
