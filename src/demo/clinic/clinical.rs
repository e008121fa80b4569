//! The resources of a visit: Appointment, Encounter, Condition, Observation, MedicationRequest, DocumentReference.

use chrono::{DateTime, Utc};
use data_encoding::BASE64;

use super::chain::{Place, Practitioner};
use super::chance::Chance;
use super::codes::{self, ACT_CODE, Diagnosis, Drug};
use super::json::{Coding, Json, resource};
use super::measurements::{DIASTOLIC, Kind, Measurement, Quantity, SYSTOLIC, decimal};
use super::patients::Patient;

/// Who meets whom, where.
#[derive(Debug, Clone, Copy)]
pub(super) struct Meeting<'a> {
    pub(super) patient: &'a Patient,
    pub(super) practitioner: &'a Practitioner,
    pub(super) place: &'a Place,
    /// None: a check-up.
    pub(super) diagnosis: Option<&'static Diagnosis>,
}

/// A version of a resource: its id, number and time of recording.
#[derive(Debug, Clone, Copy)]
pub(super) struct Version<'a> {
    pub(super) id: &'a str,
    pub(super) number: u32,
    pub(super) recorded: DateTime<Utc>,
}

/// What was measured, when, by whom, and how sure it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Finding<'a> {
    pub(super) measurement: &'static Measurement,
    /// A code of `http://hl7.org/fhir/observation-status`.
    pub(super) status: &'static str,
    pub(super) effective: DateTime<Utc>,
    pub(super) performer: &'a Place,
}

impl Meeting<'_> {
    /// The patient as a reference: mostly `Patient/<id>`, sometimes `urn:uuid:<id>`, sometimes with a name beside it.
    fn patient(&self, json: &mut Json, name: &str, chance: &mut Chance) {
        let display = if chance.percent(25) { self.patient.name() } else { String::new() };
        json.reference(name, &reference("Patient", &self.patient.id, chance), &display);
    }

    fn practitioner_in(&self, json: &mut Json, name: &str, chance: &mut Chance) {
        let display = if chance.percent(25) { self.practitioner.name() } else { String::new() };
        json.reference(name, &reference("Practitioner", &self.practitioner.id, chance), &display);
    }

    /// Half of the houses code in ICD-10.
    fn diagnosis_coding(&self, diagnosis: &Diagnosis) -> Coding {
        if self.place.city.name.is_ascii() { diagnosis.in_snomed() } else { diagnosis.in_icd_10() }
    }
}

/// An Appointment.
pub(super) fn appointment(
    version: Version<'_>,
    meeting: Meeting<'_>,
    status: &str,
    (starts, ends): (DateTime<Utc>, DateTime<Utc>),
    chance: &mut Chance,
) -> Vec<u8> {
    let offset = meeting.place.offset();
    resource("Appointment", version.id, version.number, version.recorded, |json| {
        json.text("status", status);
        json.list("specialty", |list| {
            list.item(|item| {
                let specialty = meeting.practitioner.specialty.coding();
                item.list("coding", |codings| {
                    codings.item(|coding| {
                        coding.text("system", specialty.system);
                        coding.text("code", specialty.code);
                        coding.text("display", specialty.display);
                    });
                });
            });
        });
        if let Some(diagnosis) = meeting.diagnosis {
            json.concepts("reasonCode", &[], diagnosis.complaint);
        }
        json.instant("start", starts, offset);
        json.instant("end", ends, offset);
        json.list("participant", |list| {
            list.item(|item| {
                meeting.patient(item, "actor", chance);
                item.text("status", if status == "cancelled" { "declined" } else { "accepted" });
            });
            list.item(|item| {
                meeting.practitioner_in(item, "actor", chance);
                item.text("status", "accepted");
            });
            list.item(|item| {
                item.reference("actor", &format!("Location/{}", meeting.place.id), "");
                item.text("status", "accepted");
            });
        });
    })
}

