//! Valid inputs of every kind, and what they say. The corpus of the fuzz targets is these, and what
//! was found since.

use balance_mirror::{Pubkey, TokenProgram};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::json;
use solana_program_pack::Pack;
use spl_token_2022_interface::extension::ExtensionType;
use spl_token_interface::state::{Account, AccountState, Mint, Multisig};

/// The answers' slot, and the least one that is asked for.
pub(crate) const SLOT: u64 = 123;
/// In the URL of the node that answers, and in some of its answers.
pub(crate) const SECRET: &str = "pl4nted-s3cr3t";

/// Of which target an input is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Account,
    UiAccount,
    Notification,
    RpcAnswer,
}

impl Kind {
    pub(crate) const ALL: [Kind; 4] = [Kind::Account, Kind::UiAccount, Kind::Notification, Kind::RpcAnswer];

    /// The folder of its corpus.
    pub(crate) fn folder(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::UiAccount => "ui_account",
            Self::Notification => "notification",
            Self::RpcAnswer => "rpc_answer",
        }
    }
}

/// What a seed was built to say.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Says {
    Token(Account, Vec<u16>),
    Mint {
        decimals: u8,
        by_time: bool,
    },
    /// Neither, for the reason of this text.
    Neither(&'static str),
    Absent,
}

/// The account that the bytes of an input of [`Kind::Account`] stand for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Bytes {
    pub(crate) program: Pubkey,
    pub(crate) lamports: u64,
    pub(crate) data: Vec<u8>,
}

impl Bytes {
    /// A byte for the owning program, eight for the lamports, and the data; as in
    /// `fuzz/fuzz_targets/account.rs`.
    pub(crate) fn read(input: &[u8]) -> Option<Self> {
        let (program, rest) = input.split_first()?;
        let (lamports, data) = rest.split_first_chunk()?;
        let program = PROGRAMS[usize::from(program % 4)];
        Some(Self { program, lamports: u64::from_le_bytes(*lamports), data: data.to_vec() })
    }

    fn written(&self) -> Vec<u8> {
        let program = PROGRAMS.iter().position(|program| *program == self.program).expect("one of the four");
        [&[program as u8][..], &self.lamports.to_le_bytes(), &self.data].concat()
    }

    /// As a node tells it.
    pub(crate) fn json(&self) -> String {
        let data = BASE64_STANDARD.encode(&self.data);
        self.json_with(&format!("[\"{data}\",\"base64\"]"))
    }

    fn json_with(&self, data: &str) -> String {
        format!(
            "{{\"data\":{data},\"executable\":false,\"lamports\":{},\"owner\":\"{}\",\"rentEpoch\":{},\"space\":{}}}",
            self.lamports,
            self.program,
            u64::MAX,
            self.data.len()
        )
    }
}

const PROGRAMS: [Pubkey; 4] = [
    TokenProgram::Token.id(),
    TokenProgram::Token2022.id(),
    Pubkey::new_from_array([0; 32]),
    Pubkey::new_from_array([9; 32]),
];

fn key(byte: u8) -> Pubkey {
    Pubkey::new_from_array([byte; 32])
}

/// Three keys, and the place of the Clock.
pub(crate) fn keys() -> [Pubkey; 4] {
    [1, 2, 3, 4].map(key)
}

fn packed<T: Pack>(state: T) -> Vec<u8> {
    let mut data = vec![0; T::LEN];
    T::pack(state, &mut data).expect("room");
    data
}

fn plain() -> Account {
    Account {
        mint: key(1),
        owner: key(2),
        amount: 1_234_567_890_123,
        state: AccountState::Initialized,
        ..Account::default()
    }
}

/// The Token-2022 extensions there are, by number, with the length of their values; metadata has
/// none of its own.
pub(crate) fn extensions() -> Vec<(u16, usize, bool)> {
    let of = |number: u16| {
        let kind = ExtensionType::try_from(number).ok()?;
        let length = match number {
            19 => 120,
            _ => {
                ExtensionType::try_calculate_account_len::<spl_token_2022_interface::state::Account>(&[kind])
                    .ok()?
                    .checked_sub(170)?
            }
        };
        let of_account = kind.get_account_type() == spl_token_2022_interface::extension::AccountType::Account;
        Some((number, length, of_account))
    };
    (1..64).map_while(of).collect()
}

