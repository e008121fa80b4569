//! The calls of Arrow Flight. Every one but the handshake begins with [`LakewardFlight::admit`]: who is asking.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::Ordering;

use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_server::FlightService;
use arrow_flight::sql::{Any, Command, DoPutPreparedStatementResult, ProstMessageExt, TicketStatementQuery};
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightEndpoint, FlightInfo, HandshakeRequest,
    HandshakeResponse, IpcMessage, PollInfo, PutResult, SchemaAsIpc, SchemaResult, Ticket,
};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::arrow::ipc::writer::IpcWriteOptions;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, Stream, StreamExt, TryStreamExt};
use lakeward_iam::Claims;
use prost::Message;
use tonic::metadata::MetadataMap;
use tonic::{Code, Request, Response, Status, Streaming};

use super::commands::Listing;
use super::seal::{self, Kind, Sealed, Work};
use super::status::{insert, malformed, of_stream, status, unserved};
use super::{FlightState, PURPOSE, REQUEST_ID, ROW_LIMIT, TIME_LIMIT, TRUNCATED, actions, handshake, parameters};
use crate::gateway::{Arrival, Protocol};
use crate::{Answer, ErrorCode, QueryError, RefusedKind, RequestContext};

/// A stream of messages, or of the status that ends it.
pub(super) type BoxedStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The Flight SQL endpoint; keeps nothing between calls.
#[derive(Clone)]
pub struct LakewardFlight {
    pub(super) state: FlightState,
}

/// A call whose caller is known.
pub(super) struct Call {
    arrival: Arrival,
    claims: Claims,
    purpose: Option<String>,
}

impl Call {
    /// Ends the call: counts it, and turns its failure into a status.
    fn close<T>(self, outcome: Result<Response<T>, QueryError>) -> Result<Response<T>, Status> {
        close(self.arrival, outcome)
    }

    fn unserved<T>(self) -> Result<Response<T>, Status> {
        self.arrival.finish_as("unserved");
        Err(Status::unimplemented("calls of this kind are not served"))
    }
}

fn close<T>(arrival: Arrival, outcome: Result<Response<T>, QueryError>) -> Result<Response<T>, Status> {
    match outcome {
        Ok(mut response) => {
            insert(response.metadata_mut(), REQUEST_ID, arrival.request_id());
            arrival.finish_as("ok");
            Ok(response)
        }
        Err(error) => Err(failed(arrival, error)),
    }
}

fn failed(arrival: Arrival, error: QueryError) -> Status {
    let status = status(&error, arrival.request_id());
    arrival.fail(error.code);
    status
}

impl LakewardFlight {
    pub(super) fn new(state: FlightState) -> Self {
        Self { state }
    }

    /// Finds out who is calling; without good credentials there is no call.
    async fn admit(
        &self,
        endpoint: &'static str,
        metadata: &MetadataMap,
        peer: Option<SocketAddr>,
    ) -> Result<Call, Status> {
        let arrival = self.state.gateway.arrive(Protocol::Flight, endpoint).from(peer);
        match self.caller(metadata).await {
            Ok((claims, purpose)) => Ok(Call { arrival, claims, purpose }),
            Err(error) => Err(failed(arrival, error)),
        }
    }

    async fn caller(&self, metadata: &MetadataMap) -> Result<(Claims, Option<String>), QueryError> {
        let claims = self.state.gateway.claims(handshake::bearer(metadata)?).await?;
        let purpose = metadata
            .get(PURPOSE)
            .map(|value| value.to_str().map(str::to_owned))
            .transpose()
            .map_err(|_| QueryError::new(ErrorCode::InvalidRequest, "the purpose is not a name"))?;
        Ok((claims, purpose))
    }

    /// The context of a call under the purpose it names.
    pub(super) fn context(&self, call: &Call) -> Result<RequestContext, QueryError> {
        self.state.gateway.context(&call.arrival, &call.claims, call.purpose.as_deref())
    }

    /// The context of a call that brings something sealed: the caller must be the one it was made for.
    fn context_of(&self, call: &Call, sealed: &Sealed) -> Result<RequestContext, QueryError> {
        let purpose = call.purpose.as_deref().unwrap_or(&sealed.purpose);
        let context = self.state.gateway.context(&call.arrival, &call.claims, Some(purpose))?;
        sealed.belongs_to(&context.principal)?;
        Ok(context)
    }

