//! Names of log objects: `prefix/ID.YYYY-MM-DD-HH.UNIQUE.gz`.

/// A name taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogKey {
    /// With the slash at its end; empty if there is none.
    pub prefix: String,
    /// `E…`
    pub distribution: String,
    /// `YYYY-MM-DD-HH`
    pub hour: String,
    /// `[A-Z0-9]+`
    pub unique: String,
}

impl LogKey {
    /// # Errors
    /// The part that is not as the contract says.
    pub fn parse(key: &str) -> Result<Self, String> {
        let (prefix, name) = key.rfind('/').map_or(("", key), |slash| key.split_at(slash + 1));
        if prefix.starts_with('/') || prefix.ends_with("//") {
            return Err(format!("prefix {prefix:?}: a slash too many"));
        }
        let parts: Vec<&str> = name.split('.').collect();
        let [distribution, hour, unique, "gz"] = parts[..] else {
            return Err(format!("{name:?} is not ID.HOUR.UNIQUE.gz"));
        };
        let upper = |part: &str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
        };
        if !upper(distribution) || !distribution.starts_with('E') {
            return Err(format!("{distribution:?} is no distribution"));
        }
        if !upper(unique) {
            return Err(format!("{unique:?} is not of A-Z and 0-9"));
        }
        let shape: String = hour.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        if shape != "0000-00-00-00" {
            return Err(format!("{hour:?} is no hour"));
        }
        let own = str::to_owned;
        Ok(Self {
            prefix: own(prefix),
            distribution: own(distribution),
            hour: own(hour),
            unique: own(unique),
        })
    }
}
