//! The syntax of RUN lines: pipes, `&&`, redirections, quotes and `%` substitutions, as far as test cases need them.
//!
//! Invariant: whatever a POSIX shell would give a meaning that isn't implemented here is an error, never literal text.

use std::fmt;

/// Commands that feed each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pipeline {
    pub commands: Vec<Command>,
}

/// One program with its arguments and redirections.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Command {
    /// How it must end.
    pub ending: Ending,
    /// The program, then its arguments.
    pub words: Vec<String>,
    /// The file that standard input comes from, if not from the previous command.
    pub stdin: Option<String>,
    pub stdout: Sink,
    /// `Sink::Default` is the test's report.
    pub stderr: Sink,
}

/// How a command must end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ending {
    /// With exit status 0.
    #[default]
    Success,
    /// Preceded by `not`: with another one.
    Failure,
    /// Preceded by `exits N`: with this one.
    Status(u8),
}

impl Ending {
    /// Whether an exit status is what was asked for.
    pub fn accepts(self, status: u8) -> bool {
        match self {
            Self::Success => status == 0,
            Self::Failure => status != 0,
            Self::Status(expected) => status == expected,
        }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Success => formatter.write_str("success"),
            Self::Failure => formatter.write_str("failure"),
            Self::Status(expected) => write!(formatter, "exit status {expected}"),
        }
    }
}

/// Where an output stream goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Sink {
    /// Where it goes without redirection.
    #[default]
    Default,
    /// To the next command.
    Pipe,
    File(String),
}

/// Names that may follow a `%`, and what they stand for; an error says why a name stands for nothing here.
pub type Substitutions = Vec<(&'static str, Result<String, String>)>;

/// Parses one RUN line: pipelines that run in order, as long as each succeeds.
///
/// # Errors
/// An unknown substitution, an unfinished quote, syntax beyond this small shell.
pub fn parse(line: &str, substitutions: &Substitutions) -> Result<Vec<Pipeline>, String> {
    let mut tokens = Lexer { rest: line, substitutions }.tokens()?.into_iter();
    let mut pipelines = vec![Pipeline { commands: Vec::new() }];
    let mut command = Command::default();
    while let Some(token) = tokens.next() {
        let mut target = || match tokens.next() {
            Some(Token::Word(word)) => Ok(word),
            other => Err(format!("expected a word after '{token}', got {}", describe(other.as_ref()))),
        };
        match &token {
            Token::Word(word) if command.words.is_empty() && word == "not" => {
                command.ending = match command.ending {
                    Ending::Success => Ending::Failure,
                    _ => Ending::Success,
                }
            }
            Token::Word(word) if command.words.is_empty() && word == "exits" => {
                let status = target()?;
                command.ending = Ending::Status(
                    status.parse().map_err(|_| format!("expected an exit status, got '{status}'"))?,
                );
            }
            Token::Word(word) => command.words.push(word.clone()),
            Token::Input => command.stdin = Some(target()?),
            Token::Output => command.stdout = Sink::File(target()?),
            Token::Errors => command.stderr = Sink::File(target()?),
            Token::ErrorsToOutput => {
                command.stderr = match &command.stdout {
                    Sink::Default => Sink::Pipe,
                    other => other.clone(),
                }
            }
            Token::Pipe | Token::And => {
                finish(&mut pipelines, &mut command, describe(Some(&token)))?;
                if token == Token::And {
                    pipelines.push(Pipeline { commands: Vec::new() });
                }
            }
        }
    }
    finish(&mut pipelines, &mut command, describe(None))?;
    Ok(pipelines)
}

/// Ends `command`, and refuses one without a program.
fn finish(pipelines: &mut [Pipeline], command: &mut Command, before: String) -> Result<(), String> {
    let command = std::mem::take(command);
    if command.words.is_empty() {
        return Err(format!("expected a command before {before}, got none"));
    }
    if let Some(pipeline) = pipelines.last_mut() {
        pipeline.commands.push(command);
    }
    Ok(())
}

#[derive(Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Pipe,
    And,
    Input,
    Output,
    Errors,
    ErrorsToOutput,
}

/// Operators by their spelling; one that starts another comes after it.
const OPERATORS: [(&str, Token); 6] = [
    ("2>&1", Token::ErrorsToOutput),
    ("2>", Token::Errors),
    ("&&", Token::And),
    ("|", Token::Pipe),
    ("<", Token::Input),
    (">", Token::Output),
];

/// Syntax of real shells that this one doesn't have. `>>` and `||` are found here since operators are tried after it.
const UNSUPPORTED: [&str; 11] = [">>", "<<", "||", ">&", "<&", ">|", ";", "`", "$", "(", ")"];

impl fmt::Display for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::Word(word) = self {
            return formatter.write_str(word);
        }
        let spelling = OPERATORS.iter().find(|(_, token)| token == self).map_or("", |(spelling, _)| spelling);
        formatter.write_str(spelling)
    }
}

