//! TLS to the broker, by the same properties that librdkafka is given.

use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::KafkaConfig;

/// A connector that trusts `ssl.ca.location`, or the system's authorities without it, and shows the certificate of
/// `ssl.certificate.location` where there is one. An error says which file does not do.
pub(super) fn connector(kafka: &KafkaConfig) -> Result<TlsConnector, String> {
    let property = |name: &str| kafka.properties.get(name);
    let mut roots = RootCertStore::empty();
    match property("ssl.ca.location") {
        Some(file) => {
            for certificate in certificates(file)? {
                roots.add(certificate).map_err(|error| format!("{file}: {error}"))?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots);
    let config = match (property("ssl.certificate.location"), property("ssl.key.location")) {
        (Some(certificate), Some(key)) => {
            let private = PrivateKeyDer::from_pem_file(key).map_err(|error| format!("{key}: {error}"))?;
            config
                .with_client_auth_cert(certificates(certificate)?, private)
                .map_err(|error| format!("{certificate}: {error}"))?
        }
        _ => config.with_no_client_auth(),
    };
    Ok(TlsConnector::from(Arc::new(config)))
}

fn certificates(file: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect);
    read.map_err(|error| format!("{file}: {error}"))
}
