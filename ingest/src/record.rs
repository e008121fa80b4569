//! The quick way from a payload to columns: syntax and declared fields in one pass, straight into Arrow's builders.
//!
//! It takes *plain* records only: well-formed, every declared field of the declared type, no field twice in an object.
//! Whatever else there is goes the slow way ([`crate::decoder`]), which knows what is wrong with it. So the quick way
//! need not be able to tell, but it must take nothing that the slow way would refuse or read otherwise.
//!
//! Texts are not copied: they are views of the payloads, which stand side by side in their batch.
//!
//! Every column takes one value for each record, whatever becomes of the record: what a refused one leaves is dropped.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BinaryArray, BooleanBuilder, Float64Builder, Int64Builder, ListArray, NullBufferBuilder,
    StringViewBuilder, StructArray, UInt32Array,
};
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow::compute::take;
use arrow::datatypes::{DataType, FieldRef, Fields};
use arrow::error::ArrowError;

use crate::json::{MAX_DEPTH, Scan};

/// Not a plain record.
struct NotPlain;

impl<E: std::error::Error> From<E> for NotPlain {
    fn from(_: E) -> Self {
        NotPlain
    }
}

/// How many names of members are remembered of one kind of object.
const MOST_NAMES: usize = 64;

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
        let (Ok(text), Ok(at)) =
            (std::str::from_utf8(payloads.value(row)), usize::try_from(payloads.value_offsets()[row]))
        else {
            return false;
        };
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

/// The declared fields of an object.
struct Members {
    fields: Fields,
    columns: Vec<Column>,
    /// Names as they followed each other so far, declared or not: records of a topic have them in the same order.
    order: Vec<Member>,
}

/// The name of a member that was met.
struct Member {
    name: Box<str>,
    /// As it mostly stands in a payload: `"name":`.
    written: Box<[u8]>,
    /// Of its column, if it is declared.
    place: Option<usize>,
}

impl Member {
    fn new(name: &str, place: Option<usize>) -> Self {
        Member { name: name.into(), written: format!("\"{name}\":").into_bytes().into(), place }
    }
}

impl Members {
    fn new(fields: &Fields) -> Option<Self> {
        // So many bits has the set of those that were read.
        if fields.is_empty() || fields.len() > u64::BITS as usize {
            return None;
        }
        let columns = fields.iter().map(|field| Column::new(field.data_type())).collect::<Option<Vec<Column>>>()?;
        Some(Members { fields: fields.clone(), columns, order: Vec::new() })
    }

    /// Texts that are read from now on stand in this buffer.
    fn look_into(&mut self, buffer: &Buffer) {
        self.columns.iter_mut().for_each(|column| column.look_into(buffer));
    }

    /// From the opening brace on. Each column takes one value, also when it fails.
    fn read(&mut self, payload: Payload<'_>, scan: &mut Scan<'_>, depth: usize) -> Result<(), NotPlain> {
        let mut seen = 0_u64;
        let read = self.read_members(payload, scan, depth, &mut seen);
        for (place, column) in self.columns.iter_mut().enumerate() {
            if seen >> place & 1 == 0 {
                column.append_null();
            }
        }
        read
    }

    fn read_members(
        &mut self,
        payload: Payload<'_>,
        scan: &mut Scan<'_>,
        depth: usize,
        seen: &mut u64,
    ) -> Result<(), NotPlain> {
        if depth > MAX_DEPTH {
            return Err(NotPlain);
        }
        scan.step();
        if scan.token()? == b'}' {
            scan.step();
            return Ok(());
        }
        let mut expected = 0;
        loop {
            if scan.token()? != b'"' {
                return Err(NotPlain);
            }
            match self.next_place(payload.text, scan, &mut expected)? {
                None => scan.value(depth)?,
                Some(place) if *seen >> place & 1 == 1 => return Err(NotPlain),
                Some(place) => {
                    *seen |= 1 << place;
                    self.columns[place].read(payload, scan, depth)?;
                }
            }
            match scan.token()? {
                b',' => scan.step(),
                b'}' => {
                    scan.step();
                    return Ok(());
                }
                _ => return Err(NotPlain),
            }
        }
    }

