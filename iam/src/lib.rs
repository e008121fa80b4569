//! Who is asking, and what they may see.
//!
//! - *Claims* are what a verified token says of a person ([`Authenticator`] verifies).
//! - A *role* belongs to a *purpose*; a request has one purpose and activates that purpose's roles alone.
//! - The *principal* is a person for one purpose: roles, attributes, and a digest over all of it.
//! - *Policies* (Cedar) decide per table: under which row *scopes* the principal reads, and at which *level*
//!   each column is shown there.
//!
//! Decisions are pure: no I/O, no clock, no knowledge of how a scope or a mask is carried out.
//!
//! ```no_run
//! # async fn example(tables: Vec<lakeward_iam::ResourceTable>) -> Result<(), Box<dyn std::error::Error>> {
//! use lakeward_iam::{Authenticator, AuthenticatorConfig, Policies};
//!
//! let authenticator = Authenticator::new(AuthenticatorConfig::default(), vec![])?;
//! let policies = Policies::load("sql/policies".as_ref(), &tables).map_err(|problems| format!("{problems:?}"))?;
//!
//! let claims = authenticator.authenticate(Some("eyJ…")).await?;
//! let principal = policies.principal(&claims, Some("care"))?;
//! let decision = policies.decide(&principal, "curated.patients");
//! assert!(decision.is_visible());
//! # Ok(()) }
//! ```

mod authenticator;
mod claims;
mod development;
mod error;
mod oracle;
mod policies;
mod principal;
mod purposes;

pub use authenticator::{Authenticator, AuthenticatorConfig, IssuerConfig, IssuerUrl, LocalIssuer, SignatureAlgorithm};
pub use claims::{ANONYMOUS, Attribute, Claims};
pub use development::DevelopmentIssuer;
pub use error::{AuthError, IamError};
pub use oracle::{Comparison, Difference, Oracle};
pub use policies::{
    ALL_ROWS, AttributeType, ColumnExplanation, ENGINE_GROUPS, Explanation, Level, Policies, PolicyPlace,
    PolicyProblem, Reasons, ResourceTable, ScopeDecision, ScopeExplanation, Seen, Survey, TableDecision, UNCLASSIFIED,
    UnreadTable,
};
pub use principal::Principal;
pub use purposes::{HeldRole, NOBODY, Standing, declared_roles};
