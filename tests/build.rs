//! Compiles the container runtime interface's .proto file in Rust (protox): no protoc is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    let files = protox::compile(["cri.proto"], ["proto"])?;
    tonic_prost_build::configure().build_transport(false).build_server(false).compile_fds(files)?;
    Ok(())
}