    /// A handle of a prepared statement, opened for its owner.
    fn prepared(&self, call: &Call, handle: &[u8]) -> Result<(Sealed, RequestContext), QueryError> {
        let sealed = Sealed::open(&self.state.key, Kind::Handle, handle)?;
        let context = self.context_of(call, &sealed)?;
        Ok((sealed, context))
    }

    pub(super) fn handle(&self, context: &RequestContext, work: Work) -> Result<Vec<u8>, QueryError> {
        Sealed::new(work, &context.principal, self.state.handle_lifetime).seal(&self.state.key, Kind::Handle)
    }

    /// What a command will give, and what to do for it.
    async fn planned(&self, call: &Call, command: &[u8]) -> Result<(SchemaRef, Work, RequestContext), QueryError> {
        let service = self.state.gateway.service();
        match decode(command)? {
            Command::CommandStatementQuery(query) => {
                if query.transaction_id.is_some() {
                    return Err(QueryError::refused(RefusedKind::Transaction));
                }
                let context = self.context(call)?;
                let prepared = service.plan(&context, &query.query).await?;
                if !prepared.parameters.fields().is_empty() {
                    let sentence = "the statement has parameters: prepare it and bind them";
                    return Err(QueryError::new(ErrorCode::InvalidRequest, sentence));
                }
                Ok((prepared.schema, Work::statement(query.query, None), context))
            }
            Command::CommandPreparedStatementQuery(query) => {
                let (sealed, context) = self.prepared(call, &query.prepared_statement_handle)?;
                let Work::Statement { sql, .. } = &sealed.work else { return Err(malformed()) };
                let prepared = service.plan(&context, sql).await?;
                Ok((prepared.schema, sealed.work, context))
            }
            Command::CommandStatementUpdate(_) | Command::CommandPreparedStatementUpdate(_) => {
                Err(QueryError::refused(RefusedKind::Dml))
            }
            other => {
                let context = self.context(call)?;
                let listing = Listing::try_from(other)?;
                Ok((listing.rows(&[])?.schema(), Work::command(command), context))
            }
        }
    }

    async fn info(&self, call: &Call, descriptor: FlightDescriptor) -> Result<Response<FlightInfo>, QueryError> {
        let (schema, work, context) = self.planned(call, &descriptor.cmd).await?;
        let sealed = Sealed::new(work, &context.principal, self.state.ticket_lifetime);
        let statement_handle = sealed.seal(&self.state.key, Kind::Ticket)?.into();
        let ticket = Ticket::new(TicketStatementQuery { statement_handle }.as_any().encode_to_vec());
        let info = FlightInfo::new()
            .try_with_schema(&schema)
            .map_err(|_| QueryError::internal())?
            .with_endpoint(FlightEndpoint::new().with_ticket(ticket))
            .with_descriptor(descriptor);
        Ok(Response::new(info))
    }

    async fn schema(&self, call: &Call, descriptor: &FlightDescriptor) -> Result<Response<SchemaResult>, QueryError> {
        let (schema, ..) = self.planned(call, &descriptor.cmd).await?;
        Ok(Response::new(SchemaResult { schema: ipc(&schema)?.into() }))
    }

    async fn redeem(&self, call: &Call, ticket: &[u8]) -> Result<Response<BoxedStream<FlightData>>, QueryError> {
        let any = Any::decode(ticket).map_err(|_| malformed())?;
        let Some(ticket) = any.unpack::<TicketStatementQuery>().map_err(|_| malformed())? else {
            let sentence = "rows are had for a ticket: ask GetFlightInfo for one";
            return Err(QueryError::new(ErrorCode::InvalidRequest, sentence));
        };
        let sealed = Sealed::open(&self.state.key, Kind::Ticket, &ticket.statement_handle)?;
        let context = self.context_of(call, &sealed)?;
        let service = self.state.gateway.service();
        match sealed.work {
            Work::Statement { sql, parameters } => {
                let parameters = parameters.map(|row| parameters::values(&seal::bytes(&row)?)).transpose()?;
                let answer = service.execute(&context, &sql, parameters).await?;
                Ok(rows(&context, answer.without_views()))
            }
            Work::Command { any } => {
                let listing = Listing::try_from(decode(&seal::bytes(&any)?)?)?;
                let tables = if listing.needs_tables() { service.tables(&context).await? } else { Vec::new() };
                let batch = listing.rows(&tables)?;
                Ok(Response::new(encoded(batch.schema(), stream::once(async { Ok(batch) }).boxed())))
            }
        }
    }

