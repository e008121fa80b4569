//! Claims: what a verified token says of a person, before any policy is asked.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// The `sub` of a request without credentials; no token may carry it.
pub const ANONYMOUS: &str = "anonymous";

/// An attribute of a person, for row scopes and policies. Never empty.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Attribute {
    /// One string.
    Text(String),
    /// Some strings.
    List(Vec<String>),
}

impl Attribute {
    /// The attribute a claim's value gives; `None` for what is empty or neither string nor list of strings.
    pub fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::String(text) => Self::text(text.as_str()),
            Value::Array(items) => {
                let items: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
                Self::list(items?)
            }
            _ => None,
        }
    }

    /// A text, unless it is empty.
    pub fn text(value: impl Into<String>) -> Option<Self> {
        let value = value.into();
        (!value.is_empty()).then_some(Self::Text(value))
    }

    /// A list, unless it or one of its items is empty.
    pub fn list<I>(values: I) -> Option<Self>
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        let values: Vec<String> = values.into_iter().map(Into::into).collect();
        let usable = !values.is_empty() && values.iter().all(|value| !value.is_empty());
        usable.then_some(Self::List(values))
    }

    pub(crate) fn to_value(&self) -> Value {
        match self {
            Self::Text(text) => Value::from(text.as_str()),
            Self::List(items) => Value::from(items.clone()),
        }
    }
}

/// What a verified token says. Which attributes count, and of which type, the Cedar schema's `User` says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Claims {
    /// The issuer that vouches for it; `None` for the anonymous.
    pub issuer: Option<String>,
    /// The person's id at the issuer.
    pub sub: String,
    /// The person's name, for greeting only.
    pub name: Option<String>,
    /// The roles as the token names them, declared or not.
    pub roles: Vec<String>,
    /// All other claims that can be attributes.
    pub attributes: BTreeMap<String, Attribute>,
}

impl Claims {
    /// Claims of a person, without role or attribute.
    pub fn new(sub: impl Into<String>) -> Self {
        Self { sub: sub.into(), ..Self::default() }
    }

    /// The claims of a request without credentials.
    pub fn anonymous() -> Self {
        Self::new(ANONYMOUS)
    }

    /// The claims of a token's payload that somebody wrote down, to ask what its holder would see; `roles` is the claim
    /// that names the roles. None where it is no object, or names nobody.
    pub fn written_down(payload: &Value) -> Option<Self> {
        Self::from_payload("written down", "roles", payload.as_object()?)
    }

    /// Whether no credentials stand behind these claims.
    pub fn is_anonymous(&self) -> bool {
        self.issuer.is_none() && self.sub == ANONYMOUS
    }

    /// With one more role.
    #[must_use]
    pub fn role(mut self, role: impl Into<String>) -> Self {
        self.roles.push(role.into());
        self
    }

    /// With a name.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// With an attribute of one string; an empty one is no attribute.
    #[must_use]
    pub fn text(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        if let Some(attribute) = Attribute::text(value) {
            self.attributes.insert(name.into(), attribute);
        }
        self
    }

    /// With an attribute of several strings; an empty list is no attribute.
    #[must_use]
    pub fn list<I>(mut self, name: impl Into<String>, values: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        if let Some(attribute) = Attribute::list(values) {
            self.attributes.insert(name.into(), attribute);
        }
        self
    }

    /// The claims in a verified token's payload; `None` when it names nobody, or names the anonymous.
    pub(crate) fn from_payload(issuer: &str, roles_claim: &str, payload: &Map<String, Value>) -> Option<Self> {
        let sub = payload.get("sub")?.as_str()?;
        if sub.is_empty() || sub == ANONYMOUS {
            return None;
        }
        let roles_root = roles_claim.split('.').next().unwrap_or(roles_claim);
        let attributes = payload
            .iter()
            .filter(|(name, _)| !REGISTERED.contains(&name.as_str()))
            .filter(|(name, _)| name.as_str() != roles_claim && name.as_str() != roles_root)
            .filter_map(|(name, value)| Some((name.clone(), Attribute::from_value(value)?)))
            .collect();
        Some(Self {
            issuer: Some(issuer.to_owned()),
            sub: sub.to_owned(),
            name: payload.get("name").and_then(Value::as_str).map(str::to_owned),
            roles: roles_at(payload, roles_claim),
            attributes,
        })
    }
}

/// Claims that RFC 7519 section 4.1 and OpenID Connect Core section 2 give a meaning of their own.
const REGISTERED: [&str; 10] = ["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "name", "azp", "nonce"];

/// The roles under a claim of that very name, or else at that path; a value of another type gives none.
fn roles_at(payload: &Map<String, Value>, path: &str) -> Vec<String> {
    let value = payload.get(path).or_else(|| {
        let mut steps = path.split('.');
        let first = payload.get(steps.next()?)?;
        steps.try_fold(first, |value, step| value.get(step))
    });
    match value.and_then(Attribute::from_value) {
        Some(Attribute::List(roles)) => roles,
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn claims(roles_claim: &str, payload: Value) -> Option<Claims> {
        Claims::from_payload("https://issuer.example", roles_claim, payload.as_object().unwrap())
    }

    #[test]
    fn roles_are_found_under_a_path_or_a_dotted_name() {
        let nested = claims("realm_access.roles", json!({"sub": "a", "realm_access": {"roles": ["doctor"]}}));
        assert_eq!(nested.unwrap().roles, ["doctor"]);
        let dotted = claims("https://x.example/roles", json!({"sub": "a", "https://x.example/roles": ["analyst"]}));
        assert_eq!(dotted.unwrap().roles, ["analyst"]);
    }

    #[test]
    fn roles_of_the_wrong_type_are_no_roles() {
        for value in [json!("doctor"), json!({"doctor": true}), json!(["doctor", 1]), json!(null)] {
            assert!(claims("roles", json!({"sub": "a", "roles": value})).unwrap().roles.is_empty());
        }
    }

    #[test]
    fn attributes_that_are_empty_or_of_another_type_are_left_out() {
        let payload = json!({
            "sub": "a", "staff": "s-1", "sites": ["x", "y"], "blank": "", "none": [], "holes": ["x", ""],
            "number": 7, "mixed": ["x", 7], "object": {"x": "y"},
        });
        let attributes = claims("roles", payload).unwrap().attributes;
        assert_eq!(attributes.keys().collect::<Vec<_>>(), ["sites", "staff"]);
        assert_eq!(attributes["staff"], Attribute::Text("s-1".into()));
    }

    #[test]
    fn a_token_cannot_name_nobody_nor_the_anonymous() {
        for payload in [json!({}), json!({"sub": ""}), json!({"sub": 1}), json!({"sub": "anonymous"})] {
            assert_eq!(claims("roles", payload), None);
        }
    }
}
