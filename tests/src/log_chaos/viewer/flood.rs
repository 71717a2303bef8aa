//! A viewer that asks for more than it may: commands without end, none of them waited for.

use std::collections::VecDeque;
use std::io::{ErrorKind, Write};
use std::time::Duration;

use super::super::now_ms;
use super::super::witness::{Event, Fate, Told};
use super::Viewer;
use crate::wire::amf::Value;

/// Commands of a round, and the codes of their answers.
const ROUND: [(Event, &str); 3] = [
    (Event::Pause, "NetStream.Pause.Notify"),
    (Event::Seek, "NetStream.Seek.Notify"),
    (Event::Unpause, "NetStream.Unpause.Notify"),
];

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flooded {
    /// Commands given to the connection, whole or in part.
    pub asked: usize,
    /// Those that had their effect, as the viewer saw.
    pub answered: usize,
}

impl Viewer {
    /// Pauses, seeks and goes on as fast as the edge takes commands, until `enough`. Each answer is held to be that of the first command of its kind
    /// that has none: so its record's bounds in time and bytes are rather too wide than too narrow where seeks are skipped. What has no answer
    /// in the end is [`Fate::Cut`]. Afterwards all one can do is [`leave`](Self::leave): a command may be half sent.
    pub fn flood(&mut self, enough: impl Fn() -> bool) -> Flooded {
        self.floods = true;
        self.stream.set_nonblocking(true).unwrap();
        let mut asked: [VecDeque<(u64, i64)>; 3] = Default::default();
        let mut flooded = Flooded { asked: 0, answered: 0 };
        while self.alive && !enough() {
            if self.unsent.is_empty() {
                for (kind, (event, _)) in ROUND.iter().enumerate() {
                    self.ask_without_waiting(*event);
                    asked[kind].push_back((self.received, now_ms()));
                }
                flooded.asked += ROUND.len();
            }
            let (unsent, received) = (self.unsent.len(), self.received);
            self.flush();
            self.fill();
            while let Some(message) = self.held.pop_front() {
                let code = message.status_code().unwrap_or_default();
                let Some(kind) = ROUND.iter().position(|(_, notify)| *notify == code) else { continue };
                let asked = asked[kind].pop_front().expect("an answer to what was never asked");
                self.told(ROUND[kind].0, Fate::Seen, asked);
                flooded.answered += 1;
            }
            if (unsent, received) == (self.unsent.len(), self.received) {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        for (kind, left) in asked.into_iter().enumerate() {
            left.into_iter().for_each(|asked| self.told(ROUND[kind].0, Fate::Cut, asked));
        }
        flooded
    }

    fn ask_without_waiting(&mut self, event: Event) {
        let number = Value::Number(1000.0);
        let (name, args) = match event {
            Event::Seek => ("seek", vec![Value::Null, number]),
            _ => ("pause", vec![Value::Null, Value::Boolean(event == Event::Pause), number]),
        };
        self.command(self.stream_id, name, 0.0, &args);
    }

    fn told(&mut self, event: Event, fate: Fate, asked: (u64, i64)) {
        let (bytes, at_ms) = ((asked.0, self.received), (asked.1, now_ms()));
        self.seen.plays.last_mut().unwrap().told.push(Told { event, fate, bytes, at_ms });
    }

    /// Gives the connection as much as it takes.
    fn flush(&mut self) {
        match self.stream.write(&self.unsent) {
            Ok(sent) => drop(self.unsent.drain(..sent)),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            // It shows when reading.
            Err(_) => self.unsent.clear(),
        }
    }
}
