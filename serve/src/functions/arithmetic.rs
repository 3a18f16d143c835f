//! Quotients and products of decimals, wherever the result fits.
//!
//! Those of DataFusion work in 128 bits and have as many decimals as their operands ask for. So
//! `sum(price * quantity) / sum(quantity)` overflows though each mean price fits, `1 / price` has four
//! decimals, and `price * quantity * price` has 36 and room for two digits in front of them. Here the
//! work is done in 256 bits. A quotient has 18 decimals, a product 24 at most; what has more is
//! rounded, half away from zero.
//!
//! Whole numbers of DataFusion wrap: `9223372036854775807 + 1` is a negative number. Here that is
//! refused. And a day moved by an interval loses its hours, which here makes a moment. An interval
//! times a number is an interval (`times`), which to DataFusion is nothing.
//!
//! `^` is PostgreSQL's power, and binds closer than `*`; to DataFusion it is an exclusive or, and does
//! not. So it is refused, with what to write for it.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow_schema::{ArrowError, DataType, Field, TimeUnit};
use datafusion::arrow::compute::kernels::numeric;
use datafusion::common::{DFSchema, DataFusionError, Result, exec_err};
use datafusion::logical_expr::expr::{Placeholder, ScalarFunction};
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, ExprSchemable, Operator, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility,
};
use datafusion::physical_expr_common::datum::apply;
use datafusion::sql::sqlparser::ast::BinaryOperator;

use super::times::scaled;
use crate::error::Error;

/// Digits of a decimal of 128 bits, and of 256.
const DIGITS: u8 = 38;
const WIDE_DIGITS: u8 = 76;
/// Decimals of a quotient.
const QUOTIENT_SCALE: i8 = 18;
/// Decimals of a product at most: those of a price times a quantity.
const PRODUCT_SCALE: i8 = 24;
/// A dividend has so many decimals at least, to which the division adds four: enough for the result,
/// and for the digit that decides how it is rounded.
const DIVIDEND_SCALE: i8 = 16;

/// Plans operators that DataFusion would compute in too little room, or as something else.
#[derive(Debug)]
pub(crate) struct Operators;

