//! Holes that are opened on purpose: the machine must find each.

use super::{Run, folders, from_environment, run};
use crate::holes::{Hole, open};

/// Statements after which a hole counts as not found.
const MOST: usize = 4_000;

/// Opens one hole after the other, in the whole process: it cannot run beside other tests.
#[test]
#[ignore = "it opens holes in the whole process: `make noninterference` runs it alone"]
fn every_hole_is_found() {
    let seed = from_environment("SEED").unwrap_or(1);
    let mut missed = Vec::new();
    eprintln!("{:<20}{:>12}  how", "hole", "statements");
    for hole in Hole::ALL {
        open(Some(hole));
        let report = run(&folders(), Run { seed, statements: MOST, all_protocols: false, first: true, of_a_pair: 40 });
        open(None);
        match report.differences.first() {
            Some(found) => eprintln!(
                "{:<20}{:>12}  {} by {}: {}",
                format!("{hole:?}"),
                report.all().statements,
                found.person,
                found.what,
                found.sql
            ),
            None => {
                eprintln!("{:<20}{:>12}  NOT FOUND", format!("{hole:?}"), report.all().statements);
                missed.push(hole);
            }
        }
    }
    eprintln!("{} of {} holes found; seed: {seed}", Hole::ALL.len() - missed.len(), Hole::ALL.len());
    assert!(missed.is_empty(), "not found: {missed:?}");
}
