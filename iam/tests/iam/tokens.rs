//! Tokens against an issuer on the loopback: what is accepted, and that all else gets the same answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use lakeward_iam::{
    Attribute, AuthError, Authenticator, AuthenticatorConfig, Claims, DevelopmentIssuer, IamError, IssuerConfig,
};
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

const AUDIENCE: &str = "lakeward";
const HOUR: Duration = Duration::from_secs(3600);

/// An issuer that answers over HTTP, with a key that can change.
struct Issuer {
    url: String,
    served: Arc<Served>,
    folder: TempDir,
    key: DevelopmentIssuer,
}

struct Served {
    discovery: Mutex<Value>,
    jwks: Mutex<Value>,
    fetches: AtomicUsize,
    away: AtomicBool,
}

impl Issuer {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let folder = TempDir::new().unwrap();
        let key = DevelopmentIssuer::open(&folder.path().join("first.pem"), &url, AUDIENCE).unwrap();
        let served = Arc::new(Served {
            discovery: Mutex::new(key.discovery(&format!("{url}/keys"))),
            jwks: Mutex::new(key.jwks()),
            fetches: AtomicUsize::new(0),
            away: AtomicBool::new(false),
        });
        let discovery = |State(served): State<Arc<Served>>| async move {
            if served.away.load(Ordering::SeqCst) {
                return Err(StatusCode::BAD_GATEWAY);
            }
            Ok(Json(served.discovery.lock().clone()))
        };
        let keys = |State(served): State<Arc<Served>>| async move {
            served.fetches.fetch_add(1, Ordering::SeqCst);
            Json(served.jwks.lock().clone())
        };
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/keys", get(keys))
            .with_state(Arc::clone(&served));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, served, folder, key }
    }

    /// Makes another key, with which tokens are signed from now on.
    fn rotate(&mut self) {
        self.key = DevelopmentIssuer::open(&self.folder.path().join("second.pem"), &self.url, AUDIENCE).unwrap();
        *self.served.jwks.lock() = self.key.jwks();
    }

    fn config(&self) -> AuthenticatorConfig {
        AuthenticatorConfig { issuers: vec![IssuerConfig::new(&self.url, AUDIENCE)], ..AuthenticatorConfig::default() }
    }

    fn authenticator(&self) -> Authenticator {
        Authenticator::new(self.config(), vec![]).unwrap()
    }

    /// A payload that is good, but for what is changed; `null` takes a claim away.
    fn payload(&self, changes: Value) -> Map<String, Value> {
        let now = chrono::Utc::now().timestamp();
        let mut payload = json!({
            "iss": self.url, "aud": AUDIENCE, "sub": "dora", "exp": now + 600, "roles": ["doctor"], "site": "north",
        });
        let payload = payload.as_object_mut().unwrap();
        payload.extend(changes.as_object().unwrap().clone());
        payload.retain(|_, value| !value.is_null());
        payload.clone()
    }

    fn token(&self, changes: Value) -> String {
        self.key.sign(&self.payload(changes)).unwrap()
    }

    fn fetches(&self) -> usize {
        self.served.fetches.load(Ordering::SeqCst)
    }
}

fn in_seconds(seconds: i64) -> Value {
    json!(chrono::Utc::now().timestamp() + seconds)
}

async fn rejected(authenticator: &Authenticator, token: &str, why: &str) {
    match authenticator.authenticate(Some(token)).await {
        Err(error @ AuthError::Rejected) => {
            assert_eq!(error.to_string(), "the credentials were not accepted")
        }
        other => panic!("{why}: {other:?}"),
    }
}

#[tokio::test]
async fn a_good_token_gives_its_claims_and_the_keys_are_fetched_once() {
    let issuer = Issuer::start().await;
    let authenticator = issuer.authenticator();
    for changes in [json!({}), json!({"aud": ["other", AUDIENCE]}), json!({"exp": in_seconds(-10)})] {
        let claims = authenticator.authenticate(Some(&issuer.token(changes))).await.unwrap();
        assert_eq!((claims.sub.as_str(), claims.issuer.as_deref()), ("dora", Some(issuer.url.as_str())));
        assert_eq!(claims.roles, ["doctor"]);
        assert_eq!(claims.attributes["site"], Attribute::Text("north".into()));
    }
    assert_eq!(issuer.fetches(), 1);
}

