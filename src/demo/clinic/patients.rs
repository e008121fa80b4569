//! Patients: who they are, where they live, what they have, and who looks after them.

use chrono::{DateTime, Datelike, Days, NaiveDate, TimeDelta, Utc};

use super::chain::{COLLEAGUE, Chain, DMITRI, HANNA};
use super::chance::Chance;
use super::codes::{DIAGNOSES, Diagnosis, Specialty};
use super::names::{self, CITIES, City};

/// A patient of the chain.
#[derive(Debug, Clone)]
pub(super) struct Patient {
    pub(super) id: String,
    /// The number on the paper file.
    pub(super) record_number: String,
    pub(super) given: Vec<String>,
    pub(super) family: String,
    pub(super) gender: &'static str,
    pub(super) birth: NaiveDate,
    pub(super) deceased: Option<DateTime<Utc>>,
    pub(super) phone: Option<String>,
    pub(super) email: Option<String>,
    pub(super) national_id: Option<String>,
    pub(super) insurance: Option<String>,
    pub(super) address: String,
    pub(super) postal_code: String,
    pub(super) city: &'static City,
    /// Position of the usual clinic in [`Chain::clinics`].
    pub(super) home: usize,
    /// Position of the general practitioner in [`Chain::practitioners`].
    pub(super) doctor: usize,
    pub(super) diagnoses: Vec<&'static Diagnosis>,
    pub(super) registered: DateTime<Utc>,
    pub(super) version: u32,
}

/// The patient who signs in as `pavel.patient`.
pub(super) const PAVEL: usize = 0;
/// A patient who is only booked with `dmitri.doctor` and has been to the psychiatrist.
pub(super) const BOOKED_ONLY: usize = 1;
/// A patient who cancelled with `dmitri.doctor`.
pub(super) const CANCELLED: usize = 2;
/// The fewest patients with whom everybody has somebody to see.
pub(super) const FEWEST: u32 = 8;

impl Patient {
    /// Draws patient number `index`.
    pub(super) fn draw(chain: &Chain, seed: u64, index: usize, epoch: DateTime<Utc>) -> Self {
        let mut chance = Chance::of(seed, "patient", index as u64);
        let id = chance.uuid();
        let (given, family, gender) = names::person(&mut chance);
        let home = match (index, chance.below(100)) {
            (PAVEL | CANCELLED, _) => 0,
            (BOOKED_ONLY, _) => 1,
            (_, 0..40) => 0,
            (_, 40..65) => 1,
            (_, 65..85) => 2,
            _ => 3,
        };
        let age_days = chance.between(300, 33_800) as u64;
        let birth = epoch.date_naive().checked_sub_days(Days::new(age_days)).unwrap_or_default();
        let doctors = chain.general_practitioners(home);
        let diagnoses = diagnoses(age_days / 365, gender, &mut chance);
        let mut patient = Self {
            record_number: chance.digits(7),
            given: vec![given.to_owned()],
            family: family.to_owned(),
            gender,
            birth,
            deceased: None,
            phone: chance.percent(95).then(|| names::phone(&mut chance)),
            email: chance.percent(70).then(|| names::email(given, family, &mut chance)),
            national_id: chance.percent(92).then(|| national_id(birth, &mut chance)),
            insurance: chance.percent(85).then(|| format!("LW-{}", chance.digits(8))),
            address: names::street(&mut chance),
            postal_code: format!("{}{}", CITIES[home].postal, chance.digits(2)),
            city: &CITIES[home],
            home,
            doctor: *chance.pick(&doctors),
            diagnoses,
            registered: epoch
                - TimeDelta::days(chance.between(20, 1_100.min(age_days as i64 - 1)))
                - TimeDelta::minutes(chance.between(0, 600)),
            version: 1,
            id,
        };
        if chance.percent(15) {
            patient.given.push(names::person(&mut chance).0.to_owned());
        }
        if index > CANCELLED && age_days > 75 * 365 && chance.percent(10) {
            patient.deceased = Some(epoch - TimeDelta::hours(chance.between(40 * 24, 300 * 24)));
        }
        match index {
            PAVEL => patient.become_pavel(epoch),
            BOOKED_ONLY => patient.diagnoses = having(&["370143000", "279039007"]),
            CANCELLED => patient.doctor = COLLEAGUE,
            _ => {}
        }
        patient
    }

