//! Fuzz target: paths of any form, and a conversation in which anything happens in any order.
//!
//! Whatever requests come, answers are lost and time passes: every request is answered once; the session gets the bytes of the numbers in
//! order and each once; the answers in order of their numbers carry what the session wrote; a repeat is what it repeats; what is held stays
//! within its bounds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use proto::fuzzing::Input;
use tokio::time::Instant;

use super::conversation::{Answers, Conversation, Ended, Issue, Limits, Outcome};
use super::path::{Call, Kind};
use super::reply::{Refusal, Reply};
use crate::budget::Account;
use crate::rtmp::chunk::Batch;

const LIMITS: Limits = Limits {
    window: 4,
    input_bytes: 64,
    response_bytes: 48,
    replays: 2,
    gap: Duration::from_secs(5),
    session: Duration::from_secs(30),
};

/// The first byte chooses between a path and a conversation.
pub fn tunnel(data: &[u8]) {
    let mut choices = Input::new(data);
    if choices.coin() { path(&String::from_utf8_lossy(choices.rest())) } else { converse(choices) }
}

fn path(path: &str) {
    let said = |id: Option<[u8; 16]>| id.map(|id| String::from_utf8_lossy(&id).into_owned());
    match Call::of(path) {
        Some(Call::Exchange(kind, id, number)) => {
            let verb = if kind == Kind::Send { "send" } else { "idle" };
            let tail = path.rsplit('/').next().unwrap_or_default();
            assert_eq!(tail.parse(), Ok(number));
            if let Some(id) = said(id) {
                assert_eq!(path, format!("/{verb}/{id}/{tail}"));
            }
        }
        Some(Call::Close(id)) => {
            assert!(said(id).is_none_or(|id| path.starts_with(&format!("/close/{id}/"))))
        }
        Some(Call::Ident) => assert_eq!(path, "/fcs/ident2"),
        Some(Call::Open) => assert!(path.starts_with("/open/")),
        Some(Call::Malformed) | None => {}
    }
}

/// What must hold, kept beside the conversation.
struct Model {
    conversation: Conversation<usize>,
    account: Arc<Account>,
    now: Instant,
    /// Requests that have no answer yet.
    asked: Vec<usize>,
    tickets: usize,
    /// What numbers brought, as it was first accepted.
    bodies: BTreeMap<u64, Vec<u8>>,
    read: BytesMut,
    batch: Batch,
    /// How much was written, a count of bytes.
    written: usize,
    /// Answers with data.
    said: BTreeMap<u64, Vec<u8>>,
    issues: Vec<Issue>,
}

impl Model {
    fn take(&mut self, answers: Answers<usize>) {
        for (ticket, outcome) in answers {
            let at = self.asked.iter().position(|asked| *asked == ticket);
            self.asked.swap_remove(at.unwrap_or_else(|| panic!("request {ticket} is answered twice")));
            match outcome {
                Outcome::Reply(Reply::Byte(byte), _) => {
                    assert!(
                        [0x01, 0x03, 0x05, 0x09, 0x11, 0x21].contains(&byte) || self.has_ended() && byte == 0
                    );
                }
                Outcome::Reply(Reply::Data(data), issue) => {
                    let body = data.parts.concat();
                    assert!(body.len() == data.len_bytes && body.len() <= 1 + LIMITS.response_bytes);
                    assert_eq!(body[0], 1);
                    let before = self.said.entry(issue.number).or_insert_with(|| body.clone());
                    assert_eq!(*before, body, "a repeat is another answer");
                    assert!(issue.copy <= LIMITS.replays);
                    self.issues.push(issue);
                }
                Outcome::Refused(_) => {}
            }
        }
    }

    fn has_ended(&self) -> bool {
        self.conversation.ended().is_some()
    }

    fn arrive(&mut self, number: u64, kind: Kind, body: &[u8]) {
        let mut answers = Answers::new();
        let (lasted, next) = (!self.has_ended(), self.conversation.next());
        let ticket = self.tickets;
        self.tickets += 1;
        self.asked.push(ticket);
        self.conversation.arrive(number, kind, body, ticket, self.now, &mut answers);
        let refused = answers.iter().any(|(to, outcome)| {
            *to == ticket && matches!(outcome, Outcome::Refused(why) if *why != Refusal::Lost)
        });
        if lasted && !refused && number >= next && self.conversation.ended().is_none() {
            let body = if kind == Kind::Send { body } else { &[] };
            self.bodies.entry(number).or_insert_with(|| body.to_vec());
        }
        self.take(answers);
    }

