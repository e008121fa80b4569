//! The other lake: as different from a lake as it can be without one person seeing it.
//!
//! - Rows that the person does not see are changed, taken away and added to.
//! - Hidden cells get other values; coarse ones get values that look the same.
//! - Keys that are only seen as pseudonyms are called otherwise; the other lake's key makes the same pseudonyms of them.
//!
//! A change that would show, for a scope looks at what was changed, is taken back: [`Reference`] tells.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use lakeward_iam::Attribute;
use lakeward_tables::{GovernedTable, TableName};
use rand::prelude::*;
use rand::rngs::StdRng;

use super::lake::{Row, Rows, is_key, key_of, value};
use super::reference::Reference;
use super::reference::visible::{Cell, How, SeenTable, Visible};
use super::world::World;
use crate::PseudonymKeys;

/// Tries for a coarse cell.
const TRIES: usize = 12;

pub(super) struct Twin {
    pub(super) rows: Rows,
    pub(super) keys: PseudonymKeys,
    /// What was changed, for the report.
    pub(super) changed: Changed,
}

/// How much of a lake is another in its twin.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Changed {
    pub(super) cells: usize,
    pub(super) removed: usize,
    pub(super) added: usize,
    pub(super) renamed: usize,
}

/// How boldly rows are changed.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Boldness {
    /// Also what scopes look at, and the number of rows.
    Everything,
    /// Only what no predicate looks at.
    Careful,
}

pub(super) async fn twin(reference: &Reference<'_>, keys: &PseudonymKeys, rows: &Rows, random: &mut StdRng) -> Twin {
    let world = reference.world;
    let all: Vec<TableName> = world.tables.iter().map(|table| table.name.clone()).collect();
    let seen = reference.sees(rows, all.iter()).await;
    let renames = renames(reference, rows, &seen, random);
    let mut twin = rows.clone();
    for table in &world.tables {
        if let Some(rows) = twin.get_mut(&table.name) {
            rows.iter_mut().for_each(|row| rename(table, row, &renames));
        }
    }
    let back = renames.iter().map(|(old, new)| (new.clone().into_bytes(), old.clone().into_bytes())).collect();
    let keys = keys.clone().renamed(Arc::new(back));
    let other = reference.with_keys(&keys);
    let mut changed = Changed { renamed: renames.len(), ..Changed::default() };
    let same = |now: &Visible, before: &Visible| {
        now.iter().all(|(table, seen)| before.get(table).is_some_and(|before| before.content() == seen.content()))
    };
    assert!(same(&other.sees(&twin, all.iter()).await, &seen), "renamed keys show: {renames:?}");
    for table in &world.tables {
        let affected = affected_by(world, &table.name);
        for boldness in [Boldness::Everything, Boldness::Careful] {
            // What is seen now, with the numbers that the rows have now: earlier changes may have moved them.
            let now = other.sees(&twin, std::iter::once(&table.name)).await;
            let (proposed, of) = propose(&other, table, &twin, now.get(&table.name), boldness, random).await;
            let before = twin.insert(table.name.clone(), proposed).unwrap_or_default();
            if same(&other.sees(&twin, affected.iter()).await, &seen) {
                changed.cells += of.cells;
                changed.removed += of.removed;
                changed.added += of.added;
                break;
            }
            twin.insert(table.name.clone(), before);
        }
    }
    assert!(same(&other.sees(&twin, all.iter()).await, &seen), "the twin shows");
    Twin { rows: twin, keys, changed }
}

/// The tables whose sight may change with a table: itself, and those whose predicates name it.
fn affected_by(world: &World, name: &TableName) -> Vec<TableName> {
    let names = |sql: &str| sql.contains(&name.table);
    let affected = world.tables.iter().filter(|table| {
        table.name == *name
            || table.scopes.values().any(|scope| names(&scope.sql))
            || table.columns.iter().filter_map(|column| column.read_as.as_ref()).any(|predicate| names(&predicate.sql))
    });
    affected.map(|table| table.name.clone()).collect()
}

