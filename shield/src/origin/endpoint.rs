//! Which bucket a host name means, and where it lives.
//!
//! A distribution names its origin as operators write it: `media.s3.amazonaws.com`, or a host under an own suffix. The
//! longest entry of `origins:` that fits wins (an exact host before any suffix); a host of AWS's form without an entry goes
//! to AWS. Any other host is an error that names it.

use std::path::PathBuf;

use proto::object::{check_bucket, split_s3_host};

use crate::config::ShieldConfig;

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
    /// PEM file of the authorities to trust.
    pub ca_file: Option<PathBuf>,
}

impl Place {
    /// What bounds on connections are shared by.
    pub fn name(&self) -> String {
        self.endpoint.clone().unwrap_or_else(|| format!("aws:{}", self.region))
    }
}

/// Why a host names no bucket.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PlaceError {
    /// No entry of `origins:` fits and it has not AWS's form.
    #[error("'{0}' fits no entry of origins and is not BUCKET.s3[.REGION].amazonaws.com")]
    UnknownHost(String),
    /// What precedes the suffix is no bucket's name.
    #[error("'{0}' is not a bucket's name")]
    BadBucket(String),
}

/// The place `host` names under `config`.
pub fn resolve(config: &ShieldConfig, host: &str) -> Result<Place, PlaceError> {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let exact = config.origins.get_key_value(&host);
    let suffix = || {
        let fits = |entry: &(&String, _)| entry.0.starts_with('.') && host.ends_with(entry.0.as_str());
        config.origins.iter().filter(fits).max_by_key(|(key, _)| key.len())
    };
    if let Some((key, origin)) = exact.or_else(suffix) {
        let named = match (&origin.bucket, key.starts_with('.')) {
            (Some(bucket), _) => bucket.as_str(),
            // A suffix as short as `.amazonaws.com` takes every region of AWS's form.
            (None, true) => split_s3_host(&host)
                .map_or_else(|| host.strip_suffix(key.as_str()).unwrap_or(&host), |(b, _)| b),
            (None, false) => {
                split_s3_host(&host).map_or_else(|| host.split('.').next().unwrap_or(&host), |(b, _)| b)
            }
        };
        if !check_bucket(named) {
            return Err(PlaceError::BadBucket(named.to_owned()));
        }
        return Ok(Place {
            bucket: named.to_owned(),
            endpoint: Some(origin.endpoint.trim_end_matches('/').to_owned()),
            region: origin.region.clone(),
            region_guessed: false,
            path_style: origin.path_style,
            ca_file: origin.ca_file.clone(),
        });
    }
    let (bucket, region) = split_s3_host(&host).ok_or_else(|| PlaceError::UnknownHost(host.clone()))?;
    Ok(Place {
        bucket: bucket.to_owned(),
        endpoint: None,
        region: region.unwrap_or("us-east-1").to_owned(),
        region_guessed: region.is_none(),
        // AWS's certificate covers one label: a bucket with dots must go in the path to be verified.
        path_style: bucket.contains('.'),
        ca_file: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(yaml: &str) -> ShieldConfig {
        serde_yaml_ng::from_str(yaml).unwrap()
    }

    #[test]
    fn the_longest_fit_wins() {
        let config = config(
            "origins:\n  .s3.amazonaws.com: {endpoint: 'http://a:1'}\n  .my.store: {endpoint: 'http://b:2', path_style: false}\n  \
             .eu.my.store: {endpoint: 'http://c:3', region: eu-west-1}\n  media.s3.amazonaws.com: {endpoint: 'https://d'}\n  \
             films.example.com: {endpoint: 'http://e', bucket: films-2}\n",
        );
        let at = |host: &str| resolve(&config, host).map(|p| (p.bucket, p.endpoint.unwrap_or_default()));
        assert_eq!(at("x-1.s3.amazonaws.com"), Ok(("x-1".into(), "http://a:1".into())));
        assert_eq!(at("MEDIA.s3.amazonaws.com."), Ok(("media".into(), "https://d".into())));
        assert_eq!(at("films.my.store"), Ok(("films".into(), "http://b:2".into())));
        assert_eq!(at("films.eu.my.store"), Ok(("films".into(), "http://c:3".into())));
        assert_eq!(at("films.example.com"), Ok(("films-2".into(), "http://e".into())));
        assert_eq!(at("other.example.com"), Err(PlaceError::UnknownHost("other.example.com".into())));
        assert_eq!(at(".my.store"), Err(PlaceError::BadBucket(String::new())));
    }

    #[test]
    fn aws_needs_no_entry() {
        let place = resolve(&ShieldConfig::default(), "my.media.s3.eu-west-1.amazonaws.com").unwrap();
        assert_eq!((place.bucket.as_str(), place.region.as_str()), ("my.media", "eu-west-1"));
        assert!(place.path_style && !place.region_guessed && place.endpoint.is_none());
        assert!(resolve(&ShieldConfig::default(), "media.s3.amazonaws.com").unwrap().region_guessed);
    }
}
