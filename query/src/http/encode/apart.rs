//! Columns of one name, told apart: a JSON object has one member of a name, and readers of CSV and Arrow go by it too.
//!
//! Every form gets the same names: the second `id` becomes `id_2`, or the next that no column has.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::arrow::error::ArrowError;

use super::{Encoder, Ending};
use crate::http::problem::Problem;

/// The schema with columns of different names, where it has not got them already.
pub(super) fn named_apart(schema: &SchemaRef) -> Option<SchemaRef> {
    let written: BTreeSet<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    if written.len() == schema.fields().len() {
        return None;
    }
    let mut taken: BTreeSet<String> = BTreeSet::new();
    let fields = schema.fields().iter().map(|field| {
        if taken.insert(field.name().clone()) {
            return field.as_ref().clone();
        }
        let free = (2..)
            .map(|number| format!("{}_{number}", field.name()))
            .find(|name| !written.contains(name.as_str()) && !taken.contains(name))
            .unwrap_or_default();
        taken.insert(free.clone());
        field.as_ref().clone().with_name(free)
    });
    let fields: Vec<_> = fields.collect();
    Some(Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone())))
}

/// An encoder that gets its rows under the names of another schema.
pub(super) struct Apart {
    pub(super) schema: SchemaRef,
    pub(super) encoder: Box<dyn Encoder>,
}

impl Encoder for Apart {
    fn begin(&mut self) -> Result<Bytes, ArrowError> {
        self.encoder.begin()
    }

    fn batch(&mut self, batch: &RecordBatch) -> Result<Bytes, ArrowError> {
        self.encoder.batch(&RecordBatch::try_new(Arc::clone(&self.schema), batch.columns().to_vec())?)
    }

    fn end(&mut self, truncated: bool) -> Result<Ending, ArrowError> {
        self.encoder.end(truncated)
    }

    fn fail(&mut self, problem: &Problem) -> Ending {
        self.encoder.fail(problem)
    }
}
