//! Wrong slots, wrong contents, reverts that are not told.

#![allow(clippy::unwrap_used, reason = "a test may fail so")]

mod support;

use futures_util::StreamExt;
use localnet::{Side, tokens};
use support::{raw::Raw, *};

#[tokio::test]
async fn slots_are_told_too_high_so_many_times_on_each_side() {
    let net = stepped();
    let mut raw = subscribed(&net, &[1]).await;
    let rpc = rpc(&net);
    let context = async || {
        rpc.get_multiple_ui_accounts_with_config(&[CLOCK], base64(PROCESSED)).await.unwrap().context.slot
    };
    net.faults().slots_ahead(Side::Notifications, 100, None);
    let tip = write(&net, 1, 1);
    assert_eq!((raw.seen().await.slot, context().await), (tip + 100, tip));
    net.faults().slots_ahead(Side::Notifications, 0, None);
    net.faults().slots_ahead(Side::Rpc, 100, None);
    let tip = write(&net, 1, 2);
    assert_eq!((raw.seen().await.slot, context().await), (tip, tip + 100));
    net.faults().slots_ahead(Side::Both, u64::MAX, Some(2));
    let tips = [3, 4, 5].map(|n| write(&net, 1, n));
    let told = [raw.seen().await.slot, raw.seen().await.slot, raw.seen().await.slot];
    assert_eq!(told, [u64::MAX, u64::MAX, tips[2]]);
    assert_eq!([context().await, context().await, context().await], [u64::MAX, u64::MAX, tips[2]]);
}

#[tokio::test]
async fn a_wrong_amount_is_told_at_the_right_slot() {
    let net = stepped();
    let token = token(&net, tokens::TOKEN_2022, &[]);
    net.advance(2);
    let client = pubsub(&net).await;
    let (mut updates, _) = client.account_subscribe(&token.ata, Some(base64(PROCESSED))).await.unwrap();
    let rpc = rpc(&net);
    let mut mint = async |amount| {
        let slot = token.mint(&net, amount);
        net.advance(1);
        let update = soon("an update", updates.next()).await.unwrap();
        assert_eq!(update.context.slot, slot);
        let found = rpc.get_multiple_ui_accounts_with_config(&[token.ata], base64(PROCESSED)).await.unwrap();
        assert_eq!(found.context.slot, slot);
        let found = found_amount(&found.value[0]);
        (ui_amount(&update), found)
    };
    assert_eq!(mint(1).await, (1, 1));
    net.faults().lie(&token.ata, 77, Side::Notifications);
    assert_eq!(mint(1).await, (77, 2));
    net.faults().lie(&token.ata, 77, Side::Rpc);
    assert_eq!(mint(1).await, (3, 77));
    net.faults().lie(&token.ata, 77, Side::Both);
    assert_eq!(mint(1).await, (77, 77));
    let balance = rpc.get_token_account_balance_with_commitment(&token.ata, PROCESSED).await.unwrap();
    assert_eq!(balance.value.amount, "77");
    net.faults().stop_lying();
    assert_eq!(mint(1).await, (5, 5));
    assert_eq!(amount(&net.account(&token.ata, PROCESSED).1.unwrap()), 5, "the chain itself was never wrong");
}

fn found_amount(account: &Option<solana_client::rpc_response::UiAccount>) -> u64 {
    amount(&account.as_ref().unwrap().to_account().unwrap())
}

#[tokio::test]
async fn anothers_contents_are_told_under_the_right_id() {
    let net = stepped();
    let mut raw = Raw::connect(&net).await;
    let id = raw.subscribe(&address(1), "processed").await;
    write(&net, 2, 22);
    net.faults().tell_instead(&address(1), &address(2), Side::Notifications);
    write(&net, 1, 11);
    let seen = raw.seen().await;
    assert_eq!((seen.id, seen.lamports), (id, 22));
    assert_eq!(rpc(&net).get_balance_with_commitment(&address(1), PROCESSED).await.unwrap().value, 11);
    net.faults().clear();
    write(&net, 1, 12);
    assert_eq!(raw.seen().await.lamports, 12);
}

#[tokio::test]
async fn a_revert_is_told_by_one_node_and_not_by_another() {
    let net = stepped();
    let node = net.add_node().unwrap();
    node.faults().silent_reverts(true);
    // The Clock has one lamport.
    write(&net, 1, 101);
    net.advance(1);
    let mut told = subscribed(&net, &[1]).await;
    let mut untold = Raw::connect(&node).await;
    untold.subscribe(&address(1), "processed").await;
    untold.subscribe(&CLOCK, "processed").await;
    let confirmed = rpc(&node);
    write(&net, 1, 102);
    assert_eq!(net.faults().revert(1).len(), 1);
    let tip = write(&net, 3, 3);
    assert_eq!([told.seen().await.lamports, told.seen().await.lamports], [102, 101], "the old state again");
    // The Clock of the fork's first bank, and of the next: between them, nothing of the account.
    let seen: Vec<_> =
        [untold.seen().await, untold.seen().await, untold.seen().await, untold.seen().await].into();
    let of_account: Vec<u64> =
        seen.iter().map(|seen| seen.lamports).filter(|lamports| *lamports > 1).collect();
    assert_eq!((of_account, seen[3].slot), (vec![102], tip));
    // What is confirmed was never touched, and the next write heals.
    net.advance(2);
    assert_eq!(confirmed.get_balance(&address(1)).await.unwrap(), 101);
    write(&net, 1, 104);
    while untold.seen().await.lamports != 104 {}
    // Switched off, it is told again.
    node.faults().silent_reverts(false);
    net.advance(1);
    write(&net, 1, 105);
    net.faults().revert(1);
    while untold.seen().await.lamports != 105 {}
    while untold.seen().await.lamports != 104 {}
}
