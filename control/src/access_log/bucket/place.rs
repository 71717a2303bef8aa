//! Which bucket a host name means, where it lives, and by which keys it is opened.
//!
//! A log target names its bucket as CloudFront did, `NAME.s3.amazonaws.com`, or by another host that the operator knows. The longest entry of
//! [`Places::hosts`] that fits wins (an exact host before any suffix), by the same rules as the shields' `origins:`. A host of AWS's
//! form without an entry is looked for at [`Places::endpoint`], or at AWS itself if there is none. Any other host is no bucket.

use std::collections::BTreeMap;
use std::path::PathBuf;

use proto::object::{check_bucket, split_s3_host};

/// Where a secret is kept.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// Here.
    Text(String),
    /// In a file, without the space around it; read for each request, so that it can be changed.
    File(PathBuf),
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(_) => f.write_str("Text(..)"),
            Self::File(path) => write!(f, "File({})", path.display()),
        }
    }
}

/// What requests are signed with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keys {
    /// An access key.
    Given {
        /// Its id.
        access_key_id: String,
        /// Its secret.
        secret: Secret,
    },
    /// Those that the platform gives this node: [`crate::platform`].
    Platform,
}

/// A bucket and how to reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The bucket.
    pub bucket: String,
    /// `http(s)://HOST[:PORT]`; `None` leaves it to AWS's own rules for the region.
    pub endpoint: Option<String>,
    /// Region to sign for.
    pub region: String,
    /// Whether the region is a guess that AWS may correct.
    pub region_guessed: bool,
    /// Whether the bucket goes in the path.
    pub path_style: bool,
    /// PEM file of the authorities to trust, instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// What requests are signed with.
    pub keys: Keys,
}

/// Where the buckets of a host or a suffix are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPlace {
    /// `http(s)://HOST[:PORT]`.
    pub endpoint: String,
    /// Region to sign for.
    pub region: String,
    /// Whether the bucket goes in the path.
    pub path_style: bool,
    /// The bucket's name, where it is not what the host says.
    pub bucket: Option<String>,
    /// PEM file of the authorities to trust.
    pub ca_file: Option<PathBuf>,
    /// Keys of its own.
    pub keys: Option<Keys>,
}

/// All that is known of where buckets are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// Where buckets of AWS's form are; `None`: at AWS.
    pub endpoint: Option<String>,
    /// Region to sign for at the endpoint, and first guess where a host of AWS names none.
    pub region: String,
    /// Authorities to trust at the endpoint.
    pub ca_file: Option<PathBuf>,
    /// What requests are signed with.
    pub keys: Keys,
    /// By host (`media.store.example`) or suffix (`.store.example`).
    pub hosts: BTreeMap<String, HostPlace>,
}

/// Why a host names no bucket.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    /// No entry fits and it has not AWS's form.
    #[error("'{0}' fits no entry of logs.delivery.hosts and is not BUCKET.s3[.REGION].amazonaws.com")]
    UnknownHost(String),
    /// What precedes the suffix is no bucket's name.
    #[error("'{0}' is not a bucket's name")]
    BadBucket(String),
}

impl Places {
    /// The place that `host` names.
    pub fn resolve(&self, host: &str) -> Result<Place, PlaceError> {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let suffix = || {
            let fits = |entry: &(&String, _)| entry.0.starts_with('.') && host.ends_with(entry.0.as_str());
            self.hosts.iter().filter(fits).max_by_key(|(key, _)| key.len())
        };
        if let Some((key, place)) = self.hosts.get_key_value(&host).or_else(suffix) {
            let of_aws = split_s3_host(&host).map(|(bucket, _)| bucket);
            let said = match key.strip_prefix('.') {
                Some(_) => of_aws.unwrap_or_else(|| host.strip_suffix(key.as_str()).unwrap_or(&host)),
                None => of_aws.unwrap_or_else(|| host.split('.').next().unwrap_or(&host)),
            };
            let bucket = place.bucket.as_deref().unwrap_or(said);
            return Ok(Place {
                bucket: checked(bucket)?,
                endpoint: Some(place.endpoint.trim_end_matches('/').to_owned()),
                region: place.region.clone(),
                region_guessed: false,
                path_style: place.path_style,
                ca_file: place.ca_file.clone(),
                keys: place.keys.clone().unwrap_or_else(|| self.keys.clone()),
            });
        }
        let (bucket, region) = split_s3_host(&host).ok_or_else(|| PlaceError::UnknownHost(host.clone()))?;
        Ok(self.named(bucket, region))
    }

