//! The simulated market: what happens next, before anything is lost or comes twice.

use k2_model::DataType;
use k2_model::time::NANOS_PER_MILLI;

use super::clock::Instants;
use super::pairs::{self, Pair};
use super::random::{Random, Zipf, scaled_32};

/// Levels on each side of a book update, at most.
const LEVELS_MAX: u64 = 3;

/// One message of the market, as numbers.
#[derive(Clone, Debug)]
pub(super) struct Message {
    /// Rank of the symbol, which is its place in the market.
    pub(super) symbol: usize,
    /// First and last number that the message takes in its stream; the same but for depth.
    pub(super) first: u64,
    pub(super) last: u64,
    /// Numbers before `first` that are never sent.
    pub(super) missing: u64,
    /// When it happened, in ms: `T`.
    pub(super) event_ms: i64,
    /// When the venue sent it, in ms: `E`.
    pub(super) sent_ms: i64,
    pub(super) content: Content,
}

/// Prices and quantities are in 10^-8.
#[derive(Clone, Debug)]
pub(super) enum Content {
    Trade {
        price: u64,
        quantity: u64,
        buyer_is_maker: bool,
    },
    Quote {
        bid: Level,
        ask: Level,
    },
    /// Boxed, so that the many trades do not carry its room around.
    Depth(Box<Book>),
}

/// Levels of a book that changed, best first.
#[derive(Clone, Debug)]
pub(super) struct Book {
    pub(super) bids: Vec<Level>,
    pub(super) asks: Vec<Level>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Level {
    pub(super) price: u64,
    pub(super) quantity: u64,
}

impl Message {
    pub(super) fn data_type(&self) -> DataType {
        match self.content {
            Content::Trade { .. } => DataType::Trades,
            Content::Quote { .. } => DataType::Quotes,
            Content::Depth(_) => DataType::Depth,
        }
    }

    /// The same identity with another price. `None` for depth, whose levels are not kept.
    pub(super) fn contradicted(&self) -> Option<Self> {
        let mut other = self.clone();
        match &mut other.content {
            Content::Trade { price, .. } => *price += 1,
            Content::Quote { ask, .. } => ask.price += 1,
            Content::Depth(_) => return None,
        }
        Some(other)
    }
}

/// All symbols with their prices and counters.
#[derive(Clone, Debug)]
pub(super) struct Market {
    symbols: Vec<Symbol>,
    ranks: Zipf,
}

#[derive(Clone, Debug)]
struct Symbol {
    tick_units: u64,
    lot_units: u64,
    lots_typical: u64,
    bid_ticks: u64,
    /// The bid turns back at both ends, so that no price ever reaches zero.
    bid_ticks_min: u64,
    bid_ticks_max: u64,
    /// The widest move of one message.
    move_ticks_max: u64,
    trade_id_next: u64,
    /// Highest number given to the book: shared by quotes and depth, as at the venue.
    book_number_last: u64,
    /// The number after the last that a depth update covered.
    depth_first_next: u64,
    /// Whether the stream has begun; before that there is nothing to leave a hole in.
    trades_begun: bool,
    depth_begun: bool,
}

impl Symbol {
    fn new(rank: u32, pair: &Pair) -> Self {
        // Busier pairs have been traded for longer: ten digits at first, then nine.
        let trade_id_next = 3_300_000_000 / (1 + u64::from(rank) / 4) + 1_000 * u64::from(rank) + 1;
        let book_number_last = trade_id_next * 12;
        Self {
            tick_units: pair.tick_units,
            lot_units: pair.lot_units,
            lots_typical: pair.lots_typical,
            bid_ticks: pair.price_ticks,
            bid_ticks_min: pair.price_ticks.div_ceil(2),
            bid_ticks_max: pair.price_ticks * 2,
            move_ticks_max: (pair.price_ticks / 50_000).max(1),
            trade_id_next,
            book_number_last,
            depth_first_next: book_number_last + 1,
            trades_begun: false,
            depth_begun: false,
        }
    }

    /// One step of the random walk on the tick grid: in one of four messages, either way.
    fn walk(&mut self, bits: u32) {
        if bits & 0b11 != 0 {
            return;
        }
        let ticks = 1 + u64::from(scaled_32(bits & !0b111, self.move_ticks_max as u32));
        let up = bits & 0b100 == 0;
        let bid = if up { self.bid_ticks + ticks } else { self.bid_ticks.saturating_sub(ticks) };
        self.bid_ticks = bid.clamp(self.bid_ticks_min, self.bid_ticks_max);
    }

    fn price(&self, ticks: u64) -> u64 {
        ticks * self.tick_units
    }

    /// Near log-normal: the count of ones in 64 coins is near normal with deviation 4, and each
    /// two of them double the quantity; `mantissa` fills in between the powers.
    fn quantity(&self, coins: u64, mantissa: u32) -> u64 {
        let ones = coins.count_ones();
        let spread = u128::from(self.lots_typical) * (1 << 20 | u128::from(mantissa >> 12));
        // 2^(ones / 2 - 16), the half power as 1.41421 in 16 bits behind the point.
        let half = if ones % 2 == 1 { 92_681 } else { 65_536 };
        let lots = ((spread * half) << (ones / 2)) >> (16 + 20 + 16);
        let units = lots.max(1) * u128::from(self.lot_units);
        u64::try_from(units).unwrap_or(u64::MAX).min(1 << 62)
    }
}

impl Market {
    pub(super) fn new(symbols: u32) -> Self {
        let symbols_all = (0..symbols).map(|rank| Symbol::new(rank, &pairs::pair(rank))).collect();
        Self { symbols: symbols_all, ranks: Zipf::new(symbols) }
    }