    async fn put(&self, call: &Call, mut messages: Streaming<FlightData>) -> Result<PutResult, QueryError> {
        let first = messages.message().await.map_err(|_| malformed())?.ok_or_else(malformed)?;
        let command = first.flight_descriptor.as_ref().ok_or_else(malformed)?.cmd.clone();
        match decode(&command)? {
            Command::CommandPreparedStatementQuery(query) => {
                let (sealed, context) = self.prepared(call, &query.prepared_statement_handle)?;
                let Work::Statement { sql, .. } = sealed.work else { return Err(malformed()) };
                let row = parameters::bound(stream::once(async { Ok(first) }).chain(messages)).await?;
                let handle = self.handle(&context, Work::statement(sql, row.as_deref()))?;
                let result = DoPutPreparedStatementResult { prepared_statement_handle: Some(handle.into()) };
                Ok(PutResult { app_metadata: result.encode_to_vec().into() })
            }
            Command::CommandStatementUpdate(update) => {
                // Planning says of what kind it is; what plans well is a question, and no update.
                let context = self.context(call)?;
                self.state.gateway.service().plan(&context, &update.query).await?;
                let sentence = "a question is run as a query, not as an update";
                Err(QueryError::new(ErrorCode::Refused(RefusedKind::Statement), sentence))
            }
            Command::CommandPreparedStatementUpdate(_) | Command::CommandStatementIngest(_) => {
                Err(QueryError::refused(RefusedKind::Dml))
            }
            Command::CommandStatementSubstraitPlan(_) => Err(QueryError::refused(RefusedKind::Statement)),
            _ => Err(unserved()),
        }
    }
}

/// Reads a Flight SQL command.
pub(super) fn decode(command: &[u8]) -> Result<Command, QueryError> {
    Any::decode(command).ok().and_then(|any| Command::try_from(any).ok()).ok_or_else(malformed)
}

/// A schema as an encapsulated IPC message, as Flight SQL's messages carry it.
pub(super) fn ipc(schema: &Schema) -> Result<Vec<u8>, QueryError> {
    let options = IpcWriteOptions::default();
    let message = IpcMessage::try_from(SchemaAsIpc::new(schema, &options)).map_err(|_| QueryError::internal())?;
    Ok(message.0.to_vec())
}

fn encoded(
    schema: SchemaRef,
    batches: BoxStream<'static, Result<RecordBatch, FlightError>>,
) -> BoxedStream<FlightData> {
    Box::pin(FlightDataEncoderBuilder::new().with_schema(schema).build(batches).map_err(of_stream))
}

/// An answer as it comes, with its limits in the headers and what was cut off in the trailers.
fn rows(context: &RequestContext, answer: Answer) -> Response<BoxedStream<FlightData>> {
    let request_id = context.request_id.clone();
    let failed = move |error: QueryError| FlightError::Tonic(Box::new(status(&error, &request_id)));
    let truncated = answer.truncated;
    // A stream that ends in a status of OK ends well, with that status' metadata as its trailers.
    let end = async move {
        let mut trailers = MetadataMap::new();
        insert(&mut trailers, TRUNCATED, "true");
        truncated.load(Ordering::Acquire).then(|| Err(Status::with_metadata(Code::Ok, "", trailers)))
    };
    let batches = encoded(answer.schema, answer.stream.map_err(failed).boxed());
    let frames: BoxedStream<FlightData> = Box::pin(batches.chain(end.into_stream().filter_map(std::future::ready)));
    let mut response = Response::new(frames);
    let headers = response.metadata_mut();
    insert(headers, ROW_LIMIT, &answer.row_limit.to_string());
    insert(headers, TIME_LIMIT, &answer.time_limit.as_millis().to_string());
    insert(headers, PURPOSE, &context.principal.purpose);
    response
}

