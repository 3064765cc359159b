//! The small worlds, each explored whole: in the size for every change, or with `MODEL_FULL=1` in
//! full.

#[test]
fn no_reachable_state_breaks_a_promise() {
    let full = std::env::var_os("MODEL_FULL").is_some();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut unique = 0;
    for plan in model_check::plans(full) {
        let found = model_check::explore(&plan, threads, None);
        println!("{found}");
        assert_eq!(found.broken, None, "{found}");
        unique += found.unique;
    }
    println!("{unique} unique states in all");
    assert!(unique >= if full { 1_000_000 } else { 100_000 }, "the worlds have shrunk: {unique} states");
}
