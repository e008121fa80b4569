//! The resources that stand still: Patient, Practitioner, Organization, Location and Consent.

use chrono::{DateTime, Utc};

use super::chain::{Chain, Place, Practitioner};
use super::json::{Coding, Json, resource};
use super::patients::Patient;

const IDENTIFIER_TYPE: &str = "http://terminology.hl7.org/CodeSystem/v2-0203";

/// What a patient may consent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Research,
    Contact,
}

/// A Patient.
pub(super) fn patient(chain: &Chain, patient: &Patient, recorded: DateTime<Utc>) -> Vec<u8> {
    let home = &chain.clinics[patient.home];
    resource("Patient", &patient.id, patient.version, recorded, |json| {
        json.list("identifier", |list| {
            identifier(list, "MR", "Medical record number", "urn:lakeward:medical-record", &patient.record_number);
            if let Some(number) = &patient.national_id {
                identifier(list, "NI", "National unique individual identifier", "urn:lakeward:national-id", number);
            }
            if let Some(number) = &patient.insurance {
                identifier(list, "MB", "Member Number", "urn:lakeward:insurance", number);
            }
        });
        json.bare("active", patient.deceased.is_none());
        json.list("name", |list| {
            list.item(|name| {
                name.text("use", "official");
                name.text("family", &patient.family);
                name.list("given", |given| patient.given.iter().for_each(|one| given.item_text(one)));
            });
        });
        if patient.phone.is_some() || patient.email.is_some() {
            json.list("telecom", |list| {
                if let Some(phone) = &patient.phone {
                    telecom(list, "phone", "mobile", phone);
                }
                if let Some(email) = &patient.email {
                    telecom(list, "email", "home", email);
                }
            });
        }
        json.text("gender", patient.gender);
        json.text("birthDate", &patient.birth.to_string());
        if let Some(at) = patient.deceased {
            json.instant("deceasedDateTime", at, home.offset());
        }
        json.list("address", |list| {
            list.item(|address| {
                address.text("use", "home");
                address.list("line", |lines| lines.item_text(&patient.address));
                address.text("city", patient.city.name);
                address.text("state", patient.city.region);
                address.text("postalCode", &patient.postal_code);
            });
        });
        let doctor = &chain.practitioners[patient.doctor];
        json.list("generalPractitioner", |list| {
            list.item(|item| {
                item.text("reference", &format!("Practitioner/{}", doctor.id));
                item.text("display", &doctor.name());
            });
        });
        json.reference("managingOrganization", &format!("Organization/{}", home.id), home.name);
    })
}

/// A Practitioner.
pub(super) fn practitioner(practitioner: &Practitioner, recorded: DateTime<Utc>) -> Vec<u8> {
    resource("Practitioner", &practitioner.id, 1, recorded, |json| {
        json.list("identifier", |list| {
            identifier(list, "MD", "Medical License number", "urn:lakeward:medical-license", &practitioner.license);
        });
        json.bare("active", true);
        json.list("name", |list| {
            list.item(|name| {
                name.text("use", "official");
                name.text("family", &practitioner.family);
                name.list("given", |given| given.item_text(&practitioner.given));
                name.list("prefix", |prefix| prefix.item_text("Dr."));
            });
        });
        json.text("gender", practitioner.gender);
        json.list("qualification", |list| {
            list.item(|item| item.concept("code", &[practitioner.specialty.coding()], ""));
        });
    })
}

/// An Organization.
pub(super) fn organization(place: &Place, recorded: DateTime<Utc>) -> Vec<u8> {
    resource("Organization", place.id, 1, recorded, |json| {
        json.bare("active", true);
        let kind = Coding {
            system: "http://terminology.hl7.org/CodeSystem/organization-type",
            code: if place.laboratory { "other" } else { "prov" },
            display: if place.laboratory { "Other" } else { "Healthcare Provider" },
        };
        json.concepts("type", &[kind], if place.laboratory { "Laboratory" } else { "" });
        json.text("name", place.name);
        json.list("telecom", |list| telecom(list, "phone", "work", &place.phone));
        json.list("address", |list| list.item(|address| address_of(address, place)));
    })
}

/// A Location.
pub(super) fn location(place: &Place, recorded: DateTime<Utc>) -> Vec<u8> {
    resource("Location", place.id, 1, recorded, |json| {
        json.list("extension", |list| {
            list.item(|extension| {
                extension.text("url", "http://hl7.org/fhir/StructureDefinition/timezone");
                extension.text("valueCode", place.city.time_zone);
            });
        });
        json.text("status", "active");
        json.text("name", place.name);
        let kind = Coding {
            system: "http://terminology.hl7.org/CodeSystem/v3-RoleCode",
            code: if place.laboratory { "HLAB" } else { "OF" },
            display: if place.laboratory { "hospital laboratory" } else { "Outpatient facility" },
        };
        json.concepts("type", &[kind], "");
        json.list("telecom", |list| telecom(list, "phone", "work", &place.phone));
        json.within("address", |address| address_of(address, place));
        json.reference("managingOrganization", &format!("Organization/{}", place.id), "");
    })
}

/// A Consent: given, or taken back.
pub(super) fn consent(
    id: &str,
    version: u32,
    patient: &Patient,
    purpose: Purpose,
    granted: bool,
    recorded: DateTime<Utc>,
) -> Vec<u8> {
    let scope = match purpose {
        Purpose::Research => ("research", "Research"),
        Purpose::Contact => ("contact", "Contact"),
    };
    resource("Consent", id, version, recorded, |json| {
        json.text("status", "active");
        let system = match purpose {
            Purpose::Research => "http://terminology.hl7.org/CodeSystem/consentscope",
            Purpose::Contact => "urn:lakeward:consent-scope",
        };
        json.concept("scope", &[Coding { system, code: scope.0, display: scope.1 }], "");
        let category = Coding { system: "http://loinc.org", code: "59284-0", display: "Consent Document" };
        json.concepts("category", &[category], "");
        json.reference("patient", &format!("Patient/{}", patient.id), "");
        json.text("dateTime", &recorded.format("%Y-%m-%dT%H:%M:%SZ").to_string());
        json.within("provision", |provision| {
            provision.text("type", if granted { "permit" } else { "deny" });
        });
    })
}

fn identifier(list: &mut Json, code: &'static str, display: &'static str, system: &str, value: &str) {
    list.item(|item| {
        item.concept("type", &[Coding { system: IDENTIFIER_TYPE, code, display }], "");
        item.text("system", system);
        item.text("value", value);
    });
}

fn telecom(list: &mut Json, system: &str, usage: &str, value: &str) {
    list.item(|item| {
        item.text("system", system);
        item.text("value", value);
        item.text("use", usage);
    });
}

fn address_of(address: &mut Json, place: &Place) {
    address.list("line", |lines| lines.item_text(&place.address));
    address.text("city", place.city.name);
    address.text("state", place.city.region);
    address.text("postalCode", &format!("{}01", place.city.postal));
}
