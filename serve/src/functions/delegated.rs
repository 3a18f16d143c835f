//! What an aggregate of DataFusion is asked that is something else in one respect alone.

/// The methods of an `AggregateUDFImpl` that ask what the answer of `self.inner()` is, whatever becomes of
/// how it is computed. Those are left to write: its names, its accumulators and their states.
macro_rules! delegated {
    () => {
        fn schema_name(&self, params: &AggregateFunctionParams) -> Result<String> {
            self.inner().schema_name(params)
        }

        fn human_display(&self, params: &AggregateFunctionParams) -> Result<String> {
            self.inner().human_display(params)
        }

        fn window_function_schema_name(&self, params: &WindowFunctionParams) -> Result<String> {
            self.inner().window_function_schema_name(params)
        }

        fn display_name(&self, params: &AggregateFunctionParams) -> Result<String> {
            self.inner().display_name(params)
        }

        fn window_function_display_name(&self, params: &WindowFunctionParams) -> Result<String> {
            self.inner().window_function_display_name(params)
        }

        fn signature(&self) -> &Signature {
            self.inner().signature()
        }

        fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
            self.inner().return_type(arguments)
        }

        fn return_field(&self, arguments: &[FieldRef]) -> Result<FieldRef> {
            self.inner().return_field(arguments)
        }

        fn is_nullable(&self) -> bool {
            self.inner().is_nullable()
        }

        /// In which order rows come makes no difference.
        fn with_beneficial_ordering(
            self: Arc<Self>,
            _beneficial_ordering: bool,
        ) -> Result<Option<Arc<dyn AggregateUDFImpl>>> {
            Ok(None)
        }

        fn order_sensitivity(&self) -> AggregateOrderSensitivity {
            self.inner().order_sensitivity()
        }

        fn simplify(&self) -> Option<AggregateFunctionSimplification> {
            self.inner().simplify()
        }

        fn simplify_expr_op_literal(
            &self,
            function: &AggregateFunction,
            argument: &Expr,
            operator: Operator,
            literal: &Expr,
            argument_is_left: bool,
        ) -> Result<Option<Expr>> {
            self.inner().simplify_expr_op_literal(
                function,
                argument,
                operator,
                literal,
                argument_is_left,
            )
        }

        fn reverse_expr(&self) -> ReversedUDAF {
            self.inner().reverse_expr()
        }

        fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
            self.inner().coerce_types(arguments)
        }

        fn is_descending(&self) -> Option<bool> {
            self.inner().is_descending()
        }

        fn value_from_stats(&self, args: &StatisticsArgs<'_>) -> Option<ScalarValue> {
            self.inner().value_from_stats(args)
        }

        fn default_value(&self, of: &DataType) -> Result<ScalarValue> {
            self.inner().default_value(of)
        }

        fn supports_null_handling_clause(&self) -> bool {
            self.inner().supports_null_handling_clause()
        }

        fn supports_within_group_clause(&self) -> bool {
            self.inner().supports_within_group_clause()
        }

        fn documentation(&self) -> Option<&Documentation> {
            self.inner().documentation()
        }

        fn set_monotonicity(&self, of: &DataType) -> SetMonotonicity {
            self.inner().set_monotonicity(of)
        }
    };
}

pub(crate) use delegated;
