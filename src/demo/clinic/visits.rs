//! A visit from the booking to the payment, as the events it leaves behind.

use chrono::{DateTime, TimeDelta, Utc};

use super::chain::Chain;
use super::chance::Chance;
use super::clinical::{self, Finding, Meeting, Version};
use super::codes::{self, Diagnosis};
use super::erp;
use super::json::Coding;
use super::measurements::{self, Kind, Measurement};
use super::patients::Patient;
use super::timeline::{Fate, Timeline};

/// How a booked visit goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Fulfilled,
    Cancelled,
    NoShow,
    /// Nobody booked: the patient came.
    WalkIn,
}

/// A visit, planned or not.
#[derive(Debug, Clone, Copy)]
pub(super) struct Visit<'a> {
    pub(super) patient: &'a Patient,
    /// Position in [`Chain::practitioners`].
    pub(super) practitioner: usize,
    /// Position in [`Chain::clinics`].
    pub(super) clinic: usize,
    pub(super) diagnosis: Option<&'static Diagnosis>,
    pub(super) first: bool,
    pub(super) booked: DateTime<Utc>,
    pub(super) starts: DateTime<Utc>,
    pub(super) outcome: Outcome,
}

const VITALS: [&Measurement; 3] = [&measurements::HEART_RATE, &measurements::TEMPERATURE, &measurements::SATURATION];

