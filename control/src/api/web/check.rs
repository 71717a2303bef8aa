//! What of a config can be judged without a store, each fault under the code that CloudFront has for it.

use std::collections::HashSet;

use proto::distribution::{is_account, is_host};

use super::config::{items, origin};
use crate::api::held::{check_caller_reference, check_comment, required};
use crate::api::xml::Element;
use crate::api::{ApiError, Limits};

/// Origins of a distribution, and its cache behaviours beside the default one: CloudFront's first limits.
const ORIGINS_MAX: usize = 25;
const CACHE_BEHAVIOURS_MAX: usize = 25;
const ORIGIN_ID_CHARS_MAX: usize = 128;
const ROOT_OBJECT_CHARS_MAX: usize = 255;

fn bad<T>(code: &'static str, reason: impl Into<String>) -> Result<T, ApiError> {
    Err(ApiError::bad_request(code, reason))
}

fn wrong<T>(reason: impl Into<String>) -> Result<T, ApiError> {
    Err(ApiError::invalid_argument(reason))
}

/// Checks a tree of the newest schema.
pub(super) fn check(config: &Element, limits: &Limits) -> Result<(), ApiError> {
    check_caller_reference(&required(config, "CallerReference")?)?;
    check_comment(&required(config, "Comment")?)?;
    check_boolean(config, "Enabled", true)?;
    for name in ["Origins", "DefaultCacheBehavior"] {
        if config.child(name).is_none() {
            return wrong(format!("{name}: is missing"));
        }
    }
    check_quantities(config)?;
    check_aliases(config, limits)?;
    check_root_object(config.child_text("DefaultRootObject").unwrap_or_default())?;
    check_logging(config)?;
    let targets = check_origins(config)?;
    check_behaviours(config, &targets, limits)
}

fn check_boolean(parent: &Element, name: &str, needed: bool) -> Result<(), ApiError> {
    match parent.child_text(name) {
        Some("true" | "false") => Ok(()),
        None if !needed => Ok(()),
        None => wrong(format!("{name}: is missing")),
        Some(text) => wrong(format!("{name}: '{text}' is neither true nor false")),
    }
}

/// Wherever a `Quantity` stands, as many items must stand beside it, and items without one are as wrong.
fn check_quantities(element: &Element) -> Result<(), ApiError> {
    let has_items = element.child("Items").map_or(0, |items| items.children.len());
    let told = match element.child_text("Quantity") {
        Some(text) => match text.parse::<usize>() {
            Ok(number) => number,
            Err(_) => return wrong(format!("{}/Quantity: '{text}' is no number", element.name)),
        },
        None => 0,
    };
    if told != has_items {
        let reason = format!("{}: Quantity is {told}, and there are {has_items} Items", element.name);
        return bad("InconsistentQuantities", reason);
    }
    element.children.iter().try_for_each(check_quantities)
}

fn check_aliases(config: &Element, limits: &Limits) -> Result<(), ApiError> {
    let mut seen = HashSet::new();
    for alias in items(config, "Aliases") {
        let name = alias.text.trim().to_ascii_lowercase();
        if !is_host(&name) {
            return wrong(format!("Aliases: '{name}' is no host name (names with * are not supported)"));
        }
        if seen.len() == limits.aliases {
            let reason = format!("a distribution may have {} CNAMEs", limits.aliases);
            return bad("TooManyDistributionCNAMEs", reason);
        }
        if !seen.insert(name.clone()) {
            return wrong(format!("Aliases: '{name}' is named twice"));
        }
    }
    Ok(())
}

fn check_root_object(name: &str) -> Result<(), ApiError> {
    if name.starts_with('/') || name.chars().count() > ROOT_OBJECT_CHARS_MAX {
        let reason =
            format!("DefaultRootObject: begins with / or has over {ROOT_OBJECT_CHARS_MAX} characters");
        return bad("InvalidDefaultRootObject", reason);
    }
    Ok(())
}

fn check_logging(config: &Element) -> Result<(), ApiError> {
    let Some(logging) = config.child("Logging") else { return Ok(()) };
    check_boolean(logging, "Enabled", false)?;
    let bucket = logging.child_text("Bucket").unwrap_or_default();
    if logging.child_text("Enabled") == Some("true") && !is_host(&bucket.to_ascii_lowercase()) {
        return wrong(format!(
            "Logging/Bucket: '{bucket}' is not a bucket host such as BUCKET.s3.amazonaws.com"
        ));
    }
    Ok(())
}

