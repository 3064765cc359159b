//! The body of an HTTP answer to `getMultipleAccounts` for three keys and the Clock.
//!
//! Whatever it says, an error tells no secret of the URL.

#![no_main]

use balance_mirror::{Pubkey, fuzzing};
use libfuzzer_sys::fuzz_target;

/// It stands in some of the corpus.
const SECRET: &str = "pl4nted-s3cr3t";

fuzz_target!(|body: &[u8]| {
    let url = format!("http://127.0.0.1:8899/?api-key={SECRET}");
    let keys = [1, 2, 3, 4].map(|byte| Pubkey::new_from_array([byte; 32]));
    for status in [200, 500] {
        if let Err(error) = fuzzing::rpc_answer(&url, status, body, &keys, 100) {
            assert!(!error.contains(SECRET), "{error}");
        }
    }
});
