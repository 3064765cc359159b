//! The bytes of token accounts and mints, under both programs.

use std::sync::Arc;

use solana_keypair::Keypair;
use solana_pubkey::Pubkey;
use solana_signer::Signer;
use solana_system_interface::instruction as system;
use spl_associated_token_account_interface::address::get_associated_token_address_with_program_id;
use spl_token_2022_interface::extension::ExtensionType;
use spl_token_2022_interface::instruction as token;
use spl_token_2022_interface::instruction::AuthorityType;

use crate::world::{SUPPLY, TOKEN, TOKEN_2022, World, bytes};

pub(crate) async fn a_token_account_has_its_fields_at_the_known_offsets(w: Arc<World>) {
    for program in [TOKEN, TOKEN_2022] {
        let tokens = w.tokens(program, 2).await;
        let payer = w.payer.pubkey();
        let account = tokens.accounts[0];
        let (delegate, closer) = (Pubkey::new_unique(), Pubkey::new_unique());
        let close = AuthorityType::CloseAccount;
        let landed = w
            .land(
                &[
                    w.transfer(&tokens, 1, 5),
                    token::approve(&program, &account, &delegate, &payer, &[], 77).expect("one"),
                    token::set_authority(&program, &account, Some(&closer), close, &payer, &[]).expect("one"),
                    token::freeze_account(&program, &account, &tokens.mint, &payer, &[]).expect("one"),
                ],
                &[],
            )
            .await;
        let keys = [account, tokens.accounts[1], tokens.mint];
        let snapshot = w.snapshot(&keys, "confirmed", landed).await.value;
        let (data, other, mint) = (bytes(&snapshot[0]), bytes(&snapshot[1]), bytes(&snapshot[2]));
        let key = |at: usize| data[at..at + 32].to_vec();
        let number = |at: usize| u64::from_le_bytes(data[at..at + 8].try_into().expect("8 bytes"));
        assert_eq!(key(0), tokens.mint.to_bytes());
        assert_eq!(key(32), payer.to_bytes());
        assert_eq!(number(64), SUPPLY - 5);
        assert_eq!((data[72], key(76)), (1, delegate.to_bytes().to_vec()));
        assert_eq!((data[108], other[108]), (2, 1), "frozen, initialized");
        assert_eq!(data[109], 0, "not native");
        assert_eq!(number(121), 77);
        assert_eq!((data[129], key(133)), (1, closer.to_bytes().to_vec()));
        assert_eq!(mint.len(), 82, "a mint without extensions");
        if program == TOKEN {
            assert_eq!(data.len(), 165);
        } else {
            // The ATA program adds the immutable owner: type 7, no data.
            assert_eq!(data[165..], [2, 7, 0, 0, 0]);
        }
    }
}

pub(crate) async fn a_token_2022_mint_with_an_extension_says_1_at_byte_165(w: Arc<World>) {
    let mint = Keypair::new();
    let payer = w.payer.pubkey();
    let extension = [ExtensionType::MintCloseAuthority];
    let length =
        ExtensionType::try_calculate_account_len::<spl_token_2022_interface::state::Mint>(&extension)
            .expect("a length");
    let landed = w
        .land(
            &[
                system::create_account(&payer, &mint.pubkey(), 10_000_000, length as u64, &TOKEN_2022),
                token::initialize_mint_close_authority(&TOKEN_2022, &mint.pubkey(), Some(&payer))
                    .expect("one"),
                token::initialize_mint2(&TOKEN_2022, &mint.pubkey(), &payer, None, 9).expect("one"),
            ],
            &[&mint],
        )
        .await;
    let data = bytes(&w.snapshot(&[mint.pubkey()], "confirmed", landed).await.value[0]);
    assert_eq!((data.len(), data[165]), (length, 1));
    assert_eq!(data[166..170], [3, 0, 32, 0], "type 3, 32 bytes");
}

pub(crate) async fn a_token_2022_account_without_extensions_has_165_bytes(w: Arc<World>) {
    let tokens = w.tokens(TOKEN_2022, 1).await;
    let account = Keypair::new();
    let payer = w.payer.pubkey();
    let landed = w
        .land(
            &[
                system::create_account(&payer, &account.pubkey(), 10_000_000, 165, &TOKEN_2022),
                token::initialize_account3(&TOKEN_2022, &account.pubkey(), &tokens.mint, &payer)
                    .expect("one"),
            ],
            &[&account],
        )
        .await;
    let data = bytes(&w.snapshot(&[account.pubkey()], "confirmed", landed).await.value[0]);
    assert_eq!((data.len(), data[108]), (165, 1));
}

pub(crate) async fn the_address_of_an_ata_depends_on_the_token_program(w: Arc<World>) {
    let [legacy, new] = [w.tokens(TOKEN, 1).await, w.tokens(TOKEN_2022, 1).await];
    for (tokens, other) in [(legacy, TOKEN_2022), (new, TOKEN)] {
        let at =
            |program| get_associated_token_address_with_program_id(&w.payer.pubkey(), &tokens.mint, &program);
        assert_ne!(at(other), tokens.accounts[0]);
        let keys = [at(tokens.program), at(other)];
        let snapshot = w.snapshot(&keys, "confirmed", 0).await.value;
        assert!(snapshot[0].is_object() && snapshot[1].is_null());
    }
}
