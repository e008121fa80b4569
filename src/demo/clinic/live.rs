//! The clinic at work after its first start: a stream without an end, the same from the same beginning.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use super::chain::Chain;
use super::chance::Chance;
use super::clinical::{self, Meeting, Version};
use super::codes::Diagnosis;
use super::defects;
use super::erp;
use super::history::{complaint, write_patient_version};
use super::patients::{Patient, seen_by};
use super::registry::{self, Purpose};
use super::timeline::{Entry, Fate, Timeline};
use super::visits::{Outcome, Visit};

/// Bookings that may still change.
const OPEN_BOOKINGS: usize = 200;
/// Every so many activities a broken record arrives.
const ACTIVITIES_PER_DEFECT: u64 = 150;

/// The stream; see [`super::Clinic::live`].
#[derive(Debug, Clone)]
pub(super) struct Live {
    chain: Arc<Chain>,
    patients: Vec<Patient>,
    chance: Chance,
    /// What is due, by time and then by the order of its making.
    queue: BTreeMap<(DateTime<Utc>, u64), Entry>,
    made: u64,
    next_activity: DateTime<Utc>,
    activities: u64,
    bookings: VecDeque<Booking>,
}

/// An appointment that may be cancelled or moved.
#[derive(Debug, Clone)]
struct Booking {
    id: String,
    version: u32,
    patient: usize,
    practitioner: usize,
    clinic: usize,
    diagnosis: Option<&'static Diagnosis>,
    starts: DateTime<Utc>,
}

impl Live {
    /// The clinic from `epoch` on, with what was already `arranged` for later.
    pub(super) fn new(
        chain: Arc<Chain>,
        patients: Vec<Patient>,
        seed: u64,
        epoch: DateTime<Utc>,
        arranged: Vec<Entry>,
    ) -> Self {
        let mut live = Self {
            chain,
            patients,
            chance: Chance::of(seed, "live", 0),
            queue: BTreeMap::new(),
            made: 0,
            next_activity: epoch + TimeDelta::milliseconds(800),
            activities: 0,
            bookings: VecDeque::with_capacity(OPEN_BOOKINGS),
        };
        for entry in arranged {
            live.push(entry);
        }
        live
    }

    fn push(&mut self, entry: Entry) {
        self.queue.insert((entry.event.timestamp, self.made), entry);
        self.made += 1;
    }

    /// One thing that somebody does now.
    fn act(&mut self) {
        let now = self.next_activity;
        self.next_activity += TimeDelta::milliseconds(self.chance.between(1_000, 4_600));
        self.activities += 1;
        let mut timeline = Timeline::default();
        let chain = Arc::clone(&self.chain);
        if self.activities.is_multiple_of(ACTIVITIES_PER_DEFECT) {
            let number = self.activities / ACTIVITIES_PER_DEFECT;
            defects::write(number, now, &mut self.chance, &mut timeline);
        }
        let patient = self.somebody();
        match self.chance.below(100) {
            0..36 => self.close_visit(&chain, patient, now, &mut timeline),
            36..58 => self.book(&chain, patient, now, &mut timeline),
            58..70 => self.change_booking(&chain, now, &mut timeline),
            70..80 => {
                let (patient, chance) = (&self.patients[patient], &mut self.chance);
                let place = &chain.clinics[patient.home];
                erp::write_payment(patient, place, None, false, now, chance, &mut timeline);
            }
            80..93 => {
                let clinic = self.chance.below(chain.clinics.len() as u64) as usize;
                erp::write_stock_movement(&chain, clinic, now, &mut self.chance, &mut timeline);
            }
            93..98 => {
                self.patients[patient] = self.patients[patient].moved(&mut self.chance);
                write_patient_version(&chain, &self.patients[patient], now, &mut timeline);
            }
            _ => {
                let id = self.chance.uuid();
                let granted = self.chance.percent(70);
                let payload = registry::consent(&id, 1, &self.patients[patient], Purpose::Contact, granted, now);
                timeline.write("clinic.consent", &id, now, payload, Fate::row("consents"));
            }
        }
        // A doctor who closes a visit sends what was kept back during it, one after another.
        let mut sent = now;
        for mut entry in timeline.sorted() {
            if entry.event.timestamp < sent {
                entry.event.timestamp = sent;
                sent += TimeDelta::milliseconds(self.chance.between(150, 900));
            }
            self.push(entry);
        }
    }

