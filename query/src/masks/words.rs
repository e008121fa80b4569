//! What a mask does, in words, with an invented value.

use chrono::{DateTime, Datelike, NaiveDate};
use datafusion::arrow::datatypes::DataType;

use super::generalise::{band, week, year};
use super::{Mask, Masked};

/// A mask in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Words {
    /// What is shown.
    pub(crate) mask: String,
    /// `from → to`, where a value can be invented that means something.
    pub(crate) example: Option<String>,
}

/// The day that examples begin from.
const DAY: &str = "1987-05-20";
/// The text that examples begin from.
const TEXT: &str = "12345-6";
/// Day number of 1970-01-01 in the calendar of `chrono`.
const EPOCH: i64 = 719_163;

impl Masked {
    /// The mask in words, for a column of the type.
    pub(crate) fn words(&self, data_type: &DataType, today: NaiveDate) -> Words {
        let on_day = |change: &dyn Fn(i64) -> Option<i64>| example_of_day(data_type, change);
        let (mask, example) = match self.mask {
            Mask::Keep => ("the value itself, which many share".to_owned(), None),
            Mask::Null => ("nothing".to_owned(), None),
            Mask::Year => ("the first day of the year".to_owned(), on_day(&year)),
            Mask::Week => ("the Monday of the week".to_owned(), on_day(&week)),
            Mask::Band { years, top_age } => (
                format!("the first day of a band of {years} years; all of {top_age} years and more share one"),
                on_day(&|day| band(day, years, top_age, today)),
            ),
            Mask::Prefix(characters) => {
                let shown: String = TEXT.chars().take(characters).collect();
                (format!("the first {characters} characters"), Some(format!("{TEXT} → {shown}")))
            }
            Mask::Hmac => ("a pseudonym: a keyed digest, the same for the same value of this purpose".to_owned(), None),
            Mask::ShiftDays => {
                ("the time, moved by whole days that are fixed for the subject and this purpose".to_owned(), None)
            }
        };
        Words { mask, example }
    }
}

fn example_of_day(data_type: &DataType, change: &dyn Fn(i64) -> Option<i64>) -> Option<String> {
    let day: NaiveDate = DAY.parse().ok()?;
    let changed = change(i64::from(day.num_days_from_ce()) - EPOCH)?;
    let shown = DateTime::from_timestamp(changed.checked_mul(86_400)?, 0)?.date_naive();
    Some(match data_type {
        DataType::Timestamp(..) => format!("{day}T10:24:00Z → {shown}T00:00:00Z"),
        _ => format!("{day} → {shown}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(mask: Mask, data_type: &DataType) -> Words {
        Masked { tag: "tag".into(), mask }.words(data_type, "2026-11-23".parse().unwrap())
    }

    #[test]
    fn examples_come_from_the_masks_themselves() {
        let time = DataType::Timestamp(datafusion::arrow::datatypes::TimeUnit::Microsecond, Some("UTC".into()));
        let example = |mask, data_type: &DataType| words(mask, data_type).example.unwrap();
        assert_eq!(example(Mask::Week, &time), "1987-05-20T10:24:00Z → 1987-05-18T00:00:00Z");
        assert_eq!(example(Mask::Year, &DataType::Date32), "1987-05-20 → 1987-01-01");
        assert_eq!(example(Mask::Band { years: 5, top_age: 90 }, &DataType::Date32), "1987-05-20 → 1985-01-01");
        assert_eq!(example(Mask::Prefix(3), &DataType::Utf8), "12345-6 → 123");
        assert_eq!(words(Mask::Hmac, &DataType::Utf8).example, None);
    }
}
