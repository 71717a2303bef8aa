//! Configuration as all binaries read it: one YAML file, single fields overridden by `PENSTOCK_*` variables, and errors
//! that name the file and the field.
//!
//! A field `store.etcd.endpoints` is overridden by `PENSTOCK_STORE_ETCD_ENDPOINTS`. The names are found by asking the
//! config type for its fields (see [`fields`]), so there is no list to keep up, and variables that are no field (such as
//! those Kubernetes sets for each Service) do no harm. Text fields take a variable as it is; lists take commas or YAML's
//! `[a, b]`; all else is read as YAML. Unknown fields in the file are refused by the types themselves
//! (`#[serde(deny_unknown_fields)]`).

pub mod fields;

use std::path::{Path, PathBuf};

use proto::token::MasterToken;
use serde::de::DeserializeOwned;
use serde_yaml_ng::{Mapping, Value};

use fields::{Field, Shape};

/// Why a configuration can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("{path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A field is missing, unknown or has a wrong value.
    #[error("{origin}: {reason}")]
    Field {
        /// The file, and the variables laid over it.
        origin: String,
        /// Path of the field, and what is wrong with it.
        reason: String,
    },
    /// A variable can't be read as its field's type.
    #[error("{variable}: {reason}")]
    Variable {
        /// The variable's name.
        variable: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The TLS files can't be used.
    #[error(transparent)]
    Tls(#[from] super::tls::peers::TlsError),
    /// A token is missing or can't be used.
    #[error("{field}: {reason}")]
    Token {
        /// The field or file it was looked for in.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// Reads `path` (nothing: an empty config), lays the process's `PENSTOCK_*` variables over it.
pub fn load<T: DeserializeOwned>(path: Option<&Path>) -> Result<T, ConfigError> {
    load_with(path, |name| std::env::var(name).ok())
}

/// As [`load`], with the variables from `variable`.
pub fn load_with<T: DeserializeOwned>(
    path: Option<&Path>,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<T, ConfigError> {
    let text = match path {
        Some(path) => {
            std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.into(), source })?
        }
        None => String::new(),
    };
    let file = path.map_or_else(|| "config".to_owned(), |p| p.display().to_string());
    let failed =
        |origin: String| move |e: serde_yaml_ng::Error| ConfigError::Field { origin, reason: e.to_string() };
    let mut tree: Value = serde_yaml_ng::from_str(&text).map_err(failed(file.clone()))?;
    if tree.is_null() {
        tree = Value::Mapping(Mapping::new());
    }
    let mut used = Vec::new();
    for field in fields::of::<T>() {
        let name = field.variable();
        if let Some(given) = variable(&name) {
            set(&mut tree, &field, read(&name, &field.shape, &given)?, &name)?;
            used.push(name);
        }
    }
    if used.is_empty() && !text.trim().is_empty() {
        // Straight from the text, so that errors carry line and column.
        return serde_yaml_ng::from_str(&text).map_err(failed(file));
    }
    // Through text again: only then do errors carry the path of the field.
    let origin = if used.is_empty() { file } else { format!("{file} with {}", used.join(", ")) };
    let merged = serde_yaml_ng::to_string(&tree).map_err(failed(origin.clone()))?;
    serde_yaml_ng::from_str(&merged).map_err(failed(origin))
}

fn read(variable: &str, shape: &Shape, given: &str) -> Result<Value, ConfigError> {
    let yaml = || {
        serde_yaml_ng::from_str(given)
            .map_err(|e| ConfigError::Variable { variable: variable.into(), reason: e.to_string() })
    };
    match shape {
        Shape::Text => Ok(Value::String(given.into())),
        Shape::List if !given.trim_start().starts_with('[') => Ok(Value::Sequence(
            given
                .split(',')
                .map(str::trim)
                .filter(|s| !s.is_empty())
                .map(|s| Value::String(s.into()))
                .collect(),
        )),
        _ => yaml(),
    }
}

fn set(tree: &mut Value, field: &Field, value: Value, variable: &str) -> Result<(), ConfigError> {
    let mut at = tree;
    for step in &field.path {
        if at.is_null() {
            *at = Value::Mapping(Mapping::new());
        }
        let Value::Mapping(map) = at else {
            return Err(ConfigError::Variable {
                variable: variable.into(),
                reason: format!("the file has no section around '{step}' to put it in"),
            });
        };
        at = map.entry(Value::String((*step).into())).or_insert(Value::Null);
    }
    *at = value;
    Ok(())
}

/// A secret: `value` itself, or the contents of `file` without the line end, and what to name it by in an error. Exactly one must be given.
pub(super) fn secret(
    field: &str,
    value: Option<&str>,
    file_field: &str,
    file: Option<&Path>,
) -> Result<(String, String), ConfigError> {
    let bad = |reason: String| Err(ConfigError::Token { field: field.into(), reason });
    match (value, file) {
        (Some(_), Some(_)) => bad(format!("is given beside {file_field}; give one of them")),
        (None, None) => bad(format!(
            "is missing; give {field} or {file_field} (on the command line --token, --token-file or PENSTOCK_TOKEN_FILE)"
        )),
        (Some(value), None) => Ok((field.to_owned(), value.to_owned())),
        (None, Some(path)) => {
            let read = std::fs::read_to_string(path)
                .map_err(|source| ConfigError::Read { path: path.into(), source })?;
            let text = read.trim_end_matches(['\r', '\n']).to_owned();
            Ok((format!("{file_field} {}", path.display()), text))
        }
    }
}

/// The cluster's master token, from `token` or `token_file`.
pub fn load_master(token: Option<&str>, token_file: Option<&Path>) -> Result<MasterToken, ConfigError> {
    let (field, text) = secret("token", token, "token_file", token_file)?;
    MasterToken::new(&text).map_err(|reason| ConfigError::Token { field, reason: reason.to_string() })
}

#[cfg(test)]
mod tests;