fn extend(base: Vec<u8>, account_type: u8, values: &[(u16, usize)]) -> Vec<u8> {
    let mut data = base;
    data.resize(Account::LEN, 0);
    data.push(account_type);
    for (number, length) in values {
        data.extend(number.to_le_bytes());
        data.extend(u16::try_from(*length).expect("short").to_le_bytes());
        // Not zero everywhere, and valid for each: authorities, numbers, a state.
        data.extend((0..*length).map(|place| u8::from(place == 0)));
    }
    data
}

/// Accounts, each with a name.
pub(crate) fn accounts() -> Vec<(String, Bytes, Says)> {
    let mut all = Vec::new();
    let mut add = |name: &str, program: usize, lamports: u64, data: Vec<u8>, says: Says| {
        let bytes = Bytes { program: PROGRAMS[program], lamports, data };
        all.push((format!("{name}-{}", ["token", "token-2022", "system", "foreign"][program]), bytes, says));
    };
    let mint = Mint { decimals: 6, supply: 1 << 40, is_initialized: true, ..Mint::default() };
    let all_of_account: Vec<_> = extensions().into_iter().filter(|(_, _, of_account)| *of_account).collect();
    for program in [0, 1] {
        let mut token = |name: &str, account: Account| {
            add(name, program, 2_039_280, packed(account), Says::Token(account, Vec::new()));
        };
        token("plain", plain());
        token("empty", Account { amount: 0, ..plain() });
        token("whale", Account { amount: u64::MAX, ..plain() });
        token("frozen", Account { state: AccountState::Frozen, ..plain() });
        let delegate = Some(key(3)).into();
        token("delegated", Account { delegate, delegated_amount: 77, ..plain() });
        token("closable", Account { close_authority: Some(key(4)).into(), ..plain() });
        token("native", Account { is_native: Some(2_039_280).into(), ..plain() });
        add("uninitialized", program, 1, vec![0; 165], Says::Neither("not initialized"));
        add("mint", program, 1_461_600, packed(mint), Says::Mint { decimals: 6, by_time: false });
        let signers = Multisig { m: 2, n: 3, is_initialized: true, signers: [key(5); 11] };
        add("multisig", program, 1, packed(signers), Says::Neither("a multisig"));
        add("closed", program, 0, Vec::new(), Says::Absent);
    }
    for (number, length, of_account) in extensions() {
        let name = format!("extension-{number}");
        if of_account {
            let data = extend(packed(plain()), 2, &[(number, length)]);
            add(&name, 1, 1, data, Says::Token(plain(), vec![number]));
        } else {
            let by_time = [10, 25].contains(&number);
            let data = extend(packed(mint), 1, &[(number, length)]);
            add(&name, 1, 1, data, Says::Mint { decimals: 6, by_time });
        }
    }
    let values: Vec<_> = all_of_account.iter().map(|(number, length, _)| (*number, *length)).collect();
    let numbers = values.iter().map(|(number, _)| *number).collect();
    add("extension-all", 1, 1, extend(packed(plain()), 2, &values), Says::Token(plain(), numbers));
    let frozen = Account { state: AccountState::Frozen, ..plain() };
    let data = extend(packed(frozen), 2, &[(7, 0), (2, 8), (15, 1)]);
    add("extension-usual", 1, 1, data, Says::Token(frozen, vec![7, 2, 15]));
    add("wallet", 2, 890_880, Vec::new(), Says::Absent);
    add("nonce", 2, 1_447_680, vec![1; 80], Says::Neither("owned by program 1111"));
    // As the Clock sysvar: its time is at byte 32.
    let mut clock = vec![0; 40];
    clock[32..].copy_from_slice(&1_699_999_999i64.to_le_bytes());
    add("clock", 3, 1_169_280, clock, Says::Neither("owned by program"));
    all
}

/// Every seed of a kind: its name in the corpus, and the input.
pub(crate) fn inputs(kind: Kind) -> Vec<(String, Vec<u8>)> {
    let accounts = accounts();
    match kind {
        Kind::Account => accounts.into_iter().map(|(name, bytes, _)| (name, bytes.written())).collect(),
        Kind::UiAccount => ui_accounts(),
        Kind::Notification => ui_accounts()
            .into_iter()
            .map(|(name, account)| (name, notification(&String::from_utf8_lossy(&account)).into_bytes()))
            .collect(),
        Kind::RpcAnswer => rpc_answers(),
    }
}