/// Which keys get another name: those that are a pseudonym somewhere and clear nowhere.
fn renames(reference: &Reference<'_>, rows: &Rows, seen: &Visible, random: &mut StdRng) -> BTreeMap<String, String> {
    let (mut keyed, mut clear) = (BTreeSet::new(), BTreeSet::new());
    for (name, table) in seen {
        for (number, cells) in &table.rows {
            for (at, cell) in cells.iter().enumerate() {
                if let Some(ScalarValue::Utf8(Some(text))) = rows[name].get(*number).and_then(|row| row.get(at)) {
                    match cell.how {
                        How::Keyed => drop(keyed.insert(text.clone())),
                        How::Clear | How::Coarse => drop(clear.insert(text.clone())),
                        How::Hidden => {}
                    }
                }
            }
        }
    }
    for attribute in reference.principal.attributes.values() {
        match attribute {
            Attribute::Text(text) => drop(clear.insert(text.clone())),
            Attribute::List(items) => clear.extend(items.iter().cloned()),
        }
    }
    let mut numbers: Vec<usize> = (0..keyed.len()).collect();
    numbers.shuffle(random);
    let fresh = |(old, number): (&String, usize)| (old.clone(), format!("{}-renamed-{number}", letter(number)));
    keyed.difference(&clear).zip(numbers).map(fresh).collect()
}

/// So that the order of the new names is not that of the old ones.
fn letter(number: usize) -> char {
    char::from(b'a' + (number * 7 % 26) as u8)
}

/// Keys of all tables, seen or not: what belonged together still does.
fn rename(table: &GovernedTable, row: &mut Row, renames: &BTreeMap<String, String>) {
    for (column, cell) in table.columns.iter().zip(row) {
        if let (true, ScalarValue::Utf8(Some(text))) = (is_key(table, &column.name), &*cell)
            && let Some(new) = renames.get(text)
        {
            *cell = ScalarValue::Utf8(Some(new.clone()));
        }
    }
}

async fn propose(
    reference: &Reference<'_>,
    table: &GovernedTable,
    rows: &Rows,
    seen: Option<&SeenTable>,
    boldness: Boldness,
    random: &mut StdRng,
) -> (Vec<Row>, Changed) {
    let world = reference.world;
    let nothing = SeenTable::default();
    let seen = seen.unwrap_or(&nothing);
    let free = |name: &str| boldness == Boldness::Everything || !world.decisive.contains(name);
    let before = &rows[&table.name];
    let (mut after, mut changed) = (Vec::with_capacity(before.len()), Changed::default());
    let mut is_seen = Vec::with_capacity(before.len());
    let mut coarse: Vec<(usize, usize)> = Vec::new();
    for (number, row) in before.iter().enumerate() {
        let cells = seen.rows.get(&number);
        if cells.is_none() && boldness == Boldness::Everything && random.random_bool(0.25) {
            changed.removed += 1;
            continue;
        }
        let mut other = row.clone();
        for (at, column) in table.columns.iter().enumerate() {
            let how = cells.map_or(How::Hidden, |cells| cells[at].how);
            if !free(&column.name) || random.random_bool(0.1) {
                continue;
            }
            match how {
                How::Hidden => {
                    other[at] = another(world, table, at, cells.is_some(), random);
                    changed.cells += usize::from(other[at] != row[at]);
                }
                How::Coarse => coarse.push((after.len(), at)),
                How::Clear | How::Keyed => {}
            }
        }
        after.push(other);
        is_seen.push(cells.is_some());
    }
    if boldness == Boldness::Everything {
        for _ in 0..random.random_range(0..4) {
            let cells = 0..table.columns.len();
            after.push(cells.map(|at| another(world, table, at, false, random)).collect());
            is_seen.push(false);
            changed.added += 1;
        }
    }
    changed.cells += coarsely(reference, table, rows, &mut after, &coarse, random).await;
    (without_doubles(table, after, &is_seen), changed)
}