    /// Whether any of them is opened by keys that the platform gives.
    pub fn need_platform(&self) -> bool {
        let hosts = self.hosts.values().filter_map(|host| host.keys.as_ref());
        hosts.chain([&self.keys]).any(|keys| *keys == Keys::Platform)
    }

    /// The bucket of that name at the endpoint (AWS: in `region`, or wherever it is).
    pub fn named(&self, bucket: &str, region: Option<&str>) -> Place {
        let endpoint = self.endpoint.as_deref().map(|e| e.trim_end_matches('/').to_owned());
        let own = endpoint.is_some();
        Place {
            bucket: bucket.to_owned(),
            region: if own { &self.region } else { region.unwrap_or(&self.region) }.to_owned(),
            region_guessed: !own && region.is_none(),
            // AWS's certificate covers one label: a bucket with dots must go in the path to be verified.
            path_style: own || bucket.contains('.'),
            ca_file: self.ca_file.clone().filter(|_| own),
            keys: self.keys.clone(),
            endpoint,
        }
    }
}

fn checked(bucket: &str) -> Result<String, PlaceError> {
    check_bucket(bucket).then(|| bucket.to_owned()).ok_or_else(|| PlaceError::BadBucket(bucket.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(id: &str) -> Keys {
        Keys::Given { access_key_id: id.into(), secret: Secret::Text("hush".into()) }
    }

    fn places(endpoint: Option<&str>) -> Places {
        let host = |endpoint: &str, bucket: Option<&str>, keys: Option<Keys>| HostPlace {
            endpoint: endpoint.into(),
            region: "eu".into(),
            path_style: true,
            bucket: bucket.map(str::to_owned),
            ca_file: None,
            keys,
        };
        let hosts = [
            (".my.store", host("http://b:2/", None, None)),
            (".eu.my.store", host("http://c:3", None, Some(keys("own")))),
            ("logs.example.com", host("http://d", Some("logs-2"), None)),
        ];
        Places {
            endpoint: endpoint.map(str::to_owned),
            region: "us-west-2".into(),
            ca_file: Some("/ca".into()),
            keys: keys("id"),
            hosts: hosts.map(|(host, place)| (host.to_owned(), place)).into(),
        }
    }

    #[test]
    fn the_longest_fit_wins_and_may_have_keys_of_its_own() {
        let places = places(None);
        let at =
            |host: &str| places.resolve(host).map(|p| (p.bucket, p.endpoint.unwrap_or_default(), p.keys));
        assert_eq!(at("Films.my.store."), Ok(("films".into(), "http://b:2".into(), keys("id"))));
        assert_eq!(at("films.eu.my.store"), Ok(("films".into(), "http://c:3".into(), keys("own"))));
        assert_eq!(at("logs.example.com"), Ok(("logs-2".into(), "http://d".into(), keys("id"))));
        assert_eq!(at("other.example.com"), Err(PlaceError::UnknownHost("other.example.com".into())));
        assert_eq!(at(".my.store"), Err(PlaceError::BadBucket(String::new())));
        assert_eq!(at("../x.my.store"), Err(PlaceError::BadBucket("../x".into())));
    }

    #[test]
    fn a_bucket_of_amazons_form_is_at_amazon_or_at_the_endpoint() {
        let aws = places(None).resolve("my.logs.s3.eu-west-1.amazonaws.com").unwrap();
        assert_eq!((aws.bucket.as_str(), aws.region.as_str()), ("my.logs", "eu-west-1"));
        assert!(aws.path_style && !aws.region_guessed && aws.endpoint.is_none() && aws.ca_file.is_none());
        let guessed = places(None).resolve("logs.s3.amazonaws.com").unwrap();
        assert!(guessed.region_guessed && !guessed.path_style && guessed.region == "us-west-2");

        let own = places(Some("http://minio:9000/")).resolve("logs.s3.eu-west-1.amazonaws.com").unwrap();
        assert_eq!((own.bucket.as_str(), own.region.as_str()), ("logs", "us-west-2"));
        assert_eq!(own.endpoint.as_deref(), Some("http://minio:9000"));
        assert!(own.path_style && !own.region_guessed && own.ca_file.is_some());
    }

    #[test]
    fn a_secret_is_not_shown() {
        assert!(!format!("{:?}", places(None)).contains("hush"));
    }
}
