//! What an input says, by other means than the crate's: SPL Token's own unpacking, and layouts
//! written out by hand.

use balance_mirror::{
    Pubkey, TokenExtensions, TokenProgram, UiScale,
    fuzzing::{Seen, Stands, WALL_MS},
};
use serde_json::Value;
use solana_account_decoder_client_types::{UiAccount, UiAccountData, UiAccountEncoding};
use solana_program_pack::Pack;
use spl_token_interface::state::{Account, AccountState, Mint};

use crate::seeds::Bytes;

/// What Token-2022 has put behind a base of 165 bytes, padding included: the types in order, and
/// how the list ends.
pub(crate) struct Entries {
    pub(crate) types: Vec<(u16, usize)>,
    /// A type that is not known, or a length beyond the end: then nothing can be said of the types.
    broken: bool,
}

pub(crate) fn entries(data: &[u8]) -> Entries {
    let mut entries = Entries { types: Vec::new(), broken: false };
    let mut rest = data.get(166..).unwrap_or_default();
    while let Some(kind) = rest.get(..2) {
        let kind = u16::from_le_bytes([kind[0], kind[1]]);
        if kind == 0 {
            break;
        }
        let Some(length) = rest.get(2..4) else {
            entries.broken = true;
            break;
        };
        let length = usize::from(u16::from_le_bytes([length[0], length[1]]));
        if kind > 28 || rest.len() < 4 + length {
            entries.broken = true;
            break;
        }
        entries.types.push((kind, length));
        rest = &rest[4 + length..];
    }
    entries
}

/// What the extensions of an account say to whoever sells, by their documented layouts, where the
/// list is whole and has the lengths that the program writes.
fn facts(data: &[u8], ours: TokenExtensions) -> Result<(), &'static str> {
    let Entries { types, broken } = entries(data);
    let lengths = [(2, 8), (5, 295), (11, 1), (13, 0), (17, 64)];
    let regular = |(kind, length): &(u16, usize)| {
        lengths.iter().all(|(known, theirs)| kind != known || length == theirs)
    };
    if broken || !types.iter().all(regular) {
        return Ok(());
    }
    // The first of a kind counts.
    let mut place = 166;
    let mut values = std::collections::BTreeMap::new();
    for (kind, length) in types {
        values.entry(kind).or_insert(&data[place + 4..][..length]);
        place += 4 + length;
    }
    let any = |kind: u16, range: std::ops::Range<usize>| {
        values.get(&kind).is_some_and(|value| value[range].iter().any(|byte| *byte != 0))
    };
    for (what, ours, theirs) in [
        ("CPI guard", ours.cpi_guard(), any(11, 0..1)),
        ("non-transferable", ours.non_transferable(), values.contains_key(&13)),
        ("withheld fees", ours.withheld_fees(), any(2, 0..8)),
        ("confidential balance", ours.confidential_balance(), any(5, 33..225) || any(17, 0..64)),
    ] {
        if ours != theirs {
            return Err(what);
        }
    }
    Ok(())
}

/// The token account in some bytes, by the interface of SPL Token and the documented frame of
/// Token-2022.
fn token(program: TokenProgram, data: &[u8]) -> Option<Account> {
    let extended =
        program == TokenProgram::Token2022 && data.len() > 165 && data.len() != 355 && data[165] == 2;
    if data.len() != 165 && !extended {
        return None;
    }
    Account::unpack(&data[..165]).ok()
}

/// As [`token`], for a mint.
fn mint(program: TokenProgram, data: &[u8]) -> Option<Mint> {
    let extended = program == TokenProgram::Token2022
        && data.len() > 165
        && data.len() != 355
        && data[165] == 1
        && data[82..165].iter().all(|byte| *byte == 0);
    if data.len() != 82 && !extended {
        return None;
    }
    Mint::unpack(&data[..82]).ok()
}

