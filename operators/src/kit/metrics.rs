//! Counters that operators raise and others read: for the status line, `/metrics` and limits.

use std::sync::atomic::{AtomicU64, Ordering};

use k2_model::codec::Tally;

/// A count that many raise and anyone reads; its order with other memory means nothing.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub fn raise_to(&self, value: u64) {
        self.0.fetch_max(value, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! metrics {
    ($($(#[doc = $doc:literal])+ $field:ident: $kind:literal $name:literal,)+) => {
        /// All counters of a job, since its start.
        #[derive(Debug, Default)]
        pub struct Metrics {
            $($(#[doc = $doc])+ pub $field: Counter,)+
        }

        impl Metrics {
            /// Name, Prometheus type, help and value of each.
            pub fn all(&self) -> Vec<(&'static str, &'static str, &'static str, u64)> {
                vec![$(($name, $kind, concat!($($doc),+).trim_ascii(), self.$field.get()),)+]
            }
        }
    };
}

metrics! {
    /// Bytes of input read, decompressed.
    ingest_bytes: "counter" "k2_ingest_bytes_total",
    /// Records of input read: lines.
    ingest_records: "counter" "k2_ingest_records_total",
    /// The latest epoch that the source has closed.
    ingest_epoch: "gauge" "k2_ingest_epoch",
    /// Latest receive time read, nanoseconds since 1970.
    ingest_ts_recv: "gauge" "k2_ingest_ts_recv_ns",
    /// Offsets of partitions that were gone before they could be read.
    ingest_lost: "counter" "k2_ingest_lost_total",
    /// Messages in the partitions that are not read yet.
    ingest_lag_messages: "gauge" "k2_ingest_lag_messages",
    /// How long ago the latest message read was stamped, of the partition that is furthest behind;
    /// milliseconds, 0 if none is behind.
    ingest_lag_ms: "gauge" "k2_ingest_lag_ms",
    /// Trade messages decoded.
    decode_trades: "counter" "k2_decode_trades_total",
    /// Quote messages decoded.
    decode_quotes: "counter" "k2_decode_quotes_total",
    /// Depth updates decoded.
    decode_depth_updates: "counter" "k2_decode_depth_updates_total",
    /// Depth snapshots seen.
    decode_depth_snapshots: "counter" "k2_decode_depth_snapshots_total",
    /// Control messages seen.
    decode_control: "counter" "k2_decode_control_total",
    /// Messages that could not be decoded.
    decode_rejects: "counter" "k2_decode_rejects_total",
    /// Records seen for the first time.
    sequence_unique: "counter" "k2_sequence_unique_total",
    /// Records that had come before.
    sequence_duplicates: "counter" "k2_sequence_duplicates_total",
    /// Records that had come before with other content.
    sequence_contradictions: "counter" "k2_sequence_contradictions_total",
    /// Unique records below a number that had already come.
    sequence_out_of_order: "counter" "k2_sequence_out_of_order_total",
    /// Gaps opened, as they stood when their epoch closed.
    sequence_gaps_opened: "counter" "k2_sequence_gaps_opened_total",
    /// Gaps, or parts of them, filled.
    sequence_gaps_healed: "counter" "k2_sequence_gaps_healed_total",
    /// Rows handed to the tables.
    write_rows: "counter" "k2_write_rows_total",
    /// Rows in committed snapshots.
    commit_rows: "counter" "k2_commit_rows_total",
    /// Bytes of committed data files.
    commit_bytes: "counter" "k2_commit_bytes_total",
    /// Snapshots committed, over all tables.
    commit_snapshots: "counter" "k2_commit_snapshots_total",
    /// The frontier of the latest commit.
    commit_epoch: "gauge" "k2_commit_epoch",
    /// Bytes of input read but not yet committed.
    budget_bytes: "gauge" "k2_budget_bytes",
    /// Bytes of rows held in memory for queries.
    tail_bytes: "gauge" "k2_tail_bytes",
    /// Readers that are subscribed.
    stream_subscribers: "gauge" "k2_stream_subscribers",
    /// Subscriptions refused, because there were as many as there may be.
    stream_refused: "counter" "k2_stream_refused_total",
    /// Events sent to subscribers.
    stream_events: "counter" "k2_stream_events_total",
    /// Times that a subscriber was told what it had missed.
    stream_skips: "counter" "k2_stream_skips_total",
    /// Times that a subscriber had to begin again.
    stream_resets: "counter" "k2_stream_resets_total",
    /// Bytes of the latest trades kept for subscribers.
    stream_history_bytes: "gauge" "k2_stream_history_bytes",
}

impl Metrics {
    pub fn note_tally(&self, tally: &Tally) {
        self.decode_trades.add(tally.trades);
        self.decode_quotes.add(tally.quotes);
        self.decode_depth_updates.add(tally.depth_updates);
        self.decode_depth_snapshots.add(tally.depth_snapshots);
        self.decode_control.add(tally.control);
        self.decode_rejects.add(tally.rejects);
    }

    /// Messages decoded, of all kinds.
    pub fn messages(&self) -> u64 {
        self.decode_trades.get()
            + self.decode_quotes.get()
            + self.decode_depth_updates.get()
            + self.decode_depth_snapshots.get()
            + self.decode_control.get()
            + self.decode_rejects.get()
    }
}
