//! Ingest under kills and faults, in short (`make torture` does it at length), and hard situations and outages, one by one. What
//! happens and what is compared stands in `tests/torture`.

use std::ffi::OsStr;

use super::parts::{check, parts};

/// Each point at which a process is killed comes twice.
const KILLS: &str = "12";
const ROWS: &str = "120000";
const BINARY: &str = env!("CARGO_BIN_EXE_lakeward");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_and_nothing_doubled_over_kills_and_faults() {
    let Some(parts) = parts().await else { return };
    let run = parts.configure("torture", &[]);
    let mut arguments = vec!["--binary", BINARY, "--kills", KILLS, "--rows", ROWS, "--patience", "240"];
    // `make test-all` repeats a run by its seed.
    let seed = std::env::var("LAKEWARD_TEST_ALL").ok().filter(|seed| seed.parse::<u32>().is_ok());
    if let Some(seed) = &seed {
        arguments.extend(["--seed", seed]);
    }
    let arguments: Vec<&OsStr> = arguments.into_iter().map(OsStr::new).collect();
    check("torture", &run, &arguments).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_oracle_tells_what_is_lost_doubled_foreign_or_changed() {
    let Some(parts) = parts().await else { return };
    let run = parts.configure("torture", &[]);
    check("torture.sharp", &run, &[]).await;
}

async fn situation(name: &str) {
    let Some(parts) = parts().await else { return };
    let run = parts.configure("situations", &[]);
    check("torture.situations", &run, &[OsStr::new(name), OsStr::new("--binary"), OsStr::new(BINARY)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_zombie_that_comes_back_after_its_partitions_moved_doubles_nothing() {
    situation("zombie").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_answer_is_lost_is_known_to_have_landed() {
    situation("ambiguous").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_that_were_paused_and_stay_over_a_rebalance_are_read_on() {
    situation("pressed").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn added_partitions_are_read_from_their_beginning() {
    situation("growth").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_made_again_under_its_name_is_not_mixed_with_the_old_one() {
    situation("recreated").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_gone_before_they_were_read_stop_ingest_or_are_a_recorded_gap() {
    situation("gap").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aborted_and_open_transactions_are_not_read_and_their_holes_are_no_lag() {
    situation("transactional").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_compacted_topic_still_has_is_read_once() {
    situation("compacted").await;
}

async fn outage(name: &str) {
    let Some(parts) = parts().await else { return };
    let run = parts.configure("outages", &[]);
    check("torture.outages", &run, &[OsStr::new(name), OsStr::new("--binary"), OsStr::new(BINARY)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_that_expire_are_waited_for() {
    outage("credentials").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storage_or_disk_that_is_read_only_is_waited_for() {
    outage("read_only").await;
    outage("disk_read_only").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storage_or_disk_that_is_full_is_waited_for() {
    outage("storage_full").await;
    outage("disk_full").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_hangs_is_named_and_waited_for() {
    outage("broker_silent").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_jumps_loses_nothing_and_makes_nothing_old() {
    outage("clock").await;
}
