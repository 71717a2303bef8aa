//! Tests of `client/telemetry`.

use super::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

async fn ask(address: SocketAddr, method: &str, path: &str, body: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn health_readiness_metrics_and_log_level_are_served() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (readiness, shutdown) = (Readiness::new(), CancellationToken::new());
    readiness.set("config", false);
    let log = init_logging(LogFormat::Json, "info");
    let served = tokio::spawn(serve(listener, Registry::new(), readiness.clone(), log, shutdown.clone()));

    assert!(ask(address, "GET", "/healthz", "").await.starts_with("HTTP/1.1 200"));
    let unready = ask(address, "GET", "/readyz", "").await;
    assert!(unready.starts_with("HTTP/1.1 503") && unready.contains("not ready: config"), "{unready}");
    readiness.set("config", true);
    assert!(ask(address, "GET", "/readyz", "").await.starts_with("HTTP/1.1 200"));
    let metrics = ask(address, "GET", "/metrics", "").await;
    assert!(metrics.contains("penstock_build_info{") && metrics.contains("process_open_fds"), "{metrics}");
    assert!(metrics.contains("version=0.0.4"));
    assert!(
        ask(address, "PUT", "/log-level", "warn,penstock_control=debug").await.starts_with("HTTP/1.1 200")
    );
    assert!(ask(address, "PUT", "/log-level", "a=b=c").await.starts_with("HTTP/1.1 400"));
    assert!(ask(address, "GET", "/log-level", "").await.contains("warn,penstock_control=debug"));

    shutdown.cancel();
    served.await.unwrap();
}
