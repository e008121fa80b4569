//! What the rest of the demo relies on.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::summary::TableCount;
use super::timeline::{Defect, partitions};
use super::*;

fn config(patients: u32) -> ClinicConfig {
    ClinicConfig { seed: 7, patients, epoch: "2026-03-02T09:30:00Z".parse().unwrap() }
}

/// History and the first part of the live stream.
fn events(clinic: &Clinic, live: usize) -> Vec<Event> {
    clinic.history().chain(clinic.live().take(live)).collect()
}

fn digest(events: &[Event]) -> String {
    let mut hash = Sha256::new();
    for event in events {
        hash.update(event.topic);
        hash.update(event.partition.to_le_bytes());
        hash.update(&event.key);
        hash.update(&event.payload);
        hash.update(event.timestamp.timestamp_micros().to_le_bytes());
    }
    data_encoding::HEXLOWER.encode(&hash.finalize())
}

fn messages(summary: &Summary) -> u64 {
    summary.topics.values().map(|topic| topic.messages).sum()
}

fn dead_letters(summary: &Summary) -> u64 {
    summary.topics.values().flat_map(|topic| topic.dead_letters.values()).sum()
}

/// The broken records are known by what they are, not by what the clinic says of them.
fn broken(event: &Event) -> bool {
    let Ok(value) = serde_json::from_slice::<Value>(&event.payload) else { return true };
    let id = ["id", "payment_id", "movement_id"].iter().find_map(|name| value.get(name));
    id.is_none()
        || value.pointer("/valueQuantity/value").is_some_and(|value| !value.is_number())
        || value.get("amount").is_some_and(|amount| !amount.is_number())
}

fn parsed(events: &[Event]) -> Vec<(&Event, Value)> {
    let good = events.iter().filter(|event| !broken(event));
    good.map(|event| (event, serde_json::from_slice(&event.payload).unwrap())).collect()
}

/// The reference or id inside, without its type.
fn target(reference: &Value) -> &str {
    let text = reference["reference"].as_str().unwrap();
    text.strip_prefix("urn:uuid:").or_else(|| text.split_once('/').map(|(_, id)| id)).unwrap()
}

#[test]
fn the_same_configuration_gives_the_same_bytes() {
    let first = events(&Clinic::new(config(40)), 3_000);
    let second = events(&Clinic::new(config(40)), 3_000);
    assert_eq!(digest(&first), digest(&second));
    let other_seed = events(&Clinic::new(ClinicConfig { seed: 8, ..config(40) }), 3_000);
    assert_ne!(digest(&first), digest(&other_seed));
}

/// Changing what the clinic writes is allowed; that it differs from machine to machine is not. When this fails after
/// a change of the clinic, write the new digest here.
#[test]
fn the_bytes_do_not_depend_on_the_machine() {
    assert_eq!(
        digest(&events(&Clinic::new(config(8)), 500)),
        "c5a495ce4a9c02c2ab414f4b1b4c9c1a19773a6d128342cd5f3614f3af10b855"
    );
}

#[test]
fn the_live_stream_goes_on_where_it_was_left() {
    let clinic = Clinic::new(config(30));
    let whole: Vec<Event> = clinic.live().take(2_000).collect();
    let rest: Vec<Event> = clinic.live().skip(700).take(1_300).collect();
    assert_eq!(digest(&whole[700..]), digest(&rest));
}

#[test]
fn events_come_in_the_order_of_time_and_live_begins_after_the_epoch() {
    let clinic = Clinic::new(config(60));
    let history: Vec<Event> = clinic.history().collect();
    let live: Vec<Event> = clinic.live().take(5_000).collect();
    assert!(history.is_sorted_by_key(|event| event.timestamp));
    assert!(live.is_sorted_by_key(|event| event.timestamp));
    assert!(history.last().unwrap().timestamp <= config(60).epoch);
    assert!(live[0].timestamp > config(60).epoch);
    let lasted = live[4_999].timestamp - live[0].timestamp;
    assert!(lasted > TimeDelta::minutes(30) && lasted < TimeDelta::hours(3), "5000 live events last {lasted}");
}