/// Rows of different keys; of two with the same one that is seen stays.
fn without_doubles(table: &GovernedTable, rows: Vec<Row>, is_seen: &[bool]) -> Vec<Row> {
    if table.primary_key.is_empty() {
        return rows;
    }
    let mut keys = BTreeSet::new();
    let mut stays = vec![false; rows.len()];
    for wanted in [true, false] {
        for (at, row) in rows.iter().enumerate().filter(|(at, _)| is_seen[*at] == wanted) {
            stays[at] = keys.insert(key_of(table, row));
        }
    }
    rows.into_iter().zip(stays).filter(|(_, stays)| *stays).map(|(row, _)| row).collect()
}

/// Another value of a cell that nobody sees. What is required stays there, and the key of a row that is seen is a new one.
fn another(world: &World, table: &GovernedTable, at: usize, is_seen: bool, random: &mut StdRng) -> ScalarValue {
    let column = &table.columns[at];
    let is_own_key = table.primary_key.first() == Some(&column.name);
    let required = column.required || table.primary_key.contains(&column.name);
    match &column.data_type {
        DataType::Utf8 if is_own_key && table.primary_key.len() == 1 => {
            let number: u32 = if is_seen { random.random_range(1_000..1_000_000) } else { random.random_range(0..40) };
            ScalarValue::Utf8(Some(format!("{}-{number}", column.name)))
        }
        data_type if !required && random.random_bool(0.1) => ScalarValue::try_from(data_type).unwrap(),
        data_type => value(world, &column.name, data_type, is_key(table, &column.name), random),
    }
}

/// Gives cells other values that look the same: those for which none is found keep theirs.
async fn coarsely(
    reference: &Reference<'_>,
    table: &GovernedTable,
    rows: &Rows,
    after: &mut [Row],
    cells: &[(usize, usize)],
    random: &mut StdRng,
) -> usize {
    if cells.is_empty() {
        return 0;
    }
    let mut lake = rows.clone();
    lake.insert(table.name.clone(), after.to_vec());
    let only = std::iter::once(&table.name);
    let wanted = shown(&reference.sees(&lake, only.clone()).await, &table.name);
    let mut left: Vec<(usize, usize)> = cells.to_vec();
    let mut changed = 0;
    for _ in 0..TRIES {
        let mut tried = after.to_vec();
        for (row, at) in &left {
            let column = &table.columns[*at];
            tried[*row][*at] =
                near(world_value(reference, table, *at, random), &after[*row][*at], &column.data_type, random);
        }
        lake.insert(table.name.clone(), tried.clone());
        let now = shown(&reference.sees(&lake, only.clone()).await, &table.name);
        left.retain(|(row, at)| {
            let same = |of: &HashMap<usize, Vec<Cell>>| of.get(row).map(|cells| cells[*at].shown.clone());
            let fits = same(&wanted).is_some() && same(&wanted) == same(&now);
            if fits && after[*row][*at] != tried[*row][*at] {
                after[*row][*at] = tried[*row][*at].clone();
                changed += 1;
                return false;
            }
            true
        });
    }
    changed
}

fn world_value(reference: &Reference<'_>, table: &GovernedTable, at: usize, random: &mut StdRng) -> ScalarValue {
    let column = &table.columns[at];
    value(reference.world, &column.name, &column.data_type, is_key(table, &column.name), random)
}

/// Of a time one that is not far, which is more likely to look the same than any; of a text one that begins alike.
fn near(any: ScalarValue, now: &ScalarValue, data_type: &DataType, random: &mut StdRng) -> ScalarValue {
    match (now, data_type) {
        (ScalarValue::Date32(Some(day)), _) => ScalarValue::Date32(Some(day + random.random_range(-500..500))),
        (ScalarValue::TimestampMicrosecond(Some(time), zone), _) => {
            let hours = random.random_range(-100..100_i64);
            ScalarValue::TimestampMicrosecond(Some(time + hours * 3_600_000_000), zone.clone())
        }
        (ScalarValue::Utf8(Some(text)), DataType::Utf8) => ScalarValue::Utf8(Some(format!(
            "{}{}",
            text.chars().take(3).collect::<String>(),
            random.random_range(0..99)
        ))),
        _ => any,
    }
}

fn shown(visible: &Visible, table: &TableName) -> HashMap<usize, Vec<Cell>> {
    visible.get(table).map(|seen| seen.rows.clone().into_iter().collect()).unwrap_or_default()
}
