//! What is played, in two lists.

mod adopt;
mod ceiling;
mod degraded;
mod desk;
mod doubt;
mod doubt_local;
mod faults;
mod hostile;
mod identity;
mod liars;
mod lifecycle;
mod many;
mod market;
mod nodes;
mod nodes_local;
mod outage;
mod pool;
mod pool_local;
mod positions;
mod processed;
mod providers;
mod reading;
mod rpc_faults;
mod sells;
mod trade_buying;
mod trade_counting;
mod trade_holding;
mod trade_keeping;
mod trade_local;
mod trade_obstacles;
mod trade_restart;
mod trade_selling;
mod trade_unlanded;
mod traffic;

use crate::runner::Scenario;

/// Hands the scenarios for every cluster to a macro, as `module: [names]`: nothing can be in one
/// list only.
#[macro_export]
macro_rules! everywhere {
    ($then:ident) => {
        $then! {
            reading: [
                a_buy_becomes_a_live_balance,
                a_change_is_notified_without_rpc,
                an_absent_account_appears,
                unchanged_past_its_ttl_is_still_fresh,
                a_floor_is_met_at_slots_that_changed_it_or_not,
                a_floor_far_ahead_fails_in_time_and_holds_up_nobody,
                an_age_that_no_link_meets_asks_rpc,
                updates_come_in_order_and_a_slow_consumer_is_told,
                waiting_ends_in_time,
            ],
            identity: [
                closed_and_created_anew,
                frozen_and_thawed,
                an_account_given_away_is_not_ours,
                what_is_not_the_account_expected_says_why,
                token_2022_with_extensions,
                what_cannot_be_sold_says_why_and_the_program_refuses_it,
                a_ui_amount_that_moves_with_time_is_not_shown,
                wrapped_sol_counts_what_is_synced,
            ],
            many: [
                many_accounts_go_live_with_few_calls,
                watching_twice_is_the_same_watch,
                unwatched_is_stale_and_watched_again_is_live,
                no_more_accounts_than_allowed,
                no_more_reads_wait_than_allowed,
                a_hundred_callers_share_a_call,
            ],
            outage: [
                reset_and_healed,
                ended_and_healed,
                deaf_to_the_server_and_healed,
                unheard_by_the_server_and_healed,
                a_silent_server_is_found_out_in_time,
                a_stalled_and_slow_link_catches_up,
                a_throttled_link_never_serves_older_as_fresh,
                without_rpc_a_live_link_serves,
                without_both_nothing_old_is_fresh,
                started_before_its_node,
                shutdown_does_not_wait_for_the_deaf,
            ],
            lifecycle: [
                dropping_the_last_handle_ends_every_task,
                a_starved_runtime_makes_nothing_younger,
                the_bots_own_rpc_client_is_used,
                headers_reach_the_server,
                no_secret_is_shown,
                finalized_serves_what_is_final,
                finalized_absence_is_confirmed_without_hurry,
            ],
            trade_buying: [
                a_buy_is_settled_by_its_notification,
                a_buy_seen_before_it_is_asked_for_is_settled_at_once,
                without_a_link_a_buy_is_settled_by_asking,
                what_strangers_send_is_no_buy,
                the_program_is_read_from_the_mint_once,
                what_is_no_mint_is_told,
                a_prewarmed_buy_asks_rpc_for_nothing,
                less_arrives_than_was_sent,
                a_wait_for_a_buy_can_be_given_up_and_begun_again,
                a_hundred_wait_for_one_buy,
            ],
            trade_unlanded: [
                a_buy_that_was_never_sent_expires,
                a_buy_sent_too_late_expires,
                a_buy_that_fails_on_chain_says_where,
                a_buy_that_fails_takes_no_tokens_along,
                without_a_signature_nobody_knows_that_a_buy_never_landed,
                dust_leaves_it_open_what_an_expired_buy_brought,
            ],
            trade_holding: [
                more_than_there_is_cannot_be_held,
                nothing_is_held_on_a_balance_that_is_too_old,
                of_many_who_want_all_one_gets_it,
                strategies_that_race_sell_nothing_twice,
            ],
            trade_selling: [
                the_sell_path_asks_rpc_for_nothing,
                the_rest_is_sold_while_the_first_part_is_not_seen_to_be_gone,
                after_a_sell_no_older_balance_is_served,
                a_sell_that_lands_while_the_link_is_down_stays_sold,
                a_sell_that_fails_frees_its_tokens_in_doubt,
                what_nobody_tells_of_a_failed_sell_is_found_out,
                what_nobody_tells_of_a_landed_sell_is_found_out,
                a_sell_that_never_lands_frees_its_tokens_when_it_is_over,
                a_sell_that_never_left_is_free_at_once,
            ],
            trade_obstacles: [
                frozen_between_buy_and_sell,
                what_there_is_not_cannot_be_sold,
                what_others_may_do_is_a_warning,
                what_its_mint_forbids_cannot_be_sold,
                behind_a_cpi_guard_nothing_is_sold_until_its_owner_opens_it,
            ],
            trade_keeping: [
                what_is_sold_out_is_let_go,
                what_is_held_or_expected_is_not_let_go,
                what_is_prewarmed_is_kept_for_its_time,
                an_account_is_not_let_go_while_its_link_is_down,
            ],
            trade_counting: [what_changes_often_is_trusted_for_less_time, what_a_trade_costs_is_counted],
            trade_restart: [a_bot_that_starts_again_sells_what_it_finds],
            nodes: [
                a_dead_node_is_replaced_by_the_next,
                a_half_open_node_is_replaced_by_the_next,
                reads_go_to_the_next_node_where_the_first_fails,
                in_a_race_no_reader_notices_one_node_go,
            ],
            pool: [
                accounts_fill_one_connection_after_the_other,
                accounts_without_room_are_refreshed,
                one_cut_connection_costs_its_accounts_alone,
            ],
            degraded: [
                while_the_link_is_down_readers_hit_memory,
                refused_refreshes_back_off,
                a_rate_limit_quiets_the_refresh,
            ],
            doubt: [
                neither_a_tick_nor_an_earlier_question_ends_a_doubt,
                a_doubt_with_a_floor_ends_at_its_slot,
                readers_of_a_doubted_account_share_a_call,
            ],
            adopt: [
                everything_that_a_wallet_holds_is_found,
                tokens_that_arrive_uninvited_are_found,
                what_cannot_be_watched_is_named,
                a_node_that_does_not_answer_is_not_the_last_one_asked,
                refused_searches_back_off_and_go_on,
                a_new_interval_replaces_the_old_one,
            ],
            positions: [
                a_token_is_bought_held_sold_and_swept,
                dust_is_not_taken_for_the_buy,
                a_buy_that_nobody_notifies_is_found_by_a_probe,
                a_landing_settles_what_a_fee_left_and_a_failure_lets_the_account_go,
                a_mint_that_is_none_or_not_answered_for_is_no_position,
            ],
            sells: [a_sell_in_flight_is_looked_after_until_its_end],
            traffic: [two_hundred_accounts_under_traffic_and_cuts]
        }
    };
}