/// An Encounter.
pub(super) fn encounter(
    version: Version<'_>,
    meeting: Meeting<'_>,
    status: &str,
    kind: Coding,
    (started, ended): (DateTime<Utc>, Option<DateTime<Utc>>),
    appointment: Option<&str>,
    chance: &mut Chance,
) -> Vec<u8> {
    let offset = meeting.place.offset();
    resource("Encounter", version.id, version.number, version.recorded, |json| {
        json.text("status", status);
        json.within("class", |class| {
            class.text("system", ACT_CODE);
            class.text("code", "AMB");
            class.text("display", "ambulatory");
        });
        json.concepts("type", &[kind], "");
        meeting.patient(json, "subject", chance);
        json.list("participant", |list| {
            list.item(|item| meeting.practitioner_in(item, "individual", chance));
        });
        if let Some(appointment) = appointment {
            json.list("appointment", |list| {
                list.item(|item| item.text("reference", &format!("Appointment/{appointment}")));
            });
        }
        json.within("period", |period| {
            period.instant("start", started, offset);
            if let Some(ended) = ended {
                period.instant("end", ended, offset);
            }
        });
        if let Some(diagnosis) = meeting.diagnosis {
            let text = if chance.percent(60) { diagnosis.complaint } else { "" };
            json.concepts("reasonCode", &[meeting.diagnosis_coding(diagnosis)], text);
        }
        json.list("location", |list| {
            list.item(|item| item.reference("location", &format!("Location/{}", meeting.place.id), meeting.place.name));
        });
        json.reference("serviceProvider", &format!("Organization/{}", meeting.place.id), "");
    })
}

/// A Condition.
pub(super) fn condition(
    version: Version<'_>,
    meeting: Meeting<'_>,
    diagnosis: &Diagnosis,
    encounter: &str,
    onset: DateTime<Utc>,
    chance: &mut Chance,
) -> Vec<u8> {
    resource("Condition", version.id, version.number, version.recorded, |json| {
        let status = if diagnosis.chronic { ("active", "Active") } else { ("resolved", "Resolved") };
        let clinical = Coding {
            system: "http://terminology.hl7.org/CodeSystem/condition-clinical",
            code: status.0,
            display: status.1,
        };
        json.concept("clinicalStatus", &[clinical], "");
        let verified = if chance.percent(88) { ("confirmed", "Confirmed") } else { ("provisional", "Provisional") };
        let verification = Coding {
            system: "http://terminology.hl7.org/CodeSystem/condition-ver-status",
            code: verified.0,
            display: verified.1,
        };
        json.concept("verificationStatus", &[verification], "");
        let category = Coding {
            system: "http://terminology.hl7.org/CodeSystem/condition-category",
            code: "encounter-diagnosis",
            display: "Encounter Diagnosis",
        };
        json.concepts("category", &[category], "");
        json.concept("code", &[meeting.diagnosis_coding(diagnosis)], "");
        meeting.patient(json, "subject", chance);
        json.reference("encounter", &reference("Encounter", encounter, chance), "");
        json.instant("onsetDateTime", onset, meeting.place.offset());
        json.instant("recordedDate", version.recorded, meeting.place.offset());
        meeting.practitioner_in(json, "recorder", chance);
        if chance.percent(20) {
            note(json, &format!("{} said: {}", meeting.patient.given[0], diagnosis.complaint));
        }
    })
}

/// An Observation; its values are drawn here.
pub(super) fn observation(
    version: Version<'_>,
    meeting: Meeting<'_>,
    finding: Finding<'_>,
    encounter: &str,
    chance: &mut Chance,
) -> Vec<u8> {
    let Finding { measurement, status, effective, performer } = finding;
    resource("Observation", version.id, version.number, version.recorded, |json| {
        json.text("status", status);
        let category = Coding {
            system: "http://terminology.hl7.org/CodeSystem/observation-category",
            code: measurement.category,
            display: measurement.category,
        };
        json.concepts("category", &[category], "");
        json.concept("code", &[measurement.coding()], "");
        meeting.patient(json, "subject", chance);
        json.reference("encounter", &reference("Encounter", encounter, chance), "");
        json.instant("effectiveDateTime", effective, meeting.place.offset());
        json.instant("issued", version.recorded, meeting.place.offset());
        json.list("performer", |list| {
            list.item(|item| {
                item.text("reference", &reference("Practitioner", &meeting.practitioner.id, chance));
            });
            list.item(|item| item.text("reference", &format!("Organization/{}", performer.id)));
        });
        match &measurement.kind {
            Kind::Quantity(quantity) => measured(json, quantity, chance),
            Kind::Words(answers) => json.text("valueString", chance.pick::<&str>(answers)),
            Kind::Coded(answers) => json.concept("valueCodeableConcept", &[*chance.pick(answers)], ""),
            Kind::Pressure => json.list("component", |list| {
                for part in [&SYSTOLIC, &DIASTOLIC] {
                    if let Kind::Quantity(quantity) = &part.kind {
                        list.item(|item| {
                            item.concept("code", &[part.coding()], "");
                            measured(item, quantity, chance);
                        });
                    }
                }
            }),
        }
        if chance.percent(3) {
            note(json, "Patient had eaten; repeat if in doubt");
        }
    })
}

