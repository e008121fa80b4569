//! One row of parameters: how a client binds it, and how it travels in a handle.

use arrow_flight::FlightData;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::ipc::reader::StreamReader;
use datafusion::arrow::ipc::writer::StreamWriter;
use datafusion::common::metadata::ScalarAndMetadata;
use datafusion::common::{ParamValues, ScalarValue};
use futures::{Stream, StreamExt, TryStreamExt};
use tonic::Status;

use super::status::malformed;
use crate::{ErrorCode, QueryError};

/// The most that one binding may hold.
const LARGEST: usize = 1 << 20;

/// The parameters as a client should send them: where the planner knows no type, a string.
pub(super) fn wanted(parameters: &SchemaRef) -> Schema {
    let fields: Vec<Field> = parameters
        .fields()
        .iter()
        .map(|field| match field.data_type() {
            DataType::Null => Field::new(field.name(), DataType::Utf8, true),
            known => Field::new(field.name(), known.clone(), true),
        })
        .collect();
    Schema::new(fields)
}

/// Reads the row that a client binds; `None` if it binds none. The bytes are an Arrow IPC stream.
pub(super) async fn bound<S>(messages: S) -> Result<Option<Vec<u8>>, QueryError>
where
    S: Stream<Item = Result<FlightData, Status>> + Send + 'static,
{
    let mut size = 0;
    let messages = messages.map_err(FlightError::from).map(move |message| {
        let message = message?;
        size += message.data_body.len() + message.data_header.len();
        if size > LARGEST { Err(FlightError::protocol("too large")) } else { Ok(message) }
    });
    let mut batches = FlightRecordBatchStream::new_from_flight_data(messages);
    let mut row = None;
    while let Some(batch) = batches.next().await {
        let batch = batch.map_err(|_| {
            QueryError::new(ErrorCode::InvalidRequest, "the parameters are not one Arrow batch of at most 1 MiB")
        })?;
        match (batch.num_rows(), &row) {
            (0, _) => {}
            (1, None) => row = Some(batch),
            _ => {
                let sentence = "a statement is run with one row of parameters at a time";
                return Err(QueryError::new(ErrorCode::InvalidRequest, sentence));
            }
        }
    }
    row.map(|row| to_bytes(&row)).transpose()
}

fn to_bytes(row: &RecordBatch) -> Result<Vec<u8>, QueryError> {
    let mut bytes = Vec::new();
    let write = |bytes: &mut Vec<u8>| {
        let mut writer = StreamWriter::try_new(bytes, row.schema_ref())?;
        writer.write(row)?;
        writer.finish()
    };
    write(&mut bytes).map_err(|_| malformed())?;
    Ok(bytes)
}

/// The values of a row that was bound.
pub(super) fn values(bytes: &[u8]) -> Result<ParamValues, QueryError> {
    let mut reader = StreamReader::try_new(bytes, None).map_err(|_| malformed())?;
    let row = reader.next().ok_or_else(malformed)?.map_err(|_| malformed())?;
    let values = row
        .columns()
        .iter()
        .map(|column| ScalarValue::try_from_array(column, 0).map(|value| ScalarAndMetadata::new(value, None)))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| malformed())?;
    Ok(ParamValues::List(values))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_flight::encode::FlightDataEncoderBuilder;
    use datafusion::arrow::array::{Int64Array, StringArray};

    use super::*;

    fn rows(values: &[i64]) -> RecordBatch {
        let names: StringArray = values.iter().map(|value| Some(format!("n{value}"))).collect();
        RecordBatch::try_from_iter([
            ("$1", Arc::new(Int64Array::from(values.to_vec())) as _),
            ("$2", Arc::new(names) as _),
        ])
        .unwrap()
    }

    async fn bind(batches: Vec<RecordBatch>) -> Result<Option<Vec<u8>>, QueryError> {
        let encoded = FlightDataEncoderBuilder::new().build(futures::stream::iter(batches.into_iter().map(Ok)));
        bound(encoded.map_err(|error| Status::internal(error.to_string()))).await
    }

    #[tokio::test]
    async fn a_bound_row_comes_back_as_values() {
        let bytes = bind(vec![rows(&[7])]).await.unwrap().unwrap();
        let ParamValues::List(values) = values(&bytes).unwrap() else { panic!("named values") };
        let values: Vec<ScalarValue> = values.into_iter().map(|value| value.value).collect();
        assert_eq!(values, [ScalarValue::Int64(Some(7)), ScalarValue::Utf8(Some("n7".to_owned()))]);
    }

    #[tokio::test]
    async fn nothing_bound_is_nothing() {
        assert_eq!(bind(vec![rows(&[])]).await, Ok(None));
    }

    #[tokio::test]
    async fn two_rows_are_refused() {
        assert!(bind(vec![rows(&[1, 2])]).await.is_err());
        assert!(bind(vec![rows(&[1]), rows(&[2])]).await.is_err());
    }

    #[tokio::test]
    async fn a_binding_has_a_largest_size() {
        let long = StringArray::from(vec!["x".repeat(LARGEST + 1)]);
        let batch = RecordBatch::try_from_iter([("$1", Arc::new(long) as _)]).unwrap();
        assert!(bind(vec![batch]).await.is_err());
    }

    #[test]
    fn a_parameter_of_unknown_type_is_asked_for_as_string() {
        let known = Arc::new(Schema::new(vec![
            Field::new("$1", DataType::Null, true),
            Field::new("$2", DataType::Date32, true),
        ]));
        let types: Vec<DataType> = wanted(&known).fields().iter().map(|field| field.data_type().clone()).collect();
        assert_eq!(types, [DataType::Utf8, DataType::Date32]);
    }
}
