//! How fast it is: what tests with slots of milliseconds rest on.

#![allow(clippy::unwrap_used, reason = "a test may fail so")]

mod support;

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use localnet::{Localnet, Pubkey};
use support::{raw::Raw, *};

#[tokio::test]
async fn hundreds_of_accounts_at_five_milliseconds() {
    let started = Instant::now();
    let net = fast().start().unwrap();
    let first = started.elapsed();
    let started = Instant::now();
    drop(Localnet::start().unwrap());
    println!("first start {first:?}, another with its stop {:?}", started.elapsed());

    let accounts: Vec<Pubkey> = (0..300u16)
        .map(|n| {
            let mut bytes = [7; 32];
            bytes[..2].copy_from_slice(&n.to_le_bytes());
            Pubkey::from(bytes)
        })
        .collect();
    let mut raw = Raw::connect(&net).await;
    let clock = raw.subscribe(&CLOCK, "confirmed").await;
    let mut ids = HashMap::new();
    for account in &accounts {
        ids.insert(raw.subscribe(account, "confirmed").await, *account);
    }
    let mut latest: HashMap<u64, u64> = HashMap::new();
    let (first, begun) = (net.slot(CONFIRMED), Instant::now());
    let mut last_write = 0;
    for round in 1..=20 {
        for account in &accounts {
            last_write = net.set_account(account, lamports(round));
        }
        let mut slots = net.slots();
        let next = net.slot(PROCESSED) + 1;
        soon("a slot", slots.wait_for(|slot| *slot >= next)).await.unwrap();
    }
    loop {
        let seen = raw.seen().await;
        if seen.id != clock {
            latest.insert(seen.id, seen.lamports);
        } else if seen.slot > last_write {
            break;
        }
    }
    let slots = net.slot(CONFIRMED) - first;
    println!("{slots} slots in {:?}, {} notifications", begun.elapsed(), net.stats().notifications);
    assert_eq!(latest.len(), accounts.len());
    assert!(latest.values().all(|lamports| *lamports == 20), "nothing was lost: {latest:?}");
}

#[tokio::test]
async fn transactions_are_quick() {
    let net = stepped();
    let token = token(&net, localnet::tokens::TOKEN, &[]);
    let started = Instant::now();
    for n in 0..100 {
        token.mint(&net, n);
    }
    println!("a transaction {:?}", started.elapsed() / 100);
    let started = Instant::now();
    net.advance(1000);
    println!("a slot {:?}", started.elapsed() / 1000);
    // Some hundred times what it takes: what grows with the chain takes longer.
    assert!(started.elapsed() < Duration::from_secs(60));
}
