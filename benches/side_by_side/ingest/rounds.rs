//! The rounds: Lakeward and its rivals read the topic in turns, and what Lakeward wrote is asked two more questions.

use std::path::Path;

use anyhow::ensure;

use super::broker::Broker;
use super::run::{self, Run};
use super::worker::MEMORY_BUDGET;
use super::{compare, fail};
use crate::arguments::{Arguments, Part};
use crate::pair::{Pair, Target};

/// What a process holds that is no event: code, the planned SELECTs, librdkafka, what the allocator keeps.
const BESIDE_BUDGET: usize = 256 << 20;

const LIMIT: &str = "decode and encode alone";

/// A rival, and the lines about it.
struct Rival {
    name: &'static str,
    /// What runs it, as `tests/parts/python.sh` is told.
    program: &'static [&'static str],
    folder: &'static str,
    pairs: Vec<Pair>,
    /// By its processor time of the first time in its process, where that is told.
    first_time: Option<Pair>,
    failed: bool,
}

impl Rival {
    fn python() -> Self {
        Self::new("plain Python", &["benches/rival/ingest.py"], "python", Target::AtLeast(3.0))
    }

    fn spark() -> Self {
        let mut spark = Self::new("Spark", &["--spark", "benches/rival/spark.py"], "spark", Target::None);
        let first_time = Pair::new("ingest, raw and curated", "MB per CPU s", "Spark, in a new JVM", Target::None);
        spark.first_time = Some(first_time);
        spark
    }

    fn new(name: &'static str, program: &'static [&'static str], folder: &'static str, target: Target) -> Self {
        let pairs = [
            ("ingest, raw and curated", "MB per CPU s", target),
            ("ingest, raw and curated", "MB/s", Target::None),
            ("files of the raw table", "MB", Target::None),
            ("files of the curated table", "MB", Target::None),
            ("ingest, most memory", "MB", Target::None),
        ];
        let pairs = pairs.into_iter().map(|(what, unit, target)| Pair::new(what, unit, name, target)).collect();
        Self { name, program, folder, pairs, first_time: None, failed: false }
    }

    fn push(&mut self, ours: &Run, theirs: &Run) {
        let numbers: [fn(&Run) -> f64; 5] = [
            Run::per_cpu,
            Run::by_clock,
            |run| run.raw_file_bytes as f64 / 1e6,
            |run| run.curated_file_bytes as f64 / 1e6,
            |run| run.peak_memory_bytes as f64 / 1e6,
        ];
        for (pair, number) in self.pairs.iter_mut().zip(numbers) {
            pair.push(number(ours), number(theirs));
        }
        if let (Some(pair), Some(first)) = (&mut self.first_time, &theirs.first_time) {
            pair.push(ours.per_cpu(), theirs.megabytes / first.cpu_seconds);
        }
    }

    fn fail(&mut self, error: &anyhow::Error) {
        self.failed = true;
        fail(self.name, self.pairs.iter_mut().chain(&mut self.first_time), error);
    }
}

/// The lines that the rounds fill.
pub(super) struct Rounds {
    rivals: Vec<Rival>,
    /// Lakeward by itself: by the clock, and its memory.
    alone: [Pair; 2],
    curated: Option<[Pair; 2]>,
    limit: Option<[Pair; 6]>,
}

impl Rounds {
    pub(super) fn new(arguments: &Arguments) -> Self {
        let rivals = [(Part::Python, Rival::python as fn() -> Rival), (Part::Spark, Rival::spark)];
        let budget = (MEMORY_BUDGET + BESIDE_BUDGET) as f64 / 1e6;
        Self {
            rivals: rivals.into_iter().filter(|(part, _)| arguments.wants(*part)).map(|(_, rival)| rival()).collect(),
            alone: [
                Pair::alone("ingest, raw and curated, the broker beside it", "MB/s", Target::AtLeast(100.0)),
                Pair::alone("ingest, most memory, of a budget of 512 MiB", "MB", Target::AtMost(budget)),
            ],
            curated: arguments.wants(Part::Curated).then(|| {
                let what = "curated alone, caught up from raw";
                [Pair::alone(what, "MB/s", Target::AtLeast(150.0)), Pair::alone(what, "MB per CPU s", Target::None)]
            }),
            limit: arguments.wants(Part::Limit).then(|| {
                let part = |what: &str| Pair::alone(what, "CPU s per GB", Target::None);
                [
                    Pair::new("ingest, raw and curated", "MB per CPU s", LIMIT, Target::AtLeast(0.6)),
                    part("where the time goes: all of ingest"),
                    part("decoding and SELECTs, alone"),
                    part("raw as Parquet, alone"),
                    part("curated as Parquet, alone"),
                    part("librdkafka, alone"),
                ]
            }),
        }
    }

    /// Whether anything is asked for that needs them.
    pub(super) fn are_wanted(&self) -> bool {
        !self.rivals.is_empty() || self.curated.is_some() || self.limit.is_some()
    }

    /// Says of every line that it could not be measured.
    pub(super) fn fail(&mut self, error: &anyhow::Error) {
        fail("Lakeward", self.pairs_mut(), error);
    }

