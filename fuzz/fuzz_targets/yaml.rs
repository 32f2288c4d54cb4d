#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kiln::internals::fuzzing::yaml_file(data));
