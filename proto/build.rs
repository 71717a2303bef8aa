//! Compiles the `.proto` files with protox (no protoc on the build machine) into tonic services whose `bytes` fields
//! are [`bytes::Bytes`], so a block is never copied into a `Vec` on its way through gRPC.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = ["shield", "control", "store", "access_log"].map(|name| format!("penstock/v1/{name}.proto"));
    for file in &files {
        println!("cargo:rerun-if-changed={file}");
    }
    let descriptors = protox::compile(files, ["."])?;
    tonic_prost_build::configure().bytes(".").compile_fds(descriptors)?;
    Ok(())
}
