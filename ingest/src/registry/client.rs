//! The registry over HTTP, with what it answered kept.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use reqwest::{Certificate, Client, Response, StatusCode, Url, redirect};
use serde::Deserialize;

use super::{Answer, Away, Referred, RegisteredSchema, SchemaKind};
use crate::error::IngestError;

/// How long one question may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Larger answers are not read.
const LARGEST_ANSWER: usize = 8 << 20;
/// How many schemas one may refer to, in all.
const MOST_REFERENCES: usize = 200;
/// How many answers are kept; then all are asked for anew.
const MOST_KEPT: usize = 10_000;
/// How long the word that there is no schema under an id is believed: a registry that was restored from a copy may get it.
const UNKNOWN_FOR: Duration = Duration::from_secs(30);

/// The registry's codes for "no such subject", "no such version" and "no such schema".
const NO_SUBJECT: u32 = 40401;
const NO_VERSION: u32 = 40402;
const NO_SCHEMA: u32 = 40403;

/// Where a registry is, and how one gets in.
#[derive(Clone)]
pub struct RegistryConfig {
    /// The address before `/schemas` and `/subjects`.
    pub url: String,
    /// User name and password.
    pub credentials: Option<(String, String)>,
    /// PEM of an authority beside those that the system trusts.
    pub ca: Option<Vec<u8>>,
}

impl fmt::Debug for RegistryConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = self.credentials.as_ref().map(|(user, _)| user);
        f.debug_struct("RegistryConfig").field("url", &self.url).field("user", &user).finish_non_exhaustive()
    }
}

/// A registry, with what it answered.
#[derive(Debug)]
pub struct Registry {
    client: Client,
    config: RegistryConfig,
    kept: Mutex<HashMap<u32, Kept>>,
}

#[derive(Debug)]
struct Kept {
    answer: Answer,
    since: Instant,
}

#[derive(Deserialize)]
struct SchemaDocument {
    schema: String,
    #[serde(rename = "schemaType")]
    kind: Option<String>,
    references: Option<Vec<ReferenceDocument>>,
}

#[derive(Deserialize)]
struct ReferenceDocument {
    name: String,
    subject: String,
    version: i64,
}

#[derive(Deserialize)]
struct ErrorDocument {
    error_code: u32,
}

#[derive(Deserialize)]
struct Registered {
    id: u32,
}

/// A document, or the registry's own word that there is none.
enum Document<T> {
    There(T),
    NotThere,
}

impl Registry {
    /// A client of a registry; it need not answer yet.
    ///
    /// # Errors
    ///
    /// An address or a certificate that cannot be used.
    pub fn new(config: RegistryConfig) -> Result<Self, IngestError> {
        let unusable = |why: String| IngestError::Registry(format!("the schema registry {}: {why}", config.url));
        Url::parse(&config.url).map_err(|error| unusable(error.to_string()))?;
        // A password must not follow a redirection to somewhere else.
        let mut client = Client::builder().timeout(TIMEOUT).redirect(redirect::Policy::none());
        if let Some(pem) = &config.ca {
            for certificate in Certificate::from_pem_bundle(pem).map_err(|error| unusable(error.to_string()))? {
                client = client.add_root_certificate(certificate);
            }
        }
        let client = client.build().map_err(|error| unusable(error.to_string()))?;
        Ok(Registry { client, config, kept: Mutex::default() })
    }

    /// Asks for the schema under an id, and keeps the answer.
    pub(crate) async fn schema(&self, id: u32) -> Result<Answer, Away> {
        let answer = self.ask(id).await?;
        let mut kept = self.kept.lock();
        if kept.len() >= MOST_KEPT {
            kept.clear();
        }
        kept.insert(id, Kept { answer: answer.clone(), since: Instant::now() });
        Ok(answer)
    }

    /// Registers a schema for the payloads of a topic (subject `<topic>-value`), and gives its id; the same one gives the
    /// same id again.
    ///
    /// # Errors
    ///
    /// The registry does not answer or refuses; the sentence says what would help.
    pub(crate) async fn register(&self, topic: &str, kind: SchemaKind, text: &str) -> Result<u32, IngestError> {
        let body = serde_json::json!({ "schema": text, "schemaType": kind.name() });
        let request = self.client.post(self.address(&["subjects", &format!("{topic}-value"), "versions"])?);
        let request = request.header("content-type", "application/vnd.schemaregistry.v1+json").body(body.to_string());
        let response = self.send(request).await?;
        let status = response.status();
        let refused = |why: &str| IngestError::Registry(format!("the schema registry {}: {why}", self.config.url));
        match status {
            status if status.is_success() => {}
            StatusCode::CONFLICT => {
                return Err(refused(&format!(
                    "the schema of {topic} is not compatible with the one that stands there; change it so that readers of \
                     the old one can read it, or change the subject's compatibility"
                )));
            }
            StatusCode::UNPROCESSABLE_ENTITY => return Err(refused(&format!("it cannot read the schema of {topic}"))),
            other => return Err(refused(&words(other))),
        }
        let bytes = self.bytes(response).await?;
        let registered: Registered = serde_json::from_slice(&bytes).map_err(|_| self.no_registry(status))?;
        Ok(registered.id)
    }

