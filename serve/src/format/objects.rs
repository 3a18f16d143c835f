//! Rows as JSON objects.

use std::io;

use arrow_array::{Array, ArrayRef, RecordBatch};

use super::text::{Column, write_json_string};

/// In fewer rows nobody looks for values that are all the same.
const ROWS_MIN: usize = 16;

/// The rows of a batch, ready to be written.
///
/// In most answers many columns have one value: the symbol that was asked for, its venue, its
/// source. Together with the names around them those are one text, the same in every row.
pub(super) struct Objects {
    parts: Vec<Part>,
    end: Fixed,
}

/// A text that is the same in every row, and the column whose value comes behind it.
struct Part {
    text: Fixed,
    column: Column,
}

/// A text that is put often, and mostly is a few names long. It is copied in blocks of one size,
/// which takes no call, and what is too much is cut off.
pub(super) struct Fixed {
    blocks: Vec<[u8; BLOCK_BYTES]>,
    length: usize,
}

const BLOCK_BYTES: usize = 32;

impl Fixed {
    pub(super) fn of(text: &[u8]) -> Self {
        let block = |part: &[u8]| {
            let mut block = [0; BLOCK_BYTES];
            block[..part.len()].copy_from_slice(part);
            block
        };
        Self { blocks: text.chunks(BLOCK_BYTES).map(block).collect(), length: text.len() }
    }

    #[inline]
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        let end = out.len() + self.length;
        self.blocks.iter().for_each(|block| out.extend_from_slice(block));
        out.truncate(end);
    }
}

impl Objects {
    pub(super) fn of(batch: &RecordBatch) -> io::Result<Self> {
        let (mut parts, mut text) = (Vec::new(), Vec::new());
        for (field, array) in batch.schema().fields().iter().zip(batch.columns()) {
            let is_first = text.is_empty() && parts.is_empty();
            text.push(if is_first { b'{' } else { b',' });
            write_json_string(field.name(), &mut text);
            text.push(b':');
            let column = Column::new(array).map_err(io::Error::other)?;
            if is_constant(array) {
                column.put_json(0, &mut text);
            } else {
                parts.push(Part { text: Fixed::of(&text), column });
                text.clear();
            }
        }
        text.extend_from_slice(if text.is_empty() && parts.is_empty() { b"{}" } else { b"}" });
        Ok(Self { parts, end: Fixed::of(&text) })
    }

    pub(super) fn put(&self, row: usize, out: &mut Vec<u8>) {
        for Part { text, column } in &self.parts {
            text.put(out);
            column.put_json(row, out);
        }
        self.end.put(out);
    }
}

/// Whether each value is that of the row before.
fn is_constant(array: &ArrayRef) -> bool {
    let rows = array.len();
    rows >= ROWS_MIN && array.slice(0, rows - 1).to_data() == array.slice(1, rows - 1).to_data()
}
