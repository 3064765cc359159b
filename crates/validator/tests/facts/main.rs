//! Facts about Agave that balance-mirror rests on, each proved on a real validator by a test that
//! fails if it is otherwise. `docs/facts.md` lists them with what was measured.
//!
//! One validator serves all, so this is a harness of its own (libtest's output, arguments and exit
//! code). Most facts run side by side; those that strain the node run alone, after the others.

mod canary;
mod client;
mod rpc;
mod scripted;
mod strain;
mod subscribe;
mod tokens;
mod wire;
mod world;

use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use libtest_mimic::{Arguments, Trial};
use solana_keypair::Keypair;
use solana_pubkey::Pubkey;
use solana_signer::Signer;
use tokio::runtime::Runtime;
use tokio::sync::RwLock;
use validator::{Options, Validator};

use crate::world::World;

/// What the validator under test allows on the whole node.
pub(crate) const MAX_SUBSCRIPTIONS: usize = 20_000;
/// A system account of 8 MiB in the genesis.
pub(crate) const LARGE: Pubkey = Pubkey::new_from_array(*b"a system account of 8 mebibytes!");
/// They mostly wait for slots.
const SIDE_BY_SIDE: usize = 10;

struct Fact {
    name: &'static str,
    alone: bool,
    prove: fn(Arc<World>) -> BoxFuture<'static, ()>,
}

macro_rules! facts {
    ($alone:literal: $($room:ident { $($name:ident),+ $(,)? })+) => {
        [$($(Fact {
            name: stringify!($name),
            alone: $alone,
            prove: |world| $room::$name(world).boxed(),
        }),+),+]
    };
}

const TOGETHER: &[Fact] = &facts!(false:
    canary {
        a_clock_follows_every_account_notification_of_older_slots,
        nothing_is_missed_after_a_barrier,
        the_clock_is_notified_with_40_bytes_and_the_unix_time_at_32,
        the_node_that_notified_answers_at_that_slot_at_once,
    }
    subscribe {
        a_subscription_sends_no_initial_state,
        the_default_commitment_is_finalized,
        an_absent_account_can_be_subscribed_and_its_creation_is_notified,
        a_closed_account_is_notified_as_empty_and_owned_by_the_system,
        a_closed_account_created_again_is_notified_at_the_same_subscription,
        an_account_untouched_since_genesis_is_closed_without_a_notification,
        several_writes_in_one_slot_show_as_one,
        the_default_encoding_is_an_error_text_beyond_128_bytes,
        equal_parameters_share_one_id_on_all_connections,
        an_unsubscribed_id_is_silent_from_the_answer_on,
        a_slice_makes_another_subscription_and_is_ignored_in_the_data,
        min_context_slot_is_ignored_in_a_subscription,
        a_client_message_may_have_4096_bytes,
        a_refused_subscription_leaves_the_connection_alive,
        a_token_account_is_notified_with_the_rent_epoch_u64_max,
        a_program_subscription_never_reports_a_close,
        a_slot_notification_precedes_the_accounts_of_its_slot,
    }
    rpc {
        a_snapshot_of_several_accounts_is_of_one_bank,
        a_snapshot_takes_at_most_100_keys,
        a_slot_not_reached_is_refused_at_once,
        the_client_keeps_the_code_of_a_slot_not_reached_and_drops_its_data,
        one_account_calls_turn_every_error_into_account_not_found,
        the_call_for_several_accounts_says_none_for_an_absent_one,
        a_signature_status_comes_from_the_processed_bank,
        an_owners_token_accounts_are_listed_per_program_at_a_slot,
    }
    tokens {
        a_token_account_has_its_fields_at_the_known_offsets,
        a_token_2022_mint_with_an_extension_says_1_at_byte_165,
        a_token_2022_account_without_extensions_has_165_bytes,
        the_address_of_an_ata_depends_on_the_token_program,
    }
    client {
        equal_parameters_on_one_client_end_the_first_stream,
        a_cancelled_subscribe_ends_the_whole_client,
        the_client_decodes_what_the_validator_notifies,
        a_refused_subscribe_carries_its_reason_and_code,
        unsubscribing_returns_once_answered_and_at_once_when_the_client_is_gone,
        unsubscribing_hangs_on_a_silent_server,
        a_notification_that_does_not_decode_is_dropped_silently,
        nothing_is_lost_between_the_answer_and_the_stream,
        a_dropped_stream_is_unsubscribed_at_its_next_notification,
        a_notification_of_an_unknown_id_is_answered_with_an_unsubscribe,
        malformed_answers_end_the_whole_connection,
        a_lost_connection_ends_the_streams_and_shutdown_tells_how,
        an_idle_client_pings_after_ten_seconds_and_a_busy_one_does_not,
        too_many_requests_are_retried_five_times_inside_both_clients,
        an_rpc_error_prints_its_url,
    }
);

