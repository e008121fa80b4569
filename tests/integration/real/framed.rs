//! Avro and Protobuf against a real schema registry, written by other people's libraries: what nobody should send, and a
//! registry that is away. What is sent and compared stands in `tests/clients/framed.py`.

use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

use reqwest::StatusCode;

use super::PATIENCE;
use super::lakeward::{Serve, trace};
use super::parts::{check, parts};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registry_that_is_away_is_waited_for_and_what_nobody_should_send_harms_no_neighbour() {
    let Some(mut parts) = parts().await else { return };
    let lakehouse = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/framed");
    let run = parts.configure("framed", &["--lakehouse", lakehouse.to_str().unwrap()]);
    let settings = [("LAKEWARD_STORAGE_URL", "s3://lake/framed"), ("LAKEWARD_KAFKA_GROUP", "lakeward-framed")];
    let step = async |name: &str| check("clients.framed", &run, &[OsStr::new(name)]).await;

    step("register").await;
    parts.obey("stop registry");
    let mut serve = Serve::start(&run, &settings);
    // Without a message nobody asks for a schema.
    serve.until_ready(PATIENCE).await;
    step("send").await;
    let away = serve
        .until_readiness("the registry is named", PATIENCE, |status, body| {
            status == StatusCode::SERVICE_UNAVAILABLE && body.contains("registry: ")
        })
        .await;
    // Both topics wait; which one is named first is theirs to race for.
    assert!(away.contains("erp.framed_") && away.contains(" waits for its schemas"), "{away}");
    step("waiting").await;
    // It ends in time although it waits, and goes on where it stood.
    assert!(serve.terminate(Duration::from_secs(30)).await.success());
    let mut serve = Serve::start(&run, &settings);
    serve
        .until_readiness("the registry is named again", PATIENCE, |status, body| {
            status == StatusCode::SERVICE_UNAVAILABLE && body.contains("registry: ")
        })
        .await;
    step("waiting").await;

    parts.obey("start registry");
    serve.until_ready(PATIENCE).await;
    step("landed").await;
    let landed = trace(&run, &settings, "erp.framed_payment", "good-1");
    assert!(
        landed.contains("curated.framed_payments: 1 row made of 1 message; with their keys 1 row stands"),
        "{landed}"
    );
    let refused = trace(&run, &settings, "erp.framed_payment", "nan");
    assert!(refused.contains("value.not_finite: $.weight") && refused.contains("0 rows"), "{refused}");
    let log = serve.log();
    assert!(log.contains("waits for its schemas") && log.contains("ingest goes on"), "{log}");
    assert!(serve.terminate(Duration::from_secs(30)).await.success());
}