#[tokio::test]
async fn claims_that_are_wrong_or_missing_are_rejected() {
    let issuer = Issuer::start().await;
    let authenticator = issuer.authenticator();
    for changes in [
        json!({"exp": in_seconds(-60)}),
        json!({"exp": null}),
        json!({"exp": "tomorrow"}),
        json!({"nbf": in_seconds(600)}),
        json!({"nbf": "tomorrow"}),
        json!({"aud": "another"}),
        json!({"aud": ["another"]}),
        json!({"aud": []}),
        json!({"aud": null}),
        json!({"aud": 7}),
        json!({"iss": "https://another.example"}),
        json!({"iss": format!("{}/", issuer.url)}),
        json!({"iss": [issuer.url]}),
        json!({"iss": null}),
        json!({"sub": null}),
        json!({"sub": ""}),
        json!({"sub": 7}),
        json!({"sub": "anonymous"}),
    ] {
        rejected(&authenticator, &issuer.token(changes.clone()), &changes.to_string()).await;
    }
}

#[tokio::test]
async fn other_algorithms_are_rejected() {
    let issuer = Issuer::start().await;
    let authenticator = issuer.authenticator();
    let payload = issuer.payload(json!({}));
    let good = issuer.token(json!({}));
    let parts: Vec<&str> = good.split('.').collect();
    let key = issuer.key.jwks()["keys"][0].clone();
    let id = key["kid"].as_str().unwrap();

    for algorithm in ["none", "None", "NONE", "nOnE", "HS256", "ES384", "RS256", ""] {
        let header = BASE64URL_NOPAD.encode(json!({"alg": algorithm, "typ": "JWT", "kid": id}).to_string().as_bytes());
        rejected(&authenticator, &format!("{header}.{}.", parts[1]), algorithm).await;
        rejected(&authenticator, &format!("{header}.{}.{}", parts[1], parts[2]), algorithm).await;
    }

    let x = BASE64URL_NOPAD.decode(key["x"].as_str().unwrap().as_bytes()).unwrap();
    let y = BASE64URL_NOPAD.decode(key["y"].as_str().unwrap().as_bytes()).unwrap();
    let point = [&[4], x.as_slice(), y.as_slice()].concat();
    for secret in [point, x, key.to_string().into_bytes(), key["x"].as_str().unwrap().as_bytes().to_vec(), vec![]] {
        for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
            let mut header = Header::new(algorithm);
            header.kid = Some(id.to_owned());
            let token = jsonwebtoken::encode(&header, &payload, &EncodingKey::from_secret(&secret)).unwrap();
            rejected(&authenticator, &token, "signed with the public key").await;
        }
    }
}

#[tokio::test]
async fn tampered_and_malformed_tokens_are_rejected() {
    let issuer = Issuer::start().await;
    let authenticator = issuer.authenticator();
    let good = issuer.token(json!({}));
    let parts: Vec<&str> = good.split('.').collect();
    let promoted = issuer.payload(json!({"roles": ["head_physician"]}));
    let promoted = BASE64URL_NOPAD.encode(Value::Object(promoted).to_string().as_bytes());

    rejected(&authenticator, &format!("{}.{promoted}.{}", parts[0], parts[2]), "another payload").await;
    rejected(&authenticator, &format!("{}.{}.", parts[0], parts[1]), "no signature").await;
    rejected(&authenticator, &format!("{}.{}", parts[0], parts[1]), "two parts").await;
    rejected(&authenticator, &format!("{good}.{}", parts[2]), "four parts").await;
    rejected(&authenticator, &format!("{good}="), "padding").await;
    for token in ["", ".", "..", "...", "Bearer", "a.b.c", "\u{0}", "🙂.🙂.🙂"] {
        rejected(&authenticator, token, token).await;
    }
    rejected(&authenticator, &issuer.token(json!({"much": "x".repeat(20_000)})), "too long").await;

    let mut critical: Value = serde_json::from_slice(&BASE64URL_NOPAD.decode(parts[0].as_bytes()).unwrap()).unwrap();
    critical["crit"] = json!(["exp"]);
    let critical = BASE64URL_NOPAD.encode(critical.to_string().as_bytes());
    rejected(&authenticator, &format!("{critical}.{}.{}", parts[1], parts[2]), "critical extension").await;
}

