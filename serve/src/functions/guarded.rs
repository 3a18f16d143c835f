//! Functions that make no more at once than a query may hold.
//!
//! What operators hold is accounted for. What a function makes of one batch of rows is not, and some
//! make gigabytes of nothing: `repeat('x', 1000000000)`, `range(0, 1000000000)`. So where that can be
//! told from the arguments a function is asked first how much it would make (`made`), and each is
//! looked at afterwards. What doubles, and doubles again, is stopped at the first result that is too
//! large, and a type that doubles at the first that is. A slow one is stopped at the next batch, once
//! the time of its query is over.
//!
//! All functions of a session are guarded, and [`Guards`] finds those that the planner brings along,
//! as for `a || b`.

use std::sync::Arc;

use arrow_array::Array;
use arrow_schema::{DataType, FieldRef};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{DFSchema, ExprSchema, ScalarValue};
use datafusion::error::{DataFusionError, Result};
use datafusion::functions::core;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::interval_arithmetic::Interval;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawDictionaryExpr};
use datafusion::logical_expr::preimage::PreimageResult;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Documentation, Expr, ExpressionPlacement, LogicalPlan, Operator,
    ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, StructFieldMapping,
    Volatility,
};
use datafusion::optimizer::AnalyzerRule;

use super::made::{made, worked};
use crate::error::Error;
use crate::planning::sizes;
use crate::rewriting::with_parts_rewritten;
use crate::stop::Stop;

/// Bytes that a function may make of one batch of rows.
const BYTES_MAX: usize = 64 << 20;
/// Steps that a function may take of one batch of rows: some seconds.
const STEPS_MAX: f64 = 2e9;
/// Bytes that a function may make of constants. They become part of the plan, which is copied and
/// written out again and again.
const CONSTANT_BYTES_MAX: usize = 1 << 20;

/// Those that the planner knows by what they are; none of them makes more than it is given.
const KNOWN_TO_THE_PLANNER: [&str; 3] = ["get_field", "log", "power"];

/// `function`, which refuses to make too much.
pub(crate) fn guarded(function: Arc<ScalarUDF>) -> Arc<ScalarUDF> {
    let is_left = KNOWN_TO_THE_PLANNER.contains(&function.name());
    if is_left || function.inner().is::<Guarded>() {
        return function;
    }
    Arc::new(ScalarUDF::new_from_impl(Guarded(function)))
}

/// Guards what is in a question besides the functions of the session.
#[derive(Debug)]
pub(crate) struct Guards;

impl AnalyzerRule for Guards {
    fn name(&self) -> &str {
        "k2_guards"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        with_parts_rewritten(plan, with_guards)
    }
}

fn with_guards(expr: Expr) -> Result<Transformed<Expr>> {
    Ok(match expr {
        Expr::ScalarFunction(ScalarFunction { func, args }) => {
            let guard = guarded(func.clone());
            let is_new = !Arc::ptr_eq(&guard, &func);
            let call = Expr::ScalarFunction(ScalarFunction { func: guard, args });
            if is_new { Transformed::yes(call) } else { Transformed::no(call) }
        }
        // Its two sides have been looked at, so there is no more than twice as much.
        Expr::BinaryExpr(BinaryExpr { op: Operator::StringConcat, .. }) => {
            let joined = Arc::new(ScalarUDF::new_from_impl(Joined::default()));
            Transformed::yes(Expr::ScalarFunction(ScalarFunction {
                func: guarded(joined),
                args: vec![expr],
            }))
        }
        other => Transformed::no(other),
    })
}

/// Plans what is written as a literal with the functions that it is made by, guarded.
#[derive(Debug)]
pub(crate) struct GuardedLiterals;

impl ExprPlanner for GuardedLiterals {
    fn plan_struct_literal(
        &self,
        parts: Vec<Expr>,
        is_named: bool,
    ) -> Result<PlannerResult<Vec<Expr>>> {
        let function = if is_named { core::named_struct() } else { core::r#struct() };
        Ok(PlannerResult::Planned(call(function, parts)))
    }

    fn plan_dictionary_literal(
        &self,
        literal: RawDictionaryExpr,
        _schema: &DFSchema,
    ) -> Result<PlannerResult<RawDictionaryExpr>> {
        let parts = literal.keys.into_iter().zip(literal.values);
        let parts = parts.flat_map(|(key, value)| [key, value]).collect();
        Ok(PlannerResult::Planned(call(core::named_struct(), parts)))
    }
}

fn call(function: Arc<ScalarUDF>, args: Vec<Expr>) -> Expr {
    Expr::ScalarFunction(ScalarFunction { func: guarded(function), args })
}

fn too_much(name: &str, bytes_max: usize) -> DataFusionError {
    let bound = bytes_max >> 20;
    DataFusionError::ResourcesExhausted(format!("{name} would make more than {bound} MiB at once"))
}

fn too_long(name: &str) -> Error {
    let message = format!("answer a query: {name} would take too long");
    Error::bad_request("query_too_complex", message)
        .with_hint("its time is the square of how long its texts or lists are: take parts of them")
}

fn is_constant(value: &ColumnarValue) -> bool {
    matches!(value, ColumnarValue::Scalar(_))
}

/// A text that was put together. It is only there to be looked at.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Joined(Signature);

impl Default for Joined {
    fn default() -> Self {
        Self(Signature::any(1, Volatility::Immutable))
    }
}

impl ScalarUDFImpl for Joined {
    fn name(&self) -> &str {
        "joined"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        Ok(arguments[0].clone())
    }