/// Checks the origins and returns the ids that behaviours may name: those of origins and of origin groups.
fn check_origins(config: &Element) -> Result<HashSet<&str>, ApiError> {
    let mut targets = HashSet::new();
    for (known, element) in items(config, "Origins").enumerate() {
        if known == ORIGINS_MAX {
            return bad("TooManyOrigins", format!("a distribution may have {ORIGINS_MAX} origins"));
        }
        let id = required(element, "Id")?;
        if !(1..=ORIGIN_ID_CHARS_MAX).contains(&id.chars().count()) {
            return wrong(format!("Origin/Id: '{id}' is not 1 to {ORIGIN_ID_CHARS_MAX} characters"));
        }
        required(element, "DomainName")?;
        let origin = origin(element)?;
        if !targets.insert(origin.id) {
            return wrong(format!("Origins: the id '{id}' is there twice"));
        }
        // An S3 origin that is no bucket host is kept as a custom one is, and named by the status.
        if !is_host(&origin.domain_name.to_ascii_lowercase()) {
            return bad("InvalidOrigin", format!("origin '{id}': '{}' is no host name", origin.domain_name));
        }
        if !origin.path.is_empty() && (!origin.path.starts_with('/') || origin.path.ends_with('/')) {
            return wrong(format!("origin '{id}': OriginPath must begin with / and not end with it"));
        }
        check_custom(element.child("CustomOriginConfig"), &id)?;
    }
    if targets.is_empty() {
        return wrong("Origins: there is none");
    }
    targets.extend(items(config, "OriginGroups").filter_map(|group| group.child_text("Id")));
    Ok(targets)
}

fn check_custom(custom: Option<&Element>, id: &str) -> Result<(), ApiError> {
    let Some(custom) = custom else { return Ok(()) };
    for name in ["HTTPPort", "HTTPSPort"] {
        let port = required(custom, name)?;
        if !port.parse::<u16>().is_ok_and(|port| port > 0) {
            return wrong(format!("origin '{id}': {name} '{port}' is no port"));
        }
    }
    let policy = required(custom, "OriginProtocolPolicy")?;
    if !["http-only", "match-viewer", "https-only"].contains(&policy.as_str()) {
        return wrong(format!("origin '{id}': OriginProtocolPolicy '{policy}' is not known"));
    }
    Ok(())
}

fn check_behaviours(config: &Element, targets: &HashSet<&str>, limits: &Limits) -> Result<(), ApiError> {
    if let Some(default) = config.child("DefaultCacheBehavior") {
        check_behaviour(default, targets, limits)?;
    }
    let mut patterns = HashSet::new();
    for behaviour in items(config, "CacheBehaviors") {
        let pattern = required(behaviour, "PathPattern")?;
        if pattern.is_empty() {
            return wrong("CacheBehavior/PathPattern: is empty");
        }
        if patterns.len() == CACHE_BEHAVIOURS_MAX {
            let reason = format!(
                "a distribution may have {CACHE_BEHAVIOURS_MAX} cache behaviors beside the default one"
            );
            return bad("TooManyCacheBehaviors", reason);
        }
        if !patterns.insert(pattern.clone()) {
            return wrong(format!("CacheBehaviors: the pattern '{pattern}' is there twice"));
        }
        check_behaviour(behaviour, targets, limits)?;
    }
    Ok(())
}

fn check_behaviour(behaviour: &Element, targets: &HashSet<&str>, limits: &Limits) -> Result<(), ApiError> {
    let name = &behaviour.name;
    let target = required(behaviour, "TargetOriginId")?;
    if !targets.contains(target.as_str()) {
        return Err(ApiError::not_found("NoSuchOrigin", format!("{name}: there is no origin '{target}'")));
    }
    let policy = required(behaviour, "ViewerProtocolPolicy")?;
    if !["allow-all", "https-only", "redirect-to-https"].contains(&policy.as_str()) {
        return wrong(format!("{name}: ViewerProtocolPolicy '{policy}' is not known"));
    }
    for boolean in ["SmoothStreaming", "Compress"] {
        check_boolean(behaviour, boolean, false)?;
    }
    check_signers(behaviour, limits)?;
    check_times(behaviour)
}

fn check_signers(behaviour: &Element, limits: &Limits) -> Result<(), ApiError> {
    for list in ["TrustedSigners", "TrustedKeyGroups"] {
        let Some(trusted) = behaviour.child(list) else { continue };
        check_boolean(trusted, "Enabled", true)?;
        let some = items(behaviour, list).next().is_some();
        if some != (trusted.child_text("Enabled") == Some("true")) {
            return wrong(format!("{list}: Enabled must be true with Items and false without"));
        }
    }
    let signers = items(behaviour, "TrustedSigners").map(|signer| signer.text.trim());
    for (known, signer) in signers.enumerate() {
        if known == limits.trusted_signers {
            let reason = format!("a cache behavior may have {} trusted signers", limits.trusted_signers);
            return bad("TooManyTrustedSigners", reason);
        }
        if signer != "self" && !is_account(signer) {
            let reason = format!("'{signer}' is neither self nor an account of 12 digits");
            return bad("TrustedSignerDoesNotExist", reason);
        }
    }
    Ok(())
}

fn check_times(behaviour: &Element) -> Result<(), ApiError> {
    let seconds = |name: &str| match behaviour.child_text(name) {
        None => Ok(None),
        Some(text) => match text.parse::<u64>() {
            Ok(seconds) => Ok(Some(seconds)),
            Err(_) => wrong(format!("{name}: '{text}' is no number of seconds")),
        },
    };
    let times = [seconds("MinTTL")?, seconds("DefaultTTL")?, seconds("MaxTTL")?];
    let given: Vec<u64> = times.into_iter().flatten().collect();
    if !given.is_sorted() {
        return bad("InvalidTTLOrder", "MinTTL, DefaultTTL and MaxTTL are not in ascending order");
    }
    Ok(())
}
