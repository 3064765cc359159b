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

fn says(slot_guard: &mut SlotGuard, ms: u64, endpoint: EndpointId, slot: Slot) -> SlotVerdict {
    slot_guard.check(at(ms), endpoint, slot, Duration::ZERO)
}

/// Slots of a chain that had `first` at 0, one each 400 ms.
fn chain(first: Slot, ms: u64) -> Slot {
    first + ms / 400
}

fn is_ahead(belief: SlotVerdict) -> bool {
    matches!(belief, SlotVerdict::Ahead { .. })
}

/// Each second from `from` to `to`, each endpoint reports the slot of its chain. Returns all
/// verdicts of the slot guard.
fn talk(
    slot_guard: &mut SlotGuard,
    from: u64,
    to: u64,
    chains: &[(EndpointId, Slot)],
) -> Vec<(u64, EndpointId, SlotVerdict)> {
    let mut heard = Vec::new();
    for ms in (from..to).step_by(1_000) {
        for (endpoint, first) in chains {
            heard.push((ms, *endpoint, says(slot_guard, ms, *endpoint, chain(*first, ms))));
        }
    }
    heard
}

#[test]
fn what_time_allows_is_plausible_and_what_it_does_not_is_quarantined() {
    let mut slot_guard = SlotGuard::new(1);
    assert_eq!(says(&mut slot_guard, 0, A, HONEST), SlotVerdict::Plausible);
    assert_eq!(says(&mut slot_guard, 1_000, A, HONEST + 512 + 101), SlotVerdict::Ahead { by: 1 });
    assert!(slot_guard.quarantined(A, at(1_999)) && !slot_guard.quarantined(A, at(2_000)));
    assert_eq!(says(&mut slot_guard, 1_500, A, HONEST + 3), SlotVerdict::Quarantined);
    assert_eq!(says(&mut slot_guard, 2_000, A, HONEST + 512 + 200), SlotVerdict::Plausible);
    // From there on, from there.
    assert_eq!(says(&mut slot_guard, 2_000, A, HONEST + 2 * 512 + 201), SlotVerdict::Ahead { by: 1 });
}

#[test]
fn a_slot_that_no_chain_has_reached_since_genesis_is_never_believed() {
    let mut slot_guard = SlotGuard::new(1);
    for ms in (0..200_000).step_by(1_000) {
        assert!(is_ahead(says(&mut slot_guard, ms, A, Slot::MAX)));
    }
    assert_eq!(says(&mut slot_guard, 300_000, A, HONEST), SlotVerdict::Plausible, "the first to be believed");
}

#[test]
fn an_offence_repeated_is_paid_for_longer_each_time_until_it_is_forgotten() {
    let mut slot_guard = SlotGuard::new(1);
    says(&mut slot_guard, 0, A, HONEST);
    let mut now = 0;
    for pause in [1, 2, 4, 8, 16, 32, 60, 60] {
        assert!(is_ahead(says(&mut slot_guard, now, A, LIE)));
        // Offences within the quarantine are part of it.
        assert!(is_ahead(says(&mut slot_guard, now + 500, A, LIE)));
        now += pause * 1_000;
        assert_eq!(slot_guard.until(A), Some(at(now)), "{pause} s");
        assert_eq!(says(&mut slot_guard, now, A, chain(HONEST, now)), SlotVerdict::Plausible);
    }
    now += 60_000;
    assert_eq!(says(&mut slot_guard, now, A, chain(HONEST, now)), SlotVerdict::Plausible);
    says(&mut slot_guard, now, A, LIE);
    assert_eq!(slot_guard.until(A), Some(at(now + 1_000)));
}