#[tonic::async_trait]
impl FlightService for LakewardFlight {
    type HandshakeStream = BoxedStream<HandshakeResponse>;
    type ListFlightsStream = BoxedStream<FlightInfo>;
    type DoGetStream = BoxedStream<FlightData>;
    type DoPutStream = BoxedStream<PutResult>;
    type DoActionStream = BoxedStream<arrow_flight::Result>;
    type ListActionsStream = BoxedStream<ActionType>;
    type DoExchangeStream = BoxedStream<FlightData>;

    async fn handshake(
        &self,
        request: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        let arrival = self.state.gateway.arrive(Protocol::Flight, "Handshake");
        let (metadata, _, mut messages) = request.into_parts();
        let outcome = async {
            // A client that says all in its headers may keep the stream open without a message: do not wait for one.
            let payload = if metadata.contains_key("authorization") {
                None
            } else {
                messages.message().await.map_err(|_| malformed())?
            };
            let payload = payload.map(|message| message.payload).unwrap_or_default();
            let token = handshake::offered(&metadata, &payload)?;
            self.state.gateway.claims(token.as_deref()).await?;
            Ok(handshake::answer(token.as_deref()))
        };
        let outcome = outcome.await;
        close(arrival, outcome)
    }

    async fn list_flights(&self, request: Request<Criteria>) -> Result<Response<Self::ListFlightsStream>, Status> {
        self.admit("ListFlights", request.metadata(), request.remote_addr()).await?.unserved()
    }

    async fn get_flight_info(&self, request: Request<FlightDescriptor>) -> Result<Response<FlightInfo>, Status> {
        let call = self.admit("GetFlightInfo", request.metadata(), request.remote_addr()).await?;
        let outcome = self.info(&call, request.into_inner()).await;
        call.close(outcome)
    }

    async fn poll_flight_info(&self, request: Request<FlightDescriptor>) -> Result<Response<PollInfo>, Status> {
        self.admit("PollFlightInfo", request.metadata(), request.remote_addr()).await?.unserved()
    }

    async fn get_schema(&self, request: Request<FlightDescriptor>) -> Result<Response<SchemaResult>, Status> {
        let call = self.admit("GetSchema", request.metadata(), request.remote_addr()).await?;
        let outcome = self.schema(&call, request.get_ref()).await;
        call.close(outcome)
    }

    async fn do_get(&self, request: Request<Ticket>) -> Result<Response<Self::DoGetStream>, Status> {
        let call = self.admit("DoGet", request.metadata(), request.remote_addr()).await?;
        let outcome = self.redeem(&call, &request.get_ref().ticket).await;
        call.close(outcome)
    }

    async fn do_put(&self, request: Request<Streaming<FlightData>>) -> Result<Response<Self::DoPutStream>, Status> {
        let peer = request.remote_addr();
        let (metadata, _, messages) = request.into_parts();
        let call = self.admit("DoPut", &metadata, peer).await?;
        let outcome = self.put(&call, messages).await;
        call.close(outcome.map(|result| Response::new(one(result))))
    }

    async fn do_exchange(
        &self,
        request: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoExchangeStream>, Status> {
        let peer = request.remote_addr();
        let (metadata, ..) = request.into_parts();
        self.admit("DoExchange", &metadata, peer).await?.unserved()
    }

    async fn do_action(&self, request: Request<Action>) -> Result<Response<Self::DoActionStream>, Status> {
        let call = self.admit("DoAction", request.metadata(), request.remote_addr()).await?;
        let outcome = actions::run(self, &call, request.get_ref()).await;
        call.close(outcome.map(|results| {
            let results = results.into_iter().map(|body| Ok(arrow_flight::Result { body: body.into() }));
            let results: Self::DoActionStream = Box::pin(stream::iter(results.collect::<Vec<_>>()));
            Response::new(results)
        }))
    }

    async fn list_actions(&self, request: Request<Empty>) -> Result<Response<Self::ListActionsStream>, Status> {
        let call = self.admit("ListActions", request.metadata(), request.remote_addr()).await?;
        let listed: Vec<_> = actions::ALL.iter().map(|action| Ok(action.described())).collect();
        let listed: Self::ListActionsStream = Box::pin(stream::iter(listed));
        call.close(Ok(Response::new(listed)))
    }
}

fn one<T: Send + 'static>(message: T) -> BoxedStream<T> {
    Box::pin(stream::once(async { Ok(message) }))
}
