//! What a hostile node may send: account bytes, accounts in JSON, notifications and RPC answers, by
//! the hundred thousand.
//!
//! Most are mutations of the fuzz targets' corpus, by a seed. None may panic or make the decoders
//! allocate out of proportion, and what they decode to is compared with other decoders
//! ([`oracle`]).
//!
//! `BALANCE_MIRROR_FUZZ_INPUTS` sets how many (the figures in docs/hostile-input.md are of ten
//! million), `BALANCE_MIRROR_FUZZ_SEED` other ones. After a change of [`seeds`],
//! `BALANCE_MIRROR_WRITE_CORPUS=1` writes them down.

mod mutate;
mod oracle;
mod seeds;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use allocation_counter::AllocationInfo;
use balance_mirror::fuzzing::{self, Stands};
use mutate::Random;
use seeds::{Bytes, Kind, SECRET, SLOT, Says, keys};
use serde_json::Value;
use solana_rpc_client_api::response::RpcResponseContext;

/// Below it, an answer is behind.
const MIN_SLOT: u64 = 100;

fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text}")))
}

fn corpus(kind: Kind) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(kind.folder())
}

/// What is in the corpus, in the order of its names.
fn committed(kind: Kind) -> Vec<Vec<u8>> {
    let files = fs::read_dir(corpus(kind)).expect("the corpus");
    let files: BTreeSet<PathBuf> = files.map(|file| file.expect("a file").path()).collect();
    files.into_iter().map(|file| fs::read(file).expect("an input")).collect()
}

/// Decodes an input and compares the outcome; `true` if it said something.
fn judge(kind: Kind, input: &[u8]) -> Result<(bool, AllocationInfo), String> {
    match kind {
        Kind::Account => {
            let Some(bytes) = Bytes::read(input) else { return Ok((false, AllocationInfo::default())) };
            let mut seen = None;
            let room = allocation_counter::measure(|| {
                seen = Some(fuzzing::account(&bytes.program, bytes.lamports, &bytes.data));
            });
            let seen = seen.ok_or("nothing measured")?;
            oracle::check(&bytes, &seen)?;
            Ok((matches!(seen.stands, Stands::Token(_)) || seen.mint.is_some(), room))
        }
        Kind::UiAccount => {
            let mut seen = None;
            let room = allocation_counter::measure(|| seen = Some(fuzzing::ui_account(input)));
            let seen = seen.ok_or("nothing measured")?;
            match (&seen, parsed(input).and_then(|account| oracle::of_json(&account))) {
                (Ok(seen), Some(bytes)) => oracle::check(&bytes, seen)?,
                (Ok(seen), None) => return Err(format!("no account is there: {seen:?}")),
                (Err(error), Some(_)) => return Err(error.clone()),
                (Err(_), None) => {}
            }
            Ok((seen.is_ok(), room))
        }
        Kind::Notification => {
            let mut seen = None;
            let room = allocation_counter::measure(|| seen = Some(fuzzing::notification(input)));
            let seen = seen.ok_or("nothing measured")?;
            let message = parsed(input);
            let result = message.as_ref().map(|message| &message["params"]["result"]);
            match (&seen, result.and_then(|result| oracle::of_json(&result["value"]))) {
                (Ok((slot, seen)), Some(bytes)) => {
                    oracle::check(&bytes, seen)?;
                    let told = result.and_then(|result| result["context"]["slot"].as_u64());
                    if told != Some(*slot) {
                        return Err(format!("slot {slot} for {told:?}"));
                    }
                }
                (Ok((_, seen)), None) => return Err(format!("no account is there: {seen:?}")),
                (Err(error), Some(_)) => {
                    // The account alone makes no notification.
                    let context = result.map(|result| &result["context"]);
                    if serde_json::from_value::<RpcResponseContext>(context.cloned().unwrap_or_default())
                        .is_ok()
                    {
                        return Err(error.clone());
                    }
                }
                (Err(_), None) => {}
            }
            Ok((seen.is_ok(), room))
        }
        Kind::RpcAnswer => {
            let url = format!("http://127.0.0.1:8899/?api-key={SECRET}");
            let status = if input.len().is_multiple_of(16) { 503 } else { 200 };
            let mut seen = None;
            let room = allocation_counter::measure(|| {
                seen = Some(fuzzing::rpc_answer(&url, status, input, &keys(), MIN_SLOT));
            });
            let seen = seen.ok_or("nothing measured")?;
            let (slot, lag, accounts) = match seen {
                Ok(answered) => answered,
                Err(error) if error.contains(SECRET) => return Err(format!("a secret in {error}")),
                Err(error) if error.len() > 1_000 => return Err(format!("{} bytes of error", error.len())),
                Err(_) => return Ok((false, room)),
            };
            let body = parsed(input).ok_or("the answer is no JSON")?;
            let (context, values) = (&body["result"]["context"], &body["result"]["value"]);
            let values = values.as_array().ok_or("there are no accounts")?;
            let fits = slot >= MIN_SLOT && context["slot"].as_u64() == Some(slot) && values.len() == 4;
            if !fits || accounts.len() != 3 || !body["error"].is_null() && body["error"].is_object() {
                return Err(format!("{} accounts at {slot} are no answer", accounts.len()));
            }
            let clock = oracle::of_json(&values[3]).ok_or("there is no Clock")?;
            let seen = fuzzing::account(&clock.program, clock.lamports, &clock.data);
            if seen.lag_ms != Some(lag) {
                return Err(format!("the Clock lags {lag}: {seen:?}"));
            }
            for (account, value) in accounts.iter().zip(values) {
                match (account, oracle::of_json(value)) {
                    (Ok(Some(seen)), Some(bytes)) => oracle::check(&bytes, seen)?,
                    (Ok(None), None) if value.is_null() => {}
                    (Err(_), None) if !value.is_null() => {}
                    (account, _) => return Err(format!("{account:?} for {value}")),
                }
            }
            Ok((true, room))
        }
    }
}