    /// What fails is said in its lines; without Lakeward's own run there is nothing to go on with.
    pub(super) async fn run(&mut self, broker: &Broker, folder: &Path, rounds: usize) {
        for round in 0..rounds {
            eprintln!("ingest: round {} of {rounds}", round + 1);
            if let Err(error) = self.round(broker, folder, round).await {
                self.fail(&error);
                return;
            }
        }
    }

    async fn round(&mut self, broker: &Broker, folder: &Path, round: usize) -> anyhow::Result<()> {
        let ours = folder.join("lakeward");
        // Lakeward is the side behind all rivals; the order changes from round to round.
        let sides = self.rivals.len() + 1;
        let (mut lakeward, mut theirs) = (None, Vec::new());
        for turn in 0..sides {
            let side = (round + turn) % sides;
            match self.rivals.get(side) {
                None => lakeward = Some(run::lakeward(broker, &ours).await?),
                Some(rival) if rival.failed => {}
                Some(rival) => {
                    let made = run::rival(rival.program, broker, &folder.join(rival.folder)).await;
                    theirs.push((side, made));
                }
            }
        }
        let Some(lakeward) = lakeward else { return Ok(()) };
        eprintln!("ingest: {:<12} {lakeward}", "Lakeward");
        for (side, made) in theirs {
            let rival = &mut self.rivals[side];
            let other = folder.join(rival.folder).join("curated");
            match same(made, &ours.join("curated/observations"), &other).await {
                Ok(run) => {
                    eprintln!("ingest: {:<12} {run}", rival.name);
                    rival.push(&lakeward, &run);
                }
                Err(error) => rival.fail(&error),
            }
        }
        self.alone[0].lakeward.push(lakeward.by_clock());
        self.alone[1].lakeward.push(lakeward.peak_memory_bytes as f64 / 1e6);
        self.ask_limit(broker, &ours, &lakeward).await;
        // Last, for it takes the curated tables of the run away.
        self.ask_curated(broker, &ours, &lakeward).await;
        Ok(())
    }

    async fn ask_limit(&mut self, broker: &Broker, folder: &Path, lakeward: &Run) {
        let Some(pairs) = self.limit.as_mut().filter(|pairs| !pairs[0].failed) else { return };
        match run::limit(broker, folder).await {
            Ok(limit) => {
                eprintln!("ingest: {:<12} {:>6.1} MB per CPU s of {LIMIT}", "limit", limit.per_cpu());
                let per_gigabyte = |seconds: f64| seconds / limit.megabytes * 1e3;
                pairs[0].push(lakeward.per_cpu(), limit.per_cpu());
                let parts = [
                    lakeward.cpu_seconds,
                    limit.rows_cpu_seconds,
                    limit.raw_cpu_seconds,
                    limit.curated_cpu_seconds,
                    limit.client_cpu_seconds,
                ];
                for (pair, seconds) in pairs[1..].iter_mut().zip(parts) {
                    pair.lakeward.push(per_gigabyte(seconds));
                }
            }
            Err(error) => fail("limit", pairs, &error),
        }
    }

    async fn ask_curated(&mut self, broker: &Broker, folder: &Path, lakeward: &Run) {
        let Some(pairs) = self.curated.as_mut().filter(|pairs| !pairs[0].failed) else { return };
        match caught_up(broker, folder, lakeward).await {
            Ok(run) => {
                eprintln!("ingest: {:<12} {run}", "curated");
                pairs[0].lakeward.push(run.by_clock());
                pairs[1].lakeward.push(run.per_cpu());
            }
            Err(error) => fail("curated alone", pairs, &error),
        }
    }

    /// Millions of bytes a second that Lakeward read at the most load; nothing where it was not measured.
    pub(super) fn highest_load(&self) -> Option<f64> {
        Some(self.alone[0].lakeward.median()).filter(|load| load.is_finite())
    }

    pub(super) fn into_pairs(self) -> Vec<Pair> {
        let Self { rivals, alone, curated, limit } = self;
        let of_rivals = rivals.into_iter().flat_map(|rival| {
            let mut pairs = rival.pairs;
            pairs.splice(1..1, rival.first_time);
            pairs
        });
        of_rivals.chain(alone).chain(curated.into_iter().flatten()).chain(limit.into_iter().flatten()).collect()
    }

    fn pairs_mut(&mut self) -> impl Iterator<Item = &mut Pair> {
        let of_rivals = self.rivals.iter_mut().flat_map(|rival| rival.pairs.iter_mut().chain(&mut rival.first_time));
        let of_lakeward = self.curated.iter_mut().flatten().chain(self.limit.iter_mut().flatten());
        of_rivals.chain(&mut self.alone).chain(of_lakeward)
    }
}

/// A rival's run whose curated table is Lakeward's, cell for cell.
async fn same(made: anyhow::Result<Run>, ours: &Path, theirs: &Path) -> anyhow::Result<Run> {
    let run = made?;
    compare::same_rows(ours, theirs).await?;
    Ok(run)
}

async fn caught_up(broker: &Broker, folder: &Path, lakeward: &Run) -> anyhow::Result<Run> {
    let run = run::catch_up(broker, folder).await?;
    let (found, wanted) = (run.curated_rows, lakeward.curated_rows);
    ensure!(found == wanted, "the curated table has {found} rows, and had {wanted} before");
    Ok(run)
}
