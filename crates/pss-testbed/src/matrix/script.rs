//! Reads the statement forms: `tests/matrix/*.sql`, whose syntax tests/matrix/README.md describes.
//!
//! Must never skip what it does not understand: an unknown directive is an error.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use super::statement::{Statement, split};

/// Forms on tables that are made alike.
#[derive(Debug, Default)]
pub struct Fixture {
    /// Schemas are named after it; unique.
    pub name: String,
    /// Distribution column of table `t`.
    pub key: String,
    /// SQL expression, a text array: the keys that the call door assigns beforehand.
    pub keys: String,
    /// Makes `t` and its surroundings, before `t` is sharded.
    pub create: Vec<Statement>,
    /// Run on the twin only.
    pub twin: Vec<Statement>,
    /// Run once when `t` is sharded.
    pub after: Vec<Statement>,
    /// Run before each form.
    pub seed: Vec<Statement>,
    pub forms: Vec<Form>,
}

/// A form of statement: a row of the table.
#[derive(Debug)]
pub struct Form {
    pub group: String,
    pub name: String,
    /// What is run through each door.
    pub body: Vec<Statement>,
    /// Doors at which it makes no sense.
    pub not: Vec<String>,
}

/// Where the lines that come belong.
#[derive(Clone, Copy)]
enum Section {
    Create,
    Twin,
    After,
    Seed,
    Body,
}

/// Keys of most forms.
const SMALL_NUMBERS: &str = "(SELECT array_agg(g::text) FROM generate_series(1, 60) AS g)";

/// All fixtures of the files in a directory, in the files' order.
pub fn read(directory: &Path) -> Result<Vec<Fixture>> {
    let entries = std::fs::read_dir(directory)
        .with_context(|| format!("no statement forms in {}", directory.display()))?;
    let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "sql"));
    files.sort();
    let mut fixtures = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file)?;
        fixtures
            .extend(parse(&text).with_context(|| format!("cannot understand {}", file.display()))?);
    }
    Ok(fixtures)
}

fn parse(text: &str) -> Result<Vec<Fixture>> {
    let mut fixtures: Vec<Fixture> = Vec::new();
    let mut group = String::new();
    let mut section = Section::Create;
    let mut pending = String::new();
    for line in expand(text)?.lines() {
        let Some(directive) = line.strip_prefix("--!") else {
            pending.push_str(line);
            pending.push('\n');
            continue;
        };
        finish(&mut fixtures, section, &mut pending)?;
        let (word, rest) = directive.trim().split_once(' ').unwrap_or((directive.trim(), ""));
        let rest = rest.trim().to_owned();
        if word == "group" {
            group = rest;
            continue;
        }
        if word == "fixture" {
            let keys = SMALL_NUMBERS.to_owned();
            fixtures.push(Fixture { name: rest, key: "k".into(), keys, ..Fixture::default() });
            section = Section::Create;
            continue;
        }
        let fixture = fixtures.last_mut().context("the file must begin with a fixture")?;
        match word {
            "key" => fixture.key = rest,
            "keys" => fixture.keys = rest,
            "twin" => section = Section::Twin,
            "after" => section = Section::After,
            "seed" => section = Section::Seed,
            "form" => {
                let form = Form { group: group.clone(), name: rest, body: vec![], not: vec![] };
                fixture.forms.push(form);
                section = Section::Body;
            }
            "not" => {
                let form = fixture.forms.last_mut().context("\"not\" belongs to a form")?;
                form.not = rest.split_whitespace().map(str::to_owned).collect();
            }
            _ => bail!("unknown directive: {line}"),
        }
    }
    finish(&mut fixtures, section, &mut pending)?;
    Ok(fixtures)
}

/// Gives the statements read so far to the section they stand in.
fn finish(fixtures: &mut [Fixture], section: Section, pending: &mut String) -> Result<()> {
    let statements = split(&std::mem::take(pending))?;
    let Some(fixture) = fixtures.last_mut() else {
        ensure!(statements.is_empty(), "statements before the first fixture");
        return Ok(());
    };
    match section {
        Section::Create => fixture.create.extend(statements),
        Section::Twin => fixture.twin.extend(statements),
        Section::After => fixture.after.extend(statements),
        Section::Seed => fixture.seed.extend(statements),
        Section::Body => {
            let form = fixture.forms.last_mut().context("statements of no form")?;
            form.body.extend(statements);
        }
    }
    Ok(())
}

/// Repeats what follows `--! each NAME | NAME ...`, up to `--! end`, for each `--! with VALUE | VALUE
/// ...`, with `{NAME}` replaced.
fn expand(text: &str) -> Result<String> {
    let mut out = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(names) = line.strip_prefix("--! each ") else {
            out.push_str(line);
            out.push('\n');
            continue;
        };
        let names: Vec<&str> = names.split('|').map(str::trim).collect();
        let (mut rows, mut template) = (Vec::new(), String::new());
        for line in lines.by_ref().take_while(|line| line.trim() != "--! end") {
            match line.strip_prefix("--! with ") {
                Some(values) => rows.push(values.split('|').map(str::trim).collect::<Vec<_>>()),
                None => template.extend([line, "\n"]),
            }
        }
        for values in rows {
            ensure!(values.len() == names.len(), "{values:?} does not fit {names:?}");
            let pairs = names.iter().zip(&values);
            out.push_str(&pairs.fold(template.clone(), |text, (name, value)| {
                text.replace(&format!("{{{name}}}"), value)
            }));
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_and_templates_are_understood() -> Result<()> {
        let text = "--! group Types\n--! each type | a\n--! with int | 1\n--! with text | 'x'\n\
                    --! fixture {type}\n--! key id\nCREATE TABLE t (id {type});\n--! seed\n\
                    TRUNCATE t;\n--! form INSERT\n--! not leaf copy\nINSERT INTO t VALUES ({a});\n\
                    TABLE t;\n--! end\n";
        let fixtures = parse(text)?;
        assert_eq!(fixtures.len(), 2);
        let second = &fixtures[1];
        assert_eq!((second.name.as_str(), second.key.as_str()), ("text", "id"));
        assert_eq!((second.create.len(), second.seed.len()), (1, 1));
        assert_eq!(second.forms[0].group, "Types");
        assert_eq!(second.forms[0].not, ["leaf", "copy"]);
        assert_eq!(second.forms[0].body[0].sql, "INSERT INTO t VALUES ('x')");
        assert_eq!(second.forms[0].body.len(), 2);
        assert!(parse("--! fixture a\n--! fomr b\n").is_err());
        Ok(())
    }
}
