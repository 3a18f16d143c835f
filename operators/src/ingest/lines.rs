//! Bytes → blocks of whole lines, with each line's record number and byte known.

use std::io::{self, Read};

use k2_model::Nanos;
use xxhash_rust::xxh3::xxh3_64;

use crate::batch::FileMark;
use crate::error::Error;

/// Bytes of a file's head that tell it from another file of the same name.
pub const HEAD_BYTES: u64 = 4_096;
/// The longest line taken; a longer one is rejected with its head as the raw bytes.
pub const LINE_BYTES_MAX: usize = 16 << 20;
/// How much of a line that is too long goes to the rejects.
const LONG_LINE_KEPT: usize = 64 << 10;

/// Whether a line, without its end, is to be handed out now.
pub type Accept<'a> = &'a mut dyn FnMut(&[u8]) -> bool;

/// Reads one input line by line and knows where it is.
pub struct LineReader {
    name: String,
    read: Box<dyn Read + Send>,
    /// Read but not yet handed out: from the start of a line.
    carry: Vec<u8>,
    ended: Option<End>,
    next_offset: u64,
    mark: FileMark,
}

/// How an input came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    Whole,
    /// The compressed stream breaks off or is damaged: what the decoder said.
    Broken(String),
}

/// Whole lines, each with its line end but perhaps the last.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Lines {
    pub bytes: Vec<u8>,
    pub first_offset: u64,
    pub count: u64,
    /// The one line is longer than [`LINE_BYTES_MAX`]; `bytes` is its head.
    pub too_long: bool,
}

impl LineReader {
    /// Reads from the start of `read`.
    pub fn new(name: &str, read: Box<dyn Read + Send>) -> Self {
        let (carry, mark) = (Vec::new(), FileMark::default());
        Self { name: name.into(), read, carry, ended: None, next_offset: 0, mark }
    }

    /// Goes on where `mark` says that an earlier reader stopped, at record `next_offset`. `read`
    /// starts at the file's first byte; if its head is another than it was, that is an error.
    pub fn resume(
        name: &str,
        mut read: Box<dyn Read + Send>,
        next_offset: u64,
        mark: FileMark,
    ) -> Result<Self, Error> {
        let mut head = Vec::new();
        let taken = read.by_ref().take(mark.head_bytes).read_to_end(&mut head);
        taken.map_err(|error| Error::read(name, error))?;
        let known = mark.head_bytes == 0 || xxh3_64(&head) == mark.head_hash;
        if (head.len() as u64) < mark.head_bytes || !known {
            return Err(Error::Replaced { name: name.into(), head_bytes: mark.head_bytes });
        }
        let skip = mark.byte.saturating_sub(mark.head_bytes);
        let skipped = io::copy(&mut read.by_ref().take(skip), &mut io::sink());
        let skipped = skipped.map_err(|error| Error::read(name, error))?;
        if skipped < skip {
            let found = mark.head_bytes + skipped;
            return Err(Error::Shortened { name: name.into(), found, expected: mark.byte });
        }
        let carry = head.split_off((mark.byte.min(mark.head_bytes)) as usize);
        let mut reader = Self { name: name.into(), read, carry, ended: None, next_offset, mark };
        reader.skip_late_line_end()?;
        Ok(reader)
    }

