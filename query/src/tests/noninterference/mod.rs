//! Noninterference, by machine: what a person is told does not depend on what the person may not see.
//!
//! For each person of each folder of declarations a lake is made, and a [`twin`](twin::twin) that differs from it in nothing
//! that the person may see. Statements are made at random ([`generate`]) and asked of both, over every protocol: rows,
//! errors, schemas, headers, EXPLAIN and the audit record must be the same. The same statements, asked of the two lakes by
//! the engine alone, show how many of them could have told the two apart.
//!
//! `make noninterference` runs many; `STATEMENTS` and `SEED` are read from the environment. That the machine can find
//! something is shown by [`holes`]: each hole that is opened on purpose must be found.

mod generate;
mod holes;
mod houses;
mod lake;
mod reference;
mod report;
mod tree;
mod twin;
mod world;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use lakeward_iam::Claims;
use rand::prelude::*;
use rand::rngs::StdRng;

use self::generate::{Known, KnownColumn, Statement};
use self::houses::{House, Protocol, Told};
use self::lake::Rows;
use self::reference::Reference;
use self::report::{Count, Difference, Report};
use self::tree::{Kind, Node};
use self::world::World;
use crate::PseudonymKeys;

/// Statements of a run that is not told how many.
const MANY: usize = 2_000;
/// Statements for one pair of lakes.
const OF_A_PAIR: usize = 250;
/// Steps in which a statement is made smaller.
const STEPS: usize = 400;
/// Times that a lake is asked again, to see whether it is steady.
const AGAIN: usize = 4;

/// How to run.
#[derive(Debug, Clone, Copy)]
struct Run {
    seed: u64,
    statements: usize,
    /// Whether each statement goes over all protocols, and not over one and another in turn.
    all_protocols: bool,
    /// Ends a person's run at the first difference, without making it small.
    first: bool,
    /// Statements for one pair of lakes.
    of_a_pair: usize,
}

/// One person before a lake and its twin.
struct Pair {
    person: String,
    tables: Vec<Known>,
    /// Tables of the world, seen or not.
    all: Vec<Known>,
    one: House,
    other: House,
    token: Option<String>,
    /// Of everybody else, who may ask the same before.
    others: Vec<Option<String>>,
}

fn folders() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    ["../sql", "../examples/shop/sql", "src/tests/noninterference/odd"].iter().map(|folder| root.join(folder)).collect()
}

/// Runs all people of these folders, as many at once as there are cores.
fn run(folders: &[PathBuf], of: Run) -> Report {
    let started = Instant::now();
    let worlds: Vec<World> = folders.iter().map(|folder| World::load(folder)).collect();
    let people: Vec<(&World, &Claims)> = worlds
        .iter()
        .flat_map(|world| world.people.iter().map(move |person| (world, person)))
        .filter(|(world, person)| world.shows_something(person))
        .collect();
    let each = of.statements.div_ceil(people.len());
    // One after the other in small portions, so that whoever interrupts it has seen something of everybody.
    let rounds = each.div_ceil(of.of_a_pair);
    let portions: Vec<(u64, usize)> =
        (0..rounds).flat_map(|round| (0..people.len()).map(move |person| (round as u64, person))).collect();
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let report = parking_lot::Mutex::new(Report::default());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                // Statements run on threads of the service.
                crate::holes::close_here();
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                let wanted = || !of.first || report.lock().differences.is_empty();
                while let Some((round, person)) =
                    portions.get(next.fetch_add(1, Ordering::Relaxed)).copied().filter(|_| wanted())
                {
                    let (world, claims) = people[person];
                    let seed = of.seed.wrapping_mul(1_000_003).wrapping_add(round * 1_009 + person as u64);
                    let portion = Run { seed, statements: each.min(of.of_a_pair), ..of };
                    let found = runtime.block_on(of_person(world, claims, portion));
                    let mut report = report.lock();
                    report.add(found);
                    let portion = done.fetch_add(1, Ordering::Relaxed) + 1;
                    if portion % people.len() == 0 && !of.first {
                        let seconds = started.elapsed().as_secs();
                        let (all, differ) = (report.all().statements, report.differences.len());
                        eprintln!(
                            "{portion} of {} portions, {all} statements, {differ} differences, {seconds} s",
                            portions.len()
                        );
                    }
                }
            });
        }
    });
    report.into_inner()
}

