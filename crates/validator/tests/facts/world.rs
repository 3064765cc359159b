//! The validator that all facts share, and what they do on it: transactions, mints, token accounts.

use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};
use solana_commitment_config::CommitmentConfig;
use solana_instruction::Instruction;
use solana_keypair::Keypair;
use solana_pubkey::Pubkey;
use solana_rpc_client::nonblocking::rpc_client::RpcClient;
use solana_rpc_client_api::config::RpcSendTransactionConfig;
use solana_rpc_client_api::response::Response;
use solana_signature::Signature;
use solana_signer::Signer;
use solana_system_interface::instruction as system;
use solana_transaction::Transaction;
use spl_associated_token_account_interface::address::get_associated_token_address_with_program_id;
use spl_associated_token_account_interface::instruction::create_associated_token_account;
use spl_token_2022_interface::instruction as token;

use crate::wire::{PATIENCE, Wire, soon};

/// The legacy Token program.
pub(crate) const TOKEN: Pubkey = spl_token_interface::ID;
/// Token-2022.
pub(crate) const TOKEN_2022: Pubkey = spl_token_2022_interface::ID;
pub(crate) const DECIMALS: u8 = 6;
/// What the first account of a [`Tokens`] starts with.
pub(crate) const SUPPLY: u64 = 1_000_000_000;
/// The three commitments, newest first.
pub(crate) const COMMITMENTS: [&str; 3] = ["processed", "confirmed", "finalized"];
/// Compute units that a transfer may use. The sum over a slot is limited per account that is
/// written.
const LIGHT: u32 = 30_000;
/// For transactions that create accounts.
const HEAVY: u32 = 400_000;

pub(crate) struct World {
    pub(crate) rpc_url: String,
    pub(crate) ws_url: String,
    /// Asks at confirmed.
    pub(crate) rpc: RpcClient,
    pub(crate) payer: Keypair,
    /// System accounts of the genesis.
    pub(crate) untouched: Keypair,
    pub(crate) touched: Keypair,
    serial: AtomicU32,
}

/// Some token accounts of one mint, each of another owner; the payer owns the first and has all
/// rights of the mint.
pub(crate) struct Tokens {
    pub(crate) program: Pubkey,
    pub(crate) mint: Pubkey,
    pub(crate) owners: Vec<Pubkey>,
    pub(crate) accounts: Vec<Pubkey>,
}

impl World {
    pub(crate) fn new(
        rpc_url: &str,
        ws_url: &str,
        payer: Keypair,
        untouched: Keypair,
        touched: Keypair,
    ) -> Self {
        Self {
            rpc_url: rpc_url.into(),
            ws_url: ws_url.into(),
            rpc: RpcClient::new_with_timeout_and_commitment(
                rpc_url.into(),
                PATIENCE,
                CommitmentConfig::confirmed(),
            ),
            payer,
            untouched,
            touched,
            serial: AtomicU32::new(0),
        }
    }

    pub(crate) async fn wire(&self) -> Wire {
        Wire::connect(&self.ws_url).await
    }

    /// Sends a transaction, without waiting for anything.
    pub(crate) async fn send(&self, instructions: &[Instruction], signers: &[&Keypair]) -> Signature {
        let transaction = self.transaction(instructions, signers, LIGHT).await;
        self.submit(&transaction).await
    }

    async fn transaction(
        &self,
        instructions: &[Instruction],
        signers: &[&Keypair],
        units: u32,
    ) -> Transaction {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        // The serial number keeps equal transactions apart: their signatures would be equal.
        let mut data = vec![2];
        data.extend((units + serial % 10_000).to_le_bytes());
        let mut all =
            vec![Instruction { program_id: solana_sdk_ids::compute_budget::ID, accounts: Vec::new(), data }];
        all.extend_from_slice(instructions);
        let mut keys = vec![&self.payer];
        keys.extend(signers);
        let blockhash = soon("a blockhash", self.rpc.get_latest_blockhash()).await.expect("a blockhash");
        Transaction::new_signed_with_payer(&all, Some(&self.payer.pubkey()), &keys, blockhash)
    }

    async fn submit(&self, transaction: &Transaction) -> Signature {
        let config = RpcSendTransactionConfig { skip_preflight: true, ..RpcSendTransactionConfig::default() };
        soon("an accepted transaction", self.rpc.send_transaction_with_config(transaction, config))
            .await
            .expect("the node takes it")
    }

    /// Sends a transaction and returns the slot in which it was confirmed.
    pub(crate) async fn land(&self, instructions: &[Instruction], signers: &[&Keypair]) -> u64 {
        let transaction = self.transaction(instructions, signers, HEAVY).await;
        let mut wire = self.wire().await;
        wire.request(
            "signatureSubscribe",
            json!([transaction.signatures[0].to_string(), {"commitment": "confirmed"}]),
        )
        .await;
        let signature = self.submit(&transaction).await;
        let note = wire.note().await;
        assert!(note.value["err"].is_null(), "it failed: {}", note.value);
        self.landed(&[signature]).await[0].expect("a confirmed one has a status")
    }

