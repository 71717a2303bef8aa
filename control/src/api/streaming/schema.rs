//! What each version of the API can say of a streaming distribution, and how.
//!
//! One stored document is read and written in every schema; they differ by date in four ways: how lists and the origin are spelled ([`Form`]),
//! which members exist, whether resources have ARNs, and what a second create with one caller reference means.

use crate::api::Version;

/// How a version spells the origin and lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Before 2010-11-01: `Origin` is text, CNAMEs stand in a row, `OriginAccessIdentity` is a member of the config.
    Flat,
    /// 2010-11-01 up to 2012-05-05: `S3Origin/DNSName`, CNAMEs in a row.
    S3Origin,
    /// From 2012-05-05: `S3Origin/DomainName`, and `Quantity` and `Items` around every list.
    Items,
}

/// The first version with a price class.
const PRICE_CLASS: &str = "2012-07-01";

/// The schema of one version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schema {
    version: Version,
}

impl Schema {
    /// The newest: it can say everything, and documents are stored in it.
    pub const NEWEST: Self = Self { version: Version::NEWEST };

    /// The schema of `version`.
    pub fn of(version: Version) -> Self {
        Self { version }
    }

    /// How it spells the origin and lists.
    pub fn form(self) -> Form {
        if self.version >= Version::V2012_05_05 {
            Form::Items
        } else if self.version >= Version::V2010_11_01 {
            Form::S3Origin
        } else {
            Form::Flat
        }
    }

    /// Whether it knows origin access identities and trusted signers.
    pub fn says_private(self) -> bool {
        self.version >= Version::V2010_03_01
    }

    /// Whether it knows access logs.
    pub fn says_logging(self) -> bool {
        self.version >= Version::V2010_05_01
    }

    /// Whether it knows price classes.
    pub fn says_price_class(self) -> bool {
        Version::parse(PRICE_CLASS).is_some_and(|first| self.version >= first)
    }

    /// Whether its answers carry ARNs, and resources have tags.
    pub fn says_arn(self) -> bool {
        self.version >= Version::V2016_08_01
    }

    /// Whether its times have milliseconds. Clients of older versions read whole seconds.
    pub fn says_milliseconds(self) -> bool {
        self.version >= Version::V2012_05_05
    }

    /// Whether a second create with the same caller reference and config gets the first one's answer; later it is an error whatever the config.
    pub fn repeats_answer(self) -> bool {
        self.version < Version::V2018_11_05
    }

    /// Whether an update may come without its origin or with a caller reference of its own: jets3t 0.9.x, the one client of 2012-05-05, does both
    /// in each update, and means what is stored.
    pub fn keeps_what_jets3t_forgets(self) -> bool {
        self.version == Version::V2012_05_05
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(date: &str) -> Schema {
        Schema::of(Version::parse(date).unwrap())
    }

    #[test]
    fn members_come_with_their_versions() {
        let rows = [
            ("2009-12-01", Form::Flat, false, false, false, false),
            ("2010-03-01", Form::Flat, true, false, false, false),
            ("2010-08-01", Form::Flat, true, true, false, false),
            ("2010-11-01", Form::S3Origin, true, true, false, false),
            ("2012-05-05", Form::Items, true, true, false, false),
            ("2014-05-31", Form::Items, true, true, true, false),
            ("2016-08-01", Form::Items, true, true, true, true),
            ("2020-05-31", Form::Items, true, true, true, true),
        ];
        for (date, form, private, logging, price_class, arn) in rows {
            let of = schema(date);
            assert_eq!(of.form(), form, "{date}");
            let says = (of.says_private(), of.says_logging(), of.says_price_class(), of.says_arn());
            assert_eq!(says, (private, logging, price_class, arn), "{date}");
        }
    }

    #[test]
    fn a_second_create_is_an_error_from_november_2018_on() {
        assert!(schema("2009-12-01").repeats_answer() && schema("2018-06-18").repeats_answer());
        assert!(!schema("2018-11-05").repeats_answer() && !schema("2020-05-31").repeats_answer());
    }
}
