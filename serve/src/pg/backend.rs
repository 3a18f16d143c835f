//! Functions that know the session that calls them: `pg_backend_pid`, `pg_cancel_backend`, and
//! their like. Each question of a session has its own.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, BooleanArray, StringArray};
use arrow_schema::DataType;
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature,
    Volatility,
};

use super::sessions::{Backend, Wish};
use super::settings::Settings;
use crate::error::Error;

/// All of them.
pub(crate) fn functions(backend: &Backend) -> Vec<Arc<ScalarUDF>> {
    let all = [Does::TellNumber, Does::Cancel, Does::Terminate, Does::Set].into_iter();
    let function = |does| ScalarUDF::new_from_impl(Function::new(does, backend.clone()));
    all.map(|does| Arc::new(function(does))).collect()
}

/// What a function does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Does {
    TellNumber,
    /// `pg_cancel_backend(number)`.
    Cancel,
    /// `pg_terminate_backend(number[, milliseconds])`.
    Terminate,
    /// `set_config(name, value, is_local)`.
    Set,
}

#[derive(Debug)]
struct Function {
    does: Does,
    backend: Backend,
    signature: Signature,
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        (self.does, self.backend.number()) == (other.does, other.backend.number())
    }
}

impl Eq for Function {}

impl Hash for Function {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.does, self.backend.number()).hash(state);
    }
}

impl Function {
    fn new(does: Does, backend: Backend) -> Self {
        use DataType::{Boolean, Utf8};
        // Drivers that were told nothing of it send a number as a text.
        let number = TypeSignature::Any(1);
        let signature = match does {
            Does::TellNumber => Signature::nullary(Volatility::Stable),
            // What they do is done once for each row, and not while a question is planned.
            Does::Cancel => Signature::new(number, Volatility::Volatile),
            Does::Terminate => {
                let both = vec![number, TypeSignature::Any(2)];
                Signature::one_of(both, Volatility::Volatile)
            }
            Does::Set => Signature::exact(vec![Utf8, Utf8, Boolean], Volatility::Volatile),
        };
        Self { does, backend, signature }
    }

    fn signal(&self, call: &ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [numbers, ..] = &call.args[..] else {
            return exec_err!("{} takes the number of a session", self.name());
        };
        let numbers = arrow_cast::cast(&numbers.to_array(call.number_rows)?, &DataType::Int64)?;
        let signal = |number| match self.does {
            Does::Terminate => self.backend.terminate(number),
            _ => self.backend.cancel(number),
        };
        let numbers = numbers.as_primitive::<Int64Type>().iter();
        let done = numbers.map(|number| number.map(signal)).collect::<BooleanArray>();
        Ok(ColumnarValue::Array(Arc::new(done)))
    }

    fn set(&self, call: &ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [names, values, rest @ ..] = &call.args[..] else {
            return exec_err!("set_config takes a name and a value");
        };
        let is_local = match rest {
            [is_local, ..] => is_local.to_array(call.number_rows)?,
            [] => Arc::new(BooleanArray::from(vec![false; call.number_rows])),
        };
        let is_local = arrow_cast::cast(&is_local, &DataType::Boolean)?;
        let is_local = is_local.as_boolean();
        let texts = |argument: &ColumnarValue| {
            let array = argument.to_array(call.number_rows)?;
            Ok::<_, DataFusionError>(arrow_cast::cast(&array, &DataType::Utf8)?)
        };
        let (names, values) = (texts(names)?, texts(values)?);
        let (names, values) = (names.as_string::<i32>(), values.as_string::<i32>());
        let mut set = Vec::with_capacity(names.len());
        for ((name, value), is_local) in names.iter().zip(values).zip(is_local) {
            let Some(name) = name else {
                set.push(None);
                continue;
            };
            // Null stands for what it was at the start.
            let value = value.unwrap_or("default");
            Settings::default().set(name, value).map_err(|refusal| {
                let error = Error::bad_request("invalid_setting", refusal.message);
                let hint = refusal.hint.unwrap_or_else(|| "SHOW ALL lists the settings".to_owned());
                DataFusionError::External(Box::new(error.with_hint(hint)))
            })?;
            let is_local = is_local.unwrap_or(false);
            self.backend.wish(name, Wish { value: value.to_owned(), is_local });
            set.push(Some(value.to_owned()));
        }
        Ok(ColumnarValue::Array(Arc::new(StringArray::from(set))))
    }
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        match self.does {
            Does::TellNumber => "pg_backend_pid",
            Does::Cancel => "pg_cancel_backend",
            Does::Terminate => "pg_terminate_backend",
            Does::Set => "set_config",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(match self.does {
            Does::TellNumber => DataType::Int64,
            Does::Cancel | Does::Terminate => DataType::Boolean,
            Does::Set => DataType::Utf8,
        })
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match self.does {
            Does::TellNumber => {
                let number = i64::from(self.backend.number());
                Ok(ColumnarValue::Scalar(ScalarValue::from(number)))
            }
            Does::Cancel | Does::Terminate => self.signal(&call),
            Does::Set => self.set(&call),
        }
    }
}
