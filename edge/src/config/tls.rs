//! The `tls:` section: which certificates RTMPS and RTMPTS are served with.

use std::path::PathBuf;

use serde::Deserialize;

use super::BadField;

/// TLS on an edge's listeners. Without a certificate, connections that begin with TLS are refused.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TlsConfig {
    /// PEM file: the certificate, then those that lead from it towards a root.
    pub certificate_file: Option<PathBuf>,
    /// PEM file: the certificate's private key (PKCS #8, PKCS #1 or SEC 1).
    pub key_file: Option<PathBuf>,
    /// More certificates, chosen by the name a client asks for (SNI).
    pub names: Vec<NamedCertificate>,
    /// How often the files are looked at again, in seconds.
    pub reload_seconds: u64,
}

/// A certificate for clients that ask for a certain name.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedCertificate {
    /// Host name, lower case; `*.example.com` stands for all names with one more label.
    pub name: String,
    /// As [`TlsConfig::certificate_file`].
    pub certificate_file: PathBuf,
    /// As [`TlsConfig::key_file`].
    pub key_file: PathBuf,
}

impl Default for TlsConfig {
    fn default() -> Self {
        Self { certificate_file: None, key_file: None, names: Vec::new(), reload_seconds: 10 }
    }
}

impl TlsConfig {
    /// Checks what types don't; whether the files can be used is seen when they are loaded ([`crate::tls::Certificates`]).
    pub(super) fn check(&self) -> Result<(), BadField> {
        let bad = |field, reason: String| Err(BadField { field, reason });
        match (&self.certificate_file, &self.key_file) {
            (Some(_), None) => return bad("tls.key_file", "is needed with certificate_file".into()),
            (None, Some(_)) => return bad("tls.certificate_file", "is needed with key_file".into()),
            (None, None) if !self.names.is_empty() => {
                return bad("tls.certificate_file", "is needed for clients that name no host".into());
            }
            _ => {}
        }
        if !(1..=86_400).contains(&self.reload_seconds) {
            return bad("tls.reload_seconds", format!("{} is not within 1 and 86400", self.reload_seconds));
        }
        let wrong = |name: &str| !proto::distribution::is_host(name.strip_prefix("*.").unwrap_or(name));
        if let Some(named) = self.names.iter().find(|named| wrong(&named.name)) {
            return bad("tls.names", format!("'{}' is not a lower-case host name", named.name));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(yaml: &str) -> Result<(), String> {
        let config: TlsConfig = serde_yaml_ng::from_str(yaml).unwrap();
        config.check().map_err(|bad| bad.field.to_owned())
    }

    #[test]
    fn half_a_pair_and_odd_names_are_told() {
        assert_eq!(config("{}"), Ok(()));
        assert_eq!(config("{certificate_file: a, key_file: b}"), Ok(()));
        assert_eq!(config("{certificate_file: a}"), Err("tls.key_file".into()));
        assert_eq!(config("{key_file: a}"), Err("tls.certificate_file".into()));
        assert_eq!(
            config("{certificate_file: a, key_file: b, reload_seconds: 0}"),
            Err("tls.reload_seconds".into())
        );
        let named = |name: &str| {
            format!(
                "{{certificate_file: a, key_file: b, names: [{{name: '{name}', certificate_file: c, key_file: d}}]}}"
            )
        };
        assert_eq!(config(&named("*.example.com")), Ok(()));
        assert_eq!(config(&named("Example.com")), Err("tls.names".into()));
        assert_eq!(
            config("{names: [{name: a.example, certificate_file: c, key_file: d}]}"),
            Err("tls.certificate_file".into())
        );
    }
}
