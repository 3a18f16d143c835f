//! An answer on its way to standard output: whole, or as its rows come.

use std::io::Write;

use k2_serve::{AnswerStream, Format, RowsWriter, write_rows};

use super::ask::failure_of;
use crate::answer_meta::AnswerMeta;
use crate::failure::{Failure, Result};
use crate::job_client::{JobAnswer, JobRows, Pieces};

/// Rows as they are written, and what they are rows of.
pub struct Written {
    /// Of rows that are still to come it does not say how many were read.
    pub meta: AnswerMeta,
    rows: Rows,
}

enum Rows {
    Whole(Vec<u8>),
    Job(Pieces),
    Tables { answer: Box<AnswerStream>, format: Format },
}

impl Written {
    pub fn of_job(answer: JobAnswer) -> Self {
        let JobAnswer { meta, rows } = answer;
        let rows = match rows {
            JobRows::Whole(rows) => Rows::Whole(rows),
            JobRows::Coming(pieces) => Rows::Job(pieces),
        };
        Self { meta, rows }
    }

    pub fn of_tables(answer: AnswerStream, format: Format) -> Result<Self> {
        let meta = AnswerMeta::of(&answer.meta())?;
        match answer.whole() {
            Ok(answer) => {
                let mut rows = Vec::new();
                write_rows(&answer, format, &mut rows)?;
                Ok(Self { meta, rows: Rows::Whole(rows) })
            }
            Err(answer) => Ok(Self { meta: meta.so_far(), rows: Rows::Tables { answer, format } }),
        }
    }

    pub fn of_rows(meta: AnswerMeta, rows: Vec<u8>) -> Self {
        Self { meta, rows: Rows::Whole(rows) }
    }

    /// Writes the rows, and answers what is known of them at their end.
    pub fn write_to(self, out: &mut (dyn Write + Send)) -> Result<AnswerMeta> {
        match self.rows {
            Rows::Whole(rows) => out.write_all(&rows).map_err(Failure::output)?,
            Rows::Job(mut pieces) => {
                while let Some(piece) = pieces.next()? {
                    out.write_all(&piece).map_err(Failure::output)?;
                }
            }
            Rows::Tables { mut answer, format } => {
                let mut writer =
                    RowsWriter::new(answer.schema(), format, &mut *out).map_err(Failure::output)?;
                while let Some(batch) = answer.blocking_next() {
                    writer.write(&batch.map_err(failure_of)?).map_err(Failure::output)?;
                }
                writer.finish().map_err(Failure::output)?;
                if format == Format::Json {
                    out.write_all(b"\n").map_err(Failure::output)?;
                }
                return AnswerMeta::of(&answer.meta());
            }
        }
        Ok(self.meta)
    }

    /// All rows at once.
    pub fn into_rows(self) -> Result<Vec<u8>> {
        let mut rows = Vec::new();
        self.write_to(&mut rows)?;
        Ok(rows)
    }
}
