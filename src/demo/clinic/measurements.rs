//! What is measured at a visit: LOINC codes, UCUM units, reference ranges, and how far people stray from them.

use super::chance::Chance;
use super::codes::{LOINC, snomed};
use super::json::Coding;

/// Something measured or asked.
#[derive(Debug)]
pub(super) struct Measurement {
    pub(super) code: &'static str,
    pub(super) display: &'static str,
    /// A code of `http://terminology.hl7.org/CodeSystem/observation-category`.
    pub(super) category: &'static str,
    pub(super) kind: Kind,
}

/// In what a measurement results.
#[derive(Debug)]
pub(super) enum Kind {
    Quantity(Quantity),
    /// Systolic and diastolic pressure as components.
    Pressure,
    Words(&'static [&'static str]),
    Coded(&'static [Coding]),
}

/// A number with a unit. All numbers are in the last decimal shown: 142 with one decimal is 14.2.
#[derive(Debug)]
pub(super) struct Quantity {
    pub(super) unit: &'static str,
    pub(super) ucum: &'static str,
    pub(super) decimals: u32,
    /// The reference range, where the laboratory states one.
    pub(super) range: Option<(i64, i64)>,
    /// What is met in healthy people.
    pub(super) usual: (i64, i64),
    /// What is met at all.
    pub(super) possible: (i64, i64),
}

impl Measurement {
    /// In LOINC.
    pub(super) fn coding(&self) -> Coding {
        Coding { system: LOINC, code: self.code, display: self.display }
    }
}

impl Quantity {
    /// A value: mostly usual, now and then not.
    pub(super) fn draw(&self, chance: &mut Chance) -> i64 {
        let (low, high) = if chance.percent(78) { self.usual } else { self.possible };
        chance.between(low, high)
    }
}

/// A number with its decimal point: `142` with one decimal is `14.2`.
pub(super) fn decimal(value: i64, decimals: u32) -> String {
    if decimals == 0 {
        return value.to_string();
    }
    let unit = 10_i64.pow(decimals);
    format!("{}.{:0width$}", value / unit, value % unit, width = decimals as usize)
}

const fn vital(code: &'static str, display: &'static str, quantity: Quantity) -> Measurement {
    Measurement { code, display, category: "vital-signs", kind: Kind::Quantity(quantity) }
}

const fn lab(code: &'static str, display: &'static str, quantity: Quantity) -> Measurement {
    Measurement { code, display, category: "laboratory", kind: Kind::Quantity(quantity) }
}

const fn score(code: &'static str, display: &'static str, highest: i64) -> Measurement {
    let quantity = Quantity {
        unit: "{score}",
        ucum: "{score}",
        decimals: 0,
        range: None,
        usual: (highest / 5, highest / 2),
        possible: (0, highest),
    };
    Measurement { code, display, category: "survey", kind: Kind::Quantity(quantity) }
}

const fn coded(code: &'static str, display: &'static str, answers: &'static [Coding]) -> Measurement {
    Measurement { code, display, category: "laboratory", kind: Kind::Coded(answers) }
}

const fn words(code: &'static str, display: &'static str, answers: &'static [&'static str]) -> Measurement {
    Measurement { code, display, category: "laboratory", kind: Kind::Words(answers) }
}

/// A quantity; the reference range is what is usual, where `ranged`.
const fn quantity(
    unit: &'static str,
    ucum: &'static str,
    decimals: u32,
    ranged: bool,
    usual: (i64, i64),
    possible: (i64, i64),
) -> Quantity {
    let range = if ranged { Some(usual) } else { None };
    Quantity { unit, ucum, decimals, range, usual, possible }
}

pub(super) static PRESSURE: Measurement = Measurement {
    code: "85354-9",
    display: "Blood pressure panel with all children optional",
    category: "vital-signs",
    kind: Kind::Pressure,
};
pub(super) static SYSTOLIC: Measurement =
    vital("8480-6", "Systolic blood pressure", quantity("mmHg", "mm[Hg]", 0, false, (108, 138), (92, 184)));
pub(super) static DIASTOLIC: Measurement =
    vital("8462-4", "Diastolic blood pressure", quantity("mmHg", "mm[Hg]", 0, false, (66, 88), (54, 112)));
pub(super) static HEART_RATE: Measurement =
    vital("8867-4", "Heart rate", quantity("/min", "/min", 0, false, (58, 88), (44, 128)));
pub(super) static TEMPERATURE: Measurement =
    vital("8310-5", "Body temperature", quantity("Cel", "Cel", 1, false, (362, 372), (355, 396)));
pub(super) static SATURATION: Measurement = vital(
    "59408-5",
    "Oxygen saturation in Arterial blood by Pulse oximetry",
    quantity("%", "%", 0, false, (96, 100), (88, 100)),
);
pub(super) static HEIGHT: Measurement =
    vital("8302-2", "Body height", quantity("cm", "cm", 0, false, (156, 190), (148, 202)));
pub(super) static WEIGHT: Measurement =
    vital("29463-7", "Body weight", quantity("kg", "kg", 1, false, (540, 960), (430, 1420)));

static HEMOGLOBIN: Measurement =
    lab("718-7", "Hemoglobin [Mass/volume] in Blood", quantity("g/dL", "g/dL", 1, true, (120, 165), (78, 185)));
static LEUKOCYTES: Measurement = lab(
    "6690-2",
    "Leukocytes [#/volume] in Blood by Automated count",
    quantity("10*3/uL", "10*3/uL", 1, true, (45, 110), (21, 198)),
);
static PLATELETS: Measurement = lab(
    "777-3",
    "Platelets [#/volume] in Blood by Automated count",
    quantity("10*3/uL", "10*3/uL", 0, true, (150, 400), (88, 560)),
);
static GLUCOSE: Measurement =
    lab("2345-7", "Glucose [Mass/volume] in Serum or Plasma", quantity("mg/dL", "mg/dL", 0, true, (70, 99), (52, 288)));
