//! The frame of every page, and the parts pages are made of: fields with their errors, the summary of errors, states, tables' captions.
//!
//! Everything works without script and by keyboard; states are words first, colours second. Text is escaped by the templates, always.

use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use maud::{DOCTYPE, Markup, html};

use super::assets;
use super::visitor::Visitor;

/// The parts of the console that the navigation names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    /// Distributions and what is below them.
    Distributions,
    /// The cluster's nodes.
    Nodes,
    /// Keys, key groups, identities.
    Keys,
    /// None of them: login, errors.
    None,
}

const SECTIONS: [(Section, &str, &str); 3] = [
    (Section::Distributions, "/console/distributions", "Distributions"),
    (Section::Nodes, "/console/nodes", "Nodes"),
    (Section::Keys, "/console/keys", "Keys"),
];

/// A page for a visitor; `None` before the login.
pub(super) struct Page<'a> {
    /// Its title, which is also its first heading.
    pub(super) title: &'a str,
    /// Where it belongs.
    pub(super) section: Section,
    /// Who sees it.
    pub(super) visitor: Option<&'a Visitor>,
    /// Links above the heading: where it is reached from.
    pub(super) trail: &'a [(&'a str, &'a str)],
}

impl<'a> Page<'a> {
    /// One of the logged in visitor's pages.
    pub(super) fn new(title: &'a str, section: Section, visitor: &'a Visitor) -> Self {
        Self { title, section, visitor: Some(visitor), trail: &[] }
    }

    /// The same below other pages: `(address, name)` each.
    pub(super) fn below(self, trail: &'a [(&'a str, &'a str)]) -> Self {
        Self { trail, ..self }
    }

    /// The whole document as an answer.
    pub(super) fn answer(&self, status: StatusCode, content: Markup) -> Response {
        let failed = status.is_client_error() || status.is_server_error();
        let document = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { @if failed { "Error: " } (self.title) " · Penstock" }
                    link rel="icon" href=(assets::ICON.path()) type="image/svg+xml";
                    link rel="stylesheet" href=(assets::STYLE.path());
                    script src=(assets::SCRIPT.path()) defer {}
                }
                body {
                    a class="skip" href="#content" { "Skip to the content" }
                    header { (self.header()) }
                    main id="content" tabindex="-1" class=[self.visitor.is_none().then_some("narrow")] {
                        @if !self.trail.is_empty() {
                            nav class="trail" aria-label="Breadcrumbs" {
                                ol { @for (address, name) in self.trail { li { a href=(address) { (name) } } } }
                            }
                        }
                        h1 { (self.title) }
                        (content)
                    }
                    footer { p { "Penstock " (env!("CARGO_PKG_VERSION")) } }
                }
            }
        };
        document_answer(status, document.into_string())
    }

    fn header(&self) -> Markup {
        html! {
            a class="brand" href="/console/distributions" { "Penstock" }
            @if let Some(visitor) = self.visitor {
                nav aria-label="Main" {
                    ul {
                        @for (section, address, name) in SECTIONS {
                            li { a href=(address) aria-current=[(section == self.section).then_some("page")] { (name) } }
                        }
                    }
                }
                div class="who" {
                    p {
                        "Account " strong { (visitor.principal.account) }
                        span class="key" { " by key " (visitor.principal.key_id) }
                        @if visitor.principal.read_only { " " span class="chip" { "read only" } }
                    }
                    form method="post" action="/console/logout" {
                        (visitor.form_token())
                        button class="plain" { "Log out" }
                    }
                }
            }
        }
    }
}

/// A document as an answer.
pub(super) fn document_answer(status: StatusCode, text: String) -> Response {
    let mut answer = Response::new(text.into());
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    answer
}

