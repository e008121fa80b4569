//! One connection to a broker: requests and responses of Kafka's protocol, one after the other.

use std::time::Duration;

use bytes::{Buf, BytesMut};
use kafka_protocol::messages::{
    ApiKey, CreateAclsRequest, CreateAclsResponse, DescribeAclsRequest, DescribeAclsResponse, RequestHeader,
    ResponseHeader, SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest, SaslHandshakeResponse,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, StrBytes};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::rustls::pki_types::ServerName;

use super::tls;
use crate::KafkaConfig;

/// How long a broker may take for anything.
const PATIENCE: Duration = Duration::from_secs(15);
/// More than a broker has to say about rights.
const LARGEST: usize = 64 << 20;

/// A request that a client can send, and what it is answered with.
pub(super) trait Request: Encodable + HeaderVersion {
    const KEY: ApiKey;
    type Response: Decodable + HeaderVersion;
}

macro_rules! requests {
    ($($key:ident: $request:ty => $response:ty,)*) => {
        $(impl Request for $request {
            const KEY: ApiKey = ApiKey::$key;
            type Response = $response;
        })*
    };
}

requests! {
    SaslHandshake: SaslHandshakeRequest => SaslHandshakeResponse,
    SaslAuthenticate: SaslAuthenticateRequest => SaslAuthenticateResponse,
    DescribeAcls: DescribeAclsRequest => DescribeAclsResponse,
    CreateAcls: CreateAclsRequest => CreateAclsResponse,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

pub(super) struct Connection {
    stream: Box<dyn Stream>,
    last: i32,
}

impl Connection {
    /// Connects to the first broker that answers; over TLS where the properties say so. An error says what came of each.
    pub(super) async fn open(kafka: &KafkaConfig) -> Result<Self, String> {
        let protocol = kafka.properties.get("security.protocol").map_or("plaintext", String::as_str);
        let connector = match protocol.ends_with("ssl") {
            true => Some(tls::connector(kafka)?),
            false => None,
        };
        let mut failures = Vec::new();
        for broker in kafka.brokers.split(',').map(str::trim) {
            let host = broker.rsplit_once(':').map_or(broker, |(host, _)| host).trim_matches(['[', ']']);
            let opening = async {
                let tcp = TcpStream::connect(broker).await.map_err(|error| error.to_string())?;
                let Some(connector) = &connector else { return Ok(Box::new(tcp) as Box<dyn Stream>) };
                let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
                let tls = connector.connect(name, tcp).await.map_err(|error| format!("TLS: {error}"))?;
                Ok::<_, String>(Box::new(tls) as Box<dyn Stream>)
            };
            match tokio::time::timeout(PATIENCE, opening).await {
                Ok(Ok(stream)) => return Ok(Self { stream, last: 0 }),
                Ok(Err(why)) => failures.push(format!("{broker}: {why}")),
                Err(_) => failures.push(format!("{broker}: no answer")),
            }
        }
        Err(failures.join("; "))
    }

    /// Sends a request and reads its response.
    pub(super) async fn ask<R: Request>(&mut self, request: &R, version: i16) -> Result<R::Response, String> {
        tokio::time::timeout(PATIENCE, self.exchange(request, version))
            .await
            .map_err(|_| "the broker does not answer".to_owned())?
    }

    async fn exchange<R: Request>(&mut self, request: &R, version: i16) -> Result<R::Response, String> {
        let malformed = |what: &'static str| move |_| format!("{what} does not follow Kafka's protocol");
        self.last += 1;
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY as i16)
            .with_request_api_version(version)
            .with_correlation_id(self.last)
            .with_client_id(Some(StrBytes::from_static_str("lakeward")));
        let mut message = BytesMut::new();
        header.encode(&mut message, R::header_version(version)).map_err(malformed("the request's head"))?;
        request.encode(&mut message, version).map_err(malformed("the request"))?;
        let size = i32::try_from(message.len()).map_err(|_| "the request is too large".to_owned())?;
        let told = |error: std::io::Error| format!("the connection broke: {error}");
        self.stream.write_all(&size.to_be_bytes()).await.map_err(told)?;
        self.stream.write_all(&message).await.map_err(told)?;
        self.stream.flush().await.map_err(told)?;

        let size = usize::try_from(self.stream.read_i32().await.map_err(told)?).unwrap_or(usize::MAX);
        if size > LARGEST {
            return Err("the broker's answer is too large to be one".to_owned());
        }
        let mut answer = BytesMut::zeroed(size);
        self.stream.read_exact(&mut answer).await.map_err(told)?;
        let mut answer = answer.freeze();
        let version_of_head = <R::Response as HeaderVersion>::header_version(version);
        let head = ResponseHeader::decode(&mut answer, version_of_head).map_err(malformed("the answer's head"))?;
        if head.correlation_id != self.last {
            return Err("the broker answers something else".to_owned());
        }
        let response = R::Response::decode(&mut answer, version).map_err(malformed("the answer"))?;
        if answer.has_remaining() { Err("the broker says more than was asked".to_owned()) } else { Ok(response) }
    }
}
