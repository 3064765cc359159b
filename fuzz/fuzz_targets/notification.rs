//! A WebSocket message with a notification.

#![no_main]

use balance_mirror::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let _ = std::hint::black_box(fuzzing::notification(input));
});