    fn write(&mut self, count: usize) {
        let bytes: Vec<u8> = (self.written..self.written + count).map(|n| n as u8).collect();
        self.written += count;
        self.batch.push_raw(&bytes);
        let mut answers = Answers::new();
        let queued = self.batch.len_bytes();
        if self.conversation.is_writable() && queued > 0 {
            let taken = self.conversation.write(
                &mut self.batch,
                count.is_multiple_of(2),
                &self.account,
                &mut answers,
            );
            assert_eq!(taken.unwrap_or(0), queued - self.batch.len_bytes());
        }
        self.take(answers);
    }

    fn check(&self) {
        let (held, bytes) = self.conversation.held();
        assert!(
            held as u64 <= LIMITS.window && bytes <= LIMITS.input_bytes,
            "{held} requests, {bytes} bytes"
        );
        if !matches!(self.conversation.ended(), Some((Ended::Gap | Ended::Lost, _))) {
            let next = self.conversation.next();
            let expected: Vec<u8> = self.bodies.range(..next).flat_map(|(_, body)| body.clone()).collect();
            assert!(expected.starts_with(&self.read), "the session reads other bytes than were sent");
            assert_eq!(self.read.len() + bytes, expected.len() + self.conversation.early_bytes());
        }
        let said: Vec<u8> = self.said.values().flat_map(|body| body[1..].to_vec()).collect();
        assert_eq!(said.len() + self.batch.len_bytes(), self.written);
        assert!(said.iter().enumerate().all(|(n, byte)| *byte == n as u8), "answers carry other bytes");
    }
}

fn converse(mut choices: Input<'_>) {
    let now = Instant::now();
    let mut model = Model {
        conversation: Conversation::new(LIMITS, now),
        account: Arc::default(),
        now,
        asked: Vec::new(),
        tickets: 0,
        bodies: BTreeMap::new(),
        read: BytesMut::new(),
        batch: Batch::new(),
        written: 0,
        said: BTreeMap::new(),
        issues: Vec::new(),
    };
    while !choices.is_empty() && model.tickets < 2000 {
        let mut answers = Answers::new();
        match choices.below(12) {
            0..=4 => {
                let next = model.conversation.next();
                let number = match choices.below(10) {
                    0..=3 => next,
                    4 => next + 1,
                    5 => next + 2 + u64::from(choices.u8()) % 4,
                    6 | 7 => next.saturating_sub(1),
                    8 => next.saturating_sub(2),
                    _ => choices.u64() % 10_u64.pow(18),
                };
                let kind = if choices.coin() { Kind::Send } else { Kind::Idle };
                let len = choices.below(24);
                model.arrive(number, kind, choices.bytes(len));
            }
            5 => model.write(choices.below(100)),
            6 => {
                let _ = model.conversation.read(&mut model.read);
            }
            7 if choices.u8() < 32 => {
                let mut dropped = None;
                model.conversation.drop_waiting(|ticket| {
                    dropped = Some(*ticket);
                    true
                });
                model.asked.retain(|ticket| Some(*ticket) != dropped);
            }
            7 => model.conversation.settle(&mut answers),
            8 => {
                let number = model.conversation.next().saturating_sub(u64::from(choices.u8()) % 2);
                model.conversation.give_up(number, &mut answers);
            }
            9 if !model.issues.is_empty() => {
                let issue = *choices.choose(&model.issues);
                model.conversation.lose(issue, model.now, &mut answers);
            }
            10 => {
                model.now += Duration::from_millis(u64::from(choices.u8()) * 40);
                model.conversation.look(model.now, &mut answers);
            }
            11 if choices.u8() < 8 => {
                if choices.coin() {
                    model.conversation.hang_up(model.now, &mut answers);
                } else {
                    model.conversation.end(Ended::Over, model.now, &mut answers);
                }
            }
            _ => {}
        }
        model.take(answers);
        model.check();
    }
    let mut answers = Answers::new();
    model.conversation.end(Ended::Over, model.now, &mut answers);
    model.take(answers);
    assert!(model.asked.is_empty(), "requests {:?} are never answered", model.asked);
}
