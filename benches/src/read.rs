//! One read of a fresh balance, among 200 watched accounts: from the mirror, and from TTL caches.
//!
//! `cargo bench -p benches`. The caches hold a number and its age; the mirror's answer also carries
//! the account's state, its slot, and the proof.

use std::{hint::black_box, time::Duration};

use balance_mirror::{Mirror, Pubkey, WatchTarget};
use benches::{LockedCache, ShardedCache};
use criterion::{Criterion, criterion_group, criterion_main};
use localnet::Localnet;
use tokio::runtime::Runtime;

const ACCOUNTS: u8 = 200;
const MAX_AGE: Duration = Duration::from_secs(30);

fn reads(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let net = Localnet::start().expect("a local cluster");
    let addresses: Vec<Pubkey> = (1..=ACCOUNTS).map(|n| Pubkey::new_from_array([n; 32])).collect();

    let mirror = runtime
        .block_on(async { Mirror::builder(net.rpc_url()).start() })
        .expect("a mirror of the local cluster");
    let readers = mirror.watch_all(addresses.iter().copied().map(WatchTarget::account)).expect("room");
    for reader in &readers {
        runtime.block_on(reader.ready(Duration::from_secs(20))).expect("a live account");
    }
    let locked = LockedCache::default();
    let sharded = ShardedCache::default();
    for address in &addresses {
        runtime.block_on(locked.put(address, 7));
        sharded.put(*address, 7);
    }
    let texts: Vec<String> = addresses.iter().map(Pubkey::to_string).collect();

    let mut group = criterion.benchmark_group("read a fresh balance");
    group.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    let mut turn = (0..usize::from(ACCOUNTS)).cycle();
    group.bench_function("mirror, by reader", |bencher| {
        bencher.iter(|| {
            let reader = &readers[turn.next().unwrap_or_default()];
            black_box(reader.fresh(MAX_AGE)).expect("live").state.token_amount()
        });
    });
    group.bench_function("mirror, by address", |bencher| {
        bencher.iter(|| {
            let address = &addresses[turn.next().unwrap_or_default()];
            let reading = black_box(mirror.read(address)).expect("watched");
            reading.fresh(MAX_AGE).expect("live").token_amount()
        });
    });
    group.bench_function("RwLock<HashMap<String, _>>", |bencher| {
        bencher.iter(|| {
            let text = &texts[turn.next().unwrap_or_default()];
            black_box(runtime.block_on(locked.get(text, MAX_AGE))).expect("fresh")
        });
    });
    group.bench_function("DashMap<Pubkey, _>", |bencher| {
        bencher.iter(|| {
            let address = &addresses[turn.next().unwrap_or_default()];
            black_box(sharded.get(address, MAX_AGE)).expect("fresh")
        });
    });
    group.finish();
}

criterion_group!(benches, reads);
criterion_main!(benches);