    /// Somebody who lives.
    fn somebody(&mut self) -> usize {
        let mut patient = self.chance.below(self.patients.len() as u64) as usize;
        while self.patients[patient].deceased.is_some() {
            patient = (patient + 1) % self.patients.len();
        }
        patient
    }

    fn close_visit(&mut self, chain: &Chain, patient: usize, now: DateTime<Utc>, timeline: &mut Timeline) {
        let patient = &self.patients[patient];
        let chance = &mut self.chance;
        let diagnosis = complaint(patient, chance);
        let (practitioner, clinic) = seen_by(chain, patient, diagnosis, chance);
        let starts = now - TimeDelta::minutes(chance.between(28, 40));
        let first = diagnosis.is_some_and(|diagnosis| !diagnosis.chronic);
        let outcome = Outcome::WalkIn;
        let visit = Visit { patient, practitioner, clinic, diagnosis, first, booked: starts, starts, outcome };
        visit.write(chain, chance, timeline);
    }

    fn book(&mut self, chain: &Chain, patient: usize, now: DateTime<Utc>, timeline: &mut Timeline) {
        let chance = &mut self.chance;
        let diagnosis = complaint(&self.patients[patient], chance);
        let (practitioner, clinic) = seen_by(chain, &self.patients[patient], diagnosis, chance);
        let minutes = 15 * chance.between(8, 2_000);
        let starts = now - TimeDelta::seconds(now.timestamp() % 900) + TimeDelta::minutes(minutes)
            - TimeDelta::nanoseconds(i64::from(now.timestamp_subsec_nanos()));
        let id = chance.uuid();
        let booking = Booking { id, version: 1, patient, practitioner, clinic, diagnosis, starts };
        self.write_booking(chain, &booking, "booked", now, timeline);
        if self.bookings.len() == OPEN_BOOKINGS {
            self.bookings.pop_front();
        }
        self.bookings.push_back(booking);
    }

    fn change_booking(&mut self, chain: &Chain, now: DateTime<Utc>, timeline: &mut Timeline) {
        let Some(mut booking) = self.bookings.pop_front() else { return };
        booking.version += 1;
        if self.chance.percent(40) {
            self.write_booking(chain, &booking, "cancelled", now, timeline);
        } else {
            booking.starts += TimeDelta::minutes(15 * self.chance.between(4, 300));
            self.write_booking(chain, &booking, "booked", now, timeline);
            self.bookings.push_back(booking);
        }
    }

    fn write_booking(
        &mut self,
        chain: &Chain,
        booking: &Booking,
        status: &str,
        now: DateTime<Utc>,
        timeline: &mut Timeline,
    ) {
        let meeting = Meeting {
            patient: &self.patients[booking.patient],
            practitioner: &chain.practitioners[booking.practitioner],
            place: &chain.clinics[booking.clinic],
            diagnosis: booking.diagnosis,
        };
        let version = Version { id: &booking.id, number: booking.version, recorded: now };
        let slot = (booking.starts, booking.starts + TimeDelta::minutes(30));
        let payload = clinical::appointment(version, meeting, status, slot, &mut self.chance);
        let fate = Fate::of_booking(meeting.practitioner.specialty.special());
        timeline.write("clinic.appointment", &booking.id, now, payload, fate);
    }
}

impl Iterator for Live {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        loop {
            if let Some(entry) = self.queue.first_entry()
                && entry.key().0 <= self.next_activity
            {
                return Some(entry.remove());
            }
            self.act();
        }
    }
}
