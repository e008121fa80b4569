//! What `Lakehouse::load` accepts, and how it tells what is wrong.

use std::fs;

use arrow::datatypes::DataType;
use lakeward_tables::{Lakehouse, Mode, TableName, Tombstone};

use crate::clinic::{BUYERS, MOVES, RAW, RESULTS, SALES, write_events, write_sql};

fn problems(change: impl FnOnce(&std::path::Path)) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    write_sql(dir.path());
    change(dir.path());
    let problems = Lakehouse::load(dir.path()).err().unwrap_or_default();
    let prefix = format!("{}/", dir.path().display());
    problems.iter().map(|problem| problem.to_string().replace(&prefix, "")).collect()
}

fn replace(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "{from}");
    text.replace(from, to)
}

#[test]
fn a_good_folder_is_read_with_its_types_keys_and_tables() {
    let dir = tempfile::tempdir().unwrap();
    write_sql(dir.path());
    let lakehouse = Lakehouse::load(dir.path()).unwrap();
    let topic = &lakehouse.topics["shop.sale"];
    assert!(topic.key_required);
    assert_eq!(topic.required, ["id"]);
    let DataType::List(line) = topic.payload[1].data_type() else { panic!("{:?}", topic.payload) };
    let DataType::Struct(line) = line.data_type() else { panic!("{line}") };
    assert_eq!(line[0].data_type(), &DataType::Decimal128(10, 2));

    let buyers = lakehouse.table(&TableName::curated("buyers")).unwrap();
    assert_eq!((buyers.mode, buyers.tombstone), (Mode::Upsert, Tombstone::Delete));
    assert_eq!(buyers.primary_key, ["buyer_id"]);
    assert_eq!(buyers.quality[0].predicate, "visits >= 0");
    assert_eq!(lakehouse.fed_by("shop.sale").count(), 2);
    assert_eq!(lakehouse.reference["codes"].num_rows(), 1);

    let names: Vec<String> = lakehouse.governed_tables().iter().map(|t| t.name.to_string()).collect();
    assert_eq!(
        names,
        [
            "audit.alerts",
            "audit.events",
            "curated.buyers",
            "curated.sales",
            "raw.shop_sale",
            "raw.shop_sale__dead_letter"
        ]
    );
    let raw = &lakehouse.governed_tables()[5];
    let tags: Vec<String> = raw.columns.iter().map(|c| format!("{}:{}", c.name, c.tags.join("+"))).collect();
    assert!(tags.contains(&"payload:payload.raw".into()) && tags.contains(&"reason:reason".into()), "{tags:?}");
}

#[test]
fn every_problem_of_every_file_is_told_at_once_with_its_line() {
    let told = problems(|dir| {
        let raw = replace(RAW, "status: active", "status: active\nstatuz: x");
        fs::write(dir.join("contracts/raw/shop.sale.odcs.yaml"), raw).unwrap();
        let sales = replace(SALES, "{name: n, logicalType: integer", "{name: n, logicalType: int");
        let sales = replace(&sales, "buyer = attr('buyer')", "buyer = = 1");
        fs::write(dir.join("contracts/curated/sales.odcs.yaml"), sales).unwrap();
        let buyers = replace(BUYERS, "value: buyer_id}", "value: byer}");
        let buyers = replace(&buyers, "tags: [operational]", "tagz: [operational]");
        fs::write(dir.join("contracts/curated/buyers.odcs.yaml"), buyers).unwrap();
        fs::remove_file(dir.join("curated/buyers.sql")).unwrap();
        fs::write(dir.join("curated/orphan.sql"), "SELECT 1").unwrap();
    });
    let starts = [
        "contracts/curated/buyers.odcs.yaml:9: the SELECT curated/buyers.sql is missing",
        "contracts/curated/buyers.odcs.yaml:12: subject 'byer' is not a column",
        "contracts/curated/buyers.odcs.yaml:15: unknown key 'tagz' in a property",
        "contracts/curated/sales.odcs.yaml:12: scope 'own' is not an SQL expression",
        "contracts/curated/sales.odcs.yaml:14: 'n': unknown logicalType 'int'",
        "contracts/raw/shop.sale.odcs.yaml:6: unknown key 'statuz' in the contract",
        "curated/orphan.sql: no contract has a use for this SELECT",
    ];
    assert_eq!(told.len(), starts.len(), "{told:#?}");
    for (told, start) in told.iter().zip(starts) {
        assert!(told.starts_with(start), "{told}\nis not\n{start}");
    }
}

