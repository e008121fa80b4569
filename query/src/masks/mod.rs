//! How a value looks when it is not clear: `masks.yaml`, and the functions that carry it out.
//!
//! A mask keeps the type of its column and is total: whatever the value, it gives a value or NULL and never raises, so
//! that an error cannot tell what stood in a cell. A level that has no entry for a tag hides the column.

mod file;
mod function;
mod generalise;
mod pseudonym;
mod words;

use std::path::{Path, PathBuf};

use chrono::NaiveDate;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr, ScalarUDF};
use lakeward_iam::Level;

use crate::keys::PurposeKey;

pub use file::Masks;

/// Something in `masks.yaml` that cannot be carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}:{line}: {message}", file.display())]
pub struct MaskProblem {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

impl MaskProblem {
    fn new(file: &Path, line: usize, message: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line, message: message.into() }
    }
}

/// What happens to a value below clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Mask {
    /// The value itself.
    Keep,
    /// NULL.
    Null,
    /// The first day of the year.
    Year,
    /// Monday of the week, in UTC.
    Week,
    /// The first day of a band of years; whoever is of the top age or older is in the band of the top age.
    Band {
        /// Years in a band.
        years: u32,
        /// The age, in whole years, that is shared by all who are older.
        top_age: u32,
    },
    /// The first characters.
    Prefix(usize),
    /// Base32 of a keyed digest.
    Hmac,
    /// Moved by whole days that are fixed for the subject.
    ShiftDays,
}

impl Mask {
    /// Whether values of the type can be masked in this way.
    pub(crate) fn fits(self, data_type: &DataType) -> bool {
        match self {
            Self::Keep | Self::Null => true,
            Self::Year | Self::Week | Self::Band { .. } | Self::ShiftDays => {
                matches!(data_type, DataType::Date32 | DataType::Timestamp(_, _))
            }
            Self::Prefix(_) | Self::Hmac => matches!(data_type, DataType::Utf8 | DataType::Utf8View),
        }
    }

    /// Whether it needs the key of the purpose.
    pub(crate) fn is_keyed(self) -> bool {
        matches!(self, Self::Hmac | Self::ShiftDays)
    }
}

/// What masks need to know of the statement.
#[derive(Debug, Clone)]
pub(crate) struct MaskContext {
    /// The key of the purpose, if it has one.
    pub(crate) key: Option<PurposeKey>,
    /// The day of the statement, in UTC.
    pub(crate) today: NaiveDate,
}

/// A mask for a column: the first of the column's tags that has an entry at the level decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Masked {
    pub(crate) tag: String,
    pub(crate) mask: Mask,
}

impl Masked {
    /// The masked value of a column. `subject` is the column that says whose row it is.
    pub(crate) fn expression(
        &self,
        column: Expr,
        subject: Option<Expr>,
        data_type: &DataType,
        context: &MaskContext,
    ) -> datafusion::common::Result<Expr> {
        let null = || ScalarValue::try_from(data_type).map(|value| Expr::Literal(value, None));
        let mut arguments = vec![column.clone()];
        let key = match (self.mask, subject, &context.key) {
            (Mask::Keep, _, _) => return Ok(column),
            (Mask::Null, _, _) => return null(),
            (Mask::ShiftDays, Some(subject), Some(key)) => {
                arguments.push(subject);
                Some(key.clone())
            }
            (Mask::Hmac, _, Some(key)) => Some(key.clone()),
            (Mask::ShiftDays | Mask::Hmac, _, _) => return null(),
            _ => None,
        };
        let function =
            function::MaskFunction::new(self.clone(), data_type.clone(), key, context.today, arguments.len());
        Ok(ScalarUDF::new_from_impl(function).call(arguments))
    }

    /// The level under which the mask is to be announced, and whether it can be carried out at all.
    pub(crate) fn works(&self, data_type: &DataType, has_key: bool, has_subject: bool) -> bool {
        self.mask.fits(data_type) && (has_key || !self.mask.is_keyed()) && (has_subject || self.mask != Mask::ShiftDays)
    }
}

/// The levels that `masks.yaml` speaks of.
pub(crate) const MASKED_LEVELS: [Level; 2] = [Level::Generalised, Level::Pseudonym];
