//! The version of the API a client speaks: the date that begins its paths.

use std::fmt;

/// An API version, ordered by date.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// Year, month, day as `YYYYMMDD`.
    date: u32,
}

impl Version {
    /// Streaming distributions begin.
    pub const V2009_12_01: Self = Self { date: 20_091_201 };
    /// Private content: OriginAccessIdentity, TrustedSigners.
    pub const V2010_03_01: Self = Self { date: 20_100_301 };
    /// Access logs.
    pub const V2010_05_01: Self = Self { date: 20_100_501 };
    /// S3Origin/DNSName in the place of Origin.
    pub const V2010_11_01: Self = Self { date: 20_101_101 };
    /// Quantity and Items around every list.
    pub const V2012_05_05: Self = Self { date: 20_120_505 };
    /// The first of the schemas that SDKs speak.
    pub const V2014_05_31: Self = Self { date: 20_140_531 };
    /// ARN and tags.
    pub const V2016_08_01: Self = Self { date: 20_160_801 };
    /// A caller reference used twice is an error whatever the config.
    pub const V2018_11_05: Self = Self { date: 20_181_105 };
    /// The newest.
    pub const NEWEST: Self = Self { date: 20_200_531 };

    /// Reads `YYYY-MM-DD`; `None` if it is no date, or one before streaming distributions were.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let mut part = |len: usize| {
            let digits = parts.next().filter(|p| p.len() == len && p.bytes().all(|b| b.is_ascii_digit()))?;
            digits.parse::<u32>().ok()
        };
        let (year, month, day) = (part(4)?, part(2)?, part(2)?);
        if parts.next().is_some() || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
            return None;
        }
        let version = Self { date: year * 10_000 + month * 100 + day };
        (version >= Self::V2009_12_01).then_some(version)
    }

    /// The namespace of its documents.
    pub fn namespace(self) -> String {
        format!("http://cloudfront.amazonaws.com/doc/{self}/")
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.date / 10_000, self.date / 100 % 100, self.date % 100)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_dates_in_order() {
        for text in ["2009-12-01", "2012-05-05", "2020-05-31", "2031-01-09"] {
            assert_eq!(Version::parse(text).unwrap().to_string(), text);
        }
        assert!(Version::V2010_11_01 < Version::V2012_05_05);
        assert_eq!(Version::NEWEST.namespace(), "http://cloudfront.amazonaws.com/doc/2020-05-31/");
        for wrong in ["2009-04-02", "2010-13-01", "2010-1-01", "2010-01-01-", "", "console", "2010/01/01"] {
            assert_eq!(Version::parse(wrong), None, "{wrong}");
        }
    }
}