    /// The slots of transactions, as far as the node knows them.
    pub(crate) async fn landed(&self, signatures: &[Signature]) -> Vec<Option<u64>> {
        let mut slots = Vec::new();
        for part in signatures.chunks(256) {
            let statuses = soon("statuses", self.rpc.get_signature_statuses(part)).await.expect("statuses");
            slots.extend(statuses.value.into_iter().map(|status| {
                status.map(|status| {
                    assert!(status.err.is_none(), "it failed: {status:?}");
                    status.slot
                })
            }));
        }
        slots
    }

    /// The slots of transactions, once all are known. `clock` ticks meanwhile.
    pub(crate) async fn all_landed(&self, signatures: &[Signature]) -> Vec<u64> {
        let mut wire = self.wire().await;
        let clock = wire.clock("processed").await;
        soon("all transactions", async {
            loop {
                let slots: Option<Vec<u64>> = self.landed(signatures).await.into_iter().collect();
                if let Some(slots) = slots {
                    return slots;
                }
                wire.note_of(clock).await;
            }
        })
        .await
    }

    /// A new mint with an account for each of `count` owners.
    pub(crate) async fn tokens(&self, program: Pubkey, count: usize) -> Tokens {
        let mint = Keypair::new();
        let payer = self.payer.pubkey();
        let owners: Vec<Pubkey> =
            (0..count).map(|index| if index == 0 { payer } else { Pubkey::new_unique() }).collect();
        let accounts: Vec<Pubkey> = owners
            .iter()
            .map(|owner| get_associated_token_address_with_program_id(owner, &mint.pubkey(), &program))
            .collect();
        let mut instructions = vec![
            system::create_account(&payer, &mint.pubkey(), 10_000_000, 82, &program),
            token::initialize_mint2(&program, &mint.pubkey(), &payer, Some(&payer), DECIMALS)
                .expect("an instruction"),
        ];
        instructions.extend(
            owners
                .iter()
                .map(|owner| create_associated_token_account(&payer, owner, &mint.pubkey(), &program)),
        );
        instructions.push(
            token::mint_to(&program, &mint.pubkey(), &accounts[0], &payer, &[], SUPPLY)
                .expect("an instruction"),
        );
        self.land(&instructions, &[&mint]).await;
        Tokens { program, mint: mint.pubkey(), owners, accounts }
    }

    /// A transfer of lamports from the payer.
    pub(crate) fn lamports(&self, to: &Pubkey, amount: u64) -> Instruction {
        system::transfer(&self.payer.pubkey(), to, amount)
    }

    /// Tokens from the payer's account to another of the same mint.
    pub(crate) fn transfer(&self, tokens: &Tokens, to: usize, amount: u64) -> Instruction {
        token::transfer_checked(
            &tokens.program,
            &tokens.accounts[0],
            &tokens.mint,
            &tokens.accounts[to],
            &self.payer.pubkey(),
            &[],
            amount,
            DECIMALS,
        )
        .expect("an instruction")
    }

    /// Burns all tokens of the payer's account, and closes it.
    pub(crate) fn close(&self, tokens: &Tokens, balance: u64) -> [Instruction; 2] {
        let (payer, account) = (self.payer.pubkey(), &tokens.accounts[0]);
        [
            token::burn(&tokens.program, account, &tokens.mint, &payer, &[], balance)
                .expect("an instruction"),
            token::close_account(&tokens.program, account, &payer, &payer, &[]).expect("an instruction"),
        ]
    }

    /// A JSON-RPC call past every client: the whole response.
    pub(crate) async fn call(&self, method: &str, params: Value) -> Value {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        soon(method, async {
            reqwest::Client::new().post(&self.rpc_url).json(&body).send().await?.json::<Value>().await
        })
        .await
        .expect("an answer")
    }

    /// `getMultipleAccounts`: the context slot and the values.
    pub(crate) async fn snapshot(
        &self,
        accounts: &[Pubkey],
        commitment: &str,
        min_context_slot: u64,
    ) -> Response<Value> {
        let keys: Vec<String> = accounts.iter().map(ToString::to_string).collect();
        let mut answer = self
            .call(
                "getMultipleAccounts",
                json!([keys, {"encoding": "base64", "commitment": commitment,
                    "minContextSlot": min_context_slot}]),
            )
            .await;
        serde_json::from_value(answer["result"].take())
            .unwrap_or_else(|_| panic!("a snapshot was due, not {answer}"))
    }

    pub(crate) async fn slot(&self, commitment: &str) -> u64 {
        self.call("getSlot", json!([{"commitment": commitment}])).await["result"].as_u64().expect("a slot")
    }
}

/// The bytes of an account as notified or fetched with base64.
pub(crate) fn bytes(account: &Value) -> Vec<u8> {
    use base64::Engine;
    assert_eq!(account["data"][1], "base64");
    base64::engine::general_purpose::STANDARD
        .decode(account["data"][0].as_str().expect("text"))
        .expect("base64")
}

/// The amount of a token account as notified or fetched with base64.
pub(crate) fn amount(account: &Value) -> u64 {
    u64::from_le_bytes(bytes(account)[64..72].try_into().expect("8 bytes"))
}
