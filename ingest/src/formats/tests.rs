//! Avro and Protobuf against JSON: the same columns; and what nobody should send.

use std::sync::Arc;

use arrow::array::{Array, AsArray, BinaryArray, RecordBatch, StructArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{Decimal128Type, Field, Fields, Int64Type, TimestampMicrosecondType};
use proptest::prelude::*;
use prost::Message;
use prost_reflect::{DynamicMessage, Value as Proto};
use tokio::runtime::Runtime;

use super::*;
use crate::registry::{Answer, Referred, RegisteredSchema, Registry};

const AVRO: &str = r#"{"type":"record","name":"R","namespace":"t","fields":[
    {"name":"id","type":"string"},
    {"name":"count","type":["null","long"],"default":null},
    {"name":"value","type":["null","double"],"default":null},
    {"name":"flag","type":["null","boolean"],"default":null},
    {"name":"amount","type":["null",{"type":"bytes","logicalType":"decimal","precision":14,"scale":2}],"default":null},
    {"name":"at","type":["null",{"type":"long","logicalType":"timestamp-millis"}],"default":null},
    {"name":"items","type":["null",{"type":"array","items":{"type":"record","name":"Item","fields":[
        {"name":"code","type":["null","string"],"default":null},
        {"name":"n","type":["null","long"],"default":null}]}}],"default":null}]}"#;

const PROTO: &str = r#"syntax = "proto3"; package t; import "google/protobuf/timestamp.proto";
    message R {
      string id = 1; optional int64 count = 2; optional double value = 3; optional bool flag = 4;
      optional int64 amount = 5; google.protobuf.Timestamp at = 6; repeated Item items = 7;
    }
    message Item { optional string code = 1; optional int64 n = 2; }"#;

const ID: u32 = 41;

fn declared() -> Fields {
    let leaf = |name: &str, data_type| Field::new(name, data_type, true);
    let item = DataType::Struct(vec![leaf("code", DataType::Utf8), leaf("n", DataType::Int64)].into());
    let micros = DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, Some("UTC".into()));
    Fields::from(vec![
        leaf("id", DataType::Utf8),
        leaf("count", DataType::Int64),
        leaf("value", DataType::Float64),
        leaf("flag", DataType::Boolean),
        leaf("amount", DataType::Decimal128(14, 2)),
        leaf("at", micros),
        leaf("items", DataType::List(Arc::new(Field::new("element", item, true)))),
    ])
}

fn registered(kind: SchemaKind, text: &str) -> Answer {
    Answer::Schema(Arc::new(RegisteredSchema { kind, text: text.to_owned(), references: Vec::new() }))
}

fn schemas(answers: impl IntoIterator<Item = (u32, Answer)>) -> Schemas {
    Schemas::at_once(Some(Registry::saying(answers)))
}

fn avro(answers: impl IntoIterator<Item = (u32, Answer)>) -> TopicDecoder {
    TopicDecoder::Avro(AvroDecoder::new(&declared(), AVRO, schemas(answers)).unwrap())
}

fn protobuf(answers: impl IntoIterator<Item = (u32, Answer)>) -> TopicDecoder {
    TopicDecoder::Protobuf(ProtobufDecoder::new(&declared(), PROTO, schemas(answers)).unwrap())
}

/// Decoded rows in the order of the payloads, and the reason of each that is a fault.
fn decode(decoder: &mut TopicDecoder, payloads: &[Vec<u8>]) -> (Vec<usize>, StructArray, Vec<(usize, String)>) {
    let array = BinaryArray::from_iter_values(payloads);
    let rows: Vec<usize> = (0..payloads.len()).collect();
    let decoded = Runtime::new().unwrap().block_on(decoder.decode(&array, &rows)).unwrap();
    let mut chunks = decoded.chunks;
    chunks.sort_by_key(|chunk| chunk.rows[0]);
    let batches: Vec<RecordBatch> = chunks.iter().map(|chunk| RecordBatch::from(chunk.payload.clone())).collect();
    let schema = match batches.first() {
        Some(batch) => batch.schema(),
        None => Arc::new(arrow::datatypes::Schema::empty()),
    };
    let batch = concat_batches(&schema, &batches).unwrap();
    let rows: Vec<usize> = chunks.into_iter().flat_map(|chunk| chunk.rows).collect();
    let faults: Vec<(usize, String)> = decoded.faults.into_iter().map(|fault| (fault.row, fault.reason)).collect();
    assert_eq!(rows.len() + faults.len(), payloads.len());
    (rows, batch.into(), faults)
}

