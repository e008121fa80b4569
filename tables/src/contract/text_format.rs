//! Texts of a payload that stand for something else: what a contract says of them by `logicalTypeOptions: {format: …}`.
//!
//! Such a field is read as the text that it is, and SELECTs do with it what they want. But a text that is there and is not
//! what the contract says is wrong as a whole message is that has a text for a number.

use arrow::datatypes::{DataType, Field};

use super::yaml::{Entries, Reader};

/// Where a field's format stands in its metadata.
const KEY: &str = "lakeward.format";

/// What a text of a payload has to be, if it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextFormat {
    /// What the function `fhir_date` reads: a FHIR date, or the day of a dateTime.
    FhirDate,
    /// What the function `fhir_instant` reads: a FHIR instant or dateTime, or a date.
    FhirInstant,
}

impl TextFormat {
    /// As a contract writes it: the name of the function that reads it.
    pub fn name(self) -> &'static str {
        match self {
            TextFormat::FhirDate => "fhir_date",
            TextFormat::FhirInstant => "fhir_instant",
        }
    }

    /// The format of a payload's field, where the contract has one for it.
    pub fn of(field: &Field) -> Option<Self> {
        field.metadata().get(KEY).and_then(|name| Self::named(name))
    }

    fn named(name: &str) -> Option<Self> {
        [TextFormat::FhirDate, TextFormat::FhirInstant].into_iter().find(|format| format.name() == name)
    }
}

/// A nullable field with its format.
pub(super) fn field(name: String, data_type: DataType, format: Option<TextFormat>) -> Field {
    let metadata = format.map(|format| (KEY.to_owned(), format.name().to_owned()));
    Field::new(name, data_type, true).with_metadata(metadata.into_iter().collect())
}

/// Whether a format is said of anything inside a nested type.
pub(super) fn is_inside(data_type: &DataType) -> bool {
    match data_type {
        DataType::Struct(fields) => {
            fields.iter().any(|field| TextFormat::of(field).is_some() || is_inside(field.data_type()))
        }
        DataType::List(item) => is_inside(item.data_type()),
        _ => false,
    }
}

/// The format of a property, if it says one.
pub(super) fn read(reader: &mut Reader<'_>, entries: &Entries<'_>, data_type: &DataType) -> Option<TextFormat> {
    let options = reader.map(entries.get("logicalTypeOptions")?, "logicalTypeOptions", &["format"]);
    let name = reader.required_text(&options, "format", "logicalTypeOptions")?;
    if *data_type != DataType::Utf8 {
        reader.note(options.line_of("format"), format!("format '{name}' belongs to a string"));
        return None;
    }
    let format = TextFormat::named(&name);
    if format.is_none() {
        reader
            .note(options.line_of("format"), format!("unknown format '{name}'; known are fhir_date and fhir_instant"));
    }
    format
}
