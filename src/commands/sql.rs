//! `lakeward sql`: asks a running endpoint and prints the answer.
#![allow(clippy::print_stdout, reason = "the answer belongs on standard output")]

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use anyhow::Context;
use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use arrow::ipc::reader::StreamReader;
use arrow::util::display::FormatOptions;
use arrow::util::pretty::pretty_format_batches_with_options;

use crate::asking::{ARROW, LEVEL, ask, chunk};
use crate::cli::{Format, SqlArgs};

/// An answer that takes longer than this says that it does.
const PATIENCE: Duration = Duration::from_secs(1);

/// Asks and prints; an error of the endpoint becomes one sentence.
pub(crate) async fn run(args: SqlArgs) -> anyhow::Result<()> {
    let statement = match args.statement.as_str() {
        "-" => std::io::read_to_string(std::io::stdin()).context("cannot read the statement from standard input")?,
        _ => args.statement.clone(),
    };
    let started = Instant::now();
    let mut progress = Progress::start(started);
    let accept = match args.format {
        Format::Table => ARROW,
        Format::Csv => "text/csv",
        Format::Json => "application/x-ndjson",
    };
    let mut response = ask(&args.url, args.token.as_deref(), args.purpose.as_deref(), &statement, accept).await?;
    let headers = response.headers().clone();
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    if args.format != Format::Table {
        let mut received = 0;
        while let Some(chunk) = chunk(&mut response).await? {
            received += chunk.len();
            progress.received(received);
            // Rows on the same terminal show by themselves that something comes.
            if std::io::stdout().is_terminal() {
                progress.stop();
            }
            std::io::stdout().write_all(&chunk)?;
        }
        return Ok(std::io::stdout().flush()?);
    }
    let mut body = Vec::new();
    while let Some(chunk) = chunk(&mut response).await? {
        body.extend_from_slice(&chunk);
        progress.received(body.len());
    }
    progress.stop();
    let answer = StreamReader::try_new(body.as_slice(), None)?;
    let schema = answer.schema();
    let batches = answer.collect::<Result<Vec<RecordBatch>, _>>()?;
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    println!("{}", pretty_format_batches_with_options(&batches, &FormatOptions::default().with_null("·"))?);
    let limit = header("x-lakeward-row-limit").and_then(|limit| limit.parse::<usize>().ok());
    let cut = if limit == Some(rows) { " (cut at the endpoint's row limit)" } else { "" };
    let purpose = header("x-lakeward-purpose").unwrap_or_default();
    let noun = if rows == 1 { "row" } else { "rows" };
    eprintln!("{rows} {noun}{cut} in {:.2} s, purpose {purpose}", started.elapsed().as_secs_f64());
    if let Some(shown) = not_clear(&schema) {
        eprintln!("not clear: {shown}");
    }
    Ok(())
}

/// The columns that are not shown as they are, and how they are shown; `None` if all are clear or computed.
fn not_clear(schema: &Schema) -> Option<String> {
    let fields = schema.fields().iter();
    let shown: Vec<String> = fields
        .filter_map(|field| {
            let level = field.metadata().get(LEVEL).filter(|level| *level != "clear")?;
            Some(format!("{} ({level})", field.name()))
        })
        .collect();
    (!shown.is_empty()).then(|| shown.join(", "))
}

/// A line on a terminal that moves while one waits; gone when this is dropped.
struct Progress {
    line: Option<tokio::task::JoinHandle<()>>,
    received: tokio::sync::watch::Sender<usize>,
}

impl Progress {
    fn start(started: Instant) -> Self {
        let (received, bytes) = tokio::sync::watch::channel(0_usize);
        let line = std::io::stderr().is_terminal().then(|| {
            tokio::spawn(async move {
                tokio::time::sleep(PATIENCE).await;
                loop {
                    let mebibytes = *bytes.borrow() as f64 / (1 << 20) as f64;
                    eprint!("\r\x1b[Kwaiting {:.0} s, {mebibytes:.1} MiB received", started.elapsed().as_secs_f64());
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            })
        });
        Self { line, received }
    }

    fn received(&self, bytes: usize) {
        self.received.send_replace(bytes);
    }

    fn stop(&mut self) {
        if let Some(line) = self.line.take() {
            line.abort();
            eprint!("\r\x1b[K");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.stop();
    }
}
