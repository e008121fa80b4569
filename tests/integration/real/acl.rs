//! `lakeward acl` against a real broker with its authorizer: rights are printed, made, and take effect; what is wider is named.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use serde_json::Value;

use super::PATIENCE;
use super::lakeward::{Serve, produce_as};
use super::parts::{Parts, Run, parts};
use crate::serve::lakeward;
use crate::until;

/// A lakehouse of one topic, whose contract names who may.
fn lakehouse(folder: &Path, name: &str, principals: &str) -> PathBuf {
    let to = folder.join(name);
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/shop/sql");
    let copied = std::process::Command::new("cp").arg("-r").arg(from).arg(&to).status().unwrap();
    assert!(copied.success());
    for topic in ["shop.customer", "shop.order"] {
        let contract = to.join(format!("contracts/raw/{topic}.odcs.yaml"));
        let text = std::fs::read_to_string(&contract).unwrap();
        let shipped = "  - {property: producers, value: [\"User:till\"]}\n";
        assert!(text.contains(shipped), "{}", contract.display());
        let named = text.replace(shipped, principals);
        std::fs::write(&contract, named).unwrap();
    }
    to
}

/// A configuration with another user and another lakehouse.
fn config(run: &Run, parts: &Parts, name: &str, user: &str, lakehouse: &Path) -> PathBuf {
    let kafka = &parts.description["kafka"];
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let account = &kafka["users"][user];
    let file = run.folder.join(name);
    let toml = format!(
        "[lakehouse]\ndirectory = {:?}\n[kafka]\nsource = \"shop\"\ngroup = \"lakeward-shop\"\nbrokers = {:?}\n\
         username = {:?}\npassword_file = {:?}\nca_file = {:?}\n",
        lakehouse,
        text(&kafka["bootstrap"]),
        text(&account["name"]),
        text(&account["password_file"]),
        text(&kafka["ca"]),
    );
    std::fs::write(&file, toml).unwrap();
    file
}

async fn make_topics(parts: &Parts) {
    let kafka = &parts.description["kafka"];
    let password = std::fs::read_to_string(kafka["users"]["admin"]["password_file"].as_str().unwrap()).unwrap();
    let admin: AdminClient<_> = ClientConfig::new()
        .set("bootstrap.servers", kafka["bootstrap"].as_str().unwrap())
        .set("security.protocol", "SASL_SSL")
        .set("sasl.mechanism", "SCRAM-SHA-512")
        .set("sasl.username", "admin")
        .set("sasl.password", password.trim())
        .set("ssl.ca.location", kafka["ca"].as_str().unwrap())
        .create()
        .unwrap();
    let topics = ["shop.customer", "shop.order"].map(|topic| NewTopic::new(topic, 2, TopicReplication::Fixed(1)));
    for made in admin.create_topics(&topics, &AdminOptions::new()).await.unwrap() {
        made.unwrap();
    }
}

fn acl(config: &Path, arguments: &[&str]) -> Output {
    lakeward().args(["acl", "--config"]).arg(config).args(arguments).output().unwrap()
}

