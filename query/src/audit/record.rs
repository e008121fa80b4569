//! What stands in a record, and the one form in which it is digested.
//!
//! A record is a line of JSON with the columns of `audit.events`. Its members always come in the same order and absent ones
//! are left out, so that the row in the table gives back the very line that the chain was made of.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::key::AuditKey;

/// What a record tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A writer began; its chain starts here.
    Opened,
    /// A statement is about to give rows.
    Started,
    /// A statement has ended; of one that was refused or failed before it gave rows it is the only record.
    Finished,
    /// A statement was planned for its columns and parameters, and not run.
    Described,
    /// The tables that somebody can see were listed.
    Listed,
    /// Who asked for the accesses to their own data.
    Accesses,
    /// A writer ended in order.
    Closed,
}

/// A column that a statement could read, and how it was shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditedColumn {
    /// Name of the column.
    pub name: String,
    /// How its cells were shown: the names of [`crate::ColumnLevel`].
    pub level: String,
}

/// A table that a statement read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditedTable {
    /// `curated.patients`.
    pub name: String,
    /// Version of its snapshot.
    pub version: i64,
    /// Digest of the policy under which it was read.
    pub policy: String,
    /// The row scopes whose rows were shown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    /// The columns that were read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<AuditedColumn>,
}

/// The persons of whom rows of one table left the barrier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditedSubjects {
    /// The table.
    pub table: String,
    /// They were not told one by one: everybody in the row scopes may be among them.
    pub all_in_scope: bool,
    /// Keyed digests of their ids, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub digests: Vec<String>,
}

/// One record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// When it was made.
    #[serde(serialize_with = "instant", deserialize_with = "of_instant")]
    pub at: DateTime<Utc>,
    /// What it tells of.
    pub kind: Kind,
    /// Who recorded it; filled in by the writer, as are the next three.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub writer: String,
    /// Number within the writer's records, from 0.
    #[serde(default)]
    pub sequence: i64,
    /// Number of the segment.
    #[serde(default)]
    pub segment: i64,
    /// The link of the chain; no part of what it is a digest of.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub chain: String,
    /// The request's number.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub request_id: String,
    /// Who asked.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub principal: String,
    /// Who vouches for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// For which purpose.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub purpose: String,
    /// In which roles.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    /// By which protocol.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub protocol: String,
    /// From which address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// Under which grant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant_id: Option<String>,
    /// The statement without literals and comments; none where it could not even be taken apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statement: Option<String>,
    /// Keyed digest of its full text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// The tables that it read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tables: Vec<AuditedTable>,
    /// Rows that were sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<i64>,
    /// Bytes that were sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<i64>,
    /// How it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// How long it took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub milliseconds: Option<i64>,
    /// Who the rows were about.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subjects: Vec<AuditedSubjects>,
}

impl Record {
    /// A record of this moment that tells nothing yet.
    pub fn new(kind: Kind) -> Self {
        Self {
            // What a microsecond is made of is not kept.
            at: DateTime::from_timestamp_micros(Utc::now().timestamp_micros()).unwrap_or_default(),
            kind,
            writer: String::new(),
            sequence: 0,
            segment: 0,
            chain: String::new(),
            request_id: String::new(),
            principal: String::new(),
            issuer: None,
            purpose: String::new(),
            roles: Vec::new(),
            protocol: String::new(),
            peer: None,
            grant_id: None,
            statement: None,
            digest: None,
            tables: Vec::new(),
            rows: None,
            bytes: None,
            outcome: None,
            milliseconds: None,
            subjects: Vec::new(),
        }
    }

    /// The record as a line, without its end.
    pub(crate) fn line(&self) -> Vec<u8> {
        // Texts and numbers alone: this cannot fail.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The link that it must have after this one.
    pub(crate) fn link(&self, key: &AuditKey, before: &str) -> String {
        let unlinked = Self { chain: String::new(), ..self.clone() };
        key.link(before, &unlinked.line())
    }
}

const INSTANT: &str = "%Y-%m-%dT%H:%M:%S%.6fZ";

fn instant<S: Serializer>(at: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&at.format(INSTANT))
}

fn of_instant<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DateTime<Utc>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_| serde::de::Error::custom("no instant"))
}
