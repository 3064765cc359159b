use super::*;
use crate::core::base::ids::{Generation, LinkId};

const A: EndpointId = EndpointId(0);
const B: EndpointId = EndpointId(1);
const LIMITED: RpcFailure = RpcFailure::RateLimited { retry_after: None };
const LATE: RpcFailure = RpcFailure::Timeout { after: Duration::from_secs(2) };

fn at(ms: u64) -> Tick {
    Tick::from_nanos(ms * 1_000_000)
}

fn key(byte: u8) -> Pubkey {
    Pubkey::new_from_array([byte; 32])
}

/// An ask of the caller whose number is that of its address.
fn ask(address: u8, min_slot: Slot, not_before: Tick, urgent: bool) -> Ask {
    Ask {
        address: key(address),
        min_slot,
        not_before,
        urgent,
        reply: Reply::Caller(AskId(u64::from(address))),
        patience: at(3_000),
        avoid: None,
    }
}

fn urgent(address: u8) -> Ask {
    ask(address, 0, at(0), true)
}

fn malformed() -> RpcFailure {
    RpcFailure::Malformed { reason: "no accounts".to_owned() }
}

/// A scheduler whose endpoints have all answered at slot 100.
fn scheduler(endpoints: usize) -> RpcScheduler {
    let mut scheduler = RpcScheduler::new(endpoints, 1_000);
    for endpoint in scheduler.nodes.ids() {
        scheduler.succeeded(endpoint, 100);
    }
    scheduler
}

fn take(scheduler: &mut RpcScheduler, now: Tick, asks: impl IntoIterator<Item = Ask>) {
    for ask in asks {
        scheduler.take(now, ask).expect("room for one more");
    }
}

fn next_call(scheduler: &mut RpcScheduler, now: Tick) -> Option<Call> {
    scheduler.next_call(now, |_| 0)
}

fn departs(scheduler: &mut RpcScheduler, now: Tick) -> Vec<Call> {
    std::iter::from_fn(|| next_call(scheduler, now)).collect()
}

fn fail(scheduler: &mut RpcScheduler, now: Tick, call: &Call, failure: &RpcFailure) {
    let call = scheduler.complete(call.number).expect("a call");
    scheduler.fail(now, call, failure);
}

fn answer(scheduler: &mut RpcScheduler, call: &Call, slot: Slot) {
    let call = scheduler.complete(call.number).expect("a call");
    scheduler.succeeded(call.endpoint, slot);
    for waiters in call.accounts.into_values() {
        scheduler.reply_all(waiters, &Ok(slot));
    }
}

/// What callers were told, by their numbers.
fn told(scheduler: &mut RpcScheduler) -> Vec<(u64, Result<Slot, RpcFailure>)> {
    std::iter::from_fn(|| scheduler.next_reply())
        .map(|(reply, answer)| match reply {
            Reply::Caller(AskId(id)) => (id, answer),
            other => panic!("{other:?} is no caller"),
        })
        .collect()
}

#[test]
fn asks_without_a_hurry_gather_and_share_one_call() {
    let mut scheduler = scheduler(1);
    take(&mut scheduler, at(10), (1..=3).map(|n| ask(n, 0, at(0), false)));
    assert_eq!(scheduler.next_call(at(11), |_| 7), None);
    assert_eq!(scheduler.next_deadline(), Some(at(13)));
    let call = scheduler.next_call(at(13), |_| 7).expect("a call");
    assert_eq!((call.accounts, call.min_slot), (vec![key(1), key(2), key(3)], 7));
    assert_eq!(scheduler.next_call(at(99), |_| 7), None, "nobody waits");
}

#[test]
fn one_flight_serves_all_whom_it_will_do() {
    let mut scheduler = scheduler(1);
    take(&mut scheduler, at(10), [urgent(1)]);
    let call = next_call(&mut scheduler, at(10)).expect("a call");
    take(&mut scheduler, at(12), [ask(1, 0, at(10), true)]);
    assert_eq!(next_call(&mut scheduler, at(12)), None, "it joined");
    take(&mut scheduler, at(12), [ask(1, 0, at(11), true)]);
    assert!(next_call(&mut scheduler, at(12)).is_some(), "asked later than the call was sent");
    take(&mut scheduler, at(13), [ask(1, 5, at(0), true)]);
    assert!(next_call(&mut scheduler, at(13)).is_some(), "wants a later slot than was asked");
    assert_eq!(scheduler.complete(call.number).map(|call| call.accounts[&key(1)].len()), Some(2));
    assert!(scheduler.complete(call.number).is_none());
}

