//! The command line of `FileCheck`.

/// What the command line asks for. The names are those of LLVM's options.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Prefixes of directives; `CHECK` when none is given.
    pub prefixes: Vec<String>,
    /// Patterns that must not occur between any two positive matches.
    pub implicit_check_not: Vec<String>,
    /// Variables defined on the command line, `-DNAME=VALUE`.
    pub defines: Vec<(String, String)>,
    /// Compares runs of spaces and tabs as they are.
    pub strict_whitespace: bool,
    /// Positive directives match whole lines only.
    pub match_full_lines: bool,
    /// `CHECK-LABEL` forgets the variables whose names don't start with `$`.
    pub enable_var_scope: bool,
    /// Accepts empty input.
    pub allow_empty: bool,
    /// Accepts a prefix without directives, as long as another one has some.
    pub allow_unused_prefixes: bool,
    /// Reads the input from this file rather than from standard input.
    pub input_file: Option<String>,
}

impl Options {
    /// Reads the arguments after the program's name; returns the options and the path of the check file.
    ///
    /// # Errors
    /// An unknown option, a missing or surplus check file, a malformed prefix or variable.
    pub fn parse(arguments: &[String]) -> Result<(Self, String), String> {
        let mut options = Self::default();
        let mut check_file = None;
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            if let Some(option) = argument.strip_prefix('-').filter(|option| !option.is_empty()) {
                options.accept(option.strip_prefix('-').unwrap_or(option), &mut rest)?;
            } else if let Some(first) = check_file.replace(argument.clone()) {
                return Err(format!("expected one check file, got '{first}' and '{argument}'"));
            }
        }
        if options.prefixes.is_empty() {
            options.prefixes.push("CHECK".to_owned());
        }
        check_prefixes(&options.prefixes)?;
        let check_file = check_file.ok_or("expected a check file, got none")?;
        Ok((options, check_file))
    }

    /// Applies one option, given without its dashes; `rest` supplies the value of `--option value`.
    fn accept<'a>(
        &mut self,
        option: &str,
        rest: &mut impl Iterator<Item = &'a String>,
    ) -> Result<(), String> {
        if let Some(definition) = option.strip_prefix('D') {
            self.defines.push(parse_definition(definition)?);
            return Ok(());
        }
        let (name, inline_value) = match option.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (option, None),
        };
        if let Some(flag) = self.flag(name) {
            if let Some(value) = inline_value {
                return Err(format!("expected no value for '--{name}', got '{value}'"));
            }
            *flag = true;
            return Ok(());
        }
        let mut value = || {
            inline_value
                .clone()
                .or_else(|| rest.next().cloned())
                .ok_or(format!("expected a value for '--{name}'"))
        };
        match name {
            "check-prefix" | "check-prefixes" => self.prefixes.extend(value()?.split(',').map(str::to_owned)),
            "implicit-check-not" => self.implicit_check_not.push(value()?),
            "input-file" => self.input_file = Some(value()?),
            _ => return Err(format!("expected an option of FileCheck, got '--{name}'")),
        }
        Ok(())
    }

    fn flag(&mut self, name: &str) -> Option<&mut bool> {
        match name {
            "strict-whitespace" => Some(&mut self.strict_whitespace),
            "match-full-lines" => Some(&mut self.match_full_lines),
            "enable-var-scope" => Some(&mut self.enable_var_scope),
            "allow-empty" => Some(&mut self.allow_empty),
            "allow-unused-prefixes" => Some(&mut self.allow_unused_prefixes),
            _ => None,
        }
    }
}

fn parse_definition(definition: &str) -> Result<(String, String), String> {
    match definition.split_once('=') {
        Some((name, value)) if super::pattern::is_variable_name(name) => {
            Ok((name.to_owned(), value.to_owned()))
        }
        _ => Err(format!("expected '-DNAME=VALUE', got '-D{definition}'")),
    }
}

fn check_prefixes(prefixes: &[String]) -> Result<(), String> {
    for (index, prefix) in prefixes.iter().enumerate() {
        let well_formed = prefix.starts_with(|c: char| c.is_ascii_alphabetic())
            && prefix.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
        if !well_formed {
            return Err(format!(
                "expected a check prefix of letters, digits, '-' and '_' that starts with a letter, got '{prefix}'"
            ));
        }
        if prefixes[..index].contains(prefix) || super::directive::COMMENT_PREFIXES.contains(&prefix.as_str())
        {
            return Err(format!(
                "expected check prefixes that differ from each other and from comments, got '{prefix}'"
            ));
        }
    }
    Ok(())
}
