//! Reads pinned trades back, for views that start where the job left off.
//!
//! Files are read by several threads and come out in the order of the plan, so the same pin gives
//! the same batches. Queries do not come this way: the query engine reads the files itself.

use std::collections::BTreeSet;
use std::fs::File;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal128Type, Int64Type};
use arrow_array::{ArrayRef, BooleanArray, RecordBatch};
use arrow_schema::{ArrowError, DataType, Schema};
use arrow_select::filter::filter_record_batch;
use crossbeam_channel::{Receiver, Sender, bounded};
use k2_model::Nanos;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::statistics::Statistics;

use crate::error::{Error, ErrorKind, Result};
use crate::pin::{ColdPin, PlannedFile};
use crate::table::{DECIMAL_DIGITS, DECIMAL_SCALE, Table};

/// Rows of a batch.
const BATCH_ROWS: usize = 16_384;
/// Batches that one thread reads ahead.
const BATCHES_AHEAD: usize = 4;
/// The column that the start is compared with.
const TIME: &str = "ts_event";

impl ColdPin {
    /// Reads `columns` of the trades whose `ts_event` is `from` or later, with `threads` threads.
    ///
    /// The order is that of the plan: file by file, each sorted by (symbol, ts, sequence).
    pub fn read_trades(
        &self,
        from: Nanos,
        columns: &[&str],
        threads: usize,
    ) -> Result<TradeBatches> {
        let pinned = &self.tables[&Table::Trades];
        let schema = pinned.table.metadata().current_schema();
        let unknown = columns.iter().find(|name| schema.field_id_by_name(name).is_none());
        if let Some(name) = unknown {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!("read trades: there is no column {name}"),
            ));
        }
        let is_late = |file: &&Arc<PlannedFile>| {
            file.ts_event.as_ref().is_none_or(|bounds| bounds.upper >= from.0)
        };
        let files: Arc<[_]> = pinned.files.iter().filter(is_late).cloned().collect();
        let task = Task {
            files,
            from,
            columns: columns.iter().map(|name| (*name).to_owned()).collect(),
            threads: threads.clamp(1, 64),
        };
        Ok(task.start())
    }
}

/// Batches of trades. Dropping it ends the threads.
#[derive(Debug)]
pub struct TradeBatches {
    /// One for each thread; thread `n` reads every `threads`th file from the `n`th on.
    receivers: Vec<Receiver<Message>>,
    files: usize,
    /// The file whose batches are next.
    next: usize,
}

#[derive(Debug)]
enum Message {
    Batch(RecordBatch),
    EndOfFile,
    Failed(Error),
}

impl Iterator for TradeBatches {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.next < self.files {
            match self.receivers[self.next % self.receivers.len()].recv() {
                Ok(Message::Batch(batch)) => return Some(Ok(batch)),
                Ok(Message::EndOfFile) => self.next += 1,
                Ok(Message::Failed(error)) => {
                    self.next = self.files;
                    return Some(Err(error));
                }
                Err(_) => {
                    self.next = self.files;
                    let error = Error::new(ErrorKind::Unavailable, "read trades: a thread died");
                    return Some(Err(error));
                }
            }
        }
        None
    }
}

#[derive(Clone)]
struct Task {
    files: Arc<[Arc<PlannedFile>]>,
    from: Nanos,
    columns: Vec<String>,
    threads: usize,
}

impl Task {
    fn start(self) -> TradeBatches {
        let threads = self.threads.min(self.files.len()).max(1);
        let task = Self { threads, ..self };
        let receivers = (0..threads).map(|first| {
            let (sender, receiver) = bounded(BATCHES_AHEAD);
            let task = task.clone();
            std::thread::spawn(move || task.run(first, &sender));
            receiver
        });
        TradeBatches { receivers: receivers.collect(), files: task.files.len(), next: 0 }
    }

    /// Ends early when nobody listens any more.
    fn run(&self, first: usize, sender: &Sender<Message>) {
        for file in self.files.iter().skip(first).step_by(self.threads) {
            let end = match self.read(file, sender) {
                Ok(true) => Message::EndOfFile,
                Ok(false) => return,
                Err(error) => Message::Failed(error),
            };
            if sender.send(end).is_err() {
                return;
            }
        }
    }

    /// Answers whether somebody still listens.
    fn read(&self, file: &PlannedFile, sender: &Sender<Message>) -> Result<bool> {
        let path = file.local_path();
        let attempted = || format!("read trades from {}", path.display());
        let opened = File::open(&path).map_err(|error| Error::of(attempted(), error))?;
        let failed = |error: Box<dyn std::error::Error + Send + Sync>| {
            Error::corrupt(attempted()).with_source(error)
        };
        let metadata = ArrowReaderMetadata::load(&opened, ArrowReaderOptions::new())
            .map_err(|error| failed(Box::new(error)))?;
        let wanted: BTreeSet<&str> =
            self.columns.iter().map(String::as_str).chain([TIME]).collect();
        let projection = ProjectionMask::columns(metadata.parquet_schema(), wanted);
        let groups = metadata.metadata().row_groups().iter().enumerate();
        let groups = groups.filter(|(_, group)| !self.is_too_early(group)).map(|(at, _)| at);
        let groups = groups.collect();
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(opened, metadata)
            .with_projection(projection)
            .with_row_groups(groups)
            .with_batch_size(BATCH_ROWS)
            .build()
            .map_err(|error| failed(Box::new(error)))?;
        let is_whole = file.ts_event.as_ref().is_some_and(|bounds| bounds.lower >= self.from.0);
        for batch in reader {
            let batch = batch
                .and_then(|batch| self.cut(&batch, is_whole))
                .map_err(|error| failed(Box::new(error)))?;
            if batch.num_rows() > 0 && sender.send(Message::Batch(batch)).is_err() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn is_too_early(&self, group: &RowGroupMetaData) -> bool {
        let column = group.columns().iter().find(|column| column.column_path().string() == TIME);
        match column.and_then(|column| column.statistics()) {
            Some(Statistics::Int64(times)) => {
                times.max_opt().is_some_and(|latest| *latest < self.from.0)
            }
            _ => false,
        }
    }

    /// The rows from the start on, with the columns asked for, in the order asked for.
    fn cut(&self, batch: &RecordBatch, is_whole: bool) -> Result<RecordBatch, ArrowError> {
        let order = self.columns.iter().map(|name| batch.schema().index_of(name));
        let projected = widen(&batch.project(&order.collect::<Result<Vec<_>, _>>()?)?)?;
        if is_whole {
            return Ok(projected);
        }
        let times = batch.column(batch.schema().index_of(TIME)?).as_primitive::<Int64Type>();
        let keep = BooleanArray::from_unary(times, |time| time >= self.from.0);
        filter_record_batch(&projected, &keep)
    }
}

/// Decimals as the table has them: a file may have been written with fewer digits. The numbers are
/// the same ones.
fn widen(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let table_type = DataType::Decimal128(DECIMAL_DIGITS, DECIMAL_SCALE);
    let (mut fields, mut columns) = (Vec::new(), Vec::<ArrayRef>::new());
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        match field.data_type() {
            DataType::Decimal128(_, DECIMAL_SCALE) if *field.data_type() != table_type => {
                let values = column.as_primitive::<Decimal128Type>().clone();
                let values = values.with_precision_and_scale(DECIMAL_DIGITS, DECIMAL_SCALE)?;
                fields.push(Arc::new(field.as_ref().clone().with_data_type(table_type.clone())));
                columns.push(Arc::new(values));
            }
            _ => {
                fields.push(field.clone());
                columns.push(column.clone());
            }
        }
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}