#[test]
fn a_caller_that_goes_away_takes_nothing_with_it() {
    let mut scheduler = scheduler(1);
    take(&mut scheduler, at(10), [urgent(1)]);
    let call = next_call(&mut scheduler, at(10)).expect("a call");
    take(&mut scheduler, at(11), [Ask { reply: Reply::Caller(AskId(7)), ..urgent(1) }]);
    scheduler.cancel(AskId(1));
    answer(&mut scheduler, &call, 142);
    assert_eq!(told(&mut scheduler), [(7, Ok(142))]);

    // The last one leaves: what flies is read all the same, what only waited is not.
    take(&mut scheduler, at(20), [urgent(1)]);
    let call = next_call(&mut scheduler, at(20)).expect("a call");
    take(&mut scheduler, at(20), [urgent(2)]);
    scheduler.cancel(AskId(1));
    scheduler.cancel(AskId(2));
    assert_eq!(next_call(&mut scheduler, at(30)), None);
    assert_eq!(scheduler.next_deadline(), None);
    let call = scheduler.complete(call.number).expect("the call");
    assert_eq!(call.accounts, BTreeMap::from([(key(1), Vec::new())]));
    assert_eq!(scheduler.open, 0);
}

#[test]
fn a_floor_ahead_of_the_chain_holds_up_nobody_else() {
    let mut scheduler = scheduler(1);
    let floors = [(1, 1_000_000), (2, 90), (3, 102), (4, 0)];
    take(&mut scheduler, at(10), floors.map(|(n, floor)| ask(n, floor, at(0), true)));
    let known = |address: &Pubkey| if *address == key(4) { 102 } else { 0 };
    let calls: Vec<_> = std::iter::from_fn(|| scheduler.next_call(at(10), known))
        .map(|call| (call.accounts, call.min_slot))
        .collect();
    assert_eq!(calls, [(vec![key(2)], 90), (vec![key(3), key(4)], 102), (vec![key(1)], 1_000_000)]);
}

#[test]
fn how_far_a_node_is_says_nothing_of_another() {
    let mut scheduler = scheduler(2);
    scheduler.succeeded(B, 200);
    take(&mut scheduler, at(10), [ask(1, 150, at(0), true), urgent(2)]);
    let at_a = departs(&mut scheduler, at(10));
    assert_eq!(at_a.len(), 2, "slot 150 is more than the first has shown");
    scheduler.set_usable(at(11), A, false);
    take(&mut scheduler, at(11), [ask(3, 150, at(0), true), urgent(4)]);
    let at_b = departs(&mut scheduler, at(11));
    assert_eq!(at_b.len(), 1);
    assert_eq!((at_b[0].endpoint, at_b[0].min_slot), (B, 150));
    scheduler.forget_slots();
    take(&mut scheduler, at(12), [ask(5, 150, at(0), true), urgent(6)]);
    assert_eq!(departs(&mut scheduler, at(12)).len(), 1, "four are under way");
    assert_eq!(scheduler.pending[3].min_slot, 0, "on another chain, 150 is unheard of");
}

#[test]
fn a_node_that_is_behind_is_asked_again_without_a_call_under_way_meanwhile() {
    let mut scheduler = scheduler(1);
    let behind = RpcFailure::Behind { min_slot: 9 };
    let ledger_only = Ask { reply: Reply::Nobody, ..ask(3, 9, at(0), false) };
    take(&mut scheduler, at(10), [ask(1, 9, at(0), true), ask(2, 9, at(0), true), ledger_only]);
    let call = next_call(&mut scheduler, at(10)).expect("a call");
    fail(&mut scheduler, at(20), &call, &behind);
    assert!(scheduler.pending.is_empty());
    assert_eq!(scheduler.next_deadline(), Some(at(120)));
    scheduler.cancel(AskId(2));
    assert_eq!(next_call(&mut scheduler, at(119)), None);
    let call =
        next_call(&mut scheduler, at(120)).or_else(|| next_call(&mut scheduler, at(123))).expect("a call");
    assert_eq!(call.accounts, [key(1), key(3)], "whoever asked for the other is gone");
    assert_eq!(told(&mut scheduler), []);
    fail(&mut scheduler, at(2_950), &call, &behind);
    assert_eq!(told(&mut scheduler), [(1, Err(behind))], "its patience is over");
    assert_eq!((scheduler.open, scheduler.next_deadline()), (0, None));
}

