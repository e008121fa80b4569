//! What a demo's folder remembers between two starts.

use std::path::Path;

use anyhow::{Context, bail};
use chrono::{DateTime, SubsecRound, Utc};
use serde::{Deserialize, Serialize};

use crate::cli::DemoArgs;

const FILE: &str = "demo.json";

/// The clinic's parameters and how often the demo was started here.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) seed: u64,
    pub(super) patients: u32,
    /// "Now" at the first start.
    pub(super) epoch: DateTime<Utc>,
    /// The start that this is, counted from 1. The embedded broker forgets, so each start is a source of its own.
    pub(super) round: u32,
}

impl State {
    /// Reads the folder's state, or begins one; counts this start.
    pub(super) fn begin(folder: &Path, args: &DemoArgs) -> anyhow::Result<Self> {
        let file = folder.join(FILE);
        let mut state = match std::fs::read(&file) {
            Ok(text) => {
                serde_json::from_slice::<Self>(&text).with_context(|| format!("{} is damaged", file.display()))?
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let epoch = Utc::now().trunc_subsecs(0);
                Self { seed: args.seed, patients: args.patients, epoch, round: 0 }
            }
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
        };
        if (state.seed, state.patients) != (args.seed, args.patients) {
            bail!(
                "{} holds a clinic of seed {} with {} patients; name another --folder for seed {} with {}",
                folder.display(),
                state.seed,
                state.patients,
                args.seed,
                args.patients
            );
        }
        state.round += 1;
        let new = folder.join(format!("{FILE}.new"));
        std::fs::write(&new, serde_json::to_vec_pretty(&state)?)?;
        std::fs::rename(&new, &file).with_context(|| format!("cannot write {}", file.display()))?;
        Ok(state)
    }

    /// The Kafka source of start `round`.
    pub(super) fn source(round: u32) -> String {
        format!("demo-{round}")
    }
}
