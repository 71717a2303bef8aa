//! The control API's port. For now it answers health only; the CloudFront API joins here.

use axum::Router;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use control::client::telemetry::Readiness;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Serves `/healthz` and `/readyz` on `listener` until `shutdown`.
pub async fn serve(
    listener: TcpListener,
    readiness: Readiness,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    let ready = move || {
        let readiness = readiness.clone();
        async move { answer(&readiness) }
    };
    let routes = Router::new().route("/healthz", get(async || "ok\n")).route("/readyz", get(ready));
    axum::serve(listener, routes).with_graceful_shutdown(shutdown.cancelled_owned()).await
}

fn answer(readiness: &Readiness) -> Response {
    match readiness.missing() {
        missing if missing.is_empty() => "ready\n".into_response(),
        missing => {
            (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {}\n", missing.join(", "))).into_response()
        }
    }
}
