//! The order in which the events of one turn of a connection are applied.

use super::Subject;

/// Sorts the events of one turn into the order in which they can be applied. The events of one
/// subscription keep their order, except its answer.
///
/// A turn reads the canaries first and then everything that the other subscriptions hold, which
/// includes at least what the server sent before those canaries. So the order is:
///
/// 1. Notifications of accounts and barriers: what came before a canary is applied before it.
/// 2. Canaries.
/// 3. Answers, last: what an answer starts must not mistake a canary from before the answer for one
///    from after it.
pub fn order_turn<E>(events: &mut [(Subject, E)], is_answer: impl Fn(&E) -> bool) {
    events.sort_by_key(|(subject, event)| match subject {
        _ if is_answer(event) => 2,
        Subject::Canary => 1,
        _ => 0,
    });
}

#[cfg(test)]
mod tests {
    use solana_pubkey::Pubkey;

    use super::*;

    #[test]
    fn accounts_and_barriers_then_canaries_then_answers_each_in_the_order_of_arrival() {
        let account = Subject::Account { address: Pubkey::default(), attempt: 0, own_parameters: false };
        let barrier = Subject::Barrier { length: 99 };
        let mut events = vec![
            (Subject::Canary, "answer"),
            (Subject::Canary, "canary 1"),
            (Subject::Canary, "canary 2"),
            (barrier, "answer"),
            (barrier, "barrier 1"),
            (account, "change 1"),
            (account, "change 2"),
            (barrier, "barrier 2"),
        ];
        order_turn(&mut events, |event| *event == "answer");
        let told: Vec<_> = events.iter().map(|(_, event)| *event).collect();
        assert_eq!(
            told,
            ["barrier 1", "change 1", "change 2", "barrier 2", "canary 1", "canary 2", "answer", "answer"]
        );
    }
}