fn out(output: &Output) -> String {
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{err}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn failure(output: &Output) -> (String, String) {
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(!output.status.success(), "{}", said(&output.stdout));
    (said(&output.stdout), said(&output.stderr))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rights_are_printed_made_verified_and_take_effect() {
    let Some(parts) = parts().await else { return };
    let run = parts.configure("acl", &[]);
    make_topics(&parts).await;
    // `stranger` has a password and no right: the till of this shop.
    let declared = lakehouse(
        &run.folder,
        "declared",
        "  - {property: producers, value: [\"User:stranger\"]}\n  - {property: consumers, value: [\"User:crm\"]}\n",
    );
    let wider = lakehouse(&run.folder, "wider", "  - {property: consumers, value: [\"User:clerk\"]}\n");
    let own = config(&run, &parts, "own.toml", "lakeward", &declared);
    let till = config(&run, &parts, "till.toml", "stranger", &declared);
    let admin = config(&run, &parts, "admin.toml", "admin", &declared);
    let as_admin = ["--admin", admin.to_str().unwrap()];

    let printed = out(&acl(&own, &[]));
    let expected = "\
User:crm may Read topic shop.customer
User:crm may Describe topic shop.customer
User:lakeward may Read topic shop.customer
User:lakeward may Describe topic shop.customer
User:stranger may Write topic shop.customer
User:stranger may Describe topic shop.customer
User:crm may Read topic shop.order
User:crm may Describe topic shop.order
User:lakeward may Read topic shop.order
User:lakeward may Describe topic shop.order
User:stranger may Write topic shop.order
User:stranger may Describe topic shop.order
User:crm may Read group crm
User:lakeward may Read group lakeward-shop
User:crm may Read group crm.…
User:stranger may Write transactional id stranger
User:stranger may Describe transactional id stranger
User:stranger may Write transactional id stranger.…
User:stranger may Describe transactional id stranger.…
";
    assert_eq!(printed, expected);

    // Whoever may not is told so, and what would help.
    let (_, said) = failure(&acl(&own, &["--apply"]));
    assert!(said.contains("user lakeward may not read access lists: grant Describe on the cluster"), "{said}");
    let orders = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/shop/data/shop.order.ndjson");
    let sending = ["--topic", "shop.order", "--key", "order_id"];
    let (_, said) = failure(&produce_as(&till, &sending, &[&orders]));
    assert!(said.contains("shop.order"), "{said}");

    // The parts' own rights let lakeward read every group that begins so; that is wider, and more than is missing.
    let (told, _) = failure(&acl(&own, &[&as_admin[..], &["--verify"]].concat()));
    assert!(told.contains("missing: User:stranger may Write topic shop.order\n"), "{told}");
    assert!(told.contains("wider than declared: User:lakeward may Read group lakeward…\n"), "{told}");
    assert!(!told.contains("clinic."), "rights about other topics are nobody's business here: {told}");

    let made = out(&acl(&own, &[&as_admin[..], &["--apply"]].concat()));
    assert!(made.contains("made: User:stranger may Write topic shop.order\n"), "{made}");
    // Lakeward's group was covered by the parts' prefix.
    assert!(made.ends_with("18 made, 1 were there\n"), "{made}");
    until("the broker knows them", PATIENCE, || async {
        let again = out(&acl(&own, &[&as_admin[..], &["--apply"]].concat()));
        if again == "0 made, 19 were there\n" { Ok(()) } else { Err(again) }
    })
    .await;

    // They take effect: the till may write now, and what it writes is read.
    let sent = produce_as(&till, &sending, &[&orders]);
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    let settings = [
        ("LAKEWARD_LAKEHOUSE_DIRECTORY", declared.to_str().unwrap()),
        ("LAKEWARD_STORAGE_URL", "s3://lake/acl"),
        ("LAKEWARD_KAFKA_GROUP", "lakeward-shop"),
        ("LAKEWARD_KAFKA_SOURCE", "shop"),
    ];
    let mut serve = Serve::start(&run, &settings);
    serve.until_ready(PATIENCE).await;
    serve.until_landed_of("shop.order", 6, PATIENCE).await;
    assert!(serve.terminate(Duration::from_secs(30)).await.success());
    // Nobody was given more than the contract says.
    let (_, said) = failure(&produce_as(&own, &sending, &[&orders]));
    assert!(said.contains("shop.order"), "{said}");

    // Somebody gives a clerk more than is declared.
    let beside = config(&run, &parts, "beside.toml", "admin", &wider);
    out(&acl(&beside, &["--apply"]));
    until("the clerk is named", PATIENCE, || async {
        let (told, said) = failure(&acl(&own, &[&as_admin[..], &["--verify"]].concat()));
        let clerks = ["User:clerk may Read topic shop.order", "User:clerk may Describe topic shop.customer"];
        let named = clerks.iter().all(|right| told.contains(&format!("wider than declared: {right}\n")));
        if named && said.contains("0 missing, ") { Ok(()) } else { Err(told + &said) }
    })
    .await;
    // A password that is wrong, and an authority that is not the broker's.
    let text = std::fs::read_to_string(&admin).unwrap();
    let wrong = run.folder.join("wrong.toml");
    std::fs::write(run.folder.join("wrong.password"), "not this").unwrap();
    let password = parts.description["kafka"]["users"]["admin"]["password_file"].as_str().unwrap();
    std::fs::write(&wrong, text.replace(password, run.folder.join("wrong.password").to_str().unwrap())).unwrap();
    let (_, said) = failure(&acl(&wrong, &["--verify"]));
    assert!(said.contains("does not accept the credentials of user admin"), "{said}");
    let ca = parts.description["kafka"]["ca"].as_str().unwrap();
    let foreign = parts.description["kafka"]["mtls"]["client"]["certificate"].as_str().unwrap();
    std::fs::write(&wrong, text.replace(ca, foreign)).unwrap();
    let (_, said) = failure(&acl(&wrong, &["--verify"]));
    assert!(said.contains("no Kafka broker answers") && said.contains("TLS"), "{said}");
}
