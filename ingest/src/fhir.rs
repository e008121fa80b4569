//! Functions that curated SELECTs may use for what FHIR writes as text: references, dates and instants.
//!
//! All three are total: what is malformed is NULL, never an error, so that a row's fate is the contract's decision
//! (`required`, quality rules, and the format of the text: [`crate::texts`]) and not the function's.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, ByteView, Date32Builder, MAX_INLINE_VIEW_LEN, StringViewArray, StringViewBuilder,
    TimestampMicrosecondBuilder,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit};
use chrono::{DateTime, NaiveDate};
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};

/// Every function of this module, ready to be registered.
pub(crate) fn functions() -> Vec<Arc<ScalarUDF>> {
    [Reading::Reference, Reading::Date, Reading::Instant]
        .into_iter()
        .map(|reading| Arc::new(ScalarUDF::from(FhirText::new(reading))))
        .collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Reading {
    Reference,
    Date,
    Instant,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct FhirText {
    reading: Reading,
    signature: Signature,
}

impl FhirText {
    fn new(reading: Reading) -> Self {
        let texts = [DataType::Utf8, DataType::LargeUtf8, DataType::Utf8View, DataType::Null];
        let signature = Signature::new(TypeSignature::Uniform(1, texts.to_vec()), Volatility::Immutable);
        FhirText { reading, signature }
    }
}

impl ScalarUDFImpl for FhirText {
    fn name(&self) -> &str {
        match self.reading {
            Reading::Reference => "fhir_reference",
            Reading::Date => "fhir_date",
            Reading::Instant => "fhir_instant",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match self.reading {
            Reading::Reference => DataType::Utf8View,
            Reading::Date => DataType::Date32,
            Reading::Instant => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [argument] = args.args.as_slice() else {
            return Err(DataFusionError::Plan(format!("{} takes one argument", self.name())));
        };
        match argument {
            ColumnarValue::Array(array) => Ok(ColumnarValue::Array(self.read(array)?)),
            ColumnarValue::Scalar(scalar) => {
                let read = self.read(&scalar.to_array()?)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&read, 0)?))
            }
        }
    }
}

impl FhirText {
    fn read(&self, array: &ArrayRef) -> Result<ArrayRef> {
        let array = match array.data_type() {
            DataType::Utf8View => Arc::clone(array),
            _ => cast(array, &DataType::Utf8View)?,
        };
        let texts = array.as_string_view();
        Ok(match self.reading {
            Reading::Reference => Arc::new(parts(texts, reference)?),
            Reading::Date => {
                let mut dates = Date32Builder::with_capacity(texts.len());
                texts.iter().for_each(|text| dates.append_option(text.and_then(date)));
                Arc::new(dates.finish())
            }
            Reading::Instant => {
                let mut instants = TimestampMicrosecondBuilder::with_capacity(texts.len()).with_timezone("UTC");
                texts.iter().for_each(|text| instants.append_option(text.and_then(instant)));
                Arc::new(instants.finish())
            }
        })
    }
}

/// A part of each text; it is not copied.
fn parts(texts: &StringViewArray, part: impl Fn(&str) -> Option<&str>) -> Result<StringViewArray> {
    let mut parts = StringViewBuilder::with_capacity(texts.len());
    for buffer in texts.data_buffers() {
        parts.append_block(buffer.clone());
    }
    for (text, view) in texts.iter().zip(texts.views()) {
        let view = ByteView::from(*view);
        match text.and_then(|text| Some((text, part(text)?))) {
            None => parts.append_null(),
            // A short text stands in its view.
            Some((_, part)) if view.length <= MAX_INLINE_VIEW_LEN => parts.append_value(part),
            Some((text, part)) => {
                let skipped = part.as_ptr() as usize - text.as_ptr() as usize;
                parts.try_append_view(view.buffer_index, view.offset + skipped as u32, part.len() as u32)?;
            }
        }
    }
    Ok(parts.finish())
}

/// The logical id a FHIR reference (R4, 2.3.0) names: of `Patient/1`, `https://server/fhir/Patient/1/_history/2`,
/// `urn:uuid:1`, `urn:oid:1` and of a conditional `Patient?identifier=system|1`. Contained resources (`#p1`) have none.
pub(crate) fn reference(text: &str) -> Option<&str> {
    let text = text.trim();
    if text.starts_with('#') {
        return None;
    }
    if let Some(id) = text.strip_prefix("urn:uuid:").or_else(|| text.strip_prefix("urn:oid:")) {
        return Some(id).filter(|id| !id.is_empty());
    }
    if let Some((_, query)) = text.split_once('?') {
        let identifier = query.split('&').find_map(|part| part.strip_prefix("identifier="))?;
        let id = identifier.rsplit_once('|').map_or(identifier, |(_, id)| id);
        return Some(id).filter(|id| !id.is_empty());
    }
    let path = text.split_once("/_history/").map_or(text, |(path, _)| path);
    let (before, id) = path.rsplit_once('/')?;
    let kind = before.rsplit('/').next().unwrap_or(before);
    let named =
        kind.bytes().next().is_some_and(|b| b.is_ascii_uppercase()) && kind.bytes().all(|b| b.is_ascii_alphabetic());
    Some(id).filter(|id| named && !id.is_empty())
}

/// Days since 1970-01-01 of a FHIR date (R4, 2.24.0.1): `2019`, `2019-03`, `2019-03-14`, or the day of a dateTime as
/// it was written. A year or month stands for its first day.
pub(crate) fn date(text: &str) -> Option<i32> {
    let text = text.trim();
    let (day, time) = match text.split_once('T') {
        Some((day, time)) if day.len() == 10 => (day, Some(time)),
        Some(_) => return None,
        None => (text, None),
    };
    if let Some(time) = time {
        clock(time)?;
    }
    days(day)
}

/// Microseconds since 1970-01-01T00:00:00Z of a FHIR instant or dateTime. A date without a time is its first moment in
/// UTC; a time must have its zone; second 60 is the first of the next minute.
pub(crate) fn instant(text: &str) -> Option<i64> {
    const DAY: i64 = 86_400_000_000;
    let text = text.trim();
    match text.split_once('T') {
        None => Some(i64::from(days(text)?) * DAY),
        Some((day, time)) if day.len() == 10 => Some(i64::from(days(day)?) * DAY + clock(time)?),
        Some(_) => None,
    }
}

fn number(digits: &str) -> Option<i64> {
    (!digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().ok())?
}

fn days(text: &str) -> Option<i32> {
    let mut parts = text.splitn(3, '-');
    let year = parts.next().filter(|p| p.len() == 4).and_then(number)?;
    let month = parts.next().map_or(Some(1), |p| (p.len() == 2).then(|| number(p))?)?;
    let day = parts.next().map_or(Some(1), |p| (p.len() == 2).then(|| number(p))?)?;
    if year == 0 {
        return None;
    }
    let date = NaiveDate::from_ymd_opt(year as i32, month as u32, day as u32)?;
    i32::try_from(date.signed_duration_since(DateTime::UNIX_EPOCH.date_naive()).num_days()).ok()
}

/// Microseconds from midnight UTC of `hh:mm[:ss[.f]]` followed by `Z` or `+hh:mm`; may be negative or beyond a day.
fn clock(text: &str) -> Option<i64> {
    let zone_at = text.find(['Z', '+', '-'])?;
    let (clock, zone) = text.split_at(zone_at);
    let offset = match zone {
        "Z" => 0,
        _ => {
            let (sign, zone) = zone.split_at(1);
            let minutes = hours_minutes(zone).filter(|m| *m <= 14 * 60)?;
            if sign == "-" { -minutes } else { minutes }
        }
    };
    let minutes = hours_minutes(clock.get(..5)?)?;
    let (seconds, micros) = match clock.get(5..)? {
        "" => (0, 0),
        rest => {
            let rest = rest.strip_prefix(':')?;
            let (whole, fraction) = rest.split_once('.').map_or((rest, None), |(w, f)| (w, Some(f)));
            let seconds = (whole.len() == 2).then(|| number(whole))?.filter(|s| *s <= 60)?;
            (seconds, fraction.map_or(Some(0), microseconds)?)
        }
    };
    Some(((minutes - offset) * 60 + seconds) * 1_000_000 + micros)
}

fn hours_minutes(text: &str) -> Option<i64> {
    let (hours, minutes) = text.split_once(':')?;
    if hours.len() != 2 || minutes.len() != 2 {
        return None;
    }
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    (hours < 24 && minutes < 60).then_some(hours * 60 + minutes)
}

/// The first six digits of a fraction, as FHIR allows any number of them.
fn microseconds(fraction: &str) -> Option<i64> {
    if fraction.is_empty() || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let kept = &fraction[..fraction.len().min(6)];
    Some(number(kept)? * 10_i64.pow(6 - kept.len() as u32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_gives_its_logical_id_in_each_of_its_forms() {
        for (text, id) in [
            ("Patient/42", Some("42")),
            ("urn:uuid:6ec5-11", Some("6ec5-11")),
            ("Practitioner?identifier=http://hl7.org/fhir/sid/us-npi|9999", Some("9999")),
            ("Location?name=x&identifier=7", Some("7")),
            ("https://ehr.example/fhir/Patient/42", Some("42")),
            ("Patient/42/_history/3", Some("42")),
            ("#p1", None),
            ("Patient/", None),
            ("42", None),
            ("urn:uuid:", None),
            ("Practitioner?name=x", None),
            ("http://example.org", None),
            ("", None),
        ] {
            assert_eq!(reference(text), id, "{text}");
        }
    }

    #[test]
    fn dates_are_read_in_each_precision_and_nothing_else_is() {
        let day = |y, m, d| {
            let date = NaiveDate::from_ymd_opt(y, m, d).unwrap();
            Some((date - NaiveDate::from_ymd_opt(1970, 1, 1).unwrap()).num_days() as i32)
        };
        for (text, expected) in [
            ("1970-01-01", Some(0)),
            ("2019", day(2019, 1, 1)),
            ("2019-03", day(2019, 3, 1)),
            ("2020-02-29", day(2020, 2, 29)),
            ("1890-12-31", day(1890, 12, 31)),
            ("2019-03-14T23:59:00-05:00", day(2019, 3, 14)),
            ("2019-02-29", None),
            ("2019-3-14", None),
            ("2019-13", None),
            ("19", None),
            ("0000", None),
            ("2019-03-14T", None),
            ("2019-03-14x", None),
            ("+019-03-14", None),
            ("", None),
        ] {
            assert_eq!(date(text), expected, "{text}");
        }
    }

    #[test]
    fn instants_honour_zone_fraction_and_leap_second() {
        let at = |text: &str| Some(DateTime::parse_from_rfc3339(text).unwrap().timestamp_micros());
        for (text, expected) in [
            ("2015-02-07T13:28:17.239+02:00", at("2015-02-07T11:28:17.239Z")),
            ("2015-02-07T13:28:17.1234567891Z", at("2015-02-07T13:28:17.123456Z")),
            ("2015-02-07T00:10:00-11:30", at("2015-02-07T11:40:00Z")),
            ("2016-12-31T23:59:60Z", at("2017-01-01T00:00:00Z")),
            ("2015-02-07T13:28Z", at("2015-02-07T13:28:00Z")),
            ("2015", at("2015-01-01T00:00:00Z")),
            ("2015-02", at("2015-02-01T00:00:00Z")),
            ("2015-02-07", at("2015-02-07T00:00:00Z")),
            ("2015-02-07T13:28:17", None),
            ("2015-02-07T24:00:00Z", None),
            ("2015-02-07T13:28:61Z", None),
            ("2015-02-07T13:28:17+15:00", None),
            ("2015-02-07T13:28:17.Z", None),
            ("2015-02-07T13:28:17Zx", None),
            ("2015-02T13:28:17Z", None),
            ("2015-02-07T1é:28Z", None),
        ] {
            assert_eq!(instant(text), expected, "{text}");
        }
    }

    #[test]
    fn an_id_is_a_part_of_its_text_wherever_that_stands() {
        let long = "0123456789abcdef0123456789abcdef0123";
        let texts = [
            format!("urn:uuid:{long}"),
            format!("https://server.example/fhir/Patient/{long}/_history/2"),
            "Patient/short".into(),
            format!("Patient/{long}é"),
            "Location?identifier=http://x.example/y|1".into(),
        ];
        let all = StringViewArray::from_iter_values(&texts);
        let expected = [long.to_owned(), long.to_owned(), "short".to_owned(), format!("{long}é"), "1".to_owned()];
        for (from, count) in [(0, 5), (1, 3), (4, 1)] {
            let ids = parts(&all.slice(from, count), reference).unwrap();
            assert_eq!(ids.iter().flatten().collect::<Vec<_>>(), expected[from..from + count]);
        }
    }

    #[test]
    fn functions_map_nulls_to_nulls_and_keep_positions() {
        let texts: ArrayRef =
            Arc::new(arrow::array::StringArray::from(vec![Some("Patient/1"), None, Some("?"), Some("urn:uuid:2")]));
        let ids = FhirText::new(Reading::Reference).read(&texts).unwrap();
        assert_eq!(ids.as_string_view().iter().collect::<Vec<_>>(), [Some("1"), None, None, Some("2")]);
    }
}
