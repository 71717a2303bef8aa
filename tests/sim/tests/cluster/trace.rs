//! What happened: a line an event, with simulated time, host and fields. Two runs of a seed must not differ in one byte of it.
//!
//! The product's own log lines are part of it, so whatever changes its behaviour shows. Sessions' connect and disconnect lines are kept
//! apart too: the verdict counts them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

/// What sessions logged of themselves.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sessions {
    pub(crate) connects: u32,
    pub(crate) disconnects: u32,
}

#[derive(Default)]
struct Told {
    lines: Vec<String>,
    sessions: BTreeMap<Session, Sessions>,
    /// How often each edge was started.
    lives: BTreeMap<String, u32>,
}

/// An edge, which of its lives, and the session's id.
pub(crate) type Session = (String, u32, String);

/// The record of one run. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Trace {
    told: Arc<Mutex<Told>>,
    /// Microseconds; for what happens between the steps of hosts.
    now: Arc<AtomicU64>,
    echo: bool,
}

impl Trace {
    /// An empty record; `echo` prints lines as they come.
    pub(crate) fn new(echo: bool) -> Self {
        Self { echo, ..Self::default() }
    }

    /// Takes what this thread logs while the guard lives.
    pub(crate) fn listen(&self, level: Level) -> tracing::subscriber::DefaultGuard {
        let filter = tracing_subscriber::filter::Targets::new()
            .with_target("sim", Level::INFO)
            .with_target("penstock_edge", level)
            .with_target("penstock_shield", level)
            .with_target("penstock_control", level)
            // Its span carries the host's name.
            .with_target("turmoil::sim", Level::INFO);
        let subscriber = tracing_subscriber::registry().with(self.clone().with_filter(filter));
        tracing::subscriber::set_default(subscriber)
    }

    /// The simulation has come to this time.
    pub(crate) fn set_now(&self, now: Duration) {
        self.now.store(now.as_micros() as u64, Ordering::Relaxed);
    }

    /// How many lines, and their hash.
    pub(crate) fn hash(&self) -> (usize, String) {
        let told = self.told.lock().unwrap();
        let mut hash = Sha256::new();
        for line in &told.lines {
            hash.update(line);
            hash.update("\n");
        }
        (told.lines.len(), hex::encode(hash.finalize()))
    }

    /// All lines.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.told.lock().unwrap().lines.clone()
    }

    /// What sessions logged, by edge and session.
    pub(crate) fn sessions(&self) -> BTreeMap<Session, Sessions> {
        self.told.lock().unwrap().sessions.clone()
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    rest: String,
    session: String,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.rest, " {name}={value:?}"),
        };
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message.push_str(value),
            name => {
                if name == "session" {
                    self.session = value.to_owned();
                }
                let _ = write!(self.rest, " {name}={value}");
            }
        }
    }
}

thread_local! {
    /// The host whose span is entered.
    static HOST: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// A host's name, kept with its span.
struct Host(String);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Trace {
    fn on_new_span(&self, attributes: &tracing::span::Attributes<'_>, id: &tracing::Id, cx: Context<'_, S>) {
        #[derive(Default)]
        struct Name(String);
        impl Visit for Name {
            fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}

            fn record_str(&mut self, field: &Field, value: &str) {
                if field.name() == "name" {
                    self.0 = value.to_owned();
                }
            }
        }
        let mut name = Name::default();
        attributes.record(&mut name);
        if let Some(span) = cx.span(id) {
            span.extensions_mut().insert(Host(name.0));
        }
    }

    fn on_enter(&self, id: &tracing::Id, cx: Context<'_, S>) {
        let name = cx.span(id).and_then(|s| s.extensions().get::<Host>().map(|h| h.0.clone()));
        HOST.with_borrow_mut(|hosts| hosts.push(name.unwrap_or_default()));
    }

    fn on_exit(&self, _: &tracing::Id, _: Context<'_, S>) {
        HOST.with_borrow_mut(|hosts| hosts.pop());
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let now = turmoil::sim_elapsed().unwrap_or(Duration::from_micros(self.now.load(Ordering::Relaxed)));
        let host = HOST.with_borrow(|hosts| hosts.last().cloned()).unwrap_or_else(|| "world".into());
        let mut fields = Fields::default();
        event.record(&mut fields);
        let target = event.metadata().target().trim_start_matches("penstock_");
        let level = event.metadata().level();
        let line = format!(
            "{:>10.3} {host:<10} {level:<5} {target}: {}{}",
            now.as_secs_f64() * 1000.0,
            fields.message,
            fields.rest
        );
        if self.echo {
            println!("{line}");
        }
        let mut told = self.told.lock().unwrap();
        if fields.message == "the edge serves" {
            *told.lives.entry(host.clone()).or_default() += 1;
        }
        if target.starts_with("edge") && !fields.session.is_empty() {
            let counts = match fields.message.as_str() {
                "connect" => (1, 0),
                "disconnect" => (0, 1),
                _ => (0, 0),
            };
            if counts != (0, 0) {
                let life = told.lives.get(&host).copied().unwrap_or_default();
                let session = told.sessions.entry((host, life, fields.session)).or_default();
                session.connects += counts.0;
                session.disconnects += counts.1;
            }
        }
        told.lines.push(line);
    }
}
