//! SIGHUP: the configuration is read again, and what can change while the service runs does: the log's filter, the front door, the limits of the
//! API. Certificates are looked at again too, and the declarative file is applied by whoever follows it.
//!
//! A configuration that can't be read or is wrong changes nothing; the log says what is wrong with it.

use std::path::PathBuf;
use std::sync::Arc;

use penstock_control::client::telemetry::LogControl;
use penstock_control::door::Door;
use penstock_control::settings::Settings;
use penstock_control::settings::api::ApiSettings;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// What a reload works on.
pub(crate) struct Reload {
    /// The configuration file; `None`: all is in the environment, which doesn't change.
    pub(crate) file: Option<PathBuf>,
    /// What is in force.
    pub(crate) settings: Settings,
    pub(crate) log: LogControl,
    pub(crate) door: Door,
}

impl Reload {
    /// Reloads whenever `hangup` says so, until `shutdown`.
    pub(crate) async fn run(mut self, hangup: Arc<Notify>, shutdown: CancellationToken) {
        loop {
            tokio::select! {
                () = hangup.notified() => self.reload(),
                () = shutdown.cancelled() => return,
            }
        }
    }

    fn reload(&mut self) {
        self.door.look_again();
        let settings = match Settings::load(self.file.as_deref()) {
            Ok(settings) => settings,
            Err(error) => {
                tracing::error!(%error, "the configuration was not reloaded; the one in force stays");
                return;
            }
        };
        if settings.log.filter != self.settings.log.filter
            && let Err(error) = self.log.set(&settings.log.filter)
        {
            tracing::error!(filter = settings.log.filter, %error, "log.filter can't be used; the one in force stays");
        }
        self.door.reconfigure(settings.api.door(), settings.api());
        if self.settings.needs_restart(&settings) {
            tracing::warn!(
                "the configuration was reloaded, but parts of what changed are in force after a restart only"
            );
        } else {
            tracing::info!("the configuration was reloaded");
        }
        // What needs a restart goes on being compared with what the process was started with.
        let known = &self.settings.api;
        let api = ApiSettings {
            listen: known.listen,
            clock_window_seconds: known.clock_window_seconds,
            regions: known.regions.clone(),
            ..settings.api
        };
        (self.settings.api, self.settings.log) = (api, settings.log);
    }
}
