//! FHIR bundles taken apart: each resource to the topic of its type, keyed by its id.

use std::borrow::Cow;

use anyhow::{Context, bail};
use serde::Deserialize;
use serde_json::value::RawValue;

/// One resource of a bundle on its way to a topic.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Resource {
    /// The topic of the resource's type.
    pub(crate) topic: &'static str,
    /// The resource's id.
    pub(crate) key: String,
    /// The resource as JSON: its own text without the white space between tokens, numbers untouched.
    pub(crate) payload: Vec<u8>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bundle<'a> {
    resource_type: Cow<'a, str>,
    #[serde(borrow, default)]
    entry: Vec<Entry<'a>>,
}

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    resource: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head<'a> {
    resource_type: Cow<'a, str>,
    id: Option<Cow<'a, str>>,
}

/// Takes a bundle apart. The second value counts the resources, by type, that no topic takes.
pub(crate) fn explode(text: &str) -> anyhow::Result<(Vec<Resource>, std::collections::BTreeMap<String, usize>)> {
    let bundle: Bundle<'_> = serde_json::from_str(text).context("this is not a FHIR bundle in JSON")?;
    if bundle.resource_type != "Bundle" {
        bail!("this is a FHIR {}, not a Bundle", bundle.resource_type);
    }
    let mut resources = Vec::with_capacity(bundle.entry.len());
    let mut passed_over = std::collections::BTreeMap::new();
    for (index, entry) in bundle.entry.iter().enumerate() {
        let Some(resource) = entry.resource else { continue };
        let head: Head<'_> =
            serde_json::from_str(resource.get()).with_context(|| format!("entry {index} is not a resource"))?;
        match (topic_of(&head.resource_type), head.id) {
            (None, _) => *passed_over.entry(head.resource_type.into_owned()).or_insert(0) += 1,
            (Some(_), None) => bail!("entry {index}, a {}, has no id", head.resource_type),
            (Some(topic), Some(id)) => {
                resources.push(Resource { topic, key: id.into_owned(), payload: compact(resource.get()) });
            }
        }
    }
    Ok((resources, passed_over))
}

/// The topic that takes resources of this type.
fn topic_of(resource_type: &str) -> Option<&'static str> {
    Some(match resource_type {
        "Patient" => "clinic.patient",
        "Practitioner" => "clinic.practitioner",
        "Organization" => "clinic.organization",
        "Location" => "clinic.location",
        "Appointment" => "clinic.appointment",
        "Encounter" => "clinic.encounter",
        "Condition" => "clinic.condition",
        "MedicationRequest" => "clinic.medication_request",
        "Observation" => "clinic.observation",
        "Consent" => "clinic.consent",
        "DocumentReference" => "clinic.document",
        _ => return None,
    })
}

/// The same JSON without white space between its tokens. A number keeps its digits, which parsing would not promise.
pub(crate) fn compact(json: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len());
    let (mut in_string, mut escaped) = (false, false);
    for byte in json.bytes() {
        if in_string {
            in_string = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
        } else if byte.is_ascii_whitespace() {
            continue;
        } else {
            in_string = byte == b'"';
        }
        out.push(byte);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_resource_goes_to_the_topic_of_its_type() {
        let bundle = r#"{"resourceType":"Bundle","entry":[
            {"resource":{"resourceType":"Patient","id":"p1","note":"a \" b"}},
            {"resource":{"resourceType":"Claim","id":"c1"}},
            {"resource":{"resourceType":"Observation","id":"o1","valueQuantity":{"value":72.10}}}]}"#;
        let (resources, passed_over) = explode(bundle).unwrap();
        let topics: Vec<_> = resources.iter().map(|resource| (resource.topic, resource.key.as_str())).collect();
        assert_eq!(topics, [("clinic.patient", "p1"), ("clinic.observation", "o1")]);
        assert_eq!(passed_over.get("Claim"), Some(&1));
        assert_eq!(resources[0].payload, br#"{"resourceType":"Patient","id":"p1","note":"a \" b"}"#);
        assert!(resources[1].payload.ends_with(br#"{"value":72.10}}"#));
    }

    #[test]
    fn compacting_keeps_the_meaning() {
        let json = "{ \"a\\\\\" : [ 1.50 , \" x  y \" ] ,\n \"ü\\\"\": null }";
        let compacted = compact(json);
        let before: serde_json::Value = serde_json::from_str(json).unwrap();
        let after: serde_json::Value = serde_json::from_slice(&compacted).unwrap();
        assert_eq!(before, after);
        assert_eq!(compacted, "{\"a\\\\\":[1.50,\" x  y \"],\"ü\\\"\":null}".as_bytes());
    }
}
