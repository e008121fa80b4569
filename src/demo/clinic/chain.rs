//! The chain itself: four clinics, two laboratories, and who works there.

use chrono::{FixedOffset, Offset, Utc};

use super::chance::Chance;
use super::codes::Specialty;
use super::names::{self, CITIES, City};

/// A house of the chain. Its id is that of its Organization and of its Location.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) id: &'static str,
    pub(super) name: &'static str,
    pub(super) city: &'static City,
    pub(super) laboratory: bool,
    pub(super) address: String,
    pub(super) phone: String,
}

/// Who treats patients.
#[derive(Debug, Clone)]
pub(super) struct Practitioner {
    pub(super) id: String,
    pub(super) given: String,
    pub(super) family: String,
    pub(super) gender: &'static str,
    pub(super) specialty: Specialty,
    /// Positions in [`Chain::clinics`].
    pub(super) clinics: Vec<usize>,
    pub(super) license: String,
}

/// Places and people that do not change while the clinic runs.
#[derive(Debug, Clone)]
pub(super) struct Chain {
    pub(super) clinics: Vec<Place>,
    pub(super) laboratories: Vec<Place>,
    pub(super) practitioners: Vec<Practitioner>,
}

/// The practitioner who signs in as `dmitri.doctor`.
pub(super) const DMITRI: usize = 0;
/// The practitioner who signs in as `hanna.head`.
pub(super) const HANNA: usize = 1;
/// A psychiatrist of the clinic of `dmitri.doctor`.
pub(super) const PSYCHIATRIST: usize = 2;

/// A general practitioner beside `dmitri.doctor`.
pub(super) const COLLEAGUE: usize = 3;

/// Specialties and clinics of the staff; the first four are the constants above.
const POSTS: [(Specialty, &[usize]); 24] = [
    (Specialty::General, &[0]),
    (Specialty::Endocrinology, &[0, 1]),
    (Specialty::Psychiatry, &[0, 1]),
    (Specialty::General, &[0]),
    (Specialty::General, &[0]),
    (Specialty::Cardiology, &[0]),
    (Specialty::Infection, &[0, 2]),
    (Specialty::Neurology, &[0, 1]),
    (Specialty::Gynaecology, &[0]),
    (Specialty::General, &[1]),
    (Specialty::General, &[1]),
    (Specialty::Cardiology, &[1]),
    (Specialty::Paediatrics, &[1, 0]),
    (Specialty::Dermatology, &[1]),
    (Specialty::Gynaecology, &[1, 3]),
    (Specialty::General, &[2]),
    (Specialty::General, &[2]),
    (Specialty::Endocrinology, &[2, 3]),
    (Specialty::Psychiatry, &[2, 3]),
    (Specialty::Orthopaedics, &[2]),
    (Specialty::Dermatology, &[2]),
    (Specialty::General, &[3]),
    (Specialty::Cardiology, &[3, 2]),
    (Specialty::Paediatrics, &[3, 2]),
];

impl Place {
    /// How far the clocks of this house are from UTC.
    pub(super) fn offset(&self) -> FixedOffset {
        FixedOffset::east_opt(self.city.offset_hours * 3600).unwrap_or_else(|| Utc.fix())
    }
}

impl Practitioner {
    /// The name as it stands on the door.
    pub(super) fn name(&self) -> String {
        format!("{} {}", self.given, self.family)
    }
}

impl Chain {
    /// The chain of this seed.
    pub(super) fn new(seed: u64) -> Self {
        let mut chance = Chance::of(seed, "chain", 0);
        let mut place = |id, name, city: usize, laboratory| Place {
            id,
            name,
            city: &CITIES[city],
            laboratory,
            address: names::street(&mut chance),
            phone: names::phone(&mut chance),
        };
        let clinics = vec![
            place("harbour", "Lakeward Clinic at the Harbour", 0, false),
            place("birch-park", "Lakeward Clinic Birch Park", 1, false),
            place("citadel", "Lakeward Clinic Citadel", 2, false),
            place("saint-elan", "Lakeward Clinic Saint-Élan", 3, false),
        ];
        let laboratories = vec![
            place("laboratory-north", "Lakeward Laboratory North", 0, true),
            place("laboratory-south", "Lakeward Laboratory South", 2, true),
        ];
        let practitioners =
            (0_u64..).zip(POSTS).map(|(index, (specialty, clinics))| practitioner(seed, index, specialty, clinics));
        Self { clinics, laboratories, practitioners: practitioners.collect() }
    }

    /// The laboratory that works for a clinic.
    pub(super) fn laboratory_of(&self, clinic: usize) -> &Place {
        &self.laboratories[usize::from(clinic >= 2)]
    }

    /// General practitioners of a clinic.
    pub(super) fn general_practitioners(&self, clinic: usize) -> Vec<usize> {
        self.at(clinic, Specialty::General)
    }

    /// Who of this specialty sees patients of `home`, and where: at home, else anywhere in the chain.
    pub(super) fn specialist(&self, specialty: Specialty, home: usize, chance: &mut Chance) -> (usize, usize) {
        let near = self.at(home, specialty);
        if !near.is_empty() {
            return (*chance.pick(&near), home);
        }
        let all: Vec<usize> =
            (0..self.practitioners.len()).filter(|who| self.practitioners[*who].specialty == specialty).collect();
        let who = *chance.pick(&all);
        (who, *chance.pick(&self.practitioners[who].clinics))
    }

    fn at(&self, clinic: usize, specialty: Specialty) -> Vec<usize> {
        let works = |who: &Practitioner| who.specialty == specialty && who.clinics.contains(&clinic);
        (0..self.practitioners.len()).filter(|who| works(&self.practitioners[*who])).collect()
    }
}

fn practitioner(seed: u64, index: u64, specialty: Specialty, clinics: &[usize]) -> Practitioner {
    let mut chance = Chance::of(seed, "practitioner", index);
    let id = chance.uuid();
    let (given, family, gender) = match index as usize {
        DMITRI => ("Dmitri", "Sokolov", "male"),
        HANNA => ("Hanna", "Weissová", "female"),
        _ => names::person(&mut chance),
    };
    Practitioner {
        id,
        given: given.to_owned(),
        family: family.to_owned(),
        gender,
        specialty,
        clinics: clinics.to_vec(),
        license: format!("MD-{}", chance.digits(6)),
    }
}
