//! What a registry may answer, and who may not be taken for one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::error::IngestError;
use crate::metrics::IngestMetrics;
use crate::state::{IngestState, REGISTRY, StateBoard};

/// Answers by request line; whatever is not among them is answered as by a web server that is no registry.
#[derive(Default)]
struct StandIn {
    answers: Mutex<BTreeMap<&'static str, (u16, &'static str)>>,
    asked: AtomicU32,
    heads: Mutex<Vec<String>>,
}

impl StandIn {
    async fn start(answers: &[(&'static str, (u16, &'static str))]) -> (Arc<Self>, Registry) {
        let this = Arc::new(StandIn::default());
        this.answers.lock().extend(answers.iter().copied());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/apis/ccompat/v7", listener.local_addr().unwrap());
        let answering = Arc::clone(&this);
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let Ok(byte) = stream.read_u8().await else { break };
                    head.push(byte);
                }
                let head = String::from_utf8(head).unwrap();
                let line = head.split(" HTTP/1.1").next().unwrap().replace("/apis/ccompat/v7", "");
                answering.asked.fetch_add(1, Ordering::Relaxed);
                let (status, body) =
                    answering.answers.lock().get(line.as_str()).copied().unwrap_or((404, "<html>no</html>"));
                answering.heads.lock().push(head);
                let length = body.len();
                let response =
                    format!("HTTP/1.1 {status} x\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
                let _ = stream.write_all(response.as_bytes()).await;
            }
        });
        let credentials = Some(("lakeward".to_owned(), "hush".to_owned()));
        (this, Registry::new(RegistryConfig { url, credentials, ca: None }).unwrap())
    }
}