/// Hands the scenarios that only the local cluster can play to a macro.
#[macro_export]
macro_rules! local_only {
    ($then:ident) => {
        $then! {
            faults: [
                one_refused_subscription_is_retried_alone,
                a_subscription_that_dies_in_silence_is_found,
                an_unanswered_subscribe_costs_the_connection_not_the_others,
                subscriptions_that_take_effect_late_lose_nothing,
                duplicates_and_reordering_move_nothing_backwards,
                what_cannot_be_decoded_is_found_by_the_audit,
                rpc_ahead_of_the_link_accuses_nobody,
                junk_ends_the_connection_and_no_more,
                a_handshake_told_to_wait_is_not_waited_for,
                a_chain_that_lags_proves_nothing,
                a_clock_that_stands_still_ends_the_link,
            ],
            rpc_faults: [
                a_rate_limit_is_told_at_once_and_respected,
                answers_that_do_not_fit_are_errors,
                rpc_always_behind_the_link_still_verifies_what_is_quiet,
                rpc_behind_the_tip_is_waited_for,
                a_node_cut_off_from_its_cluster_serves_nothing_older,
                a_slow_answer_still_answers,
            ],
            nodes_local: [
                a_node_that_stops_ticking_is_replaced_by_the_next,
                in_a_race_a_late_node_is_outrun,
                a_node_on_another_chain_is_refused,
            ],
            trade_local: [
                a_sell_that_its_link_keeps_silent_about_stays_sold,
                a_doubted_balance_is_not_taken_from_a_node_that_is_behind,
                a_sell_on_an_abandoned_fork_is_not_sold,
                on_a_new_chain_no_buy_settles_and_what_is_in_flight_stays_so,
            ],
            liars: [
                notified_slots_far_ahead_are_not_believed,
                answered_slots_far_ahead_are_not_believed,
                a_first_node_with_slots_far_ahead_poisons_nothing,
                alone_with_a_liar_that_stops_the_mirror_recovers,
                a_lie_that_came_first_is_overcome,
                in_a_race_a_wrong_amount_is_reported,
                a_wrong_amount_is_found_by_asking_another_node,
                a_link_that_is_quarantined_is_not_live_in_health,
            ],
            adopt: [
                a_node_that_is_behind_hides_nothing,
                a_node_that_is_not_believed_is_not_searched,
                what_a_node_cannot_tell_is_told_with_a_remedy,
                a_wallet_of_thousands_is_found_up_to_the_limit_of_an_answer,
            ],
            pool_local: [a_node_that_takes_no_more_subscriptions_is_lived_with],
            doubt_local: [an_answer_asked_for_before_a_doubt_does_not_end_it],
            processed: [
                a_change_is_shown_before_it_is_confirmed,
                a_fork_that_is_told_takes_the_hint_back,
                a_fork_that_nobody_tells_is_reverted_by_what_is_confirmed,
                a_hint_goes_with_its_connection,
            ],
            providers: [
                a_fan_out_without_a_clock_is_made_do_with,
                a_provider_without_a_clock_is_found_out,
                a_provider_that_refuses_the_clock_is_made_do_with,
                a_node_of_ones_own_must_tick,
                a_node_that_refuses_slices_goes_live_all_the_same,
                a_node_that_ignores_slices_goes_live_on_the_next_connection,
                a_connection_closed_for_being_idle_comes_back,
                a_node_that_takes_few_keys_is_asked_in_smaller_calls,
                a_floor_refused_in_other_words_is_waited_for,
            ],
            hostile: [
                a_flood_of_an_accounts_own_state_is_survived,
                a_flood_of_unknown_subscriptions_is_survived,
                huge_frames_are_survived,
                every_kind_of_junk_is_survived,
                forged_acknowledgements_are_survived,
                malformed_notifications_are_survived,
                bad_answers_of_rpc_are_survived,
                a_new_chain_is_told_and_the_old_one_is_forgotten,
                a_new_chain_with_the_same_accounts_is_a_new_chain,
                a_chain_set_far_back_is_a_reset,
                a_chain_set_a_little_back_is_true_again_in_time,
            ]
        }
    };
}

macro_rules! list {
    ($($module:ident: [$($name:ident),* $(,)?]),* $(,)?) => {
        vec![$($(Scenario { name: stringify!($name), play: |world| Box::pin($module::$name(world)) }),*),*]
    };
}

/// What every cluster plays.
pub fn everywhere() -> Vec<Scenario> {
    everywhere!(list)
}

/// What only the local cluster plays.
pub fn local_only() -> Vec<Scenario> {
    local_only!(list)
}
