//! Purposes: which roles there are, what each is for, and which of them nobody may hold together.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;
use serde_saphyr::Spanned;

use crate::claims::Claims;
use crate::error::IamError;
use crate::policies::PolicyProblem;

/// The role that everybody has.
pub const NOBODY: &str = "nobody";

/// The declared roles with their purposes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Purposes {
    roles: BTreeMap<String, String>,
    incompatible: Vec<BTreeSet<String>>,
    public: String,
}

/// The roles that a `purposes.yaml` declares, each with its purpose; every problem at once.
pub fn declared_roles(file: &Path) -> Result<BTreeMap<String, String>, Vec<PolicyProblem>> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| vec![PolicyProblem::new(file, 1, format!("cannot be read: {}", error.kind()))])?;
    Purposes::read(file, &text).1.map(|purposes| purposes.roles)
}

/// The roles that a file names, with their purposes: known even where something else is wrong with the file.
#[derive(Debug)]
pub(crate) struct Roles(BTreeMap<String, String>);

impl Roles {
    pub(crate) fn has_role(&self, role: &str) -> bool {
        self.0.contains_key(role)
    }

    pub(crate) fn has_purpose(&self, purpose: &str) -> bool {
        self.0.values().any(|known| known == purpose)
    }
}

/// What becomes of a role that a token names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// It counts.
    Active,
    /// It counts for another purpose alone.
    OtherPurpose(String),
    /// `purposes.yaml` does not declare it.
    Undeclared,
    /// Nobody may hold it together with these roles, which the token names too: none of them counts.
    Incompatible(Vec<String>),
}

/// A role that a token names, and what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HeldRole {
    /// As the token names it.
    pub role: String,
    /// What becomes of it.
    pub standing: Standing,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PurposesFile {
    roles: BTreeMap<String, Spanned<String>>,
    #[serde(default)]
    incompatible: Vec<Spanned<Vec<String>>>,
}

impl Purposes {
    /// Reads the declaration; every problem at once. The roles are given wherever they can be told.
    pub(crate) fn read(file: &Path, text: &str) -> (Option<Roles>, Result<Self, Vec<PolicyProblem>>) {
        let declared: PurposesFile = match serde_saphyr::from_str(text) {
            Ok(declared) => declared,
            Err(error) => {
                let line = error.location().map_or(1, |location| location.line() as usize);
                return (None, Err(vec![PolicyProblem::new(file, line, error.without_snippet().to_string())]));
            }
        };
        let named = declared.roles.iter().map(|(role, purpose)| (role.clone(), purpose.value.clone())).collect();
        (Some(Roles(named)), Self::checked(file, declared))
    }

    fn checked(file: &Path, declared: PurposesFile) -> Result<Self, Vec<PolicyProblem>> {
        let mut problems = Vec::new();
        for (role, purpose) in &declared.roles {
            if role.is_empty() || purpose.value.is_empty() {
                let line = purpose.referenced.line() as usize;
                problems.push(PolicyProblem::new(file, line, "a role and its purpose need a name"));
            }
        }
        for group in &declared.incompatible {
            let line = group.referenced.line() as usize;
            if group.value.iter().collect::<BTreeSet<_>>().len() < 2 {
                problems.push(PolicyProblem::new(file, line, "it takes two different roles to be incompatible"));
            }
            for role in &group.value {
                if role == NOBODY {
                    problems.push(PolicyProblem::new(file, line, "everybody has the role `nobody`"));
                } else if !declared.roles.contains_key(role) {
                    problems.push(PolicyProblem::new(file, line, format!("there is no role `{role}`")));
                }
            }
        }
        let public = declared.roles.get(NOBODY).map(|purpose| purpose.value.clone());
        if public.is_none() {
            problems.push(PolicyProblem::new(file, 1, "role `nobody`, which everybody has, needs a purpose"));
        }
        match public {
            Some(public) if problems.is_empty() => Ok(Self {
                roles: declared.roles.into_iter().map(|(role, purpose)| (role, purpose.value)).collect(),
                incompatible: declared
                    .incompatible
                    .into_iter()
                    .map(|group| group.value.into_iter().collect())
                    .collect(),
                public,
            }),
            _ => Err(problems),
        }
    }

