//! The proof that the storage has put-if-absent: without it two writers could both believe that they committed.

use futures::future::join_all;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};

use super::Store;
use crate::TablesError;

/// Creates that race for one object.
const CONTENDERS: usize = 8;

impl Store {
    /// Lets several creates race for one object. Exactly one must win, and the others must be told so.
    pub(crate) async fn probe(&self) -> Result<(), TablesError> {
        probe(self.tables().as_ref(), self.url().as_str()).await
    }
}

async fn probe(store: &dyn ObjectStore, url: &str) -> Result<(), TablesError> {
    let path = Path::from_iter(["_lakeward".to_string(), format!("probe-{}", uuid::Uuid::new_v4())]);
    let outcomes = join_all((0..CONTENDERS).map(|contender| {
        let payload = PutPayload::from(contender.to_string().into_bytes());
        store.put_opts(&path, payload, PutOptions::from(PutMode::Create))
    }))
    .await;
    let cleaned = store.delete(&path).await;

    let mut winners = 0;
    for outcome in outcomes {
        match outcome {
            Ok(_) => winners += 1,
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => {}
            Err(Error::NotImplemented { .. } | Error::NotSupported { .. }) => {
                return Err(unfit(url, "does not know it"));
            }
            Err(source) => return Err(TablesError::Storage { action: format!("writing a probe to {url}"), source }),
        }
    }
    match winners {
        1 => {}
        0 => return Err(unfit(url, "let none of several parallel creates win")),
        _ => return Err(unfit(url, "let more than one of several parallel creates of one object win")),
    }
    match cleaned {
        Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
        Err(source) => Err(TablesError::Storage { action: format!("deleting a probe from {url}"), source }),
    }
}

fn unfit(url: &str, what: &str) -> TablesError {
    TablesError::UnfitStorage(format!(
        "the storage at {url} cannot be used: commits need put-if-absent (If-None-Match: *), and it {what}"
    ))
}

#[cfg(test)]
mod tests {
    use std::fmt;
    use std::sync::Arc;

    use futures::stream::BoxStream;
    use object_store::memory::InMemory;
    use object_store::{
        CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, PutMultipartOptions, PutResult,
        Result,
    };

    use super::*;

    /// A store that takes every create for an overwrite, as some S3 look-alikes do.
    #[derive(Debug)]
    struct Careless(InMemory);

    impl fmt::Display for Careless {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("careless")
        }
    }

    #[async_trait::async_trait]
    impl ObjectStore for Careless {
        async fn put_opts(&self, path: &Path, payload: PutPayload, _: PutOptions) -> Result<PutResult> {
            self.0.put_opts(path, payload, PutOptions::from(PutMode::Overwrite)).await
        }
        async fn put_multipart_opts(&self, path: &Path, o: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
            self.0.put_multipart_opts(path, o).await
        }
        async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
            self.0.get_opts(path, options).await
        }
        fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
            self.0.delete_stream(paths)
        }
        fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
            self.0.list(prefix)
        }
        async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
            self.0.list_with_delimiter(prefix).await
        }
        async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
            self.0.copy_opts(from, to, options).await
        }
    }

    #[tokio::test]
    async fn a_store_that_lets_two_creates_win_is_refused_in_a_sentence() {
        let error = probe(&Careless(InMemory::new()), "s3://lake").await.unwrap_err();
        assert!(matches!(error, TablesError::UnfitStorage(_)));
        assert!(error.to_string().contains("put-if-absent") && error.to_string().contains("more than one"), "{error}");
    }

    #[tokio::test]
    async fn a_store_with_put_if_absent_passes_and_is_left_clean() {
        let store = Arc::new(InMemory::new());
        probe(store.as_ref(), "memory").await.unwrap();
        assert!(store.list_with_delimiter(None).await.unwrap().common_prefixes.is_empty());
    }
}