    /// A last line that was taken without its line end may have got one since.
    fn skip_late_line_end(&mut self) -> Result<(), Error> {
        if self.mark.unterminated {
            self.fill(1)?;
            if self.carry.first() == Some(&b'\n') {
                self.carry.remove(0);
                self.mark.byte += 1;
                self.mark.unterminated = false;
            }
        }
        Ok(())
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The offset of the next line that will be handed out.
    pub fn next_offset(&self) -> u64 {
        self.next_offset
    }

    /// Where the next line starts, and by what the file is known again.
    pub fn mark(&self) -> &FileMark {
        &self.mark
    }

    /// How the input ended, once it has and each whole line has been handed out.
    pub fn end(&self) -> Option<&End> {
        self.ended.as_ref()
    }

    /// Bytes after the last line that was handed out: half a line, once the input has ended.
    pub fn left_over(&self) -> usize {
        self.carry.len()
    }

    /// The next whole lines: about `bytes_max` bytes, but at least one line, and of those only
    /// the ones `until` accepts, in order. Empty: the input has ended, or `until` refused.
    pub fn next(&mut self, bytes_max: usize, until: Option<Accept<'_>>) -> Result<Lines, Error> {
        let Some(mut length) = self.whole_lines(bytes_max)? else {
            return self.take_long_line();
        };
        if let Some(until) = until {
            length = accepted(&self.carry[..length], until);
        }
        let rest = self.carry.split_off(length);
        let bytes = std::mem::replace(&mut self.carry, rest);
        let unterminated = bytes.last().is_some_and(|&byte| byte != b'\n');
        let count = memchr::memchr_iter(b'\n', &bytes).count() as u64 + u64::from(unterminated);
        let first_offset = self.next_offset;
        self.next_offset += count;
        self.mark.byte += bytes.len() as u64;
        if count > 0 {
            self.mark.unterminated = unterminated;
        }
        Ok(Lines { bytes, first_offset, count, too_long: false })
    }

    /// The next line, if there is one, without taking it. `None`: the input has ended, or no more
    /// of it has come.
    pub fn peek(&mut self) -> Result<Option<&[u8]>, Error> {
        let mut wanted = 64 << 10;
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.carry) {
                return Ok(Some(&self.carry[..end]));
            }
            if self.ended.is_some() {
                let whole = is_whole(&self.carry);
                return Ok(whole.then_some(&self.carry[..]));
            }
            if self.carry.len() > LINE_BYTES_MAX {
                return Ok(Some(&self.carry[..0]));
            }
            let known = self.carry.len();
            self.fill(wanted.max(known + 1))?;
            if self.carry.len() == known && self.ended.is_none() {
                return Ok(None);
            }
            wanted *= 2;
        }
    }

    /// Length of the whole lines at hand, about `bytes_max` bytes; `None` if the first line is
    /// longer than allowed.
    fn whole_lines(&mut self, bytes_max: usize) -> Result<Option<usize>, Error> {
        let mut wanted = bytes_max.max(1);
        loop {
            self.fill(wanted)?;
            let window = &self.carry[..wanted.min(self.carry.len())];
            if let Some(end) = memchr::memrchr(b'\n', window) {
                return Ok(Some(end + 1));
            }
            if self.carry.len() < wanted {
                // The input has ended in a line without an end, or the rest is still to come.
                let whole = self.ended.is_some() && is_whole(&self.carry);
                return Ok(Some(if whole { self.carry.len() } else { 0 }));
            }
            if wanted > LINE_BYTES_MAX {
                return Ok(None);
            }
            wanted *= 2;
        }
    }

    fn take_long_line(&mut self) -> Result<Lines, Error> {
        let mut bytes = self.carry.clone();
        bytes.truncate(LONG_LINE_KEPT);
        let mut length = 0;
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.carry) {
                self.carry.drain(..=end);
                length += end as u64 + 1;
                break;
            }
            length += self.carry.len() as u64;
            self.carry.clear();
            if self.ended.is_some() {
                break;
            }
            self.fill(1 << 20)?;
            if self.carry.is_empty() {
                // The rest of such a line comes, or the stream ends.
                std::thread::yield_now();
            }
        }
        let first_offset = self.next_offset;
        self.next_offset += 1;
        self.mark.byte += length;
        Ok(Lines { bytes, first_offset, count: 1, too_long: true })
    }

    /// Reads until `wanted` bytes are at hand, the input has ended, or no more of it has come.
    fn fill(&mut self, wanted: usize) -> Result<(), Error> {
        while self.carry.len() < wanted && self.ended.is_none() {
            let missing = (wanted - self.carry.len()) as u64;
            self.carry.reserve(missing as usize);
            let read = self.read.by_ref().take(missing).read_to_end(&mut self.carry);
            match read {
                Ok(_) if self.carry.len() < wanted => self.ended = Some(End::Whole),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.note_head();
                    return Ok(());
                }
                Err(error) if is_broken(&error) => {
                    self.ended = Some(End::Broken(error.to_string()));
                }
                Err(error) => return Err(Error::read(&self.name, error)),
            }
            self.note_head();
        }
        Ok(())
    }

    /// Takes the hash of the head once its bytes are at hand.
    fn note_head(&mut self) {
        let at_start = self.mark.byte == 0 && self.mark.head_bytes < HEAD_BYTES;
        if at_start && !self.carry.is_empty() {
            let head = &self.carry[..self.carry.len().min(HEAD_BYTES as usize)];
            self.mark.head_bytes = head.len() as u64;
            self.mark.head_hash = xxh3_64(head);
        }
    }
}

/// The compressed data is at fault, not the disk.
fn is_broken(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput, Other, UnexpectedEof};
    // The zstd decoder reports damage as `Other` without an operating-system code.
    matches!(error.kind(), UnexpectedEof | InvalidData | InvalidInput)
        || (error.kind() == Other && error.raw_os_error().is_none())
}

/// A last line without an end counts if it is a complete message.
fn is_whole(line: &[u8]) -> bool {
    let start = line.iter().position(|&byte| byte == b'{').unwrap_or(line.len());
    serde_json::from_slice::<serde::de::IgnoredAny>(&line[start..]).is_ok()
}

/// Length of the leading lines that `until` accepts.
fn accepted(bytes: &[u8], until: &mut dyn FnMut(&[u8]) -> bool) -> usize {
    let mut length = 0;
    while length < bytes.len() {
        let rest = &bytes[length..];
        let end = memchr::memchr(b'\n', rest);
        if !until(&rest[..end.unwrap_or(rest.len())]) {
            break;
        }
        length += end.map_or(rest.len(), |end| end + 1);
    }
    length
}

