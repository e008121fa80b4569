//! Coarser values: years, weeks, bands of years, prefixes.
//!
//! Days are counted from 1970-01-01 in the proleptic Gregorian calendar with 64 bits, which covers every value that
//! Arrow can hold; what does not fit back into the column's type becomes NULL.

use std::sync::Arc;

use chrono::{Datelike, NaiveDate};
use datafusion::arrow::array::{ArrayRef, AsArray, PrimitiveArray, StringViewArray};
use datafusion::arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType,
};
use datafusion::common::{Result, exec_err};

const SECONDS_OF_DAY: i64 = 86_400;

/// The first day of the year.
pub(super) fn year(day: i64) -> Option<i64> {
    days_from_civil(civil_from_days(day).0, 1, 1)
}

/// Monday of the week.
pub(super) fn week(day: i64) -> Option<i64> {
    // 1970-01-01 was a Thursday.
    Some(day - (day + 3).rem_euclid(7))
}

/// The first day of the band of years, with all of the top age and more in the band of the top age.
pub(super) fn band(day: i64, years: u32, top_age: u32, today: NaiveDate) -> Option<i64> {
    let day = day.max(born_at_age(top_age, today)?);
    let year = civil_from_days(day).0;
    days_from_civil(year - year.rem_euclid(i64::from(years)), 1, 1)
}

/// The birthday of someone who becomes that old today.
fn born_at_age(age: u32, today: NaiveDate) -> Option<i64> {
    let year = i64::from(today.year()) - i64::from(age);
    let (month, day) = (i64::from(today.month()), i64::from(today.day()));
    // Whoever was born on a 29 February has the birthday on 28 February in other years.
    let leap = year.rem_euclid(4) == 0 && (year.rem_euclid(100) != 0 || year.rem_euclid(400) == 0);
    let day = if month == 2 && day == 29 && !leap { 28 } else { day };
    days_from_civil(year, month, day)
}

/// The first characters of each text.
pub(super) fn prefix(texts: &StringViewArray, characters: usize) -> StringViewArray {
    texts
        .iter()
        .map(|text| {
            text.map(|text| match text.char_indices().nth(characters) {
                Some((end, _)) => &text[..end],
                None => text,
            })
        })
        .collect()
}

/// Changes the day of each date or timestamp; the time of day is midnight afterwards.
pub(super) fn map_days(array: &ArrayRef, change: impl Fn(i64) -> Option<i64>) -> Result<ArrayRef> {
    map_temporal(array, |_, value, per_day| change(value.div_euclid(per_day))?.checked_mul(per_day))
}

/// Changes each date or timestamp, given its row, its number and the number of units in a day.
pub(super) fn map_temporal(array: &ArrayRef, change: impl Fn(usize, i64, i64) -> Option<i64>) -> Result<ArrayRef> {
    Ok(match array.data_type() {
        DataType::Date32 => {
            let dates = array.as_primitive::<Date32Type>();
            let changed: PrimitiveArray<Date32Type> = dates
                .iter()
                .enumerate()
                .map(|(row, date)| change(row, i64::from(date?), 1).and_then(|day| i32::try_from(day).ok()))
                .collect();
            Arc::new(changed)
        }
        DataType::Timestamp(TimeUnit::Second, zone) => {
            Arc::new(map_timestamps::<TimestampSecondType>(array, 1, change).with_timezone_opt(zone.clone()))
        }
        DataType::Timestamp(TimeUnit::Millisecond, zone) => {
            Arc::new(map_timestamps::<TimestampMillisecondType>(array, 1_000, change).with_timezone_opt(zone.clone()))
        }
        DataType::Timestamp(TimeUnit::Microsecond, zone) => Arc::new(
            map_timestamps::<TimestampMicrosecondType>(array, 1_000_000, change).with_timezone_opt(zone.clone()),
        ),
        DataType::Timestamp(TimeUnit::Nanosecond, zone) => Arc::new(
            map_timestamps::<TimestampNanosecondType>(array, 1_000_000_000, change).with_timezone_opt(zone.clone()),
        ),
        other => return exec_err!("a mask of days over {other}"),
    })
}

