//! Whose turn it is on a processor, where a job has fewer of them than threads that want one.
//!
//! A worker of the dataflow is busy for milliseconds at a time. A thread that answers is woken often
//! and needs little, but the kernel lets whoever runs have a turn of its slice, which is about three
//! milliseconds, and looks at it only as often as its clock ticks, which may be every four. So:
//!
//! * **Threads that answer** ask for the shortest slice. Since Linux 6.12 who has a shorter one goes
//!   before who has a longer one when it is woken, as long as it has had no more than its share.
//! * **Workers** offer their processor between two steps. Whoever waits gets it; if nobody does, that
//!   is a call to the kernel and no more. An offer that is taken costs a whole slice of what a worker
//!   is entitled to, which does not matter where those who take it are soon asleep again. Where they
//!   work for long, it is noticed by how long the worker was away, and offers pause.
//!
//! So shares of the time stay what they are, within the sixteenth part that offers may cost. No row
//! depends on any of it.

use std::io;
use std::time::{Duration, Instant};

/// The shortest slice that there is.
const ANSWER_NS: u64 = 100_000;
/// From one offer to the next.
const TURN: Duration = Duration::from_micros(100);
/// Whoever keeps a processor for longer is not about to sleep.
const AWAY_MAX: Duration = Duration::from_millis(2);
/// After that no offers for so many times as long.
const PAUSE: u32 = 16;

/// Lets the calling thread run soon after it is woken, where the kernel can.
pub fn answer_promptly() {
    if let Err(error) = set_slice(ANSWER_NS) {
        tracing::debug!(%error, "answers may wait for the dataflow");
    }
}

/// The turns of a thread that works for long.
pub struct Turns {
    /// Until then the thread keeps its processor.
    until: Instant,
}

impl Turns {
    /// The first turn begins now.
    #[allow(clippy::disallowed_methods, reason = "no row depends on who else runs meanwhile")]
    pub fn begin() -> Self {
        Self { until: Instant::now() + TURN }
    }

    /// Offers the processor to whoever waits for it, if this turn has been long enough.
    #[allow(clippy::disallowed_methods, reason = "no row depends on who else runs meanwhile")]
    pub fn offer(&mut self) {
        let offered = Instant::now();
        if offered >= self.until {
            std::thread::yield_now();
            let back = Instant::now();
            self.until = back + next_turn(back - offered);
        }
    }
}

/// How long a turn is after so much time `away`.
fn next_turn(away: Duration) -> Duration {
    if away > AWAY_MAX { away * PAUSE } else { TURN }
}

fn set_slice(nanos: u64) -> io::Result<()> {
    let size = size_of::<libc::sched_attr>();
    let size = u32::try_from(size).map_err(io::Error::other)?;
    // SAFETY: the structure is plain numbers, for which zero is a value. The kernel writes at most
    // `size` bytes to it; thread 0 is the one that calls.
    let mut attributes = unsafe {
        let mut attributes: libc::sched_attr = std::mem::zeroed();
        let read = libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, size, 0);
        if read != 0 {
            return Err(io::Error::last_os_error());
        }
        attributes
    };
    // All else stays: the policy, and how nice the process was made.
    attributes.sched_flags = 0;
    attributes.sched_runtime = nanos;
    // SAFETY: the kernel reads `attributes.size` bytes, which the call above has set to no more
    // than there are.
    let written = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
    if written == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_may_ask_for_a_slice_whatever_the_kernel_makes_of_it() {
        set_slice(ANSWER_NS).unwrap();
    }

    #[test]
    fn a_turn_that_is_over_is_followed_by_the_next() {
        let mut turns = Turns::begin();
        let first = turns.until;
        std::thread::sleep(TURN);
        turns.offer();
        assert!(turns.until >= first + TURN);
    }

    #[test]
    fn whoever_works_for_long_is_not_let_in_again_soon() {
        assert_eq!(next_turn(Duration::from_micros(300)), TURN);
        assert_eq!(next_turn(AWAY_MAX), TURN);
        assert_eq!(next_turn(Duration::from_millis(5)), Duration::from_millis(80));
    }
}
