//! The fields of one line: texts, numbers and times, TABs between.

use super::escape;

/// A line being written; nothing is allocated for a field.
pub(super) struct Line<'a> {
    out: &'a mut Vec<u8>,
    cut: usize,
}

impl<'a> Line<'a> {
    /// A line that begins with the 19 bytes of its date and time.
    pub(super) fn new(stamp: &[u8; 19], cut: usize, out: &'a mut Vec<u8>) -> Self {
        out.extend_from_slice(stamp);
        Self { out, cut }
    }

    /// A text, or `-` if it is empty.
    pub(super) fn text(&mut self, text: &str) {
        self.out.push(b'\t');
        escape::put(text.as_bytes(), self.cut, self.out);
    }

    /// What needs no escape.
    pub(super) fn plain(&mut self, text: &str) {
        self.out.push(b'\t');
        self.out.extend_from_slice(text.as_bytes());
    }

    /// `-`
    pub(super) fn none(&mut self) {
        self.plain("-");
    }

    /// A number.
    pub(super) fn number(&mut self, number: u64) {
        self.out.push(b'\t');
        self.digits(number);
    }

    /// A number, or `-`.
    pub(super) fn maybe(&mut self, number: Option<u64>) {
        match number {
            Some(number) => self.number(number),
            None => self.none(),
        }
    }

    /// Microseconds as seconds with three decimals, cut off.
    pub(super) fn seconds(&mut self, us: u64) {
        self.number(us / 1_000_000);
        let ms = us % 1_000_000 / 1000;
        self.out.push(b'.');
        for unit in [100, 10, 1] {
            self.out.push(digit(ms / unit));
        }
    }

    fn digits(&mut self, mut number: u64) {
        // 20 digits hold every u64.
        let mut buffer = [0; 20];
        let mut at = buffer.len();
        loop {
            at -= 1;
            buffer[at] = digit(number);
            number /= 10;
            if number == 0 {
                break;
            }
        }
        self.out.extend_from_slice(&buffer[at..]);
    }
}

/// The last decimal digit.
fn digit(number: u64) -> u8 {
    b'0' + u8::try_from(number % 10).unwrap_or(0)
}
