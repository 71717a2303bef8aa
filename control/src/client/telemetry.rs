//! What an operator sees of a process: logs with a level that changes at run time, health, readiness, metrics.
//!
//! [`serve`] answers on one port: `GET /healthz` (the process lives), `GET /readyz` (200, or 503 and the reasons),
//! `GET /metrics` (Prometheus text 0.0.4), and `GET`/`PUT /log-level` (the filter in force; a change is taken from
//! loopback only, since the port has no authentication).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus::{Encoder, IntGauge, Opts, Registry, TextEncoder};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, reload};

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

type Reload = dyn Fn(EnvFilter) -> Result<(), String> + Send + Sync;

/// Changes the log filter of the running process. Clones control the same filter.
#[derive(Clone)]
pub struct LogControl {
    reload: Arc<Reload>,
    filter: Arc<Mutex<String>>,
}

impl LogControl {
    /// The filter in force.
    pub fn filter(&self) -> String {
        self.filter.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts `filter` in force (such as `info,penstock_edge=debug`); on error the old one stays.
    pub fn set(&self, filter: &str) -> Result<(), String> {
        let parsed = EnvFilter::try_new(filter).map_err(|e| e.to_string())?;
        (self.reload)(parsed)?;
        *self.filter.lock().unwrap_or_else(PoisonError::into_inner) = filter.to_owned();
        Ok(())
    }
}

/// Starts logging to standard error. A filter that can't be parsed falls back to `info` with a log line. If the process
/// has a subscriber already (as tests may), that one stays and the control returned moves nothing visible.
pub fn init_logging(format: LogFormat, filter: &str) -> LogControl {
    let (parsed, problem) = match EnvFilter::try_new(filter) {
        Ok(parsed) => (parsed, None),
        Err(error) => (EnvFilter::new("info"), Some(error)),
    };
    let in_force = if problem.is_some() { "info" } else { filter };
    let (layer, handle) = reload::Layer::new(parsed);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match format {
        LogFormat::Text => lines.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    let _ = tracing_subscriber::registry().with(layer).with(lines).try_init();
    if let Some(error) = problem {
        tracing::warn!(%filter, %error, "the log filter can't be parsed; logging at info");
    }
    LogControl {
        reload: Arc::new(move |filter| handle.reload(filter).map_err(|e| e.to_string())),
        filter: Arc::new(Mutex::new(in_force.to_owned())),
    }
}

/// Named conditions for readiness: ready when all are met. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    conditions: Arc<Mutex<BTreeMap<&'static str, bool>>>,
}

impl Readiness {
    /// None yet: ready.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the condition `name`, adding it if new.
    pub fn set(&self, name: &'static str, met: bool) {
        let before = self.conditions.lock().unwrap_or_else(PoisonError::into_inner).insert(name, met);
        if before.is_some_and(|before| before != met) {
            tracing::info!(condition = name, met, "readiness");
        }
    }

    /// Names of the conditions not met, sorted.
    pub fn missing(&self) -> Vec<&'static str> {
        let conditions = self.conditions.lock().unwrap_or_else(PoisonError::into_inner);
        conditions.iter().filter(|(_, met)| !**met).map(|(name, _)| *name).collect()
    }

    /// Whether all are met.
    pub fn is_ready(&self) -> bool {
        self.missing().is_empty()
    }
}

/// Registers what every process shows: `penstock_build_info` and the process's own metrics. Does nothing the second
/// time (several services share one registry in standalone).
pub fn register_process(registry: &Registry) {
    let info = Opts::new("penstock_build_info", "Always 1; the labels describe the build")
        .const_label("version", env!("CARGO_PKG_VERSION"))
        .const_label("rust", env!("PENSTOCK_RUSTC_VERSION"))
        .const_label("profile", if cfg!(debug_assertions) { "debug" } else { "release" });
    if let Ok(gauge) = IntGauge::with_opts(info) {
        gauge.set(1);
        let _ = registry.register(Box::new(gauge));
    }
    #[cfg(target_os = "linux")]
    let _ = registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()));
}

struct Served {
    registry: Registry,
    readiness: Readiness,
    log: LogControl,
}

/// Serves health, readiness, metrics and the log level on `listener` until `shutdown`.
pub async fn serve(
    listener: TcpListener,
    registry: Registry,
    readiness: Readiness,
    log: LogControl,
    shutdown: CancellationToken,
) {
    register_process(&registry);
    let routes = Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/log-level", get(show_level).put(set_level))
        .layer(DefaultBodyLimit::max(4096))
        .with_state(Arc::new(Served { registry, readiness, log }));
    let service = routes.into_make_service_with_connect_info::<SocketAddr>();
    let server = axum::serve(listener, service).with_graceful_shutdown(shutdown.clone().cancelled_owned());
    let grace = async {
        shutdown.cancelled().await;
        tokio::time::sleep(Duration::from_secs(2)).await;
    };
    tokio::select! {
        result = server.into_future() => {
            if let Err(error) = result {
                tracing::error!(%error, "the metrics port stopped serving");
            }
        }
        () = grace => (),
    }
}

async fn ready(State(served): State<Arc<Served>>) -> Response {
    let missing = served.readiness.missing();
    if missing.is_empty() {
        return "ready\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {}\n", missing.join(", "))).into_response()
}

async fn metrics(State(served): State<Arc<Served>>) -> Response {
    let mut text = Vec::new();
    match TextEncoder::new().encode(&served.registry.gather(), &mut text) {
        Ok(()) => {
            ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

async fn show_level(State(served): State<Arc<Served>>) -> String {
    served.log.filter() + "\n"
}

async fn set_level(
    State(served): State<Arc<Served>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    filter: String,
) -> Response {
    if !peer.ip().to_canonical().is_loopback() {
        return (StatusCode::FORBIDDEN, "the log level is changed from the machine itself only\n")
            .into_response();
    }
    let filter = filter.trim();
    match served.log.set(filter) {
        Ok(()) => {
            tracing::info!(%filter, "log level changed");
            format!("{filter}\n").into_response()
        }
        Err(error) => {
            (StatusCode::BAD_REQUEST, format!("'{filter}' is no log filter: {error}\n")).into_response()
        }
    }
}

#[cfg(test)]
mod tests;
