//! Questions may spell a symbol as its venue does: `BTCUSDT` finds `BTC-USDT`.
//!
//! Comparisons of a column `symbol` with a text also take what the text stands for in the
//! instrument data. Done before plans are optimised, so that everything is pruned by it.

use std::collections::{BTreeMap, BTreeSet};

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator, lit};
use datafusion::optimizer::AnalyzerRule;
use k2_model::InstrumentTable;

use crate::rewriting::with_parts_rewritten;

/// Raw symbol → the canonical symbols that it is at some venue, itself left out.
#[derive(Debug)]
pub(crate) struct Spellings {
    symbols: BTreeMap<String, BTreeSet<String>>,
}

impl Spellings {
    pub(crate) fn new(instruments: &InstrumentTable) -> Self {
        let mut symbols: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for known in instruments.iter().filter(|known| known.symbol != known.raw_symbol) {
            symbols
                .entry(known.raw_symbol.to_string())
                .or_default()
                .insert(known.symbol.to_string());
        }
        Self { symbols }
    }

    fn rewrite(&self, expr: Expr) -> Result<Transformed<Expr>> {
        Ok(match expr {
            Expr::BinaryExpr(BinaryExpr {
                left,
                op: op @ (Operator::Eq | Operator::NotEq),
                right,
            }) => {
                let (column, text) =
                    if is_symbol(&left) { (&left, &right) } else { (&right, &left) };
                match self.meant_by(text) {
                    Some(meant) if is_symbol(column) => {
                        let list = std::iter::once((**text).clone()).chain(meant).collect();
                        let is_negated = op == Operator::NotEq;
                        Transformed::yes((**column).clone().in_list(list, is_negated))
                    }
                    _ => Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right })),
                }
            }
            Expr::InList(InList { expr, mut list, negated }) if is_symbol(&expr) => {
                let meant: Vec<Expr> =
                    list.iter().filter_map(|item| self.meant_by(item)).flatten().collect();
                let is_changed = !meant.is_empty();
                list.extend(meant);
                let list = Expr::InList(InList { expr, list, negated });
                if is_changed { Transformed::yes(list) } else { Transformed::no(list) }
            }
            other => Transformed::no(other),
        })
    }

    fn meant_by(&self, text: &Expr) -> Option<impl Iterator<Item = Expr> + use<'_>> {
        let Expr::Literal(text, _) = text else { return None };
        let symbols = self.symbols.get(text.try_as_str().flatten()?)?;
        Some(symbols.iter().map(|symbol| lit(symbol.as_str())))
    }
}

fn is_symbol(expr: &Expr) -> bool {
    matches!(expr, Expr::Column(column) if column.name == "symbol")
}

impl AnalyzerRule for Spellings {
    fn name(&self) -> &str {
        "k2_spellings"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        with_parts_rewritten(plan, |expr| self.rewrite(expr))
    }
}
