//! Records that are broken on purpose, so that the dead letters have something to show.

use chrono::{DateTime, TimeDelta, Utc};

use super::chance::Chance;
use super::timeline::{Defect, Fate, Timeline};

/// How many broken records the history has.
pub(super) const IN_HISTORY: u64 = 5;

/// Writes the broken records of the history, one every few days before `epoch`.
pub(super) fn write_history(seed: u64, epoch: DateTime<Utc>, timeline: &mut Timeline) {
    let mut chance = Chance::of(seed, "defects", 0);
    for number in 0..IN_HISTORY {
        let at = epoch - TimeDelta::hours(30 + 75 * number as i64);
        write(number, at, &mut chance, timeline);
    }
}

/// Writes broken record number `number`; the kinds come in turn.
pub(super) fn write(number: u64, at: DateTime<Utc>, chance: &mut Chance, timeline: &mut Timeline) {
    let id = chance.uuid();
    let (topic, defect, payload) = match number % IN_HISTORY {
        0 => (
            "clinic.observation",
            Defect::NotJson,
            // A connection that broke in the middle.
            format!(r#"{{"resourceType":"Observation","id":"{id}","status":"final","code":{{"coding":[{{"system":"http://lo"#),
        ),
        1 => (
            "clinic.patient",
            Defect::MissingId,
            r#"{"resourceType":"Patient","active":true,"name":[{"family":"Nameless","given":["Noone"]}],"gender":"unknown","birthDate":"1977-07-07"}"#.to_owned(),
        ),
        2 => (
            "clinic.observation",
            Defect::WrongType,
            format!(
                r#"{{"resourceType":"Observation","id":"{id}","status":"final","code":{{"coding":[{{"system":"http://loinc.org","code":"718-7","display":"Hemoglobin [Mass/volume] in Blood"}}]}},"valueQuantity":{{"value":"too little sample","unit":"g/dL"}}}}"#
            ),
        ),
        3 => (
            "erp.payment",
            Defect::WrongType,
            format!(r#"{{"payment_id":"{id}","amount":"forty-two","currency":"EUR","method":"cash"}}"#),
        ),
        _ => (
            "clinic.appointment",
            Defect::NotJson,
            // What a proxy says instead of the application.
            "<html><head><title>502 Bad Gateway</title></head></html>".to_owned(),
        ),
    };
    timeline.write(topic, &id, at, payload.into_bytes(), Fate::Dead(defect));
}
