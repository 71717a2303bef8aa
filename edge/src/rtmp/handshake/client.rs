//! The client's half of the handshake, sans-I/O: for `probe` and for tests.
//!
//! Send what [`ClientHandshake::hello`] gives; feed what comes back to [`ClientHandshake::advance`] until it gives a
//! [`Greeting`]; send its C2. From there on both directions are chunks, encrypted with the greeting's keys if it has any: what is
//! left in the buffer too.
//!
//! ```
//! # use bytes::BytesMut;
//! # use penstock_edge::rtmp::handshake::client::{ClientHandshake, Variant};
//! # fn exchange(_sent: &[u8]) -> BytesMut { BytesMut::new() }
//! let mut handshake = ClientHandshake::new(Variant::Encrypted, &mut rand::rng());
//! let mut input = exchange(&handshake.hello());
//! while let Some(greeting) = handshake.advance(&mut input)? {
//!     exchange(&greeting.c2);
//!     if let Some(keys) = &greeting.keys {
//!         let (mut send, mut receive) = keys.ciphers();
//!         receive.apply(&mut input);
//!         // From here on: send.apply() what is sent, receive.apply() what is read.
//! #       send.apply(&mut []);
//!     }
//!     break;
//! }
//! # Ok::<(), penstock_edge::rtmp::handshake::client::ClientError>(())
//! ```
//!
//! A server that isn't what it should be is an error: this client is there to find that out.

use bytes::{Buf, Bytes, BytesMut};
use rand::RngCore;

use super::cipher::SessionKeys;
use super::dh::{self, KEY_BYTES, Key, PrivateKey};
use super::digest::{self, PLAYER_KEY, SERVER_KEY};
use super::{ENCRYPTED, PACKET_BYTES, PLAIN, Packet, Scheme, packet};

/// S0, S1 and S2.
const ANSWER_BYTES: usize = 1 + 2 * PACKET_BYTES;

/// Which handshake a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// Version 0 and echoes, as GStreamer's rtmp2src does it.
    Simple,
    /// With digests, as Flash and ffmpeg do it. The server may answer with the simple one.
    Signed,
    /// RTMPE.
    Encrypted,
}

/// What is wrong with a server's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// S0 is another type than C0.
    #[error("the server answered with type {0}, not {1}")]
    Type(u8, u8),
    /// S1 has a version, but no digest in either scheme.
    #[error("the server's packet has no valid digest")]
    Digest,
    /// S2 is not the answer to C1.
    #[error("the server did not acknowledge our packet")]
    Acknowledgement,
    /// The server's public key is out of range.
    #[error("the server's public key is not valid")]
    PublicKey,
}

/// How a handshake went.
#[derive(Clone, Debug)]
pub struct Greeting {
    /// To be sent: 1536 bytes, never encrypted.
    pub c2: Bytes,
    /// What the server calls itself; all zero in a simple handshake.
    pub server_version: [u8; 4],
    /// The scheme of the server's digest; none in a simple handshake.
    pub scheme: Option<Scheme>,
    /// The keys for all that follows C2 and S2, in an encrypted one.
    pub keys: Option<SessionKeys>,
}

/// A client's side of one handshake.
pub struct ClientHandshake {
    variant: Variant,
    c1: Box<Packet>,
    /// Random filling for C2.
    c2: Box<Packet>,
    digest: digest::Digested,
    private: PrivateKey,
    public: Key,
}

impl ClientHandshake {
    /// A handshake of that variant: scheme 1 if it is encrypted, scheme 0 otherwise, as librtmp does it. `random` must be fit for
    /// keys if it is encrypted. Computes a public key then, for some hundred microseconds.
    pub fn new(variant: Variant, random: &mut impl RngCore) -> Self {
        let scheme = if variant == Variant::Encrypted { Scheme::One } else { Scheme::Zero };
        Self::with_scheme(variant, scheme, random)
    }