fn map_timestamps<T: ArrowPrimitiveType<Native = i64>>(
    array: &ArrayRef,
    per_second: i64,
    change: impl Fn(usize, i64, i64) -> Option<i64>,
) -> PrimitiveArray<T> {
    let per_day = SECONDS_OF_DAY * per_second;
    array.as_primitive::<T>().iter().enumerate().map(|(row, value)| change(row, value?, per_day)).collect()
}

/// Year, month and day of a day number (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn civil_from_days(day: i64) -> (i64, i64, i64) {
    let day = day + 719_468;
    let era = day.div_euclid(146_097);
    let of_era = day.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day_of_month = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day_of_month)
}

/// Day number of a year, month and day; None beyond 64 bits.
fn days_from_civil(year: i64, month: i64, day: i64) -> Option<i64> {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
    era.checked_mul(146_097)?.checked_add(of_era - 719_468)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn day(text: &str) -> i64 {
        let date: NaiveDate = text.parse().unwrap();
        i64::from(date.num_days_from_ce()) - 719_163
    }

    fn today() -> NaiveDate {
        "2026-11-23".parse().unwrap()
    }

    #[test]
    fn a_week_begins_on_monday() {
        for text in ["2026-11-23", "2026-11-25", "2026-11-29"] {
            assert_eq!(week(day(text)), Some(day("2026-11-23")));
        }
        assert_eq!(week(day("1969-12-31")), Some(day("1969-12-29")));
    }

    #[test]
    fn a_band_is_five_years_from_a_multiple_of_five() {
        assert_eq!(band(day("1980-01-01"), 5, 90, today()), Some(day("1980-01-01")));
        assert_eq!(band(day("1984-12-31"), 5, 90, today()), Some(day("1980-01-01")));
        assert_eq!(band(day("1985-01-01"), 5, 90, today()), Some(day("1985-01-01")));
    }

    #[test]
    fn everyone_of_ninety_and_more_is_in_one_band() {
        let top = Some(day("1935-01-01"));
        for text in ["1936-11-23", "1936-11-22", "1935-06-01", "1930-01-01", "1901-05-05", "0001-01-01"] {
            assert_eq!(band(day(text), 5, 90, today()), top, "{text}");
        }
    }

    #[test]
    fn a_birthday_on_the_last_of_february_is_no_error() {
        let today: NaiveDate = "2024-02-29".parse().unwrap();
        assert_eq!(born_at_age(90, today), Some(day("1934-02-28")));
        assert_eq!(born_at_age(4, today), Some(day("2020-02-29")));
    }

    #[test]
    fn a_prefix_counts_characters() {
        let texts = StringViewArray::from(vec![Some("12345"), Some("12"), Some(""), None, Some("äöüß€"), Some("👩‍⚕️ab")]);
        let expected = StringViewArray::from(vec![Some("123"), Some("12"), Some(""), None, Some("äöü"), Some("👩‍⚕")]);
        assert_eq!(prefix(&texts, 3), expected);
    }

    proptest! {
        #[test]
        fn civil_days_agree_with_chrono(number in -90_000_000i64..90_000_000) {
            if let Some(date) = i32::try_from(number + 719_163).ok().and_then(NaiveDate::from_num_days_from_ce_opt) {
                let (year, month, of_month) = civil_from_days(number);
                prop_assert_eq!((year, month, of_month), (date.year().into(), date.month().into(), date.day().into()));
                prop_assert_eq!(days_from_civil(year, month, of_month), Some(number));
            }
        }

        #[test]
        fn coarser_days_are_never_later_and_stay_what_they_are(number in any::<i32>()) {
            let number = i64::from(number);
            for coarse in [year as fn(i64) -> Option<i64>, week] {
                let once = coarse(number).unwrap();
                prop_assert!(once <= number);
                prop_assert_eq!(coarse(once), Some(once));
            }
        }

        #[test]
        fn a_band_holds_no_one_alone_beyond_the_top_age(number in any::<i32>(), years in 1u32..200, top_age in 0u32..200) {
            let masked = band(number.into(), years, top_age, today()).unwrap();
            let oldest = band(i64::from(i32::MIN), years, top_age, today()).unwrap();
            prop_assert!(masked >= oldest);
        }
    }
}
