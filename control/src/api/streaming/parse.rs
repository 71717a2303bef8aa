//! From a document of any version to what it says ([`Given`]), and from that to a config.
//!
//! Reading is by name, not by version: a member is read in whatever spelling it comes, since clients send namespaces and members of other versions
//! than their path's (boto 2 does), and a member that is not read could leave a private distribution public. The version decides only what an
//! absent member means: its default where the version can say it, and what is stored where it can't.
//!
//! What makes no sense is refused with the code clients know: `MalformedXML` for another document, `InvalidArgument` for a member that is missing,
//! there twice or not of its type, `InconsistentQuantities` for a `Quantity` that is not the number of items.

use super::config::{
    Extras, IDENTITY_PREFIX, Level, Logging, PriceClass, SELF, StreamingConfig, TrustedSigners,
};
use super::schema::{Form, Schema};
use crate::api::ApiError;
use crate::api::xml::Element;

/// The root element of a config.
pub const CONFIG: &str = "StreamingDistributionConfig";

/// What a document says; `None`: nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Given {
    caller_reference: Option<String>,
    origin: Option<String>,
    identity: Option<String>,
    aliases: Option<Vec<String>>,
    comment: Option<String>,
    logging: Option<Logging>,
    trusted_signers: Option<TrustedSigners>,
    price_class: Option<PriceClass>,
    enabled: Option<bool>,
    extras: Extras,
}

fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::invalid_argument(message)
}

fn missing(name: &str) -> ApiError {
    invalid(format!("{name} is missing"))
}

/// The text of an element that holds nothing else, to the letter.
fn leaf(element: &Element) -> Result<&str, ApiError> {
    match element.children.first() {
        None => Ok(&element.text),
        Some(child) => Err(invalid(format!("{} holds {}, not text", element.name, child.name))),
    }
}

/// The same without the white space around it.
fn word(element: &Element) -> Result<&str, ApiError> {
    leaf(element).map(str::trim)
}

fn flag(element: &Element) -> Result<bool, ApiError> {
    match word(element)? {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        other => Err(invalid(format!("{}: {other:?} is neither true nor false", element.name))),
    }
}

/// Puts a member where none was.
fn once<T>(member: &mut Option<T>, name: &str, value: T) -> Result<(), ApiError> {
    match member.replace(value) {
        None => Ok(()),
        Some(_) => Err(invalid(format!("{name} is there twice"))),
    }
}

/// Whether `quantity`, if the document has it, is the number of items; where there are items, it must.
fn check_quantity(list: &str, quantity: Option<&str>, items: usize) -> Result<(), ApiError> {
    let Some(quantity) = quantity else {
        return if items == 0 { Ok(()) } else { Err(missing(&format!("{list}/Quantity"))) };
    };
    let says: usize = quantity
        .parse()
        .map_err(|_| invalid(format!("{list}/Quantity: {quantity:?} is no number of items")))?;
    if says == items {
        return Ok(());
    }
    Err(ApiError::bad_request(
        "InconsistentQuantities",
        format!("{list}: Quantity is {says}, the number of Items is {items}"),
    ))
}

/// The id in what a client wrote of an origin access identity; jets3t 0.7.4 and 0.8.0 write the prefix before one that has it.
fn identity(text: &str) -> Result<String, ApiError> {
    let mut id = text.trim();
    if id.is_empty() {
        return Ok(String::new());
    }
    let mut prefixes = 0;
    while let Some(rest) = id.strip_prefix(IDENTITY_PREFIX) {
        (id, prefixes) = (rest, prefixes + 1);
    }
    if prefixes == 0 || id.is_empty() || !id.bytes().all(|b| b.is_ascii_alphanumeric()) {
        let message = format!("OriginAccessIdentity: {text:?} is not {IDENTITY_PREFIX}ID");
        return Err(ApiError::bad_request("InvalidOriginAccessIdentity", message));
    }
    Ok(id.to_owned())
}