    /// The same in that scheme.
    pub fn with_scheme(variant: Variant, scheme: Scheme, random: &mut impl RngCore) -> Self {
        let (mut c1, mut c2) = (Box::new([0; PACKET_BYTES]), Box::new([0; PACKET_BYTES]));
        random.fill_bytes(&mut *c1);
        random.fill_bytes(&mut *c2);
        let mut private = [0; 32];
        let mut public = [0; KEY_BYTES];
        c1[..8].fill(0);
        if variant != Variant::Simple {
            // A Flash Player 10 that does not ask for a scrambled signature: Flash's own mark for that is 128.
            c1[4..8].copy_from_slice(&[10, 0, 45, 2]);
        }
        if variant == Variant::Encrypted {
            random.fill_bytes(&mut private);
            public = dh::public_key(&private);
            let at = scheme.key_at(&c1);
            c1[at..at + KEY_BYTES].copy_from_slice(&public);
        }
        let mut digest = [0; digest::DIGEST_BYTES];
        if variant != Variant::Simple {
            digest::sign(&mut c1, PLAYER_KEY, scheme);
            let at = scheme.digest_at(&c1);
            digest.copy_from_slice(&c1[at..at + digest::DIGEST_BYTES]);
        }
        Self { variant, c1, c2, digest, private, public }
    }

    fn type_byte(&self) -> u8 {
        if self.variant == Variant::Encrypted { ENCRYPTED } else { PLAIN }
    }

    /// C0 and C1: 1537 bytes.
    pub fn hello(&self) -> Bytes {
        let mut hello = BytesMut::with_capacity(1 + PACKET_BYTES);
        hello.extend_from_slice(&[self.type_byte()]);
        hello.extend_from_slice(&*self.c1);
        hello.freeze()
    }

    /// Takes S0, S1 and S2 from the front of `input` and says how it went; `None` while they are not all there.
    pub fn advance(&mut self, input: &mut BytesMut) -> Result<Option<Greeting>, ClientError> {
        let asked = self.type_byte();
        if let Some(&answered) = input.first()
            && answered != asked
        {
            return Err(ClientError::Type(answered, asked));
        }
        let (Some(s1), Some(s2)) =
            (input.get(1..).and_then(packet), input.get(1 + PACKET_BYTES..).and_then(packet))
        else {
            return Ok(None);
        };
        let greeting = self.judge(s1, s2)?;
        input.advance(ANSWER_BYTES);
        Ok(Some(greeting))
    }

    fn judge(&self, s1: &Packet, s2: &Packet) -> Result<Greeting, ClientError> {
        let mut server_version = [0; 4];
        server_version.copy_from_slice(&s1[4..8]);
        let simple =
            self.variant == Variant::Simple || self.variant == Variant::Signed && server_version == [0; 4];
        if simple {
            // Some servers write a time into their echo.
            if s2[8..] != self.c1[8..] {
                return Err(ClientError::Acknowledgement);
            }
            let c2 = Bytes::copy_from_slice(s1);
            return Ok(Greeting { c2, server_version, scheme: None, keys: None });
        }
        let (scheme, digest) =
            digest::find(s1, SERVER_KEY, [Scheme::One, Scheme::Zero]).ok_or(ClientError::Digest)?;
        if !digest::is_acknowledged(s2, SERVER_KEY, &self.digest) {
            return Err(ClientError::Acknowledgement);
        }
        let keys = if self.variant == Variant::Encrypted { Some(self.keys(s1, scheme)?) } else { None };
        let mut c2 = *self.c2;
        digest::acknowledge(&mut c2, PLAYER_KEY, &digest);
        Ok(Greeting { c2: Bytes::copy_from_slice(&c2), server_version, scheme: Some(scheme), keys })
    }

    fn keys(&self, s1: &Packet, scheme: Scheme) -> Result<SessionKeys, ClientError> {
        let at = scheme.key_at(s1);
        let mut peer = [0; KEY_BYTES];
        peer.copy_from_slice(&s1[at..at + KEY_BYTES]);
        if !dh::is_valid(&peer) {
            return Err(ClientError::PublicKey);
        }
        let secret = dh::shared_secret(&self.private, &peer);
        Ok(SessionKeys::derive(&secret, &self.public, &peer))
    }
}

/// Says nothing of the private key.
impl std::fmt::Debug for ClientHandshake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientHandshake").field("variant", &self.variant).finish_non_exhaustive()
    }
}
