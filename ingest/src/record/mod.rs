//! The quick way from a payload to columns: syntax and declared fields in one pass, straight into Arrow's builders.
//!
//! It takes *plain* records only: well-formed, every declared field of the declared type, no field twice in an object.
//! Whatever else there is goes the slow way ([`crate::decoder`]), which knows what is wrong with it. So the quick way
//! need not be able to tell, but it must take nothing that the slow way would refuse or read otherwise.
//!
//! Texts are not copied: they are views of the payloads, which stand side by side in their batch.
//!
//! Every column takes one value for each record, whatever becomes of the record: what a refused one leaves is dropped.

mod column;
mod members;

use arrow::array::{AsArray, BinaryArray, StructArray, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::Fields;
use arrow::error::ArrowError;

use self::members::Members;
use crate::formats::framing::json_body;
use crate::json::Scan;

/// Not a plain record.
struct NotPlain;

impl<E: std::error::Error> From<E> for NotPlain {
    fn from(_: E) -> Self {
        NotPlain
    }
}

/// Plain records of one topic, as they gather.
pub(crate) struct Records {
    members: Members,
    taken: Vec<u32>,
    read: u32,
}

/// A payload, and where it stands in the buffer of its batch.
#[derive(Clone, Copy)]
struct Payload<'a> {
    text: &'a str,
    at: usize,
}

impl Records {
    /// Nothing when a declared type is none of those that the quick way reads.
    pub(crate) fn new(fields: &Fields) -> Option<Self> {
        Some(Records { members: Members::new(fields)?, taken: Vec::new(), read: 0 })
    }

    /// How many records were read since the last that were finished.
    pub(crate) fn read(&self) -> usize {
        self.read as usize
    }

    /// Whether the payload in a row is a plain record, and then takes it. All rows until the next [`Records::finish`]
    /// are of the same array.
    pub(crate) fn take(&mut self, payloads: &BinaryArray, row: usize) -> bool {
        let payload = payloads.value(row);
        let body = json_body(payload);
        let (Ok(text), Ok(at)) = (std::str::from_utf8(body), usize::try_from(payloads.value_offsets()[row])) else {
            return false;
        };
        let at = at + payload.len() - body.len();
        let mut scan = Scan::new(text);
        if !matches!(scan.token(), Ok(b'{')) {
            return false;
        }
        if self.read == 0 {
            self.members.look_into(payloads.values());
        }
        let is_plain = self.members.read(Payload { text, at }, &mut scan, 1).is_ok() && scan.is_at_end();
        if is_plain {
            self.taken.push(self.read);
        }
        self.read += 1;
        is_plain
    }

    /// The records that were taken, in their order.
    pub(crate) fn finish(&mut self) -> Result<StructArray, ArrowError> {
        let columns = self.members.finish()?;
        let records = StructArray::try_new(self.members.fields.clone(), columns, None)?;
        let (taken, read) = (std::mem::take(&mut self.taken), std::mem::take(&mut self.read));
        if taken.len() == read as usize {
            return Ok(records);
        }
        Ok(take(&records, &UInt32Array::from(taken), None)?.as_struct().clone())
    }
}

/// What stands between quotation marks, escapes as they are, and where it begins.
struct Text<'a> {
    text: &'a str,
    at: usize,
    escaped: bool,
}

fn string<'a>(text: &'a str, scan: &mut Scan<'_>) -> Result<Text<'a>, NotPlain> {
    let at = scan.at() + 1;
    let escaped = scan.string()?;
    Ok(Text { text: text.get(at..scan.at() - 1).ok_or(NotPlain)?, at, escaped })
}