impl Visit<'_> {
    /// Writes what follows from this visit.
    pub(super) fn write(&self, chain: &Chain, chance: &mut Chance, timeline: &mut Timeline) {
        let appointment = (self.outcome != Outcome::WalkIn).then(|| self.write_appointment(chain, chance, timeline));
        if matches!(self.outcome, Outcome::Fulfilled | Outcome::WalkIn) {
            self.write_encounter(chain, appointment.as_deref(), chance, timeline);
        }
    }

    fn meeting<'a>(&'a self, chain: &'a Chain) -> Meeting<'a> {
        Meeting {
            patient: self.patient,
            practitioner: &chain.practitioners[self.practitioner],
            place: &chain.clinics[self.clinic],
            diagnosis: self.diagnosis,
        }
    }

    fn write_appointment(&self, chain: &Chain, chance: &mut Chance, timeline: &mut Timeline) -> String {
        let id = chance.uuid();
        let slot = (self.starts, self.starts + TimeDelta::minutes(30));
        let mut changes = vec![("booked", self.booked)];
        if self.outcome != Outcome::Cancelled && chance.percent(8) && self.starts - self.booked > TimeDelta::days(3) {
            // The booking was for the day before, and is moved some hours later.
            let first = (slot.0 - TimeDelta::days(1), slot.1 - TimeDelta::days(1));
            self.write_appointment_version(chain, &id, 1, ("booked", self.booked), first, chance, timeline);
            changes = vec![("booked", self.booked + TimeDelta::hours(5))];
        }
        let before = u32::from(changes[0].1 != self.booked);
        match self.outcome {
            Outcome::Cancelled => {
                let notice = (self.starts - self.booked) / 5;
                changes.push(("cancelled", self.booked + notice));
            }
            Outcome::NoShow => changes.push(("noshow", self.starts + TimeDelta::minutes(45))),
            Outcome::Fulfilled => {
                changes.push(("arrived", self.starts - TimeDelta::minutes(chance.between(1, 15))));
                changes.push(("fulfilled", self.starts + TimeDelta::minutes(chance.between(20, 40))));
            }
            Outcome::WalkIn => {}
        }
        for (number, change) in (1 + before..).zip(changes) {
            self.write_appointment_version(chain, &id, number, change, slot, chance, timeline);
        }
        id
    }

    #[allow(clippy::too_many_arguments, reason = "one call for each version of one appointment")]
    fn write_appointment_version(
        &self,
        chain: &Chain,
        id: &str,
        number: u32,
        (status, recorded): (&str, DateTime<Utc>),
        slot: (DateTime<Utc>, DateTime<Utc>),
        chance: &mut Chance,
        timeline: &mut Timeline,
    ) {
        let version = Version { id, number, recorded };
        let meeting = self.meeting(chain);
        let payload = clinical::appointment(version, meeting, status, slot, chance);
        let fate = Fate::of_booking(meeting.practitioner.specialty.special());
        timeline.write("clinic.appointment", id, recorded, payload, fate);
    }

    fn write_encounter(&self, chain: &Chain, appointment: Option<&str>, chance: &mut Chance, timeline: &mut Timeline) {
        let meeting = self.meeting(chain);
        let id = chance.uuid();
        let special = self.diagnosis.is_some_and(|diagnosis| diagnosis.special);
        let ended = self.starts + TimeDelta::minutes(chance.between(12, 35));
        let kind: Coding = match (self.diagnosis, self.first) {
            (None, _) => codes::CHECK_UP,
            (Some(_), true) => codes::SYMPTOM,
            (Some(_), false) => codes::FOLLOW_UP,
        };
        let mut version = Version { id: &id, number: 1, recorded: self.starts };
        if chance.percent(4) {
            let payload =
                clinical::encounter(version, meeting, "in-progress", kind, (self.starts, None), appointment, chance);
            timeline.write(
                "clinic.encounter",
                &id,
                self.starts,
                payload,
                Fate::of_encounter("encounters", &id, special),
            );
            version.number = 2;
        }
        version.recorded = ended;
        let period = (self.starts, Some(ended));
        let payload = clinical::encounter(version, meeting, "finished", kind, period, appointment, chance);
        timeline.write("clinic.encounter", &id, ended, payload, Fate::of_encounter("encounters", &id, special));

        self.write_vitals(chain, &id, chance, timeline);
        if let Some(diagnosis) = self.diagnosis {
            self.write_treatment(chain, diagnosis, &id, ended, chance, timeline);
        }
        if chance.percent(24) {
            let recorded = ended + TimeDelta::minutes(chance.between(2, 50));
            let document = chance.uuid();
            let version = Version { id: &document, number: 1, recorded };
            let payload = clinical::document(version, meeting, &id, chance);
            timeline.write(
                "clinic.document",
                &document,
                recorded,
                payload,
                Fate::of_encounter("documents", &id, false),
            );
        }
        if chance.percent(80) {
            let paid = ended + TimeDelta::minutes(chance.between(3, 25));
            let laboratory = self.diagnosis.is_some_and(|diagnosis| !diagnosis.panel.is_empty());
            erp::write_payment(self.patient, meeting.place, Some(&id), laboratory, paid, chance, timeline);
        }
    }

    fn write_vitals(&self, chain: &Chain, encounter: &str, chance: &mut Chance, timeline: &mut Timeline) {
        let at = self.starts + TimeDelta::minutes(4);
        let place = &chain.clinics[self.clinic];
        let mut taken: Vec<&'static Measurement> = vec![&measurements::PRESSURE];
        taken.extend(VITALS.iter().filter(|_| chance.percent(55)));
        if self.diagnosis.is_none() {
            taken.extend([&measurements::HEIGHT, &measurements::WEIGHT]);
        }
        for measurement in taken {
            let finding = Finding { measurement, status: "final", effective: at, performer: place };
            self.write_observation(chain, finding, at + TimeDelta::minutes(1), encounter, chance, timeline);
        }
    }

    fn write_treatment(
        &self,
        chain: &Chain,
        diagnosis: &'static Diagnosis,
        encounter: &str,
        at: DateTime<Utc>,
        chance: &mut Chance,
        timeline: &mut Timeline,
    ) {
        let meeting = self.meeting(chain);
        if self.first {
            let id = chance.uuid();
            let version = Version { id: &id, number: 1, recorded: at };
            let onset = self.starts - TimeDelta::days(chance.between(1, 40));
            let payload = clinical::condition(version, meeting, diagnosis, encounter, onset, chance);
            let fate = Fate::of_encounter("conditions", encounter, diagnosis.special);
            timeline.write("clinic.condition", &id, at, payload, fate);
        }
        for drug in diagnosis.drugs {
            if chance.percent(55) {
                let id = chance.uuid();
                let version = Version { id: &id, number: 1, recorded: at };
                let payload = clinical::medication_request(version, meeting, drug, encounter, chance);
                let fate = Fate::of_encounter("medication_requests", encounter, diagnosis.special);
                timeline.write("clinic.medication_request", &id, at, payload, fate);
            }
        }
        let asked = |measurement: &Measurement| measurement.category == "survey";
        let reported = at + TimeDelta::minutes(chance.between(90, 2_600));
        for measurement in diagnosis.panel.iter().copied() {
            let (performer, recorded) =
                if asked(measurement) { (meeting.place, at) } else { (chain.laboratory_of(self.clinic), reported) };
            let finding = Finding { measurement, status: "final", effective: at, performer };
            self.write_observation(chain, finding, recorded, encounter, chance, timeline);
        }
    }

    /// Writes a result, and for a few what comes later: a correction, or that it was an error.
    fn write_observation(
        &self,
        chain: &Chain,
        finding: Finding<'_>,
        recorded: DateTime<Utc>,
        encounter: &str,
        chance: &mut Chance,
        timeline: &mut Timeline,
    ) {
        let id = chance.uuid();
        let later: Option<&'static str> = match (finding.measurement.category, chance.below(100)) {
            ("laboratory", 0..3) => Some("corrected"),
            ("laboratory", 3..4) => Some("entered-in-error"),
            _ => None,
        };
        let special = self.diagnosis.is_some_and(|diagnosis| {
            diagnosis.special && diagnosis.panel.iter().any(|part| part.code == finding.measurement.code)
        });
        let correction = recorded + TimeDelta::hours(chance.between(1, 30));
        let versions = [(1, finding.status, recorded)].into_iter().chain(later.map(|status| (2, status, correction)));
        for (number, status, recorded) in versions {
            let version = Version { id: &id, number, recorded };
            let payload =
                clinical::observation(version, self.meeting(chain), Finding { status, ..finding }, encounter, chance);
            let fate = Fate::Rows {
                table: "observations",
                rows: if matches!(finding.measurement.kind, Kind::Pressure) { 2 } else { 1 },
                withdrawn: status == "entered-in-error",
                encounter: Some(encounter.to_owned()),
                special,
            };
            timeline.write("clinic.observation", &id, recorded, payload, fate);
        }
    }
}