impl ExprPlanner for Operators {
    fn plan_binary_op(
        &self,
        expr: RawBinaryExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>> {
        if expr.op == BinaryOperator::BitwiseXor {
            return Err(DataFusionError::External(Box::new(no_power())));
        }
        let type_of = |expr: &Expr| expr.get_type(schema).ok();
        if let (Some(left), Some(right)) = (type_of(&expr.left), type_of(&expr.right)) {
            let operation = Operation::of_whole(&expr.op);
            if let Some(operation) = operation.filter(|_| widest(&left, &right).is_some()) {
                let operands = vec![expr.left, expr.right];
                return Ok(PlannerResult::Planned(Expr::ScalarFunction(operation.call(operands))));
            }
            let planned = moved_date(&expr, &left, &right);
            if let Some(planned) = planned.or_else(|| scaled(&expr, &left, &right)) {
                return Ok(PlannerResult::Planned(planned));
            }
        }
        let scale = |expr: &Expr| type_of(expr).as_ref().and_then(Scale::of);
        let (left, right) = (scale(&expr.left), scale(&expr.right));
        let (is_left, is_right) = (is_open(&expr.left), is_open(&expr.right));
        // A parameter whose type nothing else tells is of the type that the other side has.
        let (left, right) =
            (left.or(right.filter(|_| is_left)), right.or(left.filter(|_| is_right)));
        let (Some(left), Some(right)) = (left, right) else {
            return Ok(PlannerResult::Original(expr));
        };
        if !left.is_decimal && !right.is_decimal {
            return Ok(PlannerResult::Original(expr));
        }
        let operation = match expr.op {
            BinaryOperator::Divide => Operation::Divide,
            BinaryOperator::Multiply if left.digits + right.digits > PRODUCT_SCALE => {
                Operation::Multiply
            }
            _ => return Ok(PlannerResult::Original(expr)),
        };
        let operands = vec![closed(expr.left, left), closed(expr.right, right)];
        Ok(PlannerResult::Planned(Expr::ScalarFunction(operation.call(operands))))
    }
}

fn no_power() -> Error {
    Error::bad_request("not_supported", "answer a query: ^ is not answered")
        .with_hint("write power(a, b) for a to the power of b")
}

/// How many decimals an operand has.
#[derive(Clone, Copy)]
struct Scale {
    is_decimal: bool,
    digits: i8,
}

impl Scale {
    fn of(data_type: &DataType) -> Option<Self> {
        match data_type {
            DataType::Decimal128(_, digits) => Some(Self { is_decimal: true, digits: *digits }),
            whole if whole.is_integer() => Some(Self { is_decimal: false, digits: 0 }),
            _ => None,
        }
    }
}

/// The type of what is computed of two whole numbers: that of the wider one.
fn widest(left: &DataType, right: &DataType) -> Option<DataType> {
    let both = [left, right];
    let are_whole = both.iter().all(|it| it.is_signed_integer());
    let wider = both.into_iter().max_by_key(|it| it.primitive_width());
    wider.filter(|_| are_whole).cloned()
}

/// A day and an interval make a moment, which may be another one than a day's first.
fn moved_date(expr: &RawBinaryExpr, left: &DataType, right: &DataType) -> Option<Expr> {
    let operator = match expr.op {
        BinaryOperator::Plus => Operator::Plus,
        BinaryOperator::Minus => Operator::Minus,
        _ => return None,
    };
    let moment = |day: &Expr| {
        let kind = DataType::Timestamp(TimeUnit::Microsecond, None);
        Box::new(datafusion::logical_expr::cast(day.clone(), kind))
    };
    let (left, right) = match (left, right) {
        (DataType::Date32, DataType::Interval(_)) => {
            (moment(&expr.left), Box::new(expr.right.clone()))
        }
        (DataType::Interval(_), DataType::Date32) if operator == Operator::Plus => {
            (Box::new(expr.left.clone()), moment(&expr.right))
        }
        _ => return None,
    };
    Some(Expr::BinaryExpr(BinaryExpr { left, op: operator, right }))
}

/// A parameter of which nobody has said what type it is.
fn is_open(expr: &Expr) -> bool {
    matches!(expr, Expr::Placeholder(Placeholder { field: None, .. }))
}

fn closed(expr: Expr, scale: Scale) -> Expr {
    match expr {
        Expr::Placeholder(Placeholder { id, field: None }) => {
            let field = Field::new(&id, DataType::Decimal128(DIGITS, scale.digits), true);
            Expr::Placeholder(Placeholder::new_with_field(id, Some(Arc::new(field))))
        }
        known => known,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Operation {
    /// Of decimals.
    Divide,
    Multiply,
    /// Of whole numbers.
    Plus,
    Minus,
    Times,
}

impl Operation {
    fn of_whole(operator: &BinaryOperator) -> Option<Self> {
        match operator {
            BinaryOperator::Plus => Some(Self::Plus),
            BinaryOperator::Minus => Some(Self::Minus),
            BinaryOperator::Multiply => Some(Self::Times),
            _ => None,
        }
    }

    fn call(self, operands: Vec<Expr>) -> ScalarFunction {
        let signature = Signature::any(2, Volatility::Immutable);
        let written = Written::new(self.operator(), &operands);
        let function = ScalarUDF::new_from_impl(Arithmetic { operation: self, written, signature });
        ScalarFunction::new_udf(Arc::new(function), operands)
    }

    /// The type of the result of such operands.
    fn result(self, operands: &[DataType]) -> DataType {
        match (self, operands) {
            (Self::Divide, _) => DataType::Decimal128(DIGITS, QUOTIENT_SCALE),
            (Self::Multiply, _) => DataType::Decimal128(DIGITS, PRODUCT_SCALE),
            (_, [left, right]) => widest(left, right).unwrap_or(DataType::Int64),
            _ => DataType::Int64,
        }
    }

    fn operator(self) -> Operator {
        match self {
            Self::Divide => Operator::Divide,
            Self::Multiply | Self::Times => Operator::Multiply,
            Self::Plus => Operator::Plus,
            Self::Minus => Operator::Minus,
        }
    }

    fn of(self, left: &ColumnarValue, right: &ColumnarValue) -> Result<ColumnarValue> {
        let kind = self.result(&[left.data_type(), right.data_type()]);
        let long = |value: &ColumnarValue| value.cast_to(&kind, None);
        match self {
            Self::Divide => apply(&wide(left, DIVIDEND_SCALE)?, &wide(right, 0)?, numeric::div),
            Self::Multiply => apply(&wide(left, 0)?, &wide(right, 0)?, numeric::mul),
            Self::Plus => apply(&long(left)?, &long(right)?, numeric::add),
            Self::Minus => apply(&long(left)?, &long(right)?, numeric::sub),
            Self::Times => apply(&long(left)?, &long(right)?, numeric::mul),
        }
    }
}

/// `value` in 256 bits, with so many decimals at least.
fn wide(value: &ColumnarValue, scale_min: i8) -> Result<ColumnarValue> {
    let digits = Scale::of(&value.data_type()).map_or(0, |scale| scale.digits);
    value.cast_to(&DataType::Decimal256(WIDE_DIGITS, digits.max(scale_min)), None)
}

/// An operator as a function.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Arithmetic {
    operation: Operation,
    written: Written,
    signature: Signature,
}

impl ScalarUDFImpl for Arithmetic {
    fn name(&self) -> &str {
        match self.operation {
            Operation::Divide => "quotient",
            Operation::Multiply | Operation::Times => "product",
            Operation::Plus => "total",
            Operation::Minus => "difference",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, operands: &[DataType]) -> Result<DataType> {
        Ok(self.operation.result(operands))
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [left, right] = &call.args[..] else {
            return exec_err!("{} takes two operands", self.name());
        };
        let exact = self.operation.of(left, right)?;
        let result = self.operation.result(&[left.data_type(), right.data_type()]);
        exact.cast_to(&result, None).map_err(|_| {
            let operator = self.operation.operator();
            let text = format!("the result of {operator} has more digits than a decimal may have");
            ArrowError::ArithmeticOverflow(text).into()
        })
    }

    fn schema_name(&self, _operands: &[Expr]) -> Result<String> {
        Ok(self.written.0.clone())
    }

    fn display_name(&self, _operands: &[Expr]) -> Result<String> {
        Ok(self.written.0.clone())
    }
}

/// An operator as it was written, which is what a column of it is called. Kept, as each step of
/// planning asks for the names of all levels of an expression, and made anew each would take as long as
/// all that are below it.
#[derive(Debug)]
pub(super) struct Written(pub(super) String);

impl Written {
    /// `operator` with its operands as they are called, in parentheses where it binds closer than they
    /// do.
    pub(super) fn new(operator: Operator, operands: &[Expr]) -> Self {
        let parts = operands.iter().enumerate().map(|(at, operand)| {
            let binding_min = operator.precedence() + u8::from(at > 0);
            let is_looser = operator_of(operand).is_some_and(|it| it.precedence() < binding_min);
            let name = operand.schema_name();
            if is_looser { format!("({name})") } else { name.to_string() }
        });
        Self(parts.collect::<Vec<_>>().join(&format!(" {operator} ")))
    }
}

/// What is done is the same however its operands were called.
impl PartialEq for Written {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl Eq for Written {}

impl Hash for Written {
    fn hash<H: Hasher>(&self, _state: &mut H) {}
}

fn operator_of(expr: &Expr) -> Option<Operator> {
    match expr {
        Expr::BinaryExpr(binary) => Some(binary.op),
        Expr::ScalarFunction(call) => {
            let arithmetic = call.func.inner().downcast_ref::<Arithmetic>()?;
            Some(arithmetic.operation.operator())
        }
        _ => None,
    }
}
