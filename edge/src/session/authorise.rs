//! May this viewer play this name now? Asked before anything is looked up, so that a refusal tells nothing of the object.
//!
//! A distribution without trusted signers is open to all. One with them takes a stream name only with a signature in its query, made by a key of
//! one of those accounts: over a *canned* policy (`Expires`, and the name itself) or a *custom* one (`Policy`), which may also hold a first
//! moment, a network of addresses and wildcards. The parts:
//!
//! * [`signature`]: the parameters of the query, and the RSA check;
//! * [`policy`]: what a policy says, and whether time and address fit;
//! * [`resource`]: the names a policy may call an object by, and wildcards.
//!
//! ```text
//! play, play2, playlist item, switch, seek, getStreamLength
//!   └─▶ the distribution as it is NOW ── gone or disabled ─▶ refused
//!         └─▶ parameters ─▶ key of a trusted account ─▶ signature ─▶ policy ─▶ time, address
//! ```
//!
//! What passes gets a [`Pass`]: which keys of the bucket its policy covers (no other is opened under this name), and what was proven. A seek
//! looks only at the time, the address, and whether the key is still trusted; a pause or its end looks at nothing. A running play is
//! never interrupted. A key that this edge doesn't know, or a signer it hasn't heard of, is a refusal like any other.
//!
//! Resources are stream names, as CloudFront defines them for RTMP: the object's key, without `mp4:` and the like, with or without its
//! extension. A policy over a URL (`rtmp://…`, `http://…`, `cfx/st/…`) covers no stream name, so what was signed for HTTP is worth nothing
//! here. An IPv4 network never covers an IPv6 viewer, except `0.0.0.0/0`, which tools write for "anybody".

use std::net::IpAddr;
use std::sync::Arc;

use ::control::client::Catalogue;
use bytes::Bytes;
use proto::object::OriginId;
use proto::v1::Distribution;
use tracing::info;

use super::Session;
use super::names::StreamName;
use crate::rtmp::control;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
pub(crate) mod policy;
pub(crate) mod resource;
pub(crate) mod signature;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod signer;

use policy::{Conditions, Policy};
use signature::{Parameters, Terms, is_signed_by};

/// Why a name may not be played. The viewer hears the same of all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Denial {
    #[error("the distribution is disabled or gone")]
    Withdrawn,
    #[error("the name is not signed")]
    Unsigned,
    #[error("the signature can't be read: {0}")]
    Malformed(&'static str),
    #[error("the key is none of a trusted signer")]
    UnknownKey,
    #[error("the signature is wrong")]
    Signature,
    #[error("the policy can't be taken: {0}")]
    Policy(&'static str),
    #[error("the policy covers another resource")]
    Resource,
    #[error("the signature has expired")]
    Expired,
    #[error("the signature is not valid yet")]
    Early,
    #[error("the policy doesn't cover the viewer's address")]
    Address,
    #[error("this address has had too many signatures checked")]
    Limited,
}

impl Denial {
    /// Its label in metrics.
    pub(crate) fn outcome(self) -> &'static str {
        match self {
            Self::Withdrawn => "withdrawn",
            Self::Unsigned => "unsigned",
            Self::Malformed(_) => "malformed",
            Self::UnknownKey => "unknown_key",
            Self::Signature => "signature",
            Self::Policy(_) => "policy",
            Self::Resource => "resource",
            Self::Expired => "expired",
            Self::Early => "early",
            Self::Address => "address",
            Self::Limited => "limited",
        }
    }
}

/// What a signed name has proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pass {
    /// The keys of the bucket that may be opened, in the order in which they are tried.
    pub(super) keys: Vec<String>,
    conditions: Conditions,
    key_pair_id: String,
    /// RSAPublicKey, DER: what the signature was checked with.
    public_key: Bytes,
}

/// A name that may be played, and from where.
pub(super) struct Granted {
    pub(super) name: Arc<StreamName>,
    pub(super) origin: OriginId,
}

/// Who asks, and when.
pub(crate) struct Viewer {
    pub(crate) address: IpAddr,
    /// Milliseconds since 1970.
    pub(crate) now_ms: u64,
}

/// The public key that `document`'s trusted signers have under this id.
fn trusted_key<'a>(
    catalogue: &'a Catalogue,
    document: &Distribution,
    key_pair_id: &str,
) -> Option<&'a Bytes> {
    let signers =
        document.trusted_signers.iter().filter_map(|account| catalogue.access.signers.get(account.as_str()));
    signers
        .flat_map(|signer| &signer.keys)
        .find(|key| key.key_pair_id == key_pair_id)
        .map(|key| &key.public_key)
}