async fn of_person(world: &World, claims: &Claims, of: Run) -> Report {
    let mut random = StdRng::seed_from_u64(of.seed);
    let mut report = Report { pairs: 1, ..Report::default() };
    let pair = pair(world, claims, &mut random, &mut report).await;
    let mut turn = random.random_range(0..Protocol::ALL.len());
    let mut counted = Vec::new();
    for _ in 0..of.statements {
        // Some name what the person does not see.
        let tables = if random.random_bool(0.03) { &pair.all } else { &pair.tables };
        let statement = generate::statement(tables, &mut random);
        if !statement.is_certain {
            report.left_out += 1;
            continue;
        }
        let sql = statement.node.sql();
        if random.random_bool(0.25)
            && let Some(somebody) = pair.others.choose(&mut random)
        {
            for house in [&pair.one, &pair.other] {
                house.ask(somebody.as_deref(), &sql, Protocol::Lines).await;
            }
        }
        turn += 1;
        let protocols: Vec<Protocol> = match of.all_protocols {
            true => vec![Protocol::ALL[turn % 4], Protocol::Flight],
            false => vec![Protocol::ALL[turn % Protocol::ALL.len()]],
        };
        let mut of_statement = Count { statements: 1, ..Count::default() };
        for by in protocols {
            *report.protocols.entry(by).or_default() += 1;
            let told = ask_both(&pair, &sql, by).await;
            of_statement.with_rows = usize::from(matches!(&told.0.rows, Ok(rows) if !rows.is_empty()));
            of_statement.failed = usize::from(told.0.rows.is_err());
            if let Err(error) = &told.0.rows {
                *report.errors.entry(kind_of_error(error)).or_default() += 1;
            }
            if told.0 != told.1 {
                report.take(difference(&pair, &statement, by, false, told, of).await);
            }
        }
        let plans = explained(&pair, &statement.node).await;
        if plans.0 != plans.1 {
            report.take(difference(&pair, &statement, Protocol::Lines, true, plans, of).await);
        }
        let bare = (pair.one.bare(&sql).await, pair.other.bare(&sql).await);
        of_statement.told_apart = usize::from(bare.0 != bare.1);
        counted.push((statement.node.shapes(), of_statement));
        if of.first && !report.differences.is_empty() {
            break;
        }
    }
    for (shapes, of_statement) in counted {
        add(report.people.entry(pair.person.clone()).or_default(), &of_statement);
        for shape in shapes {
            add(report.shapes.entry(shape).or_default(), &of_statement);
        }
    }
    report
}

fn add(to: &mut Count, count: &Count) {
    to.statements += count.statements;
    to.with_rows += count.with_rows;
    to.failed += count.failed;
    to.told_apart += count.told_apart;
}

async fn pair(world: &World, claims: &Claims, random: &mut StdRng, report: &mut Report) -> Pair {
    let rows = lake::rows(world, random);
    let keys = PseudonymKeys::from_master(&[7; 32]).unwrap();
    let principal = world.policies.principal(claims, None).unwrap();
    let reference = Reference::new(world, &principal, &keys);
    let twin = twin::twin(&reference, &keys, &rows, random).await;
    report.changed = twin.changed;
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let one = House::open(world, &rows, keys, &folder, "lake-1").await;
    let other = House::open(world, &twin.rows, twin.keys, &folder, "lake-2").await;
    let others =
        world.people.iter().filter(|person| person.sub != claims.sub).map(|person| one.token(person)).collect();
    Pair {
        person: claims.sub.clone(),
        tables: known(world, &reference, &rows, &twin.rows, true),
        all: known(world, &reference, &rows, &twin.rows, false),
        token: one.token(claims),
        others,
        one,
        other,
    }
}

/// The tables with values that rows of either lake have, seen or not.
fn known(world: &World, reference: &Reference<'_>, rows: &Rows, twin: &Rows, only_seen: bool) -> Vec<Known> {
    let tables = world.tables.iter().filter(|table| !only_seen || reference.views.contains_key(&table.name));
    tables
        .map(|table| {
            let view = reference.views.get(&table.name);
            let all_rows = view.is_some_and(|view| view.shows_all_rows());
            let columns = table.columns.iter().enumerate().map(|(at, column)| {
                let clear =
                    view.and_then(|view| view.column(&column.name)).is_some_and(|column| column.is_stored_and_clear());
                let both = rows[&table.name].iter().chain(&twin[&table.name]);
                let values: BTreeSet<String> = both.filter_map(|row| literal(&row[at])).collect();
                KnownColumn {
                    name: column.name.clone(),
                    kind: kind(&column.data_type),
                    veiled: !(clear && all_rows),
                    values: values.into_iter().collect(),
                }
            });
            Known { name: table.name.to_string(), columns: columns.collect() }
        })
        .collect()
}

fn kind(data_type: &DataType) -> Kind {
    match data_type {
        DataType::Utf8 => Kind::Text,
        DataType::Int32 | DataType::Int64 => Kind::Int,
        DataType::Float64 => Kind::Float,
        DataType::Decimal128(..) => Kind::Decimal,
        DataType::Date32 => Kind::Date,
        DataType::Timestamp(..) => Kind::Time,
        DataType::Boolean => Kind::Bool,
        DataType::List(element) if *element.data_type() == DataType::Utf8 => Kind::List,
        _ => Kind::Opaque,
    }
}

fn literal(value: &ScalarValue) -> Option<String> {
    Some(match value {
        ScalarValue::Utf8(Some(text)) => format!("'{}'", text.replace('\'', "''")),
        ScalarValue::Int64(Some(number)) => number.to_string(),
        ScalarValue::Float64(Some(number)) => format!("{number:e}"),
        ScalarValue::Date32(Some(_)) => format!("DATE '{value}'"),
        ScalarValue::TimestampMicrosecond(Some(micros), _) => {
            let time = chrono::DateTime::from_timestamp_micros(*micros)?;
            format!("TIMESTAMP '{}'", time.format("%Y-%m-%dT%H:%M:%SZ"))
        }
        _ => return None,
    })
}