fn reasons(decoder: &mut TopicDecoder, payload: Vec<u8>) -> String {
    let (_, _, faults) = decode(decoder, &[payload]);
    faults.into_iter().map(|(_, reason)| reason).next().unwrap_or_default()
}

/// Records as JSON that all three formats can hold.
fn record() -> impl Strategy<Value = serde_json::Value> {
    let optional = |name: &'static str, value: BoxedStrategy<serde_json::Value>| {
        prop::option::weighted(0.8, value).prop_map(move |value| value.map(|value| (name.to_owned(), value)))
    };
    let text = "[ -~é漢]{0,20}".prop_map(serde_json::Value::from).boxed();
    let item = (optional("code", text.clone()), optional("n", any::<i64>().prop_map(Into::into).boxed()))
        .prop_map(|(code, n)| serde_json::Value::Object([code, n].into_iter().flatten().collect()));
    (
        text.prop_map(|id| Some(("id".to_owned(), id))),
        optional("count", any::<i64>().prop_map(Into::into).boxed()),
        optional("value", any::<i32>().prop_map(|n| (f64::from(n) / 8.0).into()).boxed()),
        optional("flag", any::<bool>().prop_map(Into::into).boxed()),
        optional("amount", (-1_000_000_i64..1_000_000).prop_map(Into::into).boxed()),
        optional("at", (0_i64..4_000_000_000).prop_map(instant).boxed()),
        prop::collection::vec(item, 1..4).prop_map(|items| Some(("items".to_owned(), items.into()))),
    )
        .prop_map(|(a, b, c, d, e, f, g)| {
            serde_json::Value::Object([a, b, c, d, e, f, g].into_iter().flatten().collect())
        })
}

fn instant(seconds: i64) -> serde_json::Value {
    chrono::DateTime::from_timestamp(seconds, 0).unwrap().to_rfc3339_opts(chrono::SecondsFormat::Secs, true).into()
}

fn encoder(kind: SchemaKind) -> PayloadEncoder {
    let text = if kind == SchemaKind::Avro { AVRO } else { PROTO };
    PayloadEncoder::under(ID, kind, text).unwrap()
}

