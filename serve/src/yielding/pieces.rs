//! Rows in small pieces, and turns between them.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use datafusion::common::Statistics;
use datafusion::error::Result;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::execution_plan::{
    CardinalityEffect, EvaluationType, SchedulingType,
};
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::{Stream, StreamExt};

/// What a batch takes besides its columns, about.
const BATCH_BYTES: usize = 256;
/// After so long others have their turn.
const TURN: Duration = Duration::from_millis(5);

/// What `input` makes, with turns in between.
#[derive(Debug)]
pub(super) struct Pieces {
    input: Arc<dyn ExecutionPlan>,
    rows_max: usize,
    are_kept: bool,
    properties: Arc<PlanProperties>,
}

impl Pieces {
    /// In batches as they are.
    pub(super) fn turns(input: Arc<dyn ExecutionPlan>) -> Self {
        Self::of(input, usize::MAX)
    }

    /// In batches of at most so many rows.
    pub(super) fn of(input: Arc<dyn ExecutionPlan>, rows_max: usize) -> Self {
        let properties = PlanProperties::clone(input.properties())
            .with_evaluation_type(EvaluationType::Lazy)
            .with_scheduling_type(SchedulingType::Cooperative);
        Self { input, rows_max, are_kept: false, properties: Arc::new(properties) }
    }

    /// In batches as they are, for who keeps all of them. A batch without columns takes memory too,
    /// and there may be any number of them.
    pub(super) fn kept(input: Arc<dyn ExecutionPlan>) -> Self {
        Self { are_kept: true, ..Self::turns(input) }
    }
}

impl DisplayAs for Pieces {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.rows_max {
            usize::MAX => f.write_str("Turns"),
            rows => write!(f, "Turns: rows={rows}"),
        }
    }
}

impl ExecutionPlan for Pieces {
    fn name(&self) -> &str {
        "Turns"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let input = children.pop().unwrap_or_else(|| self.input.clone());
        Ok(Arc::new(Self { are_kept: self.are_kept, ..Self::of(input, self.rows_max) }))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let pool = context.memory_pool();
        let kept = self.are_kept.then(|| MemoryConsumer::new("kept batches").register(pool));
        let input = self.input.execute(partition, context)?;
        let (rows_max, turn) = (self.rows_max, Turn::default());
        Ok(Box::pin(InPieces { input, rows_max, kept, rest: None, turn }))
    }

    fn partition_statistics(&self, partition: Option<usize>) -> Result<Arc<Statistics>> {
        self.input.partition_statistics(partition)
    }

    fn cardinality_effect(&self) -> CardinalityEffect {
        CardinalityEffect::Equal
    }
}

struct InPieces {
    input: SendableRecordBatchStream,
    rows_max: usize,
    /// What the batches take besides their columns, if they are kept.
    kept: Option<MemoryReservation>,
    /// Of the last batch, what has not been given yet.
    rest: Option<RecordBatch>,
    turn: Turn,
}

impl InPieces {
    /// The first rows of `batch`; the others are the rest.
    fn cut(&mut self, batch: RecordBatch) -> RecordBatch {
        let rows = batch.num_rows();
        if rows <= self.rows_max {
            return batch;
        }
        self.rest = Some(batch.slice(self.rows_max, rows - self.rows_max));
        batch.slice(0, self.rows_max)
    }
}

impl Stream for InPieces {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        ready!(self.turn.poll(context));
        let next = match self.rest.take() {
            Some(rest) => Some(Ok(rest)),
            None => match self.input.poll_next_unpin(context) {
                Poll::Ready(next) => next,
                Poll::Pending => {
                    // Whatever comes next is another turn.
                    self.turn = Turn::default();
                    return Poll::Pending;
                }
            },
        };
        if let (Some(kept), Some(Ok(_))) = (&self.kept, &next) {
            kept.try_grow(BATCH_BYTES)?;
        }
        Poll::Ready(next.map(|batch| batch.map(|batch| self.cut(batch))))
    }
}

impl RecordBatchStream for InPieces {
    fn schema(&self) -> SchemaRef {
        self.input.schema()
    }
}

/// How long a stream has been at work without a break.
#[derive(Default)]
struct Turn {
    begun: Option<Instant>,
}

impl Turn {
    /// Pending once a turn is over, and ready again when the others have had theirs.
    #[allow(clippy::disallowed_methods, reason = "whose turn it is decides no row")]
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let begun = *self.begun.get_or_insert_with(Instant::now);
        if begun.elapsed() < TURN {
            return Poll::Ready(());
        }
        self.begun = None;
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, Int64Array};
    use datafusion::datasource::memory::MemorySourceConfig;

    use super::*;

    #[tokio::test]
    async fn pieces_are_the_same_rows_in_the_same_order() {
        let batch = |numbers: std::ops::Range<i64>| {
            let column: ArrayRef = Arc::new(Int64Array::from_iter_values(numbers));
            RecordBatch::try_from_iter([("number", column)]).unwrap()
        };
        let batches = vec![batch(0..10), batch(10..10), batch(10..13)];
        let schema = batches[0].schema();
        let input = MemorySourceConfig::try_new_exec(&[batches], schema, None).unwrap();
        let pieces = Pieces::of(input, 4).execute(0, Arc::default()).unwrap();
        let found: Vec<RecordBatch> = pieces.map(Result::unwrap).collect().await;
        let rows: Vec<usize> = found.iter().map(RecordBatch::num_rows).collect();
        assert_eq!(rows, [4, 4, 2, 0, 3]);
        let all = arrow_select::concat::concat_batches(&found[0].schema(), &found).unwrap();
        assert_eq!(all, batch(0..13));
    }

    #[test]
    fn a_turn_ends_after_a_while_and_the_next_begins() {
        let mut turn = Turn::default();
        let mut context = Context::from_waker(std::task::Waker::noop());
        assert!(turn.poll(&mut context).is_ready());
        std::thread::sleep(TURN);
        assert!(turn.poll(&mut context).is_pending());
        assert!(turn.poll(&mut context).is_ready());
    }
}