/// An answer that sends the browser to another page of ours, to be fetched with GET.
pub(super) fn see_other(address: &str) -> Response {
    let mut answer = Response::new(String::new().into());
    *answer.status_mut() = StatusCode::SEE_OTHER;
    // Our own addresses are visible ASCII; a value that isn't would lead to the start page.
    let address = HeaderValue::from_str(address).unwrap_or(HeaderValue::from_static("/console/"));
    answer.headers_mut().insert(header::LOCATION, address);
    answer
}

/// What is wrong with what was entered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Problems(Vec<(&'static str, String)>);

impl Problems {
    /// Nothing.
    pub(super) fn none() -> Self {
        Self::default()
    }

    /// One thing: the field's name (empty: the form as a whole) and what is wrong.
    pub(super) fn one(field: &'static str, message: impl Into<String>) -> Self {
        Self(vec![(field, message.into())])
    }

    /// Adds one.
    pub(super) fn add(&mut self, field: &'static str, message: impl Into<String>) {
        self.0.push((field, message.into()));
    }

    /// Whether nothing is wrong.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn of(&self, field: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| *name == field).map(|(_, message)| message.as_str())
    }

    /// The summary that stands before the form, with links to the fields; nothing if nothing is wrong.
    pub(super) fn summary(&self) -> Markup {
        html! {
            @if !self.is_empty() {
                div class="problems" role="alert" tabindex="-1" data-focus="" {
                    h2 { "There is a problem" }
                    ul {
                        @for (field, message) in &self.0 {
                            li {
                                @if field.is_empty() { (message) } @else { a href={ "#" (field) } { (message) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// One field of a form: everything about it but its value.
pub(super) struct Field<'a> {
    /// Its name and element id.
    pub(super) name: &'static str,
    /// Its label.
    pub(super) label: &'a str,
    /// A sentence of help; may be empty.
    pub(super) hint: &'a str,
    /// What is wrong.
    pub(super) problems: &'a Problems,
}

impl Field<'_> {
    fn around(&self, control: &Markup) -> Markup {
        let problem = self.problems.of(self.name);
        html! {
            div class=(if problem.is_some() { "field bad" } else { "field" }) {
                label for=(self.name) { (self.label) }
                (self.notes(problem))
                (control)
            }
        }
    }

    fn notes(&self, problem: Option<&str>) -> Markup {
        html! {
            @if !self.hint.is_empty() { p class="hint" id={ (self.name) "-hint" } { (self.hint) } }
            @if let Some(problem) = problem {
                p class="problem" id={ (self.name) "-problem" } { span class="unseen" { "Error: " } (problem) }
            }
        }
    }

    fn described_by(&self) -> Option<String> {
        let mut ids = Vec::new();
        if !self.hint.is_empty() {
            ids.push(format!("{}-hint", self.name));
        }
        if self.problems.of(self.name).is_some() {
            ids.push(format!("{}-problem", self.name));
        }
        (!ids.is_empty()).then(|| ids.join(" "))
    }

    fn invalid(&self) -> Option<&'static str> {
        self.problems.of(self.name).map(|_| "true")
    }

    /// One line; `kind` is `text` or `password`.
    pub(super) fn line(&self, kind: &str, value: &str, autocomplete: &str, required: bool) -> Markup {
        self.around(&html! {
            input id=(self.name) name=(self.name) type=(kind) value=(value) autocomplete=(autocomplete)
                autocapitalize="off" spellcheck="false" required[required]
                aria-describedby=[self.described_by()] aria-invalid=[self.invalid()];
        })
    }

    /// Several lines.
    pub(super) fn lines(&self, value: &str, rows: u32) -> Markup {
        self.around(&html! {
            textarea id=(self.name) name=(self.name) rows=(rows) spellcheck="false"
                aria-describedby=[self.described_by()] aria-invalid=[self.invalid()] {
                // A line break right after the tag is not part of the text.
                "\n" (value)
            }
        })
    }

    /// One of a list: `(value, label)` each.
    pub(super) fn choice(&self, options: &[(String, String)], chosen: &str) -> Markup {
        self.around(&html! {
            select id=(self.name) name=(self.name)
                aria-describedby=[self.described_by()] aria-invalid=[self.invalid()] {
                @for (value, label) in options {
                    option value=(value) selected[value == chosen] { (label) }
                }
            }
        })
    }

    /// A check box.
    pub(super) fn tick(&self, ticked: bool) -> Markup {
        let problem = self.problems.of(self.name);
        html! {
            div class=(if problem.is_some() { "field tick bad" } else { "field tick" }) {
                input id=(self.name) name=(self.name) type="checkbox" value="true" checked[ticked]
                    aria-describedby=[self.described_by()] aria-invalid=[self.invalid()];
                label for=(self.name) { (self.label) }
                (self.notes(problem))
            }
        }
    }
}

/// How something stands: the word, and a class that gives it a colour and a mark.
pub(super) fn state(class: &str, word: &str) -> Markup {
    html! { span class={ "state " (class) } { (word) } }
}

/// `Deployed`, `InProgress`, or `Unsupported: …`, as the API calls them; what is unsupported is named elsewhere.
pub(super) fn deployed_state(status: &str) -> Markup {
    match status.split(':').next().unwrap_or_default() {
        "Deployed" => state("good", "Deployed"),
        "InProgress" => state("busy", "InProgress"),
        other => state("off", other),
    }
}

/// Whether viewers are served.
pub(super) fn enabled_state(enabled: bool) -> Markup {
    if enabled { state("good", "Enabled") } else { state("off", "Disabled") }
}

/// Text to copy; script adds the button.
pub(super) fn copyable(text: &str, what: &str) -> Markup {
    html! { code class="copy" data-copy=(what) tabindex="0" { (text) } }
}

/// `2026-11-21 23:59:01` in UTC, from milliseconds since 1970; a machine-readable time for scripts and readers.
pub(super) fn moment(ms: u64) -> Markup {
    let at = time::OffsetDateTime::from_unix_timestamp((ms / 1000) as i64)
        .unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
    let (date, clock) = (at.date(), at.time());
    let day = format!("{:04}-{:02}-{:02}", date.year(), u8::from(date.month()), date.day());
    let hour = format!("{:02}:{:02}:{:02}", clock.hour(), clock.minute(), clock.second());
    html! { time datetime={ (day) "T" (hour) "Z" } { (day) " " (hour) " UTC" } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_wherever_it_stands() {
        let problems = Problems::one("comment", "<b>no</b>");
        let field = Field { name: "comment", label: "Comment", hint: "", problems: &problems };
        let markup = field.line("text", "\"><script>alert(1)</script>", "off", false).into_string();
        assert!(!markup.contains("<script>") && !markup.contains("<b>"), "{markup}");
        assert!(markup.contains("&quot;&gt;&lt;script&gt;"), "{markup}");
        let area = field.lines("</textarea><script>", 3).into_string();
        assert!(!area.contains("<script>"), "{area}");
    }

    #[test]
    fn a_wrong_field_is_named_in_the_summary_and_beside_it() {
        let mut problems = Problems::one("origin", "is no bucket");
        problems.add("", "the whole");
        let summary = problems.summary().into_string();
        assert!(summary.contains(r##"<a href="#origin">is no bucket</a>"##), "{summary}");
        let field = Field { name: "origin", label: "Origin", hint: "A bucket", problems: &problems };
        let markup = field.line("text", "x", "off", true).into_string();
        assert!(
            markup.contains(r#"aria-describedby="origin-hint origin-problem" aria-invalid="true""#),
            "{markup}"
        );
        assert!(Problems::none().summary().into_string().is_empty());
    }

    #[test]
    fn moments_are_utc() {
        assert!(moment(1_795_651_199_000).into_string().contains("<time datetime=\"2026-11-25T"));
        assert_eq!(
            moment(0).into_string(),
            "<time datetime=\"1970-01-01T00:00:00Z\">1970-01-01 00:00:00 UTC</time>"
        );
    }
}