impl Given {
    /// Reads a config, in the spelling of any version.
    ///
    /// # Errors
    /// See the [module](self).
    pub fn read(root: &Element) -> Result<Self, ApiError> {
        if root.name != CONFIG {
            let message = format!("the document is {}, not {CONFIG}", root.name);
            return Err(ApiError::bad_request("MalformedXML", message));
        }
        let mut given = Self::default();
        let mut row = None::<Vec<String>>;
        for child in &root.children {
            let name = child.name.as_str();
            match name {
                "CallerReference" => once(&mut given.caller_reference, name, leaf(child)?.to_owned())?,
                "Origin" => once(&mut given.origin, name, word(child)?.to_owned())?,
                "S3Origin" => given.read_origin(child)?,
                "OriginAccessIdentity" => once(&mut given.identity, name, identity(word(child)?)?)?,
                "CNAME" => row.get_or_insert_default().push(host(child)?),
                "Aliases" => given.read_aliases(child)?,
                "Comment" => once(&mut given.comment, name, leaf(child)?.to_owned())?,
                "Logging" => given.read_logging(child)?,
                "TrustedSigners" => given.read_signers(child)?,
                "PriceClass" => {
                    let class = word(child)?;
                    let class = PriceClass::parse(class)
                        .ok_or_else(|| invalid(format!("PriceClass: {class:?} is no price class")))?;
                    once(&mut given.price_class, name, class)?;
                }
                "Enabled" => once(&mut given.enabled, name, flag(child)?)?,
                _ => given.extras.push(Level::Config, child.clone()),
            }
        }
        if let Some(row) = row {
            once(&mut given.aliases, "the list of CNAMEs", row)?;
        }
        Ok(given)
    }

    fn read_origin(&mut self, element: &Element) -> Result<(), ApiError> {
        let (mut host, mut id) = (None, None);
        for child in &element.children {
            match child.name.as_str() {
                "DNSName" | "DomainName" => once(&mut host, "S3Origin/DomainName", word(child)?.to_owned())?,
                "OriginAccessIdentity" => {
                    once(&mut id, "S3Origin/OriginAccessIdentity", identity(word(child)?)?)?
                }
                _ => self.extras.push(Level::Origin, child.clone()),
            }
        }
        // jets3t 0.9.4 writes the identity behind its element.
        let stray = element.text.trim();
        if id.as_ref().is_none_or(String::is_empty) && stray.starts_with(IDENTITY_PREFIX) {
            id = Some(identity(stray)?);
        }
        let host = host.ok_or_else(|| missing("S3Origin/DomainName"))?;
        once(&mut self.origin, "the origin", host)?;
        id.map_or(Ok(()), |id| once(&mut self.identity, "OriginAccessIdentity", id))
    }

    fn read_aliases(&mut self, element: &Element) -> Result<(), ApiError> {
        let mut quantity = None;
        let mut names = Vec::new();
        for child in &element.children {
            match child.name.as_str() {
                "Quantity" => once(&mut quantity, "Aliases/Quantity", word(child)?)?,
                "Items" => {
                    for item in &child.children {
                        match item.name.as_str() {
                            "CNAME" => names.push(host(item)?),
                            _ => self.extras.push(Level::AliasItems, item.clone()),
                        }
                    }
                }
                _ => self.extras.push(Level::Aliases, child.clone()),
            }
        }
        check_quantity("Aliases", quantity, names.len())?;
        once(&mut self.aliases, "Aliases", names)
    }

    fn read_logging(&mut self, element: &Element) -> Result<(), ApiError> {
        let (mut enabled, mut bucket, mut prefix) = (None, None, None);
        for child in &element.children {
            match child.name.as_str() {
                "Enabled" => once(&mut enabled, "Logging/Enabled", flag(child)?)?,
                "Bucket" => once(&mut bucket, "Logging/Bucket", word(child)?.to_owned())?,
                "Prefix" => once(&mut prefix, "Logging/Prefix", leaf(child)?.to_owned())?,
                _ => self.extras.push(Level::Logging, child.clone()),
            }
        }
        // Before 2012-05-05 the element itself says that logs are wanted.
        let enabled = enabled.unwrap_or(bucket.is_some() || prefix.is_some());
        let logging = if enabled {
            Logging { enabled, bucket: bucket.unwrap_or_default(), prefix: prefix.unwrap_or_default() }
        } else {
            Logging::default()
        };
        once(&mut self.logging, "Logging", logging)
    }

