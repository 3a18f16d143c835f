//! The share of rejects: an input that is mostly no messages is the wrong input.

use crate::error::Error;
use crate::kit::metrics::Metrics;

/// Judges the share of rejects window by window.
#[derive(Clone, Copy, Debug)]
pub struct RejectWatch {
    /// Percent of rejects above which an input is taken for the wrong one.
    pub share_max: u64,
    /// Messages that are judged at once, at least.
    pub window: u64,
    /// Messages and rejects that have been judged.
    judged: (u64, u64),
}

impl RejectWatch {
    pub fn new(share_max: u64, window: u64) -> Self {
        Self { share_max, window, judged: (0, 0) }
    }

    /// Fails if too many of the messages since the last judgement are rejects. Fewer than a
    /// window are left for the next call.
    pub fn check(&mut self, metrics: &Metrics) -> Result<(), Error> {
        let rejects = metrics.decode_rejects.get();
        let messages = rejects
            + metrics.decode_trades.get()
            + metrics.decode_quotes.get()
            + metrics.decode_depth_updates.get()
            + metrics.decode_depth_snapshots.get();
        let (messages_before, rejects_before) = self.judged;
        let (seen, rejected) = (messages - messages_before, rejects - rejects_before);
        if seen < self.window {
            return Ok(());
        }
        self.judged = (messages, rejects);
        let share = self.share_max;
        if rejected * 100 > seen * share {
            return Err(Error::TooManyRejects { rejects: rejected, messages: seen, share });
        }
        Ok(())
    }
}
