//! The types of columns, in the terms of XDBC (ODBC and JDBC).

use arrow_flight::sql::metadata::{XdbcTypeInfo, XdbcTypeInfoDataBuilder};
use arrow_flight::sql::{CommandGetXdbcTypeInfo, Nullable, Searchable, XdbcDataType, XdbcDatetimeSubcode};
use datafusion::arrow::array::RecordBatch;

use crate::QueryError;

/// The type that is asked for; all of them if none is named.
pub(super) fn rows(command: CommandGetXdbcTypeInfo) -> Result<RecordBatch, QueryError> {
    let mut types = XdbcTypeInfoDataBuilder::new();
    all().into_iter().for_each(|info| types.append(info));
    let types = types.build().map_err(|_| QueryError::internal())?;
    command.into_builder(&types).build().map_err(|_| QueryError::internal())
}

fn all() -> Vec<XdbcTypeInfo> {
    let number = |name: &str, data_type, size| XdbcTypeInfo {
        unsigned_attribute: Some(false),
        num_prec_radix: Some(10),
        ..plain(name, data_type, Some(size))
    };
    let quoted = |info: XdbcTypeInfo, prefix: &str| XdbcTypeInfo {
        literal_prefix: Some(prefix.to_owned()),
        literal_suffix: Some("'".to_owned()),
        ..info
    };
    let instant = |name: &str, subcode| XdbcTypeInfo {
        sql_data_type: XdbcDataType::XdbcDatetime,
        datetime_subcode: Some(subcode),
        minimum_scale: Some(0),
        maximum_scale: Some(6),
        ..quoted(plain(name, XdbcDataType::XdbcTimestamp, Some(32)), "TIMESTAMP '")
    };
    vec![
        plain("boolean", XdbcDataType::XdbcBit, Some(1)),
        number("tinyint", XdbcDataType::XdbcTinyint, 3),
        number("smallint", XdbcDataType::XdbcSmallint, 5),
        number("integer", XdbcDataType::XdbcInteger, 10),
        number("bigint", XdbcDataType::XdbcBigint, 19),
        number("real", XdbcDataType::XdbcReal, 7),
        number("double", XdbcDataType::XdbcDouble, 15),
        XdbcTypeInfo {
            create_params: Some(vec!["precision".to_owned(), "scale".to_owned()]),
            minimum_scale: Some(0),
            maximum_scale: Some(38),
            ..number("decimal", XdbcDataType::XdbcDecimal, 38)
        },
        XdbcTypeInfo { case_sensitive: true, ..quoted(plain("string", XdbcDataType::XdbcVarchar, None), "'") },
        quoted(plain("binary", XdbcDataType::XdbcVarbinary, None), "X'"),
        XdbcTypeInfo {
            sql_data_type: XdbcDataType::XdbcDatetime,
            ..quoted(plain("date", XdbcDataType::XdbcDate, Some(10)), "DATE '")
        },
        instant("timestamp", XdbcDatetimeSubcode::XdbcSubcodeTimestamp),
        instant("timestamp with time zone", XdbcDatetimeSubcode::XdbcSubcodeTimestampWithTimezone),
    ]
}

fn plain(name: &str, data_type: XdbcDataType, column_size: Option<i32>) -> XdbcTypeInfo {
    XdbcTypeInfo {
        type_name: name.to_owned(),
        local_type_name: Some(name.to_owned()),
        data_type,
        sql_data_type: data_type,
        column_size,
        nullable: Nullable::NullabilityNullable,
        searchable: Searchable::Full,
        auto_increment: Some(false),
        ..XdbcTypeInfo::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(data_type: Option<i32>) -> usize {
        rows(CommandGetXdbcTypeInfo { data_type }).unwrap().num_rows()
    }

    #[test]
    fn all_types_or_one_can_be_asked() {
        assert_eq!(count(None), all().len());
        assert_eq!(count(Some(XdbcDataType::XdbcTimestamp as i32)), 2);
        assert_eq!(count(Some(XdbcDataType::XdbcBigint as i32)), 1);
        assert_eq!(count(Some(XdbcDataType::XdbcInterval as i32)), 0);
    }
}
