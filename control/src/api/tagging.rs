//! Tags of resources.
//!
//! Distributions of both kinds have tags; they live in a document of their own, so that tagging changes no config, no ETag and no status. A
//! resource is named by its ARN; one of another account is one that doesn't exist.

use http::Method;
use prost::Message;
use proto::v1::{Tag, Tags};

use super::resource::{self, ATTEMPTS, Kind, check_writable};
use super::xml::Element;
use super::{ApiError, Call, Context, Limits, Reply};
use crate::accounts::Principal;
use crate::store::{StoreError, Transaction};

/// Most characters of a tag's key.
const KEY_CHARS: usize = 128;
/// Most characters of a tag's value.
const VALUE_CHARS: usize = 256;

fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::bad_request("InvalidTagging", message)
}

fn no_such_resource(arn: &str) -> ApiError {
    ApiError::not_found("NoSuchResource", format!("there is no resource {arn}"))
}

/// The ARN of a resource.
pub fn arn(account: &str, kind: Kind, id: &str) -> String {
    format!("arn:aws:cloudfront::{account}:{}/{id}", kind.as_str())
}

/// Answers a call below `tagging`.
///
/// # Errors
/// See [`list`], [`tag`] and [`untag`]; `InvalidArgument` if the query doesn't say what to do to what.
pub async fn handle(context: &Context, call: &Call) -> Result<Reply, ApiError> {
    if !call.path.is_empty() {
        return Err(ApiError::bad_request("InvalidURI", "there is nothing below tagging"));
    }
    let arn = call.query("Resource").filter(|arn| !arn.is_empty());
    let arn = arn.ok_or_else(|| ApiError::invalid_argument("Resource: name a resource by its ARN"))?;
    let principal = &call.principal;
    if call.method == Method::GET {
        return Ok(Reply::ok(render(&list(context, principal, arn).await?)));
    }
    if call.method != Method::POST {
        return Err(ApiError::method_not_allowed());
    }
    let body = call.body.as_ref().ok_or_else(ApiError::missing_body);
    match call.query("Operation") {
        Some("Tag") => tag(context, principal, arn, read_tags(body?)?).await?,
        Some("Untag") => untag(context, principal, arn, &read_keys(body?)?).await?,
        _ => return Err(ApiError::invalid_argument("Operation: is neither Tag nor Untag")),
    }
    Ok(Reply::no_content())
}

/// The tags of a resource, by key.
///
/// # Errors
/// `NoSuchResource`; `InvalidArgument` if `arn` is none.
pub async fn list(context: &Context, principal: &Principal, arn: &str) -> Result<Vec<Tag>, ApiError> {
    let target = Target::find(context, principal, arn).await?;
    Ok(target.tags(context).await?.0.tags)
}

/// Adds tags to a resource; one whose key it has already gets the new value.
///
/// # Errors
/// As [`list`]; `InvalidTagging` if a tag is not valid or there would be too many; `AccessDenied` for a key that may only read.
pub async fn tag(
    context: &Context,
    principal: &Principal,
    arn: &str,
    added: Vec<Tag>,
) -> Result<(), ApiError> {
    let limits = &context.config.limits;
    check(&added, limits)?;
    change(context, principal, arn, |tags| {
        tags.retain(|tag| added.iter().all(|new| new.key != tag.key));
        tags.extend(added.iter().cloned());
        check(tags, limits)
    })
    .await
}

/// Takes tags from a resource; keys it doesn't have are no error.
///
/// # Errors
/// As [`list`]; `AccessDenied` for a key that may only read.
pub async fn untag(
    context: &Context,
    principal: &Principal,
    arn: &str,
    keys: &[String],
) -> Result<(), ApiError> {
    change(context, principal, arn, |tags| {
        tags.retain(|tag| !keys.contains(&tag.key));
        Ok(())
    })
    .await
}

async fn change(
    context: &Context,
    principal: &Principal,
    arn: &str,
    edit: impl Fn(&mut Vec<Tag>) -> Result<(), ApiError>,
) -> Result<(), ApiError> {
    check_writable(principal)?;
    for _ in 0..ATTEMPTS {
        let target = Target::find(context, principal, arn).await?;
        let (known, modified) = target.tags(context).await?;
        let mut next = known.clone();
        edit(&mut next.tags)?;
        next.tags.sort_by(|a, b| a.key.cmp(&b.key));
        if next == known {
            return Ok(());
        }
        // The resource must be there still, so that its tags don't outlive it.
        let key = resource::tags_key(target.kind, &principal.account, &target.id);
        let transaction = Transaction::default()
            .when(resource::key(target.kind, &principal.account, &target.id), target.modified)
            .when(&key, modified);
        let transaction = if next.tags.is_empty() {
            transaction.delete(key)
        } else {
            transaction.put(key, encode(next.tags))
        };
        match context.store.commit(transaction).await {
            Err(StoreError::Conflict { .. }) => continue,
            done => return Ok(done.map(|_| ())?),
        }
    }
    Err(StoreError::Conflict { key: arn.into() }.into())
}

/// A resource that can have tags.
struct Target {
    kind: Kind,
    id: String,
    account: String,
    /// The revision that last changed the resource.
    modified: u64,
}

impl Target {
    async fn find(context: &Context, principal: &Principal, arn: &str) -> Result<Self, ApiError> {
        let (account, kind, id) = parse_arn(arn).ok_or_else(|| {
            ApiError::invalid_argument(format!("Resource: {arn:?} is no ARN of CloudFront"))
        })?;
        let kind = [Kind::StreamingDistribution, Kind::Distribution].into_iter().find(|k| k.as_str() == kind);
        let kind = kind.filter(|_| account == principal.account).ok_or_else(|| no_such_resource(arn))?;
        let stored = resource::load(&*context.store, kind, account, id).await?;
        let modified = stored.ok_or_else(|| no_such_resource(arn))?.modified;
        Ok(Self { kind, id: id.into(), account: account.into(), modified })
    }

