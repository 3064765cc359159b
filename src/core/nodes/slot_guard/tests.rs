use super::*;

const A: EndpointId = EndpointId(0);
const B: EndpointId = EndpointId(1);
const C: EndpointId = EndpointId(2);
/// A slot that mainnet has in 2026.
const HONEST: Slot = 450_000_000;
/// Below what a chain can reach in a century.
const LIE: Slot = 20_000_000_000;

fn at(ms: u64) -> Tick {
    Tick::from_nanos((1_000_000 + ms) * 1_000_000)
}

fn says(gate: &mut Gate, ms: u64, endpoint: EndpointId, slot: Slot) -> Belief {
    gate.check(at(ms), endpoint, slot, Duration::ZERO)
}

/// Slots of a chain that had `first` at 0, one each 400 ms.
fn chain(first: Slot, ms: u64) -> Slot {
    first + ms / 400
}

fn is_ahead(belief: Belief) -> bool {
    matches!(belief, Belief::Ahead { .. })
}

/// Each second from `from` to `to`, each endpoint says the slot of its chain: what the gate made of it all.
fn talk(
    gate: &mut Gate,
    from: u64,
    to: u64,
    chains: &[(EndpointId, Slot)],
) -> Vec<(u64, EndpointId, Belief)> {
    let mut heard = Vec::new();
    for ms in (from..to).step_by(1_000) {
        for (endpoint, first) in chains {
            heard.push((ms, *endpoint, says(gate, ms, *endpoint, chain(*first, ms))));
        }
    }
    heard
}

#[test]
fn what_time_allows_is_plausible_and_what_it_does_not_is_quarantined() {
    let mut gate = Gate::new(1);
    assert_eq!(says(&mut gate, 0, A, HONEST), Belief::Plausible);
    assert_eq!(says(&mut gate, 1_000, A, HONEST + 512 + 101), Belief::Ahead { by: 1 });
    assert!(gate.quarantined(A, at(1_999)) && !gate.quarantined(A, at(2_000)));
    assert_eq!(says(&mut gate, 1_500, A, HONEST + 3), Belief::Quarantined);
    assert_eq!(says(&mut gate, 2_000, A, HONEST + 512 + 200), Belief::Plausible);
    // From there on, from there.
    assert_eq!(says(&mut gate, 2_000, A, HONEST + 2 * 512 + 201), Belief::Ahead { by: 1 });
}

#[test]
fn a_slot_that_no_chain_has_reached_since_genesis_is_never_believed() {
    let mut gate = Gate::new(1);
    for ms in (0..200_000).step_by(1_000) {
        assert!(is_ahead(says(&mut gate, ms, A, Slot::MAX)));
    }
    assert_eq!(says(&mut gate, 300_000, A, HONEST), Belief::Plausible, "the first to be believed");
}

#[test]
fn an_offence_repeated_is_paid_for_longer_each_time_until_it_is_forgotten() {
    let mut gate = Gate::new(1);
    says(&mut gate, 0, A, HONEST);
    let mut now = 0;
    for pause in [1, 2, 4, 8, 16, 32, 60, 60] {
        assert!(is_ahead(says(&mut gate, now, A, LIE)));
        // Offences within the quarantine are part of it.
        assert!(is_ahead(says(&mut gate, now + 500, A, LIE)));
        now += pause * 1_000;
        assert_eq!(gate.until(A), Some(at(now)), "{pause} s");
        assert_eq!(says(&mut gate, now, A, chain(HONEST, now)), Belief::Plausible);
    }
    now += 60_000;
    assert_eq!(says(&mut gate, now, A, chain(HONEST, now)), Belief::Plausible);
    says(&mut gate, now, A, LIE);
    assert_eq!(gate.until(A), Some(at(now + 1_000)));
}

#[test]
fn an_endpoint_that_is_late_contradicts_nobody() {
    let mut gate = Gate::new(2);
    let late = Duration::from_secs(1_800);
    // It comes first, half an hour behind, as after a restart.
    for ms in (0..30_000).step_by(1_000) {
        let slot = chain(HONEST - 4_500, ms);
        assert_eq!(gate.check(at(ms), A, slot, late), Belief::Plausible);
        assert_eq!(says(&mut gate, ms, B, chain(HONEST, ms)), Belief::Plausible, "at {ms} ms");
    }
    // And one that hangs.
    for ms in (30_000..90_000).step_by(1_000) {
        let hung = Duration::from_millis(ms - 30_000);
        assert_eq!(gate.check(at(ms), A, chain(HONEST, 30_000), hung), Belief::Plausible);
        assert_eq!(says(&mut gate, ms, B, chain(HONEST, ms)), Belief::Plausible, "at {ms} ms");
    }
    assert_eq!(gate.epoch(), 0);
}