    /// Goes past a member's name and its colon: the place of the column, if it is declared. `expected` is where in the
    /// remembered order it should stand.
    fn next_place(&mut self, text: &str, scan: &mut Scan<'_>, expected: &mut usize) -> Result<Option<usize>, NotPlain> {
        // The order is mostly the remembered one, with some left out.
        let ahead = self.order.get(*expected..).unwrap_or_default();
        if let Some(skipped) = ahead.iter().position(|member| scan.is_at(&member.written)) {
            let member = &ahead[skipped];
            scan.go(member.written.len());
            *expected += skipped + 1;
            return Ok(member.place);
        }
        let name = string(text, scan)?;
        if name.escaped || scan.token()? != b':' {
            return Err(NotPlain);
        }
        scan.step();
        Ok(self.place(name.text, expected))
    }

    fn place(&mut self, name: &str, expected: &mut usize) -> Option<usize> {
        if let Some(known) = self.order.iter().position(|member| *member.name == *name) {
            *expected = known + 1;
            return self.order[known].place;
        }
        let place = self.fields.iter().position(|field| field.name() == name);
        if self.order.len() < MOST_NAMES {
            self.order.insert(*expected, Member::new(name, place));
            *expected += 1;
        }
        place
    }

    fn append_null(&mut self) {
        self.columns.iter_mut().for_each(Column::append_null);
    }

    fn finish(&mut self) -> Result<Vec<ArrayRef>, ArrowError> {
        self.columns.iter_mut().map(Column::finish).collect()
    }
}

/// The values of one declared field.
enum Column {
    Text(StringViewBuilder),
    Float(Float64Builder),
    Integer(Int64Builder),
    Flag(BooleanBuilder),
    Object { members: Members, valid: NullBufferBuilder },
    List { field: FieldRef, item: Box<Column>, offsets: Vec<i32>, valid: NullBufferBuilder },
}

impl Column {
    fn new(data_type: &DataType) -> Option<Self> {
        Some(match data_type {
            DataType::Utf8View => Column::Text(StringViewBuilder::new()),
            DataType::Float64 => Column::Float(Float64Builder::new()),
            DataType::Int64 => Column::Integer(Int64Builder::new()),
            DataType::Boolean => Column::Flag(BooleanBuilder::new()),
            DataType::Struct(fields) => {
                Column::Object { members: Members::new(fields)?, valid: NullBufferBuilder::new(0) }
            }
            DataType::List(field) => Column::List {
                field: Arc::clone(field),
                item: Box::new(Column::new(field.data_type())?),
                offsets: vec![0],
                valid: NullBufferBuilder::new(0),
            },
            _ => return None,
        })
    }

    fn look_into(&mut self, buffer: &Buffer) {
        match self {
            Column::Text(builder) => drop(builder.append_block(buffer.clone())),
            Column::Object { members, .. } => members.look_into(buffer),
            Column::List { item, .. } => item.look_into(buffer),
            Column::Float(_) | Column::Integer(_) | Column::Flag(_) => {}
        }
    }

    /// Takes the value that comes next, around which so many levels are open. Takes one, also when it fails.
    fn read(&mut self, payload: Payload<'_>, scan: &mut Scan<'_>, depth: usize) -> Result<(), NotPlain> {
        let token = scan.token();
        match (self, token) {
            (Column::Object { members, valid }, Ok(b'{')) => {
                valid.append_non_null();
                members.read(payload, scan, depth + 1)
            }
            (Column::List { item, offsets, valid, .. }, Ok(b'[')) => {
                let mut count = 0;
                let read = read_items(item, payload, scan, depth + 1, &mut count);
                offsets.push(offsets.last().copied().unwrap_or_default() + count);
                valid.append_non_null();
                read
            }
            (column, Ok(token)) => {
                let read = column.read_scalar(token, payload, scan);
                if !matches!(read, Ok(Scalar::Taken)) {
                    column.append_null();
                }
                read.map(drop)
            }
            (column, Err(_)) => {
                column.append_null();
                Err(NotPlain)
            }
        }
    }