#[test]
fn the_usual_size_fits_the_embedded_broker() {
    let summary = Clinic::new(config(200)).summary(&BTreeMap::new());
    assert!((10_000..20_000).contains(&messages(&summary)), "{} messages", messages(&summary));
    let bytes: u64 = summary.topics.values().map(|topic| topic.bytes).sum();
    assert!(bytes < 10_000_000, "{bytes} bytes");
    assert_eq!(summary.topics.len(), TOPICS.len(), "every topic has something to show");
}

#[test]
fn a_key_is_the_id_of_the_thing_and_stays_in_its_partition() {
    let events = events(&Clinic::new(config(60)), 3_000);
    for (event, value) in parsed(&events) {
        let id = match event.topic {
            "erp.payment" => "payment_id",
            "erp.stock_movement" => "movement_id",
            _ => "id",
        };
        assert_eq!(value[id], event.key.as_str(), "in {}", event.topic);
    }
    let mut partition_of = BTreeMap::new();
    for event in &events {
        assert!((0..partitions(event.topic)).contains(&event.partition));
        assert_eq!(*partition_of.entry((event.topic, &event.key)).or_insert(event.partition), event.partition);
    }
    let used: BTreeSet<_> = partition_of.iter().map(|((topic, _), partition)| (*topic, *partition)).collect();
    let declared: i32 = TOPICS.iter().map(|(_, count)| count).sum();
    assert_eq!(used.len(), declared as usize, "every partition is used");
}

#[test]
fn only_the_records_that_the_summary_names_are_broken() {
    let clinic = Clinic::new(config(60));
    let history: Vec<Event> = clinic.history().collect();
    let found = history.iter().filter(|event| broken(event)).count() as u64;
    assert_eq!(found, 5);
    assert_eq!(dead_letters(&clinic.summary(&BTreeMap::new())), found);
    let kinds: BTreeSet<Defect> =
        clinic.summary(&BTreeMap::new()).topics.values().flat_map(|topic| topic.dead_letters.keys().copied()).collect();
    assert_eq!(kinds, BTreeSet::from([Defect::NotJson, Defect::MissingId, Defect::WrongType]));
    assert!(clinic.live().take(3_000).any(|event| broken(&event)), "live has some as well");
}

#[test]
fn references_lead_to_things_that_exist() {
    // A result may be written minutes before its encounter is: the last events only lend their ids.
    let events = events(&Clinic::new(config(60)), 4_000);
    let parsed = parsed(&events);
    let ids: BTreeSet<&str> = parsed.iter().map(|(event, _)| event.key.as_str()).collect();
    let mut followed = BTreeMap::<&str, u64>::new();
    fn walk<'a>(value: &'a Value, found: &mut Vec<&'a Value>) {
        match value {
            Value::Object(members) => {
                if members.contains_key("reference") {
                    found.push(value);
                }
                members.values().for_each(|member| walk(member, found));
            }
            Value::Array(items) => items.iter().for_each(|item| walk(item, found)),
            _ => {}
        }
    }
    for (event, value) in &parsed[..parsed.len() - 1_000] {
        let mut references = Vec::new();
        walk(value, &mut references);
        for reference in references {
            assert!(ids.contains(target(reference)), "{reference} of {} leads nowhere", event.topic);
            let form = if reference["reference"].as_str().unwrap().starts_with("urn:uuid:") { "urn" } else { "typed" };
            *followed.entry(form).or_default() += 1;
            *followed.entry("named").or_default() += u64::from(reference.get("display").is_some());
        }
        for name in ["patient_id", "encounter_id", "clinic_id"] {
            if let Some(id) = value.get(name).and_then(Value::as_str) {
                assert!(ids.contains(id), "{name} of {} leads nowhere", event.topic);
            }
        }
    }
    assert!(followed["typed"] > followed["urn"] && followed["urn"] > 100 && followed["named"] > 100);
}

#[test]
fn versions_of_a_thing_rise_with_time() {
    let events = events(&Clinic::new(config(120)), 3_000);
    let mut last = BTreeMap::new();
    for (event, value) in parsed(&events) {
        let Some(version) = value.pointer("/meta/versionId") else { continue };
        let version: u32 = version.as_str().unwrap().parse().unwrap();
        let before = last.insert((event.topic, &event.key), version).unwrap_or(0);
        assert_eq!(version, before + 1, "of {} {}", event.topic, event.key);
    }
    assert!(last.values().filter(|version| **version > 1).count() > 100, "many things change");
}

