//! Account bytes. An input is a byte for the owning program, eight for the lamports, and the data.

#![no_main]

use balance_mirror::{Pubkey, TokenProgram, fuzzing};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((program, rest)) = input.split_first() else { return };
    let Some((lamports, data)) = rest.split_first_chunk() else { return };
    let program = match program % 4 {
        0 => TokenProgram::Token.id(),
        1 => TokenProgram::Token2022.id(),
        2 => Pubkey::default(),
        _ => Pubkey::new_from_array([9; 32]),
    };
    std::hint::black_box(fuzzing::account(&program, u64::from_le_bytes(*lamports), data));
});