#[test]
fn topics_that_would_share_a_table_are_refused() {
    let told = problems(|dir| {
        let other = replace(RAW, "value: shop.sale}", "value: shop_sale}");
        fs::write(dir.join("contracts/raw/shop_sale.odcs.yaml"), other).unwrap();
    });
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(told[0].contains("topics 'shop.sale' and 'shop_sale' would share the table raw.shop_sale"), "{told:?}");
}

#[test]
fn an_upsert_table_needs_a_key_and_delete_needs_a_key_of_one_text() {
    let told = problems(|dir| {
        let buyers = replace(BUYERS, "primaryKey: true, primaryKeyPosition: 1, ", "");
        fs::write(dir.join("contracts/curated/buyers.odcs.yaml"), buyers).unwrap();
    });
    assert!(told.iter().any(|p| p.contains("buyers.odcs.yaml:13: a table of mode upsert")), "{told:#?}");
    assert!(told.iter().any(|p| p.contains("buyers.odcs.yaml:11: tombstone: delete needs")), "{told:#?}");
}

#[test]
fn what_is_said_of_corrections_and_duplicates_must_make_sense() {
    let told = problems(|dir| {
        write_events(dir);
        let results = replace(RESULTS, "value: [result_id]}", "value: [component]}");
        let results = replace(&results, "payload['id'] = 'removed'", "payload['id'] = = 1");
        let results = replace(&results, "30 days", "a while");
        fs::write(dir.join("contracts/curated/results.odcs.yaml"), results).unwrap();
        let moves = replace(MOVES, "key: [move_id], window: 1 hour}", "key: [nothing]}");
        fs::write(dir.join("contracts/curated/moves.odcs.yaml"), moves).unwrap();
        let sales = replace(SALES, "value: append}", "value: corrected}");
        let sales = replace(
            &sales,
            "{name: n, logicalType: integer,",
            "{name: n, logicalType: integer, required: true, primaryKey: true, primaryKeyPosition: 1,",
        );
        fs::write(dir.join("contracts/curated/sales.odcs.yaml"), sales).unwrap();
        let buyers = replace(
            BUYERS,
            "      - {property: mode, value: upsert}\n",
            "      - {property: mode, value: upsert}\n      - {property: correction, value: \"TRUE\"}\n      - {property: deduplicate, value: {key: [visits], window: 5 minutes}}\n",
        );
        fs::write(dir.join("contracts/curated/buyers.odcs.yaml"), buyers).unwrap();
    });
    let starts = [
        "contracts/curated/buyers.odcs.yaml:11: 'correction' is for tables of mode corrected",
        "contracts/curated/buyers.odcs.yaml:12: 'deduplicate' is for append tables",
        "contracts/curated/buyers.odcs.yaml:12: 'visits' is in the key of 'deduplicate' and must be required",
        "contracts/curated/moves.odcs.yaml:11: 'deduplicate' needs a window",
        "contracts/curated/moves.odcs.yaml:11: 'nothing' is not a column of the table",
        "contracts/curated/results.odcs.yaml:12: removed is not an SQL expression",
        "contracts/curated/results.odcs.yaml:13: 'replaces' must be the beginning of the primary key (result_id, component)",
        "contracts/curated/results.odcs.yaml:14: keepMarkers wants a number and a unit",
        "contracts/curated/sales.odcs.yaml:10: a table of mode corrected needs 'correction'",
    ];
    for start in starts {
        assert!(told.iter().any(|told| told.starts_with(start)), "{start}\nis not in\n{told:#?}");
    }
    assert_eq!(told.len(), starts.len(), "{told:#?}");
}

