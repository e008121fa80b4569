//! `lakeward serve` as a process of its own against a real Kafka, a real S3 and a real issuer, checked by other people's
//! clients: delta-rs' Python package, ADBC, the JDBC driver, Python's HTTP.

mod acl;
mod audit;
mod framed;
mod lakeward;
mod load;
mod parts;
mod torture;

use std::ffi::OsStr;
use std::time::Duration;

use lakeward::Serve;
use load::Load;
use parts::{check, parts};
use reqwest::StatusCode;

use crate::until;

/// What is waited for at most; only a failure takes so long.
const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_synthea_to_masked_answers_through_a_kill_in_the_middle() {
    let Some(parts) = parts().await else { return };
    let run = parts.configure("main", &[]);
    let load = Load::chosen();
    let records = load.derive(&parts, &run);
    let (mut serve, killed) = load.send(&run, &records).await;

    let killed: Vec<&OsStr> = killed.iter().map(AsRef::as_ref).collect();
    check("clients.middle", &run, &killed).await;
    let seed = load.seed.to_string();
    let counted: [&OsStr; 6] = [
        "--derived".as_ref(),
        records.derived.as_ref(),
        "--seed".as_ref(),
        seed.as_ref(),
        "--cells".as_ref(),
        load.cells.as_ref(),
    ];
    check("clients.counts", &run, &counted).await;
    // What nobody should send comes before the rights: who may see dead letters is among them.
    check("clients.poison", &run, &[]).await;
    check("clients.rights", &run, &[]).await;
    check("clients.refusals", &run, &[]).await;
    assert!(serve.is_running());
    let ended = serve.terminate(Duration::from_secs(30)).await;
    assert!(ended.success(), "SIGTERM: {ended}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kafka_user_without_rights_is_refused_in_words() {
    let Some(parts) = parts().await else { return };
    let run = parts.configure("stranger", &["--user", "stranger"]);
    let mut serve = Serve::start(&run, &[("LAKEWARD_STORAGE_URL", "s3://lake/stranger")]);
    let refused = serve
        .until_readiness("the refusal shows", PATIENCE, |status, body| {
            status == StatusCode::SERVICE_UNAVAILABLE && body.contains("kafka")
        })
        .await;
    assert!(refused.contains("stranger may not") && refused.contains("grant "), "{refused}");
    assert!(serve.log().contains("stranger may not"), "{}", serve.log());
    assert!(serve.is_running());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_certificate_is_enough_for_kafka_and_storage_may_speak_tls() {
    let Some(parts) = parts().await else { return };
    let run = parts.configure("mutual-tls", &["--mutual-tls", "--s3-tls"]);
    let settings = [("LAKEWARD_STORAGE_URL", "s3://lake/mutual-tls"), ("LAKEWARD_KAFKA_GROUP", "lakeward-mutual-tls")];
    let mut serve = Serve::start(&run, &settings);
    serve.until_ready(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_away_is_named_and_taken_up_again() {
    let Some(mut parts) = parts().await else { return };
    let run = parts.configure("away", &[]);
    let settings = [("LAKEWARD_STORAGE_URL", "s3://lake/away"), ("LAKEWARD_KAFKA_GROUP", "lakeward-away")];
    let unready = |part: &'static str| {
        move |status: StatusCode, body: &str| status == StatusCode::SERVICE_UNAVAILABLE && body.contains(part)
    };

    parts.obey("stop s3");
    parts.obey("stop kafka");
    let mut serve = Serve::start(&run, &settings);
    let away = serve.until_readiness("the storage is named", PATIENCE, unready("does not answer")).await;
    assert!(away.contains("storage"), "{away}");
    parts.obey("start s3");
    serve.until_readiness("Kafka is named, away from the start", PATIENCE, unready("no Kafka broker answers")).await;
    assert!(serve.log().contains("no Kafka broker answers"), "{}", serve.log());
    parts.obey("start kafka");
    serve.until_ready(PATIENCE).await;

    parts.obey("stop kafka");
    serve.until_readiness("Kafka is named", PATIENCE, unready("no Kafka broker answers")).await;
    parts.obey("start kafka");
    serve.until_ready(PATIENCE).await;

    parts.obey("stop s3");
    serve.until_readiness("the lost storage is named", PATIENCE, unready("does not answer")).await;
    parts.obey("start s3");
    serve.until_ready(PATIENCE).await;
    assert!(serve.terminate(Duration::from_secs(30)).await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_may_only_ingest_or_only_query() {
    let Some(parts) = parts().await else { return };
    let run = parts.configure("parted", &[]);
    let storage = ("LAKEWARD_STORAGE_URL", "s3://lake/parted");
    let mut ingest = Serve::start_only("ingest", &run, &[storage, ("LAKEWARD_KAFKA_GROUP", "lakeward-parted")]);
    ingest.until_ready(PATIENCE).await;
    let tables = || reqwest::get(format!("{}/v1/tables", run.http));
    assert_eq!(tables().await.unwrap().status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(ingest.terminate(Duration::from_secs(30)).await.success());

    let mut query = Serve::start_only("query", &run, &[storage]);
    query.until_ready(PATIENCE).await;
    until("tables are shown", PATIENCE, || async {
        let answer = tables().await.map_err(|error| error.to_string())?;
        if answer.status() == StatusCode::OK { Ok(()) } else { Err(answer.status().to_string()) }
    })
    .await;
}