fn parsed(text: &[u8]) -> Option<Value> {
    serde_json::from_slice(text).ok()
}

/// The most that decoding an input of so many bytes may hold at a time.
///
/// Account bytes are copied once, and their extensions listed. JSON is turned into values, of which
/// the greediest (`{"":0}`: seven bytes, a node of a B-tree with room for eleven) take a hundred
/// times their length.
fn allowed(kind: Kind, length: usize) -> u64 {
    let times = if kind == Kind::Account { 4 } else { 128 };
    (length * times + 16 * 1024) as u64
}

/// Says which input it was if the test ends in a panic.
struct Suspect<'a> {
    kind: Kind,
    seed: u64,
    number: u64,
    input: &'a [u8],
}

impl Drop for Suspect<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self { kind, seed, number, input } = self;
            let text = input.escape_ascii();
            eprintln!("{kind:?} input {number} of seed {seed}, {} bytes: {text}", input.len());
        }
    }
}

/// Plays `share` thousandths of all inputs.
fn play(kind: Kind, share: u64) {
    let seed = setting("BALANCE_MIRROR_FUZZ_SEED").unwrap_or(20_251_122);
    let count = setting("BALANCE_MIRROR_FUZZ_INPUTS").unwrap_or(300_000) * share / 1_000;
    let corpus = committed(kind);
    let valid: Vec<&Vec<u8>> =
        corpus.iter().filter(|input| judge(kind, input).is_ok_and(|(says, _)| says)).collect();
    assert!(corpus.len() >= 10 && valid.len() >= 3, "{} of {} are valid", valid.len(), corpus.len());
    let mut random = Random(seed ^ (kind as u64) << 32);
    let (mut of_valid, mut say, mut changed, mut most) = (0u64, 0u64, 0u64, 0u64);
    for number in 0..count {
        let mut input;
        let mut mutation_of_valid = false;
        if random.one_in(8) {
            let length = if random.one_in(2) { random.below(400) } else { random.below(40) };
            input = random.bytes(length);
        } else {
            mutation_of_valid = !random.one_in(6);
            let original = if mutation_of_valid { *random.pick(&valid) } else { random.pick(&corpus) };
            input = original.clone();
            let other = random.pick(&corpus);
            let most = if random.one_in(2) { 1 } else { 4 };
            for _ in 0..=random.below(most) {
                match kind {
                    Kind::Account => mutate::account(&mut random, &mut input, other),
                    _ => mutate::json(&mut random, &mut input, other),
                }
            }
            mutation_of_valid &= input != *original;
        }
        of_valid += u64::from(mutation_of_valid);
        let suspect = Suspect { kind, seed, number, input: &input };
        let (says, room) = judge(kind, &input).unwrap_or_else(|wrong| panic!("{wrong}"));
        let (held, allowed) = (room.bytes_max, allowed(kind, input.len()));
        assert!(held <= allowed, "{held} bytes held at a time, {allowed} allowed");
        say += u64::from(says);
        changed += u64::from(says && mutation_of_valid);
        most = most.max(held);
        drop(suspect);
    }
    println!(
        "{kind:?}: {count} inputs of seed {seed}, {of_valid} of them mutations of valid ones; {say} still say \
         something, {changed} of them mutations; at most {most} bytes held"
    );
    assert!(of_valid * 2 >= count, "{of_valid} of {count} are mutations of valid ones");
    assert!(
        say * 50 >= count && say < count,
        "{say} of {count} say something: the mutations are too wild, or too tame"
    );
}

#[test]
fn account_bytes() {
    play(Kind::Account, 700);
}

#[test]
fn accounts_in_json() {
    play(Kind::UiAccount, 100);
}

