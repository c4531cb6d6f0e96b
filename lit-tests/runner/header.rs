//! The lines of a case that are meant for the runner.

/// What a case asks of the runner.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// RUN lines, continuations joined; at least one.
    pub runs: Vec<Run>,
    /// Features named by REQUIRES lines.
    pub requires: Vec<String>,
}

/// One RUN line.
#[derive(Debug, PartialEq, Eq)]
pub struct Run {
    /// Where it starts, counted from 1.
    pub line: usize,
    pub command: String,
}

/// Keywords of LLVM's `lit` that would change what a case means, were they ignored.
const UNSUPPORTED: [&str; 5] = ["XFAIL", "UNSUPPORTED", "ALLOW_RETRIES", "DEFINE", "REDEFINE"];

impl Header {
    /// Collects the keywords, each at the start of a comment: `// RUN: …`, `# RUN: …`.
    ///
    /// # Errors
    /// No RUN line, an empty one, an unfinished continuation, or a keyword that isn't supported.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut header = Self::default();
        let mut continued = false;
        for (index, line) in text.lines().enumerate() {
            let Some((keyword, value)) = keyword(line) else { continue };
            match keyword {
                "RUN" => {
                    let (value, continues) = match value.strip_suffix('\\') {
                        Some(value) => (value.trim_end(), true),
                        None => (value, false),
                    };
                    match header.runs.last_mut().filter(|_| continued) {
                        Some(run) => run.command.extend([" ", value]),
                        None => header.runs.push(Run { line: index + 1, command: value.to_owned() }),
                    }
                    continued = continues;
                }
                "REQUIRES" => {
                    let names = value.split(',').map(|name| name.trim().to_owned());
                    header.requires.extend(names);
                }
                _ if UNSUPPORTED.contains(&keyword) => {
                    return Err(format!(
                        "expected 'RUN:' or 'REQUIRES:', got '{keyword}:' at line {}",
                        index + 1
                    ));
                }
                _ => {}
            }
        }
        if continued {
            return Err("expected a 'RUN:' line after one that ends in '\\', got none".to_owned());
        }
        if header.runs.is_empty() {
            return Err("expected a '// RUN:' line, got none".to_owned());
        }
        match header.runs.iter().find(|run| run.command.trim().is_empty()) {
            Some(run) => Err(format!("expected a command after 'RUN:' at line {}, got none", run.line)),
            None => Ok(header),
        }
    }
}

/// The keyword that a comment starts with, and the text after its colon.
fn keyword(line: &str) -> Option<(&str, &str)> {
    let line = line.trim();
    let comment = line.trim_start_matches(['/', '#']);
    if comment.len() == line.len() {
        return None;
    }
    let (keyword, value) = comment.trim_start().split_once(':')?;
    Some((keyword.trim_end(), value.trim()))
}
