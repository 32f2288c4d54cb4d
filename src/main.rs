//! Entry point of the program `kiln`: calls [`kiln::cli`], which ends the program.

use mimalloc::MiMalloc;

/// Allocator of the program. Rendering uses all processors and mostly allocates small strings: with
/// the system's allocator, it spends a fifth of its time there. mimalloc v2 packs small and large
/// blocks more densely than v3, so the kernel zeroes fewer pages: about 10 % of the time of a
/// program that runs for milliseconds.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() {
    kiln::cli::main(std::env::args_os())
}
