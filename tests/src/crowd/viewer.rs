//! One viewer of a crowd: a state machine over a non-blocking socket, and the loop that drives them all.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};

use super::film::hash;
use super::{Habit, Plan, Seen, Wish};
use crate::wire::amf::{self, Value};
use crate::wire::chunk::{Chunker, Dechunker, Message};
use crate::wire::handshake::{Kind, PACKET, c1};

/// Read from one viewer before the next one has its turn.
const TURN_BYTES: usize = 256 << 10;

pub(super) struct Viewer {
    stream: TcpStream,
    plan: Plan,
    seen: Arc<Mutex<Seen>>,
    handshake: Option<Vec<u8>>,
    reader: Dechunker,
    /// Time of the first medium since the last start or seek, and when the player began to show it: once its buffer was full.
    origin: Option<(u32, Option<Instant>)>,
    next_seek: Option<Instant>,
    random: u32,
    window: (u64, u64),
    done: bool,
}

/// Drives all viewers until told to stop.
pub(super) fn run(addr: &str, plans: Vec<Plan>, seen: &[Arc<Mutex<Seen>>], wish: &Wish) {
    let addr: SocketAddr = addr.parse().unwrap();
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
    let mut viewers: Vec<Option<Viewer>> = Vec::new();
    let mut plans = plans.into_iter().zip(seen).enumerate();
    let mut events = Vec::with_capacity(256);
    let mut buffer = vec![0; 64 << 10];
    while !wish.stop.load(Ordering::Relaxed) {
        // A few at a time, so that those who are connected already are served meanwhile.
        for (number, (plan, seen)) in plans.by_ref().take(16) {
            let opened = Viewer::open(addr, plan, seen.clone(), number as u32);
            match &opened {
                Some(viewer) => listen(&poll, number, viewer),
                None => seen.lock().unwrap().ended = true,
            }
            viewers.push(opened);
        }
        events.clear();
        let wait = Timespec { tv_sec: 0, tv_nsec: 5_000_000 };
        let _ = epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), Some(&wait));
        for event in &events {
            let number = event.data.u64() as usize;
            let Some(Some(viewer)) = viewers.get_mut(number) else { continue };
            viewer.read(&mut buffer);
            if viewer.stopped() {
                let _ = epoll::delete(&poll, &viewer.stream);
            }
            if viewer.done {
                viewers[number] = None;
            }
        }
        if wish.resume.swap(false, Ordering::Relaxed) {
            for (number, viewer) in viewers.iter_mut().enumerate() {
                if let Some(viewer) = viewer.as_mut().filter(|v| v.stopped()) {
                    viewer.plan.habit = Habit::Watch;
                    listen(&poll, number, viewer);
                }
            }
        }
        let now = Instant::now();
        viewers.iter_mut().flatten().for_each(|viewer| viewer.tick(now));
    }
}

fn listen(poll: &OwnedFd, number: usize, viewer: &Viewer) {
    let token = epoll::EventData::new_u64(number as u64);
    epoll::add(poll, &viewer.stream, token, epoll::EventFlags::IN).unwrap();
}

impl Viewer {
    fn open(addr: SocketAddr, plan: Plan, seen: Arc<Mutex<Seen>>, number: u32) -> Option<Self> {
        let mut stream = TcpStream::connect_timeout(&addr, Duration::from_secs(10)).ok()?;
        let _ = stream.set_nodelay(true);
        let mut hello = vec![3];
        hello.extend(c1(Kind::Simple));
        stream.write_all(&hello).ok()?;
        stream.set_nonblocking(true).ok()?;
        Some(Self {
            stream,
            plan,
            seen,
            handshake: Some(Vec::new()),
            reader: Dechunker::default(),
            origin: None,
            next_seek: None,
            random: number.wrapping_mul(0x9e37_79b9) | 1,
            window: (u64::MAX, 0),
            done: false,
        })
    }

    /// Whether it reads no more, though it stays.
    fn stopped(&self) -> bool {
        matches!(self.plan.habit, Habit::StopReading(after) if self.seen.lock().unwrap().bytes >= after)
    }

