//! `penstock-control`: the control service, and the operator's calls to it.
//!
//! In reading order: the command line, the service (flags → config → store → ports → run → drain), then the calls.

mod cli;
mod reload;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use http::StatusCode;
use penstock_control::api::{ApiError, Verify, auth};
use penstock_control::client::telemetry::{self, Readiness};
use penstock_control::client::tls::peers::{self, TlsMetrics};
use penstock_control::door::{self, Door};
use penstock_control::settings::Settings;
use penstock_control::{Control, ControlConfig, DeclaredSet, console, declare};
use prometheus::Registry;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use cli::{Command, Options};
use reload::Reload;

/// Long-lived documents and short-lived messages share the heap: glibc's fragments under it. Its threads give back what lies unused for
/// ten seconds, however quiet the process is.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let options = Options::parse();
    let result =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("threads").and_then(
            |runtime| {
                let result = runtime.block_on(run(&options));
                // A file that hangs (a dead network mount) must not keep a process that is done.
                runtime.shutdown_timeout(Duration::from_secs(1));
                result
            },
        );
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("penstock-control: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: &Options) -> Result<()> {
    let config = options.config.as_deref();
    match &options.command {
        _ if options.check_config => check(config),
        None | Some(Command::Serve) => serve(config).await,
        Some(Command::Sign(sign)) => cli::sign::run(sign),
        Some(command) => cli::call(options, command).await,
    }
}

fn check(config: Option<&Path>) -> Result<()> {
    let settings = Settings::load(config)?;
    settings.master()?;
    settings.load_tls()?;
    settings.sealer()?;
    settings.logs.open(&Registry::new()).map_err(anyhow::Error::msg)?;
    if let Some(file) = &settings.distributions_file {
        let set = DeclaredSet::read(file).context("distributions_file")?;
        set.check(&settings.zone).with_context(|| format!("distributions_file {}", file.display()))?;
    }
    door::check(&settings.api.door()).context("api.tls")?;
    println!("the configuration is valid");
    Ok(())
}

async fn serve(config: Option<&Path>) -> Result<()> {
    let settings = Settings::load(config)?;
    let master = settings.master()?;
    let tls = settings.load_tls()?;
    let sealer = settings.sealer()?;
    let log = telemetry::init_logging(settings.log.format, &settings.log.filter);
    let store = settings.open_store().await.context("store")?;
    let registry = Registry::new();
    let logs = settings.logs.open(&registry).map_err(anyhow::Error::msg)?;
    let replica = ControlConfig { tls: tls.clone(), logs, ..settings.control(sealer.clone()) };
    let tls_metrics = TlsMetrics::new(&registry, "control").context("metrics")?;
    let merger =
        replica.logs.as_ref().map(|logs| logs.merger(store.clone(), proto::clock::system(), &registry));
    let merger = merger.transpose().context("metrics")?;
    let control = Control::new(store, replica, &registry)?;
    let context = control.context(settings.api(), proto::clock::system(), sealer.clone(), &master);
    let console = console::open(&context, control.reports(), settings.console.clone()).context("console")?;
    let door =
        Door::new(context.clone(), verify(&context), console, settings.api.door()).context("api.tls")?;

    let listener =
        TcpListener::bind(settings.listen).await.with_context(|| format!("listen {}", settings.listen))?;
    let metrics =
        TcpListener::bind(settings.metrics).await.with_context(|| format!("metrics {}", settings.metrics))?;
    let api = TcpListener::bind(settings.api.listen)
        .await
        .with_context(|| format!("api.listen {}", settings.api.listen))?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        listen = %listener.local_addr()?,
        api = %api.local_addr()?,
        metrics = %metrics.local_addr()?,
        "control starts"
    );
    if !sealer.has_key() {
        tracing::warn!(
            "there is no key for secrets (secrets.key_file or secrets.key): access keys can't be made here, and those that \
             exist verify nothing"
        );
    }

    let shutdown = CancellationToken::new();
    let (readiness, again, hangup) = (Readiness::new(), Arc::new(Notify::new()), Arc::new(Notify::new()));
    readiness.set("store read", false);
    tokio::spawn(signals(shutdown.clone(), vec![again.clone(), hangup.clone()], readiness.clone())?);
    tokio::spawn(telemetry::serve(metrics, registry, readiness.clone(), log.clone(), shutdown.clone()));
    let reload =
        Reload { file: config.map(Path::to_owned), settings: settings.clone(), log, door: door.clone() };
    tokio::spawn(reload.run(hangup, shutdown.clone()));
    tokio::spawn(peers::follow(tls, tls_metrics, shutdown.clone()));
    tokio::spawn({
        let control = control.clone();
        async move {
            control.loaded().await;
            readiness.set("store read", true);
        }
    });
    if let Some(file) = settings.distributions_file.clone() {
        let (control, shutdown) = (control.clone(), shutdown.clone());
        tokio::spawn(async move { declare::watch::follow(&control, &file, &again, &shutdown, || ()).await });
    }
    let doors = tokio::spawn({
        let shutdown = shutdown.clone();
        async move { door.serve(api, shutdown).await }
    });
    let merging = tokio::spawn({
        let shutdown = shutdown.clone();
        async move {
            if let Some(merger) = merger {
                merger.run(shutdown).await;
            }
        }
    });
    let served = control.serve(listener, &master, shutdown.clone()).await;
    // Without gRPC there is no point in an API; with a stop, its requests under way are finished.
    shutdown.cancel();
    doors.await?;
    // Files under way get their time; whoever merges next goes on with the rest.
    merging.await?;
    served?;
    tracing::info!("control stopped");
    Ok(())
}

/// Who asks. Without a key for secrets nobody can be known, and whoever asks is told so.
fn verify(context: &penstock_control::api::Context) -> Verify {
    match auth::verify_by(context) {
        Ok(verify) => Arc::new(verify),
        Err(error) => Arc::new(move |_, _| {
            let status = StatusCode::SERVICE_UNAVAILABLE;
            Err(ApiError::new(status, "ServiceUnavailable", error.to_string()))
        }),
    }
}

/// SIGTERM and SIGINT stop the service: it takes no more calls and ends subscriptions, whose nodes go to another replica. SIGHUP wakes those in `again`.
fn signals(
    stop: CancellationToken,
    again: Vec<Arc<Notify>>,
    readiness: Readiness,
) -> Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hangup.recv() => again.iter().for_each(|one| one.notify_one()),
            }
        }
        tracing::info!("stopping");
        readiness.set("serving", false);
        stop.cancel();
    })
}
