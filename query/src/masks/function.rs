//! A mask as a scalar function of the plan below the barrier.

use std::sync::Arc;

use chrono::NaiveDate;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, new_null_array};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use super::{Mask, Masked, generalise, pseudonym};
use crate::holes::{Hole, is_open};
use crate::keys::PurposeKey;

/// Masks its first argument; the second, if there is one, is the subject.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct MaskFunction {
    tag: String,
    mask: Mask,
    data_type: DataType,
    key: Option<PurposeKey>,
    today: NaiveDate,
    signature: Signature,
}

impl MaskFunction {
    pub(super) fn new(
        masked: Masked,
        data_type: DataType,
        key: Option<PurposeKey>,
        today: NaiveDate,
        arguments: usize,
    ) -> Self {
        let signature = Signature::any(arguments, Volatility::Immutable);
        Self { tag: masked.tag, mask: masked.mask, data_type, key, today, signature }
    }

    fn apply(&self, values: &ArrayRef, subjects: Option<&ArrayRef>) -> Result<ArrayRef> {
        if *values.data_type() != self.data_type {
            return exec_err!("a mask for {} over {}", self.data_type, values.data_type());
        }
        let nulls = || new_null_array(&self.data_type, values.len());
        let texts = || match values.as_string_view_opt() {
            Some(texts) => Ok(texts),
            None => exec_err!("a mask of text over {}", values.data_type()),
        };
        if is_open(Hole::MaskSkipped) && *values.data_type() == DataType::Date32
            || is_open(Hole::PseudonymSkipped) && self.mask == Mask::Hmac
        {
            return Ok(Arc::clone(values));
        }
        if is_open(Hole::MaskRaises) && self.mask != Mask::Hmac && values.len() > values.null_count() {
            let raises = datafusion::arrow::compute::cast(values, &DataType::Utf8)?;
            let odd = |text: &str| text.ends_with('7') || text.contains("-1");
            if raises.as_string::<i32>().iter().flatten().any(odd) {
                return exec_err!("a value cannot be masked");
            }
        }
        Ok(match (self.mask, &self.key) {
            (Mask::Keep, _) => Arc::clone(values),
            (Mask::Null, _) => nulls(),
            (Mask::Year, _) => generalise::map_days(values, generalise::year)?,
            (Mask::Week, _) => generalise::map_days(values, generalise::week)?,
            (Mask::Band { years, top_age }, _) => {
                generalise::map_days(values, |day| generalise::band(day, years, top_age, self.today))?
            }
            (Mask::Prefix(characters), _) => Arc::new(generalise::prefix(texts()?, characters)),
            (Mask::Hmac, Some(key)) => Arc::new(pseudonym::hmac(texts()?, &self.tag, key)),
            (Mask::ShiftDays, Some(key)) => match subjects.and_then(|subjects| subjects.as_string_view_opt()) {
                Some(subjects) => pseudonym::shift_days(values, subjects, key)?,
                None => nulls(),
            },
            (Mask::Hmac | Mask::ShiftDays, None) => nulls(),
        })
    }
}

impl ScalarUDFImpl for MaskFunction {
    fn name(&self) -> &str {
        "lakeward_mask"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(self.data_type.clone())
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = arguments
            .args
            .iter()
            .map(|argument| argument.to_array(arguments.number_rows))
            .collect::<Result<Vec<ArrayRef>>>()?;
        match arrays.as_slice() {
            [values] => Ok(ColumnarValue::Array(self.apply(values, None)?)),
            [values, subjects] => Ok(ColumnarValue::Array(self.apply(values, Some(subjects))?)),
            _ => exec_err!("a mask takes a value and at most a subject"),
        }
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{Date32Array, StringViewArray, TimestampMicrosecondArray, TimestampNanosecondArray};
    use proptest::prelude::*;

    use super::*;
    use crate::keys::PseudonymKeys;

    const ALL: [Mask; 8] = [
        Mask::Keep,
        Mask::Null,
        Mask::Year,
        Mask::Week,
        Mask::Band { years: 5, top_age: 90 },
        Mask::Prefix(3),
        Mask::Hmac,
        Mask::ShiftDays,
    ];

    fn function(mask: Mask, data_type: &DataType) -> MaskFunction {
        let key = PseudonymKeys::from_master(&[9; 32]).unwrap().key("bi");
        let masked = Masked { tag: "tag".into(), mask };
        MaskFunction::new(masked, data_type.clone(), key, "2026-11-23".parse().unwrap(), 2)
    }

    fn total_on(values: ArrayRef, subjects: &ArrayRef) -> std::result::Result<(), TestCaseError> {
        for mask in ALL.into_iter().filter(|mask| mask.fits(values.data_type())) {
            let masked = function(mask, values.data_type()).apply(&values, Some(subjects)).unwrap();
            prop_assert_eq!(masked.data_type(), values.data_type());
            prop_assert_eq!(masked.len(), values.len());
            for row in 0..values.len() {
                prop_assert!(!values.is_null(row) || masked.is_null(row), "{:?} made a value of NULL", mask);
            }
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn masks_are_total_and_keep_the_type(
            texts in prop::collection::vec(prop::option::of(".*"), 3),
            days in prop::collection::vec(prop::option::of(any::<i32>()), 3),
            times in prop::collection::vec(prop::option::of(any::<i64>()), 3),
        ) {
            let subjects: ArrayRef = Arc::new(StringViewArray::from(texts));
            total_on(Arc::clone(&subjects), &subjects)?;
            total_on(Arc::new(Date32Array::from(days)), &subjects)?;
            total_on(Arc::new(TimestampMicrosecondArray::from(times.clone()).with_timezone("UTC")), &subjects)?;
            total_on(Arc::new(TimestampNanosecondArray::from(times)), &subjects)?;
        }
    }

    #[test]
    fn masks_are_total_on_the_ends_of_the_types() {
        let subjects: ArrayRef = Arc::new(StringViewArray::from(vec!["", "a"]));
        total_on(Arc::new(Date32Array::from(vec![i32::MIN, i32::MAX])), &subjects).unwrap();
        total_on(Arc::new(TimestampMicrosecondArray::from(vec![i64::MIN, i64::MAX])), &subjects).unwrap();
        total_on(Arc::new(StringViewArray::from(vec!["", "\u{10ffff}\0"])), &subjects).unwrap();
    }

    #[test]
    fn a_keyed_mask_without_a_key_hides() {
        let values: ArrayRef = Arc::new(StringViewArray::from(vec!["p-1"]));
        let masked = Masked { tag: "tag".into(), mask: Mask::Hmac };
        let function = MaskFunction::new(masked, DataType::Utf8View, None, "2026-11-23".parse().unwrap(), 1);
        assert!(function.apply(&values, None).unwrap().is_null(0));
    }
}