#[test]
fn a_batch_and_the_calls_at_once_are_bounded() {
    let mut scheduler = scheduler(2);
    take(&mut scheduler, at(10), (0..=250).map(urgent));
    let sizes: Vec<usize> = departs(&mut scheduler, at(10)).iter().map(|call| call.accounts.len()).collect();
    assert_eq!(sizes, [99, 99, 53]);
    for n in 0..=9 {
        let now = at(11 + u64::from(n));
        take(&mut scheduler, now, [ask(n, 0, now, true)]);
        next_call(&mut scheduler, now);
    }
    assert_eq!(scheduler.pending.len(), MAX_PENDING);
    assert_eq!(scheduler.next_deadline(), None, "a landing wakes it, not the clock");
}

#[test]
fn while_a_node_limits_its_rate_asks_are_answered_at_once() {
    let mut scheduler = scheduler(1);
    take(&mut scheduler, at(0), [urgent(9)]);
    let call = next_call(&mut scheduler, at(0)).expect("a call");
    take(&mut scheduler, at(0), [ask(8, 0, at(0), false)]);
    fail(&mut scheduler, at(1), &call, &LIMITED);
    assert_eq!(told(&mut scheduler), [(9, Err(LIMITED))]);
    take(&mut scheduler, at(1_000), [urgent(1)]);
    assert_eq!(told(&mut scheduler), [(1, Err(LIMITED))]);
    assert_eq!(next_call(&mut scheduler, at(1_000)), None, "nor does what waited already next_call before");
    assert_eq!(scheduler.next_deadline(), Some(at(1_001)));
    take(&mut scheduler, at(1_001), [urgent(1)]);
    let call = next_call(&mut scheduler, at(1_001)).expect("a call");
    assert_eq!(call.accounts, [key(1), key(8)]);
}

#[test]
fn what_fails_at_one_endpoint_is_tried_at_the_next_before_anybody_hears_of_it() {
    let failures = [
        RpcFailure::Unreachable { reason: "refused".to_owned() },
        LATE,
        LIMITED,
        RpcFailure::Behind { min_slot: 3 },
        RpcFailure::Lagging { lag: Duration::from_secs(60) },
        RpcFailure::Status { status: 503 },
        RpcFailure::Server { code: -32005, message: "unhealthy".to_owned() },
        malformed(),
    ];
    for failure in failures {
        let mut scheduler = scheduler(3);
        scheduler.set_usable(at(9), B, false);
        take(&mut scheduler, at(10), [urgent(1)]);
        let call = next_call(&mut scheduler, at(10)).expect("a call");
        assert_eq!(call.endpoint, A);
        fail(&mut scheduler, at(20), &call, &failure);
        assert_eq!(told(&mut scheduler), [], "{failure}");
        let call = next_call(&mut scheduler, at(20)).expect("a call at once");
        assert_eq!((call.endpoint, call.accounts.len()), (EndpointId(2), 1), "{failure}");
        fail(&mut scheduler, at(30), &call, &LATE);
        let heard = told(&mut scheduler);
        if matches!(failure, RpcFailure::Behind { .. }) {
            assert_eq!(heard, [], "the node that was behind may come to it");
            assert_eq!(next_call(&mut scheduler, at(130)).map(|call| call.endpoint), Some(A));
        } else {
            assert_eq!(heard, [(1, Err(LATE))], "{failure}");
            assert_eq!(next_call(&mut scheduler, at(900)), None);
        }
    }
}

