//! Messages of one partition, packed into one piece of memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use k2_kafka::Format;
use k2_model::codec::avro::WriterSchema;

/// Schemas by their ids in the registry.
pub type Schemas = BTreeMap<u32, Known>;

/// What is known of a schema's id.
#[derive(Clone, Debug)]
pub enum Known {
    Schema(Arc<WriterSchema>),
    /// Messages under this id are rejected: why, for a person.
    Refused(String),
}

/// Some messages of one partition, in order of offset, which may have holes.
#[derive(Clone, Debug)]
pub struct Messages {
    format: Format,
    /// Of Avro: at least all schemas that these messages name.
    schemas: Arc<Schemas>,
    bytes: Vec<u8>,
    /// Of each message its offset, and where its value ends in `bytes`.
    ends: Vec<(u64, usize)>,
}

impl Messages {
    pub fn new(format: Format) -> Self {
        Self { format, schemas: Arc::default(), bytes: Vec::new(), ends: Vec::new() }
    }

    /// Adds a message. `offset` is above those before.
    pub fn push(&mut self, offset: u64, value: &[u8]) {
        debug_assert!(self.ends.last().is_none_or(|(last, _)| *last < offset));
        self.bytes.extend_from_slice(value);
        self.ends.push((offset, self.bytes.len()));
    }

    /// These messages with the schemas that they name, and an empty rest with the same room.
    pub fn seal(&mut self, schemas: &Arc<Schemas>) -> Self {
        let rest = Self {
            format: self.format,
            schemas: Arc::default(),
            bytes: Vec::with_capacity(self.bytes.len()),
            ends: Vec::with_capacity(self.ends.len()),
        };
        let sealed = std::mem::replace(self, rest);
        Self { schemas: Arc::clone(schemas), ..sealed }
    }

    pub fn format(&self) -> Format {
        self.format
    }

    pub fn schema(&self, id: u32) -> Option<&Known> {
        self.schemas.get(&id)
    }

    /// Offset and value of each.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let mut start = 0;
        self.ends.iter().map(move |&(offset, end)| {
            let value = &self.bytes[start..end];
            start = end;
            (offset, value)
        })
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Bytes of all values.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Of the first message; 0 if there is none.
    pub fn first_offset(&self) -> u64 {
        self.ends.first().map_or(0, |(offset, _)| *offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_out_as_they_were_put_in() {
        let mut messages = Messages::new(Format::Raw);
        let values: [&[u8]; 3] = [b"one", b"", b"three"];
        for (offset, value) in [5, 7, 8].into_iter().zip(values) {
            messages.push(offset, value);
        }
        let sealed = messages.seal(&Arc::default());
        assert!(messages.is_empty());
        let out: Vec<_> = sealed.iter().collect();
        assert_eq!(out, [(5, values[0]), (7, values[1]), (8, values[2])]);
        assert_eq!((sealed.first_offset(), sealed.len(), sealed.bytes()), (5, 3, 8));
    }
}