#[test]
fn of_two_the_lower_is_believed_whoever_came_first() {
    // The liar comes second: it never gets in.
    let mut gate = Gate::new(2);
    let heard = talk(&mut gate, 0, 60_000, &[(A, HONEST), (B, LIE)]);
    for (ms, endpoint, belief) in heard {
        assert_eq!(is_ahead(belief), endpoint == B, "{endpoint:?} at {ms} ms");
    }
    assert_eq!(gate.epoch(), 0);
    // The liar comes first: it is found out, and then the same.
    let mut gate = Gate::new(2);
    let heard = talk(&mut gate, 0, 60_000, &[(B, LIE), (A, HONEST)]);
    for (ms, endpoint, belief) in heard {
        let expected = match (endpoint, ms) {
            (A, 10_000) => Belief::Reset,
            (A, _) | (_, ..=10_000) => Belief::Plausible,
            _ => {
                assert!(is_ahead(belief), "{endpoint:?} at {ms} ms");
                continue;
            }
        };
        assert_eq!(belief, expected, "{endpoint:?} at {ms} ms");
    }
    assert_eq!(gate.epoch(), 1);
}

#[test]
fn two_that_agree_win_over_one_above_them_and_over_one_below() {
    for lie in [LIE, HONEST - 5_000] {
        for order in [[A, B, C], [C, A, B], [A, C, B]] {
            let mut gate = Gate::new(3);
            let chains = order.map(|endpoint| (endpoint, if endpoint == C { lie } else { HONEST }));
            talk(&mut gate, 0, 12_000, &chains);
            let epoch = gate.epoch();
            for (ms, endpoint, belief) in talk(&mut gate, 12_000, 90_000, &chains) {
                if endpoint == C && lie == LIE {
                    assert!(is_ahead(belief), "{order:?} at {ms} ms: {belief:?}");
                } else {
                    assert_eq!(belief, Belief::Plausible, "{order:?} {endpoint:?} at {ms} ms");
                }
            }
            assert_eq!(gate.epoch(), epoch, "{order:?}");
            assert_eq!(epoch, u32::from(lie == LIE && order[0] == C), "{order:?} {lie}");
        }
    }
}

#[test]
fn who_is_vouched_for_leaves_quarantine_at_once() {
    let mut gate = Gate::new(3);
    says(&mut gate, 0, C, 1_000);
    assert!(is_ahead(says(&mut gate, 10, A, HONEST)));
    assert_eq!(says(&mut gate, 20, B, HONEST), Belief::Plausible, "two against one");
    assert_eq!(says(&mut gate, 30, A, HONEST), Belief::Plausible);
    assert!(!gate.quarantined(A, at(30)));
}

#[test]
fn of_two_against_two_the_lower_are_believed() {
    let mut gate = Gate::new(4);
    let chains = [(A, HONEST), (B, LIE), (C, LIE), (EndpointId(3), HONEST)];
    for (ms, endpoint, belief) in talk(&mut gate, 0, 60_000, &chains) {
        // In the first round the fourth has said nothing yet: the liars are two against one, and get in for a while.
        if ms > 20_000 {
            assert_eq!(
                is_ahead(belief),
                endpoint == B || endpoint == C,
                "{endpoint:?} at {ms} ms: {belief:?}"
            );
        }
    }
    assert_eq!(gate.epoch(), 1);
}

#[test]
fn a_word_counts_only_for_a_while() {
    let mut gate = Gate::new(3);
    says(&mut gate, 0, A, HONEST);
    assert!(is_ahead(says(&mut gate, 1_000, B, LIE)));
    // What B said is too old to vouch for C.
    assert!(is_ahead(says(&mut gate, 11_001, C, LIE)));
}

#[test]
fn a_chain_that_falls_back_on_every_endpoint_begins_anew() {
    let mut gate = Gate::new(2);
    talk(&mut gate, 0, 5_000, &[(A, HONEST), (B, HONEST)]);
    let heard = talk(&mut gate, 5_000, 40_000, &[(A, 100), (B, 100)]);
    let resets: Vec<_> = heard.iter().filter(|(_, _, belief)| *belief == Belief::Reset).collect();
    assert_eq!(resets.len(), 1, "{resets:?}");
    // Half of those heard lately must be down first, which B is with A.
    assert_eq!((resets[0].0, resets[0].1), (15_000, A));
    assert!(heard.iter().all(|(_, _, belief)| matches!(belief, Belief::Plausible | Belief::Reset)));
    // The old chain's slots are forgotten: the new one's bound is its own.
    assert!(is_ahead(says(&mut gate, 40_000, A, 10_000)));
}

