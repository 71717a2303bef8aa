//! One record of a web distribution's log: 33 fields, as CloudFront's guide lists them ("Standard log file fields").

use super::text;

/// The names of the second header line.
pub const FIELDS: &str = "date time x-edge-location sc-bytes c-ip cs-method cs(Host) cs-uri-stem sc-status cs(Referer) cs(User-Agent) \
                          cs-uri-query cs(Cookie) x-edge-result-type x-edge-request-id x-host-header cs-protocol cs-bytes time-taken \
                          x-forwarded-for ssl-protocol ssl-cipher x-edge-response-result-type cs-protocol-version fle-status \
                          fle-encrypted-fields c-port time-to-first-byte x-edge-detailed-result-type sc-content-type sc-content-len \
                          sc-range-start sc-range-end";

/// A record: its time and its values by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebEntry {
    /// Seconds since 1970, UTC.
    pub at_s: i64,
    values: Vec<Option<String>>,
}

impl WebEntry {
    /// The value of the field `name`, decoded; `None` for `-`.
    ///
    /// # Panics
    /// If there is no such field.
    pub fn get(&self, name: &str) -> Option<&str> {
        let at =
            FIELDS.split(' ').position(|field| field == name).unwrap_or_else(|| panic!("no field {name}"));
        self.values[at].as_deref()
    }
}

/// The records of a file's text.
///
/// # Errors
/// The first line that is not as the guide says, and why.
pub fn parse(file: &str) -> Result<Vec<WebEntry>, String> {
    text::records(file, FIELDS)?.iter().map(|line| record(line)).collect()
}

/// One line, without its end.
///
/// # Errors
/// What is not as the guide says.
pub fn record(line: &str) -> Result<WebEntry, String> {
    let fields: Vec<&str> = line.split('\t').collect();
    let names: Vec<&str> = FIELDS.split(' ').collect();
    if fields.len() != names.len() {
        return Err(format!("{} fields: {line:?}", fields.len()));
    }
    let at_s = text::moment(fields[0], fields[1])?;
    for (name, field) in names.iter().zip(&fields) {
        let fault = |what: &str| Err(format!("{name}: {field:?} is no {what}"));
        match *name {
            "c-ip" if field.parse::<std::net::IpAddr>().is_err() => return fault("address"),
            "sc-bytes" | "cs-bytes" => drop(text::number(field, name)?),
            "c-port" | "sc-content-len" | "sc-range-start" | "sc-range-end" if *field != "-" => {
                text::number(field, name)?;
            }
            "sc-status" if field.len() != 3 || !field.bytes().all(|b| b.is_ascii_digit()) => {
                return fault("status");
            }
            "time-taken" | "time-to-first-byte" => {
                let (whole, part) = field.split_once('.').ok_or_else(|| format!("{name}: {field:?}"))?;
                text::number(whole, name)?;
                if part.len() != 3 || !part.bytes().all(|b| b.is_ascii_digit()) {
                    return fault("time in thousandths");
                }
            }
            _ => {}
        }
    }
    let values = fields.iter().map(|field| text::decode(field)).collect::<Result<_, _>>()?;
    Ok(WebEntry { at_s, values })
}