fn both() -> [(SchemaKind, TopicDecoder); 2] {
    [
        (SchemaKind::Avro, avro([(ID, registered(SchemaKind::Avro, AVRO))])),
        (SchemaKind::Protobuf, protobuf([(ID, registered(SchemaKind::Protobuf, PROTO))])),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn columns_are_those_of_the_same_records_in_json(records in prop::collection::vec(record(), 1..20)) {
        let plain: Vec<Vec<u8>> = records.iter().map(|record| record.to_string().into_bytes()).collect();
        let mut json = TopicDecoder::Json(PayloadDecoder::new(&declared()).unwrap());
        let (rows, expected, faults) = decode(&mut json, &plain);
        prop_assert!(faults.is_empty(), "{:?}", faults);
        for (kind, mut decoder) in both() {
            let mut encoder = encoder(kind);
            let payloads: Vec<Vec<u8>> = plain.iter().map(|record| encoder.encode(record).unwrap()).collect();
            let (met_rows, met, faults) = decode(&mut decoder, &payloads);
            prop_assert!(faults.is_empty(), "{:?}", faults);
            prop_assert_eq!(&met_rows, &rows);
            prop_assert_eq!(&met, &expected, "{}", kind.name());
        }
    }

    #[test]
    fn random_bytes_harm_neither_the_decoder_nor_their_neighbours(
        body in prop::collection::vec(any::<u8>(), 0..200),
        framed in any::<bool>(),
    ) {
        let payload = if framed { framing::join(ID, &body) } else { body };
        for (kind, mut decoder) in both() {
            let good = encoder(kind).encode(br#"{"id":"good"}"#).unwrap();
            let (rows, records, faults) = decode(&mut decoder, &[good.clone(), payload.clone(), good]);
            prop_assert!(rows.contains(&0) && rows.contains(&2), "{:?}", faults);
            let ids = records.column(0).as_string_view();
            prop_assert_eq!((ids.value(0), ids.value(records.len() - 1)), ("good", "good"));
        }
    }

    #[test]
    fn whatever_is_between_them_good_avro_records_land_and_bad_ones_do_not(
        kinds in prop::collection::vec((0_u8..6, any::<prop::sample::Index>()), 1..60),
    ) {
        let mut encoder = encoder(SchemaKind::Avro);
        let payloads: Vec<Vec<u8>> = kinds.iter().enumerate().map(|(n, (kind, cut))| {
            let record = format!(r#"{{"id":"r{n}","count":{n},"items":[{{"code":"c"}}]}}"#);
            let mut payload = encoder.encode(record.as_bytes()).unwrap();
            match kind {
                // Cut off, a negative length, more behind it, another message behind it, the header alone.
                0 => payload.truncate(5 + cut.index(payload.len() - 5)),
                1 => payload[5] = 1,
                2 => payload.push(0),
                3 => payload.extend(payload.clone()),
                _ => {}
            }
            payload
        }).collect();
        let mut decoder = avro([(ID, registered(SchemaKind::Avro, AVRO))]);
        // Twice: what a batch leaves must not reach the next one.
        for _ in 0..2 {
            let (rows, records, _) = decode(&mut decoder, &payloads);
            let good: Vec<usize> = (0..kinds.len()).filter(|row| kinds[*row].0 > 3).collect();
            prop_assert_eq!(&rows, &good);
            for (place, row) in rows.iter().enumerate() {
                prop_assert_eq!(records.column(0).as_string_view().value(place), format!("r{row}"));
                prop_assert_eq!(records.column(1).as_primitive::<Int64Type>().value(place), *row as i64);
                prop_assert_eq!(records.column(6).as_list::<i32>().value(place).len(), 1);
            }
        }
    }

    #[test]
    fn what_is_cut_off_gives_no_row_in_avro_and_none_with_more_or_other_fields_in_protobuf(
        record in record(), cut in any::<prop::sample::Index>(),
    ) {
        for (kind, mut decoder) in both() {
            let whole = encoder(kind).encode(record.to_string().as_bytes()).unwrap();
            let part = whole[..cut.index(whole.len())].to_vec();
            let (rows, records, faults) = decode(&mut decoder, &[part, whole]);
            if kind == SchemaKind::Avro {
                prop_assert_eq!(&rows, &[1]);
                prop_assert!(faults[0].1.starts_with("avro.") || faults[0].1.starts_with("framing."), "{:?}", faults);
            } else if rows.len() == 2 {
                // Cut between two fields: what is left is what stood there. Without presence the id is its default.
                for column in records.columns().iter().skip(1).take(5) {
                    prop_assert!(column.is_null(0) || column.slice(0, 1) == column.slice(1, 1));
                }
            }
        }
    }

    #[test]
    fn what_stands_behind_a_body_gives_no_row(record in record(), more in prop::collection::vec(any::<u8>(), 1..20)) {
        let mut decoder = avro([(ID, registered(SchemaKind::Avro, AVRO))]);
        let mut payload = encoder(SchemaKind::Avro).encode(record.to_string().as_bytes()).unwrap();
        // A second message is more than one too.
        let twice = [payload.clone(), payload.clone()].concat();
        payload.extend(more);
        let (rows, _, faults) = decode(&mut decoder, &[payload, twice]);
        prop_assert!(rows.is_empty());
        prop_assert!(faults.iter().all(|(_, reason)| reason.starts_with("avro.trailing")), "{:?}", faults);
    }
}

#[test]
fn a_bad_one_among_many_costs_only_itself() {
    for (kind, mut decoder) in both() {
        let mut encoder = encoder(kind);
        let mut payloads: Vec<Vec<u8>> =
            (0..5_000).map(|n| encoder.encode(format!(r#"{{"id":"{n}","count":{n}}}"#).as_bytes()).unwrap()).collect();
        for bad in [0, 17, 4_095, 4_096, 4_999] {
            let length = payloads[bad].len();
            payloads[bad].truncate(length - 1);
        }
        // A text that is no UTF-8 is found when columns are made.
        let at = payloads[1_000].iter().position(|byte| *byte == b'1').unwrap();
        payloads[1_000][at] = 0xff;
        let (rows, records, faults) = decode(&mut decoder, &payloads);
        let bad: Vec<usize> = faults.iter().map(|(row, _)| *row).collect();
        assert_eq!(bad, [0, 17, 1_000, 4_095, 4_096, 4_999], "{faults:?}");
        for (place, row) in rows.iter().enumerate() {
            assert_eq!(records.column(0).as_string_view().value(place), row.to_string());
            assert_eq!(records.column(1).as_primitive::<Int64Type>().value(place), *row as i64);
        }
    }
}

#[test]
fn a_writer_ahead_of_the_reader_and_one_behind_it_resolve() {
    // A field more with a default, one less, and int where the reader has long; and an other order.
    let newer = r#"{"type":"record","name":"R","namespace":"t","fields":[
        {"name":"channel","type":"string","default":"desk"},
        {"name":"count","type":"int"},
        {"name":"id","type":"string"},
        {"name":"value","type":["null","float"],"default":null}]}"#;
    let mut writer = PayloadEncoder::under(42, SchemaKind::Avro, newer).unwrap();
    let payload = writer.encode(br#"{"channel":"web","count":7,"id":"a","value":0.5}"#).unwrap();
    let mut decoder = avro([(ID, registered(SchemaKind::Avro, AVRO)), (42, registered(SchemaKind::Avro, newer))]);
    let old = encoder(SchemaKind::Avro).encode(br#"{"id":"b","count":8,"flag":true}"#).unwrap();
    let (rows, records, faults) = decode(&mut decoder, &[payload.clone(), old, payload]);
    assert!(faults.is_empty(), "{faults:?}");
    let of = |row: usize| rows.iter().position(|met| *met == row).unwrap();
    let counts = records.column(1).as_primitive::<Int64Type>();
    assert_eq!([0, 1, 2].map(|row| counts.value(of(row))), [7, 8, 7]);
    assert_eq!(records.column(0).as_string_view().value(of(2)), "a");
    assert!(records.column(3).is_null(of(0)) && records.column(3).is_valid(of(1)));

    let newer = r#"syntax = "proto3"; package t;
        message Other { string x = 1; }
        message R { string identity = 1; optional int32 count = 2; string channel = 9; }"#;
    let file = protobuf_schema::compile(newer, &[]).unwrap();
    let mut message = DynamicMessage::new(protobuf_schema::message(&file, &[1]).unwrap());
    message.set_field_by_name("identity", Proto::String("a".into()));
    message.set_field_by_name("count", Proto::I32(7));
    message.set_field_by_name("channel", Proto::String("web".into()));
    // The second message of the file.
    let body = [vec![2, 2], message.encode_to_vec()].concat();
    let mut decoder =
        protobuf([(ID, registered(SchemaKind::Protobuf, PROTO)), (42, registered(SchemaKind::Protobuf, newer))]);
    let (_, records, faults) = decode(&mut decoder, &[framing::join(42, &body)]);
    assert!(faults.is_empty(), "{faults:?}");
    assert_eq!(records.column(0).as_string_view().value(0), "a");
    assert_eq!(records.column(1).as_primitive::<Int64Type>().value(0), 7);
    assert!(records.column(2).is_null(0));
}

#[test]
fn a_list_that_the_writer_lacks_takes_the_readers_default() {
    let reader = r#"{"type":"record","name":"R","namespace":"t","fields":[
        {"name":"id","type":"string"},
        {"name":"items","type":{"type":"array","items":{"type":"record","name":"Item","fields":[
            {"name":"code","type":"string"}]}},"default":[]}]}"#;
    let writer = r#"{"type":"record","name":"R","namespace":"t","fields":[
        {"name":"more","type":"int"},{"name":"id","type":"string"}]}"#;
    let item = DataType::Struct(vec![Field::new("code", DataType::Utf8, true)].into());
    let declared = Fields::from(vec![
        Field::new("id", DataType::Utf8, true),
        Field::new("items", DataType::List(Arc::new(Field::new("element", item, true))), true),
    ]);
    let answers = [(ID, registered(SchemaKind::Avro, writer)), (42, registered(SchemaKind::Avro, reader))];
    let mut decoder = TopicDecoder::Avro(AvroDecoder::new(&declared, reader, schemas(answers)).unwrap());
    let lacking = PayloadEncoder::under(ID, SchemaKind::Avro, writer).unwrap().encode(br#"{"id":"a","more":1}"#);
    let having = PayloadEncoder::under(42, SchemaKind::Avro, reader)
        .unwrap()
        .encode(br#"{"id":"b","items":[{"code":"c"},{"code":"d"}]}"#);
    let (rows, records, faults) = decode(&mut decoder, &[lacking.unwrap(), having.unwrap()]);
    assert!(faults.is_empty(), "{faults:?}");
    let lengths: Vec<usize> =
        rows.iter().enumerate().map(|(at, _)| records.column(1).as_list::<i32>().value(at).len()).collect();
    assert_eq!((rows, lengths), (vec![0, 1], vec![0, 2]));
}

#[test]
fn a_type_of_another_subject_is_read_as_if_it_stood_in_the_schema() {
    let item = r#"{"type":"record","name":"Item","namespace":"t","fields":[
        {"name":"code","type":["null","string"]},{"name":"n","type":["null","long"]}]}"#;
    let text = r#"{"type":"record","name":"R","namespace":"t","fields":[
        {"name":"id","type":"string"},{"name":"items","type":["null",{"type":"array","items":"t.Item"}],"default":null}]}"#;
    let whole = RegisteredSchema {
        kind: SchemaKind::Avro,
        text: text.to_owned(),
        references: vec![Referred { name: "t.Item".into(), text: item.into() }],
    };
    let inlined = avro_schema::whole(&whole).unwrap();
    let mut writer = PayloadEncoder::under(42, SchemaKind::Avro, &inlined).unwrap();
    let payload = writer.encode(br#"{"id":"a","items":[{"code":"c","n":3}]}"#).unwrap();
    let (_, records, faults) = decode(&mut avro([(42, Answer::Schema(Arc::new(whole)))]), &[payload]);
    assert!(faults.is_empty(), "{faults:?}");
    let items = records.column(6).as_list::<i32>().value(0);
    assert_eq!(items.as_struct().column(1).as_primitive::<Int64Type>().value(0), 3);
}

#[test]
fn ids_and_schemas_that_cannot_be_used_are_told_and_nothing_else_is_harmed() {
    let other = r#"{"type":"record","name":"R","namespace":"t","fields":[{"name":"id","type":"long"}]}"#;
    let recursive = r#"{"type":"record","name":"R","namespace":"t","fields":[
        {"name":"id","type":"string"},{"name":"next","type":["null","R"],"default":null}]}"#;
    let mut decoder = avro([
        (1, Answer::Unknown),
        (2, Answer::Incomplete),
        (3, registered(SchemaKind::Protobuf, PROTO)),
        (4, registered(SchemaKind::Avro, "no schema")),
        (5, registered(SchemaKind::Avro, other)),
        (6, registered(SchemaKind::Avro, recursive)),
        (ID, registered(SchemaKind::Avro, AVRO)),
    ]);
    let good = encoder(SchemaKind::Avro).encode(br#"{"id":"good"}"#).unwrap();
    let mut payloads: Vec<Vec<u8>> = (1..=6).map(|id| framing::join(id, &good[5..])).collect();
    payloads.extend([b"{\"id\":\"json\"}".to_vec(), vec![], vec![0, 0], good]);
    let (rows, _, faults) = decode(&mut decoder, &payloads);
    assert_eq!(rows, [9]);
    let codes: Vec<&str> = faults.iter().map(|(_, reason)| reason.split(": ").next().unwrap()).collect();
    let unresolved = "schema.unresolved";
    let framing = "framing.missing";
    assert_eq!(
        codes,
        ["schema.unknown", unresolved, "schema.kind", unresolved, unresolved, unresolved, framing, framing, framing]
    );

    let misfit = PROTO.replace("optional int64 count", "optional string count");
    let mut decoder = protobuf([
        (1, Answer::Unknown),
        (3, registered(SchemaKind::Avro, AVRO)),
        (4, registered(SchemaKind::Protobuf, "no schema")),
        (5, registered(SchemaKind::Protobuf, &misfit)),
        (ID, registered(SchemaKind::Protobuf, PROTO)),
    ]);
    for (payload, code) in [
        (framing::join(1, &[0]), "schema.unknown"),
        (framing::join(3, &[0]), "schema.kind"),
        (framing::join(4, &[0]), "schema.unresolved"),
        (framing::join(5, &[0]), "schema.unresolved"),
        (framing::join(ID, &[]), "protobuf.index"),
        (framing::join(ID, &[2, 4]), "protobuf.index"),
        (framing::join(ID, &[4, 0, 0]), "protobuf.index"),
        (framing::join(ID, &[0, 0x0a, 5, b'x']), "protobuf.malformed"),
        (framing::join(ID, &[0, 0x0a, 1, 0xff]), "protobuf.malformed"),
        (framing::join(ID, &[0, 0x78, 1]), "protobuf.undeclared"),
    ] {
        let reason = reasons(&mut decoder, payload);
        assert!(reason.starts_with(code), "{code}: {reason}");
    }
}

