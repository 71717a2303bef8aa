//! An edge without certificates, and one whose certificates are wrong.

// A test's helpers may panic, and its client runs on real sockets in real time.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use control::client::Catalogue;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use penstock_edge::config::EdgeConfig;
use penstock_edge::config::tls::TlsConfig;
use penstock_edge::object::{RangeSource, ReadError};
use penstock_edge::{Edge, EdgeError};
use prometheus::Registry;
use proto::object::{ObjectInfo, ObjectKey, ObjectVersion};
use proto::range::ByteRange;
use proto::v1::Priority;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Nothing is ever asked of it.
struct Nothing;

impl RangeSource for Nothing {
    fn stat(&self, _: &ObjectKey, _: Option<Arc<str>>) -> BoxFuture<'static, Result<ObjectInfo, ReadError>> {
        Box::pin(std::future::pending())
    }

    fn read(
        &self,
        _: &ObjectVersion,
        _: u64,
        _: ByteRange,
        _: Priority,
    ) -> BoxStream<'static, Result<(u64, Bytes), ReadError>> {
        futures::stream::empty().boxed()
    }
}

fn edge(config: EdgeConfig, registry: &Registry) -> Result<Edge, EdgeError> {
    let (_, catalogue) = watch::channel(Arc::new(Catalogue::empty()));
    Edge::new(config, Arc::new(Nothing), catalogue, registry)
}

#[tokio::test]
async fn without_a_certificate_tls_is_refused_and_counted() {
    let registry = Registry::new();
    let edge = edge(EdgeConfig::default(), &registry).unwrap();
    let refused = edge.shared().metrics.refused.with_label_values(&["tls_not_configured"]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let serving = tokio::spawn(edge.serve(vec![listener], shutdown.clone()));
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(b"\x16").await.unwrap();
    let closed = tokio::time::timeout(Duration::from_secs(20), stream.read(&mut [0; 16])).await.unwrap();
    assert!(!matches!(closed, Ok(1..)), "{closed:?}");
    assert_eq!(refused.get(), 1);
    shutdown.cancel();
    serving.await.unwrap();
}

#[tokio::test]
async fn an_edge_with_certificates_it_can_t_use_does_not_start() {
    let tls = TlsConfig {
        certificate_file: Some("nowhere.crt".into()),
        key_file: Some("nowhere.key".into()),
        ..Default::default()
    };
    let refused = edge(EdgeConfig { tls, ..Default::default() }, &Registry::new()).err().unwrap();
    assert!(refused.to_string().contains("edge.tls: nowhere.crt"), "{refused}");
}
