//! Three years of the clinic before its first start, and what is already arranged for the weeks after it.

use std::collections::BTreeSet;

use chrono::{DateTime, Days, NaiveTime, TimeDelta, Utc};

use super::chain::{COLLEAGUE, Chain, DMITRI, HANNA, PSYCHIATRIST, Place};
use super::chance::Chance;
use super::codes::{DIAGNOSES, Diagnosis};
use super::defects;
use super::erp;
use super::patients::{BOOKED_ONLY, CANCELLED, PAVEL, Patient, seen_by};
use super::registry::{self, Purpose};
use super::timeline::{Fate, Timeline};
use super::visits::{Outcome, Visit};

/// How long before the first start the chain began to write.
const OPENED_DAYS: i64 = 1_120;

/// Writes the history of the chain. Returns the patients as they are at `epoch`.
pub(super) fn write(
    chain: &Chain,
    seed: u64,
    count: u32,
    epoch: DateTime<Utc>,
    timeline: &mut Timeline,
) -> Vec<Patient> {
    write_chain(chain, epoch, timeline);
    let mut patients = Vec::with_capacity(count as usize);
    for index in 0..count as usize {
        let mut chance = Chance::of(seed, "life", index as u64);
        let drawn = Patient::draw(chain, seed, index, epoch);
        write_visits(chain, &drawn, index, epoch, &mut chance, timeline);
        write_consents(&drawn, epoch, &mut chance, timeline);
        patients.push(write_patient(chain, drawn, epoch, &mut chance, timeline));
    }
    write_stock(chain, seed, epoch, timeline);
    defects::write_history(seed, epoch, timeline);
    patients
}

/// Writes one version of a patient.
pub(super) fn write_patient_version(chain: &Chain, patient: &Patient, at: DateTime<Utc>, timeline: &mut Timeline) {
    let payload = registry::patient(chain, patient, at);
    timeline.write("clinic.patient", &patient.id, at, payload, Fate::row("patients"));
}

/// What brings a patient in today: a check-up, what stays with the patient, or something that goes by.
pub(super) fn complaint(patient: &Patient, chance: &mut Chance) -> Option<&'static Diagnosis> {
    let young = patient.registered.date_naive().years_since(patient.birth).is_some_and(|years| years < 16);
    match chance.below(100) {
        0..22 => None,
        22..72 if !patient.diagnoses.is_empty() => Some(*chance.pick(&patient.diagnoses)),
        _ => {
            let passing = |diagnosis: &&'static Diagnosis| {
                !diagnosis.chronic
                    && !diagnosis.special
                    && (young || diagnosis.specialty != super::codes::Specialty::Paediatrics)
            };
            let choices: Vec<&'static Diagnosis> = DIAGNOSES.iter().filter(passing).collect();
            Some(*chance.pick(&choices))
        }
    }
}

/// A quarter of an hour between eight and half past five, by the clocks of the place.
fn slot(day: DateTime<Utc>, place: &Place, chance: &mut Chance) -> DateTime<Utc> {
    let quarter = chance.below(39) as u32;
    let local = NaiveTime::from_num_seconds_from_midnight_opt(8 * 3600 + quarter * 900, 0).unwrap_or_default();
    let offset = TimeDelta::seconds(i64::from(place.offset().local_minus_utc()));
    day.date_naive().and_time(local).and_utc() - offset
}

fn write_chain(chain: &Chain, epoch: DateTime<Utc>, timeline: &mut Timeline) {
    let opened = epoch - TimeDelta::days(OPENED_DAYS);
    for (index, place) in (0_i64..).zip(chain.clinics.iter().chain(&chain.laboratories)) {
        let at = opened + TimeDelta::minutes(3 * index);
        // The table of houses is made from locations; organizations are kept raw.
        timeline.write("clinic.organization", place.id, at, registry::organization(place, at), Fate::RawOnly);
        timeline.write("clinic.location", place.id, at, registry::location(place, at), Fate::row("clinics"));
    }
    for (index, practitioner) in (0_i64..).zip(&chain.practitioners) {
        let at = opened + TimeDelta::hours(2) + TimeDelta::minutes(7 * index);
        let payload = registry::practitioner(practitioner, at);
        timeline.write("clinic.practitioner", &practitioner.id, at, payload, Fate::row("practitioners"));
    }
}

fn write_patient(
    chain: &Chain,
    mut patient: Patient,
    epoch: DateTime<Utc>,
    chance: &mut Chance,
    timeline: &mut Timeline,
) -> Patient {
    let died = patient.deceased.take().filter(|at| *at > patient.registered);
    write_patient_version(chain, &patient, patient.registered, timeline);
    let until = died.unwrap_or(epoch) - TimeDelta::hours(1);
    let minutes = (until - patient.registered).num_minutes();
    if chance.percent(22) && minutes > 10 {
        let at = patient.registered + TimeDelta::minutes(chance.between(5, minutes));
        patient = patient.moved(chance);
        write_patient_version(chain, &patient, at, timeline);
    }
    if let Some(at) = died {
        patient.version += 1;
        patient.deceased = Some(at);
        write_patient_version(chain, &patient, at + TimeDelta::hours(20), timeline);
    }
    patient
}

