//! Token instructions, for both token programs.
//!
//! The first argument, where there is a choice, is the token program: [`TOKEN`] or [`TOKEN_2022`].
//! The functions panic if it is neither. An authority must sign the transaction.

use solana_instruction::Instruction;
use solana_pubkey::Pubkey;
use solana_system_interface::instruction::create_account;
use spl_associated_token_account_interface::{
    address::get_associated_token_address_with_program_id,
    instruction::create_associated_token_account_idempotent,
};
pub use spl_token_2022_interface::instruction::AuthorityType;
use spl_token_2022_interface::{
    extension::{
        ExtensionType, cpi_guard, default_account_state, interest_bearing_mint, pausable, scaled_ui_amount,
        transfer_fee, transfer_hook,
    },
    instruction,
    state::{AccountState, Mint},
};

/// The SPL Token program.
pub const TOKEN: Pubkey = spl_token_interface::ID;
/// The Token-2022 program.
pub const TOKEN_2022: Pubkey = spl_token_2022_interface::ID;

const TWO_PROGRAMS: &str = "the program is TOKEN or TOKEN_2022";

/// What a Token-2022 mint can be given at its creation. Authorities over it are the mint's
/// authority.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Extension {
    /// A part of each transfer is withheld in the destination.
    TransferFee {
        /// In hundredths of a percent.
        basis_points: u16,
        /// At most so much, in raw units.
        maximum: u64,
    },
    /// The UI amount grows with time, at a yearly rate in hundredths of a percent.
    InterestBearing(i16),
    /// The UI amount is multiplied.
    ScaledUiAmount(f64),
    /// Tokens cannot be moved.
    NonTransferable,
    /// Somebody may move and burn anybody's tokens.
    PermanentDelegate(Pubkey),
    /// New accounts are frozen. Needs a freeze authority.
    DefaultFrozen,
    /// All movement can be stopped.
    Pausable,
    /// Transfers call this program.
    TransferHook(Pubkey),
    /// The mint may be closed by its authority.
    MintCloseAuthority,
}

impl Extension {
    fn kind(&self) -> ExtensionType {
        match self {
            Self::TransferFee { .. } => ExtensionType::TransferFeeConfig,
            Self::InterestBearing(_) => ExtensionType::InterestBearingConfig,
            Self::ScaledUiAmount(_) => ExtensionType::ScaledUiAmount,
            Self::NonTransferable => ExtensionType::NonTransferable,
            Self::PermanentDelegate(_) => ExtensionType::PermanentDelegate,
            Self::DefaultFrozen => ExtensionType::DefaultAccountState,
            Self::Pausable => ExtensionType::Pausable,
            Self::TransferHook(_) => ExtensionType::TransferHook,
            Self::MintCloseAuthority => ExtensionType::MintCloseAuthority,
        }
    }

    fn initialize(&self, program: &Pubkey, mint: &Pubkey, authority: &Pubkey) -> Instruction {
        let built = match self {
            Self::TransferFee { basis_points, maximum } => {
                transfer_fee::instruction::initialize_transfer_fee_config(
                    program,
                    mint,
                    Some(authority),
                    Some(authority),
                    *basis_points,
                    *maximum,
                )
            }
            Self::InterestBearing(rate) => {
                interest_bearing_mint::instruction::initialize(program, mint, Some(*authority), *rate)
            }
            Self::ScaledUiAmount(multiplier) => {
                scaled_ui_amount::instruction::initialize(program, mint, Some(*authority), *multiplier)
            }
            Self::NonTransferable => instruction::initialize_non_transferable_mint(program, mint),
            Self::PermanentDelegate(delegate) => {
                instruction::initialize_permanent_delegate(program, mint, delegate)
            }
            Self::DefaultFrozen => default_account_state::instruction::initialize_default_account_state(
                program,
                mint,
                &AccountState::Frozen,
            ),
            Self::Pausable => pausable::instruction::initialize(program, mint, authority),
            Self::TransferHook(hook) => {
                transfer_hook::instruction::initialize(program, mint, Some(*authority), Some(*hook))
            }
            Self::MintCloseAuthority => {
                instruction::initialize_mint_close_authority(program, mint, Some(authority))
            }
        };
        built.expect("extensions are for TOKEN_2022")
    }
}

/// Creates a mint at `mint`, which signs, as does `payer`. Extensions are for [`TOKEN_2022`] only.
pub fn create_mint(
    program: &Pubkey,
    payer: &Pubkey,
    mint: &Pubkey,
    decimals: u8,
    authority: &Pubkey,
    freeze_authority: Option<&Pubkey>,
    extensions: &[Extension],
) -> Vec<Instruction> {
    let kinds: Vec<ExtensionType> = extensions.iter().map(Extension::kind).collect();
    let space = ExtensionType::try_calculate_account_len::<Mint>(&kinds)
        .expect("each of these extensions has a length");
    let mut instructions = vec![create_account(payer, mint, rent(space), space as u64, program)];
    let extensions = extensions.iter();
    instructions.extend(extensions.map(|e| e.initialize(program, mint, authority)));
    instructions.push(
        instruction::initialize_mint2(program, mint, authority, freeze_authority, decimals)
            .expect(TWO_PROGRAMS),
    );
    instructions
}