#[test]
fn a_bad_account_in_a_good_answer_is_tried_at_the_next_endpoint() {
    let mut scheduler = scheduler(2);
    take(&mut scheduler, at(10), [urgent(1)]);
    let call = next_call(&mut scheduler, at(10)).expect("a call");
    let mut call = scheduler.complete(call.number).expect("a call");
    let waiters = call.accounts.remove(&key(1)).expect("the account");
    scheduler.fail_account(at(20), A, waiters, &malformed());
    assert_eq!(next_call(&mut scheduler, at(20)).map(|call| call.endpoint), Some(B));
}

#[test]
fn a_refusal_is_met_only_where_all_usable_endpoints_refuse() {
    let mut scheduler = scheduler(2);
    take(&mut scheduler, at(0), [urgent(1)]);
    let call = next_call(&mut scheduler, at(0)).expect("a call");
    fail(
        &mut scheduler,
        at(1),
        &call,
        &RpcFailure::RateLimited { retry_after: Some(Duration::from_secs(5)) },
    );
    take(&mut scheduler, at(2), [urgent(2)]);
    let call = next_call(&mut scheduler, at(2)).expect("a call");
    assert_eq!((call.endpoint, call.accounts.len()), (B, 2));
    take(&mut scheduler, at(2), [ask(4, 0, at(0), false)]);
    fail(&mut scheduler, at(3), &call, &LIMITED);
    assert_eq!(told(&mut scheduler), [(1, Err(LIMITED)), (2, Err(LIMITED))]);
    take(&mut scheduler, at(4), [urgent(3)]);
    assert_eq!(told(&mut scheduler), [(3, Err(LIMITED))]);
    assert_eq!(scheduler.next_deadline(), Some(at(1_003)), "the first to answer again");
    let call = next_call(&mut scheduler, at(1_003)).expect("a call");
    assert_eq!((call.endpoint, call.accounts), (B, vec![key(4)]));
}

#[test]
fn the_endpoint_to_avoid_is_avoided_where_there_is_another() {
    let mut scheduler = scheduler(2);
    let not_a = |n| Ask { avoid: Some(A), ..urgent(n) };
    take(&mut scheduler, at(10), [urgent(1), not_a(2)]);
    let calls: Vec<_> =
        departs(&mut scheduler, at(10)).into_iter().map(|call| (call.endpoint, call.accounts)).collect();
    assert_eq!(calls, [(A, vec![key(1)]), (B, vec![key(2)])]);
    // It joins no call to the one that it avoids.
    take(&mut scheduler, at(11), [not_a(1)]);
    let call = next_call(&mut scheduler, at(11)).expect("a call");
    assert_eq!((call.endpoint, &call.accounts[..]), (B, &[key(1)][..]));
    // The last resort.
    fail(&mut scheduler, at(12), &call, &LATE);
    let call = next_call(&mut scheduler, at(12)).expect("a call");
    assert_eq!((call.endpoint, &call.accounts[..]), (A, &[key(1)][..]));
    scheduler.set_usable(at(13), B, false);
    take(&mut scheduler, at(13), [not_a(3)]);
    assert_eq!(next_call(&mut scheduler, at(13)).map(|call| call.endpoint), Some(A));
}

#[test]
fn without_an_endpoint_asks_fail_instead_of_waiting_for_ever() {
    let mut scheduler = scheduler(2);
    take(&mut scheduler, at(10), [urgent(1)]);
    let call = next_call(&mut scheduler, at(10)).expect("a call");
    take(&mut scheduler, at(10), [ask(2, 0, at(0), false)]);
    fail(&mut scheduler, at(11), &call, &LATE);
    // The first waits for B alone; the second would take either.
    scheduler.set_usable(at(12), B, false);
    assert_eq!(told(&mut scheduler), [(1, Err(LATE))]);
    scheduler.set_usable(at(12), A, false);
    take(&mut scheduler, at(13), [urgent(3)]);
    let heard = told(&mut scheduler);
    assert_eq!(heard.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [2, 3]);
    assert!(heard.iter().all(|(_, answer)| matches!(answer, Err(RpcFailure::Unreachable { .. }))));
    scheduler.want_mint(key(9));
    assert_eq!(
        (next_call(&mut scheduler, at(99)), scheduler.next_deadline(), scheduler.open),
        (None, None, 0)
    );
    scheduler.set_usable(at(100), A, true);
    assert_eq!(next_call(&mut scheduler, at(100)).map(|call| call.mints), Some(vec![key(9)]));
}