#[test]
fn an_endpoint_that_is_late_contradicts_nobody() {
    let mut slot_guard = SlotGuard::new(2);
    let late = Duration::from_secs(1_800);
    // It comes first, half an hour behind, as after a restart.
    for ms in (0..30_000).step_by(1_000) {
        let slot = chain(HONEST - 4_500, ms);
        assert_eq!(slot_guard.check(at(ms), A, slot, late), SlotVerdict::Plausible);
        assert_eq!(says(&mut slot_guard, ms, B, chain(HONEST, ms)), SlotVerdict::Plausible, "at {ms} ms");
    }
    // And one that hangs.
    for ms in (30_000..90_000).step_by(1_000) {
        let hung = Duration::from_millis(ms - 30_000);
        assert_eq!(slot_guard.check(at(ms), A, chain(HONEST, 30_000), hung), SlotVerdict::Plausible);
        assert_eq!(says(&mut slot_guard, ms, B, chain(HONEST, ms)), SlotVerdict::Plausible, "at {ms} ms");
    }
    assert_eq!(slot_guard.epoch(), 0);
}

#[test]
fn of_two_the_lower_is_believed_whoever_came_first() {
    // The liar comes second: it never gets in.
    let mut slot_guard = SlotGuard::new(2);
    let heard = talk(&mut slot_guard, 0, 60_000, &[(A, HONEST), (B, LIE)]);
    for (ms, endpoint, belief) in heard {
        assert_eq!(is_ahead(belief), endpoint == B, "{endpoint:?} at {ms} ms");
    }
    assert_eq!(slot_guard.epoch(), 0);
    // The liar comes first: it is found out, and then the same.
    let mut slot_guard = SlotGuard::new(2);
    let heard = talk(&mut slot_guard, 0, 60_000, &[(B, LIE), (A, HONEST)]);
    for (ms, endpoint, belief) in heard {
        let expected = match (endpoint, ms) {
            (A, 10_000) => SlotVerdict::Reset,
            (A, _) | (_, ..=10_000) => SlotVerdict::Plausible,
            _ => {
                assert!(is_ahead(belief), "{endpoint:?} at {ms} ms");
                continue;
            }
        };
        assert_eq!(belief, expected, "{endpoint:?} at {ms} ms");
    }
    assert_eq!(slot_guard.epoch(), 1);
}

#[test]
fn two_that_agree_win_over_one_above_them_and_over_one_below() {
    for lie in [LIE, HONEST - 5_000] {
        for order in [[A, B, C], [C, A, B], [A, C, B]] {
            let mut slot_guard = SlotGuard::new(3);
            let chains = order.map(|endpoint| (endpoint, if endpoint == C { lie } else { HONEST }));
            talk(&mut slot_guard, 0, 12_000, &chains);
            let epoch = slot_guard.epoch();
            for (ms, endpoint, belief) in talk(&mut slot_guard, 12_000, 90_000, &chains) {
                if endpoint == C && lie == LIE {
                    assert!(is_ahead(belief), "{order:?} at {ms} ms: {belief:?}");
                } else {
                    assert_eq!(belief, SlotVerdict::Plausible, "{order:?} {endpoint:?} at {ms} ms");
                }
            }
            assert_eq!(slot_guard.epoch(), epoch, "{order:?}");
            assert_eq!(epoch, u32::from(lie == LIE && order[0] == C), "{order:?} {lie}");
        }
    }
}

#[test]
fn who_is_vouched_for_leaves_quarantine_at_once() {
    let mut slot_guard = SlotGuard::new(3);
    says(&mut slot_guard, 0, C, 1_000);
    assert!(is_ahead(says(&mut slot_guard, 10, A, HONEST)));
    assert_eq!(says(&mut slot_guard, 20, B, HONEST), SlotVerdict::Plausible, "two against one");
    assert_eq!(says(&mut slot_guard, 30, A, HONEST), SlotVerdict::Plausible);
    assert!(!slot_guard.quarantined(A, at(30)));
}

