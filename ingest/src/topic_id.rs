//! The ids that the brokers gave topics: another id under the same name is another topic.
//!
//! librdkafka tells them by its admin interface, of which the safe crate has no such call: this is the one place of this
//! crate with `unsafe`.
#![expect(unsafe_code, reason = "librdkafka's DescribeTopics is not in the safe crate")]

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char, c_int};
use std::time::Duration;

use rdkafka::bindings as native;
use rdkafka::client::{Client, ClientContext};
use rdkafka::types::RDKafkaErrorCode as Code;
use rdkafka::types::RDKafkaRespErr;

/// The id of each topic, in Base64. Topics that are absent or may not be described are left out; so are all of them where
/// the brokers know no ids. An error means that nobody answered in time, and that another attempt may help.
pub(crate) fn topic_ids<C: ClientContext>(
    client: &Client<C>,
    topics: &[&str],
    patience: Duration,
) -> Result<BTreeMap<String, String>, Code> {
    let names: Vec<CString> = topics.iter().filter_map(|topic| CString::new(*topic).ok()).collect();
    if names.is_empty() {
        return Ok(BTreeMap::new());
    }
    // Any broker knows the topics. Without a name it would be the controller, and a stand-in may have none.
    let metadata = client.fetch_metadata(topics.first().copied(), patience);
    let metadata = metadata.map_err(|error| error.rdkafka_error_code().unwrap_or(Code::Fail))?;
    let answered = Some(metadata.orig_broker_id()).filter(|broker| *broker >= 0);
    let Some(broker) = answered.or_else(|| metadata.brokers().first().map(|broker| broker.id())) else {
        return Err(Code::AllBrokersDown);
    };
    let mut pointers: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
    let millis = c_int::try_from(patience.as_millis()).unwrap_or(c_int::MAX).max(1);
    // SAFETY: `client` keeps the handle alive for the length of the call. Queue, options and collection are made from it,
    // used by this thread alone and destroyed once, after the event that was polled from the queue; the names outlive the
    // collection, which copies them. An answer that comes too late goes to a queue that librdkafka itself counts and frees.
    unsafe {
        let handle = client.native_ptr();
        let queue = native::rd_kafka_queue_new(handle);
        let describe = native::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
        let options = native::rd_kafka_AdminOptions_new(handle, describe);
        native::rd_kafka_AdminOptions_set_request_timeout(options, millis, std::ptr::null_mut(), 0);
        native::rd_kafka_AdminOptions_set_broker(options, broker, std::ptr::null_mut(), 0);
        let wanted = native::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
        native::rd_kafka_DescribeTopics(handle, wanted, options, queue);
        let event = native::rd_kafka_queue_poll(queue, millis.saturating_add(500));
        let told = if event.is_null() { Err(Code::OperationTimedOut) } else { read(event) };
        if !event.is_null() {
            native::rd_kafka_event_destroy(event);
        }
        native::rd_kafka_TopicCollection_destroy(wanted);
        native::rd_kafka_AdminOptions_destroy(options);
        native::rd_kafka_queue_destroy(queue);
        told
    }
}

/// # Safety
///
/// `event` is an event that was polled and not yet destroyed.
unsafe fn read(event: *mut native::rd_kafka_event_t) -> Result<BTreeMap<String, String>, Code> {
    // SAFETY: what is read belongs to the event, and is copied before this returns. The array has `count` elements.
    unsafe {
        match Code::from(native::rd_kafka_event_error(event)) {
            Code::NoError => {}
            // Brokers and stand-ins that know no ids.
            Code::UnsupportedVersion | Code::UnsupportedFeature | Code::NotImplemented => return Ok(BTreeMap::new()),
            code => return Err(code),
        }
        let result = native::rd_kafka_event_DescribeTopics_result(event);
        if result.is_null() {
            return Ok(BTreeMap::new());
        }
        let mut count = 0;
        let topics = native::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
        let mut ids = BTreeMap::new();
        for number in 0..count {
            let topic = *topics.add(number);
            let error = native::rd_kafka_TopicDescription_error(topic);
            if !error.is_null() && native::rd_kafka_error_code(error) != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
                continue;
            }
            let id = native::rd_kafka_TopicDescription_topic_id(topic);
            if id.is_null()
                || (native::rd_kafka_Uuid_most_significant_bits(id) == 0
                    && native::rd_kafka_Uuid_least_significant_bits(id) == 0)
            {
                continue;
            }
            ids.insert(text(native::rd_kafka_TopicDescription_name(topic)), text(native::rd_kafka_Uuid_base64str(id)));
        }
        Ok(ids)
    }
}

/// # Safety
///
/// `text` ends with a zero byte.
unsafe fn text(text: *const c_char) -> String {
    // SAFETY: as the caller says; it is copied at once.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}
