//! Principal: who asks, for which purpose, with which roles and attributes.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

use crate::claims::Attribute;

/// Who asks, for one purpose. Only [`Policies::principal`](crate::Policies::principal) makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Principal {
    /// The token's `sub`, or `anonymous`.
    pub id: String,
    /// The issuer that vouches for it; `None` for the anonymous.
    pub issuer: Option<String>,
    /// The purpose of the request.
    pub purpose: String,
    /// The roles active for the purpose, always with `nobody`.
    pub roles: BTreeSet<String>,
    /// The declared attributes that are there, not empty and of the declared type.
    pub attributes: BTreeMap<String, Attribute>,
    /// SHA-256 over all of the above, in hexadecimal: the key for whatever is cached per principal.
    pub digest: String,
}

impl Principal {
    pub(crate) fn new(
        id: String,
        issuer: Option<String>,
        purpose: String,
        roles: BTreeSet<String>,
        attributes: BTreeMap<String, Attribute>,
    ) -> Self {
        let mut form = CanonicalForm::new("lakeward principal 1");
        form.text(&id);
        form.items(issuer.iter());
        form.text(&purpose);
        form.items(roles.iter());
        form.count(attributes.len());
        for (name, value) in &attributes {
            form.text(name);
            match value {
                Attribute::Text(text) => {
                    form.text("text");
                    form.text(text);
                }
                Attribute::List(items) => {
                    form.text("list");
                    // The order of a list has no meaning, so it makes no other principal.
                    form.items(items.iter().collect::<BTreeSet<_>>());
                }
            }
        }
        let digest = form.digest();
        Self { id, issuer, purpose, roles, attributes, digest }
    }

    /// The attribute of that name, where it is available.
    pub fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attributes.get(name)
    }
}

/// Bytes to hash in which no two different contents look the same: each part is preceded by its length.
pub(crate) struct CanonicalForm(Sha256);

impl CanonicalForm {
    pub(crate) fn new(domain: &str) -> Self {
        let mut form = Self(Sha256::new());
        form.text(domain);
        form
    }

    pub(crate) fn count(&mut self, count: usize) {
        self.0.update((count as u64).to_be_bytes());
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.count(text.len());
        self.0.update(text.as_bytes());
    }

    pub(crate) fn items<'a>(&mut self, items: impl IntoIterator<Item = &'a String, IntoIter: ExactSizeIterator>) {
        let items = items.into_iter();
        self.count(items.len());
        for item in items {
            self.text(item);
        }
    }

    pub(crate) fn digest(self) -> String {
        self.0.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn principal(id: &str, purpose: &str, roles: &[&str], attributes: &[(&str, Attribute)]) -> Principal {
        Principal::new(
            id.into(),
            Some("https://issuer.example".into()),
            purpose.into(),
            roles.iter().map(|role| (*role).to_owned()).collect(),
            attributes.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
        )
    }

    fn text(value: &str) -> Attribute {
        Attribute::Text(value.into())
    }

    fn list(values: &[&str]) -> Attribute {
        Attribute::List(values.iter().map(|value| (*value).to_owned()).collect())
    }

    #[test]
    fn whatever_differs_makes_another_digest() {
        let all = [
            principal("a", "care", &["doctor"], &[]),
            principal("b", "care", &["doctor"], &[]),
            principal("a", "bi", &["doctor"], &[]),
            principal("a", "care", &["nurse"], &[]),
            principal("a", "care", &["doctor", "nurse"], &[]),
            principal("a", "care", &["doctornurse"], &[]),
            principal("a", "care", &["doctor"], &[("x", text("1"))]),
            principal("a", "care", &["doctor"], &[("x", text("2"))]),
            principal("a", "care", &["doctor"], &[("y", text("1"))]),
            principal("a", "care", &["doctor"], &[("x", list(&["1"]))]),
            principal("a", "care", &["doctor"], &[("x", list(&["1", "2"]))]),
            principal("a", "care", &["doctor"], &[("x", list(&["12"]))]),
        ];
        let digests: BTreeSet<_> = all.iter().map(|principal| &principal.digest).collect();
        assert_eq!(digests.len(), all.len());
    }

    #[test]
    fn the_order_of_a_list_makes_no_other_digest() {
        let one = principal("a", "care", &[], &[("x", list(&["1", "2"]))]);
        let other = principal("a", "care", &[], &[("x", list(&["2", "1"]))]);
        assert_eq!(one.digest, other.digest);
    }
}