fn write_consents(patient: &Patient, epoch: DateTime<Utc>, chance: &mut Chance, timeline: &mut Timeline) {
    for (purpose, asked, granted) in [(Purpose::Research, 78, 72), (Purpose::Contact, 60, 65)] {
        if !chance.percent(asked) {
            continue;
        }
        let id = chance.uuid();
        let mut granted = chance.percent(granted);
        let mut at = patient.registered + TimeDelta::minutes(20);
        let changes = 1 + u32::from(chance.percent(14)) + u32::from(chance.percent(4));
        for version in 1..=changes {
            let payload = registry::consent(&id, version, patient, purpose, granted, at);
            timeline.write("clinic.consent", &id, at, payload, Fate::row("consents"));
            at += TimeDelta::minutes(chance.between(60, ((epoch - at).num_minutes() / 2).max(61)));
            granted = !granted;
        }
    }
}

fn write_visits(
    chain: &Chain,
    patient: &Patient,
    index: usize,
    epoch: DateTime<Utc>,
    chance: &mut Chance,
    timeline: &mut Timeline,
) {
    let mut visits = scripted(chain, patient, index, epoch, chance);
    let until = patient.deceased.unwrap_or(epoch) - TimeDelta::days(1);
    let days = (until - patient.registered).num_days();
    let wanted = if days > 3 { chance.between(1, 8) + patient.diagnoses.len() as i64 } else { 0 };
    for _ in 0..wanted {
        // The chain grows: of two days the later one.
        let day = chance.between(1, days).max(chance.between(1, days));
        visits.push(arranged(chain, patient, patient.registered + TimeDelta::days(day), chance));
    }
    if patient.deceased.is_none() && chance.percent(38) {
        let day = epoch + TimeDelta::days(chance.between(1, 29));
        let mut visit = arranged(chain, patient, day, chance);
        if visit.outcome == Outcome::WalkIn {
            visit.outcome = Outcome::Fulfilled;
        }
        visit.booked = epoch - TimeDelta::minutes(chance.between(30, 20_000));
        visits.push(visit);
    }
    visits.sort_by_key(|visit| visit.starts);
    let mut known = BTreeSet::new();
    for mut visit in visits {
        if let Some(diagnosis) = visit.diagnosis {
            visit.first = !diagnosis.chronic || known.insert(diagnosis.snomed);
        }
        visit.write(chain, chance, timeline);
    }
}

/// A visit on this day, to whom the complaint belongs.
fn arranged<'a>(chain: &Chain, patient: &'a Patient, day: DateTime<Utc>, chance: &mut Chance) -> Visit<'a> {
    let diagnosis = complaint(patient, chance);
    let (practitioner, clinic) = seen_by(chain, patient, diagnosis, chance);
    let starts = slot(day, &chain.clinics[clinic], chance);
    let outcome = match chance.below(100) {
        0..62 => Outcome::Fulfilled,
        62..74 => Outcome::Cancelled,
        74..80 => Outcome::NoShow,
        _ => Outcome::WalkIn,
    };
    let booked = starts - TimeDelta::minutes(chance.between(600, 25_000));
    Visit { patient, practitioner, clinic, diagnosis, first: true, booked, starts, outcome }
}

/// The visits without which somebody of the demo would have nothing to see.
fn scripted<'a>(
    chain: &Chain,
    patient: &'a Patient,
    index: usize,
    epoch: DateTime<Utc>,
    chance: &mut Chance,
) -> Vec<Visit<'a>> {
    let mut visit = |days: u64, ahead: bool, practitioner, clinic, diagnosis: usize, outcome| {
        let day = if ahead { epoch + Days::new(days) } else { epoch - Days::new(days) };
        let starts = slot(day, &chain.clinics[clinic], chance);
        let booked = if ahead { epoch - TimeDelta::hours(50) } else { starts - TimeDelta::days(6) };
        let diagnosis = patient.diagnoses.get(diagnosis).copied();
        Visit { patient, practitioner, clinic, diagnosis, first: true, booked, starts, outcome }
    };
    match index {
        PAVEL => {
            // Hypertension, diabetes and anxiety, in the order of the list of diagnoses.
            let mut visits: Vec<Visit<'a>> = (0..14_u64)
                .map(|number| {
                    let days = 20 + 60 * number;
                    match number % 4 {
                        1 => visit(days, false, HANNA, 1, 1, Outcome::Fulfilled),
                        3 => visit(days, false, HANNA, 0, 1, Outcome::Fulfilled),
                        _ => visit(days, false, DMITRI, 0, 0, Outcome::Fulfilled),
                    }
                })
                .collect();
            visits.push(visit(130, false, PSYCHIATRIST, 0, 2, Outcome::Fulfilled));
            visits.push(visit(6, true, DMITRI, 0, 0, Outcome::Fulfilled));
            visits.push(visit(12, true, HANNA, 1, 1, Outcome::Fulfilled));
            visits
        }
        BOOKED_ONLY => vec![
            visit(15, false, PSYCHIATRIST, 1, 1, Outcome::WalkIn),
            visit(9, false, patient.doctor, 1, 0, Outcome::WalkIn),
            visit(3, true, DMITRI, 0, 0, Outcome::Fulfilled),
        ],
        CANCELLED => vec![
            visit(8, false, COLLEAGUE, 0, usize::MAX, Outcome::WalkIn),
            visit(5, true, DMITRI, 0, usize::MAX, Outcome::Cancelled),
        ],
        _ => Vec::new(),
    }
}

fn write_stock(chain: &Chain, seed: u64, epoch: DateTime<Utc>, timeline: &mut Timeline) {
    let mut chance = Chance::of(seed, "stock", 0);
    for clinic in 0..chain.clinics.len() {
        let mut at = epoch - TimeDelta::days(365);
        loop {
            at += TimeDelta::minutes(chance.between(900, 9_000));
            if at >= epoch {
                break;
            }
            erp::write_stock_movement(chain, clinic, at, &mut chance, timeline);
        }
    }
}
