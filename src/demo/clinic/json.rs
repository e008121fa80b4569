//! JSON as it is written to a topic: members in the order of the calls, so that the same resource is the same bytes.

use std::fmt::{Display, Write};

use chrono::{DateTime, FixedOffset, SecondsFormat, Utc};

/// A JSON text that grows.
#[derive(Debug, Default)]
pub(super) struct Json {
    text: String,
}

/// A code of a code system with what it is called there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Coding {
    pub(super) system: &'static str,
    pub(super) code: &'static str,
    pub(super) display: &'static str,
}

/// Writes one object.
pub(super) fn object(members: impl FnOnce(&mut Json)) -> Vec<u8> {
    let mut json = Json { text: String::with_capacity(768) };
    json.braces(members);
    json.text.into_bytes()
}

/// Writes a FHIR resource with its version and time of recording.
pub(super) fn resource(
    kind: &str,
    id: &str,
    version: u32,
    recorded: DateTime<Utc>,
    members: impl FnOnce(&mut Json),
) -> Vec<u8> {
    object(|json| {
        json.text("resourceType", kind);
        json.text("id", id);
        json.within("meta", |meta| {
            meta.text("versionId", &version.to_string());
            meta.text("lastUpdated", &recorded.to_rfc3339_opts(SecondsFormat::Millis, true));
        });
        members(json);
    })
}

impl Json {
    /// A member that is a string.
    pub(super) fn text(&mut self, name: &str, value: &str) {
        self.name(name);
        self.quote(value);
    }

    /// A member whose value is written as it displays: a number or a boolean.
    pub(super) fn bare(&mut self, name: &str, value: impl Display) {
        self.name(name);
        // Writing to a String cannot fail.
        let _ = write!(self.text, "{value}");
    }

    /// A member that is an instant in the time zone of where it happened.
    pub(super) fn instant(&mut self, name: &str, value: DateTime<Utc>, offset: FixedOffset) {
        let text = value.with_timezone(&offset).to_rfc3339_opts(SecondsFormat::Secs, true);
        self.text(name, &text);
    }

    /// A member that is an object.
    pub(super) fn within(&mut self, name: &str, members: impl FnOnce(&mut Self)) {
        self.name(name);
        self.braces(members);
    }

    /// A member that is a list.
    pub(super) fn list(&mut self, name: &str, items: impl FnOnce(&mut Self)) {
        self.name(name);
        self.text.push('[');
        items(self);
        self.text.push(']');
    }

    /// An object in a list.
    pub(super) fn item(&mut self, members: impl FnOnce(&mut Self)) {
        self.separate();
        self.braces(members);
    }

    /// A string in a list.
    pub(super) fn item_text(&mut self, value: &str) {
        self.separate();
        self.quote(value);
    }

    /// A CodeableConcept; without `text` when that is empty.
    pub(super) fn concept(&mut self, name: &str, codings: &[Coding], text: &str) {
        self.within(name, |json| json.concept_members(codings, text));
    }

    /// A list of one CodeableConcept.
    pub(super) fn concepts(&mut self, name: &str, codings: &[Coding], text: &str) {
        self.list(name, |json| json.item(|json| json.concept_members(codings, text)));
    }

    /// A Reference; without `display` when that is empty.
    pub(super) fn reference(&mut self, name: &str, target: &str, display: &str) {
        self.within(name, |json| {
            json.text("reference", target);
            if !display.is_empty() {
                json.text("display", display);
            }
        });
    }

    fn concept_members(&mut self, codings: &[Coding], text: &str) {
        if !codings.is_empty() {
            self.list("coding", |list| {
                for coding in codings {
                    list.item(|item| {
                        item.text("system", coding.system);
                        item.text("code", coding.code);
                        item.text("display", coding.display);
                    });
                }
            });
        }
        if !text.is_empty() {
            self.text("text", text);
        }
    }

    fn braces(&mut self, members: impl FnOnce(&mut Self)) {
        self.text.push('{');
        members(self);
        self.text.push('}');
    }

    fn name(&mut self, name: &str) {
        self.separate();
        self.quote(name);
        self.text.push(':');
    }

    fn separate(&mut self) {
        if !self.text.is_empty() && !self.text.ends_with(['{', '[']) {
            self.text.push(',');
        }
    }

    fn quote(&mut self, value: &str) {
        self.text.push('"');
        for character in value.chars() {
            match character {
                '"' => self.text.push_str("\\\""),
                '\\' => self.text.push_str("\\\\"),
                '\n' => self.text.push_str("\\n"),
                control if control < ' ' => {
                    let _ = write!(self.text, "\\u{:04x}", u32::from(control));
                }
                other => self.text.push(other),
            }
        }
        self.text.push('"');
    }
}
