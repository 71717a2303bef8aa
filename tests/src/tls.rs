//! A TLS client that takes any certificate and tells which it was shown, and a bridge that carries any RTMP client of the tests over it.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned, version};
use sha2::{Digest, Sha256};

use crate::splice;

#[derive(Debug)]
struct Any(Arc<CryptoProvider>);

impl ServerCertVerifier for Any {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// How a connection begins.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hello<'a> {
    /// The name asked for (SNI); `localhost` if empty.
    pub name: &'a str,
    /// TLS 1.2 instead of 1.3.
    pub tls12: bool,
}

/// A connection after its handshake.
pub struct Tls {
    stream: StreamOwned<ClientConnection, TcpStream>,
}

impl Tls {
    /// Connects to `addr` and shakes hands.
    pub fn connect(addr: &str, hello: Hello<'_>) -> Result<Self> {
        let socket = TcpStream::connect(addr).with_context(|| addr.to_owned())?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(Duration::from_secs(20)))?;
        let provider = Arc::new(ring::default_provider());
        let versions = if hello.tls12 { [&version::TLS12] } else { [&version::TLS13] };
        let config = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&versions)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Any(provider)))
            .with_no_client_auth();
        let name = if hello.name.is_empty() { "localhost" } else { hello.name };
        let tls = ClientConnection::new(Arc::new(config), ServerName::try_from(name.to_owned())?)?;
        let mut stream = StreamOwned::new(tls, socket);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Self { stream })
    }

    /// SHA-256 of the server's certificate, in hexadecimal with colons.
    pub fn fingerprint(&self) -> String {
        let shown = self.stream.conn.peer_certificates().and_then(|chain| chain.first());
        fingerprint(shown.map_or(&[], |der| der.as_ref()))
    }

    /// The socket, to write to it what is no TLS.
    pub fn socket(&mut self) -> &mut TcpStream {
        &mut self.stream.sock
    }
}

/// Opens a port of which every connection is carried to the edge at `addr` over TLS: what comes out there is what TLS carried, and nothing else.
/// Gives its `IP:PORT`.
pub fn bridge(addr: &str) -> String {
    let addr = addr.to_owned();
    splice::accept(move |client| {
        let _ = carry(&client, &addr);
        let _ = client.shutdown(Shutdown::Both);
    })
}

/// What either end has to say in turns, on one thread: a TLS connection has one state for both ways.
fn carry(mut client: &TcpStream, addr: &str) -> Result<()> {
    let mut edge = Tls::connect(addr, Hello::default())?;
    client.set_nodelay(true)?;
    for socket in [client, edge.socket()] {
        socket.set_read_timeout(Some(Duration::from_millis(1)))?;
    }
    let mut buffer = vec![0; 64 << 10];
    loop {
        match client.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(n) => edge.write_all(&buffer[..n])?,
            Err(e) if is_early(&e) => {}
            Err(e) => return Err(e.into()),
        }
        match edge.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(n) => client.write_all(&buffer[..n])?,
            Err(e) if is_early(&e) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

fn is_early(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

/// SHA-256 of a certificate in DER, in hexadecimal with colons.
pub fn fingerprint(der: &[u8]) -> String {
    Sha256::digest(der).iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
}

impl Read for Tls {
    /// 0 means that the server said goodbye; a connection that just ends is an `UnexpectedEof`.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer)
    }
}

impl Write for Tls {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}