#[test]
fn of_two_against_two_the_lower_are_believed() {
    let mut slot_guard = SlotGuard::new(4);
    let chains = [(A, HONEST), (B, LIE), (C, LIE), (EndpointId(3), HONEST)];
    for (ms, endpoint, belief) in talk(&mut slot_guard, 0, 60_000, &chains) {
        // In the first round the fourth has not reported yet: the liars are two against one, and
        // are believed for a while.
        if ms > 20_000 {
            assert_eq!(
                is_ahead(belief),
                endpoint == B || endpoint == C,
                "{endpoint:?} at {ms} ms: {belief:?}"
            );
        }
    }
    assert_eq!(slot_guard.epoch(), 1);
}

#[test]
fn a_word_counts_only_for_a_while() {
    let mut slot_guard = SlotGuard::new(3);
    says(&mut slot_guard, 0, A, HONEST);
    assert!(is_ahead(says(&mut slot_guard, 1_000, B, LIE)));
    // What B said is too old to vouch for C.
    assert!(is_ahead(says(&mut slot_guard, 11_001, C, LIE)));
}

#[test]
fn a_chain_that_falls_back_on_every_endpoint_begins_anew() {
    let mut slot_guard = SlotGuard::new(2);
    talk(&mut slot_guard, 0, 5_000, &[(A, HONEST), (B, HONEST)]);
    let heard = talk(&mut slot_guard, 5_000, 40_000, &[(A, 100), (B, 100)]);
    let resets: Vec<_> = heard.iter().filter(|(_, _, belief)| *belief == SlotVerdict::Reset).collect();
    assert_eq!(resets.len(), 1, "{resets:?}");
    // Half of those heard lately must be down first, which B is with A.
    assert_eq!((resets[0].0, resets[0].1), (15_000, A));
    assert!(heard.iter().all(|(_, _, belief)| matches!(belief, SlotVerdict::Plausible | SlotVerdict::Reset)));
    // The old chain's slots are forgotten: the new one's bound is its own.
    assert!(is_ahead(says(&mut slot_guard, 40_000, A, 10_000)));
}

#[test]
fn a_late_node_behind_a_balancer_is_no_fallback() {
    let mut slot_guard = SlotGuard::new(1);
    for ms in (0..60_000).step_by(1_000) {
        let behind = if ms % 3_000 == 0 { 0 } else { 5_000 };
        assert_eq!(says(&mut slot_guard, ms, A, chain(HONEST - behind, ms)), SlotVerdict::Plausible);
    }
    assert_eq!(slot_guard.epoch(), 0);
    // Nor is one of three that stays down, nor anything within a thousand slots.
    let mut slot_guard = SlotGuard::new(3);
    talk(&mut slot_guard, 0, 60_000, &[(A, HONEST), (B, HONEST), (C, HONEST - 5_000)]);
    assert_eq!(slot_guard.epoch(), 0);
    let mut slot_guard = SlotGuard::new(1);
    says(&mut slot_guard, 0, A, HONEST);
    talk(&mut slot_guard, 0, 60_000, &[(A, HONEST - 1_000)]);
    assert_eq!(slot_guard.epoch(), 0);
}

#[test]
fn a_lie_that_came_first_and_left_locks_nobody_out_for_ever() {
    // Too low: the honest one is alone, and has to insist.
    let mut slot_guard = SlotGuard::new(2);
    says(&mut slot_guard, 0, B, 1_000);
    slot_guard.set_enabled(B, false);
    let heard = talk(&mut slot_guard, 1_000, 120_000, &[(A, HONEST)]);
    let reset = heard.iter().position(|(_, _, belief)| *belief == SlotVerdict::Reset).expect("a reset");
    assert_eq!(heard[reset].0, 61_000);
    assert!(heard[..reset].iter().all(|(_, _, belief)| is_ahead(*belief)));
    assert!(heard[reset + 1..].iter().all(|(_, _, belief)| *belief == SlotVerdict::Plausible));
    // Too high.
    let mut slot_guard = SlotGuard::new(2);
    says(&mut slot_guard, 0, B, LIE);
    slot_guard.set_enabled(B, false);
    let heard = talk(&mut slot_guard, 1_000, 30_000, &[(A, HONEST)]);
    assert_eq!(heard[10], (11_000, A, SlotVerdict::Reset));
    assert_eq!(slot_guard.epoch(), 1);
}