    fn invoke_with_args(&self, mut call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Ok(call.args.swap_remove(0))
    }
}

/// A function with its guard: all but its call is as it is.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Guarded(Arc<ScalarUDF>);

impl Guarded {
    fn inner(&self) -> &dyn ScalarUDFImpl {
        self.0.inner().as_ref()
    }
}

#[warn(clippy::missing_trait_methods)]
#[allow(deprecated, reason = "what is asked of it is asked of the function")]
impl ScalarUDFImpl for Guarded {
    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if let Some(stop) = Stop::of(&call.config_options) {
            stop.check()?;
        }
        let name = self.inner().name();
        let bytes_max =
            if call.args.iter().all(is_constant) { CONSTANT_BYTES_MAX } else { BYTES_MAX };
        if made(name, &call.args).is_some_and(|bytes| bytes > bytes_max as f64) {
            return Err(too_much(name, bytes_max));
        }
        if worked(name, &call.args).is_some_and(|steps| steps > STEPS_MAX) {
            return Err(DataFusionError::External(Box::new(too_long(name))));
        }
        let value = self.inner().invoke_with_args(call)?;
        let bytes = match &value {
            // Of a part of something larger the part alone.
            ColumnarValue::Array(array) => array.to_data().get_slice_memory_size().unwrap_or(0),
            ColumnarValue::Scalar(scalar) => scalar.size(),
        };
        if bytes > bytes_max { Err(too_much(name, bytes_max)) } else { Ok(value) }
    }

    fn with_updated_config(&self, config: &ConfigOptions) -> Option<ScalarUDF> {
        let updated = self.inner().with_updated_config(config)?;
        Some(ScalarUDF::new_from_impl(Self(Arc::new(updated))))
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        Ok(match self.inner().simplify(args, info)? {
            ExprSimplifyResult::Simplified(simple) => {
                ExprSimplifyResult::Simplified(simple.transform_up(with_guards).data()?)
            }
            ExprSimplifyResult::Original(args) => ExprSimplifyResult::Original(args),
        })
    }

    fn name(&self) -> &str {
        self.inner().name()
    }

    fn aliases(&self) -> &[String] {
        self.inner().aliases()
    }

    fn display_name(&self, args: &[Expr]) -> Result<String> {
        self.inner().display_name(args)
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        self.inner().schema_name(args)
    }

    fn signature(&self) -> &Signature {
        self.inner().signature()
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        self.inner().return_type(arguments)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let field = self.inner().return_field_from_args(args)?;
        sizes::check_type(field.data_type())?;
        Ok(field)
    }

    fn is_nullable(&self, args: &[Expr], schema: &dyn ExprSchema) -> bool {
        self.inner().is_nullable(args, schema)
    }

    fn preimage(
        &self,
        args: &[Expr],
        literal: &Expr,
        info: &SimplifyContext,
    ) -> Result<PreimageResult> {
        self.inner().preimage(args, literal, info)
    }

    fn conditional_arguments<'a>(
        &self,
        args: &'a [Expr],
    ) -> Option<(Vec<&'a Expr>, Vec<&'a Expr>)> {
        self.inner().conditional_arguments(args)
    }

    fn short_circuits(&self) -> bool {
        self.inner().short_circuits()
    }

    fn evaluate_bounds(&self, input: &[&Interval]) -> Result<Interval> {
        self.inner().evaluate_bounds(input)
    }

    fn propagate_constraints(
        &self,
        interval: &Interval,
        inputs: &[&Interval],
    ) -> Result<Option<Vec<Interval>>> {
        self.inner().propagate_constraints(interval, inputs)
    }

    fn struct_field_mapping(&self, literals: &[Option<ScalarValue>]) -> Option<StructFieldMapping> {
        self.inner().struct_field_mapping(literals)
    }

    fn output_ordering(&self, inputs: &[ExprProperties]) -> Result<SortProperties> {
        self.inner().output_ordering(inputs)
    }

    fn preserves_lex_ordering(&self, inputs: &[ExprProperties]) -> Result<bool> {
        self.inner().preserves_lex_ordering(inputs)
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        self.inner().coerce_types(arguments)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner().documentation()
    }

    fn placement(&self, args: &[ExpressionPlacement]) -> ExpressionPlacement {
        self.inner().placement(args)
    }
}
