//! Tests of the program: one module for each part of what it does, and `docs` for its documentation.
//! They are one binary, so that the helpers in `support` are compiled once.

mod affected;
mod cli;
mod concurrent_runs;
mod connections;
mod corpus;
mod deployment;
mod docs;
mod endless_engine;
mod engine;
mod engine_crash;
mod fake_engine;
mod html_report;
mod known_attacks;
mod kolla_build;
mod kolla_options;
mod lint;
mod malicious_input;
mod plan;
mod registries;
mod registry_faults;
mod registry_trust;
mod reports;
mod repositories;
mod secrets;
mod secrets_and_ssh;
mod shells;
mod side_effects;
mod signals;
mod sources;
mod start_contract;
mod support;
mod terminal;
mod third_party_text;
mod tree;
mod trust;