#[test]
fn the_engines_names_duplicate_columns_and_unknown_topics_are_refused() {
    let told = problems(|dir| {
        let sales = replace(
            SALES,
            "{name: buyer, logicalType: string, tags: [name]}",
            "{name: _lw_x, logicalType: string}\n      - {name: n, logicalType: string}",
        );
        let sales = replace(&sales, "value: shop.sale}", "value: shop.sales}");
        fs::write(dir.join("contracts/curated/sales.odcs.yaml"), sales).unwrap();
    });
    for expected in
        ["names that begin with _lw_", "column 'n' is declared twice", "no contract declares the topic 'shop.sales'"]
    {
        assert!(told.iter().any(|p| p.contains(expected)), "{expected}: {told:#?}");
    }
}

#[test]
fn no_two_columns_have_the_same_id_and_none_that_of_a_dropped_one() {
    let told = problems(|dir| {
        let sales = replace(SALES, "{name: buyer, logicalType", "{name: buyer, id: n, logicalType");
        let sales =
            replace(&sales, "    properties:", "      - {property: dropped, value: [n, price]}\n    properties:");
        fs::write(dir.join("contracts/curated/sales.odcs.yaml"), sales).unwrap();
    });
    assert_eq!(told.len(), 2, "{told:#?}");
    assert!(told[0].contains("sales.odcs.yaml:13: 'n' is listed as dropped, and column 'n' has that id"), "{told:#?}");
    assert!(told[1].contains("sales.odcs.yaml:16: columns 'n' and 'buyer' have the same id 'n'"), "{told:#?}");
}

#[test]
fn what_is_no_yaml_and_what_is_no_select_have_their_lines() {
    let told = problems(|dir| {
        fs::write(dir.join("contracts/curated/sales.odcs.yaml"), "kind: [\nid: x\n").unwrap();
        fs::write(dir.join("curated/buyers.sql"), "SELECT 1 FROM event\n  WHERE (").unwrap();
    });
    assert_eq!(told.len(), 2, "{told:#?}");
    assert!(told[0].starts_with("contracts/curated/sales.odcs.yaml:1: not readable as YAML"), "{told:?}");
    assert!(told[1].starts_with("curated/buyers.sql:2: not readable as SQL"), "{told:?}");
}

#[test]
fn the_shipped_lakehouse_is_without_problems() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../sql");
    let told = Lakehouse::load(&dir).err().unwrap_or_default();
    assert!(told.is_empty(), "{}", told.iter().map(|p| format!("{p}\n")).collect::<String>());
}

#[test]
fn a_format_belongs_to_a_string_of_a_payload_and_is_one_that_is_known() {
    let told = |from: &str, to: &str, of: &str, file: &str| {
        problems(|dir| fs::write(dir.join(file), replace(of, from, to)).unwrap()).join("; ")
    };
    let raw = |from: &str, to: &str| told(from, to, RAW, "contracts/raw/shop.sale.odcs.yaml");
    let id = "{name: id, logicalType: string";
    let with = |options: &str| format!("{id}, logicalTypeOptions: {options}");
    assert_eq!(raw(id, &with("{format: fhir_date}")), "");
    let unknown = raw(id, &with("{format: fhir_day}"));
    assert!(unknown.contains("unknown format 'fhir_day'; known are fhir_date and fhir_instant"), "{unknown}");
    assert!(raw(id, &with("{}")).contains("lacks 'format'"));
    assert!(raw(id, &with("{maxLength: 3}")).contains("unknown key 'maxLength' in logicalTypeOptions"));
    let number = "logicalType: number";
    let of_a_number = raw(number, &format!("{number}, logicalTypeOptions: {{format: fhir_date}}"));
    assert!(of_a_number.contains("format 'fhir_date' belongs to a string"), "{of_a_number}");
    let column = "logicalType: string";
    let of_a_column = format!("{column}, logicalTypeOptions: {{format: fhir_date}}");
    let curated = told(column, &of_a_column, SALES, "contracts/curated/sales.odcs.yaml");
    assert!(curated.contains("logicalTypeOptions belong to the fields of a payload"), "{curated}");
}