/// Some accounts in base64, and one in every other form that a node may choose.
fn ui_accounts() -> Vec<(String, Vec<u8>)> {
    let chosen = |name: &str| {
        [
            "plain-token",
            "frozen-token-2022",
            "extension-usual",
            "mint-token",
            "closed-token",
            "wallet",
            "clock",
        ]
        .iter()
        .any(|chosen| name.starts_with(chosen))
    };
    let accounts = accounts();
    let base64 = accounts.iter().filter(|(name, ..)| chosen(name));
    let mut all: Vec<_> =
        base64.map(|(name, bytes, _)| (format!("{name}.json"), bytes.json().into_bytes())).collect();
    let (_, bytes, _) = &accounts[0];
    let base58 = bs58::encode(&bytes.data).into_string();
    // 165 zeros.
    let zstd = "KLUv/QRYTQAAEAAAAQAgCmABZ8amvA==";
    let parsed = json!({"program": "spl-token", "space": 165, "parsed": {"type": "account", "info": {
        "isNative": false, "mint": key(1).to_string(), "owner": key(2).to_string(), "state": "initialized",
        "tokenAmount": {"amount": "1", "decimals": 6, "uiAmount": 0.000001, "uiAmountString": "0.000001"},
    }}});
    for (name, data) in [
        ("base58", format!("[\"{base58}\",\"base58\"]")),
        ("base64-zstd", format!("[\"{zstd}\",\"base64+zstd\"]")),
        ("legacy", format!("\"{base58}\"")),
        ("json-parsed", parsed.to_string()),
        ("too-large", "\"error: data too large for bs58 encoding\"".to_owned()),
    ] {
        all.push((format!("{name}.json"), bytes.json_with(&data).into_bytes()));
    }
    all
}

/// As a node sends it.
pub(crate) fn notification(account: &str) -> String {
    format!(
        "{{\"jsonrpc\":\"2.0\",\"method\":\"accountNotification\",\"params\":{{\"result\":{{\"context\":\
         {{\"apiVersion\":\"4.2.2\",\"slot\":{SLOT}}},\"value\":{account}}},\"subscription\":7}}}}"
    )
}

/// As a node answers for [`keys`].
pub(crate) fn rpc_answer(slot: u64, accounts: &[String]) -> String {
    let accounts = accounts.join(",");
    format!(
        "{{\"jsonrpc\":\"2.0\",\"result\":{{\"context\":{{\"apiVersion\":\"4.2.2\",\"slot\":{slot}}},\
         \"value\":[{accounts}]}},\"id\":1}}"
    )
}

fn rpc_answers() -> Vec<(String, Vec<u8>)> {
    let of = |name: &str| {
        let all = accounts();
        let found = all.into_iter().find(|(other, ..)| other == name);
        found.expect("a seed").1.json()
    };
    let null = || "null".to_owned();
    let clock = of("clock-foreign");
    let error = |code: i64, message: &str| {
        json!({"jsonrpc": "2.0", "error": {"code": code, "message": message}, "id": 1}).to_string()
    };
    let three = [of("plain-token"), null(), of("extension-usual-token-2022"), clock.clone()];
    let mints = [of("mint-token"), of("extension-10-token-2022"), null(), clock.clone()];
    let (one, two) = (&ui_accounts(), [null(), null(), null(), clock.clone()]);
    let odd = one.iter().filter(|(name, _)| name.starts_with("base58") || name.starts_with("json-parsed"));
    let odd: Vec<_> = odd.map(|(_, account)| String::from_utf8_lossy(account).into_owned()).collect();
    [
        ("accounts", rpc_answer(SLOT, &three)),
        ("mints", rpc_answer(SLOT, &mints)),
        ("nothing", rpc_answer(SLOT, &two)),
        ("odd-encodings", rpc_answer(SLOT, &[odd[0].clone(), odd[1].clone(), null(), clock])),
        ("behind", rpc_answer(99, &two)),
        ("no-clock", rpc_answer(SLOT, &[null(), null(), null(), null()])),
        ("short", rpc_answer(SLOT, &two[1..])),
        ("slot-not-reached", error(-32016, "Minimum context slot has not been reached")),
        ("unhealthy", error(-32005, "Node is behind by 42 slots")),
        ("echo", error(-32602, &format!("no such key: /?api-key={SECRET} {SECRET}"))),
        ("echo-in-place", format!("{{\"result\":{{\"context\":\"{SECRET}\",\"value\":[]}},\"id\":1}}")),
        ("page", "<html><body>503 Service Unavailable</body></html>".to_owned()),
    ]
    .map(|(name, body)| (format!("{name}.json"), body.into_bytes()))
    .to_vec()
}
