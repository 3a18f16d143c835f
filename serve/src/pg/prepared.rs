//! Statements that a client has prepared: their parameters and their columns.

use arrow_schema::DataType;

use super::command::Command;
use super::names;
use super::parameter::{null, sql_type};
use super::refusal::Refusal;
use super::rows::{Column, columns_of};
use super::types::{self, wire_type};
use crate::describe::Described;
use crate::engine::Engine;
use crate::pg_catalog::type_oid;
use crate::template::Template;

/// A statement that may be run again with other parameters.
pub(super) struct Prepared {
    pub(super) template: Template,
    pub(super) command: Command,
    /// The types that the client gave; 0 where it left them to us.
    pub(super) given: Vec<u32>,
    pub(super) shape: Option<Shape>,
}

/// What a client is told of a prepared question.
#[derive(Clone, Default)]
pub(super) struct Shape {
    pub(super) types: Vec<u32>,
    pub(super) columns: Vec<Column>,
}

impl Prepared {
    /// `None` where the client left it to us.
    pub(super) fn given_type(&self, at: usize) -> Option<u32> {
        self.given.get(at).copied().filter(|oid| ![0, types::UNKNOWN.oid].contains(oid))
    }

    /// The type that the question casts a parameter to, where values of it can be read.
    fn cast_type(&self, at: usize) -> Option<u32> {
        let oid = u32::try_from(type_oid(self.template.cast_of(at)?)?).ok()?;
        let read = types::element_of(oid).map_or(oid, |element| element.oid);
        sql_type(read).map(|_| oid)
    }

    /// Of the client, or as the question tells.
    pub(super) fn type_of(&self, at: usize) -> u32 {
        let told = || self.shape.as_ref().and_then(|shape| shape.types.get(at).copied());
        self.given_type(at).or_else(told).unwrap_or(types::TEXT.oid)
    }

    /// Plans the question with its parameters open. One whose type nothing tells is a text.
    pub(super) async fn find_shape(&self, engine: &Engine) -> Result<Shape, Refusal> {
        let given = |at: usize| {
            let name = self.given_type(at).and_then(sql_type);
            name.map_or(format!("${}", at + 1), |name| format!("CAST(${} AS {name})", at + 1))
        };
        let mut described = engine.describe(&self.template.filled(given)).await;
        if described.is_err() && self.template.parameters() > 0 {
            // With a null of its type, and of a text where nothing tells.
            let null = |at: usize| null(self.given_type(at).unwrap_or(types::TEXT.oid));
            // Where that does not help, the first error says more.
            let again = engine.describe(&self.template.filled(null)).await;
            described = again.or(described);
        }
        let Described { schema, parameters, .. } = described?;
        let told = |at: usize| {
            let kind = parameters.get(&format!("${}", at + 1)).cloned().flatten();
            let kind = match self.template.is_count(at) {
                true => DataType::Int64,
                false => kind.unwrap_or(DataType::Utf8),
            };
            // It was planned as one of its elements.
            let is_list = self.template.is_list(at) && !matches!(kind, DataType::List(_));
            let list = |kind| DataType::new_list(kind, true);
            wire_type(&if is_list { list(kind) } else { kind }).oid()
        };
        let types = (0..self.template.parameters())
            .map(|at| {
                self.given_type(at).or_else(|| self.cast_type(at)).unwrap_or_else(|| told(at))
            })
            .collect();
        let mut columns = columns_of(&schema);
        names::rename(self.template.sql(), &mut columns);
        Ok(Shape { types, columns })
    }
}