    fn read_signers(&mut self, element: &Element) -> Result<(), ApiError> {
        let (mut enabled, mut quantity) = (None, None);
        let (mut row, mut items) = (Vec::new(), Vec::new());
        for child in &element.children {
            match child.name.as_str() {
                "Enabled" => once(&mut enabled, "TrustedSigners/Enabled", flag(child)?)?,
                "Quantity" => once(&mut quantity, "TrustedSigners/Quantity", word(child)?)?,
                "Self" => row.push(SELF.to_owned()),
                // The second spelling is jets3t's, up to 0.8.1.
                "AwsAccountNumber" | "AWSAccountNumber" => row.push(word(child)?.to_owned()),
                "Items" => {
                    for item in &child.children {
                        match item.name.as_str() {
                            "AwsAccountNumber" | "AWSAccountNumber" => items.push(word(item)?.to_owned()),
                            _ => self.extras.push(Level::SignerItems, item.clone()),
                        }
                    }
                }
                _ => self.extras.push(Level::Signers, child.clone()),
            }
        }
        check_quantity("TrustedSigners", quantity, items.len())?;
        row.append(&mut items);
        let signers = TrustedSigners::of(row);
        // Whoever says both must mean both: the one reading would make public what the other makes private.
        if enabled.is_some_and(|enabled| enabled != signers.enabled) {
            return Err(invalid(format!(
                "TrustedSigners: Enabled is {}, but there are {} signers",
                !signers.enabled,
                signers.accounts.len()
            )));
        }
        once(&mut self.trusted_signers, "TrustedSigners", signers)
    }

    /// The config of a new distribution.
    ///
    /// # Errors
    /// `InvalidArgument` for a member that `schema` requires and the document lacks.
    pub fn into_new(self, schema: Schema) -> Result<StreamingConfig, ApiError> {
        if self.caller_reference.is_none() {
            return Err(missing("CallerReference"));
        }
        if self.origin.is_none() {
            return Err(missing(if schema.form() == Form::Flat { "Origin" } else { "S3Origin" }));
        }
        self.over(&StreamingConfig::default(), schema)
    }

    /// The config that replaces `known`: all that `schema` can say is as the document says or the default, the rest as it was.
    ///
    /// # Errors
    /// As [`Self::into_new`].
    pub fn over(self, known: &StreamingConfig, schema: Schema) -> Result<StreamingConfig, ApiError> {
        let forgets = schema.keeps_what_jets3t_forgets() && !known.caller_reference.is_empty();
        // Of 2012-05-05 the one client is jets3t, which invents a reference for each update.
        let caller_reference =
            if forgets { Some(known.caller_reference.clone()) } else { self.caller_reference };
        // An origin left out there keeps its identity too; else an origin without identity has none, where the version knows them.
        let keeps_origin = forgets && self.origin.is_none();
        let known_identity = keeps_origin || !schema.says_private();
        let origin = if keeps_origin { Some(known.origin.clone()) } else { self.origin };
        let signers = match self.trusted_signers {
            Some(signers) => signers,
            // Required there: who leaves it out must not make a private distribution public by it.
            None if schema.form() == Form::Items => return Err(missing("TrustedSigners")),
            None if !schema.says_private() => known.trusted_signers.clone(),
            None => TrustedSigners::default(),
        };
        let logging = match self.logging {
            Some(logging) => logging,
            None if !schema.says_logging() => known.logging.clone(),
            None => Logging::default(),
        };
        Ok(StreamingConfig {
            caller_reference: caller_reference.ok_or_else(|| missing("CallerReference"))?,
            origin: origin.ok_or_else(|| missing("the origin"))?,
            identity: match self.identity {
                Some(identity) => identity,
                None if known_identity => known.identity.clone(),
                None => String::new(),
            },
            aliases: self.aliases.unwrap_or_default(),
            comment: self.comment.unwrap_or_default(),
            logging,
            trusted_signers: signers,
            price_class: match self.price_class {
                Some(class) => class,
                None if !schema.says_price_class() => known.price_class,
                None => PriceClass::default(),
            },
            enabled: self.enabled.ok_or_else(|| missing("Enabled"))?,
            extras: known.extras.replaced_by(&self.extras),
        })
    }
}

/// A host name as it is kept: lower case.
fn host(element: &Element) -> Result<String, ApiError> {
    Ok(word(element)?.to_ascii_lowercase())
}
