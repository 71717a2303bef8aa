//! What a process proves itself with on gRPC, and how it knows the others: a derived token, TLS files, or both.
//!
//! With TLS every gRPC connection of this process is encrypted, to control and between edges and shields alike; a cluster has one CA of its own,
//! which signs what servers show and what clients present. A certificate that names a role and node (`penstock://ROLE/NODE`) replaces the token.
//! TLS files are followed as they change ([`peers`](super::tls::peers)), tokens are read once, at start.

use std::path::Path;

use proto::token::{BadToken, Bearer, Guard, NodeToken, Role};

use super::config::ConfigError;
pub use super::tls::peers::{Tls, TlsFiles};

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
}

#[cfg(test)]
mod tests;