    /// The purpose of the request, and the roles that are active for it.
    pub(crate) fn activate(
        &self,
        claims: &Claims,
        stated: Option<&str>,
    ) -> Result<(String, BTreeSet<String>), IamError> {
        let held = self.held(claims);
        let purposes: BTreeSet<&str> = held.values().copied().collect();
        let purpose = match stated {
            Some(stated) if stated == self.public || purposes.contains(stated) => stated,
            Some(stated) => {
                return Err(IamError::Forbidden { purpose: stated.to_owned() });
            }
            None => match (purposes.first(), purposes.len()) {
                (Some(only), 1) => *only,
                (Some(_), _) => {
                    return Err(IamError::PurposeRequired {
                        purposes: purposes.into_iter().map(str::to_owned).collect(),
                    });
                }
                (None, _) => &self.public,
            },
        };
        let mut roles: BTreeSet<String> =
            held.iter().filter(|(_, of)| **of == purpose).map(|(role, _)| (*role).to_owned()).collect();
        roles.insert(NOBODY.to_owned());
        Ok((purpose.to_owned(), roles))
    }

    /// Declared roles of the claims with their purposes, without those that nobody may hold together.
    fn held<'a>(&'a self, claims: &'a Claims) -> BTreeMap<&'a str, &'a str> {
        if claims.is_anonymous() {
            return BTreeMap::new();
        }
        let declared: BTreeMap<&str, &str> = claims
            .roles
            .iter()
            .filter(|role| *role != NOBODY)
            .filter_map(|role| self.roles.get_key_value(role))
            .map(|(role, purpose)| (role.as_str(), purpose.as_str()))
            .collect();
        let clashing: BTreeSet<&str> = self.clashes(|role| declared.contains_key(role)).into_iter().flatten().collect();
        declared.into_iter().filter(|(role, _)| !clashing.contains(role)).collect()
    }

    /// The roles among those held that nobody may hold together.
    fn clashes(&self, is_held: impl Fn(&str) -> bool) -> Vec<Vec<&str>> {
        let held = self
            .incompatible
            .iter()
            .map(|group| group.iter().map(String::as_str).filter(|role| is_held(role)).collect::<Vec<_>>());
        held.filter(|together| together.len() > 1).collect()
    }

    /// What becomes of each role that the claims name, once the purpose is chosen.
    pub(crate) fn standing(&self, claims: &Claims, purpose: &str) -> Vec<HeldRole> {
        if claims.is_anonymous() {
            return Vec::new();
        }
        let named: BTreeSet<&str> = claims.roles.iter().map(String::as_str).filter(|role| *role != NOBODY).collect();
        let clashes = self.clashes(|role| named.contains(role));
        let standing = |role: &str| {
            let Some(of) = self.roles.get(role) else { return Standing::Undeclared };
            let mut others: Vec<String> = clashes
                .iter()
                .filter(|together| together.contains(&role))
                .flat_map(|together| together.iter().filter(|other| **other != role))
                .map(|other| (*other).to_owned())
                .collect();
            others.sort();
            others.dedup();
            match (others.is_empty(), of == purpose) {
                (false, _) => Standing::Incompatible(others),
                (true, true) => Standing::Active,
                (true, false) => Standing::OtherPurpose(of.clone()),
            }
        };
        named.into_iter().map(|role| HeldRole { role: role.to_owned(), standing: standing(role) }).collect()
    }

    /// The declared roles with their purposes.
    pub(crate) fn roles(&self) -> &BTreeMap<String, String> {
        &self.roles
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DECLARED: &str = "
roles: {patient: self, doctor: care, nurse: care, analyst: bi, cashier: billing, accountant: accounting, nobody: public}
incompatible: [[cashier, accountant]]
";

    fn activate(roles: &[&str], stated: Option<&str>) -> Result<(String, Vec<String>), IamError> {
        let purposes = Purposes::read(Path::new("purposes.yaml"), DECLARED).1.unwrap();
        let claims = roles.iter().fold(Claims::new("a"), |claims, role| claims.role(*role));
        let (purpose, roles) = purposes.activate(&claims, stated)?;
        Ok((purpose, roles.into_iter().collect()))
    }

    fn is(purpose: &str, roles: &[&str]) -> (String, Vec<String>) {
        (purpose.to_owned(), roles.iter().map(|role| (*role).to_owned()).collect())
    }

    #[test]
    fn the_only_purpose_is_taken_with_all_of_its_roles() {
        assert_eq!(activate(&["doctor", "nurse"], None).unwrap(), is("care", &["doctor", "nobody", "nurse"]));
    }

    #[test]
    fn several_purposes_must_be_chosen_from_and_never_add_up() {
        let IamError::PurposeRequired { purposes } = activate(&["doctor", "analyst"], None).unwrap_err() else {
            panic!("another error");
        };
        assert_eq!(purposes, ["bi", "care"]);
        assert_eq!(activate(&["doctor", "analyst"], Some("bi")).unwrap(), is("bi", &["analyst", "nobody"]));
    }

    #[test]
    fn a_purpose_without_a_role_is_forbidden_in_words() {
        for purpose in ["care", "no such purpose", ""] {
            let error = activate(&["analyst"], Some(purpose)).unwrap_err();
            assert!(matches!(error, IamError::Forbidden { .. }), "{error}");
            assert!(error.to_string().contains("you have no role for it"));
        }
    }

    #[test]
    fn without_roles_there_is_the_public_purpose_and_it_is_open_to_all() {
        assert_eq!(activate(&[], None).unwrap(), is("public", &["nobody"]));
        assert_eq!(activate(&["doctor"], Some("public")).unwrap(), is("public", &["nobody"]));
        assert_eq!(activate(&["nobody"], None).unwrap(), is("public", &["nobody"]));
    }

    #[test]
    fn an_undeclared_role_opens_nothing() {
        assert_eq!(activate(&["emperor"], None).unwrap(), is("public", &["nobody"]));
        assert_eq!(activate(&["emperor", "analyst"], None).unwrap(), is("bi", &["analyst", "nobody"]));
    }

    #[test]
    fn what_becomes_of_each_role_is_told() {
        let purposes = Purposes::read(Path::new("purposes.yaml"), DECLARED).1.unwrap();
        let names = ["doctor", "analyst", "emperor", "cashier", "accountant", "nobody"];
        let claims = names.iter().fold(Claims::new("a"), |claims, role| claims.role(*role));
        let told: Vec<(String, Standing)> =
            purposes.standing(&claims, "care").into_iter().map(|held| (held.role, held.standing)).collect();
        let clash = |with: &str| Standing::Incompatible(vec![with.to_owned()]);
        let expected = [
            ("accountant", clash("cashier")),
            ("analyst", Standing::OtherPurpose("bi".into())),
            ("cashier", clash("accountant")),
            ("doctor", Standing::Active),
            ("emperor", Standing::Undeclared),
        ];
        assert_eq!(told, expected.map(|(role, standing)| (role.to_owned(), standing)));
    }

    #[test]
    fn incompatible_roles_together_give_neither() {
        assert_eq!(activate(&["cashier"], None).unwrap(), is("billing", &["cashier", "nobody"]));
        assert_eq!(activate(&["cashier", "accountant"], None).unwrap(), is("public", &["nobody"]));
        assert!(activate(&["cashier", "accountant"], Some("billing")).is_err());
        assert_eq!(activate(&["cashier", "accountant", "nurse"], None).unwrap(), is("care", &["nobody", "nurse"]));
    }

    #[test]
    fn the_anonymous_have_no_role_whatever_their_claims_say() {
        let purposes = Purposes::read(Path::new("purposes.yaml"), DECLARED).1.unwrap();
        let claims = Claims::anonymous().role("doctor");
        assert_eq!(purposes.activate(&claims, None).unwrap().0, "public");
        assert!(purposes.activate(&claims, Some("care")).is_err());
    }

    #[test]
    fn problems_come_with_their_lines_and_all_at_once() {
        let text = "roles:\n  doctor: care\nincompatible:\n  - [doctor, ghost]\n  - [doctor, doctor]\n";
        let problems = Purposes::read(Path::new("purposes.yaml"), text).1.unwrap_err();
        let shown: Vec<_> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            [
                "purposes.yaml:4: there is no role `ghost`",
                "purposes.yaml:5: it takes two different roles to be incompatible",
                "purposes.yaml:1: role `nobody`, which everybody has, needs a purpose",
            ]
        );
    }

    #[test]
    fn an_unknown_key_is_a_problem_with_its_line() {
        let problems = Purposes::read(Path::new("p.yaml"), "roles: {nobody: public}\nrole: {}\n").1.unwrap_err();
        assert_eq!(problems[0].line, 2, "{}", problems[0]);
    }
}
