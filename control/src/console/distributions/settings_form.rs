//! The form of a distribution's settings, for a new one and for one that is edited.

use maud::{Markup, html};

use super::settings::{IDENTITY, PRICE_CLASSES, Settings, VIEWER_POLICIES};
use crate::console::buckets::Offer;
use crate::console::calls::Family;
use crate::console::page::{Field, Problems};

/// What the form needs besides the settings.
pub(super) struct Choices {
    /// Buckets to pick from.
    pub(super) offer: Offer,
    /// Origin access identities, `(id, comment)`.
    pub(super) identities: Vec<(String, String)>,
    /// Whether the origin may still be chosen: a streaming distribution's never changes.
    pub(super) origin_is_fixed: bool,
}

/// The host by which a bucket is named in a config.
pub(super) fn bucket_host(bucket: &str) -> String {
    format!("{bucket}.s3.amazonaws.com")
}

fn options(pairs: &[(&str, &str)], chosen: &str) -> Vec<(String, String)> {
    let known = pairs.iter().map(|(value, label)| ((*value).to_owned(), (*label).to_owned()));
    let is_known = chosen.is_empty() || pairs.iter().any(|(value, _)| *value == chosen);
    let other = (!is_known).then(|| (chosen.to_owned(), chosen.to_owned()));
    known.chain(other).collect()
}

/// All field sets.
pub(super) fn fields(family: Family, settings: &Settings, choices: &Choices, problems: &Problems) -> Markup {
    let field = |name, label, hint| Field { name, label, hint, problems };
    html! {
        fieldset {
            legend { "Origin" }
            (origin(settings, choices, problems))
            (identity(settings, choices, problems))
        }
        fieldset {
            legend { "Names" }
            (field("aliases", "Alternate names (CNAMEs)",
                "Host names of your own that point to the distribution's domain, one on a line. None is needed.")
                .lines(&settings.aliases.join("\n"), 3))
            (field("comment", "Comment", "For you: up to 128 characters.").line("text", &settings.comment, "off", false))
        }
        @if family == Family::Streaming {
            fieldset {
                legend { "Private content" }
                p class="hint" { "If any account signs, a stream is played only under a signed name." }
                (field("signed_by_self", "This account's keys sign stream names", "").tick(settings.signed_by_self))
                (field("signers", "Other accounts whose keys sign", "Account numbers of 12 digits, one on a line; five signers at most.")
                    .lines(&settings.signers.join("\n"), 2))
            }
        } @else {
            fieldset {
                legend { "Delivery" }
                (field("viewer_policy", "Viewers may use", "")
                    .choice(&options(&VIEWER_POLICIES, &settings.viewer_policy), &settings.viewer_policy))
                (field("root_object", "Default root object", "The object for the address without a path, such as index.html. None is needed.")
                    .line("text", &settings.root_object, "off", false))
                (field("smooth", "Serve Smooth Streaming from the files of its presentations", "").tick(settings.smooth))
            }
        }
        fieldset {
            legend { "Access logs" }
            (field("logging", "Write access logs to a bucket", "").tick(settings.logging))
            (field("log_bucket", "Log bucket", "As a host: logs.s3.amazonaws.com").line("text", &settings.log_bucket, "off", false))
            (field("log_prefix", "Log prefix", "Before the names of log files, such as films/. None is needed.")
                .line("text", &settings.log_prefix, "off", false))
        }
        fieldset {
            legend { "State" }
            (field("price_class", "Price class", "Kept for tools that ask for it; every edge serves.")
                .choice(&options(&PRICE_CLASSES, &settings.price_class), &settings.price_class))
            (field("enabled", "Enabled: viewers are served", "").tick(settings.enabled))
        }
    }
}

fn origin(settings: &Settings, choices: &Choices, problems: &Problems) -> Markup {
    if choices.origin_is_fixed {
        return html! {
            dl { dt { "Origin" } dd { (settings.origin) } }
            p class="hint" { "The origin of a streaming distribution can't be changed; make another distribution instead." }
            input type="hidden" name="origin" value=(settings.origin);
        };
    }
    let hosts: Vec<String> = choices.offer.buckets.iter().map(|bucket| bucket_host(bucket)).collect();
    let is_offered = hosts.contains(&settings.origin);
    let first = (String::new(), "Another origin, typed below".to_owned());
    let picks: Vec<(String, String)> = std::iter::once(first)
        .chain(hosts.iter().cloned().zip(choices.offer.buckets.iter().cloned()))
        .collect();
    let picked = if is_offered { settings.origin.as_str() } else { "" };
    let typed = if is_offered { "" } else { settings.origin.as_str() };
    let field = |name, label, hint| Field { name, label, hint, problems };
    html! {
        @if !hosts.is_empty() {
            (field("bucket", "Bucket", "").choice(&picks, picked))
        }
        @if choices.offer.incomplete {
            p class="hint" { "The S3 endpoint didn't list its buckets just now: there may be more than are offered." }
        }
        (field("origin", if hosts.is_empty() { "Origin" } else { "Another origin" },
            "A bucket's host: NAME.s3.amazonaws.com, NAME.s3.REGION.amazonaws.com, or NAME before a suffix of your own shields.")
            .line("text", typed, "off", false))
    }
}

fn identity(settings: &Settings, choices: &Choices, problems: &Problems) -> Markup {
    let none = (String::new(), "None: the files are public".to_owned());
    let mut all = vec![none];
    for (id, comment) in &choices.identities {
        let label = if comment.is_empty() { id.clone() } else { format!("{id} ({comment})") };
        all.push((format!("{IDENTITY}{id}"), label));
    }
    if !all.iter().any(|(value, _)| *value == settings.identity) {
        all.push((settings.identity.clone(), settings.identity.clone()));
    }
    let hint = "By which shields read a private bucket. Make one under Keys, Origin access identities.";
    Field { name: "identity", label: "Origin access identity", hint, problems }
        .choice(&all, &settings.identity)
}