/// Compares what was seen with what there is.
pub(crate) fn check(bytes: &Bytes, seen: &Seen) -> Result<(), String> {
    let Bytes { program, lamports, data } = bytes;
    let known =
        [TokenProgram::Token, TokenProgram::Token2022].into_iter().find(|known| known.id() == *program);
    let agree = |what: &str, holds: bool| holds.then_some(()).ok_or_else(|| format!("{what}: {seen:?}"));

    let theirs = known.and_then(|program| token(program, data));
    match (&seen.stands, theirs) {
        (Stands::Token(ours), Some(theirs)) => {
            agree("program", Some(ours.program) == known)?;
            agree("mint", ours.mint == theirs.mint)?;
            agree("owner", ours.owner == theirs.owner)?;
            agree("amount", ours.amount == theirs.amount)?;
            agree("frozen", ours.frozen == (theirs.state == AccountState::Frozen))?;
            let delegate: Option<Pubkey> = theirs.delegate.into();
            let delegate = delegate.map(|key| (key, theirs.delegated_amount));
            agree("delegate", ours.delegate.map(|it| (it.key, it.amount)) == delegate)?;
            agree("close authority", ours.close_authority == theirs.close_authority.into())?;
            agree("native", ours.native_reserve == theirs.is_native.into())?;
            facts(data, ours.extensions).map_err(|what| format!("{what}: {seen:?}"))?;
            let Entries { types, broken } = entries(data);
            agree("unknown extensions", ours.extensions.has_unknown() == broken)?;
            let listed = (0..64).filter(|number| ours.extensions.contains(*number));
            let mut types: Vec<_> = types.into_iter().map(|(kind, _)| kind).collect();
            types.sort_unstable();
            types.dedup();
            agree("extensions", if broken { listed.count() == 0 } else { listed.eq(types) })?;
        }
        (Stands::Token(_), None) => return Err(format!("SPL Token finds no account: {seen:?}")),
        (_, Some(theirs)) => return Err(format!("SPL Token finds {theirs:?}: {seen:?}")),
        (Stands::Absent, None) => {
            agree("absent", data.is_empty() && (*lamports == 0 || *program == Pubkey::default()))?;
        }
        (Stands::NotToken(reason), None) => {
            let system = *program == Pubkey::default();
            agree("nothing is there", !data.is_empty() || *lamports > 0 && !system)?;
            let reason = reason.to_string();
            let uninitialized = data.len() >= 165 && data[108] == 0;
            let typed = data.len() > 165 && data[165] == 1 && known == Some(TokenProgram::Token2022);
            agree(
                "reason",
                match reason.as_str() {
                    "a multisig" => data.len() == 355,
                    "a mint" => data.len() == 82 || typed,
                    "not initialized" => uninitialized && (data.len() == 165 || !typed),
                    "malformed" => data.len() != 355 && data.len() != 82 && !typed,
                    foreign => known.is_none() && foreign.ends_with(&program.to_string()),
                },
            )?;
        }
    }

    let theirs = known.and_then(|program| mint(program, data));
    agree("a mint", seen.mint.map(|it| it.decimals) == theirs.map(|it| it.decimals))?;
    if let (Some(ours), Some(theirs)) = (seen.mint, theirs) {
        agree("freeze authority", ours.freeze_authority == theirs.freeze_authority.into())?;
        let Entries { types, broken } = entries(data);
        let by_time = types.iter().any(|(kind, length)| matches!((kind, length), (10, 52) | (25, 56)));
        // Duplicates, lengths that do not fit, entries behind a broken one: no program writes
        // those.
        let regular = !broken
            && types.iter().all(|(kind, length)| match kind {
                10 => *length == 52,
                25 => *length == 56,
                _ => true,
            });
        agree("scale", !regular || by_time == (ours.scale != UiScale::Decimals))?;
        let shown = (ours.scale == UiScale::Decimals).then(|| decimal(*lamports, ours.decimals));
        agree("shown", seen.shown == shown)?;
    }
    let time = data.get(32..40).map(|time| i64::from_le_bytes(time.try_into().expect("eight bytes")));
    let lag = time.map(|time| i128::from(WALL_MS) - i128::from(time) * 1000);
    // At the ends of the range it stays there.
    let near = |ours: i64, lag: i128| i128::from(ours) == lag || lag.unsigned_abs() > i64::MAX as u128 / 2;
    agree("the Clock", seen.lag_ms.is_some() == lag.is_some())?;
    agree("the Clock's lag", seen.lag_ms.zip(lag).is_none_or(|(ours, lag)| near(ours, lag)))
}

/// An exact decimal number, digit by digit.
fn decimal(raw: u64, decimals: u8) -> String {
    let decimals = usize::from(decimals);
    let digits = format!("{raw:0>width$}", width = decimals + 1);
    let (whole, part) = digits.split_at(digits.len() - decimals);
    match part.trim_end_matches('0') {
        "" => whole.to_owned(),
        part => format!("{whole}.{part}"),
    }
}

/// The bytes of an account in JSON, by Solana's own decoding, if it is in base64.
pub(crate) fn of_json(account: &Value) -> Option<Bytes> {
    let account: UiAccount = serde_json::from_value(account.clone()).ok()?;
    let UiAccountData::Binary(_, UiAccountEncoding::Base64) = account.data else { return None };
    let account = account.to_account()?;
    Some(Bytes { program: account.owner, lamports: account.lamports, data: account.data })
}