#[test]
fn notifications() {
    play(Kind::Notification, 100);
}

#[test]
fn rpc_answers() {
    play(Kind::RpcAnswer, 100);
}

#[test]
fn the_corpus_holds_every_seed() {
    for kind in Kind::ALL {
        for (name, input) in seeds::inputs(kind) {
            let file = corpus(kind).join(name);
            if setting("BALANCE_MIRROR_WRITE_CORPUS").is_some() {
                fs::create_dir_all(corpus(kind)).expect("a folder");
                fs::write(&file, &input).expect("a file");
            }
            assert_eq!(fs::read(&file).ok(), Some(input), "{file:?}; see the head of this file");
        }
        for input in committed(kind) {
            judge(kind, &input).unwrap_or_else(|wrong| panic!("{wrong}: {}", input.escape_ascii()));
        }
    }
}

#[test]
fn every_seed_says_what_it_was_built_to_say() {
    for (name, bytes, says) in seeds::accounts() {
        let seen = fuzzing::account(&bytes.program, bytes.lamports, &bytes.data);
        let in_json = fuzzing::ui_account(bytes.json().as_bytes());
        assert_eq!(in_json.as_ref(), Ok(&seen), "{name}");
        let notified = fuzzing::notification(seeds::notification(&bytes.json()).as_bytes());
        assert_eq!(notified, Ok((SLOT, seen.clone())), "{name}");
        match (says, &seen.stands) {
            (Says::Token(account, extensions), Stands::Token(ours)) => {
                assert_eq!(
                    (ours.mint, ours.owner, ours.amount),
                    (account.mint, account.owner, account.amount)
                );
                assert_eq!(ours.frozen, account.is_frozen(), "{name}");
                let all = (0..64).filter(|number| ours.extensions.contains(*number));
                assert!(all.eq(BTreeSet::from_iter(extensions)), "{name}: {:?}", ours.extensions);
                assert!(!ours.extensions.has_unknown(), "{name}");
                assert_eq!(seen.mint, None);
            }
            (Says::Mint { decimals, by_time }, Stands::NotToken(reason)) => {
                let mint = seen.mint.unwrap_or_else(|| panic!("{name} is no mint"));
                assert_eq!((mint.decimals, reason.to_string().as_str()), (decimals, "a mint"), "{name}");
                assert_eq!(mint.ui_amount(1_500_000).as_deref(), (!by_time).then_some("1.5"), "{name}");
            }
            (Says::Neither(text), Stands::NotToken(reason)) => {
                assert!(reason.to_string().starts_with(text), "{name}: {reason}");
                assert_eq!(seen.mint, None, "{name}");
            }
            (Says::Absent, Stands::Absent) => {}
            (says, stands) => panic!("{name}: {says:?}, not {stands:?}"),
        }
    }
    assert_eq!(seeds::extensions().len(), 28, "every extension that Token-2022 has now");
}

/// As long as the transport lets a body be.
#[test]
fn the_greediest_bodies_cost_no_more_than_their_length_and_a_fixed_room() {
    const LENGTH: usize = 4 << 20;
    const FIXED: u64 = 16 << 20;
    let repeated = |piece: &str| piece.repeat(LENGTH / piece.len());
    let (url, keys) = ("http://127.0.0.1:8899", keys());
    for (name, body) in [
        ("objects", format!("{{\"result\":[{}0]}}", repeated("{\"\":0},"))),
        ("numbers", format!("{{\"result\":[{}0]}}", repeated("0,"))),
        ("brackets", repeated("[")),
        ("members", format!("{{\"result\":{{{}}}}}", repeated("\"a\":0,"))),
        ("a string", format!("{{\"result\":\"{}\"}}", repeated("x"))),
        ("escapes", format!("{{\"result\":\"{}\"}}", repeated("\\u0000"))),
        ("an error", format!("{{\"error\":{{\"code\":1,\"message\":\"{}\"}}}}", repeated("x"))),
        ("an account", seeds::rpc_answer(SLOT, &[format!("[\"{}\",\"base64\"]", repeated("AAAA"))])),
        ("16 000 objects", format!("{{\"result\":[{}0]}}", "{\"\":0},".repeat(5_000))),
    ] {
        let mut error = None;
        let room = allocation_counter::measure(|| {
            error = fuzzing::rpc_answer(url, 200, body.as_bytes(), &keys, 0).err();
        });
        let error = error.unwrap_or_else(|| panic!("{name} was taken for an answer"));
        println!("{name}: {} bytes held for a body of {}: {error:.60}", room.bytes_max, body.len());
        assert!(room.bytes_max <= 4 * body.len() as u64 + FIXED, "{name}: {} bytes", room.bytes_max);
        assert!(error.len() < 1_000, "{name}: an error of {} bytes", error.len());
    }
}
