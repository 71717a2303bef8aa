//! Links `fate/fate.c` into the tests of this crate: what it defines takes the place of the C library's.

fn main() {
    println!("cargo:rerun-if-changed=fate/fate.c");
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux") {
        // The object itself, not an archive: nothing refers to it by name before the C library would answer.
        for object in cc::Build::new().file("fate/fate.c").opt_level(2).compile_intermediates() {
            println!("cargo:rustc-link-arg-tests={}", object.display());
        }
    }
}
