//! The people who sign in to the demo.

use super::chain::{Chain, DMITRI, HANNA};
use super::patients::{PAVEL, Patient};

/// Somebody with a login, and the claims of the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Person {
    /// The name to sign in with; `sub` of the token.
    pub(crate) login: &'static str,
    /// The name to be called by.
    pub(crate) name: String,
    /// Roles of the token.
    pub(crate) roles: &'static [&'static str],
    /// The purpose to ask for when none is stated.
    pub(crate) purpose: &'static str,
    /// The practitioner that this person is.
    pub(crate) staff_id: Option<String>,
    /// The patient that this person is.
    pub(crate) patient_id: Option<String>,
    /// Ids of the clinics where this person works.
    pub(crate) clinics: Vec<String>,
}

/// Login, name, roles, purpose and the positions of the clinics of those who are neither patient nor practitioner.
type Post = (&'static str, &'static str, &'static [&'static str], &'static str, &'static [usize]);

const OTHERS: [Post; 10] = [
    ("anna.analyst", "Anna Lindqvist", &["analyst"], "bi", &[]),
    ("rita.receptionist", "Rita Mensah", &["receptionist"], "reception", &[0]),
    ("karl.cashier", "Karl Öberg", &["cashier"], "billing", &[0]),
    ("asya.accountant", "Asya Karimova", &["accountant"], "accounting", &[]),
    ("stepan.storekeeper", "Stepan Kovač", &["storekeeper"], "supply", &[0]),
    ("sofia.scientist", "Sofia Marchetti", &["data_scientist"], "research", &[]),
    ("egor.engineer", "Egor Nowak", &["data_engineer"], "engineering", &[]),
    ("diana.dpo", "Diana Okonkwo", &["dpo"], "oversight", &[]),
    ("arkady.auditor", "Arkady Blum", &["auditor"], "oversight", &[]),
    ("nikita.nobody", "Nikita Rossi", &[], "public", &[]),
];

/// Everybody, doctors and patient first.
pub(super) fn people(chain: &Chain, patients: &[Patient]) -> Vec<Person> {
    let ids = |clinics: &[usize]| clinics.iter().map(|clinic| chain.clinics[*clinic].id.to_owned()).collect();
    let staff = |login, who: usize, roles, purpose| {
        let practitioner = &chain.practitioners[who];
        Person {
            login,
            name: practitioner.name(),
            roles,
            purpose,
            staff_id: Some(practitioner.id.clone()),
            patient_id: None,
            clinics: ids(&practitioner.clinics),
        }
    };
    let mut people = vec![
        staff("dmitri.doctor", DMITRI, &["doctor"], "care"),
        staff("hanna.head", HANNA, &["doctor", "head_physician"], "operations"),
    ];
    people.extend(patients.get(PAVEL).map(|pavel| Person {
        login: "pavel.patient",
        name: pavel.name(),
        roles: &["patient"],
        purpose: "self",
        staff_id: None,
        patient_id: Some(pavel.id.clone()),
        clinics: Vec::new(),
    }));
    people.extend(OTHERS.iter().map(|(login, name, roles, purpose, clinics)| Person {
        login,
        name: (*name).to_owned(),
        roles,
        purpose,
        staff_id: None,
        patient_id: None,
        clinics: ids(clinics),
    }));
    people
}