/// When a line was recorded: the receive time in front of it, else the event time `E` in it.
pub fn recorded_time(line: &[u8]) -> Option<Nanos> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits > 0 && line.get(digits) == Some(&b' ') {
        return number(&line[..digits]).map(Nanos);
    }
    let at = memchr::memmem::find(line, b"\"E\":")? + 4;
    let digits = line[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    Nanos::from_millis(number(&line[at..at + digits])?)
}

fn number(digits: &[u8]) -> Option<i64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reader(text: &[u8]) -> LineReader {
        LineReader::new("test", Box::new(io::Cursor::new(text.to_vec())))
    }

    fn texts(reader: &mut LineReader, bytes_max: usize) -> Vec<(u64, Vec<u8>)> {
        let mut all = Vec::new();
        loop {
            let lines = reader.next(bytes_max, None).unwrap();
            if lines.count == 0 {
                return all;
            }
            let numbered = lines.bytes.split_inclusive(|&byte| byte == b'\n');
            all.extend(numbered.enumerate().map(|(at, line)| {
                (lines.first_offset + at as u64, line.trim_ascii_end().to_vec())
            }));
        }
    }

    proptest! {
        #[test]
        fn each_line_comes_once_with_its_number_however_it_is_cut(
            lines in proptest::collection::vec("[a-z ]{0,30}", 1..60), bytes_max in 1usize..200,
        ) {
            let text = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
            let mut reader = reader(text.as_bytes());
            let all = texts(&mut reader, bytes_max);
            let expected: Vec<_> = lines.iter().enumerate()
                .map(|(at, line)| (at as u64, line.trim_end().as_bytes().to_vec())).collect();
            prop_assert_eq!(all, expected);
            prop_assert_eq!(reader.mark().byte, text.len() as u64);
        }

        #[test]
        fn a_resumed_reader_goes_on_at_the_next_line(
            lines in proptest::collection::vec("[a-z]{0,300}", 2..60), stop in 0usize..40,
        ) {
            let text = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
            let mut first = reader(text.as_bytes());
            for _ in 0..stop.min(lines.len() - 1) {
                first.next(1, Some(&mut |_| true)).unwrap();
            }
            let again = Box::new(io::Cursor::new(text.clone().into_bytes()));
            let mut second =
                LineReader::resume("test", again, first.next_offset(), first.mark().clone()).unwrap();
            prop_assert_eq!(texts(&mut second, 50), texts(&mut first, 50));
        }
    }

    #[test]
    fn half_a_last_line_waits_and_a_complete_one_counts() {
        let mut half = reader(b"{\"a\":1}\n{\"b\":");
        assert_eq!(texts(&mut half, 100).len(), 1);
        assert_eq!((half.left_over(), half.mark().byte), (5, 8));
        let mut complete = reader(b"{\"a\":1}\n12 {\"b\":2}");
        assert_eq!(texts(&mut complete, 100).len(), 2);
        assert!(complete.mark().unterminated);
        let grown = Box::new(io::Cursor::new(b"{\"a\":1}\n12 {\"b\":2}\n{}\n".to_vec()));
        let mark = complete.mark().clone();
        let mut resumed = LineReader::resume("test", grown, 2, mark).unwrap();
        assert_eq!(texts(&mut resumed, 100), [(2, b"{}".to_vec())]);
    }

    #[test]
    fn another_file_under_the_same_name_is_refused() {
        let mut first = reader(b"one\ntwo\n");
        first.next(4, None).unwrap();
        let mark = first.mark().clone();
        let other = Box::new(io::Cursor::new(b"ONE\ntwo\n".to_vec()));
        let refused = LineReader::resume("test", other, 1, mark.clone());
        assert!(matches!(refused, Err(Error::Replaced { .. })));
        let shorter = Box::new(io::Cursor::new(b"on".to_vec()));
        assert!(LineReader::resume("test", shorter, 1, mark).is_err());
    }

    #[test]
    fn a_line_that_is_too_long_is_one_record() {
        let mut text = vec![b'x'; LINE_BYTES_MAX * 3];
        text.extend_from_slice(b"\nnext\n");
        let mut reader = reader(&text);
        let long = reader.next(1_000, None).unwrap();
        assert!(long.too_long);
        assert_eq!((long.count, long.bytes.len()), (1, LONG_LINE_KEPT));
        assert_eq!(texts(&mut reader, 1_000), [(1, b"next".to_vec())]);
    }

    #[test]
    fn a_line_says_when_it_was_recorded() {
        assert_eq!(recorded_time(b"123 {\"E\":5}"), Some(Nanos(123)));
        assert_eq!(recorded_time(b"{\"e\":\"trade\",\"E\":5,"), Some(Nanos(5_000_000)));
        assert_eq!(recorded_time(b"{}"), None);
    }
}