static CREATININE: Measurement = lab(
    "2160-0",
    "Creatinine [Mass/volume] in Serum or Plasma",
    quantity("mg/dL", "mg/dL", 2, true, (60, 120), (42, 290)),
);
static POTASSIUM: Measurement = lab(
    "2823-3",
    "Potassium [Moles/volume] in Serum or Plasma",
    quantity("mmol/L", "mmol/L", 1, true, (35, 51), (28, 62)),
);
static CHOLESTEROL: Measurement = lab(
    "2093-3",
    "Cholesterol [Mass/volume] in Serum or Plasma",
    quantity("mg/dL", "mg/dL", 0, true, (130, 200), (104, 318)),
);
static LDL: Measurement = lab(
    "13457-7",
    "Cholesterol in LDL [Mass/volume] in Serum or Plasma by calculation",
    quantity("mg/dL", "mg/dL", 0, true, (60, 130), (42, 226)),
);
static HDL: Measurement = lab(
    "2085-9",
    "Cholesterol in HDL [Mass/volume] in Serum or Plasma",
    quantity("mg/dL", "mg/dL", 0, true, (40, 80), (24, 98)),
);
static HBA1C: Measurement =
    lab("4548-4", "Hemoglobin A1c/Hemoglobin.total in Blood", quantity("%", "%", 1, true, (40, 57), (52, 112)));
static TSH: Measurement = lab(
    "3016-3",
    "Thyrotropin [Units/volume] in Serum or Plasma",
    quantity("mIU/L", "m[IU]/L", 2, true, (40, 400), (2, 1240)),
);
static CRP: Measurement = lab(
    "1988-5",
    "C reactive protein [Mass/volume] in Serum or Plasma",
    quantity("mg/L", "mg/L", 1, true, (0, 50), (20, 1480)),
);
static URINE_APPEARANCE: Measurement = words(
    "5767-9",
    "Appearance of Urine",
    &["Clear", "Clear", "Slightly cloudy", "Cloudy", "see remark, sample < 10 ml"],
);
static URINE_COLOR: Measurement = words("5778-6", "Color of Urine", &["Yellow", "Yellow", "Dark yellow", "Colorless"]);
static URINE_NITRITE: Measurement =
    coded("5802-4", "Nitrite [Presence] in Urine by Test strip", &[NEGATIVE, NEGATIVE, POSITIVE]);
static CORONAVIRUS: Measurement = coded(
    "94500-6",
    "SARS-CoV-2 (COVID-19) RNA [Presence] in Respiratory system specimen by NAA with probe detection",
    &[NOT_DETECTED, NOT_DETECTED, NOT_DETECTED, DETECTED],
);
static PHQ_9: Measurement = score("44261-6", "Patient Health Questionnaire 9 item (PHQ-9) total score [Reported]", 27);
static GAD_7: Measurement =
    score("70274-6", "Generalized anxiety disorder 7 item (GAD-7) total score [Reported.PHQ]", 21);
static AUDIT_C: Measurement = score("75626-2", "Total score [AUDIT-C]", 12);
static HIV_RNA: Measurement = lab(
    "25836-8",
    "HIV 1 RNA [#/volume] (viral load) in Specimen by NAA with probe detection",
    quantity("copies/mL", "{copies}/mL", 0, false, (20, 180), (20, 48_000)),
);
static CD4: Measurement = lab(
    "24467-3",
    "CD3+CD4+ (T4 helper) cells [#/volume] in Blood",
    quantity("cells/uL", "{cells}/uL", 0, true, (500, 1400), (160, 1600)),
);
static PREGNANCY_TEST: Measurement =
    coded("2106-3", "Choriogonadotropin (pregnancy test) [Presence] in Urine", &[POSITIVE]);

const DETECTED: Coding = snomed("260373001", "Detected");
const NOT_DETECTED: Coding = snomed("260415000", "Not detected");
const POSITIVE: Coding = snomed("10828004", "Positive");
const NEGATIVE: Coding = snomed("260385009", "Negative");

pub(super) const BLOOD_COUNT: &[&Measurement] = &[&HEMOGLOBIN, &LEUKOCYTES, &PLATELETS];
pub(super) const METABOLIC: &[&Measurement] = &[&GLUCOSE, &CREATININE, &POTASSIUM];
pub(super) const LIPIDS: &[&Measurement] = &[&CHOLESTEROL, &LDL, &HDL];
pub(super) const DIABETES: &[&Measurement] = &[&HBA1C, &GLUCOSE, &CREATININE];
pub(super) const THYROID: &[&Measurement] = &[&TSH];
pub(super) const INFLAMMATION: &[&Measurement] = &[&CRP, &LEUKOCYTES];
pub(super) const RESPIRATORY: &[&Measurement] = &[&CORONAVIRUS];
pub(super) const URINE: &[&Measurement] = &[&URINE_APPEARANCE, &URINE_COLOR, &URINE_NITRITE];
pub(super) const DEPRESSION: &[&Measurement] = &[&PHQ_9];
pub(super) const ANXIETY: &[&Measurement] = &[&GAD_7];
pub(super) const DRINKING: &[&Measurement] = &[&AUDIT_C];
pub(super) const HIV: &[&Measurement] = &[&HIV_RNA, &CD4];
pub(super) const PREGNANCY: &[&Measurement] = &[&PREGNANCY_TEST, &HEMOGLOBIN];
