//! Threads that answer questions: woken often, and busy for a short while each time.
//!
//! The dataflow's workers run for milliseconds at a time. Where they have all processors, a thread
//! that is woken waits until one of them has had its slice, unless its own slice is shorter: then
//! the kernel lets it go first. Its share of the time stays what it was.

use std::io;

/// The slice of a thread that answers, in nanoseconds. The kernel's own is about three million.
const SLICE_NS: u64 = 250_000;

/// Lets the calling thread run soon after it is woken, where the kernel can (Linux 6.12 and later).
pub(crate) fn wake_promptly() {
    if let Err(error) = shorten_slice() {
        tracing::debug!(%error, "answers may wait for the dataflow");
    }
}

fn shorten_slice() -> io::Result<()> {
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
    attributes.sched_runtime = SLICE_NS;
    // SAFETY: the kernel reads `attributes.size` bytes, which the call above has set to no more
    // than there are.
    let written = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
    if written == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_may_ask_for_a_shorter_slice_whatever_the_kernel_makes_of_it() {
        shorten_slice().unwrap();
    }
}