/// Plays nodes that fail calls with more than `most` keys or with the poisoned key, until no call
/// is under way. Returns how many calls it took.
fn play(scheduler: &mut RpcScheduler, most: usize, poisoned: Option<Pubkey>) -> usize {
    let mut calls = 0;
    let mut now = at(10);
    loop {
        let departed = departs(scheduler, now);
        if departed.is_empty() {
            return calls;
        }
        calls += departed.len();
        assert!(calls < 500, "no end of calls");
        now = now.plus(Duration::from_millis(1));
        for call in departed {
            let spoilt = poisoned.is_some_and(|key| call.accounts.contains(&key));
            if spoilt || call.accounts.len() > most {
                fail(scheduler, now, &call, &malformed());
            } else {
                answer(scheduler, &call, 101);
            }
        }
    }
}

#[test]
fn one_poisoned_key_fails_alone() {
    for endpoints in [1, 2] {
        let mut scheduler = scheduler(endpoints);
        take(&mut scheduler, at(10), (0..198).map(urgent));
        play(&mut scheduler, BATCH, Some(key(77)));
        let heard = told(&mut scheduler);
        assert_eq!(heard.len(), 198);
        for (id, answer) in heard {
            assert_eq!(answer.is_err(), id == 77, "{id}: {answer:?}");
        }
        assert_eq!(scheduler.open, 0);
    }
}

#[test]
fn a_poisoned_key_flies_alone_in_the_end_also_while_other_calls_succeed() {
    let mut scheduler = scheduler(1);
    take(&mut scheduler, at(10), (0..99).map(urgent));
    let mut rounds = 0;
    while let Some(call) = next_call(&mut scheduler, at(10)) {
        rounds += 1;
        assert!(rounds < 100, "no end of calls");
        if call.accounts.contains(&key(77)) {
            fail(&mut scheduler, at(10), &call, &malformed());
        } else {
            answer(&mut scheduler, &call, 101);
        }
        // Each time enough of them for larger batches.
        (0..16 * 7).for_each(|_| scheduler.succeeded(A, 101));
    }
    let failed: Vec<_> = told(&mut scheduler).into_iter().filter(|(_, answer)| answer.is_err()).collect();
    assert_eq!(failed, [(77, Err(malformed()))]);
}

#[test]
fn a_node_that_chokes_on_large_calls_gets_smaller_ones_and_later_larger_again() {
    let mut scheduler = scheduler(1);
    take(&mut scheduler, at(10), (0..198).map(urgent));
    play(&mut scheduler, 30, None);
    assert!(told(&mut scheduler).iter().all(|(_, answer)| answer.is_ok()));
    let learnt = scheduler.nodes.batch(A);
    assert!((12..=30).contains(&learnt), "{learnt}");
    take(&mut scheduler, at(1_000), (0..198).map(urgent));
    let sizes: Vec<_> = departs(&mut scheduler, at(1_000)).iter().map(|call| call.accounts.len()).collect();
    assert!(sizes.iter().all(|size| *size == learnt), "{sizes:?}");
    for _ in 0..16 * 4 {
        scheduler.succeeded(A, 102);
    }
    assert_eq!(scheduler.nodes.batch(A), BATCH);
}

#[test]
fn what_blames_the_size_is_told_from_what_does_not() {
    let server = |code, message: &str| RpcFailure::Server { code, message: message.to_owned() };
    for failure in [
        malformed(),
        RpcFailure::Status { status: 413 },
        server(-32602, "Too many inputs provided; max 100"),
        server(-32000, "Response is too big"),
        server(-32000, "too many accounts"),
    ] {
        assert!(blames_size(&failure), "{failure}");
    }
    for failure in [
        LATE,
        LIMITED,
        RpcFailure::Behind { min_slot: 1 },
        RpcFailure::Status { status: 503 },
        server(-32429, "Too many requests"),
        server(-32005, "Node is behind"),
    ] {
        assert!(!blames_size(&failure), "{failure}");
        let mut scheduler = scheduler(1);
        take(&mut scheduler, at(10), (0..9).map(urgent));
        let call = next_call(&mut scheduler, at(10)).expect("a call");
        fail(&mut scheduler, at(11), &call, &failure);
        assert_eq!(scheduler.nodes.batch(A), BATCH, "{failure}");
    }
}