#[tokio::test]
async fn a_key_inside_the_token_is_not_used() {
    let issuer = Issuer::start().await;
    let other = DevelopmentIssuer::open(&issuer.folder.path().join("other.pem"), &issuer.url, AUDIENCE).unwrap();
    let stranger = other.mint(&Claims::new("dora"), HOUR).unwrap();
    let authenticator = issuer.authenticator();
    rejected(&authenticator, &stranger, "a stranger's key").await;

    let pem = std::fs::read(issuer.folder.path().join("other.pem")).unwrap();
    let key = EncodingKey::from_ec_pem(&pem).unwrap();
    for id in [None, issuer.key.jwks()["keys"][0]["kid"].as_str().map(str::to_owned)] {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = id;
        header.jwk = serde_json::from_value(other.jwks()["keys"][0].clone()).unwrap();
        let token = jsonwebtoken::encode(&header, &issuer.payload(json!({})), &key).unwrap();
        rejected(&authenticator, &token, "a key in the header").await;
    }
}

#[tokio::test]
async fn a_new_key_is_fetched_when_it_is_first_met() {
    let mut issuer = Issuer::start().await;
    let mut config = issuer.config();
    config.fetch_interval = Duration::ZERO;
    let authenticator = Authenticator::new(config, vec![]).unwrap();
    let old = issuer.token(json!({}));
    authenticator.authenticate(Some(&old)).await.unwrap();
    issuer.rotate();
    authenticator.authenticate(Some(&issuer.token(json!({})))).await.unwrap();
    assert_eq!(issuer.fetches(), 2);
    rejected(&authenticator, &old, "signed with the key that went").await;
}

#[tokio::test]
async fn unknown_keys_do_not_make_more_fetches_than_the_interval_allows() {
    let mut issuer = Issuer::start().await;
    let authenticator = issuer.authenticator();
    let good = issuer.token(json!({}));
    authenticator.authenticate(Some(&good)).await.unwrap();
    issuer.rotate();
    for _ in 0..20 {
        rejected(&authenticator, &issuer.token(json!({})), "the interval is not over").await;
    }
    authenticator.authenticate(Some(&good)).await.unwrap();
    assert_eq!(issuer.fetches(), 1);
}

#[tokio::test]
async fn keys_that_are_no_longer_fresh_are_fetched_again_and_serve_while_the_issuer_is_away() {
    let issuer = Issuer::start().await;
    let mut config = issuer.config();
    config.fetch_interval = Duration::ZERO;
    config.keys_fresh_for = Duration::ZERO;
    let authenticator = Authenticator::new(config.clone(), vec![]).unwrap();
    let good = issuer.token(json!({}));
    for _ in 0..3 {
        authenticator.authenticate(Some(&good)).await.unwrap();
    }
    assert_eq!(issuer.fetches(), 3);
    issuer.served.away.store(true, Ordering::SeqCst);
    authenticator.authenticate(Some(&good)).await.unwrap();

    config.keys_usable_for = Duration::ZERO;
    issuer.served.away.store(false, Ordering::SeqCst);
    let strict = Authenticator::new(config, vec![]).unwrap();
    strict.authenticate(Some(&good)).await.unwrap();
    issuer.served.away.store(true, Ordering::SeqCst);
    let error = strict.authenticate(Some(&good)).await.unwrap_err();
    assert!(matches!(error, AuthError::Unavailable), "{error:?}");
}

#[tokio::test]
async fn an_issuer_that_is_away_is_unavailable_and_not_a_rejection() {
    let issuer = Issuer::start().await;
    issuer.served.away.store(true, Ordering::SeqCst);
    let mut config = issuer.config();
    config.fetch_interval = Duration::ZERO;
    let authenticator = Authenticator::new(config, vec![]).unwrap();
    let good = issuer.token(json!({}));
    for _ in 0..2 {
        let error = authenticator.authenticate(Some(&good)).await.unwrap_err();
        assert!(matches!(error, AuthError::Unavailable), "{error:?}");
        assert!(error.is_retryable());
    }
    issuer.served.away.store(false, Ordering::SeqCst);
    authenticator.authenticate(Some(&good)).await.unwrap();
}

