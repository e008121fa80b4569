//! Logical types of contracts as Arrow types.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, TimeUnit};

/// Microseconds in UTC: the one timestamp type of all tables.
pub(crate) fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::from("UTC")))
}

/// A list whose element is called `element`, as Delta and Parquet have it.
pub(crate) fn list_of(element: DataType) -> DataType {
    DataType::List(Arc::new(Field::new("element", element, true)))
}

/// The Arrow type of a scalar `logicalType`, narrowed by `physicalType` where that is `decimal(p,s)`.
pub(crate) fn scalar_type(logical: &str, physical: Option<&str>) -> Result<DataType, String> {
    match logical {
        "string" => Ok(DataType::Utf8),
        "integer" => Ok(DataType::Int64),
        "number" => match physical.map(str::trim) {
            Some(physical) if physical.starts_with("decimal") => decimal(physical),
            _ => Ok(DataType::Float64),
        },
        "boolean" => Ok(DataType::Boolean),
        "date" => Ok(DataType::Date32),
        "timestamp" => Ok(timestamp()),
        "binary" => Ok(DataType::Binary),
        other => Err(format!(
            "unknown logicalType '{other}'; it is one of string, integer, number, boolean, date, timestamp, binary, object, array"
        )),
    }
}

fn decimal(physical: &str) -> Result<DataType, String> {
    let wrong = || {
        format!(
            "physicalType '{physical}' is not decimal(precision,scale) with 1 <= precision <= 38 and scale <= precision"
        )
    };
    let inner = physical.strip_prefix("decimal").map(str::trim);
    let inner = inner.and_then(|p| p.strip_prefix('(')?.strip_suffix(')')).ok_or_else(wrong)?;
    let (precision, scale) = inner.split_once(',').ok_or_else(wrong)?;
    let precision: u8 = precision.trim().parse().map_err(|_| wrong())?;
    let scale: i8 = scale.trim().parse().map_err(|_| wrong())?;
    if !(1..=38).contains(&precision) || scale < 0 || scale as u8 > precision {
        return Err(wrong());
    }
    Ok(DataType::Decimal128(precision, scale))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decimal_keeps_its_precision_and_a_wrong_one_is_refused() {
        assert_eq!(scalar_type("number", Some("decimal(12, 2)")).unwrap(), DataType::Decimal128(12, 2));
        assert_eq!(scalar_type("number", Some("double")).unwrap(), DataType::Float64);
        for wrong in ["decimal", "decimal(39,2)", "decimal(2,3)", "decimal(a,b)", "decimal(4,-1)"] {
            assert!(scalar_type("number", Some(wrong)).is_err(), "{wrong}");
        }
        assert!(scalar_type("text", None).unwrap_err().contains("unknown logicalType 'text'"));
    }
}
