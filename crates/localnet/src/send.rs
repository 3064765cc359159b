//! Transactions sent from within the process.

use std::{error, fmt};

use solana_instruction::Instruction;
use solana_keypair::Keypair;
use solana_message::{Message, VersionedMessage};
use solana_signature::Signature;
use solana_signer::{Signer, SignerError};
use solana_system_interface::instruction::transfer;
use solana_transaction::versioned::VersionedTransaction;
use solana_transaction_error::TransactionError;

use crate::chain::{Chain, Failed};

/// A transaction that was executed, with success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Landed {
    /// Its first signature.
    pub signature: Signature,
    /// The slot whose bank executed it: the open one, one above the processed tip.
    pub slot: u64,
}

/// Why a transaction did not succeed.
#[derive(Debug)]
#[non_exhaustive]
pub enum SendError {
    /// It could not be signed: a signer is missing, or not asked for.
    Signing(SignerError),
    /// It was refused, or failed while running.
    Transaction {
        /// The reason.
        err: TransactionError,
        /// What the programs logged.
        logs: Vec<String>,
        /// Where the failure was recorded and the fee charged, if it ran at all.
        landed: Option<Landed>,
    },
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signing(_) => f.write_str("the transaction could not be signed"),
            Self::Transaction { logs, .. } if logs.is_empty() => f.write_str("the transaction failed"),
            Self::Transaction { logs, .. } => {
                write!(f, "the transaction failed, logging {logs:#?}")
            }
        }
    }
}

impl error::Error for SendError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Signing(source) => Some(source),
            Self::Transaction { err, .. } => Some(err),
        }
    }
}

/// Signs with the payer first, and executes in the open bank. A transaction equal to one of the
/// same blockhash is told apart by a transfer from the payer to itself.
pub(crate) fn send(
    chain: &mut Chain,
    payer: &Keypair,
    instructions: &[Instruction],
    signers: &[&Keypair],
) -> Result<Landed, SendError> {
    let mut instructions = instructions.to_vec();
    let (blockhash, _) = chain.blockhash(chain.open_slot());
    let mut keys = vec![payer];
    keys.extend(signers.iter().filter(|key| key.pubkey() != payer.pubkey()));
    for distinction in 1.. {
        let message = Message::new_with_blockhash(&instructions, Some(&payer.pubkey()), &blockhash);
        let tx = VersionedTransaction::try_new(VersionedMessage::Legacy(message), &keys)
            .map_err(SendError::Signing)?;
        let signature = tx.signatures[0];
        if chain.status(&signature).is_some() {
            if distinction > 1 {
                instructions.pop();
            }
            instructions.push(transfer(&payer.pubkey(), &payer.pubkey(), distinction));
            continue;
        }
        return match chain.execute(tx) {
            Ok(slot) => Ok(Landed { signature, slot }),
            Err(Failed { err, logs, landed }) => Err(SendError::Transaction {
                err,
                logs,
                landed: landed.map(|slot| Landed { signature, slot }),
            }),
        };
    }
    unreachable!("there are more distinctions than slots hold transactions")
}