async fn ask_both(pair: &Pair, sql: &str, by: Protocol) -> (Told, Told) {
    let token = pair.token.as_deref();
    (pair.one.ask(token, sql, by).await, pair.other.ask(token, sql, by).await)
}

/// What became of a suspicion.
enum Found {
    /// One lake does not answer the same twice: nothing can be said.
    Unsteady,
    Difference(Box<Difference>),
}

/// What tells the lakes apart, in the smallest statement that does.
async fn difference(
    pair: &Pair,
    statement: &Statement,
    by: Protocol,
    explains: bool,
    mut found: (Told, Told),
    of: Run,
) -> Found {
    let sql = statement.node.sql();
    if !is_steady(pair, &sql, by, explains).await {
        return Found::Unsteady;
    }
    let mut smallest = statement.node.clone();
    let mut steps = if of.first { STEPS } else { 0 };
    'smaller: while steps < STEPS {
        for candidate in smallest.smaller() {
            steps += 1;
            if let Some(told) = differs(pair, &candidate, by, explains).await
                && is_steady(pair, &candidate.sql(), by, explains).await
            {
                (smallest, found) = (candidate, told);
                continue 'smaller;
            }
            if steps >= STEPS {
                break;
            }
        }
        break;
    }
    Found::Difference(Box::new(Difference {
        person: pair.person.clone(),
        what: format!("{} ({by:?})", if explains { "a plan" } else { "an answer" }),
        sql,
        shrunk: smallest.sql(),
        one: shown(&found.0),
        other: shown(&found.1),
    }))
}

/// An error without names and numbers.
fn kind_of_error(error: &str) -> String {
    let message = serde_json::from_str::<serde_json::Value>(error).ok();
    let detail = message.as_ref().and_then(|problem| Some(problem.get("detail")?.as_str()?.to_owned()));
    let text: String = detail.unwrap_or_else(|| error.to_owned()).chars().filter(|c| !c.is_ascii_digit()).collect();
    text.chars().take(110).collect()
}

fn explain(sql: &str) -> String {
    format!("EXPLAIN {sql}")
}

/// The plans of both lakes.
async fn explained(pair: &Pair, node: &Node) -> (Told, Told) {
    let plans = ask_both(pair, &explain(&node.sql()), Protocol::Lines).await;
    (without_files(plans.0), without_files(plans.1))
}

async fn differs(pair: &Pair, node: &Node, by: Protocol, explains: bool) -> Option<(Told, Told)> {
    let (one, other) = if explains { explained(pair, node).await } else { ask_both(pair, &node.sql(), by).await };
    (one != other).then_some((one, other))
}

/// Whether each lake tells the same whenever it is asked.
async fn is_steady(pair: &Pair, sql: &str, by: Protocol, explains: bool) -> bool {
    let (sql, by) = if explains { (explain(sql), Protocol::Lines) } else { (sql.to_owned(), by) };
    for house in [&pair.one, &pair.other] {
        let first = without_files(house.ask(pair.token.as_deref(), &sql, by).await);
        for _ in 0..AGAIN {
            if without_files(house.ask(pair.token.as_deref(), &sql, by).await) != first {
                return false;
            }
        }
    }
    true
}

/// Without the names of files, which are random, and which only plans of tables that are shown whole have.
fn without_files(mut told: Told) -> Told {
    if let Ok(rows) = &mut told.rows {
        let of_line = |line: &str| line.split("DataSourceExec: file_groups").next().unwrap_or_default().to_owned();
        for row in rows.iter_mut() {
            *row = row.split("\\n").map(of_line).collect::<Vec<_>>().join("\n");
        }
    }
    told
}

fn shown(told: &Told) -> String {
    let text = format!("{:?} [{}] {}", told.rows, told.schema, told.beside.replace('\n', " / "));
    text.chars().take(2_000).collect()
}

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Some thousand statements; with `STATEMENTS` and `SEED` any others.
#[test]
fn no_statement_tells_two_lakes_apart() {
    let of = Run {
        seed: from_environment("SEED").unwrap_or(1),
        statements: from_environment("STATEMENTS").map_or(MANY, |statements| statements as usize),
        all_protocols: from_environment("STATEMENTS").is_some(),
        first: false,
        of_a_pair: OF_A_PAIR,
    };
    let report = run(&folders(), of);
    eprintln!("{report}\nseed: {}", of.seed);
    for difference in report.differences.iter().take(5) {
        eprintln!("\n{difference}");
    }
    let all = report.all();
    assert!(report.differences.is_empty(), "{} differences, seed {}", report.differences.len(), of.seed);
    assert!(all.with_rows * 2 >= all.statements, "fewer than half returned rows");
    assert!(all.told_apart * 2 >= all.statements, "fewer than half can tell the lakes apart with full access");
    assert!(report.unsteady * 100 <= all.statements, "more than one in a hundred is unsteady");
}
