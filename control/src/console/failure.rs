//! Pages that say why something was not done: the API's code beside words, and which field of a form a code is about.

use axum::response::Response;
use http::StatusCode;
use maud::html;

use super::page::{Page, Problems, Section};
use super::visitor::Visitor;
use crate::api::ApiError;

/// A page with a heading and a sentence.
pub(super) fn page(visitor: Option<&Visitor>, status: StatusCode, title: &str, text: &str) -> Response {
    let content = html! {
        section {
            p { (text) }
            p { a href="/console/distributions" { "Go to the distributions" } }
        }
    };
    Page { title, section: Section::None, visitor, trail: &[] }.answer(status, content)
}

/// There is nothing at this address, or nothing of this account's: which of the two isn't said.
pub(super) fn not_found(visitor: &Visitor) -> Response {
    page(Some(visitor), StatusCode::NOT_FOUND, "Not found", "Your account has nothing at this address.")
}

/// A form that none of this session's pages sent.
pub(super) fn foreign_form(visitor: Option<&Visitor>) -> Response {
    let text = "It was not sent by a page of this session, and nothing was changed. Go back, load the page again, and send it from there.";
    page(visitor, StatusCode::FORBIDDEN, "The form was refused", text)
}

/// A key that may only read.
pub(super) fn read_only(visitor: &Visitor) -> Response {
    let text = "AccessDenied: you are logged in by an access key that may only read. Nothing was changed.";
    page(Some(visitor), StatusCode::FORBIDDEN, "This key may only read", text)
}

/// What the API refused, where there is no form to show it in.
pub(super) fn refused(visitor: &Visitor, error: &ApiError) -> Response {
    if error.status == StatusCode::NOT_FOUND {
        return not_found(visitor);
    }
    let title = match error.status {
        StatusCode::PRECONDITION_FAILED => "It was changed meanwhile",
        status if status.is_server_error() => "That didn't work just now",
        _ => "That can't be done",
    };
    page(Some(visitor), error.status, title, &words(error))
}

/// An error as a sentence with its code.
pub(super) fn words(error: &ApiError) -> String {
    format!("{} ({})", error.message, error.code)
}

/// The words of an API message that tell which field it is about, in the order they are looked for.
const FIELDS: [(&str, &str); 16] = [
    ("CallerReference", ""),
    ("CNAME", "aliases"),
    ("Aliases", "aliases"),
    ("Comment", "comment"),
    ("Logging/Bucket", "log_bucket"),
    ("Logging/Prefix", "log_prefix"),
    ("Prefix", "log_prefix"),
    ("Logging", "log_bucket"),
    ("TrustedSigners", "signers"),
    ("AwsAccountNumber", "signers"),
    ("PriceClass", "price_class"),
    ("OriginAccessIdentity", "identity"),
    ("DefaultRootObject", "root_object"),
    ("Origin", "origin"),
    ("EncodedKey", "encoded_key"),
    ("Name", "name"),
];

/// What an error says about a form: beside the field its code or its message names.
pub(super) fn problems(error: &ApiError) -> Problems {
    let field = match error.code {
        "InvalidOrigin" | "NoSuchOrigin" | "TooManyOrigins" => "origin",
        "CNAMEAlreadyExists" | "TooManyStreamingDistributionCNAMEs" | "TooManyDistributionCNAMEs" => {
            "aliases"
        }
        "TooManyTrustedSigners" | "TrustedSignerDoesNotExist" => "signers",
        "InvalidOriginAccessIdentity" => "identity",
        "InvalidDefaultRootObject" => "root_object",
        "TooManyPublicKeysInKeyGroup" => "keys",
        "InvalidTagging" => "tags",
        "InvalidArgument" => {
            FIELDS.iter().find(|(word, _)| error.message.contains(word)).map_or("", |(_, field)| field)
        }
        _ => "",
    };
    Problems::one(field, words(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_or_its_message_names_the_field() {
        let summary = |error: ApiError| problems(&error).summary().into_string();
        let taken = ApiError::conflict("CNAMEAlreadyExists", "a.example.com is taken");
        assert!(summary(taken).contains(r##"href="#aliases""##));
        let long = ApiError::invalid_argument("Comment is over 128 characters");
        assert!(
            summary(long).contains(r##"href="#comment">Comment is over 128 characters (InvalidArgument)"##)
        );
        assert!(!summary(ApiError::precondition_failed()).contains("href"));
    }
}
