//! Genres by number: what ID3v1 stores a byte of, ID3v2 may refer to, and MP4's `gnre` counts from 1.
//!
//! Source: id3.org's ID3v2.3.0, appendix A: the 80 of ID3v1 and the 46 Winamp added. Later numbers have no name here.

/// The name of a genre, if it has one.
pub(crate) fn name(number: usize) -> Option<&'static str> {
    NAMES.get(number).copied()
}

#[rustfmt::skip]
const NAMES: [&str; 126] = [
    "Blues", "Classic Rock", "Country", "Dance", "Disco", "Funk", "Grunge", "Hip-Hop", "Jazz", "Metal",
    "New Age", "Oldies", "Other", "Pop", "R&B", "Rap", "Reggae", "Rock", "Techno", "Industrial",
    "Alternative", "Ska", "Death Metal", "Pranks", "Soundtrack", "Euro-Techno", "Ambient", "Trip-Hop", "Vocal", "Jazz+Funk",
    "Fusion", "Trance", "Classical", "Instrumental", "Acid", "House", "Game", "Sound Clip", "Gospel", "Noise",
    "AlternRock", "Bass", "Soul", "Punk", "Space", "Meditative", "Instrumental Pop", "Instrumental Rock", "Ethnic", "Gothic",
    "Darkwave", "Techno-Industrial", "Electronic", "Pop-Folk", "Eurodance", "Dream", "Southern Rock", "Comedy", "Cult", "Gangsta",
    "Top 40", "Christian Rap", "Pop/Funk", "Jungle", "Native American", "Cabaret", "New Wave", "Psychadelic", "Rave", "Showtunes",
    "Trailer", "Lo-Fi", "Tribal", "Acid Punk", "Acid Jazz", "Polka", "Retro", "Musical", "Rock & Roll", "Hard Rock",
    "Folk", "Folk-Rock", "National Folk", "Swing", "Fast Fusion", "Bebob", "Latin", "Revival", "Celtic", "Bluegrass",
    "Avantgarde", "Gothic Rock", "Progressive Rock", "Psychedelic Rock", "Symphonic Rock", "Slow Rock", "Big Band", "Chorus",
    "Easy Listening", "Acoustic",
    "Humour", "Speech", "Chanson", "Opera", "Chamber Music", "Sonata", "Symphony", "Booty Bass", "Primus", "Porn Groove",
    "Satire", "Slow Jam", "Club", "Tango", "Samba", "Folklore", "Ballad", "Power Ballad", "Rhythmic Soul", "Freestyle",
    "Duet", "Punk Rock", "Drum Solo", "A capella", "Euro-House", "Dance Hall",
];

#[cfg(test)]
mod tests {
    use super::name;

    #[test]
    fn numbers_stand_for_the_names_everybody_knows() {
        for (number, expected) in [
            (0, "Blues"),
            (17, "Rock"),
            (32, "Classical"),
            (79, "Hard Rock"),
            (80, "Folk"),
            (125, "Dance Hall"),
        ] {
            assert_eq!(name(number), Some(expected));
        }
        assert_eq!(name(126), None);
    }
}
