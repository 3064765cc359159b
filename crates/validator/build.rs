//! Lets the tests link Debian's RocksDB (see `.cargo/config.toml`).

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=ROCKSDB_COMPILE");
    println!("cargo::rerun-if-env-changed=ROCKSDB_LIB_DIR");
    let set = |name| std::env::var_os(name).is_some();
    if set("ROCKSDB_LIB_DIR") && !set("ROCKSDB_COMPILE") {
        // The one function that RocksDB 7.8 lacks and the binary refers to: the drop of an option
        // that the ledger never sets. Calling it would fault.
        println!("cargo::rustc-link-arg=-Wl,--defsym=rocksdb_write_buffer_manager_destroy=0");
    }
}
