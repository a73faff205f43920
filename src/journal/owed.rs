//! Where, in the order of nodes, drives have debts.
//!
//! A lane that has caught up looks from the first node on for what may be left. The store passes all that was removed and is
//! not gone from its tables yet: of a folder of many files that is more than a step's whole work.

use std::collections::BTreeMap;

use parking_lot::RwLock;

use crate::ids::{NodeId, PerSide, Side};

/// Nodes of one span.
const SPAN: u64 = 256;

/// A debt that came or went.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    Came,
    Went,
}

/// How many debts there are in each span of nodes that has any. Changed with what is published, under its lock.
#[derive(Debug, Default)]
pub(super) struct Owed(RwLock<PerSide<Spans>>);

/// Debts by number of the span.
pub(super) type Spans = BTreeMap<u64, u32>;

/// Counts a debt in or out.
pub(super) fn count(spans: &mut Spans, id: NodeId, step: Step) {
    let debts = spans.entry(id.0 / SPAN).or_default();
    *debts = match step {
        Step::Came => debts.saturating_add(1),
        Step::Went => debts.saturating_sub(1),
    };
    if *debts == 0 {
        spans.remove(&(id.0 / SPAN));
    }
}

impl Owed {
    pub(super) fn replace(&self, spans: PerSide<Spans>) {
        *self.0.write() = spans;
    }

    pub(super) fn note(&self, steps: &[(Side, NodeId, Step)]) {
        if steps.is_empty() {
            return;
        }
        let mut spans = self.0.write();
        for (side, id, step) in steps {
            count(spans.get_mut(*side), *id, *step);
        }
    }

    /// The next nodes from one on of which some have debts: the first, and the first behind them, if there is any.
    pub(super) fn next(&self, side: Side, from: NodeId) -> Option<(NodeId, Option<NodeId>)> {
        let spans = self.0.read();
        let mut with_debts = spans.get(side).range(from.0 / SPAN..).map(|(span, _)| *span);
        let first = with_debts.next()?;
        let last =
            with_debts.zip(first + 1..).take_while(|(span, next)| span == next).last().map_or(first, |(span, _)| span);
        let end = (last + 1).checked_mul(SPAN).map(NodeId);
        Some((from.max(NodeId(first * SPAN)), end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_without_debts_are_passed_over() {
        let owed = Owed::default();
        let came = |id| (Side::A, NodeId(id), Step::Came);
        owed.note(&[came(3), came(5), came(SPAN), came(9 * SPAN + 7), came(u64::MAX)]);
        let all = || {
            let mut found = Vec::new();
            let mut at = Some(NodeId::ROOT);
            while let Some((start, end)) = at.and_then(|at| owed.next(Side::A, at)) {
                found.push((start.0, end.map(|end| end.0)));
                at = end;
            }
            found
        };
        let last = (u64::MAX - SPAN + 1, None);
        assert_eq!(all(), [(0, Some(2 * SPAN)), (9 * SPAN, Some(10 * SPAN)), last]);
        assert_eq!(owed.next(Side::A, NodeId(4)), Some((NodeId(4), Some(NodeId(2 * SPAN)))));
        owed.note(&[(Side::A, NodeId(3), Step::Went), (Side::A, NodeId(SPAN), Step::Went)]);
        assert_eq!(all(), [(0, Some(SPAN)), (9 * SPAN, Some(10 * SPAN)), last]);
        owed.note(&[(Side::A, NodeId(5), Step::Went)]);
        assert_eq!(all(), [(9 * SPAN, Some(10 * SPAN)), last]);
        assert_eq!(owed.next(Side::B, NodeId::ROOT), None);
    }
}