const ALONE: &[Fact] = &facts!(true:
    strain {
        a_subscriber_that_stops_reading_is_cut_off_without_a_close_frame,
        a_late_notification_is_older_than_a_snapshot_taken_before_it,
        a_subscription_can_take_effect_after_its_acknowledgement,
        a_check_skipped_at_finalized_heals_at_the_next_bank_whose_slot_it_carries,
        subscriptions_above_the_nodes_limit_are_refused,
    }
);

/// The validator and what runs the facts. Started by the first fact that needs it.
struct Harness {
    runtime: Runtime,
    validator: Validator,
    world: Arc<World>,
    alone: RwLock<()>,
}

impl Harness {
    fn start() -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let (untouched, touched) = (Keypair::new(), Keypair::new());
        let options = Options::new()
            .max_subscriptions(MAX_SUBSCRIPTIONS)
            .account(untouched.pubkey(), 5_000_000, 0)
            .account(touched.pubkey(), 5_000_000, 0)
            .account(LARGE, 100_000_000_000, 8 << 20);
        let started = std::time::Instant::now();
        let validator = Validator::start_with(&options).expect("the validator starts");
        println!("{validator:?} after {:?}", started.elapsed());
        let world = World::new(
            validator.rpc_url(),
            validator.ws_url(),
            validator.payer().insecure_clone(),
            untouched,
            touched,
        );
        Self { runtime, validator, world: Arc::new(world), alone: RwLock::new(()) }
    }

    fn prove(&self, fact: &Fact) {
        self.runtime.block_on(async {
            if fact.alone {
                let _alone = self.alone.write().await;
                (fact.prove)(Arc::clone(&self.world)).await;
            } else {
                let _together = self.alone.read().await;
                (fact.prove)(Arc::clone(&self.world)).await;
            }
        });
    }
}

/// Every fact that is proved here stands in the table that people read.
fn the_table_names_every_fact() -> Result<(), String> {
    let table = include_str!("../../../../docs/facts.md");
    let missing: Vec<&str> = TOGETHER
        .iter()
        .chain(ALONE)
        .map(|fact| fact.name)
        .filter(|name| !table.contains(&format!("`{name}`")))
        .collect();
    if missing.is_empty() { Ok(()) } else { Err(format!("docs/facts.md does not name {missing:?}")) }
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = arguments.test_threads.or(Some(SIDE_BY_SIDE));
    let harness = Arc::new(OnceLock::new());
    let mut trials =
        vec![Trial::test("the_table_names_every_fact", || the_table_names_every_fact().map_err(Into::into))];
    trials.extend(TOGETHER.iter().chain(ALONE).map(|fact| {
        let harness = Arc::clone(&harness);
        Trial::test(fact.name, move || {
            harness.get_or_init(Harness::start).prove(fact);
            Ok(())
        })
    }));
    let conclusion = libtest_mimic::run(&arguments, trials);
    let Some(harness) = Arc::into_inner(harness).and_then(OnceLock::into_inner) else {
        return conclusion.exit_code();
    };
    let ledger = harness.validator.ledger().to_owned();
    drop(harness);
    if ledger.exists() {
        eprintln!("the validator left its ledger behind: {}", ledger.display());
        return ExitCode::FAILURE;
    }
    conclusion.exit_code()
}
