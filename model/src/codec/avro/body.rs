//! The bytes of an Avro record, value by value.

const CONTINUES: u64 = 0x8080_8080_8080_8080;

/// What is still to be read.
///
/// Each method takes the value that it names, or gives `None` where none stands and leaves the body
/// in no particular place. None allocates, so no length in a message can ask for memory.
#[derive(Clone, Copy)]
pub(super) struct Body<'a> {
    rest: &'a [u8],
}

impl<'a> Body<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Takes `count` bytes.
    #[inline(always)]
    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    /// Takes a length, or the place of an enum's symbol: a [`Self::long`] that nearly always has one
    /// byte.
    #[inline(always)]
    pub(super) fn short(&mut self) -> Option<usize> {
        match self.rest.split_first()? {
            (&first, rest) if first < 0x80 && first & 1 == 0 => {
                self.rest = rest;
                Some(usize::from(first >> 1))
            }
            _ => self.short_of_several(),
        }
    }

    #[cold]
    fn short_of_several(&mut self) -> Option<usize> {
        usize::try_from(self.long()?).ok()
    }

    /// Takes an `int` or a `long`: seven bits a byte, the lowest first, and the sign in the lowest
    /// bit of all.
    #[inline(always)]
    pub(super) fn long(&mut self) -> Option<i64> {
        let Some(word) = self.rest.first_chunk::<8>() else { return self.long_near_the_end() };
        let word = u64::from_le_bytes(*word);
        let ends = !word & CONTINUES;
        if ends != 0 {
            let bytes = ends.trailing_zeros() as usize / 8 + 1;
            self.rest = &self.rest[bytes..];
            return Some(signed(sevens(word & (u64::MAX >> (64 - 8 * bytes)))));
        }
        let low = sevens(word);
        let &ninth = self.rest.get(8)?;
        if ninth < 0x80 {
            self.rest = &self.rest[9..];
            return Some(signed(low | u64::from(ninth) << 56));
        }
        let &tenth = self.rest.get(9)?;
        self.rest = &self.rest[10..];
        let high = u64::from(ninth & 0x7f) << 56 | u64::from(tenth) << 63;
        (tenth < 2).then(|| signed(low | high))
    }

    /// With fewer than eight bytes left.
    #[cold]
    fn long_near_the_end(&mut self) -> Option<i64> {
        let bytes = self.rest.iter().position(|&byte| byte < 0x80)? + 1;
        let taken = self.take(bytes)?;
        let number = taken.iter().rev().fold(0, |high, &byte| high << 7 | u64::from(byte & 0x7f));
        Some(signed(number))
    }

    /// Takes a length and so many bytes.
    #[inline(always)]
    pub(super) fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.short()?;
        self.take(length)
    }

    pub(super) fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    /// Takes the blocks of an array or a map, and has `item` take each item. A block may say its
    /// size; then it must have it.
    pub(super) fn blocks(&mut self, mut item: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        loop {
            let count = self.long()?;
            let size = if count < 0 { Some(self.short()?) } else { None };
            let left = self.rest.len();
            for _ in 0..count.unsigned_abs() {
                item(self)?;
            }
            if count == 0 {
                return Some(());
            }
            if size.is_some_and(|size| size != left - self.rest.len()) {
                return None;
            }
        }
    }
}

/// The number whose sign is in its lowest bit.
#[inline(always)]
fn signed(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

/// The lower seven bits of eight bytes, pushed together.
#[inline(always)]
fn sevens(word: u64) -> u64 {
    let pairs = (word & 0x007f_007f_007f_007f) | (word & 0x7f00_7f00_7f00_7f00) >> 1;
    let fours = (pairs & 0x0000_3fff_0000_3fff) | (pairs & 0x3fff_0000_3fff_0000) >> 2;
    (fours & 0x0fff_ffff) | (fours & 0x0fff_ffff_0000_0000) >> 4
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::avro::encode::push_long;

    /// The number at the head of `bytes`, a byte at a time.
    fn slow(bytes: &[u8]) -> Option<(i64, &[u8])> {
        let mut number: u128 = 0;
        for (at, byte) in bytes.iter().enumerate().take(10) {
            number |= u128::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                let number = u64::try_from(number).ok()?;
                let half = i64::try_from(number >> 1).unwrap();
                let long = if number & 1 == 0 { half } else { -half - 1 };
                return Some((long, &bytes[at + 1..]));
            }
        }
        None
    }

    proptest! {
        #[test]
        fn longs_come_back_whatever_follows(
            long: i64, shift in 0..64u32, after in proptest::collection::vec(any::<u8>(), 0..12),
        ) {
            let long = long >> shift;
            let mut bytes = Vec::new();
            push_long(long, &mut bytes);
            bytes.extend(&after);
            let mut body = Body::new(&bytes);
            prop_assert_eq!(body.long(), Some(long));
            prop_assert_eq!(body.rest(), &after[..]);
        }

        #[test]
        fn any_bytes_are_read_as_one_at_a_time(
            continued in proptest::collection::vec(0x80u8.., 0..12),
            bytes in proptest::collection::vec(any::<u8>(), 0..4),
        ) {
            let bytes = [continued, bytes].concat();
            let mut body = Body::new(&bytes);
            let found = body.long().map(|long| (long, body.rest()));
            prop_assert_eq!(found, slow(&bytes));
        }
    }

    fn texts(bytes: &[u8]) -> Option<(Vec<&str>, &[u8])> {
        let (mut body, mut texts) = (Body::new(bytes), Vec::new());
        body.blocks(|body| {
            texts.push(body.text()?);
            Some(())
        })?;
        Some((texts, body.rest()))
    }

    #[test]
    fn blocks_come_with_and_without_their_size() {
        assert_eq!(texts(b"\x00"), Some((vec![], &b""[..])));
        assert_eq!(texts(b"\x04\x02a\x02b\x00!"), Some((vec!["a", "b"], &b"!"[..])));
        assert_eq!(texts(b"\x02\x02a\x02\x02b\x00"), Some((vec!["a", "b"], &b""[..])));
        assert_eq!(texts(b"\x03\x08\x02a\x02b\x00"), Some((vec!["a", "b"], &b""[..])));
        assert_eq!(texts(b"\x03\x06\x02a\x02b\x00"), None, "a size that is not the block's");
        assert_eq!(texts(b"\x04\x02a\x02b"), None, "no end");
        assert_eq!(texts(b"\x02\x03a\x00"), None, "a length below 0");
        assert_eq!(texts(b"\x02\x02\xff\x00"), None, "not UTF-8");
    }

    #[test]
    fn a_count_or_length_beyond_the_body_costs_nothing() {
        let mut most = Vec::new();
        push_long(i64::MAX, &mut most);
        assert_eq!(texts(&most), None);
        assert_eq!(Body::new(&most).bytes(), None);
        let mut least = Vec::new();
        push_long(i64::MIN, &mut least);
        assert_eq!(texts(&[least, b"\x00".to_vec()].concat()), None);
    }
}
