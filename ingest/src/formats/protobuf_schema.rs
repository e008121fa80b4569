//! Protobuf schemas as text, compiled; and which of their messages a body is.

use std::path::Path;

use prost_reflect::{FileDescriptor, MessageDescriptor};
use protox::Compiler;
use protox::file::{File, FileResolver, GoogleFileResolver};

use crate::registry::Referred;

/// The name under which the schema itself is compiled. No other file can import it by chance.
const MAIN: &str = "lakeward-main.proto";

/// The files of one schema, in memory.
struct Files {
    main: String,
    references: Vec<Referred>,
    google: GoogleFileResolver,
}

impl FileResolver for Files {
    fn resolve_path(&self, path: &Path) -> Option<String> {
        path.to_str().map(str::to_owned)
    }

    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        if name == MAIN {
            return File::from_source(name, &self.main);
        }
        match self.references.iter().find(|referred| referred.name == name) {
            Some(referred) => File::from_source(name, &referred.text),
            None => self.google.open_file(name),
        }
    }
}

/// Compiles a schema. What it imports must be among its references or come with Protobuf itself.
pub(super) fn compile(text: &str, references: &[Referred]) -> Result<FileDescriptor, String> {
    let files = Files { main: text.to_owned(), references: references.to_vec(), google: GoogleFileResolver::new() };
    let mut compiler = Compiler::with_file_resolver(files);
    compiler.include_imports(true);
    compiler.open_file(MAIN).map_err(|error| error.to_string())?;
    let pool = compiler.descriptor_pool();
    pool.get_file_by_name(MAIN).ok_or_else(|| "nothing was compiled".to_owned())
}

/// The first message of a file.
pub(super) fn first(file: &FileDescriptor) -> Option<MessageDescriptor> {
    message(file, &[0])
}

/// The message under these numbers, from the outermost in, each by its place in the text.
pub(super) fn message(file: &FileDescriptor, indexes: &[usize]) -> Option<MessageDescriptor> {
    let (outermost, inner) = indexes.split_first()?;
    let mut found = file.messages().filter(declared).nth(*outermost)?;
    for index in inner {
        let next = found.child_messages().filter(declared).nth(*index)?;
        found = next;
    }
    Some(found)
}

/// Maps are kept as messages that nobody wrote.
fn declared(message: &MessageDescriptor) -> bool {
    !message.is_map_entry()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_counted_as_they_are_written_and_imports_are_found() {
        let text = r#"syntax = "proto3"; package a; import "b.proto"; import "google/protobuf/timestamp.proto";
            message One { map<string, int32> m = 1; message In { string s = 1; } In i = 2; google.protobuf.Timestamp t = 3; }
            message Two { b.Three three = 1; }"#;
        let references = [Referred {
            name: "b.proto".into(),
            text: r#"syntax = "proto3"; package b; message Three { int64 n = 1; }"#.into(),
        }];
        let file = compile(text, &references).unwrap();
        let name = |indexes: &[usize]| message(&file, indexes).map(|message| message.full_name().to_owned());
        assert_eq!(name(&[0]).as_deref(), Some("a.One"));
        assert_eq!(name(&[0, 0]).as_deref(), Some("a.One.In"));
        assert_eq!(name(&[1]).as_deref(), Some("a.Two"));
        for none in [&[][..], &[2], &[0, 1], &[1, 0], &[usize::MAX]] {
            assert_eq!(name(none), None, "{none:?}");
        }
        assert!(compile(text, &[]).is_err());
        assert!(compile("message {", &[]).is_err());
    }
}
