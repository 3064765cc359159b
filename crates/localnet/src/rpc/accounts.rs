//! Methods that read accounts. Each is answered by one bank.

use std::borrow::Cow;

use serde_json::{Value, json};
use solana_account::{AccountSharedData, ReadableAccount};
use solana_account_decoder::parse_token::{get_token_account_mint, token_amount_to_ui_amount_v3};
use solana_account_decoder_client_types::{UiAccount, UiAccountEncoding};
use solana_pubkey::Pubkey;
use solana_rpc_client_api::{
    config::{RpcAccountInfoConfig, RpcTokenAccountsFilter},
    response::RpcKeyedAccount,
};
use spl_token_2022_interface::{
    extension::StateWithExtensions,
    generic_token_account::GenericTokenAccount,
    state::{Account as TokenAccount, Mint},
};

use super::{Outcome, Server, View};
use crate::{
    encoding,
    jsonrpc::{self, CallError, Params, parse},
    lies::{self, Side},
};

/// The most addresses in one request.
const MAX_MULTIPLE_ACCOUNTS: usize = 100;

impl View<'_> {
    /// What is told of an account: the truth, unless a fault says otherwise.
    fn account(&self, address: &Pubkey) -> Option<Cow<'_, AccountSharedData>> {
        lies::told(&self.lies, Side::Rpc, &self.chain, self.slot, address)
    }

    fn encode(
        &self,
        address: &Pubkey,
        account: &AccountSharedData,
        config: &RpcAccountInfoConfig,
    ) -> Result<UiAccount, CallError> {
        let encoding = config.encoding.unwrap_or(UiAccountEncoding::Binary);
        if encoding::is_too_large(account, encoding, config.data_slice) {
            let text = "Encoded binary (base 58) data should be less than 128 bytes, please use \
                        Base64 encoding.";
            return Err(CallError::new(jsonrpc::INVALID_REQUEST, text));
        }
        let mint = encoding::mint_data(&self.chain, self.slot, Some(account));
        let slice = config.data_slice;
        Ok(encoding::ui_account(address, account, encoding, slice, mint))
    }

    fn encode_at(
        &self,
        address: &Pubkey,
        config: &RpcAccountInfoConfig,
    ) -> Result<Option<UiAccount>, CallError> {
        self.account(address).map(|account| self.encode(address, &account, config)).transpose()
    }
}

impl Server<'_> {
    pub(super) fn balance(&self, params: &Params) -> Outcome {
        let address = params.parsed(0)?;
        let view = self.view_of(params, 1)?;
        view.answer(view.account(&address).map_or(0, |account| account.lamports()))
    }

    pub(super) fn account_info(&self, params: &Params) -> Outcome {
        let address = params.parsed(0)?;
        let config: RpcAccountInfoConfig = params.optional(1)?;
        let view = self.view(config.commitment, config.min_context_slot)?;
        view.answer(view.encode_at(&address, &config)?)
    }

    pub(super) fn multiple_accounts(&self, params: &Params) -> Outcome {
        let addresses: Vec<String> = params.get(0)?;
        let limit = self.fault(|state| state.key_limit).map_or(MAX_MULTIPLE_ACCOUNTS, |(limit, _)| limit);
        if addresses.len() > limit {
            let text = format!("Too many inputs provided; max {limit}");
            return Err(CallError::new(jsonrpc::INVALID_PARAMS, text));
        }
        let addresses = addresses.iter().map(|address| parse(address)).collect::<Result<Vec<Pubkey>, _>>()?;
        let config: RpcAccountInfoConfig = params.optional(1)?;
        let view = self.view(config.commitment, config.min_context_slot)?;
        let mut accounts = addresses
            .iter()
            .map(|address| view.encode_at(address, &config))
            .collect::<Result<Vec<_>, _>>()?;
        if self.fault(|state| state.short_answers) {
            accounts.pop();
        }
        view.answer(accounts)
    }

    pub(super) fn token_accounts_by_owner(&self, params: &Params) -> Outcome {
        let owner: Pubkey = params.parsed(0)?;
        let filter: RpcTokenAccountsFilter = params.get(1)?;
        let config: RpcAccountInfoConfig = params.optional(2)?;
        let view = self.view(config.commitment, config.min_context_slot)?;
        let (program, mint) = match filter {
            RpcTokenAccountsFilter::ProgramId(program) => {
                let program = parse(&program)?;
                if !encoding::is_token_program(&program) {
                    let text = "unrecognized Token program id";
                    return Err(CallError::invalid_param(text));
                }
                (program, None)
            }
            RpcTokenAccountsFilter::Mint(mint) => {
                let mint = parse(&mint)?;
                let program = view.account(&mint).map(|account| *account.owner());
                match program.filter(encoding::is_token_program) {
                    Some(program) => (program, Some(mint)),
                    None => return Err(CallError::invalid_param("could not find mint")),
                }
            }
        };
        let mut found = Vec::new();
        for (address, _) in view.chain.store.all_at(view.slot) {
            let Some(account) = view.account(address) else {
                continue;
            };
            let data = account.data();
            let of_owner =
                *account.owner() == program && TokenAccount::unpack_account_owner(data) == Some(&owner);
            let of_mint = mint.is_none_or(|mint| get_token_account_mint(data) == Some(mint));
            if of_owner && of_mint {
                found.push(RpcKeyedAccount {
                    pubkey: address.to_string(),
                    account: view.encode(address, &account, &config)?,
                });
            }
        }
        view.answer(found)
    }

    pub(super) fn token_account_balance(&self, params: &Params) -> Outcome {
        let address = params.parsed(0)?;
        let view = self.view_of(params, 1)?;
        let account =
            view.account(&address).ok_or_else(|| CallError::invalid_param("could not find account"))?;
        let token = Some(&account)
            .filter(|account| encoding::is_token_program(account.owner()))
            .and_then(|account| StateWithExtensions::<TokenAccount>::unpack(account.data()).ok())
            .ok_or_else(|| CallError::invalid_param("not a Token account"))?;
        view.answer(view.ui_amount(token.base.amount, &token.base.mint)?)
    }

    pub(super) fn token_supply(&self, params: &Params) -> Outcome {
        let address = params.parsed(0)?;
        let view = self.view_of(params, 1)?;
        let account =
            view.account(&address).ok_or_else(|| CallError::invalid_param("could not find account"))?;
        let mint = Some(&account)
            .filter(|account| encoding::is_token_program(account.owner()))
            .and_then(|account| StateWithExtensions::<Mint>::unpack(account.data()).ok())
            .ok_or_else(|| CallError::invalid_param("not a Token mint"))?;
        view.answer(view.ui_amount(mint.base.supply, &address)?)
    }
}

impl View<'_> {
    fn ui_amount(&self, amount: u64, mint: &Pubkey) -> Result<Value, CallError> {
        let data = encoding::describe_mint(&self.chain, self.slot, mint)
            .ok_or_else(|| CallError::invalid_param("could not find mint"))?;
        Ok(json!(token_amount_to_ui_amount_v3(amount, &data)))
    }
}