    fn read(&mut self, buffer: &mut [u8]) {
        let mut turn = 0;
        while turn < TURN_BYTES && !self.done && !self.stopped() {
            match self.stream.read(buffer) {
                Ok(n @ 1..) => {
                    turn += n;
                    self.take(&buffer[..n]);
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => self.end(),
            }
        }
    }

    fn end(&mut self) {
        self.seen.lock().unwrap().ended = true;
        self.done = true;
    }

    fn take(&mut self, bytes: &[u8]) {
        let total = {
            let mut seen = self.seen.lock().unwrap();
            seen.bytes += bytes.len() as u64;
            seen.heard = Some(Instant::now());
            seen.bytes
        };
        let mut rest = bytes.to_vec();
        if let Some(held) = &mut self.handshake {
            held.append(&mut rest);
            if held.len() < 1 + 2 * PACKET {
                return;
            }
            rest = held.split_off(1 + 2 * PACKET);
            let answer = held[1..=PACKET].to_vec();
            self.handshake = None;
            self.send(&answer);
            let url = Value::String(format!("rtmp://{}/cfx/st", self.plan.host));
            let object = vec![("app".into(), "cfx/st".into()), ("tcUrl".into(), url)];
            self.command(0, "connect", 1.0, &[Value::Object(object)]);
        }
        match self.reader.push(&rest) {
            Ok(messages) => messages.iter().for_each(|m| self.on(m)),
            Err(error) => {
                self.seen.lock().unwrap().broken = Some(error);
                self.end();
            }
        }
        if total.saturating_sub(self.window.1) >= self.window.0 / 2 {
            self.window.1 = total;
            self.send(&Chunker::default().message(2, 0, 3, 0, &(total as u32).to_be_bytes()));
        }
    }

    fn on(&mut self, m: &Message) {
        if m.is_media() {
            let (from, began) = self.origin.get_or_insert((m.timestamp, None));
            let into = m.timestamp.saturating_sub(*from);
            if began.is_none() && into >= self.plan.buffer_ms {
                *began = Some(m.at);
            }
            let due = began.map(|began| began + Duration::from_millis(into.into()));
            let mut seen = self.seen.lock().unwrap();
            seen.late = seen.late.max(due.map_or(Duration::ZERO, |due| m.at.saturating_duration_since(due)));
            seen.media.push((m.timestamp, hash(m.type_id, &m.payload)));
            return;
        }
        if let (5, Ok(bytes)) = (m.type_id, <[u8; 4]>::try_from(&m.payload[..])) {
            self.window.0 = u32::from_be_bytes(bytes).into();
        }
        if let Some((6, rest)) = m.event() {
            let pong = [&[0, 7], rest].concat();
            self.send(&Chunker::default().message(2, 0, 4, 0, &pong));
        }
        if let Some(code) = m.status_code() {
            self.on_status(code);
        } else if let Some(command) = m.command() {
            match (command.name.as_str(), command.tx as u32) {
                ("_result", 1) => {
                    self.seen.lock().unwrap().connected = true;
                    self.command(0, "createStream", 2.0, &[Value::Null]);
                }
                ("_result", 2) => self.play(),
                ("_result" | "onBWDone", _) => {}
                (name, _) => self.seen.lock().unwrap().commands.push(name.to_owned()),
            }
        }
    }

    fn on_status(&mut self, code: String) {
        match code.as_str() {
            "NetStream.Play.Start" => self.origin = None,
            "NetStream.Seek.Notify" => {
                self.origin = None;
                self.seen.lock().unwrap().seeks.1 += 1;
            }
            _ => {}
        }
        let stop = code == "NetStream.Play.Stop";
        self.seen.lock().unwrap().codes.push(code);
        if stop && self.plan.habit == Habit::Watch {
            self.end();
        }
    }

    fn play(&mut self) {
        if self.plan.habit == Habit::Idle {
            return;
        }
        let mut body = vec![0, 3, 0, 0, 0, 1];
        body.extend(self.plan.buffer_ms.to_be_bytes());
        self.send(&Chunker::default().message(2, 0, 4, 0, &body));
        let (name, start) = (self.plan.name.clone(), f64::from(self.plan.start_ms));
        self.command(1, "play", 0.0, &[Value::Null, Value::String(name), Value::Number(start)]);
        if let Habit::Seek { .. } = self.plan.habit {
            self.next_seek = Some(Instant::now());
        }
    }

    /// Sends the seeks that are due: none is left out when this comes late.
    fn tick(&mut self, now: Instant) {
        let Habit::Seek { count, per_second, within_ms } = self.plan.habit else { return };
        while let Some(due) = self.next_seek.filter(|due| *due <= now && !self.done) {
            if self.seen.lock().unwrap().seeks.0 == count {
                return;
            }
            self.random ^= self.random << 13;
            self.random ^= self.random >> 17;
            self.random ^= self.random << 5;
            let to = self.random % within_ms.max(1);
            self.command(1, "seek", 0.0, &[Value::Null, Value::Number(to.into())]);
            let mut seen = self.seen.lock().unwrap();
            (seen.seeks.0, seen.sought_ms) = (seen.seeks.0 + 1, to);
            self.next_seek = Some(due + Duration::from_secs(1) / per_second.max(1));
        }
    }

    fn command(&mut self, stream_id: u32, name: &str, tx: f64, args: &[Value]) {
        let csid = if stream_id == 0 { 3 } else { 8 };
        let bytes = Chunker::default().message(csid, 0, 20, stream_id, &amf::command(name, tx, args));
        self.send(&bytes);
    }

    /// What a viewer says is little: if the socket doesn't take it, the server has stopped reading, and the viewer gives up.
    fn send(&mut self, bytes: &[u8]) {
        match self.stream.write(bytes) {
            Ok(n) if n == bytes.len() => {}
            _ => self.end(),
        }
    }
}
