//! What the targets share.

use std::sync::LazyLock;

use k2_model::InstrumentTable;

/// One instrument only: a table is copied for each input.
pub static TABLE: LazyLock<InstrumentTable> = LazyLock::new(|| {
    let mut table = InstrumentTable::default();
    let bitcoin = "[BINANCE]\nBTCUSDT = { base = 'BTC', quote = 'USDT' }";
    table.extend_from_toml(bitcoin).expect("one instrument");
    table
});