#[tokio::test]
async fn discovery_that_speaks_for_another_issuer_or_points_to_plain_http_is_not_followed() {
    let issuer = Issuer::start().await;
    let good = issuer.token(json!({}));
    let keys = format!("{}/keys", issuer.url);
    for (name, jwks_uri) in [
        ("https://another.example", keys.as_str()),
        (issuer.url.as_str(), "http://keys.example/keys"),
        (issuer.url.as_str(), "file:///etc/keys"),
    ] {
        *issuer.served.discovery.lock() = json!({"issuer": name, "jwks_uri": jwks_uri});
        let error = issuer.authenticator().authenticate(Some(&good)).await.unwrap_err();
        assert!(matches!(error, AuthError::Unavailable), "{error:?}");
    }
    assert_eq!(issuer.fetches(), 0);
}

#[tokio::test]
async fn only_configured_algorithms_are_accepted_and_symmetric_ones_cannot_be_configured() {
    let issuer = Issuer::start().await;
    let mut config = issuer.config();
    config.issuers[0].algorithms = vec!["RS256".into()];
    let authenticator = Authenticator::new(config.clone(), vec![]).unwrap();
    rejected(&authenticator, &issuer.token(json!({})), "ES256 is not among them").await;
    for algorithms in [vec!["HS256"], vec!["none"], vec!["ES256", "HS512"], vec![]] {
        config.issuers[0].algorithms = algorithms.into_iter().map(str::to_owned).collect();
        assert!(matches!(Authenticator::new(config.clone(), vec![]), Err(IamError::Configuration { .. })));
    }
}

#[tokio::test]
async fn configurations_that_cannot_be_right_are_errors() {
    let issuer = Issuer::start().await;
    let refused = |change: &dyn Fn(&mut IssuerConfig)| {
        let mut config = issuer.config();
        change(&mut config.issuers[0]);
        assert!(Authenticator::new(config, vec![]).is_err());
    };
    let no_certificate = issuer.folder.path().join("empty.pem");
    std::fs::write(&no_certificate, "").unwrap();
    refused(&|issuer| issuer.audience.clear());
    refused(&|issuer| issuer.audience.push(String::new()));
    refused(&|issuer| issuer.issuer = "http://issuer.example".into());
    refused(&|issuer| issuer.jwks_uri = Some("http://issuer.example/keys".into()));
    refused(&|issuer| issuer.ca_file = Some(no_certificate.clone()));
    refused(&|issuer| issuer.ca_file = Some("/no/such/file.pem".into()));
    let mut twice = issuer.config();
    twice.issuers.push(twice.issuers[0].clone());
    assert!(Authenticator::new(twice, vec![]).is_err());
}

#[tokio::test]
async fn nobody_is_anonymous_unless_that_is_switched_off() {
    let mut config = AuthenticatorConfig::default();
    let open = Authenticator::new(config.clone(), vec![]).unwrap();
    let claims = open.authenticate(None).await.unwrap();
    assert!(claims.is_anonymous());
    rejected(&open, "bad", "bad credentials are never anonymous").await;
    config.anonymous = false;
    let error = Authenticator::new(config, vec![]).unwrap().authenticate(None).await.unwrap_err();
    assert!(matches!(error, AuthError::CredentialsRequired));
}

#[tokio::test]
async fn a_token_of_the_development_issuer_gives_back_what_was_put_in() {
    let folder = TempDir::new().unwrap();
    let issuer = DevelopmentIssuer::open(&folder.path().join("key.pem"), "urn:lakeward:development", AUDIENCE).unwrap();
    let authenticator = Authenticator::new(AuthenticatorConfig::default(), vec![issuer.local()]).unwrap();
    let put =
        Claims::new("hanna").named("Hanna").role("doctor").role("head").text("staff", "s-1").list("sites", ["n", "s"]);
    let token = issuer.mint(&put, HOUR).unwrap();
    let mut expected = put.clone();
    expected.issuer = Some("urn:lakeward:development".into());
    assert_eq!(authenticator.authenticate(Some(&token)).await.unwrap(), expected);

    let sneaky = issuer.mint(&put.text("iss", "urn:another").text("exp", "never"), HOUR).unwrap();
    assert_eq!(authenticator.authenticate(Some(&sneaky)).await.unwrap().issuer, expected.issuer);
    let elsewhere =
        DevelopmentIssuer::open(&folder.path().join("key.pem"), "urn:lakeward:development", "other").unwrap();
    rejected(&authenticator, &elsewhere.mint(&expected, HOUR).unwrap(), "another audience").await;
}