    /// The name as it is spoken.
    pub(super) fn name(&self) -> String {
        format!("{} {}", self.given.join(" "), self.family)
    }

    /// The patient after moving house or changing the number.
    pub(super) fn moved(&self, chance: &mut Chance) -> Self {
        let mut moved = self.clone();
        moved.version += 1;
        if chance.percent(60) {
            moved.address = names::street(chance);
            moved.postal_code = format!("{}{}", self.city.postal, chance.digits(2));
        } else {
            moved.phone = Some(names::phone(chance));
        }
        moved
    }

    fn become_pavel(&mut self, epoch: DateTime<Utc>) {
        "Pavel".clone_into(&mut self.given[0]);
        self.given.truncate(1);
        "Horák".clone_into(&mut self.family);
        self.gender = "male";
        self.birth = NaiveDate::from_ymd_opt(1968, 4, 17).unwrap_or_default();
        self.phone = Some("+999 21 555 0168".to_owned());
        self.email = Some("pavel.horak@example.org".to_owned());
        self.national_id = Some("19680417501".to_owned());
        self.insurance = Some("LW-40017719".to_owned());
        self.doctor = DMITRI;
        self.diagnoses = having(&["38341003", "44054006", "197480006"]);
        self.registered = epoch - TimeDelta::days(1_000);
    }
}

/// Who is seen for a diagnosis, and where.
pub(super) fn seen_by(
    chain: &Chain,
    patient: &Patient,
    diagnosis: Option<&Diagnosis>,
    chance: &mut Chance,
) -> (usize, usize) {
    match diagnosis.map(|diagnosis| diagnosis.specialty) {
        None | Some(Specialty::General) => (patient.doctor, patient.home),
        Some(Specialty::Endocrinology) if patient.doctor == DMITRI => (HANNA, *chance.pick(&[0, 0, 1])),
        Some(specialty) => chain.specialist(specialty, patient.home, chance),
    }
}

/// What a person of this age may have: up to three things that stay, of which one in six is special.
fn diagnoses(age: u64, gender: &str, chance: &mut Chance) -> Vec<&'static Diagnosis> {
    let wanted = match age {
        0..30 => chance.below(2),
        30..60 => chance.below(3),
        _ => 1 + chance.below(3),
    };
    let mut found: Vec<&'static Diagnosis> = Vec::new();
    for _ in 0..wanted {
        let special = age >= 16 && chance.percent(16);
        let fits = |diagnosis: &&'static Diagnosis| {
            diagnosis.special == special
                && match diagnosis.specialty {
                    Specialty::Paediatrics => age < 18,
                    Specialty::Gynaecology => gender == "female" && (18..45).contains(&age),
                    _ => age >= 16,
                }
                && (diagnosis.chronic || diagnosis.special)
        };
        let choices: Vec<&'static Diagnosis> = DIAGNOSES.iter().filter(fits).collect();
        if choices.is_empty() {
            continue;
        }
        let diagnosis = *chance.pick(&choices);
        if !found.iter().any(|known| known.snomed == diagnosis.snomed) {
            found.push(diagnosis);
        }
    }
    found
}

fn having(codes: &[&str]) -> Vec<&'static Diagnosis> {
    DIAGNOSES.iter().filter(|diagnosis| codes.contains(&diagnosis.snomed)).collect()
}

/// Eleven digits: the day of birth, then a number; of no real country.
fn national_id(birth: NaiveDate, chance: &mut Chance) -> String {
    format!("{:04}{:02}{:02}{}", birth.year(), birth.month(), birth.day(), chance.digits(3))
}
