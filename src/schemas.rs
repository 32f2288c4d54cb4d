//! Schemas of the machine-readable outputs, generated from their types.
//!
//! `docs/schemas` holds them for users. This test compares them; with `KILN_WRITE_SCHEMAS=1`, it
//! writes them.

use std::fs;
use std::path::Path;

use schemars::generate::SchemaSettings;
use schemars::transform::{Transform, transform_subschemas};
use schemars::{JsonSchema, Schema};
use serde_json::Value;

use crate::cli::schemas::{AffectedImage, FindingJson, PlanJson};
use crate::graph::GraphJson;
use crate::report::summary::Summary;

fn schemas() -> Vec<(&'static str, Schema)> {
    vec![
        ("affected", schema_of::<Vec<AffectedImage<'_>>>()),
        ("graph", schema_of::<GraphJson<'_>>()),
        ("lint", schema_of::<Vec<FindingJson<'_>>>()),
        ("plan", schema_of::<PlanJson<'_>>()),
        ("summary", schema_of::<Summary<'_>>()),
    ]
}

/// Returns the schema of the JSON that a type is written as.
fn schema_of<T: JsonSchema>() -> Schema {
    let settings = SchemaSettings::draft2020_12().for_serialize().with_transform(OneLine);
    settings.into_generator().into_root_schema_for::<T>()
}

/// Joins the lines of a description: they are those of a comment.
#[derive(Debug, Clone)]
struct OneLine;

impl Transform for OneLine {
    fn transform(&mut self, schema: &mut Schema) {
        if let Some(Value::String(text)) = schema.get_mut("description") {
            *text = text.replace('\n', " ");
        }
        transform_subschemas(self, schema);
    }
}

#[test]
fn schemas_in_docs_are_those_of_the_types() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/schemas");
    for (name, schema) in schemas() {
        let file = folder.join(format!("{name}.schema.json"));
        let expected = format!("{}\n", serde_json::to_string_pretty(&schema).unwrap());
        if std::env::var_os("KILN_WRITE_SCHEMAS").is_some() {
            fs::write(&file, &expected).unwrap();
        }
        let written = fs::read_to_string(&file).unwrap_or_default();
        assert!(written == expected, "{} is out of date: run 'make schemas'", file.display());
    }
}
