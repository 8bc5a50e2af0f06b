//! Compiles the shim for TensorRT, where the feature is on. Without it there is nothing to do.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    #[cfg(feature = "tensorrt")]
    shim();
}

/// Compiles `src/engine/tensorrt/shim.cpp` against NVIDIA's headers, which are not part of this repository.
#[cfg(feature = "tensorrt")]
fn shim() {
    use std::path::PathBuf;

    let folder = PathBuf::from("src/engine/tensorrt");
    println!("cargo:rerun-if-env-changed=POISED_TENSORRT_INCLUDE");
    println!("cargo:rerun-if-changed={}", folder.display());
    let headers = std::env::var_os("POISED_TENSORRT_INCLUDE").map_or_else(
        || {
            let root = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it");
            PathBuf::from(root).join("target/tensorrt/include")
        },
        PathBuf::from,
    );
    for header in ["NvInfer.h", "NvOnnxParser.h"] {
        assert!(
            headers.join(header).is_file(),
            "feature tensorrt: no {header} in {}; `./dev tensorrt-headers` fetches NVIDIA's headers, or set \
             POISED_TENSORRT_INCLUDE to the folder that has them",
            headers.display()
        );
    }
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .file(folder.join("shim.cpp"))
        .include(folder.join("include"))
        // NVIDIA's own warnings are not ours to fix.
        .flag("-isystem")
        .flag(headers.as_os_str())
        .warnings(true)
        .extra_warnings(true)
        .compile("poised_tensorrt");
    println!("cargo:rustc-link-lib=dl");
    // Tests compile the shim once more, under the address sanitizer.
    println!(
        "cargo:rustc-env=POISED_TENSORRT_HEADERS={}",
        headers.display()
    );
}