#[test]
fn the_summary_counts_what_an_independent_count_finds() {
    let clinic = Clinic::new(config(80));
    let history: Vec<Event> = clinic.history().collect();
    let mut newest: BTreeMap<(&str, String), Value> = BTreeMap::new();
    for (event, value) in parsed(&history) {
        newest.insert((event.topic, event.key.clone()), value);
    }
    let count = |topic: &str| newest.keys().filter(|(name, _)| *name == topic).count() as u64;
    let summary = clinic.summary(&BTreeMap::new());
    for (table, topic) in [
        ("patients", "clinic.patient"),
        ("practitioners", "clinic.practitioner"),
        ("appointments", "clinic.appointment"),
        ("encounters", "clinic.encounter"),
        ("conditions", "clinic.condition"),
        ("medication_requests", "clinic.medication_request"),
        ("consents", "clinic.consent"),
        ("documents", "clinic.document"),
        ("payments", "erp.payment"),
        ("stock_movements", "erp.stock_movement"),
    ] {
        assert_eq!(summary.tables[table].rows, count(topic), "{table}");
    }
    assert_eq!(summary.tables["clinics"].rows, 6, "four clinics and two laboratories");
    let mut rows = 0;
    for ((_, _), value) in newest.iter().filter(|((topic, _), _)| *topic == "clinic.observation") {
        if value["status"] != "entered-in-error" {
            rows += value["component"].as_array().map_or(1, Vec::len) as u64;
        }
    }
    assert_eq!(summary.tables["observations"].rows, rows);
    assert!(summary.tables["observations"].keys > rows, "something is withdrawn");
    assert!(summary.tables["observations"].appended > summary.tables["observations"].keys, "something is corrected");
    for table in ["encounters", "conditions", "observations", "medication_requests", "documents", "payments"] {
        let TableCount { rows, special, .. } = summary.tables[table];
        assert!(special > 0 && special * 3 < rows, "{special} of {rows} {table} are special");
    }
}

#[test]
fn the_thirteen_people_can_sign_in() {
    let clinic = Clinic::new(config(20));
    let logins: BTreeSet<&str> = clinic.people().iter().map(|person| person.login).collect();
    assert_eq!(logins.len(), 13);
    for person in clinic.people() {
        assert_eq!(person.roles.is_empty(), person.login == "nikita.nobody");
    }
    let events = events(&clinic, 0);
    let parsed = parsed(&events);
    let exists = |topic: &str, id: &str| parsed.iter().any(|(event, _)| event.topic == topic && event.key == id);
    for person in clinic.people() {
        assert!(person.staff_id.iter().all(|id| exists("clinic.practitioner", id)));
        assert!(person.patient_id.iter().all(|id| exists("clinic.patient", id)));
        assert!(person.clinics.iter().all(|id| exists("clinic.location", id)));
    }
    let clinics = |login| clinic.people().iter().find(|person| person.login == login).unwrap().clinics.len();
    assert_eq!((clinics("hanna.head"), clinics("rita.receptionist"), clinics("anna.analyst")), (2, 1, 0));
}

