//! Reaching the server: name, TCP, TLS.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

use super::report::{Narrator, Tcp, Tls};
use super::target::Target;
use super::{Args, Failure};
use crate::tls::x509;

/// A connection, whatever it is made of.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Opens connections to one server.
pub(super) struct Dialer {
    host: String,
    port: u16,
    timeout: Duration,
    tls: Option<(TlsConnector, ServerName<'static>, Arc<Checker>)>,
    verified: bool,
}

impl Dialer {
    pub(super) fn new(target: &Target, args: &Args) -> Result<Self, Failure> {
        let tls = if target.variant.tls { Some(connector(target, args)?) } else { None };
        Ok(Self {
            host: target.host.clone(),
            port: target.port,
            timeout: args.timeout(),
            tls,
            verified: !args.insecure,
        })
    }

    /// A connection; tells about it the first time.
    pub(super) async fn open(&self, told: &mut Narrator) -> Result<Box<dyn Stream>, Failure> {
        let began = Instant::now();
        let (host, port) = (self.host.as_str(), self.port);
        let failed = |what: String| Failure::Connect(what);
        let stream = match timeout(self.timeout, TcpStream::connect((host, port))).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(failed(format!("{host} port {port} can't be reached: {error}"))),
            Err(_) => {
                return Err(failed(format!("{host} port {port} doesn't answer within {:?}", self.timeout)));
            }
        };
        let _ = stream.set_nodelay(true);
        let first = told.report.tcp.is_none();
        if first {
            let address = stream.peer_addr().map(|address| address.to_string()).unwrap_or_default();
            let ms = began.elapsed().as_millis() as u64;
            told.say("tcp", format_args!("{address} in {ms} ms"));
            told.report.tcp = Some(Tcp { address, ms });
        }
        let Some((connector, name, checker)) = &self.tls else { return Ok(Box::new(stream)) };
        let began = Instant::now();
        let stream = match timeout(self.timeout, connector.connect(name.clone(), stream)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(failed(checker.explain(&error))),
            Err(_) => {
                return Err(failed(format!(
                    "no TLS handshake within {:?}: does this port speak TLS?",
                    self.timeout
                )));
            }
        };
        if first {
            let connection = stream.get_ref().1;
            let shown = connection.peer_certificates().and_then(|chain| chain.first());
            let said = shown.map(|der| x509::describe(der)).unwrap_or_default();
            let tls = Tls {
                version: connection.protocol_version().map(|v| format!("{v:?}")).unwrap_or_default(),
                cipher: connection
                    .negotiated_cipher_suite()
                    .map(|suite| format!("{:?}", suite.suite()))
                    .unwrap_or_default(),
                subject: said.subject,
                issuer: said.issuer,
                names: said.names,
                valid_until: said.not_after.map(x509::date),
                sha256: said.fingerprint,
                verified: self.verified,
                ms: began.elapsed().as_millis() as u64,
            };
            told.say("tls", format_args!("{} {} in {} ms", tls.version, tls.cipher, tls.ms));
            let checked = if tls.verified { "verified" } else { "NOT verified (--insecure)" };
            told.say("", format_args!("certificate {} for {}, {checked}", tls.subject, tls.names.join(", ")));
            told.say(
                "",
                format_args!(
                    "issued by {}, valid until {}",
                    tls.issuer,
                    tls.valid_until.as_deref().unwrap_or("?")
                ),
            );
            told.say("", format_args!("SHA-256 {}", tls.sha256));
            told.report.tls = Some(tls);
        }
        Ok(Box::new(stream))
    }
}

/// Where systems keep the certificates they trust, in one file.
const BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

type Connector = (TlsConnector, ServerName<'static>, Arc<Checker>);

fn connector(target: &Target, args: &Args) -> Result<Connector, Failure> {
    let provider = Arc::new(ring::default_provider());
    let inner = if args.insecure { None } else { Some(verifier(args, provider.clone())?) };
    let checker = Arc::new(Checker { inner, provider: provider.clone(), shown: Mutex::default() });
    let setup = |error: rustls::Error| Failure::Connect(format!("TLS can't be set up: {error}"));
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(setup)?
        .dangerous()
        .with_custom_certificate_verifier(checker.clone())
        .with_no_client_auth();
    let name = ServerName::try_from(target.host.clone())
        .map_err(|_| Failure::Usage(format!("'{}' can't be a name in a certificate", target.host)))?;
    Ok((TlsConnector::from(Arc::new(config)), name, checker))
}

/// Checks certificates against `--ca`, else against what the system trusts.
fn verifier(args: &Args, provider: Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>, Failure> {
    let named = args.ca.clone().or_else(|| std::env::var_os("SSL_CERT_FILE").map(Into::into));
    let file = named.or_else(|| BUNDLES.iter().map(std::path::PathBuf::from).find(|path| path.exists()));
    let Some(file) = file else {
        return Err(Failure::Usage(
            "no certificates to check the server's with: give --ca FILE, or --insecure".into(),
        ));
    };
    let unusable = |error: String| Failure::Usage(format!("{}: {error}", file.display()));
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(&file).map_err(|error| unusable(error.to_string()))? {
        let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
        // A bundle may hold what this library can't use; what is wrong with a single file shows in the check.
        let _ = roots.add(certificate);
    }
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|error| unusable(error.to_string()))
}

/// Checks the server's certificate, or doesn't, and remembers what was shown.
#[derive(Debug)]
struct Checker {
    inner: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
    shown: Mutex<Option<x509::Description>>,
}

impl Checker {
    /// A failed handshake in words that say what to do.
    fn explain(&self, error: &std::io::Error) -> String {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match shown {
            Some(shown) => format!(
                "the TLS handshake failed: {error}; the certificate shown is {} for {}, SHA-256 {} (--ca FILE to trust it, --insecure not to check)",
                shown.subject,
                shown.names.join(", "),
                shown.fingerprint
            ),
            None => format!("the TLS handshake failed: {error}"),
        }
    }
}

impl ServerCertVerifier for Checker {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(inner) = &self.inner else { return Ok(ServerCertVerified::assertion()) };
        let checked = inner.verify_server_cert(certificate, others, name, ocsp, now);
        if checked.is_err() {
            *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = Some(x509::describe(certificate));
        }
        checked
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
