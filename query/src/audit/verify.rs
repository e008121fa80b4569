//! Whether the chains are whole: what was removed, changed, moved or put in, and where.
//!
//! A writer's records are numbered without a gap, each has the link of the one before in its own, and the table's log knows
//! how many segments it has of each writer. So a row cannot go, come or change without a trace, but for one case: the last
//! records of a chain that are not in the table yet, or a whole chain together with what the log knows of it. Against that
//! the *heads* that an earlier look gave are kept elsewhere and compared.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use datafusion::arrow::array::AsArray;
use datafusion::logical_expr::ident;
use futures::StreamExt;
use lakeward_tables::{Lake, TablesError};
use serde::{Deserialize, Serialize};

use super::stored::{self, failed};
use super::{AuditKey, Kind, Record};

/// Looks at a writer whose segments are being folded meanwhile.
const LOOKS: usize = 5;

/// Where a chain stood.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The writer.
    pub writer: String,
    /// Number of its last record.
    pub sequence: i64,
    /// The link of that record.
    pub chain: String,
}

/// Something that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The writer whose chain it is.
    pub writer: String,
    /// What is wrong and with which record.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.writer, self.what)
    }
}

/// What a look at all chains gave.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    /// Records that were looked at.
    pub records: u64,
    /// Of them, those that stand in segments still.
    pub waiting: u64,
    /// Writers that did not end in order: a process that was killed, or runs.
    pub unclosed: u64,
    /// Where the chains stand.
    pub heads: Vec<Head>,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

/// Looks at every record, in the table and in segments. `known` are heads of an earlier look.
pub async fn verify(lake: &Lake, key: &AuditKey, known: &[Head]) -> Result<Verified, TablesError> {
    let mut writers: BTreeSet<String> = known.iter().map(|head| head.writer.clone()).collect();
    writers.extend(lake.journal().segments().await?.into_keys());
    writers.extend(lake.journal().folded().await?.into_keys());
    writers.extend(in_the_table(lake).await?);
    let mut verified = Verified::default();
    for writer in writers {
        let known: Vec<&Head> = known.iter().filter(|head| head.writer == writer).collect();
        for look in 1..=LOOKS {
            let before = lake.journal().folded().await?;
            let walk = walk(lake, key, &writer, before.get(&writer).copied().unwrap_or(0), &known).await?;
            let changed = lake.journal().folded().await?.get(&writer) != before.get(&writer);
            if look == LOOKS || walk.findings.is_empty() || !changed {
                walk.into(&mut verified);
                break;
            }
        }
    }
    Ok(verified)
}

async fn in_the_table(lake: &Lake) -> Result<BTreeSet<String>, TablesError> {
    let rows = stored::events(lake).await?.select(vec![ident("writer")]).and_then(|rows| rows.distinct());
    let mut writers = BTreeSet::new();
    for batch in rows.map_err(failed)?.collect().await.map_err(failed)? {
        if let Some(names) = batch.column(0).as_string_view_opt() {
            writers.extend(names.iter().flatten().map(str::to_owned));
        }
    }
    Ok(writers)
}

/// One writer's chain, record by record.
struct Walk<'a> {
    key: &'a AuditKey,
    writer: &'a str,
    expected: i64,
    last: String,
    /// Whether the link before is known.
    linked: bool,
    segment: i64,
    closed: bool,
    records: u64,
    waiting: u64,
    unseen: BTreeMap<i64, &'a str>,
    findings: Vec<Finding>,
}

async fn walk<'a>(
    lake: &Lake,
    key: &'a AuditKey,
    writer: &'a str,
    folded: i64,
    known: &[&'a Head],
) -> Result<Walk<'a>, TablesError> {
    let mut walk = Walk {
        key,
        writer,
        expected: 0,
        last: String::new(),
        linked: true,
        segment: -1,
        closed: false,
        records: 0,
        waiting: 0,
        unseen: known.iter().map(|head| (head.sequence, head.chain.as_str())).collect(),
        findings: Vec::new(),
    };
    let mut rows = stored::of_writer(lake, writer).await?;
    while let Some(batch) = rows.next().await {
        for record in stored::records(&batch.map_err(failed)?)? {
            if record.segment >= folded {
                walk.find(format!("record {} stands in the table, and its segment was not folded", record.sequence));
            }
            walk.step(&record);
        }
    }
    if walk.segment < folded - 1 {
        let (from, to) = (walk.segment + 1, folded - 1);
        walk.find(format!("the records of segments {from} to {to} are missing at the end of what is in the table"));
        walk.linked = false;
    }
    let numbers = lake.journal().segments().await?.remove(writer).unwrap_or_default();
    for number in numbers.into_iter().filter(|number| *number >= folded) {
        let Some(lines) = lake.journal().read(writer, number).await? else { continue };
        for record in stored::lines_of(&lines) {
            match record {
                Ok(record) if record.segment == number && record.writer == writer => {
                    walk.waiting += 1;
                    walk.step(&record);
                }
                _ => walk.find(format!("segment {number} holds what was not written into it")),
            }
        }
    }
    walk.end();
    Ok(walk)
}

impl<'a> Walk<'a> {
    fn find(&mut self, what: String) {
        self.findings.push(Finding { writer: self.writer.to_owned(), what });
    }

    fn step(&mut self, record: &Record) {
        self.records += 1;
        let number = record.sequence;
        if number < self.expected {
            self.find(format!("there is a second record {number}: it was put in"));
            return;
        }
        if number > self.expected {
            let (from, to) = (self.expected, number - 1);
            self.find(format!("records {from} to {to} are missing"));
            self.linked = false;
        }
        let linked = std::mem::replace(&mut self.linked, true);
        if linked && record.link(self.key, &self.last) != record.chain {
            self.find(format!(
                "record {number} is not what was written after the one before: it was changed, moved or put in"
            ));
        }
        if number == 0 && record.kind != Kind::Opened {
            self.find("its first record does not open it".to_owned());
        }
        if self.unseen.get(&number) == Some(&record.chain.as_str()) {
            self.unseen.remove(&number);
        }
        self.closed = record.kind == Kind::Closed;
        self.segment = self.segment.max(record.segment);
        self.last.clone_from(&record.chain);
        self.expected = number + 1;
    }

    fn end(&mut self) {
        if self.expected == 0 && self.findings.is_empty() && self.unseen.is_empty() {
            self.find("none of its records is there".to_owned());
        }
        let unseen: Vec<i64> = std::mem::take(&mut self.unseen).into_keys().collect();
        for number in unseen {
            self.find(format!("record {number} is not there any more as an earlier look found it"));
        }
    }

    fn into(self, verified: &mut Verified) {
        verified.records += self.records;
        verified.waiting += self.waiting;
        verified.unclosed += u64::from(!self.closed);
        if self.expected > 0 {
            let (writer, sequence, chain) = (self.writer.to_owned(), self.expected - 1, self.last);
            verified.heads.push(Head { writer, sequence, chain });
        }
        verified.findings.extend(self.findings);
    }
}