/// What `name` proves at `document`. `may_check` is asked before each RSA check.
pub(crate) fn examine(
    catalogue: &Catalogue,
    document: &Distribution,
    name: &StreamName,
    viewer: &Viewer,
    mut may_check: impl FnMut() -> bool,
) -> Result<Pass, Denial> {
    // What was proven before stays so while the key is trusted.
    let known = name.pass().filter(|pass| {
        trusted_key(catalogue, document, &pass.key_pair_id).is_some_and(|key| *key == pass.public_key)
    });
    let pass = match known {
        Some(pass) => pass.clone(),
        None => {
            let parameters = Parameters::parse(name.query.as_deref().unwrap_or_default())?;
            let public_key =
                trusted_key(catalogue, document, &parameters.key_pair_id).ok_or(Denial::UnknownKey)?;
            let (keys, conditions) = prove(&parameters, name, public_key, &mut may_check)?;
            Pass { keys, conditions, key_pair_id: parameters.key_pair_id, public_key: public_key.clone() }
        }
    };
    pass.conditions.check(viewer)?;
    Ok(pass)
}

/// Checks the signature; gives the keys it covers, and on which conditions.
fn prove(
    parameters: &Parameters,
    name: &StreamName,
    public_key: &[u8],
    may_check: &mut impl FnMut() -> bool,
) -> Result<(Vec<String>, Conditions), Denial> {
    let mut is_signed = |message: &[u8]| match may_check() {
        true => Ok(is_signed_by(public_key, message, &parameters.signature)),
        false => Err(Denial::Limited),
    };
    let candidates = resource::candidates(name, parameters.own_query.as_deref());
    match &parameters.terms {
        Terms::Until { seconds, text } => {
            for resource in resource::distinct(&candidates) {
                for message in policy::canned(resource, text) {
                    if is_signed(&message)? {
                        let covered = candidates
                            .iter()
                            .filter(|candidate| candidate.names.iter().any(|n| n == resource));
                        let keys = covered.map(|candidate| candidate.key.clone()).collect();
                        return Ok((keys, Conditions::until(*seconds)));
                    }
                }
            }
            // With no key there is nothing to play either.
            Err(Denial::Signature)
        }
        Terms::Policy(bytes) => {
            // Nobody's JSON is read before it is known to be a trusted signer's.
            if !is_signed(bytes)? {
                return Err(Denial::Signature);
            }
            let Policy { resource, conditions } = Policy::parse(bytes)?;
            let own = parameters.own_query.as_deref();
            let covers = |name: &String| {
                resource.as_deref().is_none_or(|pattern| resource::covers(pattern, name, own))
            };
            let covered = candidates.iter().filter(|candidate| candidate.names.iter().any(covers));
            let keys: Vec<String> = covered.map(|candidate| candidate.key.clone()).collect();
            if keys.is_empty() {
                return Err(Denial::Resource);
            }
            Ok((keys, conditions))
        }
    }
}

impl Session {
    /// Whether `name` may be played now: see the [module](self).
    pub(super) fn authorise(&self, name: &Arc<StreamName>) -> Result<Granted, Denial> {
        let connection = self.connection().ok_or(Denial::Withdrawn)?;
        let catalogue = self.shared.catalogue.borrow().clone();
        let document =
            catalogue.distributions.get(&connection.distribution.id).filter(|document| document.enabled);
        let document = document.ok_or(Denial::Withdrawn)?;
        let origin = OriginId::from_wire(&document.origin_id);
        if document.trusted_signers.is_empty() {
            return Ok(Granted { name: name.clone(), origin });
        }
        let viewer = Viewer { address: self.peer.ip().to_canonical(), now_ms: self.shared.clock.now_ms() };
        let may_check = || self.shared.signature_checks.allow(viewer.address);
        let outcome = examine(&catalogue, document, name, &viewer, may_check);
        let label = outcome.as_ref().map_or_else(|denial| denial.outcome(), |_| "allowed");
        self.shared.metrics.authorisations.with_label_values(&[label]).inc();
        let pass = outcome?;
        if name.pass() == Some(&pass) {
            return Ok(Granted { name: name.clone(), origin });
        }
        Ok(Granted { name: Arc::new(StreamName::clone(name).passed(pass)), origin })
    }

    /// Tells the viewer that a name may not be played: JW Player has a case for this code, and none for NetStream.Play.Failed.
    pub(super) fn deny(&mut self, stream_id: u32, name: &StreamName, denial: Denial) {
        const CODE: &str = "NetStream.Failed";
        let display = name.display.clone();
        info!(session = self.id, peer = %self.peer, stream = stream_id, name = name.display, reason = denial.to_string(), "play denied");
        self.shared.metrics.play_errors.with_label_values(&[CODE]).inc();
        let text = format!("Failed to play {display} (stream ID: {stream_id}).");
        self.status(stream_id, "error", CODE, &text, &display);
    }

    /// Whether the stream may go to another place of what it plays; if not, that was the end of it.
    pub(super) fn may_seek(&mut self, stream_id: u32, name: &Arc<StreamName>) -> bool {
        let denial = match self.authorise(name) {
            Ok(_) => return true,
            Err(denial) => denial,
        };
        self.deny(stream_id, name, denial);
        self.stop_stream(stream_id);
        control::stream_eof(stream_id, &mut self.out.batch);
        false
    }
}

#[cfg(test)]
mod tests;
