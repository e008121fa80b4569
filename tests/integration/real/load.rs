//! What is sent, how often `lakeward serve` is killed over it, and how much is compared.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::PATIENCE;
use super::lakeward::{Serve, produce};
use super::parts::{Parts, Run, python, succeed};

/// Records that `lakeward serve` must have landed before it is killed: the middle of the load.
const MIDDLE: u64 = 3_000;
/// Many small commits, for a kill to fall between.
const COMMITS: [(&str, &str); 1] = [("LAKEWARD_INGEST_COMMIT_INTERVAL", "200ms")];

/// The load of one run: Synthea's five patients and one kill; with `LAKEWARD_TEST_ALL` ten patients and six kills.
pub(super) struct Load {
    /// Events that must have landed between a start and the kill that follows it; more do before they are counted.
    kills: Vec<u64>,
    /// How many cells of each column are compared.
    pub(super) cells: &'static str,
    /// Of all chance; printed, and given as `LAKEWARD_TEST_ALL` it makes the same again.
    pub(super) seed: u64,
    more_patients: bool,
}

/// The records of a run.
pub(super) struct Records {
    /// Folder of what is made from the bundles.
    pub(super) derived: PathBuf,
    bundles: Vec<PathBuf>,
}

impl Load {
    pub(super) fn chosen() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let Ok(all) = std::env::var("LAKEWARD_TEST_ALL") else {
            return Self { kills: vec![MIDDLE], cells: "200", seed: now, more_patients: false };
        };
        let seed = all.parse().unwrap_or(now);
        let mut dice = StdRng::seed_from_u64(seed);
        let kills = (0..6).map(|_| dice.random_range(1..1_000)).collect();
        eprintln!("LAKEWARD_TEST_ALL: seed {seed}, kills after {kills:?} events");
        Self { kills, cells: "5000", seed, more_patients: true }
    }

    /// Makes the records that Synthea does not have.
    pub(super) fn derive(&self, parts: &Parts, run: &Run) -> Records {
        let derived = run.folder.join("derived");
        let mut bundles = parts.bundles();
        if self.more_patients {
            let more = run.folder.join("more");
            let synthea = "from synthea.cli import cli; cli()";
            succeed(python().args(["-c", synthea, "-p", "5", "-s", "11", "-o"]).arg(&more));
            let mut files: Vec<_> =
                std::fs::read_dir(more.join("fhir")).unwrap().map(|entry| entry.unwrap().path()).collect();
            files.sort();
            bundles.extend(files);
        }
        succeed(python().args(["-m", "clients.derive"]).args(&bundles).arg("--out").arg(&derived));
        bundles.push(derived.join("full.bundle.json"));
        Records { derived, bundles }
    }

    /// Sends all of it while `serve` runs, is killed and starts again; gives the `serve` that is left, and when the others
    /// were killed, in milliseconds since 1970.
    ///
    /// Of the derived topics one lands before the kill, one is sent over it, one while nobody listens, and one at the end.
    pub(super) async fn send(&self, run: &Run, records: &Records) -> (Serve, Vec<String>) {
        let bundles: Vec<&Path> = records.bundles.iter().map(PathBuf::as_path).collect();
        let mut serve = Serve::start(run, &COMMITS);
        serve.until_ready(PATIENCE).await;
        let appointments = records.derived("clinic.appointment", "id", run).await;
        serve.until_landed(appointments, PATIENCE).await;
        let mut killed = Vec::new();
        tokio::join!(produce(run, &["--fhir"], &bundles), records.derived("clinic.consent", "id", run), async {
            serve.until_landed(appointments + self.kills[0], PATIENCE).await;
            killed.push(kill(serve));
        },);
        records.derived("erp.payment", "payment_id", run).await;
        for events in &self.kills[1..] {
            let serve = Serve::start(run, &COMMITS);
            serve.until_landed(*events, PATIENCE).await;
            killed.push(kill(serve));
        }
        let mut last = Serve::start(run, &[]);
        last.until_ready(PATIENCE).await;
        let movements = records.derived("erp.stock_movement", "movement_id", run).await;
        last.until_landed_of("erp.stock_movement", movements, PATIENCE).await;
        last.until_caught_up(PATIENCE).await;
        (last, killed)
    }
}

impl Records {
    /// Sends the records of a derived topic, and says how many they are.
    async fn derived(&self, topic: &str, key: &str, run: &Run) -> u64 {
        let file = self.derived.join(format!("{topic}.ndjson"));
        produce(run, &["--topic", topic, "--key", key], &[&file]).await;
        std::fs::read_to_string(file).unwrap().lines().count() as u64
    }
}

fn kill(serve: Serve) -> String {
    let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    serve.kill();
    at.to_string()
}
