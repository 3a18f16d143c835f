//! What a job has done, said at its end.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::time::Duration;

use k2_dataflows::live::Live;
use k2_operators::ingest::Ended;
use k2_operators::kit::metrics::Metrics;

use crate::screen::{bytes, count};

/// Warns of each input that did not end as a whole file does.
pub fn warn_of_ends(ends: &[Ended]) {
    for ended in ends {
        let (name, at) = (ended.origin.source(), count(ended.at_byte));
        match &ended.broken {
            Some(why) => tracing::warn!(
                "input {name} breaks off after byte {at} of its decompressed data ({why}); every \
                 whole line before is in, and if the file is completed it is read on from there"
            ),
            None => tracing::warn!(
                "input {name} ends in half a line of {} bytes, which begins at byte {at}; every \
                 whole line before is in, and if the file grows it is read on from there",
                ended.left_over
            ),
        }
    }
}

/// Prints the summary of a job that has ended to standard output.
pub fn print(metrics: &Metrics, live: &Live, elapsed: Duration) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text(metrics, live, elapsed).as_bytes())?;
    stdout.flush()
}

fn text(metrics: &Metrics, live: &Live, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64();
    let messages = metrics.messages();
    let (gaps, missing) = open_gaps(live);
    let mut text = String::new();
    let mut row = |name: &str, value: String| {
        let _infallible = writeln!(text, "{name:<18} {value:>16}");
    };
    row("messages", count(messages));
    row("  trades", count(metrics.decode_trades.get()));
    row("  quotes", count(metrics.decode_quotes.get()));
    row("  depth updates", count(metrics.decode_depth_updates.get()));
    row("  depth snapshots", count(metrics.decode_depth_snapshots.get()));
    row("  control", count(metrics.decode_control.get()));
    row("  rejects", count(metrics.decode_rejects.get()));
    row("unique", count(metrics.sequence_unique.get()));
    row("duplicates", count(metrics.sequence_duplicates.get()));
    row("contradictions", count(metrics.sequence_contradictions.get()));
    row("gaps open", count(gaps));
    row("numbers missing", count(missing));
    row("rows committed", count(metrics.commit_rows.get()));
    row("bytes committed", bytes(metrics.commit_bytes.get()));
    row("snapshots", count(metrics.commit_snapshots.get()));
    row("elapsed", format!("{seconds:.2} s"));
    row("rows/s", count((messages as f64 / seconds.max(1e-3)) as u64));
    text
}

/// Gaps open now, over all runs of the job on this directory, and the numbers in them.
pub(crate) fn open_gaps(live: &Live) -> (u64, u64) {
    if live.frontier() < live.cold().frontier {
        // No worker has published anything of its own yet: a pin would wait for that.
        return (0, 0);
    }
    let pin = live.pin();
    let gaps = pin.versions.iter().flat_map(|version| version.views.gaps_open.iter());
    gaps.fold((0, 0), |(gaps, missing), gap| (gaps + 1, missing + gap.missing()))
}
