//! Room for rows that pass through a worker: used again, because memory that is touched for the
//! first time costs more than what is done to most rows.

use std::cell::RefCell;
use std::rc::Rc;

/// Bytes of room that are kept for later. What is given beyond that is freed.
pub const SPARE_BYTES_MAX: usize = 32 << 20;

/// Empty vectors of one worker, with their room.
#[derive(Debug)]
pub struct Spare<R>(Rc<RefCell<Shelf<R>>>);

#[derive(Debug)]
struct Shelf<R> {
    empty: Vec<Vec<R>>,
    /// Bytes of their room.
    bytes: usize,
}

impl<R> Default for Shelf<R> {
    fn default() -> Self {
        Self { empty: Vec::new(), bytes: 0 }
    }
}

fn bytes_of<R>(rows: &Vec<R>) -> usize {
    rows.capacity() * size_of::<R>()
}

impl<R> Clone for Spare<R> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<R> Default for Spare<R> {
    fn default() -> Self {
        Self(Rc::default())
    }
}

impl<R> Spare<R> {
    /// An empty vector with room for `rows`.
    pub fn take(&self, rows: usize) -> Vec<R> {
        let mut shelf = self.0.borrow_mut();
        let spare = shelf.empty.pop().inspect(|it| shelf.bytes -= bytes_of(it));
        // One that is too small would only be copied to grow.
        spare.filter(|it| it.capacity() >= rows).unwrap_or_else(|| Vec::with_capacity(rows))
    }

    /// Keeps the room of `rows`, which are dropped.
    pub fn give(&self, mut rows: Vec<R>) {
        rows.clear();
        let mut shelf = self.0.borrow_mut();
        let bytes = shelf.bytes + bytes_of(&rows);
        if bytes <= SPARE_BYTES_MAX {
            shelf.bytes = bytes;
            shelf.empty.push(rows);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_used_again_and_bounded() {
        let spare = Spare::<[u8; 1 << 20]>::default();
        let first: Vec<[u8; 1 << 20]> = spare.take(2);
        let at = first.as_ptr();
        spare.give(first);
        let second = spare.take(1);
        assert_eq!(second.as_ptr(), at, "the room that was given");
        assert!(spare.take(3).capacity() >= 3, "nothing is left, so it is made");
        for _ in 0..100 {
            spare.give(Vec::with_capacity(1));
        }
        assert_eq!(spare.0.borrow().empty.len(), SPARE_BYTES_MAX >> 20);
    }
}
