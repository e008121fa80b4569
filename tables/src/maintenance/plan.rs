//! Which files become which: files of like size together, so that a row is written anew a few times in its life and not
//! with every commit.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Inputs;
use crate::delta::snapshot::DataFile;

/// Each class of sizes is so many times the one below.
const STEP: u64 = 8;
/// Files of the smallest class are smaller than this.
const SMALLEST: u64 = 2 << 20;
/// So many files of one class are compacted: fewer of what is larger, for the files of a table add up over all classes.
const ENOUGH_OF_SMALLEST: usize = 16;
const ENOUGH: usize = 8;
/// Inputs of one compaction.
const MOST: usize = 64;
/// What has so many bytes goes into buckets, in a table with a key: a small table is not worth their number of files.
const BUCKETED: u64 = 16 << 20;

/// Files that are compacted together.
#[derive(Debug)]
pub(crate) struct Compaction {
    pub(crate) inputs: Inputs,
    /// The bucket that all of them are of, and the output too.
    pub(crate) bucket: Option<i32>,
    /// Whether rows go into the buckets of their keys.
    pub(crate) into_buckets: bool,
}

pub(crate) fn plan(files: &[Arc<DataFile>], target: u64, has_key: bool) -> Vec<Compaction> {
    let mut groups: BTreeMap<(Option<i32>, u32), Inputs> = BTreeMap::new();
    for file in files.iter().filter(|file| file.meta.size < target / 4 * 3) {
        groups.entry((file.bucket, class(file.meta.size))).or_default().push(Arc::clone(file));
    }
    let mut tasks = Vec::new();
    for ((bucket, class), group) in groups {
        let enough = if class == 0 { ENOUGH_OF_SMALLEST } else { ENOUGH };
        let mut rest = group.as_slice();
        while rest.len() >= enough {
            let mut bytes = 0;
            let fits = rest.iter().take(MOST).take_while(|file| {
                bytes += file.meta.size;
                bytes <= target
            });
            // Two at least, or nothing would ever become of them.
            let (inputs, others) = rest.split_at(fits.count().max(2));
            let size: u64 = inputs.iter().map(|file| file.meta.size).sum();
            let into_buckets = has_key && bucket.is_none() && size >= BUCKETED.min(target / 2);
            tasks.push(Compaction { inputs: inputs.to_vec(), bucket, into_buckets });
            rest = others;
        }
    }
    tasks
}

fn class(size: u64) -> u32 {
    let mut class = 0;
    let mut bound = SMALLEST;
    while size >= bound {
        class += 1;
        bound = bound.saturating_mul(STEP);
    }
    class
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(sizes: &[u64], bucket: Option<i32>) -> Inputs {
        sizes.iter().map(|size| Arc::new(DataFile::of_size(*size, bucket))).collect()
    }

    #[test]
    fn few_files_and_large_ones_are_left_alone() {
        assert!(plan(&files(&[1_000; ENOUGH_OF_SMALLEST - 1], None), 128 << 20, false).is_empty());
        assert!(plan(&files(&[100 << 20; 40], None), 128 << 20, false).is_empty());
    }

    #[test]
    fn a_compaction_stays_below_the_target_and_takes_like_to_like() {
        let mut sizes = vec![10 << 20; 20];
        sizes.extend([1_000; 5]);
        let tasks = plan(&files(&sizes, None), 64 << 20, false);
        assert!(!tasks.is_empty());
        for task in tasks {
            let size: u64 = task.inputs.iter().map(|file| file.meta.size).sum();
            assert!(size <= 64 << 20 && task.inputs.iter().all(|file| file.meta.size == 10 << 20), "{size}");
            assert!(!task.into_buckets);
        }
    }

    #[test]
    fn rows_of_a_table_with_a_key_go_into_buckets_once_they_are_many_and_stay_in_theirs() {
        let small = plan(&files(&[1_000; 20], None), 128 << 20, true);
        assert!(small.iter().all(|task| !task.into_buckets) && small.len() == 1);
        let large = plan(&files(&[3 << 20; 8], None), 128 << 20, true);
        assert!(large.iter().all(|task| task.into_buckets) && large.len() == 1);
        let own = plan(&files(&[3 << 20; 8], Some(3)), 128 << 20, true);
        assert!(own.iter().all(|task| task.bucket == Some(3) && !task.into_buckets) && own.len() == 1);
    }

    /// However many commits there were: a table of one size has some number of files and no more.
    #[test]
    fn the_number_of_files_stays_bounded_and_a_row_is_written_anew_a_few_times() {
        let (mut sizes, mut rewritten, target) = (Vec::new(), 0, 128 << 20);
        let commit = 50_000_u64;
        let mut most = 0;
        for _ in 0..20_000 {
            sizes.push(commit);
            loop {
                let tasks = plan(&files(&sizes, None), target, false);
                let Some(task) = tasks.first() else { break };
                let size: u64 = task.inputs.iter().map(|file| file.meta.size).sum();
                for file in &task.inputs {
                    let at = sizes.iter().position(|size| *size == file.meta.size).unwrap();
                    sizes.remove(at);
                }
                sizes.push(size);
                rewritten += size;
            }
            most = most.max(sizes.len());
        }
        assert!(most < 60, "{most} files");
        let written = 20_000 * commit;
        assert!(rewritten < 6 * written, "{rewritten} of {written}");
    }
}
