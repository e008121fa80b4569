//! `[maintenance]`: what keeps the tables healthy.

use std::time::Duration;

use lakeward_tables::maintenance::{LEAST_FILE_RETENTION, LEAST_LOG_RETENTION, MOST_FILE_RETENTION, MaintenanceConfig};

use super::Maintenance;
use super::reader::Section;

/// None where it is switched off.
pub(super) fn maintenance(section: &Section<'_, '_>) -> Option<Maintenance> {
    let defaults = MaintenanceConfig::default();
    let enabled = section.flag("enabled", true);
    let interval = section.duration("interval", Duration::from_secs(30));
    let interval = section.positive("interval", interval);
    let target_file_size = section.size("target_file_size", 128 << 20) as u64;
    if target_file_size < 1 << 20 {
        section.problem("target_file_size", "must be at least \"1MB\"".to_owned());
    }
    let log_retention = section.duration("log_retention", defaults.log_retention);
    if log_retention < LEAST_LOG_RETENTION {
        section.problem("log_retention", "must be at least \"1h\": others follow the log commit by commit".to_owned());
    }
    let file_retention = section.duration("file_retention", defaults.file_retention);
    if !(LEAST_FILE_RETENTION..=MOST_FILE_RETENTION).contains(&file_retention) {
        let why = "must be between \"1h\" (a commit may still add a file, a statement may still read one) and \"7d\" (for so \
                   long the log knows when a file left its table)";
        section.problem("file_retention", why.to_owned());
    }
    let lease = section.duration("lease", defaults.lease);
    if lease < Duration::from_secs(5) {
        section.problem("lease", "must be at least \"5s\": a holder needs time to renew it".to_owned());
    }
    let config = MaintenanceConfig { target_file_size, log_retention, file_retention, lease, ..defaults };
    enabled.then_some(Maintenance { interval, config })
}
