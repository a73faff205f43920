# What CI runs, all of it.
check:
    .ci/run

# The tests with the full figures and the release binaries, as root; about half an hour.
full:
    cargo build --release
    TWINSTICK_FULL=1 TWINSTICK_BIN_DIR={{justfile_directory()}}/target/release cargo test --test loop_story --test loop_load --test crowd --test quiet --test drain --test scale --test hung -- --nocapture

# The service under a real systemd in qemu, whose USB sticks are pulled; as root, some minutes.
pi:
    cargo build --release
    TWINSTICK_VM=1 TWINSTICK_BIN_DIR={{justfile_directory()}}/target/release cargo test --test pi -- --nocapture

# A fuzz target for so many seconds, with coverage; needs cargo-fuzz. The targets are those of src/fuzz.rs.
# What cargo-fuzz asks of the compiler is not stable: RUSTC_BOOTSTRAP lets the stable one do it.
fuzz target seconds="3600":
    mkdir -p fuzz/corpus/{{target}}
    RUSTC_BOOTSTRAP=1 cargo fuzz run {{target}} fuzz/corpus/{{target}} tests/fixtures/fuzz/{{target}} -- -max_total_time={{seconds}} -max_len=40000 -rss_limit_mb=512

# Power cuts on real kernels, on ext4 and vfat: so many for each pair. Needs the packages user-mode-linux and dosfstools.
power-cut cycles="1000":
    cargo build --release
    TWINSTICK_POWER_CUTS={{cycles}} TWINSTICK_BIN_DIR={{justfile_directory()}}/target/release cargo test --test power_cut -- --nocapture

demo:
    cargo run --release -- demo
