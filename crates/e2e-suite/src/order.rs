//! Transactions as a bot sends them: signed first, so that the signature is known; then sent; then
//! looked after.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use balance_mirror::{ExpectedBuy, Hold, InFlight, Signature};
use localnet::{CommitmentConfig, Hash, Instruction, Keypair, Signer};
use solana_rpc_client_api::config::RpcSendTransactionConfig;
use solana_system_interface::instruction::transfer;
use solana_transaction::Transaction;

use crate::{
    outcome::{Failure, Outcome},
    world::World,
};

/// A transaction that is signed, and not necessarily sent.
pub(crate) struct Order {
    transaction: Transaction,
    pub(crate) last_valid_block_height: u64,
}

impl Order {
    pub(crate) fn signature(&self) -> Signature {
        self.transaction.signatures[0]
    }

    /// What a bot says of it as a buy.
    pub(crate) fn buys(&self, minimum: u64) -> ExpectedBuy {
        ExpectedBuy::at_least(minimum).signature(self.signature()).valid_until(self.last_valid_block_height)
    }

    /// What a bot says before it sends this to sell what it holds.
    pub(crate) fn sells(&self, hold: Hold) -> InFlight {
        hold.sending(self.signature(), self.last_valid_block_height)
    }
}

/// How a transaction ended, and in the bank of which slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Landed(u64),
    Failed(u64),
}

impl World<'_> {
    /// Signs what the payer pays for, valid for as long as a transaction can be.
    pub(crate) async fn sign(&self, instructions: &[Instruction], signers: &[&Keypair]) -> Outcome<Order> {
        let newest = self.rpc.get_latest_blockhash_with_commitment(CommitmentConfig::confirmed()).await?;
        Ok(self.sign_with(newest, instructions, signers))
    }

    /// The same with a blockhash of the caller's, and the last block height at which that is valid.
    pub(crate) fn sign_with(
        &self,
        (blockhash, last_valid_block_height): (Hash, u64),
        instructions: &[Instruction],
        signers: &[&Keypair],
    ) -> Order {
        let payer = self.payer();
        let mut instructions = instructions.to_vec();
        // Two transactions alike, with one blockhash, would be one.
        let number = self.signed.fetch_add(1, Relaxed);
        instructions.push(transfer(&payer.pubkey(), &payer.pubkey(), number));
        let mut keys = vec![payer];
        keys.extend(signers.iter().filter(|key| key.pubkey() != payer.pubkey()));
        let transaction =
            Transaction::new_signed_with_payer(&instructions, Some(&payer.pubkey()), &keys, blockhash);
        Order { transaction, last_valid_block_height }
    }

    /// Hands an order to the node, which does not look at it: it may fail on chain, or never land.
    pub(crate) async fn post(&self, order: &Order) -> Outcome {
        self.hand_in(order, true).await
    }

    async fn hand_in(&self, order: &Order, skip_preflight: bool) -> Outcome {
        let config = RpcSendTransactionConfig {
            skip_preflight,
            preflight_commitment: Some(CommitmentConfig::confirmed().commitment),
            ..RpcSendTransactionConfig::default()
        };
        self.rpc.send_transaction_with_config(&order.transaction, config).await?;
        Ok(())
    }

    /// Waits until an order is confirmed, and says how it ended.
    pub(crate) async fn end_of(&self, order: &Order) -> Outcome<End> {
        let signature = order.signature();
        let ended = async {
            loop {
                let statuses = self.rpc.get_signature_statuses(&[signature]).await?;
                let status = statuses.value.into_iter().next().flatten();
                if let Some(status) = status
                    && status.satisfies_commitment(CommitmentConfig::confirmed())
                {
                    let end = if status.err.is_some() { End::Failed } else { End::Landed };
                    return Ok::<End, Failure>(end(status.slot));
                }
                tokio::time::sleep(self.slots(1) / 4).await;
            }
        };
        self.within("confirmation", ended).await?
    }

    /// Waits until an order is confirmed; one that failed fails the scenario. Returns its slot.
    pub(crate) async fn landed(&self, order: &Order) -> Outcome<u64> {
        match self.end_of(order).await? {
            End::Landed(slot) => Ok(slot),
            End::Failed(slot) => Err(format!("{} failed at slot {slot}", order.signature()).into()),
        }
    }

    /// Sends a transaction that the payer pays for, and waits until it is confirmed. Returns its
    /// slot.
    pub(crate) async fn send(&self, instructions: &[Instruction], signers: &[&Keypair]) -> Outcome<u64> {
        let order = self.sign(instructions, signers).await?;
        self.submit(&order).await
    }

    /// Sends an order that the node has looked at, and waits until it is confirmed. Returns its
    /// slot.
    pub(crate) async fn submit(&self, order: &Order) -> Outcome<u64> {
        self.hand_in(order, false).await?;
        self.landed(order).await
    }

    /// Blocks that take two seconds at least: longer than a mirror asks twice for a transaction
    /// that it has just been told of, so that one told to be over too early shows.
    pub(crate) fn short_life(&self) -> u64 {
        let blocks = Duration::from_secs(2).as_nanos().div_ceil(self.slots(1).as_nanos());
        u64::try_from(blocks).unwrap_or(u64::MAX).max(12)
    }

    /// The confirmed chain's block height.
    pub(crate) async fn height(&self) -> Outcome<u64> {
        Ok(self.rpc.get_block_height_with_commitment(CommitmentConfig::confirmed()).await?)
    }
}
