//! Credentials in the headers of a call, and the handshake that turns a password into a bearer token.
//!
//! Nothing is minted here: a password is a token already, and the handshake hands it back for the calls that follow.

use arrow_flight::{BasicAuth, HandshakeResponse};
use data_encoding::BASE64;
use prost::Message;
use tonic::metadata::MetadataMap;
use tonic::{Response, Status};

use super::service::BoxedStream;
use super::status::insert;
use crate::{ErrorCode, QueryError};

const AUTHORIZATION: &str = "authorization";

fn rejected() -> QueryError {
    QueryError::new(ErrorCode::Unauthenticated, "the credentials were not accepted")
}

/// The token of a call; `None` without the header. Any other scheme is a bad credential.
pub(super) fn bearer(metadata: &MetadataMap) -> Result<Option<&str>, QueryError> {
    match credentials(metadata)? {
        None => Ok(None),
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(Some(token)),
        Some(_) => Err(rejected()),
    }
}

/// The token that a handshake offers: as bearer, as password in the header, or as password in its first message.
pub(super) fn offered(metadata: &MetadataMap, payload: &[u8]) -> Result<Option<String>, QueryError> {
    match credentials(metadata)? {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(Some(token.to_owned())),
        Some((scheme, encoded)) if scheme.eq_ignore_ascii_case("basic") => {
            let decoded = BASE64.decode(encoded.as_bytes()).map_err(|_| rejected())?;
            let decoded = String::from_utf8(decoded).map_err(|_| rejected())?;
            let (_, password) = decoded.split_once(':').ok_or_else(rejected)?;
            Ok(Some(password.to_owned()))
        }
        Some(_) => Err(rejected()),
        None if payload.is_empty() => Ok(None),
        None => Ok(Some(BasicAuth::decode(payload).map_err(|_| rejected())?.password)),
    }
}

fn credentials(metadata: &MetadataMap) -> Result<Option<(&str, &str)>, QueryError> {
    let mut values = metadata.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(rejected());
    }
    let (scheme, rest) = value.to_str().ok().and_then(|value| value.split_once(' ')).ok_or_else(rejected)?;
    Ok(Some((scheme, rest.trim())))
}

/// The answer to a handshake: the token in header, payload and trailer, for clients look in different places.
pub(super) fn answer(token: Option<&str>) -> Response<BoxedStream<HandshakeResponse>> {
    let payload = token.unwrap_or_default().as_bytes().to_vec();
    let message = HandshakeResponse { protocol_version: 0, payload: payload.into() };
    let mut metadata = MetadataMap::new();
    if let Some(token) = token {
        insert(&mut metadata, AUTHORIZATION, &format!("Bearer {token}"));
    }
    // A stream that ends in a status of OK ends well, with that status' metadata as its trailers.
    let end = Status::with_metadata(tonic::Code::Ok, "", metadata.clone());
    let stream: BoxedStream<HandshakeResponse> = Box::pin(futures::stream::iter([Ok(message), Err(end)]));
    let mut response = Response::new(stream);
    *response.metadata_mut() = metadata;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(value: &str) -> MetadataMap {
        let mut metadata = MetadataMap::new();
        insert(&mut metadata, AUTHORIZATION, value);
        metadata
    }

    fn basic(text: &str) -> MetadataMap {
        with(&format!("Basic {}", BASE64.encode(text.as_bytes())))
    }

    #[test]
    fn a_password_is_a_token() {
        assert_eq!(offered(&basic("ana:token"), &[]), Ok(Some("token".to_owned())));
        assert_eq!(offered(&basic(":a:b"), &[]), Ok(Some("a:b".to_owned())));
    }

    #[test]
    fn a_bearer_token_may_be_offered_too() {
        assert_eq!(offered(&with("Bearer token"), &[]), Ok(Some("token".to_owned())));
    }

    #[test]
    fn a_password_may_stand_in_the_first_message() {
        let payload = BasicAuth { username: "ana".to_owned(), password: "token".to_owned() }.encode_to_vec();
        assert_eq!(offered(&MetadataMap::new(), &payload), Ok(Some("token".to_owned())));
    }

    #[test]
    fn who_offers_nothing_is_anonymous() {
        assert_eq!(offered(&MetadataMap::new(), &[]), Ok(None));
    }

    #[test]
    fn what_cannot_be_read_is_a_bad_credential_and_never_anonymous() {
        for metadata in [with("Basic !"), with("Digest x"), with("token"), basic("no-colon")] {
            assert_eq!(offered(&metadata, &[]).map_err(|error| error.code), Err(ErrorCode::Unauthenticated));
        }
        assert!(offered(&MetadataMap::new(), &[0xff]).is_err());
    }

    #[test]
    fn a_password_is_for_the_handshake_alone() {
        assert_eq!(bearer(&basic("ana:token")).map_err(|error| error.code), Err(ErrorCode::Unauthenticated));
        assert_eq!(bearer(&with("Bearer token")), Ok(Some("token")));
        assert_eq!(bearer(&MetadataMap::new()), Ok(None));
    }
}