#[test]
fn no_more_asks_are_open_than_the_limit_allows() {
    let mut scheduler = RpcScheduler::new(1, 3);
    take(&mut scheduler, at(10), [urgent(1)]);
    let call = next_call(&mut scheduler, at(10)).expect("a call");
    // One flies, one joins it, one waits.
    take(&mut scheduler, at(10), [urgent(1), ask(2, 0, at(0), false)]);
    assert_eq!(scheduler.take(at(10), urgent(3)), Err(Crowded(urgent(3))));
    assert_eq!(scheduler.take(at(10), urgent(1)), Err(Crowded(urgent(1))), "nor can it join");
    // Those that are held count, those that are told or cancelled do not.
    fail(&mut scheduler, at(11), &call, &RpcFailure::Behind { min_slot: 1 });
    assert_eq!(scheduler.take(at(11), urgent(3)), Err(Crowded(urgent(3))));
    scheduler.cancel(AskId(2));
    take(&mut scheduler, at(12), [urgent(3)]);
    assert_eq!(scheduler.take(at(12), urgent(4)), Err(Crowded(urgent(4))));
    let call = next_call(&mut scheduler, at(12)).expect("a call");
    answer(&mut scheduler, &call, 101);
    take(&mut scheduler, at(13), [urgent(4)]);
}

#[test]
fn mints_ride_along_or_fly_alone_and_are_given_up_in_the_end() {
    let mut scheduler = scheduler(1);
    scheduler.want_mint(key(200));
    take(&mut scheduler, at(10), [urgent(1)]);
    let call = next_call(&mut scheduler, at(10)).expect("a call");
    assert_eq!((&call.accounts[..], &call.mints[..]), (&[key(1)][..], &[key(200)][..]));
    let mut pending = scheduler.complete(call.number).expect("a call");
    let mut now = at(11);
    for _ in 0..MINT_TRIES {
        let wish = pending.mints.remove(&key(200)).expect("the wish");
        assert!(scheduler.mint_unread(now, key(200), wish));
        assert_eq!(next_call(&mut scheduler, now), None);
        now = now.plus(MINT_PAUSE);
        assert_eq!(scheduler.next_deadline(), Some(now));
        let call = next_call(&mut scheduler, now).expect("a call for the mint alone");
        assert_eq!((call.accounts.len(), call.mints), (0, vec![key(200)]));
        pending = scheduler.complete(call.number).expect("a call");
    }
    let wish = pending.mints.remove(&key(200)).expect("the wish");
    assert!(!scheduler.mint_unread(now, key(200), wish));
    assert_eq!(scheduler.next_deadline(), None);
}

#[test]
fn a_known_mint_waits_a_little_for_a_call_that_has_room() {
    let mut scheduler = scheduler(1);
    scheduler.want_mint_again(at(10), key(200));
    assert_eq!(next_call(&mut scheduler, at(5_009)), None);
    take(&mut scheduler, at(5_009), [urgent(1)]);
    let call = next_call(&mut scheduler, at(5_009)).expect("a call");
    assert_eq!((&call.accounts[..], &call.mints[..]), (&[key(1)][..], &[key(200)][..]), "it rides");
    let mut call = scheduler.complete(call.number).expect("a call");
    let wish = call.mints.remove(&key(200)).expect("the wish");
    assert!(
        !scheduler.mint_unread(at(5_010), key(200), wish),
        "it is known: one answer without it is no reason to hurry"
    );

    scheduler.want_mint_again(at(6_000), key(201));
    assert_eq!(scheduler.next_deadline(), Some(at(11_000)));
    let call = next_call(&mut scheduler, at(11_000)).expect("a call of its own");
    assert_eq!((call.accounts.len(), call.mints), (0, vec![key(201)]));
}

