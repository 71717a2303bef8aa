//! What a process proves itself with on gRPC, and how it knows the others: a derived token, TLS files, or both.
//!
//! With TLS every gRPC connection of this process is encrypted, to control and between edges and shields alike; a cluster has one CA of its own,
//! which signs what servers show and what clients present. A certificate that names a role and node (`penstock://ROLE/NODE`) replaces the token.
//! Files are read once, at start: a new certificate counts from the next start on.

use std::path::{Path, PathBuf};
use std::time::Duration;

use proto::token::{BadToken, Bearer, Guard, NodeToken, Role};
use serde::Deserialize;
use tonic::transport::{Certificate, ClientTlsConfig, Identity, ServerTlsConfig};

use super::config::ConfigError;

/// A TLS handshake that takes longer is given up.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Where a process's certificate is, and whom it trusts: PEM files.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsFiles {
    /// The certificates of the cluster's own CA.
    pub ca: PathBuf,
    /// This process's certificate chain; a server needs one.
    #[serde(default)]
    pub cert: Option<PathBuf>,
    /// Its private key.
    #[serde(default)]
    pub key: Option<PathBuf>,
}

/// TLS as a process speaks it.
#[derive(Clone)]
pub struct Tls {
    ca: Certificate,
    identity: Option<Identity>,
}

impl TlsFiles {
    /// Reads the files; an error names the field.
    pub fn load(&self) -> Result<Tls, ConfigError> {
        let bad = |field: &str, path: &Path, reason: &str| ConfigError::Field {
            origin: format!("tls.{field} {}", path.display()),
            reason: reason.into(),
        };
        let read = |field: &str, path: &Path, marks: &str| {
            let text =
                std::fs::read(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
            let found = String::from_utf8_lossy(&text)
                .lines()
                .any(|line| line.starts_with("-----BEGIN") && line.contains(marks));
            if found { Ok(text) } else { Err(bad(field, path, &format!("holds no PEM block {marks}"))) }
        };
        let ca = Certificate::from_pem(read("ca", &self.ca, "CERTIFICATE")?);
        let identity = match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => {
                Some(Identity::from_pem(read("cert", cert, "CERTIFICATE")?, read("key", key, "PRIVATE KEY")?))
            }
            (None, None) => None,
            (Some(path), None) | (None, Some(path)) => {
                return Err(bad("cert", path, "cert and key come together"));
            }
        };
        Ok(Tls { ca, identity })
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The key is in there.
        f.write_str("Tls")
    }
}

impl Tls {
    /// Whether it has a certificate of its own.
    pub fn has_certificate(&self) -> bool {
        self.identity.is_some()
    }

    /// How it opens connections.
    pub fn client(&self) -> ClientTlsConfig {
        let config = ClientTlsConfig::new().ca_certificate(self.ca.clone()).timeout(HANDSHAKE);
        match &self.identity {
            Some(identity) => config.identity(identity.clone()),
            None => config,
        }
    }

    /// How it accepts them; `None` without a certificate. Clients may present theirs, or a token instead.
    pub fn server(&self) -> Option<ServerTlsConfig> {
        let identity = self.identity.clone()?;
        let config = ServerTlsConfig::new().identity(identity).timeout(HANDSHAKE);
        Some(config.client_ca_root(self.ca.clone()).client_auth_optional(true))
    }
}

/// What a node or an operator proves itself with.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// Its derived token; `None` where its certificate says who it is.
    pub token: Option<NodeToken>,
    /// Its TLS files; `None`: plain connections.
    pub tls: Option<Tls>,
}

impl From<NodeToken> for Credentials {
    fn from(token: NodeToken) -> Self {
        Self { token: Some(token), tls: None }
    }
}

impl Credentials {
    /// A token alone, as text.
    pub fn of_token(text: &str) -> Result<Self, BadToken> {
        Ok(text.parse::<NodeToken>()?.into())
    }

    /// What the config of the node `node` (an operator: `None`) gives for `role`: a token, a file that holds one, or a certificate.
    pub fn load(
        role: Role,
        node: Option<&str>,
        token: Option<&str>,
        token_file: Option<&Path>,
        tls: Option<&TlsFiles>,
    ) -> Result<Self, ConfigError> {
        let tls = tls.map(TlsFiles::load).transpose()?;
        if role == Role::Shield && tls.as_ref().is_some_and(|tls| !tls.has_certificate()) {
            let reason = "a shield accepts connections: give cert and key".into();
            return Err(ConfigError::Field { origin: "tls".into(), reason });
        }
        if token.is_none() && token_file.is_none() && tls.as_ref().is_some_and(Tls::has_certificate) {
            return Ok(Self { token: None, tls });
        }
        let (field, text) = super::config::secret("token", token, "token_file", token_file)?;
        let bad = |reason: BadToken| ConfigError::Token { field: field.clone(), reason: reason.to_string() };
        let token: NodeToken = text.parse().map_err(bad)?;
        token.check(role, node).map_err(bad)?;
        Ok(Self { token: Some(token), tls })
    }

    /// What calls to control carry.
    pub fn bearer(&self) -> Bearer {
        self.token.as_ref().map_or_else(Bearer::none, NodeToken::bearer)
    }

    /// What calls to shields carry.
    pub fn peer(&self) -> Bearer {
        self.token.as_ref().map_or_else(Bearer::none, NodeToken::peer)
    }

    /// What checks the callers of a shield.
    pub fn guard(&self) -> Result<Guard, BadToken> {
        match &self.token {
            Some(token) => token.guard(),
            None => Ok(Guard::certificates_only()),
        }
    }

    /// `http` or `https`: how shields are called.
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }
}

#[cfg(test)]
mod tests;