    async fn tags(&self, context: &Context) -> Result<(Tags, u64), StoreError> {
        resource::tags(&*context.store, self.kind, &self.account, &self.id).await
    }
}

/// Account, kind and id of `arn:aws:cloudfront::ACCOUNT:KIND/ID`.
fn parse_arn(arn: &str) -> Option<(&str, &str, &str)> {
    let rest = arn.strip_prefix("arn:aws:").or_else(|| arn.strip_prefix("arn:aws-cn:"))?;
    let (account, resource) = rest.strip_prefix("cloudfront::")?.split_once(':')?;
    let (kind, id) = resource.split_once('/')?;
    let digits = !account.is_empty() && account.bytes().all(|b| b.is_ascii_digit());
    (digits && !kind.is_empty() && !id.is_empty()).then_some((account, kind, id))
}

/// Reads `Tags(Items/Tag(Key, Value))`.
///
/// # Errors
/// `InvalidTagging` if a tag has no key or it is another document.
pub fn read_tags(root: &Element) -> Result<Vec<Tag>, ApiError> {
    if root.name != "Tags" {
        return Err(invalid(format!("the body is {}, not Tags", root.name)));
    }
    let tags = root.children("Items").flat_map(|items| items.children("Tag"));
    tags.map(|tag| {
        let key = tag.child("Key").ok_or_else(|| invalid("a Tag has no Key"))?.text.clone();
        // A key may be all of a tag.
        let value = tag.child("Value").map(|value| value.text.clone()).unwrap_or_default();
        Ok(Tag { key, value })
    })
    .collect()
}

/// Reads `TagKeys(Items/Key)`.
fn read_keys(root: &Element) -> Result<Vec<String>, ApiError> {
    if root.name != "TagKeys" {
        return Err(invalid(format!("the body is {}, not TagKeys", root.name)));
    }
    let keys = root.children("Items").flat_map(|items| items.children("Key"));
    Ok(keys.map(|key| key.text.clone()).collect())
}

/// Whether a resource may have these tags.
///
/// # Errors
/// `InvalidTagging`, with what is wrong.
pub fn check(tags: &[Tag], limits: &Limits) -> Result<(), ApiError> {
    if tags.len() > limits.tags {
        return Err(invalid(format!("{} tags, over {}", tags.len(), limits.tags)));
    }
    for (at, tag) in tags.iter().enumerate() {
        let key = &tag.key;
        if !(1..=KEY_CHARS).contains(&key.chars().count()) {
            return Err(invalid(format!("the key {key:?} is not 1 to {KEY_CHARS} characters")));
        }
        if tag.value.chars().count() > VALUE_CHARS {
            return Err(invalid(format!("the value of {key:?} is over {VALUE_CHARS} characters")));
        }
        if !key.chars().chain(tag.value.chars()).all(is_tag_character) {
            return Err(invalid(format!("{key:?} or its value has a character that tags can't have")));
        }
        if key.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("aws:")) {
            return Err(invalid(format!("the key {key:?} begins with aws:, which is reserved")));
        }
        if tags[..at].iter().any(|other| other.key == *key) {
            return Err(invalid(format!("the key {key:?} is there twice")));
        }
    }
    Ok(())
}

/// Letters, digits and spaces of any script, and `_.:/=+-@`.
fn is_tag_character(c: char) -> bool {
    c.is_alphanumeric() || (c.is_whitespace() && !c.is_control()) || "_.:/=+-@".contains(c)
}

/// The document of a resource's tags.
pub fn encode(mut tags: Vec<Tag>) -> Vec<u8> {
    tags.sort_by(|a, b| a.key.cmp(&b.key));
    Tags { tags }.encode_to_vec()
}

fn render(tags: &[Tag]) -> Element {
    let tag = |tag: &Tag| Element::new("Tag").with_text("Key", &tag.key).with_text("Value", &tag.value);
    let items = Element { children: tags.iter().map(tag).collect(), ..Element::new("Items") };
    Element::new("Tags").with(items)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(key: &str, value: &str) -> Tag {
        Tag { key: key.into(), value: value.into() }
    }

    #[test]
    fn an_arn_names_account_kind_and_id() {
        let arn = arn("123456789012", Kind::StreamingDistribution, "E1");
        assert_eq!(parse_arn(&arn), Some(("123456789012", "streaming-distribution", "E1")));
        for wrong in
            ["", "E1", "arn:aws:s3:::bucket", "arn:aws:cloudfront::12:x", "arn:aws:cloudfront::a:x/E1"]
        {
            assert_eq!(parse_arn(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn tags_are_of_their_characters_and_lengths() {
        let limits = Limits::default();
        let good = [tag("a", ""), tag("Größe 1", "x/y=z+@-_.:"), tag(&"k".repeat(128), &"v".repeat(256))];
        assert_eq!(check(&good, &limits), Ok(()));
        let wrong = [
            vec![tag("", "v")],
            vec![tag(&"k".repeat(129), "v")],
            vec![tag("k", &"v".repeat(257))],
            vec![tag("aws:x", "v")],
            vec![tag("AWS:x", "v")],
            vec![tag("a*", "v")],
            vec![tag("a", "<")],
            vec![tag("a\tb", "")],
            vec![tag("a", "1"), tag("a", "2")],
            (0..51).map(|i| tag(&i.to_string(), "")).collect(),
        ];
        for tags in wrong {
            assert_eq!(check(&tags, &limits).unwrap_err().code, "InvalidTagging", "{tags:?}");
        }
    }
}