#[test]
fn a_late_node_behind_a_balancer_is_no_fallback() {
    let mut gate = Gate::new(1);
    for ms in (0..60_000).step_by(1_000) {
        let behind = if ms % 3_000 == 0 { 0 } else { 5_000 };
        assert_eq!(says(&mut gate, ms, A, chain(HONEST - behind, ms)), Belief::Plausible);
    }
    assert_eq!(gate.epoch(), 0);
    // Nor is one of three that stays down, nor anything within a thousand slots.
    let mut gate = Gate::new(3);
    talk(&mut gate, 0, 60_000, &[(A, HONEST), (B, HONEST), (C, HONEST - 5_000)]);
    assert_eq!(gate.epoch(), 0);
    let mut gate = Gate::new(1);
    says(&mut gate, 0, A, HONEST);
    talk(&mut gate, 0, 60_000, &[(A, HONEST - 1_000)]);
    assert_eq!(gate.epoch(), 0);
}

#[test]
fn a_lie_that_came_first_and_left_locks_nobody_out_for_ever() {
    // Too low: the honest one is alone, and has to insist.
    let mut gate = Gate::new(2);
    says(&mut gate, 0, B, 1_000);
    gate.set_enabled(B, false);
    let heard = talk(&mut gate, 1_000, 120_000, &[(A, HONEST)]);
    let reset = heard.iter().position(|(_, _, belief)| *belief == Belief::Reset).expect("a reset");
    assert_eq!(heard[reset].0, 61_000);
    assert!(heard[..reset].iter().all(|(_, _, belief)| is_ahead(*belief)));
    assert!(heard[reset + 1..].iter().all(|(_, _, belief)| *belief == Belief::Plausible));
    // Too high.
    let mut gate = Gate::new(2);
    says(&mut gate, 0, B, LIE);
    gate.set_enabled(B, false);
    let heard = talk(&mut gate, 1_000, 30_000, &[(A, HONEST)]);
    assert_eq!(heard[10], (11_000, A, Belief::Reset));
    assert_eq!(gate.epoch(), 1);
}

#[test]
fn who_jumps_or_pauses_does_not_insist() {
    let mut gate = Gate::new(1);
    says(&mut gate, 0, A, HONEST);
    for n in 1..200 {
        let far = HONEST + n * 1_000_000;
        assert!(is_ahead(says(&mut gate, n * 1_000, A, far)), "each time further");
    }
    let mut gate = Gate::new(1);
    says(&mut gate, 0, A, HONEST);
    for n in 1..20 {
        assert!(is_ahead(says(&mut gate, n * 11_000, A, LIE)), "only now and then");
    }
    let mut gate = Gate::new(1);
    for ms in (0..200_000).step_by(1_000) {
        let belief = says(&mut gate, ms, A, if ms % 5_000 == 0 { chain(HONEST, ms) } else { LIE });
        assert_eq!(is_ahead(belief), ms % 5_000 != 0, "one mad node behind a balancer");
    }
}

#[test]
fn a_foreign_chain_is_told_from_a_new_one() {
    let (old, new, third) = (Genesis([1; 32]), Genesis([2; 32]), Genesis([3; 32]));
    let mut gate = Gate::new(3);
    assert_eq!(gate.genesis(A, old), Chain::First);
    assert_eq!(gate.genesis(B, old), Chain::Same);
    assert_eq!(gate.genesis(B, new), Chain::Foreign);
    assert_eq!((gate.is_foreign(A), gate.is_foreign(B), gate.is_foreign(C)), (false, true, false));
    says(&mut gate, 0, A, HONEST);
    assert_eq!(gate.genesis(A, third), Chain::Foreign, "they do not agree");
    assert_eq!(gate.epoch(), 0);
    assert_eq!(gate.genesis(A, new), Chain::Foreign, "one has not been asked yet");
    gate.set_enabled(A, false);
    assert_eq!(gate.genesis(C, new), Chain::Reset, "also the word of one that is not in use now counts");
    assert_eq!((gate.is_foreign(A), gate.is_foreign(B), gate.epoch()), (false, false, 1));
    assert_eq!(says(&mut gate, 1, B, 5), Belief::Plausible);
    assert_eq!(gate.genesis(C, old), Chain::Foreign);
    // The only endpoint's word is taken at once.
    let mut alone = Gate::new(1);
    assert_eq!([old, new, new].map(|hash| alone.genesis(A, hash)), [Chain::First, Chain::Reset, Chain::Same]);
}

#[test]
fn a_new_chain_is_not_locked_out_by_the_slots_of_the_old_one() {
    let mut gate = Gate::new(1);
    gate.genesis(A, Genesis([1; 32]));
    says(&mut gate, 0, A, 5);
    assert!(is_ahead(says(&mut gate, 10, A, HONEST)));
    assert_eq!(gate.genesis(A, Genesis([2; 32])), Chain::Reset);
    assert!(!gate.quarantined(A, at(20)), "that was for the old chain");
    assert_eq!(says(&mut gate, 20, A, HONEST), Belief::Plausible);
}