/// The clinic knows what is special, the lakehouse decides it by its list: both say the same of every code in use.
#[test]
fn what_is_special_is_so_by_the_list_of_the_lakehouse() {
    let list = include_str!("../../../sql/reference/special_codes.csv");
    let systems = include_str!("../../../sql/reference/known_systems.csv");
    let listed = |system: &str, code: &str| {
        let has = |code: &str| list.lines().any(|line| line.starts_with(&format!("{system},{code},")));
        has(code) || (system == codes::ICD_10 && code.get(..3).is_some_and(has))
    };
    let known = |system: &str| systems.lines().skip(1).any(|line| line.split(',').next() == Some(system));
    for diagnosis in codes::DIAGNOSES {
        for coding in [diagnosis.in_snomed(), diagnosis.in_icd_10()] {
            assert_eq!(listed(coding.system, coding.code), diagnosis.special, "{coding:?}");
        }
        let drugs = diagnosis.drugs.iter().map(|drug| drug.coding);
        for coding in drugs.chain(std::iter::once(diagnosis.specialty.coding())) {
            assert!(known(coding.system));
            assert!(diagnosis.special || !listed(coding.system, coding.code), "{coding:?} belongs to no special thing");
        }
        assert_eq!(
            listed(codes::SNOMED, diagnosis.specialty.coding().code),
            diagnosis.specialty.special(),
            "{:?}",
            diagnosis.specialty
        );
    }
    let mut used = BTreeSet::new();
    for (event, value) in parsed(&events(&Clinic::new(config(120)), 3_000)) {
        if event.topic != "clinic.observation" {
            continue;
        }
        let codings = [&value["code"]["coding"], &value["valueCodeableConcept"]["coding"]];
        for coding in codings.iter().filter_map(|codings| codings.as_array()).flatten() {
            used.insert((coding["system"].as_str().unwrap().to_owned(), coding["code"].as_str().unwrap().to_owned()));
        }
    }
    let special: BTreeSet<&str> = codes::DIAGNOSES
        .iter()
        .filter(|diagnosis| diagnosis.special)
        .flat_map(|diagnosis| diagnosis.panel.iter().map(|measurement| measurement.code))
        .collect();
    for (system, code) in &used {
        assert!(known(system), "{system} is unknown to the list");
        assert!(!listed(system, code) || special.contains(code.as_str()), "{code} is listed, and taken of everybody");
    }
    assert!(used.len() > 20);
}

/// Everybody has somebody to see, also in the smallest chain and whatever the seed.
#[test]
fn doctors_and_patient_have_something_to_see() {
    for seed in 0..12 {
        let clinic = Clinic::new(ClinicConfig { seed, ..config(8) });
        let person = |login| clinic.people().iter().find(|person| person.login == login).unwrap();
        let (dmitri, hanna) = (person("dmitri.doctor"), person("hanna.head"));
        let pavel = person("pavel.patient").patient_id.as_deref().unwrap();
        let history: Vec<Event> = clinic.history().collect();
        let parsed = parsed(&history);
        let epoch = config(8).epoch;
        let recent = epoch - TimeDelta::days(700);
        let encounters: Vec<&Value> = parsed
            .iter()
            .filter(|(event, _)| event.topic == "clinic.encounter" && event.timestamp > recent)
            .map(|(_, value)| value)
            .collect();
        let sees = |who: &Person, patient: &str| {
            encounters.iter().any(|encounter| {
                target(&encounter["subject"]) == patient
                    && target(&encounter["participant"][0]["individual"]) == who.staff_id.as_deref().unwrap()
            })
        };
        assert!(sees(dmitri, pavel) && sees(hanna, pavel));
        let hers: BTreeSet<&str> = encounters
            .iter()
            .filter(|encounter| sees(hanna, target(&encounter["subject"])))
            .map(|encounter| target(&encounter["serviceProvider"]))
            .collect();
        assert!(hanna.clinics.iter().all(|clinic| hers.contains(clinic.as_str())));
        assert!(
            encounters.iter().any(|encounter| hanna
                .clinics
                .iter()
                .any(|id| id == target(&encounter["serviceProvider"]))
                && !sees(hanna, target(&encounter["subject"]))),
            "her clinics have others' patients"
        );
        let mut bookings: BTreeMap<&str, (&str, &str, &Value)> = BTreeMap::new();
        for (event, value) in parsed.iter().filter(|(event, _)| event.topic == "clinic.appointment") {
            let patient = target(&value["participant"][0]["actor"]);
            let practitioner = target(&value["participant"][1]["actor"]);
            bookings.insert(event.key.as_str(), (patient, practitioner, value));
        }
        let ahead: Vec<(&str, &str)> = bookings
            .values()
            .filter(|(_, practitioner, value)| {
                let starts: DateTime<Utc> = value["start"].as_str().unwrap().parse().unwrap();
                Some(*practitioner) == dmitri.staff_id.as_deref()
                    && starts > epoch
                    && starts < epoch + TimeDelta::days(30)
            })
            .map(|(patient, _, value)| (*patient, value["status"].as_str().unwrap()))
            .collect();
        assert!(ahead.contains(&(pavel, "booked")));
        assert!(ahead.iter().any(|(patient, status)| *status == "booked" && !sees(dmitri, patient)));
        assert!(ahead.iter().any(|(_, status)| *status == "cancelled"));
    }
}
