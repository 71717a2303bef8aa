//! TLS on viewers' connections: RTMPS and RTMPTS.
//!
//! A connection that begins with `0x16` is greeted ([`accept`]): the handshake is done with the certificates of the day ([`Certificates`]), and
//! what is inside is told apart by its first bytes just as outside. From there on RTMP goes through [`crate::transport::tls`], HTTP
//! through the same stream that took the handshake.
//!
//! TLS 1.2 and 1.3 are spoken, with rustls's own choice of ciphers; older clients are refused with an alert. Clients that name a host
//! (SNI) are answered with that host's certificate where there is one, all others with the first.
//!
//! * [`certificates`]: the files in the edge's config, through what edges and control share ([`control::client::tls`]);
//! * [`self_signed`]: one to begin with.

pub mod accept;
pub mod certificates;
pub mod self_signed;

pub use control::client::tls::x509;

pub use certificates::{CertificateError, Certificates};
