//! The table, for the terminal and for `benches/RESULTS.md`.

use crate::arguments::Arguments;
use crate::machine::Machine;
use crate::method;
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
    let method = method::text(arguments);
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
round by round, median with the least and the most; a target is about the ratio, or about Lakeward's number where there is no
other side. FAILED says that a line could not be measured to its end.

{method}",
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
        // A ratio is a small number and is told to a hundredth.
        let told = |number: f64| if pair.against.is_empty() { short(number) } else { format!("{number:.2}") };
        let target = match pair.target {
            Target::AtLeast(least) => format!(">= {}", told(least)),
            Target::AtMost(most) => format!("<= {}", told(most)),
            Target::None => String::new(),
        };
        let verdict = match pair.is_met() {
            _ if pair.failed => "FAILED",
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
