//! Throw-away.
fn main() {
    match lakeward_tables::Lakehouse::load(std::path::Path::new("/work/main/sql")) {
        Ok(l) => {
            let _ = l.governed_tables();
            eprintln!("ok topics {} curated {} reference {:?} queries {}", l.topics.len(), l.curated.len(), l.reference.iter().map(|(k, v)| (k.clone(), v.num_rows())).collect::<Vec<_>>(), l.queries.len());
        }
        Err(p) => p.iter().for_each(|p| eprintln!("{p}")),
    }
}