#[test]
fn a_known_mint_that_nobody_can_read_is_given_up_soon_and_one_that_is_new_is_not() {
    let mut scheduler = scheduler(1);
    scheduler.want_mint_again(at(10), key(200));
    scheduler.want_mint(key(201));
    let mut now = at(10);
    let mut asked = 0;
    for _ in 0..20 {
        let Some(call) = next_call(&mut scheduler, now) else { break };
        asked += usize::from(call.mints.contains(&key(200)));
        assert!(call.mints.contains(&key(201)));
        fail(&mut scheduler, now, &call, &LATE);
        now = now.max(scheduler.next_deadline().expect("the other is still wanted"));
    }
    assert_eq!(asked, 1 + usize::from(MINT_TRIES_AGAIN));
}

#[test]
fn a_mint_that_spoils_its_calls_spoils_no_other_for_ever() {
    let mut scheduler = scheduler(1);
    (1..=99).for_each(|n| scheduler.want_mint(key(n)));
    let mut read = 0;
    let mut now = at(10);
    for _ in 0..500 {
        // Good answers of other calls meanwhile.
        (0..16).for_each(|_| scheduler.succeeded(A, 101));
        for call in departs(&mut scheduler, now) {
            if call.mints.contains(&key(50)) {
                fail(&mut scheduler, now, &call, &malformed());
            } else {
                read += call.mints.len();
                let _ = scheduler.complete(call.number);
            }
        }
        let Some(next) = scheduler.next_deadline() else { break };
        now = now.max(next);
    }
    assert_eq!(read, 98);
    assert_eq!(scheduler.next_deadline(), None, "and it is given up itself");
}

#[test]
fn mints_go_to_the_next_endpoint_too() {
    let mut scheduler = scheduler(2);
    scheduler.want_mint(key(200));
    let call = next_call(&mut scheduler, at(10)).expect("a call");
    fail(&mut scheduler, at(11), &call, &LATE);
    let call = next_call(&mut scheduler, at(2_011)).expect("a call");
    assert_eq!(call.endpoint, B);
    fail(&mut scheduler, at(2_012), &call, &LATE);
    assert_eq!(next_call(&mut scheduler, at(4_012)).map(|call| call.endpoint), Some(A), "round again");
}

#[test]
fn a_session_is_told_which_recheck_it_was_and_nobody_is_told_nothing() {
    let mut scheduler = scheduler(1);
    let reply =
        Reply::Recheck { link: LinkId(3), generation: Generation::default(), address: key(1), attempt: 2 };
    take(&mut scheduler, at(10), [Ask { reply, ..urgent(1) }, Ask { reply: Reply::Nobody, ..urgent(1) }]);
    let call = next_call(&mut scheduler, at(10)).expect("a call");
    answer(&mut scheduler, &call, 140);
    assert_eq!(scheduler.next_reply(), Some((reply, Ok(140))));
    assert_eq!(scheduler.next_reply(), None);
}

#[test]
fn who_does_not_answer_is_asked_after_the_others_for_a_while() {
    let mut scheduler = scheduler(2);
    let asked = |scheduler: &mut RpcScheduler, now: Tick, n: u8| {
        take(scheduler, now, [urgent(n)]);
        next_call(scheduler, now).expect("a call")
    };
    let first = asked(&mut scheduler, at(0), 1);
    assert_eq!(first.endpoint, EndpointId(0));
    fail(&mut scheduler, at(3_000), &first, &RpcFailure::Timeout { after: Duration::from_secs(3) });
    let again = next_call(&mut scheduler, at(3_000)).expect("the next endpoint");
    assert_eq!(again.endpoint, EndpointId(1));
    answer(&mut scheduler, &again, 5);
    let meanwhile = asked(&mut scheduler, at(4_900), 2);
    assert_eq!(meanwhile.endpoint, EndpointId(1), "nobody else pays its timeout");
    // Where the other fails too, it is asked all the same.
    fail(&mut scheduler, at(4_900), &meanwhile, &RpcFailure::Unreachable { reason: String::new() });
    let instead = next_call(&mut scheduler, at(4_900)).expect("the first");
    assert_eq!(instead.endpoint, EndpointId(0));
    answer(&mut scheduler, &instead, 6);
    assert_eq!(asked(&mut scheduler, at(5_000), 3).endpoint, EndpointId(0), "it answers again");
}
