//! The loop: one thread, one epoll, one receive buffer, sessions in a table.
//!
//! Sockets are edge-triggered. A socket is read until a read comes back short; one that keeps filling the buffer waits its turn, so that
//! a fast session doesn't starve the rest. A session that completes its film is replaced at once (or not, with `--once`); one
//! that fails is counted by reason and not replaced, so that a server that refuses isn't stormed.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::figures::{Figures, Server};
use crate::film::Film;
use crate::hello::Hello;
use crate::options::{Options, Verify};
use crate::tunnel::Tunnel;
use crate::viewer::{End, Shared, Stage, Viewer};
use crate::{flv, proc};

/// Full buffers read from one socket before others get their turn.
const TURN_READS: usize = 4;
/// How often patience is looked at, in µs.
const SWEEP_US: u64 = 250_000;

/// A viewer, its socket and what is between them.
struct Session {
    socket: TcpStream,
    viewer: Viewer,
    tunnel: Option<Box<Tunnel>>,
    /// What the socket hasn't taken yet.
    wire: Vec<u8>,
    connected: bool,
}

/// Something that happens so many times a second.
struct Rate {
    every_us: f64,
    next_us: f64,
}

impl Rate {
    fn new(per_s: f64, from_us: u64) -> Self {
        let every_us = if per_s > 0.0 { 1e6 / per_s } else { f64::INFINITY };
        Self { every_us, next_us: from_us as f64 + every_us }
    }

    fn is_due(&mut self, now_us: u64) -> bool {
        let due = self.next_us <= now_us as f64;
        if due {
            self.next_us += self.every_us;
        }
        due
    }
}

/// The measured window.
struct Window {
    from_us: u64,
    until_us: u64,
    opened: Option<Opening>,
}

/// What the clocks and counters said when the measured window opened.
struct Opening {
    bytes: u64,
    requests: u64,
    driver_cpu_s: f64,
    servers_cpu_s: Vec<f64>,
}

struct Driver<'a> {
    shared: Shared<'a>,
    poll: Poll,
    clock: Instant,
    rng: StdRng,
    sessions: Vec<Option<Session>>,
    live: usize,
    begun: usize,
    /// Sockets that had more than their turn's worth.
    again: Vec<usize>,
    unpauses: VecDeque<(u64, usize, u64)>,
    /// When tunnels must ask again: time, place.
    alarms: BinaryHeap<Reverse<(u64, usize)>>,
    buffer: Vec<u8>,
}

/// Runs as told and reports.
pub fn run(options: &Options) -> Result<Figures> {
    ensure!(options.viewers > 0, "--viewers must be at least 1");
    ensure!(
        options.films.is_empty() || options.films.len() == options.names.len(),
        "one --film for each --name"
    );
    let descriptors = proc::raise_descriptors();
    ensure!(
        (options.viewers as u64) + 64 < descriptors,
        "{} viewers need more than the {descriptors} descriptors this process may open",
        options.viewers
    );
    let mut films: Vec<Film> = options.names.iter().map(|_| Film::default()).collect();
    if options.verify != Verify::None || options.random_start {
        for (film, path) in films.iter_mut().zip(&options.films) {
            *film = flv::film(path)?;
        }
    }
    let mut figures = Figures::default();
    for pid in &options.servers {
        let (rss, anonymous) = (proc::rss_bytes(*pid), proc::anonymous_bytes(*pid));
        figures.servers.push(Server {
            pid: *pid,
            cpu_s: 0.0,
            rss_before_bytes: rss,
            rss_bytes: rss,
            anonymous_before_bytes: anonymous,
            anonymous_bytes: anonymous,
        });
    }
    let mut rng = StdRng::seed_from_u64(options.seed);
    let hello = if options.protocol.is_encrypted() { Hello::encrypted(rng.random()) } else { Hello::plain() };
    let mut driver = Driver {
        shared: Shared { options, hello, films, figures, now_us: 0 },
        poll: Poll::new()?,
        clock: Instant::now(),
        rng,
        sessions: (0..options.viewers).map(|_| None).collect(),
        live: 0,
        begun: 0,
        again: Vec::new(),
        unpauses: VecDeque::new(),
        alarms: BinaryHeap::new(),
        buffer: vec![0; options.read_bytes.max(4096)],
    };
    driver.run()?;
    Ok(driver.shared.figures)
}