fn number<'a>(text: &'a str, scan: &mut Scan<'_>) -> Result<&'a str, NotPlain> {
    let start = scan.at();
    scan.number()?;
    text.get(start..scan.at()).ok_or(NotPlain)
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, RecordBatch};
    use arrow::datatypes::{DataType, Field, Schema};
    use arrow::json::ReaderBuilder;
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    use std::sync::Arc;

    use super::*;
    use crate::json::MAX_DEPTH;

    fn fields() -> Fields {
        let leaf = |name: &str, data_type| Field::new(name, data_type, true);
        let leaves = || {
            Fields::from(vec![
                leaf("text", DataType::Utf8View),
                leaf("float", DataType::Float64),
                leaf("integer", DataType::Int64),
                leaf("flag", DataType::Boolean),
            ])
        };
        let list = |item: DataType| DataType::List(Arc::new(Field::new("element", item, true)));
        let object = Fields::from(vec![
            leaf("inner", DataType::Struct(leaves())),
            leaf("list", list(DataType::Struct(leaves()))),
            leaf("lists", list(list(DataType::Utf8View))),
        ]);
        leaves().iter().cloned().chain(object.iter().cloned()).collect()
    }

    /// A value for the type, now and then NULL, seldom of another type.
    fn value(data_type: &DataType) -> BoxedStrategy<Value> {
        let fitting: BoxedStrategy<Value> = match data_type {
            DataType::Utf8View => "[ -~é漢\\n\"\\\\]{0,12}".prop_map(Value::from).boxed(),
            DataType::Float64 => {
                prop_oneof![any::<i32>().prop_map(Value::from), any::<f64>().prop_map(|n| json!(n))].boxed()
            }
            DataType::Int64 => any::<i64>().prop_map(Value::from).boxed(),
            DataType::Boolean => any::<bool>().prop_map(Value::from).boxed(),
            DataType::Struct(fields) => object(fields).boxed(),
            DataType::List(item) => prop::collection::vec(value(item.data_type()), 0..4).prop_map(Value::from).boxed(),
            other => unreachable!("{other}"),
        };
        let unfit =
            prop_oneof![Just(json!("1.5")), Just(json!(1.5)), Just(json!([])), Just(json!({})), Just(json!(true))];
        prop_oneof![20 => fitting, 3 => Just(Value::Null), 1 => unfit].boxed()
    }

    /// Some of the fields in any order, and some that nobody declared.
    fn object(fields: &Fields) -> impl Strategy<Value = Value> + use<> {
        let members: Vec<_> = fields
            .iter()
            .map(|field| (Just(field.name().clone()), prop::option::weighted(0.8, value(field.data_type()))))
            .collect();
        let other = prop::option::of((
            Just("other".to_owned()),
            prop_oneof![Just(json!([{"a": [1, {}]}, "x"])), Just(json!(null))],
        ));
        (members, other).prop_map(|(members, other)| {
            let members = members.into_iter().filter_map(|(name, value)| Some((name, value?)));
            Value::Object(members.chain(other).collect::<Map<String, Value>>())
        })
    }

    fn slow(fields: &Fields, payloads: &[&[u8]]) -> Option<RecordBatch> {
        let schema = Arc::new(Schema::new(fields.clone()));
        let mut decoder = ReaderBuilder::new(schema).with_batch_size(payloads.len()).build_decoder().unwrap();
        for payload in payloads {
            decoder.decode(payload).ok()?;
        }
        decoder.flush().ok().flatten()
    }

    proptest! {
        #[test]
        fn what_is_taken_is_read_as_the_slow_way_reads_it(
            records in prop::collection::vec((object(&fields()), any::<bool>(), any::<prop::sample::Index>()), 1..20)
        ) {
            let mut quick = Records::new(&fields()).unwrap();
            let payloads: Vec<Vec<u8>> = records
                .into_iter()
                .map(|(value, whole, cut)| {
                    let text = value.to_string();
                    // One in two loses its end.
                    if whole { text.into_bytes() } else { text.as_bytes()[..cut.index(text.len())].to_vec() }
                })
                .collect();
            for round in 0..2 {
                // Payloads of a batch seldom begin at the buffer's beginning.
                let all = BinaryArray::from_iter_values([vec![b'x'; 7]].iter().chain(&payloads)).slice(1, payloads.len());
                let taken: Vec<&[u8]> = (0..all.len()).filter(|row| quick.take(&all, *row)).map(|row| all.value(row)).collect();
                let ours = quick.finish().unwrap();
                prop_assert_eq!(ours.len(), taken.len());
                if !taken.is_empty() {
                    let theirs = slow(&fields(), &taken);
                    prop_assert!(theirs.is_some(), "round {}: the slow way refuses what the quick one took", round);
                    prop_assert_eq!(RecordBatch::from(ours), theirs.unwrap());
                }
            }
        }
    }

    #[test]
    fn what_the_slow_way_must_judge_is_left_to_it() {
        let mut records = Records::new(&fields()).unwrap();
        let mut take = |payload: &[u8]| {
            let taken = records.take(&BinaryArray::from_iter_values([payload]), 0);
            (taken, records.finish().unwrap().len())
        };
        for payload in [
            "",
            "[]",
            "{\"text\":\"a\"}{}",
            "{\"text\":\"a\",}",
            "{\"text\":\"a\",\"text\":\"b\"}",
            "{\"te\\u0078t\":\"a\"}",
            "{\"integer\":1.5}",
            "{\"integer\":1e2}",
            "{\"integer\":9223372036854775808}",
            "{\"float\":1e999}",
            "{\"float\":\"1\"}",
            "{\"float\":01}",
            "{\"flag\":truee}",
            "{\"inner\":[]}",
            "{\"list\":[{\"text\":1}]}",
            "{\"other\":[1 2]}",
            "{\"text\":\"\\ud800\"}",
        ] {
            assert_eq!(take(payload.as_bytes()), (false, 0), "{payload}");
        }
        assert_eq!(take(b"{\"text\":\"\xff\"}"), (false, 0));
        let deep = format!("{{\"other\":{}{}}}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH));
        assert_eq!(take(deep.as_bytes()), (false, 0));
        let deepest = format!(" {{ \"other\" : {}{} }}\n", "[".repeat(MAX_DEPTH - 1), "]".repeat(MAX_DEPTH - 1));
        assert_eq!(take(deepest.as_bytes()), (true, 1));
    }
}
