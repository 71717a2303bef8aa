//! The polling byte: how soon the player should ask again.
//!
//! It is the first byte of every answer to send and idle: 1 after data, and larger the longer there was none. (Players may ignore it:
//! librtmp and ffmpeg do, which is why idle requests are held.)

/// FMS's steps; the last is about half a second.
const STEPS: [u8; 6] = [0x01, 0x03, 0x05, 0x09, 0x11, 0x21];
/// Empty answers on each step.
const EMPTIES: u32 = 10;

/// Where a session stands on it.
#[derive(Debug, Default)]
pub(crate) struct Ladder {
    empties: u32,
}

impl Ladder {
    /// The byte of an answer that carries data.
    pub(crate) fn data(&mut self) -> u8 {
        self.empties = 0;
        STEPS[0]
    }

    /// The byte of the next empty answer.
    pub(crate) fn empty(&mut self) -> u8 {
        let byte = self.now();
        self.empties = self.empties.saturating_add(1);
        byte
    }

    /// The byte of an answer that changes nothing.
    pub(crate) fn now(&self) -> u8 {
        let step = (self.empties / EMPTIES) as usize;
        STEPS[step.min(STEPS.len() - 1)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s15_the_byte_climbs_after_each_ten_empty_answers_and_data_resets_it() {
        let mut ladder = Ladder::default();
        for round in 0..2 {
            for expected in [1, 3, 5, 9, 0x11, 0x21, 0x21, 0x21] {
                for _ in 0..10 {
                    assert_eq!((ladder.now(), ladder.empty()), (expected, expected), "round {round}");
                }
            }
            assert_eq!((ladder.now(), ladder.data(), ladder.now()), (0x21, 1, 1));
        }
    }
}
