//! Whether the brokers say anything. A connection that breaks is an error at once; of one that stands and brings nothing, as
//! when a broker hangs or a firewall drops its packets, the client says nothing for minutes.

use std::time::Duration;

use rdkafka::statistics::Broker;

/// So long no broker says nothing while it is asked: topics are asked for every few seconds.
const SILENCE: Duration = Duration::from_secs(15);

/// What the connections tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// A broker has said something a moment ago.
    Something,
    /// Answers are waited for, and nothing has come for long.
    Nothing,
    /// No connection stands, or nobody is asked: nobody can tell.
    Unknown,
}

/// Of all brokers that a client knows.
pub(crate) fn heard<'a>(brokers: impl Iterator<Item = &'a Broker> + Clone) -> Heard {
    let connected = brokers.filter(|broker| broker.state == "UP");
    let idle = connected.clone().filter_map(|broker| u64::try_from(broker.rxidle).ok()).min();
    match idle.map(Duration::from_micros) {
        None => Heard::Unknown,
        Some(idle) if idle < SILENCE => Heard::Something,
        Some(_) if connected.into_iter().any(|broker| broker.waitresp_cnt > 0) => Heard::Nothing,
        Some(_) => Heard::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_broker_that_speaks_is_enough_and_silence_counts_only_where_an_answer_is_due() {
        let broker = |state: &str, idle_seconds: i64, due: i64| Broker {
            state: state.to_owned(),
            rxidle: idle_seconds * 1_000_000,
            waitresp_cnt: due,
            ..Broker::default()
        };
        let told = |brokers: &[Broker]| heard(brokers.iter());
        assert_eq!(told(&[]), Heard::Unknown);
        assert_eq!(told(&[broker("UP", 1, 1)]), Heard::Something);
        assert_eq!(told(&[broker("UP", 40, 1), broker("UP", 2, 0)]), Heard::Something);
        assert_eq!(told(&[broker("UP", 40, 1), broker("CONNECT", 2, 0)]), Heard::Nothing);
        assert_eq!(told(&[broker("UP", 40, 0)]), Heard::Unknown);
        assert_eq!(told(&[broker("DOWN", 40, 1)]), Heard::Unknown);
        // Nothing has come over this connection yet.
        assert_eq!(told(&[Broker { rxidle: -1, ..broker("UP", 0, 1) }]), Heard::Unknown);
    }
}
