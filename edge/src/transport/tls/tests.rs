//! TLS as a transport, against a rustls client over a real socket.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::{TlsConnector, client};

use super::*;
use crate::config::tls::TlsConfig;
use crate::tls::{Certificates, accept, self_signed};

type Client = client::TlsStream<TcpStream>;

const LONG: Duration = Duration::from_secs(20);

/// A server's end of a connection, and the other one, which has sent `first`.
async fn pair(first: &[u8]) -> (Tls, Client, Arc<Account>) {
    let folder = tempfile::tempdir().unwrap();
    let made = self_signed::make(vec!["localhost".into()]).unwrap();
    let [certificate, key] = ["c", "k"].map(|name| folder.path().join(name));
    std::fs::write(&certificate, &made.certificate_pem).unwrap();
    std::fs::write(&key, &made.key_pem).unwrap();
    let config = TlsConfig { certificate_file: Some(certificate), key_file: Some(key), ..Default::default() };
    let certificates = Certificates::load(&config).unwrap().unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(made.certificate_pem.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connect = async {
        let stream = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let mut client = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
        client.write_all(first).await.unwrap();
        client
    };
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut early = BytesMut::new();
        stream.read_buf(&mut early).await.unwrap();
        accept::greet(&certificates, stream, early).await.unwrap()
    };
    let (client, (stream, early)) = tokio::join!(connect, serve);
    let account = Arc::new(Account::default());
    (Tls::new(stream, early, &account), client, account)
}

async fn read(tls: &mut Tls, want: usize) -> Vec<u8> {
    let mut buffer = BytesMut::new();
    let reading = async {
        while buffer.len() < want {
            tls.readable().await.unwrap();
            match tls.try_read(&mut buffer) {
                Ok(0) => break,
                Err(error) => assert!(would_block(&error), "{error}"),
                Ok(_) => {}
            }
        }
    };
    timeout(LONG, reading).await.unwrap();
    buffer.to_vec()
}

#[tokio::test]
async fn all_that_is_sent_arrives_both_ways() {
    let sent: Vec<u8> = (0..100_000u32).flat_map(u32::to_be_bytes).collect();
    let (mut tls, mut client, _) = pair(&sent[..10_000]).await;
    assert!(read(&mut tls, 10_000).await == sent[..10_000]);
    let mut batch = Batch::new();
    for piece in sent.chunks(7777) {
        batch.push_raw(&piece[..100]);
        batch.push_bytes(bytes::Bytes::copy_from_slice(&piece[100..]));
    }
    let write = async {
        while !batch.is_empty() {
            tls.writable().await.unwrap();
            match tls.try_write(&mut batch) {
                Ok(taken) => assert!((1..=BUFFER_BYTES).contains(&taken)),
                Err(error) => assert!(would_block(&error), "{error}"),
            }
        }
        tls.close().await;
    };
    let mut got = Vec::new();
    // The end is a clean one, or reading to it fails.
    let (_, end) = tokio::join!(write, timeout(LONG, client.read_to_end(&mut got)));
    end.unwrap().unwrap();
    assert!(got == sent);
    client.shutdown().await.unwrap();
    assert!(read(&mut tls, 1).await.is_empty());
}

#[tokio::test]
async fn a_peer_that_takes_nothing_costs_one_buffer_and_later_gets_all_of_it() {
    let (mut tls, mut client, account) = pair(b"x").await;
    assert_eq!(read(&mut tls, 1).await, b"x");
    let mut batch = Batch::new();
    batch.push_bytes(vec![7; 64 << 20].into());
    let mut written = 0;
    // The kernel's buffers fill; what they hold no more of stays with the session.
    let full = loop {
        match tls.try_write(&mut batch) {
            Ok(taken) => written += taken,
            Err(error) if would_block(&error) => {
                let waiting = timeout(Duration::from_millis(300), tls.writable()).await;
                if waiting.is_err() {
                    break error;
                }
            }
            Err(error) => panic!("{error}"),
        }
    };
    assert!(would_block(&full) && tls.tls.wants_write());
    assert!((1..=BUFFER_BYTES as u64).contains(&account.bytes()), "{}", account.bytes());
    assert_eq!(batch.len_bytes() + written, 64 << 20);
    // The session has nothing more to send and waits for its viewer only: the buffer leaves all the same.
    batch.clear();
    let mut got = vec![0; written];
    let idle = async {
        let mut buffer = BytesMut::new();
        loop {
            tls.readable().await.unwrap();
            let error = tls.try_read(&mut buffer).unwrap_err();
            assert!(would_block(&error), "{error}");
        }
    };
    tokio::select! {
        () = idle => {}
        read = timeout(LONG, client.read_exact(&mut got)) => { read.unwrap().unwrap(); }
    }
    assert_eq!(account.bytes(), 0);
}

#[tokio::test]
async fn a_peer_that_just_goes_has_closed() {
    let (mut tls, client, _) = pair(b"abc").await;
    drop(client.into_inner());
    assert_eq!(read(&mut tls, 4).await, b"abc");
    tls.close().await;
}

#[tokio::test]
async fn records_that_are_none_end_the_connection_with_an_alert() {
    let (mut tls, client, _) = pair(b"abc").await;
    let (mut stream, mut client) = client.into_inner();
    stream.write_all(b"\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00").await.unwrap();
    assert_eq!(read(&mut tls, 3).await, b"abc");
    let mut buffer = BytesMut::new();
    let error = loop {
        tls.readable().await.unwrap();
        match tls.try_read(&mut buffer) {
            Err(error) if would_block(&error) => {}
            other => break other.unwrap_err(),
        }
    };
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    tls.close().await;
    let mut answer = std::io::Cursor::new(Vec::new());
    stream.read_to_end(answer.get_mut()).await.unwrap();
    let mut alert = None;
    while client.read_tls(&mut answer).unwrap() > 0 {
        if let Err(error) = client.process_new_packets() {
            alert = Some(error);
        }
    }
    assert!(matches!(alert, Some(rustls::Error::AlertReceived(_))), "{alert:?}");
}