/// What keeps an account of this size alive.
fn rent(space: usize) -> u64 {
    (128 + space as u64) * 6960
}

/// Where a wallet's associated token account is.
pub fn ata(program: &Pubkey, owner: &Pubkey, mint: &Pubkey) -> Pubkey {
    get_associated_token_address_with_program_id(owner, mint, program)
}

/// Creates a wallet's associated token account, unless it is there.
pub fn create_ata(program: &Pubkey, payer: &Pubkey, owner: &Pubkey, mint: &Pubkey) -> Instruction {
    create_associated_token_account_idempotent(payer, owner, mint, program)
}

/// Mints raw units into an account.
pub fn mint_to(
    program: &Pubkey,
    mint: &Pubkey,
    account: &Pubkey,
    authority: &Pubkey,
    amount: u64,
) -> Instruction {
    instruction::mint_to(program, mint, account, authority, &[], amount).expect(TWO_PROGRAMS)
}

/// Moves raw units from one account to another.
pub fn transfer_checked(
    program: &Pubkey,
    from: &Pubkey,
    mint: &Pubkey,
    to: &Pubkey,
    authority: &Pubkey,
    amount: u64,
    decimals: u8,
) -> Instruction {
    instruction::transfer_checked(program, from, mint, to, authority, &[], amount, decimals)
        .expect(TWO_PROGRAMS)
}

/// Burns raw units.
pub fn burn(
    program: &Pubkey,
    account: &Pubkey,
    mint: &Pubkey,
    authority: &Pubkey,
    amount: u64,
) -> Instruction {
    instruction::burn(program, account, mint, authority, &[], amount).expect(TWO_PROGRAMS)
}

/// Closes an empty account; its lamports go to `destination`.
pub fn close(program: &Pubkey, account: &Pubkey, destination: &Pubkey, authority: &Pubkey) -> Instruction {
    instruction::close_account(program, account, destination, authority, &[]).expect(TWO_PROGRAMS)
}

/// Freezes an account, by the mint's freeze authority.
pub fn freeze(program: &Pubkey, account: &Pubkey, mint: &Pubkey, authority: &Pubkey) -> Instruction {
    instruction::freeze_account(program, account, mint, authority, &[]).expect(TWO_PROGRAMS)
}

/// Thaws a frozen account.
pub fn thaw(program: &Pubkey, account: &Pubkey, mint: &Pubkey, authority: &Pubkey) -> Instruction {
    instruction::thaw_account(program, account, mint, authority, &[]).expect(TWO_PROGRAMS)
}

/// Lets a delegate move up to so many raw units.
pub fn approve(
    program: &Pubkey,
    account: &Pubkey,
    delegate: &Pubkey,
    owner: &Pubkey,
    amount: u64,
) -> Instruction {
    instruction::approve(program, account, delegate, owner, &[], amount).expect(TWO_PROGRAMS)
}

/// Hands an authority over an account or a mint to somebody, or to nobody.
pub fn set_authority(
    program: &Pubkey,
    account: &Pubkey,
    kind: AuthorityType,
    authority: &Pubkey,
    new_authority: Option<&Pubkey>,
) -> Instruction {
    instruction::set_authority(program, account, new_authority, kind, authority, &[]).expect(TWO_PROGRAMS)
}

/// Stops all movement of a [`TOKEN_2022`] mint with [`Extension::Pausable`].
pub fn pause(mint: &Pubkey, authority: &Pubkey) -> Instruction {
    pausable::instruction::pause(&TOKEN_2022, mint, authority, &[]).expect(TWO_PROGRAMS)
}

/// Ends that.
pub fn resume(mint: &Pubkey, authority: &Pubkey) -> Instruction {
    pausable::instruction::resume(&TOKEN_2022, mint, authority, &[]).expect(TWO_PROGRAMS)
}

/// Keeps other programs from moving a [`TOKEN_2022`] account's tokens in its owner's name. `payer`
/// pays for the room.
pub fn enable_cpi_guard(account: &Pubkey, payer: &Pubkey, owner: &Pubkey) -> [Instruction; 2] {
    let room = instruction::reallocate(&TOKEN_2022, account, payer, owner, &[], &[ExtensionType::CpiGuard]);
    let guard = cpi_guard::instruction::enable_cpi_guard(&TOKEN_2022, account, owner, &[]);
    [room.expect(TWO_PROGRAMS), guard.expect(TWO_PROGRAMS)]
}

/// Lets them again.
pub fn disable_cpi_guard(account: &Pubkey, owner: &Pubkey) -> Instruction {
    cpi_guard::instruction::disable_cpi_guard(&TOKEN_2022, account, owner, &[]).expect(TWO_PROGRAMS)
}

/// Brings the amount of a wrapped SOL account up to its lamports.
pub fn sync_native(program: &Pubkey, account: &Pubkey) -> Instruction {
    instruction::sync_native(program, account).expect(TWO_PROGRAMS)
}
