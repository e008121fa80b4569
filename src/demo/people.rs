//! The people of the demo, kept beside its tables so that `lakeward token` knows them.

use std::path::Path;

use anyhow::Context;
use lakeward_iam::Claims;
use serde::{Deserialize, Serialize};

use super::clinic::Person;

const FILE: &str = "people.json";

/// A person as the file keeps them.
#[derive(Debug, Serialize, Deserialize)]
struct Known {
    login: String,
    name: String,
    roles: Vec<String>,
    staff_id: Option<String>,
    patient_id: Option<String>,
    clinics: Vec<String>,
}

/// Writes down who may sign in.
pub(super) fn write_down(folder: &Path, people: &[Person]) -> anyhow::Result<()> {
    let known: Vec<Known> = people
        .iter()
        .map(|person| Known {
            login: person.login.to_owned(),
            name: person.name.clone(),
            roles: person.roles.iter().map(|role| (*role).to_owned()).collect(),
            staff_id: person.staff_id.clone(),
            patient_id: person.patient_id.clone(),
            clinics: person.clinics.clone(),
        })
        .collect();
    let file = folder.join(FILE);
    std::fs::write(&file, serde_json::to_vec_pretty(&known)?)
        .with_context(|| format!("cannot write {}", file.display()))
}

/// The claims of the person with this login, if the demo in `folder` has one.
pub(crate) fn known(folder: &Path, login: &str) -> anyhow::Result<Option<Claims>> {
    let file = folder.join(FILE);
    let text = std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let people: Vec<Known> = serde_json::from_slice(&text).with_context(|| format!("{} is damaged", file.display()))?;
    Ok(people.into_iter().find(|person| person.login == login).map(|person| {
        let mut claims = Claims::new(&person.login).named(person.name);
        for role in person.roles {
            claims = claims.role(role);
        }
        if let Some(id) = person.staff_id {
            claims = claims.text("staff_id", id);
        }
        if let Some(id) = person.patient_id {
            claims = claims.text("patient_id", id);
        }
        claims.list("clinics", person.clinics)
    }))
}