impl Driver<'_> {
    fn tick(&mut self) -> u64 {
        self.shared.now_us = self.clock.elapsed().as_micros() as u64;
        self.shared.now_us
    }

    fn run(&mut self) -> Result<()> {
        let options = self.shared.options;
        let mut events = Events::with_capacity(4096);
        let from_us = (options.ramp_ms + options.warmup_ms) * 1000;
        let mut window = Window { from_us, until_us: from_us + (options.seconds * 1e6) as u64, opened: None };
        let mut churn = Rate::new(options.churn_per_s, options.ramp_ms * 1000);
        let mut seeks = Rate::new(options.seeks_per_s, options.ramp_ms * 1000);
        let mut pauses = Rate::new(options.pauses_per_s, options.ramp_ms * 1000);
        let mut sweep_us = SWEEP_US;
        let mut entered = 0;
        loop {
            let now = self.tick();
            while entered < options.viewers && now >= self.entry_us(entered) {
                self.enter(entered)?;
                entered += 1;
            }
            if self.window(&mut window) || (options.once && entered == options.viewers && self.live == 0) {
                break;
            }
            while churn.is_due(now) {
                let slot = self.rng.random_range(0..entered.max(1));
                self.leave(slot);
                self.enter(slot)?;
            }
            while seeks.is_due(now) {
                self.seek_somewhere();
            }
            while pauses.is_due(now) {
                self.pause_someone();
            }
            self.unpause_due(now);
            self.ring(now);
            if now >= sweep_us {
                sweep_us = now + SWEEP_US;
                self.sweep(now);
            }
            let mut next =
                sweep_us.min(if window.opened.is_some() { window.until_us } else { window.from_us });
            for rate in [&churn, &seeks, &pauses] {
                next = next.min(rate.next_us.min(u64::MAX as f64 / 2.0) as u64);
            }
            if entered < options.viewers {
                next = next.min(self.entry_us(entered));
            }
            next = self.unpauses.front().map_or(next, |(due, ..)| next.min(*due));
            next = self.alarms.peek().map_or(next, |Reverse((due, _))| next.min(*due));
            let wait = if self.again.is_empty() { next.saturating_sub(now) } else { 0 };
            match self.poll.poll(&mut events, Some(Duration::from_micros(wait))) {
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                other => other?,
            }
            for slot in std::mem::take(&mut self.again) {
                self.serve(slot, true);
            }
            for event in &events {
                self.serve(event.token().0, event.is_read_closed() || event.is_error());
            }
        }
        self.close(&window);
        Ok(())
    }

    /// When a viewer comes in, in µs.
    fn entry_us(&self, number: usize) -> u64 {
        self.shared.options.ramp_ms * 1000 * number as u64 / self.shared.options.viewers as u64
    }

    /// Opens and closes the measured window; true once it is closed.
    fn window(&mut self, window: &mut Window) -> bool {
        let (now, options) = (self.shared.now_us, self.shared.options);
        match &window.opened {
            None if now >= window.from_us => {
                let servers_cpu_s = options.servers.iter().map(|pid| proc::cpu_s(*pid)).collect();
                let late_us = now - window.from_us;
                (window.from_us, window.until_us) = (now, window.until_us + late_us);
                let driver_cpu_s = proc::cpu_s(std::process::id());
                let Figures { bytes, requests, .. } = self.shared.figures;
                window.opened = Some(Opening { bytes, requests, driver_cpu_s, servers_cpu_s });
                false
            }
            None => false,
            Some(opening) => {
                now >= window.until_us
                    || options.bytes.is_some_and(|most| self.shared.figures.bytes - opening.bytes >= most)
            }
        }
    }

    /// Takes the last readings and ends every session.
    fn close(&mut self, window: &Window) {
        let now = self.tick();
        let figures = &mut self.shared.figures;
        if let Some(opening) = &window.opened {
            figures.window_bytes = figures.bytes - opening.bytes;
            figures.window_requests = figures.requests - opening.requests;
            figures.window_s = (now - window.from_us) as f64 / 1e6;
            figures.driver_cpu_s = proc::cpu_s(std::process::id()) - opening.driver_cpu_s;
            for (server, before) in figures.servers.iter_mut().zip(&opening.servers_cpu_s) {
                server.cpu_s = proc::cpu_s(server.pid) - before;
            }
        }
        for server in &mut figures.servers {
            server.rss_bytes = proc::rss_bytes(server.pid);
            server.anonymous_bytes = proc::anonymous_bytes(server.pid);
        }
        let is_on = |s: &&Session| matches!(s.viewer.stage(), Stage::Idle | Stage::Playing);
        figures.connected = self.sessions.iter().flatten().filter(is_on).count();
        for session in self.sessions.iter_mut().flatten() {
            session.viewer.settle(&mut self.shared);
        }
    }

    /// A new viewer in this place.
    fn enter(&mut self, slot: usize) -> Result<()> {
        let options = self.shared.options;
        let film = slot % options.names.len();
        let length_ms = self.shared.films[film].duration_ms;
        let start_ms = if options.random_start && length_ms > 0 {
            self.rng.random_range(0..length_ms * 9 / 10 + 1)
        } else {
            0
        };
        self.tick();
        self.begun += 1;
        self.shared.figures.sessions += 1;
        let viewer = Viewer::new(slot, film, start_ms, &self.shared);
        match TcpStream::connect(options.target) {
            Ok(mut socket) => {
                let interest = Interest::READABLE | Interest::WRITABLE;
                self.poll.registry().register(&mut socket, Token(slot), interest)?;
                let tunnelled = options.protocol.is_tunnelled();
                let tunnel = tunnelled.then(|| Box::new(Tunnel::new(options.eager)));
                self.sessions[slot] =
                    Some(Session { socket, viewer, tunnel, wire: Vec::new(), connected: false });
                self.live += 1;
            }
            Err(e) => self.shared.figures.fail(&format!("connect: {}", e.kind())),
        }
        Ok(())
    }

    /// The viewer in this place, if any, goes.
    fn leave(&mut self, slot: usize) {
        if let Some(mut session) = self.sessions[slot].take() {
            session.viewer.settle(&mut self.shared);
            // Whether the server hears of it or not, the connection's end says the same; in mid-request there is nothing to say.
            if let (Some(tunnel), true) = (&session.tunnel, session.wire.is_empty()) {
                tunnel.close(self.shared.options.target, &mut session.wire);
                let _ = session.socket.write(&session.wire);
            }
            let _ = self.poll.registry().deregister(&mut session.socket);
            self.live -= 1;
        }
    }

    /// Reads and writes what a socket can, and ends the session if it is over. `to_the_end`: no new event will come for what is left
    /// after a short read, so only an empty socket is left alone.
    fn serve(&mut self, slot: usize, to_the_end: bool) {
        self.tick();
        let Some(session) = self.sessions.get_mut(slot).and_then(Option::as_mut) else { return };
        if !session.connected {
            match (session.socket.take_error(), session.socket.peer_addr()) {
                (Ok(None), Ok(_)) => {
                    session.connected = true;
                    let _ = session.socket.set_nodelay(true);
                    session.viewer.greet(&self.shared);
                }
                (Ok(None), Err(e)) if e.kind() == ErrorKind::NotConnected => return,
                (Ok(Some(e)) | Err(e), _) | (_, Err(e)) => {
                    session.viewer.fail(format!("connect: {}", e.kind()));
                }
            }
        }
        let mut more = session.connected;
        for turn in 0.. {
            if !more || matches!(session.viewer.stage(), Stage::Over(_)) {
                break;
            }
            if turn == TURN_READS {
                self.again.push(slot);
                break;
            }
            match session.socket.read(&mut self.buffer) {
                Ok(0) => session.viewer.closed(&self.shared),
                Ok(bytes) => {
                    self.shared.figures.bytes += bytes as u64;
                    session.feed(&mut self.buffer[..bytes], &mut self.shared);
                    // Edge-triggered: what comes after a short read is announced anew.
                    more = to_the_end || bytes == self.buffer.len();
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => more = false,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => session.viewer.fail(format!("read: {}", e.kind())),
            }
        }
        self.flush(slot);
        self.finish(slot);
    }

    /// If the session in this place is over, closes it and puts a new one there where one is wanted.
    fn finish(&mut self, slot: usize) {
        let Some(Stage::Over(end)) = self.sessions[slot].as_ref().map(|s| s.viewer.stage().clone()) else {
            return;
        };
        self.leave(slot);
        match end {
            End::Failed(reason) => return self.shared.figures.fail(&reason),
            End::Completed => self.shared.figures.completed += 1,
            End::Left => {}
        }
        if !self.shared.options.once && self.enter(slot).is_err() {
            self.shared.figures.fail("register");
        }
    }

    /// Some viewer that has nothing else to do. Tries a few places only: with all busy, nobody is asked.
    fn someone(&mut self) -> Option<usize> {
        (0..16)
            .map(|_| self.rng.random_range(0..self.sessions.len()))
            .find(|slot| self.sessions[*slot].as_ref().is_some_and(|s| s.viewer.is_at_leisure()))
    }

    fn seek_somewhere(&mut self) {
        let Some(slot) = self.someone() else { return };
        let Some(session) = self.sessions[slot].as_mut() else { return };
        let length_ms = session.viewer.length_ms(&self.shared);
        let to_ms = self.rng.random_range(0..length_ms.max(1) * 49 / 50 + 1);
        session.viewer.seek(to_ms, &mut self.shared);
        self.flush(slot);
    }

    fn pause_someone(&mut self) {
        let Some(slot) = self.someone() else { return };
        let Some(session) = self.sessions[slot].as_mut() else { return };
        session.viewer.pause(&mut self.shared);
        let due = self.shared.now_us + self.shared.options.pause_ms * 1000;
        self.unpauses.push_back((due, slot, session.viewer.begun_us()));
        self.flush(slot);
    }

    fn unpause_due(&mut self, now: u64) {
        while let Some((due, slot, begun)) = self.unpauses.front().copied() {
            if due > now {
                break;
            }
            self.unpauses.pop_front();
            if let Some(session) = self.sessions[slot].as_mut().filter(|s| s.viewer.begun_us() == begun) {
                session.viewer.unpause(&self.shared);
                self.flush(slot);
            }
        }
    }

    /// Lets the tunnels ask whose time has come. A session that has come to this place since asks only if it may.
    fn ring(&mut self, now: u64) {
        while let Some(Reverse((due, slot))) = self.alarms.peek().copied() {
            if due > now {
                break;
            }
            self.alarms.pop();
            self.flush(slot);
        }
    }

    /// Writes what the socket takes; the rest waits until it is writable.
    fn flush(&mut self, slot: usize) {
        let Some(session) = self.sessions.get_mut(slot).and_then(Option::as_mut) else { return };
        while session.connected {
            if session.wire.is_empty() {
                session.fill(&mut self.shared);
            }
            if session.wire.is_empty() {
                break;
            }
            match session.socket.write(&session.wire) {
                Ok(bytes) => drop(session.wire.drain(..bytes)),
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return session.viewer.fail(format!("write: {}", e.kind())),
            }
        }
        if let Some(due_us) = session.tunnel.as_mut().and_then(|t| t.alarm_us()) {
            self.alarms.push(Reverse((due_us, slot)));
        }
    }

    /// Fails the sessions whose first frame is overdue.
    fn sweep(&mut self, now: u64) {
        let patience_us = (self.shared.options.patience_s * 1e6) as u64;
        for slot in 0..self.sessions.len() {
            let Some(session) = self.sessions[slot].as_mut() else { continue };
            if !session.viewer.is_served() && now.saturating_sub(session.viewer.begun_us()) > patience_us {
                let reason = format!("no first frame in time: {:?}", session.viewer.stage());
                session.viewer.fail(reason);
                self.finish(slot);
            }
        }
    }
}

impl Session {
    /// Takes received bytes, out of the tunnel if there is one.
    fn feed(&mut self, bytes: &mut [u8], shared: &mut Shared) {
        let Self { viewer, tunnel, .. } = self;
        let Some(tunnel) = tunnel else { return viewer.feed(bytes, shared) };
        if let Err(why) = tunnel.feed(bytes, shared.now_us, |piece| viewer.feed(piece, shared)) {
            viewer.fail(why);
        }
    }

    /// Puts what may be sent now on the wire.
    fn fill(&mut self, shared: &mut Shared) {
        let Self { viewer, tunnel, wire, .. } = self;
        let Some(tunnel) = tunnel else { return viewer.send(wire) };
        let (now_us, host, bytes) = (shared.now_us, shared.options.target, viewer.pending_bytes());
        let asked = tunnel.ask(now_us, host, bytes, |wire| viewer.send(wire), wire);
        shared.figures.requests += u64::from(asked);
    }
}
