//! Keyed stand-ins: equal values look equal within a purpose, and nothing leads back without the key.
//!
//! - A text becomes the first 160 bits of HMAC-SHA-256 in base32 (RFC 4648, capital letters, no padding): 32
//!   characters. The column's tag separates domains.
//! - A time is moved by 1 to 365 whole days back or forth, fixed for the subject and purpose.

use datafusion::arrow::array::{Array, ArrayRef, StringViewArray, StringViewBuilder};
use datafusion::common::Result;

use super::generalise::map_temporal;
use crate::keys::PurposeKey;

const BYTES: usize = 20;
const CHARACTERS: usize = 32;
const MOST_DAYS: u64 = 365;

/// The pseudonym of each text.
pub(super) fn hmac(texts: &StringViewArray, tag: &str, key: &PurposeKey) -> StringViewArray {
    let domain = key.domain("hmac", tag);
    let mut pseudonyms = StringViewBuilder::with_capacity(texts.len());
    let mut pseudonym = [0; CHARACTERS];
    let mut last = None;
    for text in texts {
        let Some(text) = text else {
            pseudonyms.append_null();
            continue;
        };
        // Rows of one subject often stand together.
        if last != Some(text) {
            data_encoding::BASE32_NOPAD.encode_mut(&domain.digest(text.as_bytes())[..BYTES], &mut pseudonym);
            last = Some(text);
        }
        // Base32 is ASCII.
        pseudonyms.append_value(std::str::from_utf8(&pseudonym).unwrap_or_default());
    }
    pseudonyms.finish()
}

/// Moves each time by the days of its subject; a row without subject, and what would overflow, becomes NULL.
pub(super) fn shift_days(times: &ArrayRef, subjects: &StringViewArray, key: &PurposeKey) -> Result<ArrayRef> {
    let mut shifts = Vec::with_capacity(subjects.len());
    let mut last: Option<(&str, i64)> = None;
    for subject in subjects {
        shifts.push(subject.map(|subject| match last {
            Some((same, days)) if same == subject => days,
            _ => {
                let days = days_of(subject, key);
                last = Some((subject, days));
                days
            }
        }));
    }
    map_temporal(times, |row, value, per_day| {
        let days = shifts.get(row).copied().flatten()?;
        value.checked_add(days.checked_mul(per_day)?)
    })
}

fn days_of(subject: &str, key: &PurposeKey) -> i64 {
    let digest = key.digest("shift_days", "", subject.as_bytes());
    let number = digest.iter().take(8).fold(0u64, |number, byte| number << 8 | u64::from(*byte));
    let days = (number % (2 * MOST_DAYS)) as i64 - MOST_DAYS as i64;
    // Zero days would show the true time.
    if days >= 0 { days + 1 } else { days }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use datafusion::arrow::array::{AsArray, Date32Array, TimestampMicrosecondArray};
    use datafusion::arrow::datatypes::{Date32Type, TimestampMicrosecondType};
    use proptest::prelude::*;

    use super::*;
    use crate::keys::PseudonymKeys;

    fn key(purpose: &str) -> PurposeKey {
        PseudonymKeys::from_master(&[9; 32]).unwrap().key(purpose).unwrap()
    }

    #[test]
    fn a_pseudonym_is_160_bits_in_base32() {
        let masked =
            hmac(&StringViewArray::from(vec![Some("p-1"), Some("p-1"), Some(""), None]), "key.subject", &key("bi"));
        assert_eq!(masked.value(0).len(), 32);
        assert!(masked.value(0).chars().all(|c| c.is_ascii_uppercase() || ('2'..='7').contains(&c)));
        assert_eq!(masked.value(0), masked.value(1));
        assert_ne!(masked.value(0), masked.value(2));
        assert!(masked.is_null(3));
    }

    #[test]
    fn purpose_and_tag_separate_pseudonyms() {
        let texts = StringViewArray::from(vec!["p-1"]);
        let of = |tag: &str, purpose: &str| hmac(&texts, tag, &key(purpose)).value(0).to_owned();
        let all: BTreeSet<String> =
            [of("key.subject", "bi"), of("key.staff", "bi"), of("key.subject", "research")].into();
        assert_eq!(all.len(), 3);
    }

    #[test]
    fn times_of_one_subject_keep_their_distance() {
        let times: ArrayRef =
            Arc::new(TimestampMicrosecondArray::from(vec![0, 86_400_000_000, 1]).with_timezone("UTC"));
        let shifted = shift_days(&times, &StringViewArray::from(vec!["a", "a", "b"]), &key("research")).unwrap();
        assert_eq!(shifted.data_type(), times.data_type());
        let shifted = shifted.as_primitive::<TimestampMicrosecondType>();
        assert_eq!(shifted.value(1) - shifted.value(0), 86_400_000_000);
        assert_ne!(shifted.value(0), 0);
        assert_eq!(shifted.value(2).rem_euclid(86_400_000_000), 1);
    }

    #[test]
    fn a_time_without_subject_is_hidden() {
        let times: ArrayRef = Arc::new(Date32Array::from(vec![Some(1), None]));
        let shifted = shift_days(&times, &StringViewArray::from(vec![None, Some("a")]), &key("research")).unwrap();
        assert_eq!(shifted.null_count(), 2);
    }

    proptest! {
        #[test]
        fn a_shift_is_one_to_365_days(subject in ".*") {
            let days = days_of(&subject, &key("research"));
            prop_assert!((1..=365).contains(&days.abs()));
        }

        #[test]
        fn a_shift_never_raises(day in any::<i32>(), time in any::<i64>(), subject in ".*") {
            let subjects = StringViewArray::from(vec![subject]);
            let days: ArrayRef = Arc::new(Date32Array::from(vec![day]));
            let shifted = shift_days(&days, &subjects, &key("research")).unwrap();
            let moved = shifted.as_primitive::<Date32Type>();
            prop_assert!(moved.is_null(0) || moved.value(0) != day);
            let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![time]));
            let shifted = shift_days(&times, &subjects, &key("research")).unwrap();
            prop_assert_eq!(shifted.data_type(), times.data_type());
        }

        #[test]
        fn any_text_has_a_pseudonym(text in ".*") {
            let masked = hmac(&StringViewArray::from(vec![text.clone()]), "key.subject", &key("bi"));
            prop_assert_eq!(masked.value(0).len(), 32);
            prop_assert_ne!(masked.value(0), text);
        }
    }
}