#[tokio::test]
async fn a_schema_comes_with_all_that_it_refers_to_and_is_asked_for_once() {
    let (stand_in, registry) = StandIn::start(&[
        (
            "GET /schemas/ids/7",
            (
                200,
                r#"{"schema":"main","schemaType":"PROTOBUF","references":[
                    {"name":"b.proto","subject":"b","version":2},{"name":"a.proto","subject":"a","version":1}]}"#,
            ),
        ),
        (
            "GET /subjects/b/versions/2",
            (200, r#"{"schema":"b","references":[{"name":"a.proto","subject":"a","version":1}]}"#),
        ),
        ("GET /subjects/a/versions/1", (200, r#"{"schema":"a","references":null}"#)),
    ])
    .await;
    let schemas = Schemas::at_once(Some(Arc::new(registry)));
    for _ in 0..2 {
        let Some(Answer::Schema(schema)) = schemas.all([7].into()).await.unwrap().remove(&7) else {
            panic!("another answer")
        };
        assert_eq!((schema.kind, schema.text.as_str()), (SchemaKind::Protobuf, "main"));
        let names: Vec<&str> = schema.references.iter().map(|referred| referred.name.as_str()).collect();
        assert_eq!(names, ["a.proto", "b.proto"]);
    }
    assert_eq!(stand_in.asked.load(Ordering::Relaxed), 3);
    let heads = stand_in.heads.lock();
    assert!(heads.iter().all(|head| head.to_lowercase().contains("authorization: basic")), "{heads:?}");
}

#[tokio::test]
async fn only_the_registrys_own_word_says_that_there_is_no_schema() {
    let gone = r#"{"error_code":40403,"message":"Schema not found"}"#;
    let (_, registry) = StandIn::start(&[
        ("GET /schemas/ids/1", (404, gone)),
        ("GET /schemas/ids/2", (404, r#"{"error_code":404,"message":"HTTP 404 Not Found"}"#)),
        ("GET /schemas/ids/3", (404, r#"{"message":"no Route matched"}"#)),
        ("GET /schemas/ids/5", (500, gone)),
        ("GET /schemas/ids/6", (401, gone)),
        ("GET /schemas/ids/7", (200, "<html>welcome</html>")),
        ("GET /schemas/ids/8", (302, gone)),
        (
            "GET /schemas/ids/9",
            (200, r#"{"schema":"\"int\"","references":[{"name":"x","subject":"gone","version":1}]}"#),
        ),
        ("GET /subjects/gone/versions/1", (404, r#"{"error_code":40401,"message":"Subject not found"}"#)),
    ])
    .await;
    assert!(matches!(registry.schema(1).await, Ok(Answer::Unknown)));
    for id in [2, 3, 4, 5, 6, 7, 8] {
        let away = registry.schema(id).await;
        assert!(away.is_err(), "{id}: {away:?}");
    }
    let refused = registry.schema(6).await.unwrap_err().to_string();
    assert!(refused.contains("username and password") && !refused.contains("hush"), "{refused}");
    assert!(registry.schema(4).await.unwrap_err().to_string().contains("[registry] url"));
    assert!(matches!(registry.schema(9).await, Ok(Answer::Incomplete)));
}

#[tokio::test]
async fn a_registry_that_is_away_is_waited_for_and_named_meanwhile() {
    let (stand_in, registry) = StandIn::start(&[("GET /schemas/ids/1", (503, ""))]).await;
    let metrics = IngestMetrics::new(&prometheus::Registry::new()).unwrap();
    let (board, abandon) = (Arc::new(StateBoard::new(metrics.waiting())), CancellationToken::new());
    let state = board.watch();
    let schemas = Schemas::patient(Some(Arc::new(registry)), Arc::clone(&board), "erp.payment", abandon.clone());
    let asking = tokio::spawn({
        let schemas = schemas.clone();
        async move { schemas.all([1].into()).await.map(|mut answers| answers.remove(&1)) }
    });
    let waits = |state: &IngestState| matches!(state, IngestState::Waiting { part: REGISTRY, why } if why.contains("erp.payment"));
    let told = tokio::time::timeout(Duration::from_secs(20), state.clone().wait_for(waits)).await.map(drop);
    assert!(told.is_ok(), "nobody was told");
    stand_in.answers.lock().insert("GET /schemas/ids/1", (200, r#"{"schema":"\"int\""}"#));
    assert!(matches!(asking.await.unwrap(), Ok(Some(Answer::Schema(_)))));
    assert!(!waits(&state.borrow()));

    let asking = tokio::spawn(async move { schemas.all([2].into()).await });
    let told = tokio::time::timeout(Duration::from_secs(20), state.clone().wait_for(waits)).await.map(drop);
    assert!(told.is_ok(), "nobody was told");
    abandon.cancel();
    assert!(matches!(asking.await.unwrap(), Err(IngestError::Abandoned)));
}

#[tokio::test]
async fn that_an_id_is_unknown_is_asked_twice_and_others_do_not_wait_for_it_again() {
    let gone = r#"{"error_code":40403}"#;
    let (stand_in, registry) =
        StandIn::start(&[("GET /schemas/ids/1", (404, gone)), ("GET /schemas/ids/2", (404, gone))]).await;
    let schemas = Schemas::at_once(Some(Arc::new(registry)));
    let asking = tokio::spawn({
        let schemas = schemas.clone();
        async move { schemas.all([1].into()).await }
    });
    while stand_in.asked.load(Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    // Another server of the registry knows it by now.
    stand_in.answers.lock().insert("GET /schemas/ids/1", (200, r#"{"schema":"\"int\""}"#));
    assert!(matches!(asking.await.unwrap().unwrap().get(&1), Some(Answer::Schema(_))));
    let before = std::time::Instant::now();
    assert!(matches!(schemas.all([2].into()).await.unwrap().get(&2), Some(Answer::Unknown)));
    assert!(before.elapsed() < Duration::from_secs(1), "it paused for a second one so soon");
    assert_eq!(stand_in.asked.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn a_schema_is_registered_and_a_refusal_says_why() {
    let (_, registry) = StandIn::start(&[
        ("POST /subjects/a-value/versions", (200, r#"{"id":12}"#)),
        ("POST /subjects/b-value/versions", (409, r#"{"error_code":409}"#)),
    ])
    .await;
    assert_eq!(registry.register("a", SchemaKind::Avro, "\"int\"").await.unwrap(), 12);
    let refused = registry.register("b", SchemaKind::Avro, "\"int\"").await.unwrap_err().to_string();
    assert!(refused.contains("not compatible"), "{refused}");
    assert!(registry.register("c", SchemaKind::Avro, "\"int\"").await.is_err());
}
