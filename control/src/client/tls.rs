//! Certificates as edges and control serve them: pairs of PEM files, loaded, looked at again, replaced while connections run.
//!
//! TLS 1.2 and 1.3 are spoken, with rustls's own choice of ciphers; older clients are refused with an alert. Clients that name a host
//! (SNI) are answered with that host's certificate where there is one, all others with the first.
//!
//! * [`certificates`]: the files of a listener, followed;
//! * [`peers`]: those that the boxes know each other by, followed;
//! * [`pair`]: one of them, and the choice between them;
//! * [`x509`]: what a certificate says, for people.

pub mod certificates;
pub mod pair;
pub mod peers;
pub mod x509;

pub use certificates::{CertificateError, Certificates, Look, Source};
