//! `lakeward broker`: the demo's broker by itself, for a first topic on one machine.
#![allow(clippy::print_stdout, reason = "the address belongs on standard output")]

use std::collections::BTreeMap;

use crate::cli::BrokerArgs;
use crate::demo::broker::Broker;
use crate::demo::ending;

/// Prints the broker's address and runs until SIGTERM or Ctrl-C.
pub(crate) async fn run(args: BrokerArgs) -> anyhow::Result<()> {
    let end = ending::asked_for()?;
    let topics: BTreeMap<&str, i32> = args.topics.iter().map(|topic| (topic.as_str(), args.partitions)).collect();
    let broker = Broker::start(&topics)?;
    println!("{}", broker.addresses());
    eprintln!("in memory, without TLS and rights, and gone when this ends; the newest 5 MB of each partition are kept");
    end.cancelled().await;
    Ok(())
}
