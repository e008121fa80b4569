//! What is diagnosed and prescribed, by which specialty, in the codes of SNOMED CT, ICD-10 and RxNorm.
//!
//! `special` marks mental health, HIV, substance use and reproductive health; the lakehouse decides that by its own
//! list (`sql/reference`), and a test holds the two together.

use super::json::Coding;
use super::measurements::{self, Measurement};

pub(super) const SNOMED: &str = "http://snomed.info/sct";
pub(super) const ICD_10: &str = "http://hl7.org/fhir/sid/icd-10";
pub(super) const RXNORM: &str = "http://www.nlm.nih.gov/research/umls/rxnorm";
pub(super) const LOINC: &str = "http://loinc.org";
pub(super) const ACT_CODE: &str = "http://terminology.hl7.org/CodeSystem/v3-ActCode";

/// What a practitioner is trained in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Specialty {
    General,
    Cardiology,
    Endocrinology,
    Paediatrics,
    Dermatology,
    Neurology,
    Orthopaedics,
    Psychiatry,
    Gynaecology,
    Infection,
}

/// Something a patient has, and what follows from it at a visit.
#[derive(Debug)]
pub(super) struct Diagnosis {
    pub(super) snomed: &'static str,
    pub(super) icd_10: &'static str,
    pub(super) display: &'static str,
    pub(super) specialty: Specialty,
    pub(super) special: bool,
    /// Stays with the patient.
    pub(super) chronic: bool,
    /// What the patient says at the reception.
    pub(super) complaint: &'static str,
    pub(super) drugs: &'static [Drug],
    pub(super) panel: &'static [&'static Measurement],
}

/// A medicine and how it is taken.
#[derive(Debug)]
pub(super) struct Drug {
    pub(super) coding: Coding,
    pub(super) dosage: &'static str,
}

impl Diagnosis {
    /// In SNOMED CT.
    pub(super) fn in_snomed(&self) -> Coding {
        Coding { system: SNOMED, code: self.snomed, display: self.display }
    }

    /// In ICD-10.
    pub(super) fn in_icd_10(&self) -> Coding {
        Coding { system: ICD_10, code: self.icd_10, display: self.display }
    }
}

impl Specialty {
    /// Whether it alone tells what a patient comes for.
    pub(super) fn special(self) -> bool {
        matches!(self, Self::Psychiatry | Self::Gynaecology)
    }

    /// In SNOMED CT.
    pub(super) fn coding(self) -> Coding {
        match self {
            Self::General => snomed("394814009", "General practice"),
            Self::Cardiology => snomed("394579002", "Cardiology"),
            Self::Endocrinology => snomed("394583002", "Endocrinology"),
            Self::Paediatrics => snomed("394537008", "Paediatrics"),
            Self::Dermatology => snomed("394582007", "Dermatology"),
            Self::Neurology => snomed("394591006", "Neurology"),
            Self::Orthopaedics => snomed("394801008", "Trauma & orthopaedics"),
            Self::Psychiatry => snomed("394587001", "Psychiatry"),
            Self::Gynaecology => snomed("394586005", "Gynaecology"),
            Self::Infection => snomed("394807007", "Infectious diseases"),
        }
    }
}

/// A concept of SNOMED CT.
pub(super) const fn snomed(code: &'static str, display: &'static str) -> Coding {
    Coding { system: SNOMED, code, display }
}

const fn drug(code: &'static str, display: &'static str, dosage: &'static str) -> Drug {
    Drug { coding: Coding { system: RXNORM, code, display }, dosage }
}

const fn ordinary(
    codes: [&'static str; 2],
    display: &'static str,
    specialty: Specialty,
    chronic: bool,
    complaint: &'static str,
    drugs: &'static [Drug],
    panel: &'static [&'static Measurement],
) -> Diagnosis {
    let [snomed, icd_10] = codes;
    Diagnosis { snomed, icd_10, display, specialty, special: false, chronic, complaint, drugs, panel }
}

const fn special(
    codes: [&'static str; 2],
    display: &'static str,
    specialty: Specialty,
    chronic: bool,
    complaint: &'static str,
    drugs: &'static [Drug],
    panel: &'static [&'static Measurement],
) -> Diagnosis {
    let [snomed, icd_10] = codes;
    Diagnosis { snomed, icd_10, display, specialty, special: true, chronic, complaint, drugs, panel }
}

const ONCE_A_DAY: &str = "Take one tablet by mouth once a day in the morning";
const TWICE_A_DAY: &str = "Take one tablet twice a day with meals";
const AS_NEEDED: &str = "Take one to two tablets when needed, at most six a day";