    /// A trade of some symbol. `skip` ids before it are never sent, if the stream has begun.
    pub(super) fn trade(&mut self, random: &mut Random, now: &Instants, skip: u64) -> Message {
        let at = self.ranks.draw(random);
        let (bits, coins) = (random.next(), random.next());
        let symbol = &mut self.symbols[at];
        symbol.walk(bits as u32);
        let buyer_is_maker = bits >> 63 == 1;
        // A seller who does not wait takes the bid; a buyer takes the ask, one tick above.
        let ticks = symbol.bid_ticks + u64::from(!buyer_is_maker);
        let content = Content::Trade {
            price: symbol.price(ticks),
            quantity: symbol.quantity(coins, (bits >> 31) as u32),
            buyer_is_maker,
        };
        let missing = if symbol.trades_begun { skip } else { 0 };
        let id = symbol.trade_id_next + missing;
        symbol.trades_begun = true;
        symbol.trade_id_next = id + 1;
        Message { missing, ..message(at, now, id, id, content) }
    }

    /// A best bid and offer of some symbol.
    pub(super) fn quote(&mut self, random: &mut Random, now: &Instants) -> Message {
        let at = self.ranks.draw(random);
        let bits = random.next();
        let symbol = &mut self.symbols[at];
        symbol.walk(bits as u32);
        let bid = symbol.level(random, symbol.bid_ticks);
        let ask = symbol.level(random, symbol.bid_ticks + 1);
        symbol.book_number_last += 1 + (bits >> 61);
        let number = symbol.book_number_last;
        message(at, now, number, number, Content::Quote { bid, ask })
    }

    /// A book update of some symbol; `skip` as for a trade.
    pub(super) fn depth(&mut self, random: &mut Random, now: &Instants, skip: u64) -> Message {
        let at = self.ranks.draw(random);
        let bits = random.next();
        let symbol = &mut self.symbols[at];
        let missing = if symbol.depth_begun { skip } else { 0 };
        let first = symbol.depth_first_next + missing;
        let last = symbol.book_number_last.max(first) + (bits >> 60);
        symbol.depth_begun = true;
        symbol.book_number_last = last;
        symbol.depth_first_next = last + 1;
        let mut book = Book { bids: Vec::new(), asks: Vec::new() };
        for step in 0..=bits % LEVELS_MAX {
            // The lowest bid of all is 65 ticks, so there is room below it.
            book.bids.push(symbol.level(random, symbol.bid_ticks - step));
            book.asks.push(symbol.level(random, symbol.bid_ticks + 1 + step));
        }
        let content = Content::Depth(Box::new(book));
        Message { missing, ..message(at, now, first, last, content) }
    }
}

impl Symbol {
    fn level(&self, random: &mut Random, ticks: u64) -> Level {
        let quantity = self.quantity(random.next(), random.next() as u32);
        Level { price: self.price(ticks), quantity }
    }
}

fn message(symbol: usize, now: &Instants, first: u64, last: u64, content: Content) -> Message {
    let event_ms = now.event_ns / NANOS_PER_MILLI;
    Message { symbol, first, last, missing: 0, event_ms, sent_ms: now.sent_ms, content }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_spread_around_the_typical_lot() {
        let symbol = Symbol::new(1, &pairs::pair(1));
        let mut random = Random::new(3);
        let mut drawn: Vec<u64> =
            (0..100_001).map(|_| symbol.quantity(random.next(), random.next() as u32)).collect();
        drawn.sort_unstable();
        let lots = |at: usize| drawn[at] / symbol.lot_units;
        // Median between 1 and 2 times the typical; the tails reach far both ways.
        assert!((symbol.lots_typical..2 * symbol.lots_typical).contains(&lots(50_000)));
        assert!(lots(1_000) < symbol.lots_typical / 8);
        assert!(lots(99_000) > symbol.lots_typical * 10);
    }

    #[test]
    fn prices_stay_on_their_grid_and_between_their_ends() {
        let (mut market, mut random) = (Market::new(3), Random::new(5));
        let now = Instants { event_ns: 0, sent_ms: 0, received_ns: 0 };
        for _ in 0..200_000 {
            let message = market.trade(&mut random, &now, 0);
            let Content::Trade { price, quantity, .. } = message.content else { unreachable!() };
            let symbol = &market.symbols[message.symbol];
            assert_eq!(
                (message.missing, price % symbol.tick_units, quantity % symbol.lot_units),
                (0, 0, 0)
            );
            let ticks = price / symbol.tick_units;
            assert!((symbol.bid_ticks_min..=symbol.bid_ticks_max + 1).contains(&ticks));
            assert!(quantity > 0);
        }
    }
}
