//! How everything was measured, for `benches/RESULTS.md`.

use crate::arguments::Arguments;

/// With the sizes of this run.
pub(crate) fn text(arguments: &Arguments) -> String {
    let megabytes = arguments.megabytes();
    let ingest_rounds = arguments.ingest_rounds();
    let live_seconds = arguments.live_seconds();
    let query_rounds = arguments.query_rounds();
    let orders = arguments.orders();
    let (audit_rounds, audit_seconds) = (arguments.audit_rounds(), arguments.audit_seconds());
    format!(
        "## How ingest is measured

{megabytes} MB of Synthea's Observations stand in three partitions of a real broker in plain text on this machine. In each of
{ingest_rounds} rounds all sides read all of it into empty Delta tables in a local folder, each in a process of its own, the
order changing from round to round: Lakeward (`Ingest::start` with the shipped `sql/`, the topic's part of it), the Python job
(`benches/rival/ingest.py`: confluent-kafka, pyarrow and deltalake) and the Spark job (`benches/rival/spark.py`: Structured
Streaming with Delta, `local[2]`, the versions of `tests/parts/requirements.spark.in` and `tests/parts/spark.pom.xml`). After
each round the curated tables are compared: the same rows as Lakeward's, cell for cell, or the rival's lines say FAILED. All
write zstd level 1 and commit by 64 MB. Clock and processor time run from before the first poll to the last commit of every
table, without the start of the process; the processor time is that of the process, not of the broker. Lakeward's holds what
the others do not do: joining the consumer group, dead letters, quality rules, versions of things, the hidden table of special
encounters.

**Spark** is counted from before the start of its queries to their end, Python and JVM together. Before that it reads the
whole topic once into tables that are thrown away, in the same JVM: that is a stream that has run for a while. *Spark, in a new
JVM* is that first time; the starts of the JVM and of the session are in neither.

**Curated alone.** Lakeward has no mode without raw: raw is what everything else can be made from again. What there is of it is
catching up: the tables of a round but raw are taken away, ingest is started again, and makes all of them from raw. That is to
read raw files, each once and the next part of it while those before are decoded, curated and committed, in pieces of about
50,000 messages; nothing comes from Kafka, and nothing is written to raw. A megabyte is one of payload, as everywhere.

**Decode and encode alone** is the physical limit of this work: what the raw table of the round holds stands in memory in
batches of 64 MB; one thread decodes them, runs the SELECTs, and encodes raw and curated as Parquet as they are written in files,
and gives the bytes back. No Kafka, no storage, no commits. One batch more is done before the count. *Where the time goes* has
its parts, all of ingest, and librdkafka handing out the topic to nobody, each in processor time for a gigabyte of payload. What
is left between the parts and all of ingest is taking messages into batches, keys and versions of the curated table, statistics,
writing, commits, and memory that several cores look at.

**Malformed messages.** A second broker has the same Observations with one of a hundred cut in the middle; Lakeward reads it
and the other one in turns. The ratio is of time for a message.

**A SELECT that fails.** The SELECT of Observations is changed so that it fails for one of a hundred messages, which then are dead
letters (a text is made a number); Lakeward reads the topic by it and by the one that is shipped, in turns.

**Freshness.** Ingest reads the topic to its end and commits every 2 s. For {live_seconds} s a producer, a process of its own, sends
messages of the topic again at half of the highest load, which is the median MB/s of the rounds; librdkafka lingers for 20 ms and
the timestamp is of when a message was given to it. Meanwhile the query side, with a `Lake` of its own as a process has that only
answers queries, is asked every 20 ms for the snapshot that a query would read (its `freshness` of one second by default
included). A message is visible when the position of `curated.observations` in that snapshot is behind it; its age then is of
the same machine's clock. The percentile is of all messages that came. Half the load counts as reached from 95 % on.

**Memory** is the most that was ever resident (`VmHWM`) of the process, with the start. The budget is 512 MiB, the default.

**Over SASL_SSL into S3.** The broker of the tests (SCRAM-SHA-512 over TLS) and the tests' S3 server over HTTPS run beside ingest
on the same cores, with the same messages. As everywhere here the broker's JVM compiles as JVMs do. In the tests it is kept to its
first compiler, to start sooner; then it encrypts no more than 30 MB/s on a core, which ingest waits for.

## How the query pairs are measured

A warehouse like TPC-H's with {orders} orders, declared in `benches/side_by_side/warehouse`, committed through `Lake` into a
local folder. Governed is `QueryService::execute` with policies, audit and verifier, all batches of the answer taken; bare is
`SessionContext::sql` with DataFusion's defaults over the same Parquet files. Both run in one process with one thread a core,
planning included; {query_rounds} rounds after one that is not counted, the sides taking turns. With full access the plan
is checked to have a transparent barrier, with masks and scopes an opaque one. Bare has no mask: with masks it reads the
true values. With the scope it gets the scope's look-up in the statement's WHERE.

## How the audit is measured

Two services over the same tables in one process, one with the audit as `lakeward serve` has it (segments in a local folder), one
with an audit that keeps nothing, take turns in {audit_rounds} rounds. Short statements (one row by its key of a small table) come
200 a second for {audit_seconds} s, whether those before have ended or not; the processor time is that of the whole process,
divided by the statements. *Alone* is one statement at a time with 20 ms between two. *Rows about persons* are scans of the warehouse
in which suppliers are persons for one side and not for the other, in turns: what it costs to see at the barrier whose rows leave
it, where nothing else of the statement asks for that column.
"
    )
}
