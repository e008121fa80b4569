//! `lakeward token`: a token of the development issuer, on standard output.
#![allow(clippy::print_stdout, reason = "the token belongs on standard output")]

use std::time::Duration;

use anyhow::{Context, bail};
use lakeward_iam::Claims;

use crate::cli::TokenArgs;
use crate::{config, demo, development};

/// Mints and prints a token.
pub(crate) fn run(args: TokenArgs) -> anyhow::Result<()> {
    let ttl = Duration::from_secs(u64::from(args.minutes) * 60);
    if let Some(file) = &args.config {
        let development = config::development(file)?.with_context(|| {
            format!("{} has no [development] section: real issuers give their own tokens, ask there", file.display())
        })?;
        println!("{}", development::open(&development.key_file)?.mint(&claims(&args), ttl)?);
        return Ok(());
    }
    let key = args.demo.join(demo::ISSUER_KEY);
    if !key.exists() {
        bail!(
            "{} is no folder of a demo: start `lakeward demo`, or name a configuration by --config",
            args.demo.display()
        );
    }
    let claims = if args.roles.is_empty() {
        demo::people::known(&args.demo, &args.subject)?
            .with_context(|| format!("the demo knows nobody with the login {}", args.subject))?
    } else {
        claims(&args)
    };
    println!("{}", development::open(&key)?.mint(&claims, ttl)?);
    Ok(())
}

fn claims(args: &TokenArgs) -> Claims {
    let mut claims = Claims::new(&args.subject).named(&args.subject);
    for role in &args.roles {
        claims = claims.role(role);
    }
    if let Some(id) = &args.staff_id {
        claims = claims.text("staff_id", id);
    }
    if let Some(id) = &args.patient_id {
        claims = claims.text("patient_id", id);
    }
    for (name, text) in &args.claims {
        claims = claims.text(name, text);
    }
    for (name, texts) in &args.claim_lists {
        claims = claims.list(name, texts.split(','));
    }
    claims.list("clinics", args.clinics.iter().cloned())
}