/// Every diagnosis of the chain.
pub(super) static DIAGNOSES: &[Diagnosis] = &[
    ordinary(
        ["38341003", "I10"],
        "Hypertensive disorder",
        Specialty::Cardiology,
        true,
        "Headache in the mornings, pressure was high at home",
        &[
            drug("314076", "lisinopril 10 MG Oral Tablet", ONCE_A_DAY),
            drug("310798", "hydrochlorothiazide 25 MG Oral Tablet", ONCE_A_DAY),
        ],
        measurements::METABOLIC,
    ),
    ordinary(
        ["414545008", "I25.9"],
        "Ischemic heart disease",
        Specialty::Cardiology,
        true,
        "Short of breath on the stairs",
        &[drug("855332", "warfarin sodium 5 MG Oral Tablet", "As by INR, one tablet in the evening")],
        measurements::LIPIDS,
    ),
    ordinary(
        ["55822004", "E78.5"],
        "Hyperlipidemia",
        Specialty::Cardiology,
        true,
        "Came for the results",
        &[drug("617311", "atorvastatin 40 MG Oral Tablet", "Take one tablet at bedtime")],
        measurements::LIPIDS,
    ),
    ordinary(
        ["44054006", "E11.9"],
        "Diabetes mellitus type 2",
        Specialty::Endocrinology,
        true,
        "Thirst, tired",
        &[drug("860975", "24 HR metformin hydrochloride 500 MG Extended Release Oral Tablet", TWICE_A_DAY)],
        measurements::DIABETES,
    ),
    ordinary(
        ["40930008", "E03.9"],
        "Hypothyroidism",
        Specialty::Endocrinology,
        true,
        "Weight gain, feels cold",
        &[drug("966222", "levothyroxine sodium 0.075 MG Oral Tablet", "One tablet half an hour before breakfast")],
        measurements::THYROID,
    ),
    ordinary(["271737000", "D64.9"], "Anemia", Specialty::General, true, "Pale, tired", &[], measurements::BLOOD_COUNT),
    ordinary(
        ["195967001", "J45.9"],
        "Asthma",
        Specialty::Paediatrics,
        true,
        "Cough at night",
        &[drug("245314", "albuterol 5 MG/ML Inhalation Solution", "Two puffs when short of breath")],
        &[],
    ),
    ordinary(
        ["65363002", "H66.9"],
        "Otitis media",
        Specialty::Paediatrics,
        false,
        "Pain in the left ear since yesterday",
        &[drug("308182", "amoxicillin 250 MG Oral Capsule", "One capsule three times a day for seven days")],
        &[],
    ),
    ordinary(
        ["195662009", "J02.9"],
        "Acute viral pharyngitis",
        Specialty::General,
        false,
        "Sore throat",
        &[drug("313782", "acetaminophen 325 MG Oral Tablet", AS_NEEDED)],
        measurements::RESPIRATORY,
    ),
    ordinary(
        ["10509002", "J20.9"],
        "Acute bronchitis",
        Specialty::General,
        false,
        "Cough for a week",
        &[drug("313782", "acetaminophen 325 MG Oral Tablet", AS_NEEDED)],
        measurements::INFLAMMATION,
    ),
    ordinary(
        ["68566005", "N39.0"],
        "Urinary tract infectious disease",
        Specialty::General,
        false,
        "Burning, \"like fire\"",
        &[drug("308182", "amoxicillin 250 MG Oral Capsule", "One capsule three times a day for five days")],
        measurements::URINE,
    ),
    ordinary(
        ["235595009", "K21.9"],
        "Gastroesophageal reflux disease",
        Specialty::General,
        true,
        "Heartburn after meals",
        &[drug("198051", "omeprazole 20 MG Delayed Release Oral Capsule", "One capsule before breakfast")],
        &[],
    ),
    ordinary(
        ["24079001", "L20.9"],
        "Atopic dermatitis",
        Specialty::Dermatology,
        true,
        "Itching on both elbows",
        &[drug("106258", "hydrocortisone 10 MG/ML Topical Cream", "Thinly on the skin twice a day")],
        &[],
    ),
    ordinary(
        ["37796009", "G43.9"],
        "Migraine",
        Specialty::Neurology,
        true,
        "Headache on one side, light hurts",
        &[drug("310965", "ibuprofen 200 MG Oral Tablet", AS_NEEDED)],
        &[],
    ),
    ordinary(
        ["279039007", "M54.5"],
        "Low back pain",
        Specialty::Orthopaedics,
        false,
        "Back pain after lifting",
        &[drug("310965", "ibuprofen 200 MG Oral Tablet", AS_NEEDED)],
        &[],
    ),
    ordinary(
        ["396275006", "M19.9"],
        "Osteoarthritis",
        Specialty::Orthopaedics,
        true,
        "Knee pain",
        &[drug("312617", "prednisone 5 MG Oral Tablet", ONCE_A_DAY)],
        measurements::INFLAMMATION,
    ),
    special(
        ["370143000", "F32.9"],
        "Major depressive disorder",
        Specialty::Psychiatry,
        true,
        "Sleeps badly, no joy",
        &[drug("310385", "fluoxetine 20 MG Oral Capsule", "One capsule in the morning")],
        measurements::DEPRESSION,
    ),
    special(
        ["197480006", "F41.9"],
        "Anxiety disorder",
        Specialty::Psychiatry,
        true,
        "Worries all the time",
        &[drug("312941", "sertraline 50 MG Oral Tablet", ONCE_A_DAY)],
        measurements::ANXIETY,
    ),
    special(
        ["66590003", "F10.2"],
        "Alcohol dependence",
        Specialty::Psychiatry,
        true,
        "Asks for help with drinking",
        &[],
        measurements::DRINKING,
    ),
    special(
        ["86406008", "B24"],
        "Human immunodeficiency virus infection",
        Specialty::Infection,
        true,
        "Regular control",
        &[],
        measurements::HIV,
    ),
    special(
        ["72892002", "Z34.9"],
        "Normal pregnancy",
        Specialty::Gynaecology,
        false,
        "Test at home was positive",
        &[],
        measurements::PREGNANCY,
    ),
];

/// The reasons for an encounter's being: its `type`.
pub(super) const CHECK_UP: Coding = snomed("185349003", "Encounter for check up");
pub(super) const SYMPTOM: Coding = snomed("185345009", "Encounter for symptom");
pub(super) const FOLLOW_UP: Coding = snomed("390906007", "Follow-up encounter");

/// What a document is.
pub(super) const CONSULT_NOTE: Coding = Coding { system: LOINC, code: "11488-4", display: "Consult note" };
pub(super) const LABORATORY_REPORT: Coding = Coding { system: LOINC, code: "11502-2", display: "Laboratory report" };
pub(super) const IMAGING_STUDY: Coding = Coding { system: LOINC, code: "18748-4", display: "Diagnostic imaging study" };
