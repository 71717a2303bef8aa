//! What a film's messages must look like: a hash and a length for each, track by track.
//!
//! An FLV file's tag bodies are exactly the payloads a server sends, so a film's list can be read from the file itself; an MP4's
//! is read from the FLV it was made of. Without a file the list is learned from the first viewer that plays from
//! the start, and all others are held against it. Codec headers aren't in the list: servers repeat them after a seek. After a seek
//! or a start in the middle a viewer's place is found by the first frame that occurs only once.

use std::collections::HashMap;

/// One message: CRC-32 (as [`crate::chunk::Message`] has it) and length of its payload.
type Print = (u32, u32);

/// The messages of one track in order.
#[derive(Debug, Default)]
struct Track {
    prints: Vec<Print>,
    /// Where each occurs; `None` if more than once.
    places: HashMap<Print, Option<u32>>,
}

impl Track {
    fn push(&mut self, print: Print) {
        let place = self.prints.len() as u32;
        self.prints.push(print);
        self.places.entry(print).and_modify(|p| *p = None).or_insert(Some(place));
    }
}

/// One film.
#[derive(Debug, Default)]
pub struct Film {
    tracks: [Track; 2],
    complete: bool,
    /// Its length in ms, once known.
    pub duration_ms: u64,
}

/// Where a viewer stands in a film's two tracks (audio, video).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The next message must be this one.
    At(u32),
    /// To be found.
    Lost,
}

/// What came of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// It is the message it must be.
    Right,
    /// It isn't.
    Wrong,
    /// The place in the film isn't known (yet).
    Unplaced,
}

/// Whether a media message is a frame. Codec headers, the end of an AVC sequence and empty messages aren't.
pub fn is_frame(kind: u8, lead: [u8; 2], bytes: u32) -> bool {
    match kind {
        8 => bytes > 0 && !(lead[0] >> 4 == 10 && lead[1] == 0),
        _ => bytes > 0 && !(lead[0] & 15 == 7 && lead[1] != 1),
    }
}

impl Film {
    /// One more message of the list. `kind` is 8 or 9.
    pub fn push(&mut self, kind: u8, hash: u32, bytes: u32) {
        self.tracks[usize::from(kind & 1)].push((hash, bytes));
    }

    /// The list is whole: a message past its end is wrong.
    pub fn complete(&mut self) {
        self.complete = true;
    }

    /// Messages known.
    pub fn messages(&self) -> usize {
        self.tracks.iter().map(|t| t.prints.len()).sum()
    }

    /// Holds a frame of `kind` against the list and moves `place` on.
    #[inline]
    pub fn check(&mut self, place: &mut Place, kind: u8, hash: u32, bytes: u32) -> Check {
        let track = &mut self.tracks[usize::from(kind & 1)];
        let print = (hash, bytes);
        let at = match *place {
            Place::At(at) => at,
            Place::Lost => match track.places.get(&print) {
                Some(Some(at)) => *at,
                Some(None) => return Check::Unplaced,
                None if self.complete => return Check::Wrong,
                None => return Check::Unplaced,
            },
        };
        *place = Place::At(at + 1);
        match track.prints.get(at as usize) {
            Some(known) if *known == print => Check::Right,
            None if !self.complete => {
                track.push(print);
                Check::Right
            }
            // A message left out must count once, not make all that follow wrong.
            _ => {
                *place = Place::Lost;
                Check::Wrong
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn film() -> Film {
        let mut film = Film::default();
        for n in 0..100 {
            film.push(9, n, 10);
            film.push(8, n % 7, 5);
        }
        film.complete();
        film
    }

    #[test]
    fn a_film_in_order_is_right_and_any_change_is_wrong() {
        let mut film = film();
        let mut place = Place::At(0);
        assert_eq!(film.check(&mut place, 9, 0, 10), Check::Right);
        assert_eq!(film.check(&mut place, 9, 2, 10), Check::Wrong, "1 was left out");
        assert_eq!(film.check(&mut place, 9, 3, 10), Check::Right, "and no more");
        assert_eq!(film.check(&mut place, 9, 4, 11), Check::Wrong);
        let mut end = Place::At(100);
        assert_eq!(film.check(&mut end, 9, 0, 10), Check::Wrong, "past the end");
    }

    #[test]
    fn a_place_is_found_by_a_frame_that_occurs_once() {
        let mut film = film();
        let mut place = Place::Lost;
        assert_eq!(film.check(&mut place, 9, 40, 10), Check::Right);
        assert_eq!(place, Place::At(41));
        let mut audio = Place::Lost;
        assert_eq!(film.check(&mut audio, 8, 3, 5), Check::Unplaced, "many are like it");
        assert_eq!(film.check(&mut audio, 8, 99, 5), Check::Wrong, "none is like it");
    }

    #[test]
    fn the_first_viewer_teaches_the_others() {
        let mut film = Film::default();
        let (mut first, mut second) = (Place::At(0), Place::At(0));
        for n in 0..10 {
            assert_eq!(film.check(&mut first, 9, n, 1), Check::Right);
        }
        assert_eq!(film.check(&mut second, 9, 0, 1), Check::Right);
        assert_eq!(film.check(&mut second, 9, 5, 1), Check::Wrong);
        assert_eq!(film.messages(), 10);
    }

    #[test]
    fn headers_are_no_frames() {
        assert!(!is_frame(9, [0x17, 0], 40));
        assert!(!is_frame(9, [0x17, 2], 5));
        assert!(is_frame(9, [0x17, 1], 40));
        assert!(is_frame(9, [0x22, 0], 40), "Sorenson has no headers");
        assert!(!is_frame(8, [0xaf, 0], 4));
        assert!(is_frame(8, [0xaf, 1], 4));
        assert!(is_frame(8, [0x2f, 0], 4), "nor has MP3");
        assert!(!is_frame(8, [0, 0], 0));
    }
}