    /// A registry that is asked for nothing, for it is known what it says.
    #[cfg(test)]
    pub(crate) fn saying(answers: impl IntoIterator<Item = (u32, Answer)>) -> Arc<Self> {
        let config = RegistryConfig { url: "http://127.0.0.1:1".to_owned(), credentials: None, ca: None };
        let registry = Registry::new(config).unwrap();
        let since = Instant::now();
        registry.kept.lock().extend(answers.into_iter().map(|(id, answer)| (id, Kept { answer, since })));
        Arc::new(registry)
    }

    /// What it answered before, as long as that holds.
    pub(crate) fn kept(&self, id: u32) -> Option<Answer> {
        let kept = self.kept.lock();
        let Kept { answer, since } = kept.get(&id)?;
        let holds = matches!(answer, Answer::Schema(_)) || since.elapsed() < UNKNOWN_FOR;
        holds.then(|| answer.clone())
    }

    async fn ask(&self, id: u32) -> Result<Answer, Away> {
        let document: SchemaDocument = match self.get(&["schemas", "ids", &id.to_string()], &[NO_SCHEMA]).await? {
            Document::There(document) => document,
            Document::NotThere => return Ok(Answer::Unknown),
        };
        let SchemaDocument { schema, kind, references } = document;
        let mut found = Vec::new();
        if !self.follow(references.unwrap_or_default(), &mut found).await? {
            return Ok(Answer::Incomplete);
        }
        let kind = SchemaKind::of(kind.as_deref());
        Ok(Answer::Schema(Arc::new(RegisteredSchema { kind, text: schema, references: found })))
    }

    /// Everything that is referred to, the innermost first; false where some of it is not there or there is too much.
    async fn follow(&self, references: Vec<ReferenceDocument>, found: &mut Vec<Referred>) -> Result<bool, Away> {
        // Depth first without recursion: a reference comes by twice, at first to open it and then to take it.
        enum Step {
            Open(ReferenceDocument),
            Take(Referred),
        }
        let mut seen = BTreeSet::new();
        let mut due: Vec<Step> = references.into_iter().rev().map(Step::Open).collect();
        while let Some(step) = due.pop() {
            let reference = match step {
                Step::Take(referred) => {
                    found.push(referred);
                    continue;
                }
                Step::Open(reference) => reference,
            };
            if !seen.insert(reference.name.clone()) {
                continue;
            }
            if seen.len() > MOST_REFERENCES {
                return Ok(false);
            }
            let version = reference.version.to_string();
            let path = ["subjects", &reference.subject, "versions", &version];
            let Document::There(SchemaDocument { schema, references, .. }) =
                self.get(&path, &[NO_SUBJECT, NO_VERSION, NO_SCHEMA]).await?
            else {
                return Ok(false);
            };
            due.push(Step::Take(Referred { name: reference.name, text: schema }));
            due.extend(references.unwrap_or_default().into_iter().rev().map(Step::Open));
        }
        Ok(true)
    }

    /// A document; that there is none is believed only where the answer is a registry's and bears one of these codes.
    async fn get<T: for<'a> Deserialize<'a>>(&self, path: &[&str], absent: &[u32]) -> Result<Document<T>, Away> {
        let response = self.send(self.client.get(self.address(path)?)).await?;
        let status = response.status();
        if !status.is_success() && status != StatusCode::NOT_FOUND {
            return Err(Away(format!("the schema registry {}: {}", self.config.url, words(status))));
        }
        let bytes = self.bytes(response).await?;
        if status == StatusCode::NOT_FOUND {
            return match serde_json::from_slice::<ErrorDocument>(&bytes) {
                Ok(error) if absent.contains(&error.error_code) => Ok(Document::NotThere),
                _ => Err(self.no_registry(status)),
            };
        }
        serde_json::from_slice(&bytes).map(Document::There).map_err(|_| self.no_registry(status))
    }

    async fn send(&self, mut request: reqwest::RequestBuilder) -> Result<Response, Away> {
        if let Some((user, password)) = &self.config.credentials {
            request = request.basic_auth(user, Some(password));
        }
        request.send().await.map_err(|error| self.away(&error))
    }

    async fn bytes(&self, mut response: Response) -> Result<Vec<u8>, Away> {
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.away(&error))? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > LARGEST_ANSWER {
                return Err(Away(format!("the schema registry {}: its answer is too large", self.config.url)));
            }
        }
        Ok(bytes)
    }

    fn address(&self, path: &[&str]) -> Result<Url, Away> {
        let unusable = || Away(format!("the schema registry {}: the address cannot be used", self.config.url));
        let mut url = Url::parse(&self.config.url).map_err(|_| unusable())?;
        url.path_segments_mut().map_err(|()| unusable())?.pop_if_empty().extend(path);
        Ok(url)
    }

    fn no_registry(&self, status: StatusCode) -> Away {
        let url = &self.config.url;
        Away(format!(
            "{url} answers {}, and not as a schema registry does: look at [registry] url, which is the address before /schemas",
            status.as_u16()
        ))
    }

    fn away(&self, error: &reqwest::Error) -> Away {
        let why = match error {
            error if error.is_timeout() => "it does not answer in time",
            error if error.is_connect() => "no connection; is it there, and is its certificate trusted?",
            _ => "the connection broke",
        };
        Away(format!("the schema registry {}: {why}", self.config.url))
    }
}

fn words(status: StatusCode) -> String {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            format!("it refuses with {}: look at username and password of [registry]", status.as_u16())
        }
        other => format!("it answers {}", other.as_u16()),
    }
}

impl From<Away> for IngestError {
    fn from(Away(why): Away) -> Self {
        IngestError::Registry(why)
    }
}