fn describe(token: Option<&Token>) -> String {
    token.map_or("the end of the line".to_owned(), |token| format!("'{token}'"))
}

struct Lexer<'a> {
    rest: &'a str,
    substitutions: &'a Substitutions,
}

impl Lexer<'_> {
    fn tokens(mut self) -> Result<Vec<Token>, String> {
        let mut tokens = Vec::new();
        loop {
            self.rest = self.rest.trim_start();
            if self.rest.is_empty() {
                return Ok(tokens);
            }
            tokens.push(match self.operator()? {
                Some(operator) => operator,
                None => Token::Word(self.word()?),
            });
        }
    }

    fn operator(&mut self) -> Result<Option<Token>, String> {
        self.refuse_unsupported()?;
        for (spelling, token) in OPERATORS {
            if let Some(rest) = self.rest.strip_prefix(spelling) {
                self.rest = rest;
                return Ok(Some(token));
            }
        }
        if self.rest.starts_with('&') {
            return Err("expected '&&' or a quoted '&', got '&'".to_owned());
        }
        Ok(None)
    }

    fn refuse_unsupported(&self) -> Result<(), String> {
        match UNSUPPORTED.iter().find(|syntax| self.rest.starts_with(**syntax)) {
            Some(syntax) => {
                Err(format!("expected syntax of RUN lines or a quoted '{syntax}', got '{syntax}'"))
            }
            None => Ok(()),
        }
    }

    /// A word up to unquoted space or an operator.
    fn word(&mut self) -> Result<String, String> {
        let mut word = String::new();
        while let Some(character) = self.rest.chars().next() {
            match character {
                ' ' | '\t' | '|' | '<' | '>' | '&' => break,
                '\'' => self.quoted('\'', &mut word)?,
                '"' => self.quoted('"', &mut word)?,
                '%' => word.push_str(&self.substitution()?),
                '\\' => {
                    self.advance(character);
                    word.push(self.rest.chars().next().ok_or("expected a character after '\\', got none")?);
                    self.skip();
                }
                _ => {
                    self.refuse_unsupported()?;
                    word.push(character);
                    self.advance(character);
                }
            }
        }
        Ok(word)
    }

    /// The inside of quotes. Substitutions work there too; within `"`, a backslash protects `"` and itself.
    fn quoted(&mut self, quote: char, word: &mut String) -> Result<(), String> {
        self.advance(quote);
        loop {
            match self.rest.chars().next() {
                None => return Err(format!("expected a closing {quote}, got the end of the line")),
                Some('%') => word.push_str(&self.substitution()?),
                Some('$' | '`') if quote == '"' => {
                    return Err("expected '…' around '$' and '`', got \"…\"".to_owned());
                }
                Some('\\') if quote == '"' && self.rest[1..].starts_with(['"', '\\']) => {
                    self.skip();
                    word.extend(self.rest.chars().next());
                    self.skip();
                }
                Some(character) => {
                    self.advance(character);
                    if character == quote {
                        return Ok(());
                    }
                    word.push(character);
                }
            }
        }
    }

    /// What `%` and the name after it stand for; `%%` is a `%`.
    fn substitution(&mut self) -> Result<String, String> {
        let after = &self.rest['%'.len_utf8()..];
        if let Some(rest) = after.strip_prefix('%') {
            self.rest = rest;
            return Ok("%".to_owned());
        }
        // `%t1`, `%t.c` and `%t-a` are `%t` with more text; `%tmp` is an unknown name.
        let ends =
            |name: &str| !after[name.len()..].starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        let fitting = self.substitutions.iter().filter(|(name, _)| after.starts_with(name) && ends(name));
        match fitting.max_by_key(|(name, _)| name.len()) {
            Some((name, value)) => {
                self.rest = &after[name.len()..];
                value.clone()
            }
            None => {
                let known: Vec<_> = self.substitutions.iter().map(|(name, _)| format!("%{name}")).collect();
                let length = after.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(after.len());
                Err(format!("expected one of {} or %%, got '%{}'", known.join(", "), &after[..length]))
            }
        }
    }

    fn advance(&mut self, character: char) {
        self.rest = &self.rest[character.len_utf8()..];
    }

    fn skip(&mut self) {
        if let Some(character) = self.rest.chars().next() {
            self.advance(character);
        }
    }
}

impl fmt::Display for Command {
    /// The command as it could be typed, without its redirections.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ending {
            Ending::Success => {}
            Ending::Failure => formatter.write_str("not ")?,
            Ending::Status(status) => write!(formatter, "exits {status} ")?,
        }
        for (index, word) in self.words.iter().enumerate() {
            let separator = if index == 0 { "" } else { " " };
            let plain =
                !word.is_empty() && word.chars().all(|c| c.is_alphanumeric() || "-_=./,:@%+".contains(c));
            if plain {
                write!(formatter, "{separator}{word}")?;
            } else {
                write!(formatter, "{separator}'{word}'")?;
            }
        }
        Ok(())
    }
}
