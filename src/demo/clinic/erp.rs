//! What the cash desks and the pharmacy stores write: payments and movements of stock.

use chrono::{DateTime, SecondsFormat, Utc};

use super::chain::{Chain, Place};
use super::chance::Chance;
use super::json::object;
use super::patients::Patient;
use super::timeline::{Fate, Timeline};

/// Codes, texts and prices of the chain's own list of services.
const SERVICES: [(&str, &str, i64); 5] = [
    ("C-010", "Consultation", 4_500),
    ("C-020", "Follow-up consultation", 3_200),
    ("L-100", "Laboratory panel", 2_750),
    ("P-310", "Injection", 900),
    ("D-200", "Ultrasound", 6_400),
];
const LABORATORY_PANEL: usize = 2;

const ITEMS: [(&str, &str); 8] = [
    ("ST-0101", "Gloves, nitrile, size M, box of 100"),
    ("ST-0102", "Syringe 5 ml, sterile"),
    ("ST-0140", "Blood collection tube, EDTA, 4 ml"),
    ("ST-0208", "Gauze compress 10 × 10 cm"),
    ("ST-0315", "Acetaminophen 325 mg, pack of 20"),
    ("ST-0322", "Amoxicillin 250 mg, pack of 16"),
    ("ST-0410", "Insulin glargine 100 U/ml, pen"),
    ("ST-0511", "Disinfectant 500 ml"),
];

/// Writes a payment; `laboratory` when a panel was taken.
pub(super) fn write_payment(
    patient: &Patient,
    place: &Place,
    encounter: Option<&str>,
    laboratory: bool,
    at: DateTime<Utc>,
    chance: &mut Chance,
    timeline: &mut Timeline,
) {
    let id = chance.uuid();
    let mut services = vec![if chance.percent(60) { SERVICES[0] } else { SERVICES[1] }];
    if laboratory {
        services.push(SERVICES[LABORATORY_PANEL]);
    }
    if chance.percent(15) {
        services.push(*chance.pick(&SERVICES[3..]));
    }
    let sum: i64 = services.iter().map(|service| service.2).sum();
    let method = *chance.pick(&["card", "card", "cash", "insurance", "transfer"]);
    let payload = object(|json| {
        json.text("payment_id", &id);
        json.text("patient_id", &patient.id);
        if let Some(encounter) = encounter {
            json.text("encounter_id", encounter);
        }
        json.text("clinic_id", place.id);
        json.list("services", |list| {
            for (code, text, _) in &services {
                list.item(|item| {
                    item.text("code", code);
                    item.text("text", text);
                });
            }
        });
        json.bare("amount", format_args!("{}.{:02}", sum / 100, sum % 100));
        json.text("currency", "EUR");
        json.text("method", method);
        json.text("paid_at", &at.to_rfc3339_opts(SecondsFormat::Secs, true));
    });
    let fate = Fate::Rows {
        table: "payments",
        rows: 1,
        withdrawn: false,
        encounter: encounter.map(str::to_owned),
        special: false,
    };
    timeline.write("erp.payment", &id, at, payload, fate);
}

/// Writes a movement of stock at a clinic.
pub(super) fn write_stock_movement(
    chain: &Chain,
    clinic: usize,
    at: DateTime<Utc>,
    chance: &mut Chance,
    timeline: &mut Timeline,
) {
    let id = chance.uuid();
    let (code, name) = *chance.pick(&ITEMS);
    let (reason, quantity) = match chance.below(10) {
        0..2 => ("receipt", chance.between(20, 400)),
        2..8 => ("issue", -chance.between(1, 30)),
        8 => ("transfer", -chance.between(5, 60)),
        _ => ("write-off", -chance.between(1, 12)),
    };
    let batch = format!("B{}", chance.digits(5));
    let payload = object(|json| {
        json.text("movement_id", &id);
        json.text("item_code", code);
        json.text("item_name", name);
        json.text("batch", &batch);
        json.text("clinic_id", chain.clinics[clinic].id);
        json.bare("quantity", quantity);
        json.text("reason", reason);
        json.text("moved_at", &at.to_rfc3339_opts(SecondsFormat::Secs, true));
    });
    timeline.write("erp.stock_movement", &id, at, payload, Fate::row("stock_movements"));
}