#[test]
fn who_jumps_or_pauses_does_not_insist() {
    let mut slot_guard = SlotGuard::new(1);
    says(&mut slot_guard, 0, A, HONEST);
    for n in 1..200 {
        let far = HONEST + n * 1_000_000;
        assert!(is_ahead(says(&mut slot_guard, n * 1_000, A, far)), "each time further");
    }
    let mut slot_guard = SlotGuard::new(1);
    says(&mut slot_guard, 0, A, HONEST);
    for n in 1..20 {
        assert!(is_ahead(says(&mut slot_guard, n * 11_000, A, LIE)), "only now and then");
    }
    let mut slot_guard = SlotGuard::new(1);
    for ms in (0..200_000).step_by(1_000) {
        let belief = says(&mut slot_guard, ms, A, if ms % 5_000 == 0 { chain(HONEST, ms) } else { LIE });
        assert_eq!(is_ahead(belief), ms % 5_000 != 0, "one mad node behind a balancer");
    }
}

#[test]
fn a_foreign_chain_is_told_from_a_new_one() {
    let (old, new, third) = (Genesis([1; 32]), Genesis([2; 32]), Genesis([3; 32]));
    let mut slot_guard = SlotGuard::new(3);
    assert_eq!(slot_guard.genesis(A, old), ChainVerdict::First);
    assert_eq!(slot_guard.genesis(B, old), ChainVerdict::Same);
    assert_eq!(slot_guard.genesis(B, new), ChainVerdict::Foreign);
    assert_eq!(
        (slot_guard.is_foreign(A), slot_guard.is_foreign(B), slot_guard.is_foreign(C)),
        (false, true, false)
    );
    says(&mut slot_guard, 0, A, HONEST);
    assert_eq!(slot_guard.genesis(A, third), ChainVerdict::Foreign, "they do not agree");
    assert_eq!(slot_guard.epoch(), 0);
    assert_eq!(slot_guard.genesis(A, new), ChainVerdict::Foreign, "one has not been asked yet");
    slot_guard.set_enabled(A, false);
    assert_eq!(
        slot_guard.genesis(C, new),
        ChainVerdict::Reset,
        "also the claim of one that is not in use now counts"
    );
    assert_eq!((slot_guard.is_foreign(A), slot_guard.is_foreign(B), slot_guard.epoch()), (false, false, 1));
    assert_eq!(says(&mut slot_guard, 1, B, 5), SlotVerdict::Plausible);
    assert_eq!(slot_guard.genesis(C, old), ChainVerdict::Foreign);
    // The only endpoint's claim is taken at once.
    let mut alone = SlotGuard::new(1);
    assert_eq!(
        [old, new, new].map(|hash| alone.genesis(A, hash)),
        [ChainVerdict::First, ChainVerdict::Reset, ChainVerdict::Same]
    );
}

#[test]
fn a_new_chain_is_not_locked_out_by_the_slots_of_the_old_one() {
    let mut slot_guard = SlotGuard::new(1);
    slot_guard.genesis(A, Genesis([1; 32]));
    says(&mut slot_guard, 0, A, 5);
    assert!(is_ahead(says(&mut slot_guard, 10, A, HONEST)));
    assert_eq!(slot_guard.genesis(A, Genesis([2; 32])), ChainVerdict::Reset);
    assert!(!slot_guard.quarantined(A, at(20)), "that was for the old chain");
    assert_eq!(says(&mut slot_guard, 20, A, HONEST), SlotVerdict::Plausible);
}