#[test]
fn values_that_no_column_holds_are_told_by_path_and_never_by_themselves() {
    let text = AVRO.replace("\"precision\":14", "\"precision\":30");
    let mut writer = PayloadEncoder::under(43, SchemaKind::Avro, &text).unwrap();
    let mut decoder = avro([(43, registered(SchemaKind::Avro, &text)), (ID, registered(SchemaKind::Avro, AVRO))]);
    // One digit too many.
    let wide = writer.encode(br#"{"id":"a","amount":1234567890123.00}"#);
    let reason = reasons(&mut decoder, wide.unwrap());
    assert!(reason.starts_with("value.range: $.amount"), "{reason}");

    let late = |id: u32, schema: &str| {
        let schema = schema.replace(r#""logicalType":"timestamp-millis""#, r#""doc":"""#);
        let mut writer = PayloadEncoder::under(id, SchemaKind::Avro, &schema).unwrap();
        writer.encode(br#"{"id":"a","at":884541340800000}"#).unwrap()
    };
    let reason = reasons(&mut decoder, late(ID, AVRO));
    assert!(reason.starts_with("value.range: $.at is") && !reason.contains("8845"), "{reason}");

    for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let payload = encoder(SchemaKind::Avro).encode(br#"{"id":"a","value":1.5}"#).unwrap();
        let at = payload.windows(8).position(|bytes| bytes == 1.5_f64.to_le_bytes()).unwrap();
        let mut payload = payload;
        payload[at..at + 8].copy_from_slice(&number.to_le_bytes());
        let reason = reasons(&mut decoder, payload);
        assert!(reason.starts_with("value.not_finite: $.value"), "{reason}");

        let mut decoder = protobuf([(ID, registered(SchemaKind::Protobuf, PROTO))]);
        let body = [vec![0, 0x19], number.to_le_bytes().to_vec()].concat();
        let reason = reasons(&mut decoder, framing::join(ID, &body));
        assert!(reason.starts_with("value.not_finite: $.value"), "{reason}");
    }

    let proto = r#"syntax = "proto3"; package t; import "google/protobuf/timestamp.proto";
        message R { string id = 1; uint64 count = 2; int64 amount = 5; google.protobuf.Timestamp at = 6; }"#;
    let file = protobuf_schema::compile(proto, &[]).unwrap();
    let message = protobuf_schema::first(&file).unwrap();
    let told = |name: &str, value: Proto| {
        let mut record = DynamicMessage::new(message.clone());
        record.set_field_by_name(name, value);
        let body = [vec![0], record.encode_to_vec()].concat();
        reasons(&mut protobuf([(44, registered(SchemaKind::Protobuf, proto))]), framing::join(44, &body))
    };
    assert!(told("count", Proto::U64(u64::MAX)).starts_with("value.range: $.count"));
    assert!(told("amount", Proto::I64(1_000_000_000_000)).starts_with("value.range: $.amount"));
    assert_eq!(told("amount", Proto::I64(999_999_999_999)), "");
    let at = message.get_field_by_name("at").unwrap();
    let prost_reflect::Kind::Message(timestamp) = at.kind() else { panic!("no message") };
    let mut year_30000 = DynamicMessage::new(timestamp);
    year_30000.set_field_by_name("seconds", Proto::I64(884_541_340_800));
    assert!(told("at", Proto::Message(year_30000)).starts_with("value.range: $.at"));
}

#[test]
fn ten_megabytes_and_ten_thousand_levels_are_judged_and_leave_their_neighbours_alone() {
    let tree = r#"syntax = "proto3"; package t; message R { string id = 1; R next = 15; }"#;
    let mut decoder =
        protobuf([(ID, registered(SchemaKind::Protobuf, PROTO)), (45, registered(SchemaKind::Protobuf, tree))]);
    let mut encoder = encoder(SchemaKind::Protobuf);
    let large = encoder.encode(format!(r#"{{"id":"{}"}}"#, "x".repeat(10 << 20)).as_bytes()).unwrap();
    let good = encoder.encode(br#"{"id":"good"}"#).unwrap();
    let mut deep: Vec<u8> = Vec::new();
    for _ in 0..10_000 {
        let mut outer = vec![0x7a];
        prost::encoding::encode_varint(deep.len() as u64, &mut outer);
        outer.extend(&deep);
        deep = outer;
    }
    let deep = framing::join(45, &[vec![0], deep].concat());
    let (rows, _, faults) = decode(&mut decoder, &[good.clone(), large, deep, good]);
    assert_eq!(rows, [0, 1, 3]);
    assert!(faults[0].1.starts_with("protobuf.malformed"), "{faults:?}");

    let mut decoder = avro([(ID, registered(SchemaKind::Avro, AVRO))]);
    let mut encoder = self::encoder(SchemaKind::Avro);
    let large = encoder.encode(format!(r#"{{"id":"{}"}}"#, "x".repeat(10 << 20)).as_bytes()).unwrap();
    let good = encoder.encode(br#"{"id":"good"}"#).unwrap();
    let (rows, records, _) = decode(&mut decoder, &[good.clone(), large, good]);
    assert_eq!(rows, [0, 1, 2]);
    assert_eq!(records.column(0).as_string_view().value(1).len(), 10 << 20);
}

#[test]
fn json_behind_a_header_is_the_json() {
    let plain = br#"{"id":"a","count":7,"amount":12.5,"at":"2024-05-06T07:08:09Z"}"#.to_vec();
    let mut decoder = TopicDecoder::Json(PayloadDecoder::new(&declared()).unwrap());
    // The id's bytes are no UTF-8.
    let framed = framing::join(0xff_fe_fd_fc, &plain);
    let (rows, records, faults) = decode(&mut decoder, &[plain, framed, framing::join(1, b"{"), vec![0, 0, 0]]);
    assert_eq!(rows, [0, 1], "{faults:?}");
    assert_eq!(records.slice(0, 1), records.slice(1, 1));
    assert_eq!(records.column(4).as_primitive::<Decimal128Type>().value(1), 1250);
    assert_eq!(records.column(5).as_primitive::<TimestampMicrosecondType>().value(1), 1_714_979_289_000_000);
    // What is quick in JSON is quick behind a header.
    let quick = Fields::from(vec![Field::new("id", DataType::Utf8, true), Field::new("n", DataType::Int64, true)]);
    let mut decoder = TopicDecoder::Json(PayloadDecoder::new(&quick).unwrap());
    let (rows, records, _) = decode(&mut decoder, &[framing::join(0xff_fe_fd_fc, br#"{"id":"a longer text","n":1}"#)]);
    assert_eq!((rows, records.column(0).as_string_view().value(0)), (vec![0], "a longer text"));
}

#[test]
fn a_record_that_does_not_fit_its_schema_is_not_written_and_the_reason_quotes_nothing() {
    for (kind, record, why) in [
        (SchemaKind::Avro, r#"{"count":1}"#, "json.missing: $.id"),
        (SchemaKind::Avro, r#"{"id":"a","secret":1}"#, "json.undeclared: the schema has no field $.secret"),
        (SchemaKind::Avro, r#"{"id":"a","items":[{"secret":1}]}"#, "$.items[].secret"),
        (SchemaKind::Avro, r#"{"id":"a","count":"17"}"#, "json.type: $.count is a string"),
        (SchemaKind::Avro, r#"{"id":"a","amount":17}{}"#, "json.trailing"),
        (SchemaKind::Protobuf, r#"{"id":"a","count":"seventeen"}"#, "json.type"),
        (SchemaKind::Protobuf, r#"{"id":"a","unheard":1}"#, "json.type"),
        (SchemaKind::Protobuf, r#"{"id":"a"}{}"#, "json.type"),
    ] {
        let refused = encoder(kind).encode(record.as_bytes()).unwrap_err();
        assert!(
            refused.contains(why) && !refused.contains("17") && !refused.contains("seventeen"),
            "{record}: {refused}"
        );
    }
}