    fn read_scalar(&mut self, token: u8, payload: Payload<'_>, scan: &mut Scan<'_>) -> Result<Scalar, NotPlain> {
        match (self, token) {
            (_, b'n') => {
                scan.literal(b"null")?;
                return Ok(Scalar::Null);
            }
            (Column::Text(builder), b'"') => match string(payload.text, scan)? {
                Text { text, escaped: true, .. } => {
                    builder.append_value(serde_json::from_str::<String>(&format!("\"{text}\""))?);
                }
                Text { text, at, .. } => {
                    builder.try_append_view(0, u32::try_from(payload.at + at)?, u32::try_from(text.len())?)?;
                }
            },
            (Column::Float(builder), b'-' | b'0'..=b'9') => {
                let number: f64 = number(payload.text, scan)?.parse()?;
                if number.is_infinite() {
                    return Err(NotPlain);
                }
                builder.append_value(number);
            }
            // A fraction or an exponent does not parse.
            (Column::Integer(builder), b'-' | b'0'..=b'9') => {
                builder.append_value(number(payload.text, scan)?.parse()?)
            }
            (Column::Flag(builder), b't') => {
                scan.literal(b"true")?;
                builder.append_value(true);
            }
            (Column::Flag(builder), b'f') => {
                scan.literal(b"false")?;
                builder.append_value(false);
            }
            _ => return Err(NotPlain),
        }
        Ok(Scalar::Taken)
    }

    fn append_null(&mut self) {
        match self {
            Column::Text(builder) => builder.append_null(),
            Column::Float(builder) => builder.append_null(),
            Column::Integer(builder) => builder.append_null(),
            Column::Flag(builder) => builder.append_null(),
            Column::Object { members, valid } => {
                members.append_null();
                valid.append_null();
            }
            Column::List { offsets, valid, .. } => {
                offsets.push(offsets.last().copied().unwrap_or_default());
                valid.append_null();
            }
        }
    }

    fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        Ok(match self {
            Column::Text(builder) => Arc::new(builder.finish()),
            Column::Float(builder) => Arc::new(builder.finish()),
            Column::Integer(builder) => Arc::new(builder.finish()),
            Column::Flag(builder) => Arc::new(builder.finish()),
            Column::Object { members, valid } => {
                let columns = members.finish()?;
                Arc::new(StructArray::try_new(members.fields.clone(), columns, valid.finish())?)
            }
            Column::List { field, item, offsets, valid } => {
                let ends = OffsetBuffer::new(ScalarBuffer::from(std::mem::replace(offsets, vec![0])));
                Arc::new(ListArray::try_new(Arc::clone(field), ends, item.finish()?, valid.finish())?)
            }
        })
    }
}

/// What became of a value that is neither object nor list.
enum Scalar {
    Taken,
    Null,
}

/// The items of a list, from the opening bracket on; `count` of them were taken.
fn read_items(
    item: &mut Column,
    payload: Payload<'_>,
    scan: &mut Scan<'_>,
    depth: usize,
    count: &mut i32,
) -> Result<(), NotPlain> {
    if depth > MAX_DEPTH {
        return Err(NotPlain);
    }
    scan.step();
    if scan.token()? == b']' {
        scan.step();
        return Ok(());
    }
    loop {
        *count += 1;
        item.read(payload, scan, depth)?;
        match scan.token()? {
            b',' => scan.step(),
            b']' => {
                scan.step();
                return Ok(());
            }
            _ => return Err(NotPlain),
        }
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
    use arrow::datatypes::{Field, Schema};
    use arrow::json::ReaderBuilder;
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    use super::*;

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