/// A MedicationRequest.
pub(super) fn medication_request(
    version: Version<'_>,
    meeting: Meeting<'_>,
    drug: &Drug,
    encounter: &str,
    chance: &mut Chance,
) -> Vec<u8> {
    resource("MedicationRequest", version.id, version.number, version.recorded, |json| {
        json.text("status", if chance.percent(70) { "active" } else { "completed" });
        json.text("intent", "order");
        json.concept("medicationCodeableConcept", &[drug.coding], "");
        meeting.patient(json, "subject", chance);
        json.reference("encounter", &reference("Encounter", encounter, chance), "");
        json.instant("authoredOn", version.recorded, meeting.place.offset());
        meeting.practitioner_in(json, "requester", chance);
        json.list("dosageInstruction", |list| {
            list.item(|item| {
                item.bare("sequence", 1);
                item.text("text", drug.dosage);
            });
        });
    })
}

/// A DocumentReference: a note with its text inline, or a scan that lies elsewhere.
pub(super) fn document(version: Version<'_>, meeting: Meeting<'_>, encounter: &str, chance: &mut Chance) -> Vec<u8> {
    let inline = chance.percent(70);
    let kind = match (inline, chance.percent(30)) {
        (false, _) => codes::IMAGING_STUDY,
        (true, true) => codes::LABORATORY_REPORT,
        (true, false) => codes::CONSULT_NOTE,
    };
    let title = format!("{} of {}", kind.display, meeting.patient.name());
    resource("DocumentReference", version.id, version.number, version.recorded, |json| {
        json.text("status", "current");
        json.concept("type", &[kind], "");
        meeting.patient(json, "subject", chance);
        json.instant("date", version.recorded, meeting.place.offset());
        json.list("author", |list| {
            list.item(|item| {
                item.text("reference", &reference("Practitioner", &meeting.practitioner.id, chance));
                item.text("display", &meeting.practitioner.name());
            });
        });
        json.reference("custodian", &format!("Organization/{}", meeting.place.id), "");
        json.list("content", |list| {
            list.item(|item| {
                item.within("attachment", |attachment| {
                    if inline {
                        let text = letter(meeting, &title);
                        attachment.text("contentType", "text/plain");
                        attachment.text("data", &BASE64.encode(text.as_bytes()));
                        attachment.bare("size", text.len());
                    } else {
                        attachment.text("contentType", "application/pdf");
                        attachment.text("url", &format!("https://files.lakeward.example/scans/{}.pdf", version.id));
                        attachment.bare("size", chance.between(40_000, 9_000_000));
                    }
                    attachment.text("title", &title);
                    attachment.instant("creation", version.recorded, meeting.place.offset());
                });
            });
        });
        json.within("context", |context| {
            context.list("encounter", |list| {
                list.item(|item| item.text("reference", &reference("Encounter", encounter, chance)));
            });
        });
    })
}

/// `Kind/<id>`, or now and then `urn:uuid:<id>`: both mean `<id>`.
pub(super) fn reference(kind: &str, id: &str, chance: &mut Chance) -> String {
    if chance.percent(12) { format!("urn:uuid:{id}") } else { format!("{kind}/{id}") }
}

fn measured(json: &mut Json, quantity: &Quantity, chance: &mut Chance) {
    let value = quantity.draw(chance);
    json.within("valueQuantity", |json| {
        json.bare("value", decimal(value, quantity.decimals));
        json.text("unit", quantity.unit);
        json.text("system", "http://unitsofmeasure.org");
        json.text("code", quantity.ucum);
    });
    let Some((low, high)) = quantity.range else { return };
    let (code, display) = match value {
        value if value < low => ("L", "Low"),
        value if value > high => ("H", "High"),
        _ => ("N", "Normal"),
    };
    let system = "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation";
    json.concepts("interpretation", &[Coding { system, code, display }], "");
    json.list("referenceRange", |list| {
        list.item(|item| {
            for (name, bound) in [("low", low), ("high", high)] {
                item.within(name, |json| {
                    json.bare("value", decimal(bound, quantity.decimals));
                    json.text("unit", quantity.unit);
                });
            }
        });
    });
}

fn note(json: &mut Json, text: &str) {
    json.list("note", |list| list.item(|item| item.text("text", text)));
}

fn letter(meeting: Meeting<'_>, title: &str) -> String {
    let complaint = meeting.diagnosis.map_or("Feels well.", |diagnosis| diagnosis.complaint);
    let finding = meeting.diagnosis.map_or("No finding", |diagnosis| diagnosis.display);
    format!(
        "{title}\n\nComplaint: {complaint}\nAssessment: {finding}\n\n{}\n{}\n",
        meeting.practitioner.name(),
        meeting.place.name
    )
}
