//! The table, for the terminal and for `benches/RESULTS.md`.

use crate::arguments::Arguments;
use crate::machine::Machine;
use crate::pair::{Pair, Samples, Target};

const HEAD: [&str; 8] = ["what", "unit", "Lakeward", "the other side", "the other side is", "ratio", "target", ""];

/// The table with aligned columns.
pub(crate) fn table(pairs: &[Pair]) -> String {
    let rows = rows(pairs);
    let widths: Vec<usize> = (0..HEAD.len())
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default())
        .collect();
    let mut lines: Vec<String> = rows
        .iter()
        .map(|row| {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        })
        .collect();
    lines.insert(1, widths.iter().map(|width| "-".repeat(*width)).collect::<Vec<_>>().join("  ").trim_end().to_owned());
    lines.join("\n")
}

/// The text of `benches/RESULTS.md`.
pub(crate) fn document(machine: &Machine, pairs: &[Pair], arguments: &Arguments) -> String {
    let rows = rows(pairs);
    let mut lines: Vec<String> = rows.iter().map(|row| format!("| {} |", row.join(" | "))).collect();
    lines.insert(1, format!("|{}", " --- |".repeat(HEAD.len())));
    let table = lines.join("\n");
    let megabytes = arguments.megabytes();
    let ingest_rounds = arguments.ingest_rounds();
    let query_rounds = arguments.query_rounds();
    let orders = arguments.orders();
    format!(
        "# Side by side

Written by `make bench`; do not edit. One run on one machine: the numbers tell how the two sides of a pair compare, not
what another machine does.

| | |
| --- | --- |
| date | {date} |
| commit | {commit} |
| machine | {cores} cores, {processor}, {memory}, {system} |
| load when it began | {load} |

{table}

A number is the median of the rounds, with the least and the most. A ratio is Lakeward's number over the other's, taken
round by round, median with the least and the most.

## How the ingest pair is measured

{megabytes} MB of Synthea's Observations stand in three partitions of a real broker in plain text on this machine. In each of
{ingest_rounds} rounds Lakeward (`Ingest::start` with the shipped `sql/`, the topic's part of it) and the Python job
(`benches/rival/ingest.py`: confluent-kafka, pyarrow and deltalake, raw and curated) read all of it into empty Delta tables
in a local folder, each in a process of its own, the order changing from round to round. After each round the two curated
tables are compared: the same rows, cell for cell, or the bench ends. Both write zstd level 1 and commit by 64 MB. Clock and processor time run from before the first poll to the last commit of every table, without the start of the
process; the processor time is that of the process, not of the broker. Lakeward's holds what the Python job does
not do: joining the consumer group, dead letters, quality rules, versions of things, the hidden table of special encounters.

## How the query pairs are measured

A warehouse like TPC-H's with {orders} orders, declared in `benches/side_by_side/warehouse`, committed through `Lake` into a
local folder. Governed is `QueryService::execute` with policies, audit and verifier, all batches of the answer taken; bare is
`SessionContext::sql` with DataFusion's defaults over the same Parquet files. Both run in one process with one thread a core,
planning included; {query_rounds} rounds after one that is not counted, the sides taking turns. With full access the plan
is checked to have a transparent barrier, with masks and scopes an opaque one. Bare has no mask: with masks it reads the
true values. With the scope it gets the scope's look-up in the statement's WHERE.
",
        date = machine.date,
        commit = machine.commit,
        cores = machine.cores,
        processor = machine.processor,
        memory = machine.memory,
        system = machine.system,
        load = machine.load,
    )
}

fn rows(pairs: &[Pair]) -> Vec<[String; HEAD.len()]> {
    let body = pairs.iter().map(|pair| {
        let ratios = pair.ratios();
        let (target, verdict) = match (pair.target, pair.target.is_met(ratios.median())) {
            (Target::AtLeast(least), met) => (format!(">= {least:.2}"), met),
            (Target::AtMost(most), met) => (format!("<= {most:.2}"), met),
            (Target::None, _) => (String::new(), None),
        };
        let verdict = match verdict {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "",
        };
        [
            pair.what.clone(),
            pair.unit.to_owned(),
            spread(&pair.lakeward, short),
            spread(&pair.other, short),
            pair.against.to_owned(),
            spread(&ratios, |ratio| format!("{ratio:.2}")),
            target,
            verdict.to_owned(),
        ]
    });
    std::iter::once(HEAD.map(str::to_owned)).chain(body).collect()
}

fn spread(samples: &Samples, shown: impl Fn(f64) -> String) -> String {
    if samples.is_empty() {
        return String::new();
    }
    let (median, least, most) = (shown(samples.median()), shown(samples.least()), shown(samples.most()));
    if least == most { median } else { format!("{median} ({least} to {most})") }
}

/// Three digits say all that is known.
fn short(number: f64) -> String {
    let decimals = match number.abs() {
        small if small < 10.0 => 2,
        middle if middle < 100.0 => 1,
        _ => 0,
    };
    format!("{number:.decimals$}")
}
