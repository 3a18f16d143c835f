//! What is written to Kafka comes out as if it had been read from a file.

use k2_harness::answers::Asker;
use k2_harness::job::{JobSetup, Recording};
use k2_harness::recordings::{recordings, unzipped};
use k2_kafka::Format;

use super::Stage;
use crate::support::{Expected, FLAWS, Scratch, VENUE, market};

const MESSAGES: u64 = 30_000;

#[test]
fn messages_give_the_same_through_kafka_as_from_a_file_in_either_format() {
    let bytes = market(MESSAGES, 11, FLAWS);
    let expected = Expected::of(&bytes);
    for (format, workers) in [(Format::Avro, 2), (Format::Raw, 3)] {
        let Some(stage) = Stage::set(5, format) else { return };
        let unwritten = stage.cluster.write(VENUE, format, &bytes);
        stage.setup().workers(workers).block_bytes(20_000).batch_bytes(400_000).run().unwrap();
        let found = stage.answers();
        expected.check_result(&found, format.as_str());
        let malformed: u64 = expected.rejects.values().sum();
        match format {
            // There is no Avro of what is no message; who writes is told of it.
            Format::Avro => assert_eq!(unwritten.len() as u64, malformed),
            Format::Raw => assert_eq!(found.rejects(), expected.rejects),
        }
        let lines = found.lines(
            "SELECT source, count(DISTINCT partition) AS partitions, count(*) AS n FROM trades \
             GROUP BY source",
        );
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].contains("market.crypto.trades.binance"), "{lines:?}");
        assert!(lines[0].contains("\"partitions\":5"), "{lines:?}");
        // The same command again finds nothing new.
        let snapshots = found.lines("SELECT count(*) FROM snapshots");
        drop(found);
        stage.setup().run().unwrap();
        expected.check_result(&stage.answers(), "again");
        assert_eq!(stage.answers().lines("SELECT count(*) FROM snapshots").len(), snapshots.len());
    }
}

#[test]
fn a_recording_gives_the_same_through_kafka_as_from_its_file() {
    let Some(recordings) = recordings() else { return };
    let bytes = unzipped(&recordings.join("spot_btcusdt_20240808.jsonl.gz"));
    let dir = Scratch::new();
    let file = Recording::write(dir.path(), VENUE, "recording.ndjson", &bytes);
    let data = dir.path().join("data");
    JobSetup::new(&data, vec![file]).run().unwrap();
    let expected = Asker::offline(&data).canonical_lines();
    for format in Format::ALL {
        let Some(stage) = Stage::set(3, format) else { return };
        stage.cluster.write(VENUE, format, &bytes);
        stage.setup().run().unwrap();
        assert!(stage.answers().canonical_lines() == expected, "{}", format.as_str());
    }
}
