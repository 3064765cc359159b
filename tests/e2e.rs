//! The end-to-end suite on the local cluster: each scenario a test of its own, on a cluster of its
//! own.

use std::time::Duration;

use e2e_suite::Local;
use localnet::{Account, Localnet, tokens};

/// Quick, and slow enough for two cores that run two scenarios at once.
const SLOT: Duration = Duration::from_millis(20);

/// Wrapped SOL's mint, which a validator makes by itself: nine decimals, and nobody's.
fn make_native_mint(net: &Localnet) {
    let mint = "So11111111111111111111111111111111111111112".parse().expect("an address");
    let mut data = vec![0; 82];
    (data[44], data[45]) = (9, 1);
    let account = Account { lamports: 1_461_600, data, owner: tokens::TOKEN, ..Account::default() };
    net.set_account(&mint, account);
}

fn run(name: &str) {
    // Each scenario has keys and an order of notifications of its own, the same in every run.
    let seed = name.bytes().fold(0, |seed: u64, byte| seed.wrapping_mul(31).wrapping_add(byte.into()));
    println!("seed {seed}");
    let cluster = Local::start(seed, SLOT);
    make_native_mint(&cluster.net);
    let mut listed = e2e_suite::everywhere().into_iter().chain(e2e_suite::local_only());
    let scenario = listed.find(|scenario| scenario.name == name).expect("a scenario");
    if let Err(error) = e2e_suite::run(&scenario, &cluster) {
        panic!("{name}: {error}");
    }
}

macro_rules! tests {
    ($($module:ident: [$($name:ident),* $(,)?]),* $(,)?) => {
        $(mod $module {
            $(#[test]
            fn $name() {
                crate::run(stringify!($name));
            })*
        })*
    };
}

mod everywhere {
    e2e_suite::everywhere!(tests);
}

mod local_only {
    e2e_suite::local_only!(tests);
}
